"""Convolutions made of products of matrices: which are, and what they are to the nodes around them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernels import Value, compile_graph, differentiate, evaluate, ops
from kernels.config import native_library
from kernels.graph import Graph
from tests.kernels.convolutions import SAME, check

pytestmark = pytest.mark.skipif(native_library() is None, reason="oneDNN is not here")


@pytest.mark.parametrize(
    ("x", "w", "other", "expected"),
    [
        ((32, 64, 56, 56), (192, 64, 3, 3), {}, "winograd"),
        ((32, 256, 14, 14), (256, 256, 3, 3), {}, "winograd"),
        ((32, 512, 7, 7), (512, 512, 3, 3), {}, "winograd"),
        ((64, 3, 32, 32), (64, 3, 3, 3), {}, None),  # too few channels
        ((64, 16, 32, 32), (16, 16, 3, 3), {}, None),
        ((1, 512, 7, 7), (512, 512, 3, 3), {}, None),  # the kernels' transforms alone take longer
        ((64, 512, 2, 2), (512, 512, 3, 3), {}, "kn2row"),
        ((64, 512, 2, 2), (16, 512, 3, 3), {}, None),
        ((16, 181, 2, 2), (182, 181, 3, 3), {}, "kn2row"),
        ((8, 512, 2, 2), (512, 512, 3, 3), {}, None),
        ((64, 64, 2, 2), (64, 64, 3, 3), {}, None),
        ((64, 512, 2, 1), (512, 512, 3, 3), {}, None),
        ((64, 512, 1, 1), (512, 512, 3, 3), {}, None),
        ((64, 512, 2, 2), (512, 512, 3, 3), {"strides": (2, 2)}, None),
        ((32, 64, 56, 56), (192, 64, 5, 5), {"padding": ((2, 2), (2, 2))}, None),
        ((32, 64, 56, 56), (192, 64, 3, 3), {"strides": (2, 2)}, None),
        ((32, 64, 56, 56), (192, 64, 3, 3), {"dilation": (2, 2)}, None),
        ((32, 64, 56, 56), (192, 64, 3, 3), {"padding": ((0, 0), (0, 0))}, None),
        ((32, 64, 56, 56), (192, 64, 3, 3), {"padding": ((1, 1), (1, 0))}, None),
        ((32, 128, 56, 56), (192, 64, 3, 3), {"groups": 2}, None),
        ((32, 64, 56), (192, 64, 3), {"strides": (1,), "padding": ((1, 1),), "dilation": (1,)}, None),
        ((2, 64, 9, 9, 9), (64, 64, 3, 3, 3), {"strides": (1, 1, 1)}, None),
    ],
)
def test_the_algorithm_follows_from_the_shape(x: tuple, w: tuple, other: dict[str, Any], expected: str | None) -> None:
    from kernels.onednn.convolution import by_products

    found = by_products({**SAME, **other}, x, w)
    assert (found and found.__name__.split(".")[-1]) == expected


SMALL = {
    "winograd": {"PASS": 0, "GAIN": 0.0, "ROWS": 1, "NUMBERS": 256},
    "kn2row": dict.fromkeys(("CHANNELS", "IMAGES", "WORK"), 1),
}
SIZES = {"winograd": (11, 12), "kn2row": (2, 2)}


@pytest.fixture(params=SMALL)
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[int, int]:
    """Of pictures that an algorithm takes however few they are."""
    module = __import__(f"kernels.onednn.{request.param}", fromlist=["suits"])
    for name, value in SMALL[request.param].items():
        monkeypatch.setattr(module, name, value)
    return SIZES[request.param]


def test_transposed_convolution_agrees_with_the_reference(size: tuple[int, int]) -> None:
    graph, rng = Graph(), np.random.default_rng(0)
    y, w = graph.input("y", (2, 6, *size)), graph.parameter("w", (6, 5, 3, 3))
    output = ops.convolution_backward_data(y, w, input_shape=(2, 5, *size), **SAME)
    program = compile_graph([output])
    numbers = {"y": rng.standard_normal(y.shape, np.float32), "w": rng.standard_normal(w.shape, np.float32)}
    program.bind({"w": numbers["w"]})
    assert any("matmul" in line for line in program.describe())
    check(program.run({"y": numbers["y"]}), evaluate([output], numbers))


Convolve = Callable[[Value, int], Value]
Network = Callable[[Value, Convolve], list[Value]]


def _one_after_the_other(x: Value, convolve: Convolve) -> list[Value]:
    """What follows may compute in place: neither pictures nor gradients must be lost."""
    for number in range(3):
        x = ops.sigmoid(ops.relu(convolve(x, number)))
    return [x]


def _results_before_and_after(x: Value, convolve: Convolve) -> list[Value]:
    y = convolve(x, 0)
    return [y, ops.relu(y)]


def _shortcut(x: Value, convolve: Convolve) -> list[Value]:
    y = ops.tanh(convolve(x, 0))
    return [ops.add(convolve(y, 1), y)]


def _branches(x: Value, convolve: Convolve) -> list[Value]:
    return [ops.concat([ops.relu(convolve(x, 0)), ops.sigmoid(convolve(x, 1)), convolve(x, 2)], axis=1)]


def _pooled(x: Value, convolve: Convolve) -> list[Value]:
    y = ops.max_pool(ops.relu(convolve(x, 0)), kernel=(2, 2), strides=(2, 2), padding=((0, 0), (0, 0)))
    return [y]


def _weights_used_twice(x: Value, convolve: Convolve) -> list[Value]:
    return [ops.relu(convolve(ops.relu(convolve(x, 0)), 0))]


NETWORKS = [_one_after_the_other, _results_before_and_after, _shortcut, _branches, _pooled, _weights_used_twice]


@pytest.mark.parametrize("fold", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_agree_with_the_reference(network: Network, fold: bool, size: tuple[int, int]) -> None:
    graph, rng = Graph(), np.random.default_rng(0)
    x = graph.input("x", (3, 8, *size))
    leaves = [graph.parameter(f"w{number}", (8, 8, 3, 3)) for number in range(3)]
    results = network(x, lambda value, number: ops.convolution(value, leaves[number], **SAME))
    seeds = {value: graph.input(f"dy{number}", value.shape) for number, value in enumerate(results)}
    gradients = differentiate(seeds, [x, *leaves])
    outputs = [*results, *(g for g in gradients.values() if isinstance(g, Value))]
    inputs = {name: rng.standard_normal(v.shape, np.float32) for name, v in _named(x, *seeds.values())}
    weights = {name: rng.standard_normal(v.shape, np.float32) / 4 for name, v in _named(*leaves)}
    program = compile_graph(outputs, fold=fold)
    program.bind(weights)
    check(program.run(inputs), evaluate(outputs, {**inputs, **weights}), 1e-4)


def _named(*leaves: Value) -> list[tuple[str, Value]]:
    return [(leaf.node.attrs["name"], leaf) for leaf in leaves]
