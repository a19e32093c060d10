"""Vectors of one size by oneDNN: primitives whose memory is named anew at each call."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Mapping

import numpy as np

from kernels.native.dnnl import (
    ATTRIBUTE_SCALES,
    BINARY,
    DST,
    FORWARD_INFERENCE,
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
from kernels.onednn.elementwise import ALGORITHMS

ROWS = 64
"""A total is made of so many parts, which threads share."""


class NativeVectors(threading.local):
    """Arithmetic on vectors of `size` numbers; each thread has memory objects of its own."""

    def __init__(self, size: int) -> None:
        self._whole = plain((size,))
        self._even = size // ROWS * ROWS
        self._factors, self._totals = np.zeros(2, np.float32), np.zeros(ROWS, np.float32)
        self._calls: dict[tuple[str, float], _Call] = {}

    def axpby(self, a: float, x: np.ndarray, b: float, y: np.ndarray, out: np.ndarray) -> None:
        """Write ``a x + b y`` to `out`, which may be `x`."""
        self._factors[:] = a, b
        self._run(("axpby", 0.0), self._make_axpby, {SRC: x, SRC_1: y, DST: out})

    def binary(self, name: str, x: np.ndarray, y: np.ndarray, out: np.ndarray) -> None:
        """Write x times ("multiply") or over ("divide") y to `out`."""
        self._run((name, 0.0), functools.partial(self._make_binary, name), {SRC: x, SRC_1: y, DST: out})

    def root(self, x: np.ndarray, shift: float, out: np.ndarray) -> None:
        """Write ``sqrt(x) + shift`` to `out`: two primitives, as oneDNN has no fast one for both."""
        for kind, source, beta in (("sqrt", x, 0.0), ("linear", out, shift)):
            make = functools.partial(self._make_unary, kind, beta)
            self._run((kind, beta), make, {SRC: source, DST: out})

    def scale(self, a: float, x: np.ndarray) -> None:
        """Multiply `x` by a in place."""
        self._factors[0] = a
        self._run(("scale", 0.0), self._make_scale, {SRC: x, DST: x})

    def total(self, x: np.ndarray) -> float:
        """Return the sum, added up in whatever order."""
        self._run(("total", 0.0), self._make_total, {SRC: x})
        return float(np.add.reduce(self._totals) + np.add.reduce(x[self._even :]))

    def _make_axpby(self) -> _Call:
        scales = dict.fromkeys((ATTRIBUTE_SCALES | SRC, ATTRIBUTE_SCALES | SRC_1), plain((1,)))
        add = Primitive("binary", BINARY["add"], self._whole, self._whole, self._whole, scaled=(SRC, SRC_1))
        call = _Call(add, {**dict.fromkeys((SRC, SRC_1, DST), self._whole), **scales})
        for number, kind in enumerate(scales):
            call.point(kind, self._factors[number:])
        return call

    def _make_scale(self) -> _Call:
        one = plain((1,))
        multiply = Primitive("binary", BINARY["multiply"], self._whole, one, self._whole)
        call = _Call(multiply, {SRC: self._whole, SRC_1: one, DST: self._whole})
        call.point(SRC_1, self._factors)
        return call

    def _make_unary(self, kind: str, beta: float) -> _Call:
        algorithm, layout = ALGORITHMS[kind][0], self._whole
        primitive = Primitive("eltwise_forward", FORWARD_INFERENCE, algorithm, layout, layout, 1.0, beta)
        return _Call(primitive, {SRC: layout, DST: layout})

    def _make_binary(self, name: str) -> _Call:
        primitive = Primitive("binary", BINARY[name], self._whole, self._whole, self._whole)
        return _Call(primitive, dict.fromkeys((SRC, SRC_1, DST), self._whole))

    def _make_total(self) -> _Call:
        rows, column = plain((ROWS, self._even // ROWS)), plain((ROWS, 1))
        call = _Call(Primitive("reduction", REDUCTION["sum"], rows, column, 0.0, 0.0), {SRC: rows, DST: column})
        call.point(DST, self._totals)
        return call

    def _run(self, key: tuple[str, float], make: Callable[[], _Call], arrays: Mapping[int, np.ndarray]) -> None:
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = make()
        for kind, array in arrays.items():
            call.point(kind, array)
        call.run()


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
