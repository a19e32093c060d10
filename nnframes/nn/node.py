"""Nodes of graph models: where a layer is applied to the outputs of other nodes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nnframes.errors import ArgumentError

if TYPE_CHECKING:
    from nnframes.nn.layer import Layer

__all__ = ["Input", "Node"]


@dataclass(eq=False)
class Node:
    """One application of a layer; `layer` is None for the inputs of a model."""

    layer: Layer | None
    inputs: tuple[Node, ...] = ()
    shape: tuple[int, ...] | None = None
    name: str | None = None


def Input(shape: Sequence[int] | None = None, name: str | None = None) -> Node:
    """An input of a graph model; `shape` is that of one row, without the batch.

    >>> Input((1, 28, 28)).shape
    (1, 28, 28)
    """
    return Node(None, (), None if shape is None else tuple(map(int, shape)), name)


def applied(layer: Layer, nodes: Node | Sequence[Node]) -> Node:
    """The node that applies `layer` to `nodes`."""
    inputs = tuple(nodes) if isinstance(nodes, (list, tuple)) else (nodes,)
    for node in inputs:
        if not isinstance(node, Node):
            label = type(layer).__name__
            raise ArgumentError(
                f"{label} must be called on nodes of a graph, such as Input(). Received: {type(node).__name__}. "
                f"Hint: use {label}.forward(array) to compute."
            )
    if not inputs:
        raise ArgumentError(f"{type(layer).__name__} must be called on one node at least. Received: none.")
    return Node(layer, inputs)
