from __future__ import annotations

import numpy as np
import pytest

from kernels import ops
from kernels.errors import ArgumentError
from kernels.graph import Graph
from kernels.reference import evaluate


def test_batch_norm_gives_the_moments_it_divides_by() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(3, 2, size=(4, 3, 5, 6))
    graph = Graph()
    values = ops.batch_norm(graph.input("x", x.shape), graph.input("g", (3,)), graph.input("b", (3,)), eps=0.0)
    y, mean, variance = evaluate(values, {"x": x, "g": np.full(3, 2.0), "b": np.full(3, 7.0)})
    np.testing.assert_allclose(mean, x.mean((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(variance, x.var((0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(y.mean((0, 2, 3)), 7, rtol=1e-12)
    np.testing.assert_allclose(y.std((0, 2, 3)), 2, rtol=1e-12)


@pytest.mark.parametrize("size", [0, 4])
def test_lrn_window_is_odd(size: int) -> None:
    with pytest.raises(ArgumentError, match=f"size must be odd and >= 1. Received: size={size}."):
        ops.lrn(Graph().input("x", (1, 8, 2, 2)), size=size)


def test_eps_is_not_negative() -> None:
    graph = Graph()
    with pytest.raises(ArgumentError, match="eps must be >= 0"):
        ops.batch_norm(graph.input("x", (4, 3)), graph.input("g", (3,)), graph.input("b", (3,)), eps=-1.0)
