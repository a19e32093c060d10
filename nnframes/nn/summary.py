"""Summaries: a network as a table of layers."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from kernels.graph import Graph
from nnframes.errors import ArgumentError
from nnframes.nn.parameter import BUFFER, Parameter
from nnframes.nn.trace import Trace, shape_of
from nnframes.nn.walk import names_in, parameters_in

if TYPE_CHECKING:
    from nnframes.nn.layer import Layer

__all__ = ["summary_of"]

_HEAD = ("Layer", "Class", "Output shape", "Parameters")


def summary_of(model: Layer, input_shape: Sequence[Any] | None = None) -> str:
    """Print and return the table of the layers of `model`; see `Layer.summary`.

    >>> from nnframes.nn import Linear, Sequential, Tanh
    >>> text = summary_of(Sequential().add(Linear(784, 10)).add(Tanh()), (784,))
    Layer     Class   Output shape  Parameters
    ------------------------------------------
    linear_1  Linear  (batch, 10)        7,850
    tanh_1    Tanh    (batch, 10)            0
    ------------------------------------------
    Parameters: 7,850. Buffers: 0.
    """
    rows = _rows(model, input_shape)
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    lines = ["  ".join([*map(str.ljust, row[:-1], widths), row[-1].rjust(widths[-1])]) for row in [_HEAD, *rows]]
    rule = "-" * len(lines[0])
    sizes = [0, 0]
    for _, parameter in parameters_in(model):
        sizes[parameter.kind == BUFFER] += parameter.size
    total = f"Parameters: {sizes[0]:,}. Buffers: {sizes[1]:,}."
    text = "\n".join([lines[0], rule, *lines[1:], rule, total])
    sys.stdout.write(text + "\n")
    return text


def _rows(model: Layer, input_shape: Sequence[Any] | None) -> list[tuple[str, str, str, str]]:
    graph = Graph()
    shape = getattr(model, "input_shape", None) if input_shape is None else input_shape
    if shape is None:
        return _rows_without_shapes(model)
    _check(model, shape)
    t = Trace(model, graph, training=False)
    t.run(model, _batch(graph, shape, "input"))
    shown = {layer for layer, _ in t.outputs}
    counted: set[Parameter] = set()
    rows = []
    for layer, output in t.outputs:
        # A layer whose children have rows of their own adds nothing, unless it has parameters itself.
        is_shell = any(child in shown for child in layer.children())
        inside = layer.own_parameters() if is_shell else [own for _, own in parameters_in(layer)]
        if is_shell and not inside:
            continue
        count = sum(own.size for own in inside if own.kind != BUFFER and own not in counted)
        counted.update(inside)
        rows.append((t.names[layer], type(layer).__name__, _text(shape_of(output)), f"{count:,}"))
    return rows


def _rows_without_shapes(model: Layer) -> list[tuple[str, str, str, str]]:
    """What can be said before the shape of an input is known: the layers that hold numbers or nothing else."""
    rows = []
    for layer, name in names_in(model).items():
        own = layer.own_parameters()
        if own or not layer.children():
            count = sum(parameter.size for parameter in own if parameter.kind != BUFFER)
            rows.append((name, type(layer).__name__, "?", f"{count:,}"))
    return rows


def _check(model: Layer, shape: Any) -> None:
    sizes = shape if isinstance(shape, (list, tuple)) else [None]
    nested = bool(sizes) and all(isinstance(size, (list, tuple)) for size in sizes)
    if nested:
        for part in sizes:
            _check(model, part)
    elif not all(isinstance(size, (int, np.integer)) and size >= 0 for size in sizes):
        raise ArgumentError(
            f"{type(model).__name__} summary must be told the shape of one row, without the batch. "
            f"Received: {shape!r}. Hint: summary((1, 28, 28))."
        )


def _batch(graph: Graph, shape: Sequence[Any], name: str) -> Any:
    if shape and any(isinstance(part, (list, tuple)) for part in shape):
        return [_batch(graph, part, f"{name}_{i}") for i, part in enumerate(shape)]
    # Two rows, as one could be mistaken for a dimension of size 1 that a layer drops.
    return graph.input(name, (2, *shape))


def _text(shape: Any) -> str:
    if isinstance(shape, list):
        return f"[{', '.join(map(_text, shape))}]"
    return f"(batch{''.join(f', {size}' for size in shape[1:])})" if shape[:1] == (2,) else str(shape)
