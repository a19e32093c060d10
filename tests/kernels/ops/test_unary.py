from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels import ops
from kernels.errors import ArgumentError
from kernels.graph import Graph
from kernels.ops.unary import UNARY
from kernels.reference import evaluate

SETTINGS = {"clip": (-1.0, 2.0), "power": (1.0, 2.0), "softplus": (1.0, 0.0), "threshold": (0.5, -3.0)}


def run(kind: str, x: np.ndarray, alpha: float = 0.5, beta: float = 0.0) -> np.ndarray:
    return evaluate([ops.unary(Graph().input("x", x.shape), kind, alpha, beta)], {"x": x})[0]


@pytest.mark.parametrize("kind", UNARY)
def test_monotone_kinds_never_decrease(kind: str) -> None:
    x = np.linspace(0.01 if kind in ("log", "sqrt") else -6, 6, 2001)
    steps = np.diff(run(kind, x, *SETTINGS.get(kind, (0.5, 0.0))))
    if UNARY[kind].monotone:
        assert steps.min() >= 0
    elif kind in ("log", "sqrt"):  # not numbers below 0
        assert np.isnan(run(kind, np.array([-1.0]))).all()
    elif kind not in ("linear", "power", "threshold"):  # these decrease for other settings only
        assert steps.min() < 0


FAR = [
    ("sigmoid", 0, 1),
    ("tanh", -1, 1),
    ("log_sigmoid", -1e4, 0),
    ("softplus", 0, 1e4),
    ("swish", 0, 1e4),
    ("elu", -0.5, 1e4),
    ("gelu_tanh", 0, 1e4),
    ("gelu_erf", 0, 1e4),
]


@pytest.mark.parametrize(("kind", "low", "high"), FAR)
def test_far_values_overflow_nowhere(kind: str, low: float, high: float) -> None:
    x = np.array([-1e4, 1e4], np.float32)
    np.testing.assert_allclose(run(kind, x, alpha=1.0 if kind != "elu" else 0.5), [low, high], atol=1e-6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda x: ops.unary(x, "sinus"), "kind must be one of"),
        (lambda x: ops.relu(x, -0.1), "relu must have alpha (negative slope) >= 0. Received: alpha=-0.1"),
        (lambda x: ops.clip(x, 1, -1), "clip must have alpha (minimum) <= beta (maximum)"),
        (lambda x: ops.softplus(x, 0.0), "softplus must have alpha > 0"),
        (lambda x: ops.elu(x, -1.0), "elu must have alpha >= 0"),
    ],
)
def test_illegal_settings_are_refused(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as error:
        call(Graph().input("x", (2,)))
    assert message in str(error.value)


def test_gradient_of_a_y_kind_does_not_read_the_input() -> None:
    from kernels.gradient import differentiate

    graph = Graph()
    x = graph.input("x", (3,))
    y = ops.tanh(x)
    dx = differentiate({y: graph.input("dy", (3,))}, [x])[x]
    assert dx is not None
    assert dx.node.inputs[0] is y
