"""Static graphs: values of known shape and type, made by nodes, each an application of one op.

A graph is built by calling the functions of `kernels.ops` on values. Shapes are concrete (the batch included) and
checked when a node is added, so that a wrong network fails while it is built and not while it runs. Nothing is
computed here: `kernels.reference` evaluates a graph with numpy (the definition), `kernels.program` compiles it to
native calls (the speed).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from kernels.errors import ArgumentError, ShapeError

TYPES = FLOAT32, INT32, UINT8, INT64 = "float32", "int32", "uint8", "int64"


class Spec(NamedTuple):
    """Shape and type of a value.

    >>> Spec((32, 784)).dtype
    'float32'
    """

    shape: tuple[int, ...]
    dtype: str = FLOAT32


@dataclass(frozen=True)
class Op:
    """What a node computes.

    `shape(*specs, **attrs)` checks the inputs and returns one `Spec` or a list of them; `reference(*arrays, **attrs)`
    is the definition in numpy and returns one array or a tuple; `gradient(node, *output_gradients)` builds nodes and
    returns, for each input, a `Value`, a `RowGradient` or None. Output gradients of outputs that nobody used are None.
    """

    name: str
    shape: Callable[..., Spec | list[Spec]]
    reference: Callable[..., Any]
    gradient: Callable[..., Sequence[Value | RowGradient | None]] | None = None


@dataclass(eq=False)
class Value:
    """One output of a node: a tensor of static shape."""

    node: Node
    index: int
    shape: tuple[int, ...]
    dtype: str = FLOAT32

    @property
    def graph(self) -> Graph:
        return self.node.graph

    def __repr__(self) -> str:
        return f"<{self.node.op.name} {self.shape} {self.dtype}>"


class RowGradient(NamedTuple):
    """Gradient of a row-sparse table: `values[i]` belongs to row `rows[i]`; rows may repeat."""

    rows: Value
    values: Value


@dataclass(eq=False)
class Node:
    """One application of an op; `label` says which layer asked for it."""

    graph: Graph
    op: Op
    inputs: tuple[Value, ...]
    attrs: Mapping[str, Any]
    label: str = ""
    outputs: tuple[Value, ...] = ()


class Graph:
    """Nodes in the order they were made, which is a topological order.

    >>> from kernels import ops
    >>> graph = Graph()
    >>> x, w = graph.input("x", (32, 784)), graph.parameter("w", (10, 784))
    >>> ops.linear(x, w).shape
    (32, 10)
    """

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self._leaves: dict[tuple[str, str], Value] = {}
        self._labels: list[str] = []
        self._streams = 0

    def input(self, name: str, shape: Sequence[int], dtype: str = FLOAT32) -> Value:
        """A tensor given anew at every run."""
        return self.leaf(INPUT, name, shape, dtype)

    def parameter(self, name: str, shape: Sequence[int]) -> Value:
        """A part of the dense parameter vector, in the order of first use."""
        return self.leaf(PARAMETER, name, shape, FLOAT32)

    def table(self, name: str, shape: Sequence[int]) -> Value:
        """A row-sparse parameter (rows, dim): read by `ops.gather_rows`, its gradient is a `RowGradient`."""
        return self.leaf(TABLE, name, shape, FLOAT32)

    def buffer(self, name: str, shape: Sequence[int]) -> Value:
        """A part of the buffer vector: numbers that training updates outside the gradient."""
        return self.leaf(BUFFER, name, shape, FLOAT32)

    def random_key(self) -> Value:
        """The key (seed, iteration, shard, 0) of this run's random numbers."""
        return self.leaf(INPUT, "random_key", (4,), INT64)

    def constant(self, array: np.ndarray) -> Value:
        """A tensor fixed when the graph is built."""
        array = np.asarray(array, order="C")  # ascontiguousarray would make a scalar (1,)
        if array.dtype.kind not in "fiu":
            raise ArgumentError(f"A constant must hold numbers. Received: {array.dtype}.")
        return self._append(CONSTANT, (), {"array": array}, [Spec(array.shape, str(array.dtype))])[0]

    def next_stream(self) -> int:
        """A number for each random node, in the order of building."""
        self._streams += 1
        return self._streams

    @contextmanager
    def label(self, label: str) -> Iterator[None]:
        """Nodes added inside belong to this layer; shape errors start with its name."""
        self._labels.append(label)
        try:
            yield
        except ShapeError as error:
            # Helpers of ops fail before there is a node; a message that names its layer already stays as it is.
            if label and str(error).startswith("expects "):
                raise ShapeError(f"{label} {error}") from None
            raise
        finally:
            self._labels.pop()

    def apply(self, op: Op, inputs: Sequence[Value], attrs: Mapping[str, Any]) -> tuple[Value, ...]:
        """Add a node: checks shapes by the op's rule; `ArgumentError` for values of another graph."""
        for value in inputs:
            if value.graph is not self:
                raise ArgumentError(f"{op.name} must get values of one graph. Received: {value} of another graph.")
        try:
            specs = op.shape(*(Spec(v.shape, v.dtype) for v in inputs), **attrs)
        except ShapeError as error:
            raise ShapeError(f"{self._labels[-1] if self._labels else op.name} {error}") from None
        return self._append(op, tuple(inputs), attrs, [specs] if isinstance(specs, Spec) else specs)

    def leaves(self, op: Op) -> dict[str, Value]:
        """Leaves of one kind (`PARAMETER`, `BUFFER`, `TABLE`, `INPUT`) by name, in the order of first use."""
        return {name: value for (kind, name), value in self._leaves.items() if kind == op.name}

    def leaf(self, op: Op, name: str, shape: Sequence[int], dtype: str) -> Value:
        """The leaf of this kind and name, made on first use."""
        key = (op.name, name)
        if key not in self._leaves:
            sizes = tuple(map(int, shape))
            if min(sizes, default=0) < 0 or dtype not in TYPES:
                raise ArgumentError(
                    f"{op.name} '{name}' must have sizes >= 0 and a type of {', '.join(TYPES)}. "
                    f"Received: {sizes} of {dtype}."
                )
            self._leaves[key] = self._append(op, (), {"name": name}, [Spec(sizes, dtype)])[0]
        return self._leaves[key]

    def _append(
        self, op: Op, inputs: tuple[Value, ...], attrs: Mapping[str, Any], specs: Sequence[Spec]
    ) -> tuple[Value, ...]:
        node = Node(self, op, inputs, attrs, self._labels[-1] if self._labels else "")
        node.outputs = tuple(Value(node, i, spec.shape, spec.dtype) for i, spec in enumerate(specs))
        self.nodes.append(node)
        return node.outputs


def apply(op: Op, *inputs: Value | None, **attrs: Any) -> tuple[Value, ...]:
    """Add a node to the graph of its inputs; optional inputs left out (None) must come last."""
    given = [value for value in inputs if value is not None]
    return given[0].graph.apply(op, given, attrs)


def needed(outputs: Sequence[Value]) -> list[Node]:
    """The nodes that these values need, in topological order."""
    wanted: set[int] = set()
    pending = [value.node for value in outputs]
    while pending:
        node = pending.pop()
        if id(node) not in wanted:
            wanted.add(id(node))
            pending.extend(value.node for value in node.inputs)
    return [node for node in outputs[0].graph.nodes if id(node) in wanted] if outputs else []


def _no_shape(*_: Spec, **__: Any) -> list[Spec]:
    raise ShapeError("is a leaf: use the methods of Graph.")


def _no_reference(**_: Any) -> np.ndarray:
    raise KeyError("a leaf has no value of its own")


INPUT = Op("input", _no_shape, _no_reference)
PARAMETER = Op("parameter", _no_shape, _no_reference)
TABLE = Op("table", _no_shape, _no_reference)
BUFFER = Op("buffer", _no_shape, _no_reference)
CONSTANT = Op("constant", _no_shape, lambda array: array)
