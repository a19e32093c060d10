from __future__ import annotations

import numpy as np
import pytest

from kernels import ops
from kernels.errors import ArgumentError
from kernels.gradient import differentiate
from kernels.graph import Graph
from kernels.reference import evaluate


def mask(key: tuple[int, int, int], stream: int, **settings: object) -> np.ndarray:
    y = ops.bernoulli_mask(Graph().random_key(), (400, 50), keep=0.8, stream=stream, **settings)
    return evaluate([y], {"random_key": np.array([*key, 0], np.int64)})[0]


def test_mask_has_two_values_in_the_right_share() -> None:
    drawn = mask((1, 2, 3), 1)
    np.testing.assert_allclose(np.unique(drawn), [0, 1.25])
    assert abs(drawn.mean() - 1) < 0.02
    assert np.unique(mask((1, 2, 3), 1, scale=False)).tolist() == [0, 1]


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
