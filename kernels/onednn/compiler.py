"""Compilation of a graph: each node becomes prepared calls on planned memory.

Layouts flow from producer to consumer: a primitive chooses the layout of what it makes, the next takes it as it is
where it can, and a reorder is put between them only where it must be. A node that has no native form runs its numpy
reference in place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from kernels.errors import UnsupportedError
from kernels.graph import BUFFER, CONSTANT, INPUT, PARAMETER, TABLE, Node, Value, needed
from kernels.native.dnnl import DST, SCRATCHPAD, SRC, dnnl
from kernels.onednn.descriptors import Activation, Layout, Primitive, plain
from kernels.reference import compute

Emitter = Callable[["Compiler", Node], None]
Function = Callable[[Sequence[np.ndarray], Sequence[np.ndarray]], None]


@dataclass(eq=False)
class Buffer:
    """A stretch of memory.

    `kind`: arena (shared, planned), kept (this program's own), once (only while the prologue runs), or the name of what
    is bound from outside.
    """

    kind: str
    size: int
    name: str | int = ""
    first: int = -1
    last: int = -1
    offset: int = 0
    tensors: list[Tensor] = field(default_factory=list)


@dataclass(eq=False)
class Tensor:
    """A value in one layout in one buffer, from its number `start` on; a `part` is for one node alone."""

    buffer: Buffer
    layout: Layout
    start: int = 0
    part: bool = False

    def __post_init__(self) -> None:
        self.buffer.tensors.append(self)

    def seen(self, layout: Layout, start: int = 0) -> Tensor:
        """The same memory from the number `start` on, in another layout, for the current node."""
        return Tensor(self.buffer, layout, self.start + start, part=True)


@dataclass(eq=False)
class Step:
    """One call: a primitive on tensors, or a function that takes arrays to read and arrays to write."""

    node: Node
    arguments: dict[int, Tensor] = field(default_factory=dict)
    primitive: Primitive | None = None
    function: Function = lambda reads, writes: None
    reads: Sequence[Tensor] = ()
    writes: Sequence[Tensor] = ()
    how: str = ""  # for people: who computes a function, and why not oneDNN

    @property
    def tensors(self) -> list[Tensor]:
        return [*self.arguments.values(), *self.reads, *self.writes]


class Compiler:
    """Emits the steps of the nodes that some outputs need."""

    def __init__(self, outputs: Sequence[Value], emitters: Mapping[str, Emitter], fold: bool, threads: int = 1) -> None:
        self.outputs = outputs
        self.threads = threads
        self.emitters = emitters
        self.fold = fold
        self.nodes = _in_order(needed(outputs), emitters)
        self.uses = Counter(value for node in self.nodes for value in node.inputs)
        self.uses.update(outputs)
        self.consumers: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                self.consumers.setdefault(value, []).append(node)
        self.prologue: list[Step] = []
        self.body: list[Step] = []
        self.buffers: list[Buffer] = []
        self.constants: dict[Buffer, np.ndarray] = {}
        self._constants: dict[tuple[tuple[int, ...], str, bytes], Tensor] = {}
        self._workspaces: dict[Value, Primitive] = {}
        self._tensors: dict[Value, list[Tensor]] = {}
        self._constant: set[Value] = set()
        self._done: set[Node] = set()
        self._outputs: dict[Value, Buffer] = {}
        self._node: Node  # whose steps are being emitted
        self._fused: Node | None = None
        self._fusing = True

    def compile(self) -> None:
        """Emit everything; afterwards `prologue`, `body` and `buffers` describe the program."""
        for number, value in enumerate(self.outputs):
            self._outputs.setdefault(value, self._buffer("output", plain(value.shape, value.dtype).size, number))
        wanted: dict[Node, list[tuple[Value, int]]] = {}
        for number, value in enumerate(self.outputs):
            wanted.setdefault(value.node, []).append((value, number))
        for node in self.nodes:
            if node not in self._done:
                self._emit(node)
            # At once: whoever waits for one output need not wait for all, and what was just made is in a cache.
            for value, number in wanted.get(node, ()):
                self._deliver(value, number)
        _mark_lifetimes(self.body, self.buffers)
        once = [buffer for buffer in self.buffers if buffer.kind == "kept" and buffer.first < 0]
        for buffer in once:
            buffer.kind = "once"
        _mark_lifetimes(self.prologue, once)

    # What emitters ask for.

    def uses_of(self, value: Value) -> int:
        """How many nodes and outputs take this value."""
        return self.uses[value]

    def is_constant(self, value: Value) -> bool:
        """Whether the value is worked out once, when leaves are bound, and not in every run."""
        return value in self._constant

    def tensor(self, value: Value) -> Tensor:
        """The value as it was made."""
        return self._tensors[value][0]

    def layout(self, value: Value) -> Layout:
        """The layout in which the value was made."""
        return self.tensor(value).layout

    def want(self, value: Value, layout: Layout) -> Tensor:
        """The value in this layout, reordered if it is not there yet."""
        for tensor in self._tensors[value]:
            if tensor.layout.same(layout):
                return tensor
        source = self.tensor(value)
        target = self._allocate(layout, value in self._constant)
        self._tensors[value].append(target)
        self._reorder(source, target, value in self._constant)
        return target

    def want_viewed(self, value: Value, view: Layout, layout: Layout) -> Tensor:
        """The value's plain memory seen through `view`, reordered to `layout` if that is another."""
        source = Tensor(self.plain(value).buffer, view)
        if view.same(layout):
            return source
        target = self._allocate(layout, value in self._constant)
        self._reorder(source, target, value in self._constant)
        return target

    def make_viewed(self, value: Value, source: Tensor, view: Layout) -> None:
        """The value in numpy's order, seen through `view`, is a copy of a tensor that was just computed."""
        target = self.make(value, plain(value.shape, value.dtype))
        self._reorder(source, Tensor(target.buffer, view), self._node_is_constant())

    def plain(self, value: Value) -> Tensor:
        """The value in numpy's order."""
        return self.want(value, plain(value.shape, value.dtype))

    def make(self, value: Value, layout: Layout) -> Tensor:
        """A place for a value that the current node computes: for outputs it is the caller's memory."""
        buffer, constant = self._outputs.get(value), self._node_is_constant()
        if buffer is None or buffer.tensors or constant or not layout.same(plain(value.shape, value.dtype)):
            tensor = self._allocate(layout, constant)
        else:
            tensor = Tensor(buffer, layout)
        self._tensors[value] = [tensor]
        return tensor

    def make_over(self, value: Value, source: Value, tensor: Tensor) -> Tensor:
        """Like `make`, in the place of a source that nobody needs afterwards, if there is such."""
        buffer = tensor.buffer
        seen = sum(not each.part for each in buffer.tensors)
        free = buffer.kind == "arena" and seen == 1 and self.uses[source] == 1
        if not free or value in self._outputs:
            return self.make(value, tensor.layout)
        self._tensors[value] = [Tensor(buffer, tensor.layout)]
        return self._tensors[value][0]

    def alias(self, value: Value, tensor: Tensor, layout: Layout) -> None:
        """The value is the same memory as a tensor, seen differently."""
        self._tensors[value] = [Tensor(tensor.buffer, layout)]

    def copy(self, value: Value, source: Tensor, read: Layout, write: Layout, layout: Layout) -> None:
        """The value, in `layout`, is a copy of `source` seen through `read`, written through `write`."""
        target = self.make(value, layout)
        self._reorder(Tensor(source.buffer, read), Tensor(target.buffer, write), self._node_is_constant())

    def scratch(self, layout: Layout, constant: bool | None = None) -> Tensor:
        """Memory for the current node only; see `execute`."""
        return self._allocate(layout, self._node_is_constant() if constant is None else constant)

    def constant(self, array: np.ndarray) -> Tensor:
        """Numbers that never change."""
        key = array.shape, array.dtype.name, array.tobytes()
        if key not in self._constants:
            layout = plain(array.shape, array.dtype.name)
            buffer = self._buffer("constant", layout.size)
            self.constants[buffer] = array
            self._constants[key] = Tensor(buffer, layout)
        return self._constants[key]

    def execute(
        self, primitive: Primitive, arguments: Mapping[int, Tensor | None], constant: bool | None = None
    ) -> None:
        """Add a primitive call of the current node.

        What is `constant` is called once, when leaves are bound; what is said of nothing follows the node.
        """
        given = {kind: tensor for kind, tensor in arguments.items() if tensor}
        self._call(primitive, given, self._node_is_constant() if constant is None else constant)

    def compute(self, function: Function, reads: Sequence[Tensor], writes: Sequence[Tensor], how: str) -> None:
        """Add a call of a function of the current node; it gets the tensors as arrays of their layouts' shapes."""
        step = Step(self._node, function=function, reads=reads, writes=writes, how=how)
        self._section(self._node_is_constant()).append(step)

    def make_workspace(self, value: Value, primitive: Primitive) -> Tensor:
        """A place for what a primitive notes for its gradient, in oneDNN's own format."""
        self._workspaces[value] = primitive
        return self.make(value, primitive.layout("workspace", value.shape, "uint8"))

    def made_by(self, workspace: Value) -> Primitive:
        """The primitive that wrote a workspace; `UnsupportedError` if numpy did."""
        if workspace not in self._workspaces:
            raise UnsupportedError("numpy made the workspace")
        return self._workspaces[workspace]

    def activation_after(
        self, node: Node, fusable: Callable[[Node], Activation | None]
    ) -> tuple[Value, Activation | None]:
        """The value that a node may write when the activation that alone consumes its result is computed with it."""
        result = node.outputs[0]
        consumers = self.consumers.get(result, [])
        alone = self._fusing and self.uses[result] == 1 and consumers
        if alone and (activation := fusable(consumers[0])) is not None:
            self._fused = consumers[0]
            return consumers[0].outputs[0], activation
        return result, None

    # How nodes become steps.

    def _emit(self, node: Node) -> None:
        self._node = node
        if node.inputs and all(value in self._constant for value in node.inputs) and self.fold:
            self._constant.update(node.outputs)
        if node.op in _LEAVES:
            self._leaf(node)
            return
        emitter = self.emitters.get(node.op.name)
        try:
            if emitter is None:
                raise UnsupportedError("no native form")
            if any(0 in value.shape for value in (*node.inputs, *node.outputs)):
                raise UnsupportedError("empty tensors")
            self._native(emitter, node)
        except UnsupportedError as reason:
            self._host(node, f"numpy: {reason}")
        self._done.add(node)

    def _native(self, emitter: Emitter, node: Node) -> None:
        """Emit, without the activation that follows where oneDNN cannot do both at once."""
        self._fused, self._fusing = None, True
        try:
            emitter(self, node)
        except UnsupportedError:
            if self._fused is None:
                raise
            self._fused, self._fusing = None, False
            emitter(self, node)
        if self._fused is not None:
            self._done.add(self._fused)

    def _leaf(self, node: Node) -> None:
        value = node.outputs[0]
        layout = plain(value.shape, value.dtype)
        buffer = self._buffer(node.op.name, layout.size, node.attrs.get("name", ""))
        if node.op is CONSTANT:
            self.constants[buffer] = node.attrs["array"]
        self._tensors[value] = [Tensor(buffer, layout)]
        if node.op is not INPUT and self.fold:
            self._constant.add(value)

    def _host(self, node: Node, how: str) -> None:
        if any(value in self._workspaces for value in node.inputs):
            raise UnsupportedError(f"{node.label} {node.op.name}: oneDNN has no gradient for what it computed.")
        reads = [self.plain(value) for value in node.inputs]
        writes = [self.make(value, plain(value.shape, value.dtype)) for value in node.outputs]
        self.compute(_by_reference(node), reads, writes, how)

    def _call(self, primitive: Primitive, arguments: dict[int, Tensor], constant: bool) -> None:
        scratchpad = primitive.scratchpad
        if scratchpad.size:
            arguments[SCRATCHPAD] = self._allocate(scratchpad, constant)
        self._section(constant).append(Step(self._node, arguments, primitive))

    def _reorder(self, source: Tensor, target: Tensor, constant: bool) -> None:
        if source.layout.dtype == "int64":  # which oneDNN does not know
            if not source.layout.same(target.layout):
                raise UnsupportedError("int64 in another order")
            step = Step(self._node, function=_copy, reads=[source], writes=[target], how="numpy: copy")
            self._section(constant).append(step)
            return
        engine = dnnl().engine
        primitive = Primitive("reorder", source.layout, engine, target.layout, engine)
        self._call(primitive, {SRC: source, DST: target}, constant)

    def _deliver(self, value: Value, number: int) -> None:
        """Copy an output to where the caller wants it, unless it was made there."""
        buffer = self._outputs[value]
        if buffer.name == number and any(tensor.buffer is buffer for tensor in self._tensors[value]):
            return
        if buffer.name != number:
            buffer = self._buffer("output", plain(value.shape, value.dtype).size, number)
        self._node = value.node
        self._reorder(self.tensor(value), Tensor(buffer, plain(value.shape, value.dtype)), False)

    def _allocate(self, layout: Layout, constant: bool) -> Tensor:
        return Tensor(self._buffer("kept" if constant else "arena", layout.size), layout)

    def _buffer(self, kind: str, size: int, name: str | int = "") -> Buffer:
        self.buffers.append(Buffer(kind, size, name))
        return self.buffers[-1]

    def _section(self, constant: bool) -> list[Step]:
        return self.prologue if constant else self.body

    def _node_is_constant(self) -> bool:
        return any(value in self._constant for value in self._node.outputs)


_LEAVES = (INPUT, PARAMETER, TABLE, BUFFER, CONSTANT)


def _in_order(nodes: Sequence[Node], emitters: Mapping[str, Emitter]) -> list[Node]:
    """The nodes with those that only Python can compute as far outside as they can be.

    Between two products of matrices Python has gone from the caches, and takes several times as long to come back as it
    then computes. A loss over classes is read by nobody, and its gradient needs nothing but the classes.
    """
    read = {value for node in nodes for value in node.inputs}

    def place(node: Node) -> int:
        if node.op in _LEAVES:
            return 0
        if node.op.name in emitters:
            return 2
        if all(value.node.op in _LEAVES for value in node.inputs):
            return 1
        return 2 if read.intersection(node.outputs) else 3

    return sorted(nodes, key=place)


def _by_reference(node: Node) -> Function:
    """A step that runs the definition of a node."""
    shapes = [value.shape for value in node.inputs]

    def call(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray]) -> None:
        arrays = [_shaped(array, shape) for array, shape in zip(reads, shapes, strict=True)]
        for target, result in zip(writes, compute(node, arrays), strict=True):
            target[...] = _shaped(result, target.shape)

    return call


def _shaped(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The array in this shape, which it mostly has: numpy's own way to find that out is slow."""
    return array if array.shape == shape else array.reshape(shape)


def _copy(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray]) -> None:
    writes[0][...] = reads[0]


def _mark_lifetimes(steps: Sequence[Step], buffers: Sequence[Buffer]) -> None:
    """Note the first and the last step that touches each of these buffers."""
    marked = set(buffers)
    for index, step in enumerate(steps):
        for tensor in step.tensors:
            buffer = tensor.buffer
            if buffer in marked:
                buffer.first = index if buffer.first < 0 else buffer.first
                buffer.last = index
