"""A fit on two executors of their own, for a test that runs this in a fresh process."""

from __future__ import annotations

import hashlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pyspark.sql

from nnframes.train import Listener

ROOT = Path(__file__).resolve().parents[3]


class Heard(Listener):
    """The iterations that a listener is told, in order."""

    def __init__(self) -> None:
        self.iterations: list[int] = []

    def on_iteration(self, state) -> None:
        self.iterations.append(state.iteration)


def digest(weights: dict) -> str:
    state = hashlib.sha256()
    for name in sorted(weights):
        state.update(name.encode() + weights[name].tobytes())
    return state.hexdigest()


def fit(frame, folder: str, fault: dict | None = None, padding: int = 0, **more):
    from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
    from nnframes.train import MaxEpoch
    from tests.nnframes.distributed import softmax

    payload = json.dumps({"extra": 100_000, "fault": fault}).encode() + b" " * padding
    settings = FitSettings(batch_size=8, end_when=MaxEpoch(2), shards=3, seed=3, cache_folder=folder)
    return fit_on_spark(frame, softmax.plan_of(), settings, ReplicaSource(softmax.load, payload), **more)


def frame_of(spark):
    from tests.nnframes.distributed import softmax

    return spark.createDataFrame(softmax.rows_of(37), "features array<float>, label double")


@contextmanager
def own_spark(master: str, folder: str, more: dict[str, str] | None = None) -> Iterator[pyspark.sql.SparkSession]:
    """A Spark of a fresh process, with its files under `folder`."""
    os.environ.update(
        SPARK_LOCAL_IP="127.0.0.1",
        SPARK_HOME=str(Path(pyspark.__file__).parent),
        PYSPARK_PYTHON=sys.executable,
        PYTHONPATH=str(ROOT),
    )
    settings = {
        "spark.ui.enabled": "false",
        "spark.log.level": "OFF",
        "spark.driver.host": "127.0.0.1",
        "spark.executorEnv.PYTHONPATH": str(ROOT),
        "spark.local.dir": folder + "/local",
        **(more or {}),
    }
    spark = pyspark.sql.SparkSession.builder.master(master).config(map=settings).getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


@contextmanager
def two_hosts(folder: str) -> Iterator[str]:
    """A cluster with a task slot on each of two addresses: to Spark they are hosts, as in `local-cluster` they are not.

    Gives the master's address.
    """
    home = Path(pyspark.__file__).parent
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    master = f"spark://127.0.0.1:{port}"
    commands = [["master.Master", "--host", "127.0.0.1", "--port", str(port)]]
    for host in ("127.0.0.2", "127.0.0.3"):
        limits = ["--cores", "1", "--memory", "1g", "--work-dir", f"{folder}/work {host}"]
        commands.append(["worker.Worker", "--host", host, *limits, master])
    with ExitStack() as stack:
        for kind, *options in commands:
            command = [
                str(home / "bin" / "spark-class"),
                f"org.apache.spark.deploy.{kind}",
                "--webui-port",
                "0",
                *options,
            ]
            process = stack.enter_context(
                subprocess.Popen(command, env={**os.environ, "SPARK_HOME": str(home)}, stderr=subprocess.DEVNULL)
            )
            stack.callback(process.terminate)
        yield master


def on_two_executors(folder: str) -> dict:
    """Fit quietly with a payload of 2 MB, then with a rank that is killed; say what came of it and what is left."""
    from nnframes.errors import SyncError

    with own_spark("local-cluster[2,1,1024]", folder) as spark:
        frame = frame_of(spark)
        quiet = fit(frame, folder + "/cache", padding=2 << 20)
        try:
            fit(frame, folder + "/cache", {"kind": "die", "shard": 0, "iteration": 2})
            error = "none"
        except SyncError as failure:
            error = str(failure)
        left = [path.name for path in Path(folder, "cache").glob("*/*")]
        return {"tasks": quiet.tasks, "weights": digest(quiet.weights), "error": error, "left": left}


def with_workers_killed(master: str, folder: str, deaths: list[list[int]]) -> dict:
    """Fit quietly, then with the worker of a shard killed at an iteration, once, for each of `deaths`."""
    with own_spark(master, folder) as spark:
        frame = frame_of(spark).cache()
        quiet = digest(fit(frame, folder + "/cache").weights)
        found = []
        for shard, iteration in deaths:
            fault = {
                "kind": "die",
                "shard": shard,
                "iteration": iteration,
                "once": f"{folder}/died-{shard}-{iteration}",
            }
            heard = Heard()
            weights = digest(fit(frame, folder + "/cache", fault, listener=heard).weights)
            found.append({"same": weights == quiet, "died": Path(fault["once"]).exists(), "heard": heard.iterations})
        left = [path.name for path in Path(folder, "cache").glob("*/*")]
        return {"found": found, "left": left}
