"""Outputs that a program tells of while it runs: complete by then, never looked at again, each told of once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from kernels import Graph, Value, differentiate, evaluate, ops
from kernels.graph import needed
from kernels.program import ReferenceProgram
from tests.kernels.programs import Compile, check_spoilt, draw, network, same, split


def aliases(batch: int) -> list[Value]:
    """Outputs that are inputs, parameters and constants, that repeat, or that are others seen differently."""
    graph = Graph()
    x, i, key = graph.input("x", (batch, 4, 6)), graph.input("i", (2, batch), "int32"), graph.random_key()
    w, b, stays = graph.parameter("w", (5, 24)), graph.parameter("b", (5,)), graph.parameter("stays", (3, 2))
    constant = graph.constant(np.arange(5, dtype=np.float32)[np.newaxis])
    rows = ops.reshape(x, (batch, 24))
    y = ops.linear(rows, w, b)
    relu, flat, turned = ops.relu(y), ops.reshape(y, (5 * batch,)), ops.transpose(y, (1, 0))
    # What reads these comes after other outputs that lie in the same memory.
    z = ops.tanh(ops.add(ops.transpose(ops.exp(turned), (1, 0)), constant))
    pooled = ops.square(ops.reshape(relu, (batch, 5, 1)))
    gradients = differentiate({z: graph.input("seed", z.shape)}, [w, b, x])
    fixed = ops.relu(stays)  # worked out once where that is allowed, and kept
    return [
        *(x, w, y, relu, relu, constant, flat, turned, z, ops.reshape(z, (batch, 1, 5)), ops.reshape(z, (5 * batch,))),
        *(rows, x, i, ops.reshape(i, (2 * batch,)), i, key, key, pooled, ops.transpose(x, (2, 0, 1)), y, turned),
        *(stays, fixed, fixed, ops.transpose(fixed, (1, 0)), ops.transpose(w, (1, 0)), constant, z),
        *(gradient for gradient in gradients.values() if isinstance(gradient, Value)),
        *(gradient for gradient in gradients.values() if isinstance(gradient, Value)),
    ]


@pytest.mark.parametrize("fold", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize("batch", [0, 1, 4, 33])
def test_outputs_that_alias_or_repeat_may_be_overwritten_once_they_are_told_of(
    compiled: Compile, batch: int, fold: bool
) -> None:
    outputs = aliases(batch)
    feeds = draw(outputs)
    inputs, leaves = split(outputs, feeds)
    program = compiled(outputs, fold=fold)
    program.bind(leaves)
    same(program.run(inputs), evaluate(outputs, feeds))
    check_spoilt(program, inputs, outputs)
    for name, array in draw(outputs).items():  # what was told of was a copy of these
        np.testing.assert_array_equal(feeds[name], array)


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("fold", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize("batch", [1, 4, 16])
def test_all_that_a_network_computes_may_be_overwritten_once_it_is_told_of(
    compiled: Compile, batch: int, fold: bool, threads: int
) -> None:
    """Every value on the way forward and back is an output, so each is read by others after it is complete."""
    wanted = network(batch)
    outputs = [value for node in needed(wanted) for value in node.outputs if value.dtype == "float32"]
    outputs += reversed(wanted)  # and some a second time
    inputs, leaves = split(outputs, draw(outputs))
    program = compiled(outputs, fold=fold, threads=threads)
    program.bind(leaves)
    check_spoilt(program, inputs, outputs)


def test_a_layer_with_its_folded_batch_norm_may_be_overwritten(compiled: Compile) -> None:
    """Folding gives the program other nodes than those of its outputs."""
    graph = Graph()
    x = graph.input("x", (3, 8, 7, 7))
    y = ops.convolution(x, graph.parameter("w", (16, 8, 3, 3)), graph.parameter("b", (16,)))
    statistics = [graph.buffer(name, (16,)) for name in ("gamma", "beta", "mean", "variance")]
    normal = ops.batch_norm_inference(y, *statistics)
    z = ops.max_pool(ops.relu(normal), kernel=(2, 2), strides=(1, 1))
    outputs = [z, ops.relu(z), z, statistics[0], ops.transpose(z, (0, 2, 3, 1))]
    feeds = draw(outputs)
    feeds["variance"] = np.abs(feeds["variance"])
    inputs, leaves = split(outputs, feeds)
    program = compiled(outputs, fold=True)
    program.bind(leaves)
    check_spoilt(program, inputs, outputs)


def test_outputs_are_told_of_as_they_are_complete(compiled: Compile) -> None:
    outputs = network()
    program, drawn = compiled(outputs), draw(outputs)
    program.bind(drawn)
    results = [np.full(math.prod(output.shape), np.nan, np.float32).reshape(output.shape) for output in outputs]
    told, copies = [], {}

    def finished(numbers: Sequence[int]) -> None:
        told.append(list(numbers))
        copies.update((number, results[number].copy()) for number in numbers)

    program.run({name: drawn[name] for name in ("x", "seed")}, results, finished)
    assert sorted(number for numbers in told for number in numbers) == list(range(len(outputs)))
    for number, copy in copies.items():
        np.testing.assert_array_equal(copy, results[number])
    if not isinstance(program, ReferenceProgram):
        order = [number for numbers in told for number in numbers]
        # Loss, then the gradients of the last layer before those of the first.
        assert order.index(0) < order.index(5) < order.index(3) < order.index(1)


def test_an_output_that_is_copied_is_told_of_before_the_next_is_computed(compiled: Compile) -> None:
    x = Graph().input("x", (4, 6))
    turned = ops.transpose(ops.exp(x), (1, 0))
    outputs, told = [ops.tanh(turned), x, turned], []
    program = compiled(outputs)
    program.run(draw(outputs), finished=lambda numbers: told.append(list(numbers)))
    assert told == ([[0, 1, 2]] if isinstance(program, ReferenceProgram) else [[1], [2], [0]])


def test_what_is_raised_when_outputs_are_told_of_ends_the_run_alone(compiled: Compile) -> None:
    outputs = network()
    inputs, leaves = split(outputs, draw(outputs))
    program = compiled(outputs)
    program.bind(leaves)
    expected = program.run(inputs)
    counts = []

    def raising(calls: int) -> Callable[[Sequence[int]], None]:
        def finished(numbers: Sequence[int]) -> None:
            counts.append(calls)
            if counts.count(calls) == calls:
                raise OSError(f"told {calls} times")

        return finished

    for calls in (1,) if isinstance(program, ReferenceProgram) else (1, 2, 3):
        with pytest.raises(OSError, match=f"told {calls} times"):
            program.run(inputs, (), raising(calls))
        assert counts.count(calls) == calls
        for ours, theirs in zip(program.run(inputs), expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
