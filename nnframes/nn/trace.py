"""Tracing: a walk through layers that writes their arithmetic into a graph."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from kernels import ops
from kernels.graph import Graph, Value
from nnframes.errors import ArgumentError, ShapeError, UnsupportedError
from nnframes.nn.parameter import BUFFER, TABLE, Parameter
from nnframes.nn.walk import names_in, parameters_in

if TYPE_CHECKING:
    from nnframes.nn.layer import Layer

__all__ = ["Table", "Trace", "shape_of"]

Table: TypeAlias = "Value | list[Any]"  # what flows between layers: a tensor, or a list of such


class Trace:
    """One walk through a network, in training or in evaluation.

    A layer's `call(t, x)` gets it as `t`: `t(self.weight)` is the graph value of a parameter, `t.run(child, x)` applies
    a layer inside, `t.update(self.running_mean, mean)` records what a buffer is to be updated with.

    >>> from nnframes.nn import Linear
    >>> graph, layer = Graph(), Linear(784, 10)
    >>> t = Trace(layer, graph, training=True)
    >>> t.run(layer, graph.input("x", (32, 784))).shape
    (32, 10)
    """

    def __init__(self, layer: Layer | None, graph: Graph, training: bool) -> None:
        self.graph = graph
        self.training = training
        self.outputs: list[tuple[Layer, Table]] = []
        self.names = names_in(layer) if layer else {}
        self._paths = {parameter: path for path, parameter in (parameters_in(layer) if layer else [])}
        self._values: dict[Parameter, Value] = {}
        self._updates: dict[Parameter, list[Value]] = {}
        self._outermost = graph
        self._label = type(layer).__name__

    def __call__(self, parameter: Parameter) -> Value:
        """The value of a parameter in this graph."""
        if parameter not in self._values:
            if parameter not in self._paths:
                raise ArgumentError(
                    f"{self._label} parameter '{parameter.name}' must be an attribute of a layer inside."
                )
            leaf = {TABLE: self.graph.table, BUFFER: self.graph.buffer}.get(parameter.kind, self.graph.parameter)
            self._values[parameter] = leaf(self._paths[parameter], parameter.shape)
        return self._values[parameter]

    def used(self, parameter: Parameter) -> bool:
        """Whether the graph has asked for this parameter."""
        return parameter in self._values

    def run(self, layer: Layer, x: Table) -> Any:
        """Apply a layer; its nodes, and errors in them, carry its name."""
        with self.named(f"{type(layer).__name__} '{self.names[layer]}'"):
            if layer.takes != "any":
                self.expect(isinstance(x, Value) == (layer.takes == "tensor"), f"a {layer.takes}", x)
            y = layer.call(self, x)
        self.outputs.append((layer, y))
        return y

    @contextmanager
    def named(self, label: str) -> Iterator[None]:
        """Nodes and errors inside carry this label."""
        outer, self._label = self._label, label
        try:
            with self.graph.label(label):
                yield
        except ShapeError as error:
            # Shape rules do not know who asked; only the innermost layer puts its name before what they say.
            raise ShapeError(f"{label} {error}" if str(error).startswith("expects ") else str(error)) from None
        finally:
            self._label = outer

    def expect(self, condition: bool, wanted: str, x: Table | str) -> None:
        """Raise `ShapeError` that names the layer, unless `condition` holds."""
        if not condition:
            raise ShapeError(f"{self._label} expects {wanted}, received {x if isinstance(x, str) else shape_of(x)}.")

    def update(self, buffer: Parameter, statistic: Value) -> None:
        """Record what this batch says of a buffer; the trainer moves the buffer towards it."""
        if statistic.graph is not self._outermost:
            raise UnsupportedError(f"{self._label} updates '{buffer.name}', which the cell of a Recurrent cannot.")
        self._updates.setdefault(buffer, []).append(statistic)

    def statistics(self) -> dict[str, Value]:
        """The recorded statistics by the path of their buffer; those of a layer used twice are averaged."""
        return {
            self._paths[buffer]: found[0] if len(found) == 1 else ops.affine(ops.add_n(found), 1 / len(found))
            for buffer, found in self._updates.items()
        }

    def inside(self, graph: Graph, values: Mapping[Parameter, Value]) -> Trace:
        """The same walk inside a sub-graph, where parameters are the values given."""
        inner = copy.copy(self)
        inner.graph, inner._values, inner._paths, inner.outputs = graph, dict(values), {}, []
        return inner


def shape_of(x: Table) -> Any:
    """The shape of a tensor, or the list of the shapes of a table."""
    return x.shape if isinstance(x, Value) else [shape_of(part) for part in x]
