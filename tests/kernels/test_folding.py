"""Batch norm folded into the layer before it: the same numbers, fewer calls, and only where it is right."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from kernels import Graph, Value, compile_graph, evaluate, ops
from kernels.folding import fold_batch_norm
from kernels.graph import CONSTANT, INPUT, needed


@dataclass(frozen=True)
class Layer:
    """A layer whose result is normalised."""

    x: tuple[int, ...]
    w: tuple[int, ...]
    bias: bool = True
    attrs: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"{self.x}{self.w}{self.bias}{self.attrs}".replace(" ", "")

    def build(self, graph: Graph) -> Value:
        x, w = graph.input("x", self.x), graph.parameter("w", self.w)
        b = graph.parameter("b", self.w[:1]) if self.bias else None
        return ops.linear(x, w, b) if len(self.w) == 2 else ops.convolution(x, w, b, **self.attrs)


LAYERS = [
    Layer((2, 3, 9, 8), (5, 3, 3, 3), attrs={"padding": ((1, 1), (1, 1))}),
    Layer((1, 16, 6, 6), (32, 16, 3, 3), bias=False),
    Layer((2, 4, 9, 9), (6, 2, 3, 3), attrs={"groups": 2}),
    Layer((2, 17, 7, 7), (17, 1, 3, 3), bias=False, attrs={"groups": 17, "strides": (2, 2)}),
    Layer((2, 3, 13), (5, 3, 4)),
    Layer((1, 2, 5, 6, 4), (3, 2, 3, 2, 2)),
    Layer((8, 7), (33, 7)),
    Layer((1, 7), (3, 7), bias=False),
]


def norm(y: Value, kind: str = "buffer") -> Value:
    leaf = getattr(y.graph, kind)
    return ops.batch_norm_inference(y, *(leaf(name, y.shape[1:2]) for name in ("gamma", "beta", "mean", "variance")))


def feeds_of(graph: Graph) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(5)
    low = {"variance": 0.2}
    return {
        node.attrs["name"]: rng.uniform(low.get(node.attrs["name"], -1.0), 2.0, node.outputs[0].shape).astype("f")
        for node in graph.nodes
        if not node.inputs and node.op is not CONSTANT
    }


def names(program: Any) -> list[str]:
    return [line.split()[0] for line in program.describe()]


@pytest.mark.usefixtures("native")
@pytest.mark.parametrize("activation", [None, ops.relu, ops.tanh], ids=["plain", "relu", "tanh"])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_folded_programs_agree_with_the_reference(layer: Layer, activation: Any) -> None:
    graph = Graph()
    y = norm(layer.build(graph))
    y = activation(y) if activation else y
    program = compile_graph([y], fold=True)
    feeds = feeds_of(graph)
    inputs = {name: feeds.pop(name) for name in graph.leaves(INPUT)}
    for factor in (1.0, 0.5):  # other weights are folded anew
        leaves = {name: array * np.float32(factor) for name, array in feeds.items()}
        program.bind(leaves)
        expected = evaluate([y], {**inputs, **leaves})[0]
        np.testing.assert_allclose(program.run(inputs)[0], expected, rtol=2e-4, atol=2e-5)
    assert not {"batch_normalization_forward", "eltwise_forward", "batch_norm_inference", "unary"} & set(names(program))


def ops_of(outputs: list[Value]) -> list[str]:
    return [node.op.name for node in needed(fold_batch_norm(outputs))]


def test_a_layer_that_others_read_too_stays() -> None:
    y = LAYERS[0].build(Graph())
    assert "fold_batch_norm" not in ops_of([norm(y), y])
    assert "fold_batch_norm" not in ops_of([ops.add(norm(y), y)])


def test_weights_or_statistics_that_depend_on_inputs_stay() -> None:
    assert "fold_batch_norm" not in ops_of([norm(LAYERS[0].build(Graph()), kind="input")])
    graph = Graph()
    y = ops.linear(graph.parameter("x", (4, 3)), graph.input("w", (5, 3)))
    assert "fold_batch_norm" not in ops_of([norm(y)])


def test_two_norms_in_a_row_fold_once_and_keep_labels() -> None:
    graph = Graph()
    with graph.label("conv"):
        y = LAYERS[0].build(graph)
    with graph.label("norm"):
        y = norm(norm(y))
    folded = fold_batch_norm([y])
    labels = {node.op.name: node.label for node in needed(folded)}
    assert (labels["convolution"], labels["fold_batch_norm"]) == ("conv", "norm")
    feeds = feeds_of(graph)
    np.testing.assert_allclose(evaluate(folded, feeds)[0], evaluate([y], feeds)[0], rtol=2e-4, atol=2e-5)


def test_constants_and_several_outputs_are_kept() -> None:
    graph = Graph()
    y = norm(LAYERS[-2].build(graph))
    outputs = [y, ops.add(y, graph.constant(np.float32(2))), y]
    feeds = feeds_of(graph)
    for ours, theirs in zip(evaluate(fold_batch_norm(outputs), feeds), evaluate(outputs, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5)


@pytest.mark.usefixtures("native")
def test_a_network_for_inference_has_no_batch_norm_left() -> None:
    from nnframes.models import VggForCifar10
    from nnframes.nn.network import Predictor

    program = Predictor(VggForCifar10(10), 2, (3, 32, 32), threads=1)._program
    assert not {"batch_normalization_forward", "batch_norm_inference", "eltwise_forward"} & set(names(program))
