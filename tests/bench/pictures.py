"""The networks that both sides of the suite `sync` train, and the numbers that they train on."""

from __future__ import annotations

import math

import numpy as np
import pyarrow as pa

from nnframes.models import LeNet5, VggForCifar10
from nnframes.nn import Layer, Reshape, Sequential

SHAPES = {"lenet": (1, 28, 28), "vgg": (3, 32, 32)}


def network(name: str) -> Layer:
    """Our LeNet-5, or VGG for small images; on flat rows."""
    return Sequential().add(Reshape(list(SHAPES[name]))).add(VggForCifar10() if name == "vgg" else LeNet5())


def arrays(name: str, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Flat rows of noise, and classes."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((rows, math.prod(SHAPES[name])), np.float32), rng.integers(0, 10, rows)


def table(name: str, rows: int) -> pa.Table:
    """The same as a table with the columns features and label."""
    x, y = arrays(name, rows)
    offsets = np.arange(0, x.size + 1, x.shape[1], np.int32)
    return pa.table({"features": pa.ListArray.from_arrays(offsets, x.reshape(-1)), "label": y.astype(np.float64)})
