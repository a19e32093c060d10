"""Optim methods, learning-rate schedules and gradient clipping, on flat float32 vectors.

Everything here is elementwise or works on fixed blocks, so that a worker which holds a slice of the weights computes
the same bits as one which holds them all. Names and formulas are BigDL's (which are Torch7's).
"""

from __future__ import annotations

from featurelib.registry import built_in
from nnframes.optim.adam import Adam
from nnframes.optim.base import OptimMethod
from nnframes.optim.clipping import (
    BLOCK,
    CLIPPINGS,
    Clipping,
    ConstantClipping,
    L2NormClipping,
    block_squares,
    clip,
    global_norm,
)
from nnframes.optim.lars import LarsSGD
from nnframes.optim.schedules import SCHEDULES, Default, Exponential, Poly, Schedule, Step
from nnframes.optim.sgd import SGD

__all__ = [
    "BLOCK",
    "CLIPPINGS",
    "OPTIM_METHODS",
    "SCHEDULES",
    "SGD",
    "Adam",
    "Clipping",
    "ConstantClipping",
    "Default",
    "Exponential",
    "L2NormClipping",
    "LarsSGD",
    "OptimMethod",
    "Poly",
    "Schedule",
    "Step",
    "block_squares",
    "clip",
    "global_norm",
]

OPTIM_METHODS: dict[str, type[OptimMethod]] = {"Adam": Adam, "LarsSGD": LarsSGD, "SGD": SGD}

built_in(OPTIM_METHODS, SCHEDULES, CLIPPINGS)
