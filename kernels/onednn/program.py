"""The native program: binds memory to the compiled steps and runs them."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np

from kernels.feeds import (
    Finished,
    check_bound,
    checked_input,
    checked_leaf,
    checked_result,
    input_specs,
    result_slots,
)
from kernels.folding import fold_batch_norm
from kernels.graph import Value
from kernels.native.dnnl import STATUS, DnnlError, Handle, dnnl
from kernels.native.memory import ARENA, aligned_bytes
from kernels.native.threads import set_threads
from kernels.onednn.compiler import Buffer, Compiler, Emitter, Step, Tensor
from kernels.plan import place
from kernels.reference import silent

Call = Callable[[], int | None]
_NOWHERE = np.empty(0, np.float32)  # stands for memory that is not bound yet


class NativeProgram:
    """Prepared native calls; parameters, inputs and outputs are used where they lie, the rest is in the arena."""

    def __init__(self, outputs: Sequence[Value], emitters: Mapping[str, Emitter], threads: int, fold: bool) -> None:
        set_threads(threads)
        compiler = Compiler(fold_batch_norm(outputs) if fold else outputs, emitters, fold, threads)
        compiler.compile()
        self.threads = threads
        self._outputs = list(outputs)
        self._inputs = input_specs(outputs)
        self._memory = _Memory(compiler.buffers, compiler.constants)
        self._prologue = [(step, self._memory.call(step)) for step in compiler.prologue]
        self._body = [(step, self._memory.call(step)) for step in compiler.body]
        self._stages = _stages(compiler.body, len(self._outputs))
        self._prepared = not self._prologue
        self._results: tuple[np.ndarray, ...] | None = None
        self._lock = threading.Lock()  # two runs at once would write into the same memory

    def bind(self, leaves: Mapping[str, np.ndarray]) -> None:
        with self._lock:
            for name, array in leaves.items():
                self._memory.bind_leaf(name, array)
            self._prepared = not self._prologue

    def run(
        self,
        inputs: Mapping[str, np.ndarray],
        results: Sequence[np.ndarray | None] = (),
        finished: Finished | None = None,
    ) -> list[np.ndarray]:
        with self._lock:
            return self._run(inputs, results, finished)

    def _run(
        self, inputs: Mapping[str, np.ndarray], results: Sequence[np.ndarray | None], finished: Finished | None
    ) -> list[np.ndarray]:
        set_threads(self.threads)
        memory = self._memory
        check_bound(memory.unbound)
        memory.bind_arena()
        for name, value in self._inputs.items():
            memory.bind_input(name, checked_input(value, inputs))
        arrays = self._bound_to(results)
        if not self._prepared:
            with memory.of_prologue():
                self._execute(self._prologue)
            self._prepared = True
        if finished is None:
            self._execute(self._body)
            return arrays
        done = 0
        for end, outputs in self._stages:
            self._execute(self._body[done:end])
            done = end
            finished(outputs)
        return arrays

    def _bound_to(self, results: Sequence[np.ndarray | None]) -> list[np.ndarray]:
        """The outputs' memory. A tuple that comes again, which nobody can have changed, is not looked at again."""
        if results is self._results:
            return list(self._results)
        self._results = None
        given = result_slots(self._outputs, results)
        arrays = [
            self._memory.bind_output(number, value, array)
            for number, (value, array) in enumerate(zip(self._outputs, given, strict=True))
        ]
        if isinstance(results, tuple) and all(one is other for one, other in zip(given, arrays, strict=True)):
            self._results = results
        return arrays

    def describe(self) -> list[str]:
        return [_line(step) for step, _ in [*self._prologue, *self._body]]

    @property
    def arena_size(self) -> int:
        """Bytes of shared scratch memory that a run needs."""
        return self._memory.arena_size

    def _execute(self, calls: Sequence[tuple[Step, Call]]) -> None:
        with silent():
            for step, call in calls:
                if status := call():
                    raise DnnlError(f"oneDNN failed: {STATUS.get(status, status)}. In: {_line(step)}")


def _stages(body: Sequence[Step], outputs: int) -> list[tuple[int, list[int]]]:
    """Return after how many steps which outputs are complete, in order."""
    last = dict.fromkeys(range(outputs), 0)
    for number, step in enumerate(body, 1):
        for tensor in step.tensors:
            if tensor.buffer.kind == "output":
                last[int(tensor.buffer.name)] = number
    ends = sorted({*last.values(), len(body)})
    return [(end, [output for output, step in last.items() if step == end]) for end in ends]


def _line(step: Step) -> str:
    if step.primitive is not None:
        return f"{step.primitive.name:32} {step.primitive.implementation:32} {step.node.label}"
    return f"{step.node.op.name:32} {step.how:32} {step.node.label}"


def _seen_as(tensor: Tensor, array: np.ndarray) -> np.ndarray:
    """The memory of a dense array as a plain tensor."""
    layout = tensor.layout
    if array.shape == layout.shape and array.dtype == layout.dtype:
        return array.view()
    dtype = np.dtype(layout.dtype)
    raw = array.reshape(-1).view(np.uint8)[tensor.start * dtype.itemsize :]
    return raw[: math.prod(layout.shape) * dtype.itemsize].view(dtype).reshape(layout.shape)


class _Memory:
    """Gives every tensor its address: oneDNN memory objects for primitives, numpy views for function steps."""

    def __init__(self, buffers: Sequence[Buffer], constants: Mapping[Buffer, np.ndarray]) -> None:
        used = [buffer for buffer in buffers if buffer.tensors]
        self._planned = [buffer for buffer in used if buffer.kind == "arena" and buffer.first >= 0]
        self.arena_size = place(self._planned)
        self._once = [buffer for buffer in used if buffer.kind == "once" and buffer.first >= 0]
        self._once_size = place(self._once)
        self._kept = [buffer for buffer in used if buffer.kind == "kept"]
        self._constants = constants
        self._named: dict[tuple[str, str | int], Buffer] = {(b.kind, b.name): b for b in used}
        self._unbound = {buffer for buffer in used if buffer.kind in ("parameter", "buffer", "table")}
        self._arena: np.ndarray | None = None
        self._bound: dict[Buffer, np.ndarray] = {}
        self._objects: dict[Tensor, Handle] = {}
        self._views: dict[Tensor, list[tuple[list[np.ndarray], int]]] = {}

    def call(self, step: Step) -> Call:
        """The step as a function without arguments."""
        if step.primitive is not None:
            arguments = [(kind, self._object(tensor).value) for kind, tensor in step.arguments.items()]
            return dnnl().prepared(step.primitive.handle, arguments)
        reads, writes = self._arrays(step.reads), self._arrays(step.writes)
        function = step.function
        return lambda: function(reads, writes)

    def bind_arena(self) -> None:
        """Point into this thread's arena; on the first run also to memory of the program's own."""
        memory = ARENA.reserve(self.arena_size)
        if self._arena is memory:
            return
        if self._arena is None:
            for buffer in self._kept:
                self._bind(buffer, aligned_bytes(buffer.size))
            for buffer, array in self._constants.items():
                self._bind(buffer, array)
        self._arena = memory
        self._bind_parts(self._planned, memory)

    @contextmanager
    def of_prologue(self) -> Iterator[None]:
        """Memory that only the prologue needs, given back afterwards."""
        self._bind_parts(self._once, aligned_bytes(self._once_size))
        try:
            yield
        finally:
            for buffer in self._once:
                self._unbind(buffer)

    def bind_leaf(self, name: str, array: np.ndarray) -> None:
        """A parameter, buffer or table: its memory is used as it is."""
        for kind in ("parameter", "buffer", "table"):
            buffer = self._named.get((kind, name))
            if buffer is None:
                continue
            self._bind(buffer, checked_leaf(name, array, buffer.size // 4))
            self._unbound.discard(buffer)

    @property
    def unbound(self) -> list[str]:
        """Parameters, buffers and tables that have no memory yet."""
        return [str(buffer.name) for buffer in self._unbound]

    def bind_input(self, name: str, array: np.ndarray) -> None:
        """An input of this run."""
        buffer = self._named["input", name]
        if self._bound.get(buffer) is not array:
            self._bind(buffer, array)

    def bind_output(self, number: int, value: Value, given: np.ndarray | None) -> np.ndarray:
        """Where an output of this run goes: to what the caller gave, else to a new array."""
        buffer = self._named["output", number]
        if given is not None and self._bound.get(buffer) is given:
            return given
        array = checked_result(value, given)
        self._bind(buffer, array)
        return array

    def _bind_parts(self, buffers: Sequence[Buffer], memory: np.ndarray) -> None:
        for buffer in buffers:
            self._bind(buffer, memory[buffer.offset : buffer.offset + buffer.size])

    def _bind(self, buffer: Buffer, array: np.ndarray) -> None:
        self._bound[buffer] = array
        address = array.__array_interface__["data"][0]
        for tensor in buffer.tensors:
            if tensor in self._objects:
                start = address + tensor.start * np.dtype(tensor.layout.dtype).itemsize
                dnnl().call("memory_set_data_handle", self._objects[tensor].value, start)
            for arrays, position in self._views.get(tensor, ()):
                arrays[position] = _seen_as(tensor, array)

    def _unbind(self, buffer: Buffer) -> None:
        self._bound.pop(buffer)
        for tensor in buffer.tensors:
            for arrays, position in self._views.get(tensor, ()):
                arrays[position] = _NOWHERE

    def _object(self, tensor: Tensor) -> Handle:
        if tensor not in self._objects:
            library = dnnl()
            handle = library.create("memory_create", tensor.layout.value, library.engine, None)
            self._objects[tensor] = Handle(handle, library.symbols.dnnl_memory_destroy)
        return self._objects[tensor]

    def _arrays(self, tensors: Sequence[Tensor]) -> list[np.ndarray]:
        """A list that always holds the tensors' current memory."""
        arrays = [_NOWHERE] * len(tensors)
        for position, tensor in enumerate(tensors):
            self._views.setdefault(tensor, []).append((arrays, position))
        return arrays
