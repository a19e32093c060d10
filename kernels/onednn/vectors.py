"""Vectors of one size by oneDNN: primitives whose memory is named anew at each call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

import numpy as np

from kernels.native.dnnl import (
    ATTRIBUTE_SCALES,
    BINARY,
    DST,
    REDUCTION,
    SCRATCHPAD,
    SRC,
    SRC_1,
    STATUS,
    DnnlError,
    Handle,
    dnnl,
)
from kernels.native.memory import aligned_bytes
from kernels.onednn.descriptors import Layout, Primitive, plain

ROWS = 64
"""A total is made of so many parts, which threads share."""


class NativeVectors(threading.local):
    """``a x + b y`` and sums for vectors of `size` numbers; each thread has memory objects of its own."""

    def __init__(self, size: int) -> None:
        whole, one = plain((size,)), plain((1,))
        scales = {ATTRIBUTE_SCALES | source: one for source in (SRC, SRC_1)}
        add = Primitive("binary", BINARY["add"], whole, whole, whole, scaled=(SRC, SRC_1))
        self._add = _Call(add, {SRC: whole, SRC_1: whole, DST: whole, **scales})
        self._even = size // ROWS * ROWS
        rows, column = plain((ROWS, size // ROWS)), plain((ROWS, 1))
        total = Primitive("reduction", REDUCTION["sum"], rows, column, 0.0, 0.0)
        self._total = _Call(total, {SRC: rows, DST: column})
        self._factors, self._totals = np.zeros(2, np.float32), np.zeros(ROWS, np.float32)
        for number, source in enumerate(scales):
            self._add.point(source, self._factors[number:])
        self._total.point(DST, self._totals)

    def axpby(self, a: float, x: np.ndarray, b: float, y: np.ndarray, out: np.ndarray) -> None:
        """Write ``a x + b y`` to `out`, which may be `x`."""
        self._factors[:] = a, b
        self._add.point(SRC, x)
        self._add.point(SRC_1, y)
        self._add.point(DST, out)
        self._add.run()

    def total(self, x: np.ndarray) -> float:
        """Return the sum, added up in whatever order."""
        self._total.point(SRC, x)
        self._total.run()
        return float(np.add.reduce(self._totals) + np.add.reduce(x[self._even :]))


class _Call:
    """A primitive whose memory can be pointed elsewhere."""

    def __init__(self, primitive: Primitive, layouts: Mapping[int, Layout]) -> None:
        library, scratchpad = dnnl(), primitive.scratchpad
        create, destroy = library.create, library.symbols.dnnl_memory_destroy
        self._point: Callable[[int, int], int] = library.symbols.dnnl_memory_set_data_handle
        self._primitive, self._scratch = primitive, aligned_bytes(scratchpad.size)
        self._objects = {
            kind: Handle(create("memory_create", layout.value, library.engine, None), destroy)
            for kind, layout in {**layouts, SCRATCHPAD: scratchpad}.items()
        }
        self.point(SCRATCHPAD, self._scratch)
        self._run = library.prepared(primitive.handle, [(kind, each.value) for kind, each in self._objects.items()])

    def point(self, kind: int, array: np.ndarray) -> None:
        """Use this array, which the caller keeps alive, as that argument."""
        self._point(self._objects[kind].value, array.__array_interface__["data"][0])

    def run(self) -> None:
        if status := self._run():
            raise DnnlError(f"oneDNN failed: {STATUS.get(status, status)}. In: {self._primitive.name} of vectors")
