"""Fits in job mode whose executors are killed, for a test that runs this in a fresh process."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import numpy as np

from tests.nnframes.distributed.cluster import digest, frame_of, own_spark, two_hosts

ITERATIONS, EXTRA, SEED = 45, 300_000, 20
DYNAMIC = {
    "spark.dynamicAllocation.enabled": "true",
    "spark.dynamicAllocation.shuffleTracking.enabled": "true",
    "spark.dynamicAllocation.minExecutors": "0",
    "spark.dynamicAllocation.maxExecutors": "2",
}

# Spark starts a second attempt only on another host, and only of one task among several.
SPECULATION = {
    "spark.cores.max": "2",
    "spark.scheduler.minRegisteredResourcesRatio": "1.0",
    "spark.scheduler.maxRegisteredResourcesWaitingTime": "120s",
    "spark.speculation": "true",
    "spark.speculation.interval": "100ms",
    "spark.speculation.quantile": "0.3",
    "spark.speculation.minTaskRuntime": "500ms",
}


def by_jobs(folder: str, dynamic: bool, level: str) -> dict:
    """Fit in job mode while a worker and, at moments drawn from a seed, two executors are killed."""
    from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
    from nnframes.distributed.cache import CacheLevel
    from nnframes.train import Listener, MaxIteration
    from tests.nnframes.distributed import softmax

    class Killer(Listener):
        def __init__(self) -> None:
            moments = np.random.default_rng(SEED + dynamic).choice(np.arange(5, ITERATIONS - 5), 2, replace=False)
            self.moments, self.killed = moments.tolist(), []

        def on_iteration(self, state):
            if state.iteration in self.moments:
                self.killed.append(kill_executor(spark.sparkContext.applicationId))

    with own_spark("local-cluster[2,1,1024]", folder, DYNAMIC if dynamic else {}) as spark:
        fault = {"kind": "die", "shard": 1, "iteration": 3, "once": folder + "/died"}
        payload = json.dumps({"extra": EXTRA, "fault": fault}).encode()
        settings = FitSettings(
            batch_size=8,
            end_when=MaxIteration(ITERATIONS),
            shards=3,
            seed=3,
            cache_folder=folder + "/cache",
            sync_mode="auto" if dynamic else "job",
            cache_level=CacheLevel.of(level),
        )
        killer, source = Killer(), ReplicaSource(softmax.load, payload)
        frame = frame_of(spark)
        course = softmax.course_of(frame, folder + "/snapshots", 7)
        result = fit_on_spark(frame, softmax.plan_of(), settings, source, listener=killer, course=course)
        left = [path.name for path in Path(folder, "cache").glob("*/*")]
        return {**told(result), "mode": result.mode, "killed": killer.killed, "left": left}


def told(result) -> dict:
    """What must be alike however a fit was run."""
    return {"weights": digest(result.weights), "history": [one.to_json() for one in result.history]}


def with_speculation(folder: str) -> dict:
    """Fit in job mode while a task hangs, beside which Spark starts another."""
    from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
    from nnframes.train import MaxIteration
    from tests.nnframes.distributed import softmax

    with two_hosts(folder) as master, own_spark(master, folder, SPECULATION) as spark:
        fault = {"kind": "hang", "shard": 1, "iteration": 6, "seconds": 3600, "once": folder + "/hung"}
        source = ReplicaSource(softmax.load, json.dumps({"fault": fault}).encode())
        end = MaxIteration(10)
        settings = FitSettings(8, end, shards=3, seed=3, cache_folder=folder + "/cache", sync_mode="job")
        frame = frame_of(spark)
        course = softmax.course_of(frame, folder + "/snapshots", 3)
        return told(fit_on_spark(frame, softmax.plan_of(), settings, source, course=course))


def kill_executor(application: str) -> int:
    """SIGKILL the oldest executor of this application; returns its process."""
    executors = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = status.read_bytes().split(b"\0")
        except OSError:
            continue
        if any(word.endswith(b"CoarseGrainedExecutorBackend") for word in words) and application.encode() in words:
            executors.append(int(status.parent.name))
    os.kill(min(executors), signal.SIGKILL)
    return min(executors)
