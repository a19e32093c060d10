"""Vectors of one size by oneDNN: primitives whose memory is named anew at each call."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping, Sequence
from types import MappingProxyType

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

KEPT = 4
"""How many places a computation keeps in mind: an update of weights does the same in one or two."""

BOTH = (SRC, SRC_1)
SCALED = tuple(ATTRIBUTE_SCALES | source for source in BOTH)


class NativeVectors(threading.local):
    """Arithmetic on vectors of `size` numbers; each thread has memory objects of its own."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._calls: dict[str, list[NativeCall]] = {}

    def known(self, name: str, arrays: Sequence[np.ndarray]) -> NativeCall | None:
        """The call that computes `name` on these very arrays, if there is one."""
        for call in self._calls.get(name, ()):
            if call.is_on(arrays):
                return call
        return None

    def on(self, name: str, arrays: Sequence[np.ndarray]) -> NativeCall:
        """A call that computes `name` on these arrays: the result, where it has an array, then what is read."""
        calls = self._calls.setdefault(name, [])
        call = next((call for call in calls if call.is_free), None)
        if call is None:
            call = self._made(name) if len(calls) < KEPT else calls[0]
        call.point(arrays)
        self._calls[name] = [*(each for each in calls if each is not call), call]
        return call

    def _made(self, name: str) -> NativeCall:
        whole, one = plain((self._size,)), plain((1,))
        if name == "axpby":
            add = Primitive("binary", BINARY["add"], whole, whole, whole, scaled=BOTH)
            return NativeCall(add, [((DST,), whole), ((SRC,), whole), ((SRC_1,), whole)], dict.fromkeys(SCALED, one))
        if name in ("scale", "shift"):
            algorithm = BINARY["multiply" if name == "scale" else "add"]
            return NativeCall(Primitive("binary", algorithm, whole, one, whole), [((SRC, DST), whole)], {SRC_1: one})
        if name == "sqrt":
            root = Primitive("eltwise_forward", FORWARD_INFERENCE, ALGORITHMS[name][0], whole, whole, 1.0, 0.0)
            return NativeCall(root, [((DST,), whole), ((SRC,), whole)])
        if name == "total":
            rows, column = plain((ROWS, self._size // ROWS)), plain((ROWS, 1))
            add = Primitive("reduction", REDUCTION["sum"], rows, column, 0.0, 0.0)
            return NativeCall(add, [((SRC,), rows)], {DST: column})
        primitive = Primitive("binary", BINARY[name], whole, whole, whole)
        return NativeCall(primitive, [((DST,), whole), ((SRC,), whole), ((SRC_1,), whole)])


class NativeCall:
    """A primitive on vectors that can be others at each call, and on `own` numbers, its factors or its result."""

    def __init__(
        self,
        primitive: Primitive,
        arrays: Sequence[tuple[Sequence[int], Layout]],
        own: Mapping[int, Layout] = MappingProxyType({}),
    ) -> None:
        library, scratchpad = dnnl(), primitive.scratchpad
        self._set = library.symbols.dnnl_memory_set_data_handle
        self._primitive, self._scratch = primitive, aligned_bytes(scratchpad.size)
        layouts = {kind: layout for kinds, layout in arrays for kind in kinds} | {**own, SCRATCHPAD: scratchpad}
        create, destroy = library.create, library.symbols.dnnl_memory_destroy
        self._objects = {
            kind: Handle(create("memory_create", layout.value, library.engine, None), destroy)
            for kind, layout in layouts.items()
        }
        self._kinds = [kinds for kinds, _ in arrays]
        self._on: list[weakref.ref[np.ndarray]] = []
        self.own = np.zeros(sum(layout.size for layout in own.values()) // 4, np.float32)
        start = self.own.ctypes.data
        for kind, layout in own.items():
            self._set(self._objects[kind].value, start)
            start += layout.size
        self._set(self._objects[SCRATCHPAD].value, self._scratch.ctypes.data)
        self._run = library.prepared(primitive.handle, [(kind, each.value) for kind, each in self._objects.items()])

    @property
    def is_free(self) -> bool:
        """Whether nobody can ask for the last arrays again."""
        return any(known() is None for known in self._on)

    def is_on(self, arrays: Sequence[np.ndarray]) -> bool:
        """Whether the last call was on these very arrays, so that they need not be looked at again."""
        return len(self._on) == len(arrays) and all(
            known() is array for known, array in zip(self._on, arrays, strict=True)
        )

    def point(self, arrays: Sequence[np.ndarray]) -> None:
        """Use these arrays, which the caller keeps alive."""
        self._on = []  # until all is done: who is interrupted in between must not find half of it
        for kinds, array in zip(self._kinds, arrays, strict=True):
            address = array.ctypes.data
            for kind in kinds:
                self._set(self._objects[kind].value, address)
        self._on = [weakref.ref(array) for array in arrays]

    def run(self, *factors: float) -> None:
        """Compute, with these factors."""
        for place, factor in enumerate(factors):
            self.own[place] = factor
        if status := self._run():
            raise DnnlError(f"oneDNN failed: {STATUS.get(status, status)}. In: {self._primitive.name} of vectors")
