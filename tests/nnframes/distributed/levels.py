"""Trainings that show what the data cache levels promise, for tests that run them in fresh processes."""

from __future__ import annotations

import json
import os
import resource
import sys
import threading
from pathlib import Path

import numpy as np

from tests.nnframes.distributed.cluster import own_spark

MB = 1 << 20
LEVELS = (("DRAM", None), ("DISK_AND_DRAM", 3), ("DIRECT", None))


def status(name: str) -> int:
    """A figure of /proc/self/status, in bytes."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(name + ":"))


def train_in(folder: str, slices: int, data: int, memory: int) -> dict:
    """Train on `data` bytes of samples, with an address space of `memory` bytes beyond what the process has already."""
    from nnframes.distributed.cache import CacheLevel
    from nnframes.distributed.files import ShardFile, ShardWriter
    from nnframes.distributed.store import ShardStore
    from nnframes.train import MaxEpoch, SerialSync, TrainSettings, train

    width, block = 1 << 14, 64
    rows = data // (4 * width)
    writer = ShardWriter("fit", 0, folder, CacheLevel("DISK_AND_DRAM", slices))
    for start in range(0, rows, block):
        values = np.full((block, width), start, np.float32)
        writer.add((values, np.arange(block, dtype=np.int32) % 3), 1, False)
    path = writer.close()
    settings = TrainSettings(rows, 32, MaxEpoch(2), 1, 3)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before = status("VmRSS")
    resource.setrlimit(resource.RLIMIT_AS, (status("VmSize") + memory,) * 2)
    replica = Summing(width)
    try:
        store = ShardStore({0: [(ShardFile(path), 0, rows)]}, None, 3)
        state = train(replica, store, SerialSync(1), settings)
    except (OSError, MemoryError) as error:
        return {"error": type(error).__name__}
    expected = float(2 * sum(range(0, rows, block)) * block * width)
    return {
        "peak": status("VmHWM") - before,
        "seen": replica.total == expected,
        "epochs": state.epoch,
        "bytes": sum(file.stat().st_size for file in path.glob("*.bin")),
    }


class Summing:
    """A replica that adds up what it is given: every row must pass once per epoch."""

    message_size, gradient_size = 1, 0

    def __init__(self, width: int) -> None:
        self.width, self.total = width, 0.0

    def gradient(self, shard, batch, iteration, out, reached=None):
        self.total += float(batch.inputs[0].sum(dtype=np.float64))
        out[:] = len(batch.target)
        return {}

    def update(self, message, sparse):
        return float(message[0])


def train_until_killed(folder: str) -> None:
    """Fit at all levels at once, say so when all train; the tasks hang there."""
    from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
    from nnframes.distributed.cache import CacheLevel
    from nnframes.train import Listener, MaxEpoch
    from tests.nnframes.distributed import softmax

    class Hanging(Listener):
        def on_iteration(self, state):
            training.release()

    training = threading.Semaphore(0)
    with own_spark("local[3]", folder) as spark:
        frame = spark.createDataFrame(softmax.rows_of(37), "features array<float>, label double").coalesce(1)

        def fit(level: CacheLevel) -> None:
            settings = FitSettings(4, MaxEpoch(10**6), 1, cache_level=level, sync_mode="group")
            fault = {"kind": "hang", "shard": 0, "iteration": 2, "seconds": 600}
            source = ReplicaSource(softmax.load, json.dumps({"fault": fault}).encode())
            fit_on_spark(frame, softmax.plan_of(), settings, source, listener=Hanging())

        for level in LEVELS:
            threading.Thread(target=fit, args=(CacheLevel.of(*level),), daemon=True).start()
        for _ in LEVELS:
            training.acquire()
        sys.stdout.write(f"training {os.getsid(0)}\n")
        sys.stdout.flush()
        threading.Event().wait()
