"""Random stacks of layers with branches, shared weights and several outputs: the compiled program against numpy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernels import Graph, Value, compile_graph, differentiate, evaluate, ops
from kernels.graph import BUFFER, INPUT, PARAMETER
from kernels.native.memory import ARENA
from tests.kernels.programs import check_spoilt

pytestmark = pytest.mark.usefixtures("native")

ACTIVATIONS: tuple[Callable[[Value], Value], ...] = (
    ops.relu, ops.tanh, ops.elu, ops.sigmoid, ops.abs_, ops.square, ops.swish, ops.gelu_erf, ops.softplus, ops.exp,
    lambda x: ops.clip(x, 0.1, 0.6), lambda x: ops.affine(x, 0.5, 0.25), lambda x: ops.threshold(x, 0.1, 0.2),
)  # fmt: skip


class Stack:
    """A graph that grows by random layers on random values of its own."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph()
        batch, channels, height, width = map(self.pick, ((1, 2, 5), (1, 3, 8, 16, 17), range(5, 13), range(5, 13)))
        self.values = [self.graph.input("x", (batch, channels, height, width))]
        self.weights: dict[tuple[int, ...], Value] = {}
        layers = (
            self.convolution, self.convolution, self.convolution, self.pool, self.pool, self.activation,
            self.activation, self.batch_norm, self.batch_norm_inference, self.concat, self.combine, self.narrow,
            self.scale, self.normalise_locally, self.drop, self.turn,
        )  # fmt: skip
        for _ in range(self.pick(range(3, 12))):
            self.values.append(self.pick(layers)(self.pick(self.values[-3:])))

    def pick(self, options):
        return options[int(self.rng.integers(len(options)))]

    def parameter(self, *shape: int) -> Value:
        return self.graph.parameter(f"p{len(self.graph.nodes)}", shape)

    def convolution(self, x: Value) -> Value:
        channels = x.shape[1]
        groups = self.pick([g for g in (1, 1, 2, 3) if channels % g == 0])
        outputs, size = groups * self.pick((1, 3, 8, 16)), self.pick((1, 3))
        shape = (outputs, channels // groups, size, size)
        w = self.weights.setdefault(shape, self.parameter(*shape))
        b = self.pick((None, self.parameter(outputs)))
        pad, stride, gap = self.pick((0, 1)), self.pick((1, 1, 2)), self.pick((1, 1, 2))
        if min(x.shape[2:]) + 2 * pad < gap * (size - 1) + 1:
            return x
        return ops.convolution(x, w, b, strides=(stride,) * 2, padding=(pad,) * 2, dilation=(gap,) * 2, groups=groups)

    def pool(self, x: Value) -> Value:
        size, stride, pad, ceil = self.pick((2, 3)), self.pick((1, 2, 3)), self.pick((0, 1)), self.pick((False, True))
        if min(x.shape[2:]) < size:
            return x
        padding = [ops.pool_padding(side, size, stride, pad, ceil) for side in x.shape[2:]]
        window = {"kernel": (size, size), "strides": (stride, stride), "padding": padding}
        if self.pick((True, False)):
            return ops.max_pool(x, **window)
        return ops.avg_pool(x, **window, include_padding=self.pick((True, False)))

    def activation(self, x: Value) -> Value:
        return self.pick(ACTIVATIONS)(x)

    def batch_norm(self, x: Value) -> Value:
        channels = x.shape[1]
        return ops.batch_norm(x, self.parameter(channels), self.parameter(channels), eps=0.01)[0]

    def batch_norm_inference(self, x: Value) -> Value:
        names, shape = [f"b{len(self.graph.nodes)}.{part}" for part in ("mean", "variance")], x.shape[1:2]
        statistics = [self.graph.buffer(name, shape) for name in names]
        return ops.batch_norm_inference(x, self.parameter(*shape), self.parameter(*shape), *statistics)

    def concat(self, x: Value) -> Value:
        beside = [v for v in self.values if v.shape[2:] == x.shape[2:]]
        return ops.concat([x, self.pick(beside), self.pick(beside)], 1)

    def combine(self, x: Value) -> Value:
        y = self.pick([v for v in self.values if v.shape == x.shape])
        kinds = (ops.add, ops.multiply, ops.subtract, ops.maximum, lambda a, b: ops.add_n([a, b, a]))
        return self.pick(kinds)(x, y)

    def narrow(self, x: Value) -> Value:
        start = self.pick(range(x.shape[1]))
        return ops.narrow(x, 1, start, self.pick(range(start + 1, x.shape[1] + 1)))

    def scale(self, x: Value) -> Value:
        factor = self.parameter(x.shape[1], 1, 1)
        if self.pick((True, False)):
            return ops.multiply(x, factor)
        return ops.divide(x, ops.affine(ops.square(factor), 1.0, 0.5))

    def normalise_locally(self, x: Value) -> Value:
        return ops.lrn(x, 5, 0.3, 0.75, 1.0)

    def drop(self, x: Value) -> Value:
        return ops.dropout(x, 0.7)

    def turn(self, x: Value) -> Value:
        return ops.transpose(x, (0, 1, 3, 2))

    def outputs(self) -> list[Value]:
        """A classifier on top, some values from inside, a reduction, and half of the time all gradients."""
        x = self.values[-1]
        rows = ops.reshape(x, (x.shape[0], -1))
        scores = ops.linear(rows, self.parameter(7, rows.shape[1]), self.parameter(7))
        top = self.pick((ops.log_softmax, ops.softmax))(self.pick((ops.relu, ops.tanh))(scores))
        inside = ops.reduce(self.pick(self.values), self.pick(("sum", "mean", "max")), self.pick(((0,), (2, 3), (1,))))
        found = [top, inside, self.pick(self.values)]
        if self.pick((True, False)):
            return found
        seeds = {value: self.graph.input(f"seed{i}", value.shape) for i, value in enumerate(found) if value.node.inputs}
        leaves = [*self.graph.leaves(PARAMETER).values(), self.values[0]]
        return [*found, *(part for part in differentiate(seeds, leaves).values() if isinstance(part, Value))]

    def feeds(self) -> dict[str, np.ndarray]:
        leaves = {name: value for op in (INPUT, PARAMETER, BUFFER) for name, value in self.graph.leaves(op).items()}
        return {name: self.draw(name, value) for name, value in leaves.items()}

    def draw(self, name: str, value: Value) -> np.ndarray:
        if value.dtype == "int64":
            return np.array([5, 3, 1, 0])
        array = self.rng.standard_normal(value.shape).astype(np.float32)
        if name.startswith("b"):
            return np.abs(array) + np.float32(0.5)
        fan_in = int(np.prod(value.shape[1:])) if name.startswith("p") else 1
        return array / np.float32(np.sqrt(fan_in))


@pytest.mark.parametrize("seed", range(40))
def test_a_random_stack_is_what_numpy_says(seed: int) -> None:
    stack = Stack(seed)
    outputs = stack.outputs()
    feeds = stack.feeds()
    exact = evaluate(outputs, {name: a.astype(np.float64) if a.dtype == "f" else a for name, a in feeds.items()})
    rounded = evaluate(outputs, feeds)
    kept = {name: array for name, array in feeds.items() if name[0] in "pb"}
    program = compile_graph(outputs, threads=1 + seed % 2, fold=seed % 3 == 0)
    program.bind(kept)
    runs = []
    for byte in (0xFF, 0x7F):  # what lies in the arena before, here nan and large numbers, must not matter
        ARENA.reserve(program.arena_size)[:] = byte
        runs.append(program.run({name: array for name, array in feeds.items() if name not in kept}))
    assert [a.tobytes() for a in runs[0]] == [a.tobytes() for a in runs[1]]
    for ours, numpys, wanted in zip(runs[0], rounded, exact, strict=True):
        size = np.abs(wanted).max(initial=0.1)
        allowed = max(2e-3, 50 * np.abs(numpys - wanted).max(initial=0) / size)  # as far as float32 reaches
        np.testing.assert_allclose(ours / size, wanted / size, rtol=0, atol=allowed)


@pytest.mark.parametrize("seed", range(40))
def test_all_of_a_random_stack_may_be_overwritten_once_it_is_told_of(seed: int) -> None:
    stack = Stack(seed)
    outputs = [*stack.outputs(), *stack.values]
    feeds = stack.feeds()
    kept = {name: array for name, array in feeds.items() if name[0] in "pb"}
    program = compile_graph(outputs, threads=1 + seed % 2, fold=seed % 3 == 0)
    program.bind(kept)
    check_spoilt(program, {name: array for name, array in feeds.items() if name not in kept}, outputs)
