"""A Spark of two hosts, which are two loopback addresses: only on another host does speculation run a task again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from socket import create_server
from typing import Any

import pyspark

from tests.nnframes.distributed.cluster import ROOT, own_spark

HOSTS = ("127.0.0.1", "127.0.0.2")
HOME = Path(pyspark.__file__).parent
SPECULATION = {
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.task.duration.threshold": "1s",
    "spark.executor.memory": "512m",
    "spark.executor.cores": "2",
}


@contextmanager
def on_two_hosts(folder: str, more: Mapping[str, str]) -> Iterator[Any]:
    """Give a session of a master and two workers with two slots each; they end with it."""
    with create_server((HOSTS[0], 0)) as probe:
        port = probe.getsockname()[1]
    with ExitStack() as opened:
        opened.enter_context(_daemon(folder, "master.Master", "--host", HOSTS[0], "--port", str(port)))
        master = f"spark://{HOSTS[0]}:{port}"
        for host in HOSTS:
            parts = ["--host", host, "--cores", "2", "--memory", "1g", "--work-dir", f"{folder}/work", master]
            opened.enter_context(_daemon(folder, "worker.Worker", *parts))
        with own_spark(master, folder, {**more, **SPECULATION}) as spark:
            yield spark


@contextmanager
def _daemon(folder: str, name: str, *arguments: str) -> Iterator[None]:
    command = [str(HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *arguments, "--webui-port", "0"]
    environment = {**os.environ, "SPARK_HOME": str(HOME), "PYTHONPATH": str(ROOT), "SPARK_LOCAL_DIRS": folder}
    process = subprocess.Popen(command, env=environment)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
