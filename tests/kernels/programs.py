"""Graphs for tests of compiled programs, and what to feed them with."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from kernels import Graph, Program, Value, differentiate, ops

Compile = Callable[..., Program]
BATCH = 4


def draw(outputs: Sequence[Value], seed: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    leaves = [node.outputs[0] for node in outputs[0].graph.nodes if not node.inputs and "name" in node.attrs]
    return {
        value.node.attrs["name"]: rng.uniform(-limit, limit, value.shape).astype(value.dtype)
        for value in leaves
        for limit in [9 if "int" in value.dtype else 0.5]
    }


def same(ours: Sequence[np.ndarray], theirs: Sequence[np.ndarray]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def network(batch: int = BATCH, side: int = 12, channels: int = 17) -> list[Value]:
    """Loss and all gradients of a small convolutional network with a branch."""
    graph = Graph()
    x = graph.input("x", (batch, 3, side, side))
    y = ops.relu(ops.convolution(x, graph.parameter("w1", (channels, 3, 3, 3)), graph.parameter("b1", (channels,))))
    y = ops.max_pool(y, kernel=(2, 2), strides=(2, 2))
    y = ops.add(y, ops.tanh(y))
    y = ops.reshape(y, (batch, math.prod(y.shape[1:])))
    y = ops.tanh(ops.linear(y, graph.parameter("w2", (33, y.shape[1])), graph.parameter("b2", (33,))))
    y = ops.log_softmax(ops.linear(y, graph.parameter("w3", (5, 33)), graph.parameter("b3", (5,))))
    seed = graph.input("seed", y.shape)
    wanted = [graph.parameter(name, ()) for name in ("w1", "b1", "w2", "b2", "w3", "b3")]
    gradients = differentiate({y: seed}, wanted)
    return [y, *(gradient for gradient in gradients.values() if isinstance(gradient, Value))]


def split(outputs: Sequence[Value], feeds: Mapping[str, np.ndarray]) -> tuple[dict, dict]:
    """Inputs and parameters."""
    inputs = {"x", "seed", "random_key", "i"}
    return {k: v for k, v in feeds.items() if k in inputs}, {k: v for k, v in feeds.items() if k not in inputs}


def garbage(dtype: np.dtype) -> float | int:
    return np.nan if dtype.kind == "f" else np.iinfo(dtype).max


def spoilt(program: Program, inputs: Mapping[str, np.ndarray], outputs: Sequence[Value]) -> dict[int, np.ndarray]:
    """Run the program, spoil each output as soon as it is told of, and return what they were just before.

    Each must be told of once, and nothing may be written into it afterwards.
    """
    results = [np.full(value.shape, garbage(np.dtype(value.dtype)), value.dtype) for value in outputs]
    told: list[int] = []
    copies = {}

    def finished(numbers: Sequence[int]) -> None:
        for number in numbers:
            told.append(number)
            copies[number] = results[number].copy()
            results[number].fill(garbage(results[number].dtype))

    given = program.run(inputs, results, finished)
    assert all(ours is result for ours, result in zip(given, results, strict=True))
    assert sorted(told) == list(range(len(outputs)))
    for result in results:
        np.testing.assert_array_equal(result, np.full_like(result, garbage(result.dtype)))
    return copies


def check_spoilt(program: Program, inputs: Mapping[str, np.ndarray], outputs: Sequence[Value]) -> None:
    """What was told of is what a run without it gives, and such a run gives the same before and after."""
    expected = program.run(inputs)
    for _ in range(2):
        copies = spoilt(program, inputs, outputs)
        again = program.run(inputs)
        for number, array in enumerate(expected):
            np.testing.assert_array_equal(copies[number], array)
            np.testing.assert_array_equal(again[number], array)
