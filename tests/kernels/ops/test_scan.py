from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels import ops
from kernels.errors import ArgumentError, ShapeError
from kernels.gradient import differentiate
from kernels.graph import Graph, Value
from kernels.reference import evaluate

STEPS = 6
SHAPES = {"h": (2, 5), "x": (STEPS, 2, 3), "w": (5, 3), "u": (5, 5)}


def cell(graph: Graph, states: Any, inputs: Any, constants: Any) -> Any:
    h = ops.tanh(ops.add(ops.linear(inputs[0], constants[0]), ops.linear(states[0], constants[1])))
    return (h,), (h, ops.square(h))


def leaves(graph: Graph) -> list[Value]:
    return [graph.input(name, shape) for name, shape in SHAPES.items()]


def scanned(graph: Graph) -> tuple[Value, ...]:
    h, x, w, u = leaves(graph)
    final, outputs = ops.scan(cell, [h], [x], [w, u])
    return (*final, *outputs)


def unrolled(graph: Graph) -> tuple[Value, ...]:
    h, x, w, u = leaves(graph)
    steps = []
    for t in range(STEPS):
        (h,), outputs = cell(graph, [h], [ops.select(x, 0, t)], [w, u])
        steps.append(outputs)
    return (h, *(ops.stack(column, 0) for column in zip(*steps, strict=True)))


@pytest.mark.parametrize("used", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_scan_is_the_unrolled_graph(used: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    feeds = {name: rng.normal(size=shape) for name, shape in SHAPES.items()}
    found = []
    for make in (scanned, unrolled):
        graph = Graph()
        outputs = make(graph)
        seeds = {outputs[i]: graph.input(f"seed{i}", outputs[i].shape) for i in used}
        feeds.update({f"seed{i}": np.random.default_rng(i).normal(size=outputs[i].shape) for i in used})
        gradients = differentiate(seeds, leaves(graph))
        found.append(evaluate([*outputs, *(gradients[leaf] for leaf in leaves(graph))], feeds))
    for ours, theirs in zip(*found, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-12)


def test_body_is_built_once_forward_and_once_for_the_gradient() -> None:
    calls = []

    def counted(graph: Graph, *arguments: Any) -> Any:
        calls.append(graph)
        return cell(graph, *arguments)

    graph = Graph()
    h, x, w, u = leaves(graph)
    (final,), _ = ops.scan(counted, [h], [x], [w, u])
    assert len(calls) == 1
    differentiate({final: graph.input("seed", final.shape)}, [w])
    assert len(calls) == 2
    assert graph not in calls


def test_integer_sequences_have_no_gradient() -> None:
    def lookup(graph: Graph, states: Any, inputs: Any, constants: Any) -> Any:
        return (ops.add(states[0], ops.gather_rows(constants[0], inputs[0])),), ()

    graph = Graph()
    state, ids = graph.input("state", (2, 3)), graph.input("ids", (4, 2), "int32")
    table = graph.parameter("table", (5, 3))
    (final,), outputs = ops.scan(lookup, [state], [ids], [table])
    assert outputs == ()
    gradients = differentiate({final: graph.input("seed", (2, 3))}, [state, ids, table])
    assert gradients[ids] is None
    feeds = {
        "state": np.zeros((2, 3)),
        "ids": np.array([[0, 1], [1, 1], [4, 0], [1, 0]], np.int32),
        "table": np.zeros((5, 3)),
        "seed": np.ones((2, 3)),
    }
    assert evaluate([gradients[table]], feeds)[0][:, 0].tolist() == [3, 4, 0, 0, 1]


def reads_outside(graph: Graph, states: Any, inputs: Any, constants: Any) -> Any:
    return (ops.add(states[0], graph.parameter("w", (2,))),), ()


def returns_outside(graph: Graph, states: Any, inputs: Any, constants: Any) -> Any:
    return (Graph().input("state.0", (2,)),), ()


def changes_shape(graph: Graph, states: Any, inputs: Any, constants: Any) -> Any:
    return (ops.reshape(states[0], (2, 1)),), ()


def keeps(graph: Graph, states: Any, inputs: Any, constants: Any) -> Any:
    return states, ()


@pytest.mark.parametrize(
    ("body", "lengths", "error", "message"),
    [
        (reads_outside, (3,), ArgumentError, "pass weights as constants"),
        (returns_outside, (3,), ArgumentError, "values of its own graph"),
        (changes_shape, (3,), ShapeError, "expects a body that keeps states"),
        (keeps, (3, 4), ShapeError, r"expects input.1 of shape \(3, 2\), received \(4, 2\)"),
        (keeps, (), ShapeError, "expects a sequence or a length"),
    ],
)
def test_wrong_body_or_sequence_is_refused(body: Any, lengths: tuple[int, ...], error: type, message: str) -> None:
    graph = Graph()
    sequences = [graph.input(f"x{i}", (length, 2)) for i, length in enumerate(lengths)]
    with pytest.raises(error, match=message):
        ops.scan(body, [graph.input("state", (2,))], sequences)
