from __future__ import annotations

import numpy as np
import pytest

from kernels import ops
from kernels.errors import ArgumentError
from kernels.graph import Graph
from kernels.reference import evaluate


def run(target: list[int], padding: int | None = None, weights: list[float] | None = None) -> list[float]:
    graph = Graph()
    values = [graph.input("x", (len(target), 3)), graph.input("t", (len(target),), "int32")]
    feeds = {"x": np.log(np.full((len(target), 3), [0.5, 0.25, 0.25])), "t": np.array(target, np.int32)}
    if weights is not None:
        values.append(graph.input("w", (3,)))
        feeds["w"] = np.array(weights)
    return [float(array[0]) for array in evaluate(ops.nll(*values, padding=padding), feeds)]


@pytest.mark.parametrize(
    ("target", "padding", "weights", "loss", "weight"),
    [
        ([0, 1], None, None, np.log(8), 2),
        ([0, -1], -1, None, np.log(2), 1),
        ([-1, -1], -1, None, 0, 0),
        ([0, 1, 2], None, [1, 2, 0], np.log(2) + 2 * np.log(4), 3),
        ([0, 1], 0, [5, 2, 1], 2 * np.log(4), 2),
    ],
)
def test_sums(target: list[int], padding: int | None, weights: list[float] | None, loss: float, weight: float) -> None:
    np.testing.assert_allclose(run(target, padding, weights), [loss, weight], rtol=1e-12)


@pytest.mark.parametrize(("target", "padding"), [([0, 3], None), ([0, -1], None), ([0, -2], -1)])
def test_target_out_of_range_is_named(target: list[int], padding: int | None) -> None:
    with pytest.raises(ArgumentError, match=rf"target must be in \[0, 3\). Received: target\[1\]={target[1]}."):
        run(target, padding)
