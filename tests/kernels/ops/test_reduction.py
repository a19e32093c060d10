from __future__ import annotations

import numpy as np
import pytest

from kernels import ops
from kernels.errors import ArgumentError
from kernels.gradient import differentiate
from kernels.graph import Graph
from kernels.reference import evaluate


def test_equal_maxima_share_the_gradient() -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    y = ops.reduce(x, "max", 1)
    dx = differentiate({y: graph.input("dy", (2,))}, [x])[x]
    feeds = {"x": np.array([[1, 2, 2], [3, 0, 1]], np.float32), "dy": np.array([1, 10], np.float32)}
    assert evaluate([dx], feeds)[0].tolist() == [[0, 0.5, 0.5], [10, 0, 0]]


def test_first_argument_of_maximum_takes_the_gradient_of_a_tie() -> None:
    graph = Graph()
    a, b = graph.input("a", (2,)), graph.input("b", (2,))
    gradients = differentiate({ops.maximum(a, b): graph.input("dy", (2,))}, [a, b])
    feeds = {"a": np.ones(2, np.float32), "b": np.array([1, 2], np.float32), "dy": np.ones(2, np.float32)}
    assert [evaluate([gradients[value]], feeds)[0].tolist() for value in (a, b)] == [[1, 0], [0, 1]]


def test_unknown_kind_is_refused() -> None:
    with pytest.raises(ArgumentError, match="kind must be one of max, mean, min, sum"):
        ops.reduce(Graph().input("x", (2, 3)), "median")
