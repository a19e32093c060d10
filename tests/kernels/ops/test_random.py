from __future__ import annotations

import numpy as np
import pytest

from kernels import compile_graph, ops
from kernels.errors import ArgumentError, ShapeError
from kernels.gradient import differentiate
from kernels.graph import Graph
from kernels.random import uniform_mask
from kernels.reference import evaluate


def mask(key: tuple[int, int, int], stream: int) -> np.ndarray:
    y = ops.bernoulli_mask(Graph().random_key(), (400, 50), keep=0.8, stream=stream)
    return evaluate([y], {"random_key": np.array([*key, 0], np.int64)})[0]


def test_mask_has_two_values_in_the_right_share() -> None:
    drawn = mask((1, 2, 3), 1)
    assert drawn.dtype == np.uint8
    assert np.unique(drawn).tolist() == [0, 1]
    assert abs(drawn.mean() - 0.8) < 0.02


@pytest.mark.parametrize(("key", "stream"), [((2, 2, 3), 1), ((1, 3, 3), 1), ((1, 2, 4), 1), ((1, 2, 3), 2)])
def test_seed_iteration_shard_and_node_each_change_the_mask(key: tuple[int, int, int], stream: int) -> None:
    first = mask((1, 2, 3), 1)
    np.testing.assert_array_equal(first, mask((1, 2, 3), 1))
    assert 0.25 < np.mean(first != mask(key, stream)) < 0.39  # 2 * 0.8 * 0.2 if independent


def test_two_dropouts_differ_and_the_gradient_uses_the_same_mask() -> None:
    graph = Graph()
    x, seed = graph.input("x", (40, 50)), graph.input("seed", (40, 50))
    first, second = ops.dropout(x, 0.5), ops.dropout(x, 0.5)
    dx = differentiate({first: seed}, [x])[x]
    ones = np.ones((40, 50), np.float32)
    feeds = {"x": ones, "seed": ones, "random_key": np.array([1, 2, 3, 0])}
    a, b, gradient = evaluate([first, second, dx], feeds)
    np.testing.assert_array_equal(a, gradient)
    assert (a != b).any()


@pytest.mark.parametrize("keep", [0.0, 1.5])
def test_keep_is_a_probability(keep: float) -> None:
    with pytest.raises(ArgumentError, match="keep must be in"):
        ops.dropout(Graph().input("x", (2,)), keep)


@pytest.mark.parametrize("scale", [1.0, 1.25])
def test_what_is_kept_is_scaled(scale: float) -> None:
    graph = Graph()
    x = graph.input("x", (40, 50))
    y = ops.dropout(x, 0.8, scale=scale != 1.0)
    found = evaluate([y], {"x": np.ones((40, 50), np.float32), "random_key": np.array([1, 2, 3, 0])})[0]
    assert np.unique(found).tolist() == [0, scale]


def test_a_mask_must_fit_and_be_of_bytes() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    with pytest.raises(ShapeError, match=r"a mask that broadcasts to \(2, 3\)"):
        ops.masked(x, graph.input("large", (4, 2, 3), "uint8"))
    with pytest.raises(ShapeError, match="a mask"):
        ops.masked(x, graph.input("floats", (2, 3)))


@pytest.mark.parametrize("shape", [(4, 16, 8, 8), (4, 3, 7, 7), (2, 32, 5, 5), (6, 40)], ids=str)
def test_a_mask_is_brought_to_the_order_that_a_convolution_leaves(shape: tuple[int, ...]) -> None:
    """In training and in its gradient, bit by bit what numpy makes of the same numbers."""
    graph, rng = Graph(), np.random.default_rng(0)
    x, seed = graph.input("x", shape), graph.input("seed", shape)
    weights = rng.standard_normal((shape[1], shape[1], *(3 for _ in shape[2:])), np.float32)
    w = graph.constant(weights)
    y = ops.convolution(x, w, padding=(1, 1)) if len(shape) == 4 else ops.linear(x, w)
    z = ops.dropout(y, 0.75)
    dy = differentiate({z: seed}, [y])[y]
    feeds = {"x": rng.standard_normal(shape, np.float32), "seed": rng.standard_normal(shape, np.float32)}
    feeds["random_key"] = np.array([1, 2, 3, 0], np.int64)
    before, after, gradient = compile_graph([y, z, dy]).run(feeds)
    mask = uniform_mask(1, (2, 3, 0, z.node.inputs[1].node.attrs["stream"]), shape, 0.75)
    np.testing.assert_array_equal(after, before * mask * np.float32(1 / 0.75))
    np.testing.assert_array_equal(gradient, feeds["seed"] * mask * np.float32(1 / 0.75))
