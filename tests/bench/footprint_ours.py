"""Measurements of the footprint suite."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from nnframes import NNClassifier, init_nncontext
from nnframes.models import MLP
from nnframes.nn import ClassNLLCriterion
from nnframes.optim import SGD

ROWS, SIZES, SHARDS = 20_000, (784, 2048, 2048, 10), 2
MB = 1e6


def prepare_import() -> Callable[[], float]:
    """Imports of nnframes a second, each in a fresh process, less the start of Python itself."""

    def seconds(code: str) -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True)
        return time.perf_counter() - start

    return lambda: 1 / max(1e-3, seconds("import nnframes") - seconds("pass"))


def prepare_allowed(rate: float) -> Callable[[], float]:
    """A constant."""
    return lambda: rate


def prepare_memory() -> Callable[[], float]:
    """One over the gigabytes of the largest Python worker during a fit, mapped data counted."""
    conf = {"spark.master": f"local[{SHARDS}]", "spark.ui.enabled": "false", "spark.python.worker.reuse": "false"}
    spark = init_nncontext(conf, app_name="nnframes bench")
    rng = np.random.default_rng(0)
    pixels = rng.standard_normal((ROWS, SIZES[0]), np.float32)
    offsets = np.arange(0, ROWS * SIZES[0] + 1, SIZES[0], np.int32)
    features = pa.ListArray.from_arrays(offsets, pixels.reshape(-1))
    data = spark.createDataFrame(pa.table({"features": features, "label": rng.integers(0, 10, ROWS) * 1.0})).cache()
    estimator = (
        NNClassifier(MLP(SIZES), ClassNLLCriterion())
        .setBatchSize(256)
        .setMaxEpoch(3)
        .setNumShards(SHARDS)
        .setOptimMethod(SGD(0.01, momentum=0.9, dampening=0.0))
        .setShowProgress(False)
    )

    def measure() -> float:
        with _Watch() as watch:
            estimator.fit(data)
        return 1e9 / watch.most

    return measure


def prepare_memory_allowed() -> Callable[[], float]:
    """One over the gigabytes that a task may take: its data, four times its model, and 300 MB."""
    weights = sum(inputs * outputs + outputs for inputs, outputs in pairwise(SIZES))
    data = 4 * ROWS * (SIZES[0] + 1) / SHARDS
    allowed = data + 4 * 4 * weights + 300 * MB
    return lambda: 1e9 / allowed


class _Watch:
    """Follows the memory of all Python workers of Spark and keeps the largest figure of any."""

    def __enter__(self) -> _Watch:
        self.most = 0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _follow(self) -> None:
        while not self._over.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                self.most = max(self.most, _peak(process))


def _peak(process: Path) -> int:
    """Bytes of the high-water mark of a Python worker; 0 for any other process."""
    try:
        if b"pyspark.daemon" not in (process / "cmdline").read_bytes():
            return 0
        for line in (process / "status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    except OSError:
        pass
    return 0
