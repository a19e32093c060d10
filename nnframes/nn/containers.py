"""Containers of layers, and the layers that join, pick from and combine tables."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from kernels import ops
from kernels.graph import Value
from nnframes.errors import ArgumentError
from nnframes.nn.layer import Layer
from nnframes.nn.nest import flatten
from nnframes.nn.shape import axis_in_batch
from nnframes.nn.trace import Table, Trace
from nnframes.nn.walk import layers_in

__all__ = [
    "CAddTable",
    "CMaxTable",
    "CMulTable",
    "CSubTable",
    "Concat",
    "ConcatTable",
    "Container",
    "FlattenTable",
    "Identity",
    "JoinTable",
    "ParallelTable",
    "SelectTable",
    "Sequential",
]

C = TypeVar("C", bound="Container")


class Container(Layer):
    """A layer made of layers that are added one by one."""

    takes = "any"

    @property
    def layers(self) -> list[Layer]:
        """The layers in the order they were added."""
        return list(vars(self).get("_layers", []))

    def add(self: C, layer: Layer) -> C:
        """Append a layer; returns the container, so that calls chain."""
        if not isinstance(layer, Layer):
            raise ArgumentError(f"{type(self).__name__} must be given layers. Received: {type(layer).__name__}.")
        if self in layers_in(layer):
            raise ArgumentError(f"{type(self).__name__} must not contain itself.")
        self._layers: list[Layer] = [*self.layers, layer]
        return self.changed()

    def structure(self) -> dict[str, Any]:
        layers, order = distinct(self.layers)
        return {"layers": layers, "order": order}

    @classmethod
    def from_structure(cls: type[C], args: dict[str, Any], state: dict[str, Any]) -> C:
        container = cls(**args)
        for index in state["order"]:
            container.add(state["layers"][index])
        return container


def distinct(layers: list[Layer]) -> tuple[list[Layer], list[int]]:
    """Each layer once, and for every place the number of the layer that stands there.

    Raises `ArgumentError` when two of them share a layer inside: a config describes a tree, which would double it.
    """
    once = list(dict.fromkeys(layers))
    seen: dict[Layer, Layer] = {}
    for layer in once:
        for inner in layers_in(layer):
            if seen.setdefault(inner, layer) is not layer:
                raise ArgumentError(
                    f"A config cannot describe a {type(inner).__name__} that two containers share. "
                    "Hint: apply the shared layer at two nodes of one graph Model."
                )
    return once, [once.index(layer) for layer in layers]


class Sequential(Container):
    """Layers one after the other.

    >>> from nnframes.nn import Linear, Tanh
    >>> Sequential().add(Linear(784, 100)).add(Tanh()).output_shape((32, 784))
    (32, 100)
    """

    def call(self, t: Trace, x: Table) -> Table:
        for layer in self.layers:
            x = t.run(layer, x)
        return x


class ConcatTable(Container):
    """The same input through every layer: a table of their outputs.

    >>> from nnframes.nn import Linear
    >>> ConcatTable().add(Linear(4, 3)).add(Linear(4, 2)).output_shape((32, 4))
    [(32, 3), (32, 2)]
    """

    def call(self, t: Trace, x: Table) -> Table:
        return [t.run(layer, x) for layer in self.layers]


class ParallelTable(Container):
    """The i-th layer gets the i-th part of the input: a table of their outputs.

    >>> from nnframes.nn import Linear
    >>> ParallelTable().add(Linear(4, 3)).add(Linear(5, 2)).output_shape([(32, 4), (32, 5)])
    [(32, 3), (32, 2)]
    """

    takes = "table"

    def call(self, t: Trace, x: list[Table]) -> Table:
        t.expect(len(x) == len(self.layers), f"a table of {len(self.layers)}", x)
        return [t.run(layer, part) for layer, part in zip(self.layers, x, strict=True)]


class Concat(Container):
    """The same input through every layer, their outputs joined along `dimension` (0 is the batch; BigDL counts from 1).

    >>> from nnframes.nn import SpatialConvolution
    >>> branches = Concat(1).add(SpatialConvolution(3, 4, 1, 1)).add(SpatialConvolution(3, 6, 1, 1))
    >>> branches.output_shape((2, 3, 8, 8))
    (2, 10, 8, 8)
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def call(self, t: Trace, x: Table) -> Table:
        outputs = [t.run(layer, x) for layer in self.layers]
        t.expect(bool(outputs), "at least one layer", x)
        return ops.concat(outputs, self.dimension)


class JoinTable(Layer):
    """The tensors of a table, joined along `dimension`.

    `dimension` counts the batch as 0, unless `n_input_dims` says how many dimensions one row has: then it counts
    those, and a batch in front of them moves it by one.

    >>> JoinTable(1).output_shape([(32, 3), (32, 2)])
    (32, 5)
    """

    takes = "table"

    def __init__(self, dimension: int, n_input_dims: int = -1) -> None:
        self.dimension = dimension
        self.n_input_dims = n_input_dims

    def call(self, t: Trace, x: list[Any]) -> Value:
        _tensors(t, x, 1)
        return ops.concat(x, axis_in_batch(x[0], self.dimension, self.n_input_dims))


class SelectTable(Layer):
    """The part of a table at `index`, counted from 0; negative counts from the end.

    >>> SelectTable(1).output_shape([(32, 3), (32, 2)])
    (32, 2)
    """

    takes = "table"

    def __init__(self, index: int) -> None:
        self.index = index

    def call(self, t: Trace, x: list[Table]) -> Table:
        t.expect(-len(x) <= self.index < len(x), f"a table with a part {self.index}", x)
        return x[self.index]


class FlattenTable(Layer):
    """A table of tables as one flat table.

    >>> FlattenTable().output_shape([(32, 3), [(32, 2), (32, 1)]])
    [(32, 3), (32, 2), (32, 1)]
    """

    takes = "table"

    def call(self, t: Trace, x: list[Table]) -> Table:
        return flatten(x)


class Identity(Layer):
    """What comes in, unchanged.

    >>> Identity().output_shape((32, 10))
    (32, 10)
    """

    takes = "any"

    def call(self, t: Trace, x: Table) -> Table:
        return x


class CAddTable(Layer):
    """The sum of the tensors of a table, x0 + x1 + ..., with broadcasting.

    >>> CAddTable().output_shape([(32, 10), (32, 10), (32, 10)])
    (32, 10)
    """

    takes = "table"

    def __init__(self, inplace: bool = False) -> None:
        self.inplace = inplace

    def call(self, t: Trace, x: list[Any]) -> Value:
        _tensors(t, x, 1)
        return ops.add_n(x) if len({part.shape for part in x}) == 1 else _fold(ops.add, x)


class CMulTable(Layer):
    """The product of the tensors of a table, x0 * x1 * ..., with broadcasting.

    >>> CMulTable().output_shape([(32, 10), (32, 1)])
    (32, 10)
    """

    takes = "table"

    def call(self, t: Trace, x: list[Any]) -> Value:
        _tensors(t, x, 1)
        return _fold(ops.multiply, x)


class CSubTable(Layer):
    """The difference of the two tensors of a table, x0 - x1, with broadcasting.

    >>> CSubTable().output_shape([(32, 10), (32, 10)])
    (32, 10)
    """

    takes = "table"

    def call(self, t: Trace, x: list[Any]) -> Value:
        _tensors(t, x, 2, 2)
        return ops.subtract(x[0], x[1])


class CMaxTable(Layer):
    """The largest of the tensors of a table, element by element, with broadcasting.

    >>> CMaxTable().output_shape([(32, 10), (32, 10)])
    (32, 10)
    """

    takes = "table"

    def call(self, t: Trace, x: list[Any]) -> Value:
        _tensors(t, x, 1)
        return _fold(ops.maximum, x)


def _tensors(t: Trace, x: list[Any], least: int, most: int | None = None) -> None:
    flat = all(isinstance(part, Value) for part in x)
    wanted = f"a table of {most} tensors" if most else "a table of tensors"
    t.expect(flat and len(x) >= least and (most is None or len(x) <= most), wanted, x)


def _fold(op: Callable[[Value, Value], Value], x: list[Value]) -> Value:
    total = x[0]
    for part in x[1:]:
        total = op(total, part)
    return total
