"""A sub-graph repeated over time: custom recurrent cells, ConvLSTM, loops of imported graphs.

The body is built once as a graph of its own, whose leaves are the states, the inputs of one step and the constants
(weights). The gradient runs the body's derivative backwards over time; it keeps the states of each step and computes
the rest anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import FLOAT32, Graph, Node, Op, Spec, Value, apply, needed
from kernels.ops.elementwise import add_n
from kernels.ops.shapes import expect
from kernels.reference import evaluate

Values = tuple[Value, ...]
Function = Callable[[Graph, Values, Values, Values], tuple[Sequence[Value], Sequence[Value]]]


@dataclass(frozen=True, eq=False)
class Body:
    """One step as a sub-graph: its leaves and its results."""

    function: Function
    graph: Graph
    states: Values
    inputs: Values
    constants: Values
    new_states: Values
    outputs: Values

    @property
    def leaves(self) -> Values:
        """States, inputs and constants, the order in which scan takes them."""
        return self.states + self.inputs + self.constants

    @property
    def results(self) -> Values:
        """New states and outputs, the order in which scan returns them."""
        return self.new_states + self.outputs


@dataclass(frozen=True, eq=False)
class BodyGradient:
    """The derivative of one step, in the graph of a second build of the body."""

    body: Body
    seeds: tuple[Value | None, ...]  # for each result: the leaf of its gradient, None for an output that nobody used
    wrt: Values  # the float leaves of the body
    gradients: tuple[Value | None, ...]  # for each of wrt; None where no result depends on it


def _leaves(graph: Graph, name: str, specs: Sequence[Spec]) -> Values:
    return tuple(graph.input(f"{name}.{i}", spec.shape, spec.dtype) for i, spec in enumerate(specs))


def _specs(values: Sequence[Value]) -> list[Spec]:
    return [Spec(value.shape, value.dtype) for value in values]


def build_body(function: Function, states: Sequence[Spec], inputs: Sequence[Spec], constants: Sequence[Spec]) -> Body:
    """Call the function once on leaves of a fresh graph.

    Raises `ShapeError` for new states of another shape, `ArgumentError` for a body that reads other leaves or values.

    >>> def double(graph, states, inputs, constants):
    ...     return (add_n([states[0], states[0]]),), ()
    >>> build_body(double, [Spec((2,))], [], []).new_states[0].shape
    (2,)
    """
    graph = Graph()
    given = _leaves(graph, "state", states), _leaves(graph, "input", inputs), _leaves(graph, "constant", constants)
    new_states, outputs = map(tuple, function(graph, *given))
    body = Body(function, graph, *given, new_states, outputs)
    expect(_specs(new_states) == list(states), f"a body that keeps states {states}", _specs(new_states))
    allowed = {id(value.node) for value in body.leaves}
    for value in body.results:
        if value.graph is not graph:
            raise ArgumentError(f"scan's body must return values of its own graph. Received: {value} of another graph.")
    for node in needed(body.results):
        if not node.inputs and id(node) not in allowed and node.op.name != "constant":
            raise ArgumentError(
                "scan's body must read nothing but its arguments (pass weights as constants). "
                f"Received: {node.op.name} '{node.attrs['name']}'."
            )
    return body


def _steps(
    arrays: Sequence[np.ndarray], body: Body
) -> tuple[list[np.ndarray], Sequence[np.ndarray], dict[str, np.ndarray]]:
    """Deal the arrays into first states, sequences and named constants."""
    n, m = len(body.states), len(body.states) + len(body.inputs)
    return list(arrays[:n]), arrays[n:m], _feeds(body.constants, arrays[m:])


def _feeds(leaves: Sequence[Value], arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
    return {leaf.node.attrs["name"]: array for leaf, array in zip(leaves, arrays, strict=True)}


# scan


def _check_inputs(specs: Sequence[Spec], body: Body, length: int) -> None:
    expect(length >= 1, "at least one step", length)
    expect(len(specs) == len(body.leaves), f"{len(body.leaves)} inputs", len(specs))
    inputs = set(body.inputs)
    for spec, leaf in zip(specs, body.leaves, strict=True):
        expected = Spec((length, *leaf.shape) if leaf in inputs else leaf.shape, leaf.dtype)
        expect(spec == expected, f"{leaf.node.attrs['name']} of shape {expected.shape}", spec.shape)


def _scan_shape(*specs: Spec, body: Body, length: int) -> list[Spec]:
    _check_inputs(specs, body, length)
    outputs = [Spec((length, *value.shape), value.dtype) for value in body.outputs]
    return [*_specs(body.new_states), *outputs]


def _scan(*arrays: np.ndarray, body: Body, length: int) -> tuple[np.ndarray, ...]:
    states, sequences, constants = _steps(arrays, body)
    stacked: list[list[np.ndarray]] = [[] for _ in body.outputs]
    for t in range(length):
        step = _feeds(body.states + body.inputs, [*states, *(sequence[t] for sequence in sequences)])
        results = evaluate(body.results, {**step, **constants})
        states = results[: len(states)]
        for column, result in zip(stacked, results[len(states) :], strict=True):
            column.append(result)
    return (*states, *map(np.stack, stacked))


def _scan_rule(node: Node, *received: Value | None) -> list[Value | None]:
    body = node.attrs["body"]
    used = tuple(gradient is not None for gradient in received)
    derivative = differentiate_body(body, used)
    given = [gradient for gradient in received if gradient is not None]
    results = apply(SCAN_BACKWARD, *node.inputs, *given, derivative=derivative, length=node.attrs["length"], used=used)
    by_leaf = dict(zip(derivative.wrt, results, strict=True))
    return [by_leaf.get(leaf) for leaf in derivative.body.leaves]


# scan_backward


def differentiate_body(body: Body, used: Sequence[bool]) -> BodyGradient:
    """Build the body again and derive it; `used[i]` says whether the gradient of result i is given.

    States always have a gradient inside the loop, used or not.
    """
    from kernels.gradient import differentiate  # whose own imports make the package of ops, and so this module, first

    again = build_body(body.function, *map(_specs, (body.states, body.inputs, body.constants)))
    seeds: list[Value | None] = []
    by_result: dict[Value, list[Value]] = {}
    for i, (result, is_used) in enumerate(zip(again.results, used, strict=True)):
        wanted = result.dtype == FLOAT32 and (is_used or i < len(again.states))
        seed = again.graph.input(f"gradient.{i}", result.shape) if wanted else None
        seeds.append(seed)
        if seed is not None:
            by_result.setdefault(result, []).append(seed)
    wrt = tuple(leaf for leaf in again.leaves if leaf.dtype == FLOAT32)
    found: Mapping[Value, Any] = differentiate({result: add_n(parts) for result, parts in by_result.items()}, wrt)
    return BodyGradient(again, tuple(seeds), wrt, tuple(found[leaf] for leaf in wrt))


def _backward_shape(*specs: Spec, derivative: BodyGradient, length: int, used: tuple[bool, ...]) -> list[Spec]:
    body = derivative.body
    count = len(body.leaves)
    _check_inputs(specs[:count], body, length)
    results = _scan_shape(*specs[:count], body=body, length=length)
    expected = [spec for spec, is_used in zip(results, used, strict=True) if is_used]
    expect(list(specs[count:]) == expected, f"gradients {expected}", list(specs[count:]))
    return [spec for spec in specs[:count] if spec.dtype == FLOAT32]


def _scan_backward(
    *arrays: np.ndarray, derivative: BodyGradient, length: int, used: tuple[bool, ...]
) -> tuple[np.ndarray, ...]:
    body = derivative.body
    count, n = len(body.leaves), len(body.states)
    states, sequences, constants = _steps(arrays[:count], body)
    history = [states]
    for t in range(length - 1):
        step = _feeds(body.states + body.inputs, [*history[-1], *(sequence[t] for sequence in sequences)])
        history.append(evaluate(body.new_states, {**step, **constants}))
    given = iter(arrays[count:])
    received = [next(given) if is_used else None for is_used in used]
    totals = {leaf: np.zeros_like(array) for leaf, array in zip(body.leaves, arrays, strict=False)}
    carried = [np.zeros_like(s) if g is None else g for s, g in zip(states, received[:n], strict=True)]
    for t in reversed(range(length)):
        step = _feeds(body.states + body.inputs, [*history[t], *(sequence[t] for sequence in sequences)])
        flowing = [*carried, *(None if g is None else g[t] for g in received[n:])]
        pairs = [(seed, g) for seed, g in zip(derivative.seeds, flowing, strict=True) if seed is not None]
        gradients = _step_gradients(derivative, {**step, **constants, **_feeds(*zip(*pairs, strict=True))})
        for leaf in body.inputs:
            totals[leaf][t] = gradients.get(leaf, 0)
        for leaf in body.constants:
            totals[leaf] += gradients.get(leaf, 0)
        carried = [gradients.get(leaf, np.zeros_like(s)) for leaf, s in zip(body.states, states, strict=True)]
    totals.update(zip(body.states, carried, strict=True))
    return tuple(totals[leaf] for leaf in derivative.wrt)


def _step_gradients(derivative: BodyGradient, feeds: Mapping[str, np.ndarray]) -> dict[Value, np.ndarray]:
    wanted = {
        leaf: value for leaf, value in zip(derivative.wrt, derivative.gradients, strict=True) if value is not None
    }
    return dict(zip(wanted, evaluate(tuple(wanted.values()), feeds), strict=True))


SCAN = Op("scan", _scan_shape, _scan, _scan_rule)
SCAN_BACKWARD = Op("scan_backward", _backward_shape, _scan_backward)


def scan(
    body: Function,
    states: Sequence[Value],
    sequences: Sequence[Value],
    constants: Sequence[Value] = (),
    length: int | None = None,
) -> tuple[Values, Values]:
    """Repeat `body` over the leading (time) axis of the sequences.

    `body(graph, states, inputs, constants) -> (new_states, outputs)` builds one step from values of its own graph;
    sequences are (T, ...), constants the same at each step. Returns (final states, outputs stacked to (T, ...)).
    Without sequences `length` gives T.

    >>> from kernels import ops
    >>> def cell(graph, states, inputs, constants):
    ...     h = ops.tanh(ops.add(ops.linear(inputs[0], constants[0]), ops.linear(states[0], constants[1])))
    ...     return (h,), (h,)
    >>> graph = Graph()
    >>> w, u = graph.parameter("w", (5, 3)), graph.parameter("u", (5, 5))
    >>> final, outputs = scan(cell, [graph.input("h", (2, 5))], [graph.input("x", (7, 2, 3))], [w, u])
    >>> final[0].shape, outputs[0].shape
    ((2, 5), (7, 2, 5))
    """
    expect(bool(sequences) or length is not None, "a sequence or a length", length)
    expect(all(value.shape for value in sequences), "sequences (T, ...)", [value.shape for value in sequences])
    steps = int(sequences[0].shape[0] if length is None else length)
    inputs = [Spec(value.shape[1:], value.dtype) for value in sequences]
    built = build_body(body, _specs(states), inputs, _specs(constants))
    results = apply(SCAN, *states, *sequences, *constants, body=built, length=steps)
    return results[: len(states)], results[len(states) :]
