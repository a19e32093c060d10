"""Derivation of gradients: a walk over the graph from the outputs back, by the rule of each op."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernels.errors import UnsupportedError
from kernels.graph import Node, RowGradient, Value, needed
from kernels.ops.elementwise import add_n
from kernels.ops.shape import concat

Gradient = Value | RowGradient


def differentiate(seeds: Mapping[Value, Value], wrt: Sequence[Value]) -> dict[Value, Gradient | None]:
    """Gradients of `sum over seeds of <output, seed>` with respect to `wrt`, as new nodes of the same graph.

    A value that no seeded output depends on has gradient None. Nodes that only lead to unwanted gradients are built
    but, as nobody needs them, never run. Raises `UnsupportedError` naming the op that has no gradient rule.

    >>> from kernels import ops
    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> x, w = graph.input("x", (2, 3)), graph.parameter("w", (4, 3))
    >>> y = ops.linear(x, w)
    >>> differentiate({y: graph.input("dy", (2, 4))}, [w])[w].shape
    (4, 3)
    """
    nodes = needed(list(seeds))
    active = _depends_on(nodes, wrt)
    parts: dict[Value, list[Gradient]] = {value: [seed] for value, seed in seeds.items()}
    for node in reversed(nodes):
        if id(node) not in active or not node.inputs:
            continue
        received = [_total(parts.get(value, [])) for value in node.outputs]
        if all(gradient is None for gradient in received):
            continue
        with node.graph.label(node.label or node.op.name):
            _push(node, received, active, parts)
    return {value: _total(parts.get(value, [])) for value in wrt}


def _push(node: Node, received: list[Gradient | None], active: set[int], parts: dict[Value, list[Gradient]]) -> None:
    if node.op.gradient is None:
        raise UnsupportedError(f"{node.label or node.op.name}: op '{node.op.name}' has no gradient.")
    for value, gradient in zip(node.inputs, node.op.gradient(node, *received), strict=True):
        if gradient is not None and id(value.node) in active:
            parts.setdefault(value, []).append(gradient)


def _depends_on(nodes: Sequence[Node], wrt: Sequence[Value]) -> set[int]:
    active = {id(value.node) for value in wrt}
    for node in nodes:
        if any(id(value.node) in active for value in node.inputs):
            active.add(id(node))
    return active


def _total(gradients: Sequence[Gradient]) -> Gradient | None:
    if not gradients:
        return None
    if len(gradients) == 1:
        return gradients[0]
    if isinstance(gradients[0], RowGradient):
        rows, values = zip(*gradients, strict=True)
        return RowGradient(concat(rows, 0), concat(values, 0))
    return add_n([gradient for gradient in gradients if isinstance(gradient, Value)])
