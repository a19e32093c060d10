"""Batch normalisation folded into the layer before it: a rewrite of the graph for inference.

With given statistics, batch norm is a multiplication and an addition per channel. After a convolution or a linear map
that nobody else reads, both go into that layer's weights and bias. They are computed from parameters alone, so once
and not at every run, and the activation that follows becomes part of the same native call.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from kernels.graph import CONSTANT, INPUT, Graph, Node, Op, Spec, Value, needed
from kernels.ops.convolution import CONVOLUTION
from kernels.ops.linear import LINEAR
from kernels.ops.normalization import BATCH_NORM_INFERENCE


def fold_batch_norm(outputs: Sequence[Value]) -> list[Value]:
    """The same outputs in a graph of their own, without the batch norms that could be folded.

    w' = w gamma / sqrt(variance + eps) and b' = beta + (b - mean) gamma / sqrt(variance + eps), where w, b and the
    arguments of the batch norm depend on no input. Outputs without such batch norms are returned as they are.

    >>> from kernels import ops
    >>> graph = Graph()
    >>> y = ops.linear(graph.input("x", (8, 3)), graph.parameter("w", (5, 3)))
    >>> y = ops.batch_norm_inference(y, *(graph.buffer(name, (5,)) for name in ("gamma", "beta", "mean", "variance")))
    >>> [node.op.name for node in needed(fold_batch_norm([y]))][-2:]
    ['fold_batch_norm', 'linear']
    """
    nodes = needed(outputs)
    before = _foldable(nodes, outputs)
    if not before:
        return list(outputs)
    graph = Graph()
    copies: dict[Value, Value] = {}
    for node in nodes:
        with graph.label(node.label):
            made = _folded(before[node], node, copies) if node in before else _copied(graph, node, copies)
        copies.update(zip(node.outputs, made, strict=True))
    return [copies[value] for value in outputs]


def _foldable(nodes: Sequence[Node], outputs: Sequence[Value]) -> dict[Node, Node]:
    """The layer before each batch norm that can be folded into it."""
    uses = Counter([*outputs, *(value for node in nodes for value in node.inputs)])
    fixed: set[Value] = set()
    before = {}
    for node in nodes:
        if node.op is not INPUT and all(value in fixed for value in node.inputs):
            fixed.update(node.outputs)
        if node.op is BATCH_NORM_INFERENCE:
            x, *statistics = node.inputs
            alone = x.node.op in (CONVOLUTION, LINEAR) and uses[x] == 1
            if alone and x not in fixed and all(value in fixed for value in (*x.node.inputs[1:], *statistics)):
                before[node] = x.node
    return before


def _folded(layer: Node, norm: Node, copies: dict[Value, Value]) -> tuple[Value, ...]:
    x, w, *bias = (copies[value] for value in layer.inputs)
    graph = x.graph
    weights = graph.apply(FOLD, [w, *(copies[value] for value in norm.inputs[1:]), *bias], norm.attrs)
    with graph.label(layer.label):
        return graph.apply(layer.op, [x, *weights], layer.attrs)


def _copied(graph: Graph, node: Node, copies: dict[Value, Value]) -> tuple[Value, ...]:
    if node.inputs:
        return graph.apply(node.op, [copies[value] for value in node.inputs], node.attrs)
    value = node.outputs[0]
    if node.op is CONSTANT:
        return (graph.constant(node.attrs["array"]),)
    return (graph.leaf(node.op, node.attrs["name"], value.shape, value.dtype),)


def _shape(w: Spec, gamma: Spec, *_: Spec, eps: float) -> list[Spec]:
    return [w, gamma]


def _fold(
    w: np.ndarray,
    gamma: np.ndarray,
    beta: np.ndarray,
    mean: np.ndarray,
    variance: np.ndarray,
    b: np.ndarray | float = 0.0,
    *,
    eps: float,
) -> tuple[np.ndarray, np.ndarray]:
    scale = gamma / np.sqrt(variance + eps)
    return w * scale.reshape(-1, *(1,) * (w.ndim - 1)), beta + (b - mean) * scale


FOLD = Op("fold_batch_norm", _shape, _fold)
