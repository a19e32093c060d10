"""The native program: binds memory to the compiled steps and runs them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import Value
from kernels.native.dnnl import DnnlError, Handle, dnnl
from kernels.native.memory import ARENA, aligned_bytes
from kernels.native.threads import set_threads
from kernels.onednn import EMITTERS
from kernels.onednn.compiler import Buffer, Compiler, Step, Tensor
from kernels.plan import place
from kernels.program import checked_input, input_specs

Call = Callable[[], int | None]
_NOWHERE = np.empty(0, np.float32)  # stands for memory that is not bound yet


class NativeProgram:
    """Prepared oneDNN calls; parameters, inputs and outputs are used where they lie, the rest is in the arena."""

    def __init__(self, outputs: Sequence[Value], threads: int, fold: bool) -> None:
        set_threads(threads)
        compiler = Compiler(outputs, EMITTERS, fold)
        compiler.compile()
        self.threads = threads
        self._outputs = list(outputs)
        self._inputs = input_specs(outputs)
        self._fallbacks = compiler.fallbacks
        self._steps = [*compiler.prologue, *compiler.body]
        self._memory = _Memory(compiler.buffers, compiler.constants)
        self._prologue = [self._memory.call(step) for step in compiler.prologue]
        self._body = [self._memory.call(step) for step in compiler.body]
        self._prepared = not self._prologue

    def bind(self, leaves: Mapping[str, np.ndarray]) -> None:
        for name, array in leaves.items():
            self._memory.bind_leaf(name, array)
        self._prepared = not self._prologue

    def run(self, inputs: Mapping[str, np.ndarray], results: Sequence[np.ndarray | None] = ()) -> list[np.ndarray]:
        set_threads(self.threads)
        self._memory.bind_arena()
        for name, value in self._inputs.items():
            self._memory.bind_input(name, checked_input(value, inputs))
        given = [*results, *[None] * (len(self._outputs) - len(results))]
        arrays = [
            np.empty(value.shape, value.dtype) if array is None else array
            for value, array in zip(self._outputs, given, strict=True)
        ]
        for number, array in enumerate(arrays):
            self._memory.bind_output(number, array)
        self._memory.check_leaves()
        if not self._prepared:
            self._execute(self._prologue)
            self._prepared = True
        self._execute(self._body)
        return arrays

    def describe(self) -> list[str]:
        reasons = dict(self._fallbacks)
        lines = []
        for step in self._steps:
            label = step.node.label if step.node else ""
            if step.primitive is not None:
                lines.append(f"{step.primitive.name:32} {step.primitive.implementation:32} {label}")
            elif step.node is not None:
                lines.append(f"{step.node.op.name:32} {'numpy: ' + reasons[step.node]:32} {label}")
        return lines

    @property
    def arena_size(self) -> int:
        """Bytes of shared scratch memory that a run needs."""
        return self._memory.arena_size

    def _execute(self, calls: Sequence[Call]) -> None:
        for call in calls:
            if call():
                raise DnnlError(f"A oneDNN primitive failed with status {call()}.")


class _Memory:
    """Gives every tensor its address: oneDNN memory objects for primitives, numpy views for numpy steps."""

    def __init__(self, buffers: Sequence[Buffer], constants: Mapping[Buffer, np.ndarray]) -> None:
        self._buffers = [buffer for buffer in buffers if buffer.tensors]
        arena = [buffer for buffer in self._buffers if buffer.kind == "arena" and buffer.first >= 0]
        self.arena_size = place(arena)
        self._arena: np.ndarray | None = None
        self._arena_buffers = arena
        self._objects: dict[Tensor, Handle] = {}
        self._views: dict[Tensor, list[tuple[list[np.ndarray], int]]] = {}
        self._bound: dict[Buffer, np.ndarray] = {}
        self._named: dict[tuple[str, str | int], Buffer] = {(b.kind, b.name): b for b in self._buffers}
        self._kept = [buffer for buffer in self._buffers if buffer.kind == "kept"]
        self._constants = constants
        self._unbound = {buffer for buffer in self._buffers if buffer.kind in ("parameter", "buffer", "table")}

    def call(self, step: Step) -> Call:
        """The step as a function without arguments."""
        if step.primitive is not None:
            return self._native_call(step)
        return self._numpy_call(step)

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
        for buffer in self._arena_buffers:
            self._bind(buffer, memory[buffer.offset : buffer.offset + buffer.size])

    def bind_leaf(self, name: str, array: np.ndarray) -> None:
        """A parameter, buffer or table: its memory is used as it is."""
        for kind in ("parameter", "buffer", "table"):
            buffer = self._named.get((kind, name))
            if buffer is None:
                continue
            if array.dtype != np.float32 or not array.flags.c_contiguous or array.nbytes != buffer.size:
                raise ArgumentError(
                    f"'{name}' must be a dense float32 array of {buffer.size // 4} numbers. "
                    f"Received: {array.dtype} {array.shape}."
                )
            self._bind(buffer, array)
            self._unbound.discard(buffer)

    def check_leaves(self) -> None:
        """Raise `ArgumentError` while a parameter, buffer or table has no memory yet."""
        if self._unbound:
            names = sorted(str(buffer.name) for buffer in self._unbound)
            raise ArgumentError(f"Every parameter must be bound before a run. Missing: {', '.join(names)}.")

    def bind_input(self, name: str, array: np.ndarray) -> None:
        """An input of this run."""
        self._rebind(self._named.get(("input", name)), array)

    def bind_output(self, number: int, array: np.ndarray) -> None:
        """Where an output of this run goes."""
        self._rebind(self._named.get(("output", number)), array)

    def _rebind(self, buffer: Buffer | None, array: np.ndarray) -> None:
        if buffer is None:
            return
        bound = self._bound.get(buffer)
        if bound is None or bound.__array_interface__["data"] != array.__array_interface__["data"]:
            self._bind(buffer, array)
        self._bound[buffer] = array

    def _bind(self, buffer: Buffer, array: np.ndarray) -> None:
        self._bound[buffer] = array
        address = array.ctypes.data
        raw = array.reshape(-1).view(np.uint8)
        for tensor in buffer.tensors:
            if tensor in self._objects:
                dnnl().call("memory_set_data_handle", self._objects[tensor].value, address)
            for arrays, position in self._views.get(tensor, ()):
                size = int(np.prod(tensor.layout.shape)) * np.dtype(tensor.layout.dtype).itemsize
                arrays[position] = raw[:size].view(tensor.layout.dtype)

    def _native_call(self, step: Step) -> Call:
        assert step.primitive is not None
        arguments = [(kind, self._object(tensor).value) for kind, tensor in step.arguments.items()]
        return dnnl().prepared(step.primitive.handle, arguments)

    def _object(self, tensor: Tensor) -> Handle:
        if tensor not in self._objects:
            library = dnnl()
            handle = library.create("memory_create", tensor.layout.value, library.engine, None)
            self._objects[tensor] = Handle(handle, library.library.dnnl_memory_destroy)
        return self._objects[tensor]

    def _numpy_call(self, step: Step) -> Call:
        assert step.node is not None
        assert step.function is not None
        reads: list[np.ndarray] = [_NOWHERE] * len(step.reads)
        writes: list[np.ndarray] = [_NOWHERE] * len(step.writes)
        for arrays, tensors in ((reads, step.reads), (writes, step.writes)):
            for position, tensor in enumerate(tensors):
                self._views.setdefault(tensor, []).append((arrays, position))
        shapes = [value.shape for value in step.node.inputs]
        function = step.function

        def call() -> None:
            results = function(*(view.reshape(shape) for view, shape in zip(reads, shapes, strict=True)))
            for view, result in zip(writes, results, strict=True):
                view[:] = np.asarray(result).reshape(-1)

        return call
