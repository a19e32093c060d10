"""Evaluation of a graph with numpy, node by node: the definition of what a graph means.

It is also what runs where no native library is available. Numbers keep the type of the feeds: float32 gives float32,
and float64 feeds give a float64 evaluation, which gradient checks need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from kernels.errors import ArgumentError, ShapeError
from kernels.graph import CONSTANT, Node, Value, needed


def evaluate(outputs: Sequence[Value], feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
    """Values of these outputs; `feeds` gives an array for every leaf by name (inputs, parameters, tables and buffers).

    Raises `ArgumentError` for a leaf without a feed, `ShapeError` for a feed of another shape.

    >>> from kernels import ops
    >>> from kernels.graph import Graph
    >>> x = Graph().input("x", (2,))
    >>> evaluate([ops.square(x)], {"x": np.array([2.0, 3.0], np.float32)})[0].tolist()
    [4.0, 9.0]
    """
    nodes = needed(outputs)
    uses = _uses(nodes, outputs)
    known: dict[Value, np.ndarray] = {}
    for node in nodes:
        known.update(zip(node.outputs, run_node(node, known, feeds), strict=True))
        for value in node.inputs:
            uses[value] -= 1
            if not uses[value]:
                known.pop(value, None)
    return [known[value] for value in outputs]


def run_node(node: Node, known: Mapping[Value, np.ndarray], feeds: Mapping[str, np.ndarray]) -> Sequence[np.ndarray]:
    """The output arrays of one node, its input arrays being known."""
    if not node.inputs and node.op is not CONSTANT:
        return [_feed(node, feeds)]
    with silent():
        return [np.asarray(array) for array in compute(node, [known[value] for value in node.inputs])]


def silent() -> np.errstate:
    """What definitions are applied in: as in native calls, overflow gives inf and 0 / 0 gives nan."""
    return np.errstate(all="ignore")


def compute(node: Node, arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, ...]:
    """The definition of one node, applied; what is wrong with the arrays is said with the layer's name."""
    try:
        result = node.op.reference(*arrays, **node.attrs)
    except ArgumentError as error:
        raise ArgumentError(f"{node.label or node.op.name}: {error}") from None
    return result if isinstance(result, tuple) else (result,)


def _feed(node: Node, feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    name, shape = node.attrs["name"], node.outputs[0].shape
    if name not in feeds:
        raise ArgumentError(
            f"feeds must hold '{name}' of shape {shape}. Received: {', '.join(sorted(feeds)) or 'none'}."
        )
    array = np.asarray(feeds[name])
    if array.shape != shape:
        raise ShapeError(f"feed '{name}' expects {shape}, received {array.shape}.")
    return array


def _uses(nodes: Sequence[Node], outputs: Sequence[Value]) -> dict[Value, int]:
    """How often each value is read; outputs once more, so that they stay."""
    uses: dict[Value, int] = {}
    for value in (*outputs, *(value for node in nodes for value in node.inputs)):
        uses[value] = uses.get(value, 0) + 1
    return uses
