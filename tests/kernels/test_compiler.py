"""What the compiler makes of a graph: which calls, which fusions, which memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernels import Graph, Program, Value, compile_graph, differentiate, evaluate, ops
from kernels.errors import UnsupportedError
from kernels.graph import Node

pytestmark = pytest.mark.usefixtures("native")


def calls(program: Program) -> list[str]:
    return [line.split()[0] for line in program.describe()]


def layer(kind: str, graph: Graph) -> Value:
    """A layer whose primitive can take the activation that follows."""
    x = graph.input("x", (2, 16, 8, 8))
    if kind == "convolution":
        return ops.convolution(x, graph.constant(np.full((8, 16, 3, 3), 0.1, np.float32)))
    if kind == "linear":
        return ops.linear(ops.reshape(x, (2, 1024)), graph.constant(np.full((3, 1024), 0.1, np.float32)))
    return (ops.max_pool if kind == "max_pool" else ops.avg_pool)(x, kernel=(2, 2), strides=(2, 2))


@pytest.mark.parametrize("activation", [ops.relu, ops.tanh, ops.elu, ops.sigmoid, lambda v: ops.clip(v, -0.1, 0.3)])
@pytest.mark.parametrize("kind", ["convolution", "linear", "max_pool", "avg_pool"])
def test_an_activation_is_part_of_the_call_before_it(kind: str, activation: Callable[[Value], Value]) -> None:
    graph = Graph()
    y = activation(layer(kind, graph))
    x, seed = graph.input("x", ()), graph.input("seed", y.shape)
    outputs = [y, differentiate({y: seed}, [x])[x]]
    assert isinstance(outputs[1], Value)
    rng = np.random.default_rng(2)
    feeds = {value.node.attrs["name"]: rng.uniform(-1, 1, value.shape).astype(np.float32) for value in (x, seed)}
    program = compile_graph(outputs)
    assert "eltwise_forward" not in calls(program)
    for ours, theirs in zip(program.run(feeds), evaluate(outputs, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("slope", "alone"), [(0.0, True), (0.1, True), (0.0, False)], ids=["relu", "leaky", "shared"])
@pytest.mark.parametrize("channels", [8, 17])
@pytest.mark.parametrize("training", [True, False])
def test_a_relu_is_part_of_the_batch_norm_before_it(training: bool, channels: int, slope: float, alone: bool) -> None:
    graph = Graph()
    x = graph.input("x", (4, channels, 6, 5))
    vectors = {name: graph.parameter(name, (channels,)) for name in ("gamma", "beta")}
    if training:
        normal = ops.batch_norm(x, **vectors)[0]
    else:
        normal = ops.batch_norm_inference(x, **vectors, mean=vectors["beta"], variance=vectors["gamma"])
    y = ops.relu(normal, slope)
    outputs = [y] if alone else [y, normal]
    if training:
        outputs += [g for g in differentiate({y: y}, [x, *vectors.values()]).values() if isinstance(g, Value)]
    program = compile_graph(outputs)
    assert ("eltwise_forward" in calls(program)) == (slope > 0 or not alone)
    rng = np.random.default_rng(4)
    feeds = {name: rng.uniform(0.5, 1, channels).astype(np.float32) for name in vectors}
    program.bind(feeds)
    feeds["x"] = rng.uniform(-1, 3, x.shape).astype(np.float32)
    for ours, theirs in zip(program.run(feeds), evaluate(outputs, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("fusable_once", [True, False], ids=["fails only when fused", "fails always"])
def test_an_activation_that_cannot_be_fused_is_still_computed(fusable_once: bool) -> None:
    from kernels.onednn import EMITTERS
    from kernels.onednn.compiler import Compiler
    from kernels.onednn.elementwise import activation_of
    from kernels.onednn.program import NativeProgram

    def reluctant(c: Compiler, node: Node) -> None:
        _, activation = c.activation_after(node, activation_of)
        if activation is not None or not fusable_once:
            raise UnsupportedError("not with an activation")
        EMITTERS["linear"](c, node)

    y = ops.tanh(layer("linear", Graph()))
    program = NativeProgram([y], {**EMITTERS, "linear": reluctant}, threads=1, fold=False)
    expected = ["matmul" if fusable_once else "linear", "eltwise_forward"]
    assert [name for name in calls(program) if name != "reorder"] == expected
    feeds = {"x": np.linspace(-1, 1, 2048, dtype=np.float32).reshape(2, 16, 8, 8)}
    np.testing.assert_allclose(program.run(feeds)[0], evaluate([y], feeds)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fold", "uses", "expected"),
    [
        (False, 1, ["matmul", "inner_product_backward_weights"]),
        (True, 1, ["reorder", "inner_product_forward", "inner_product_backward_weights"]),
        (False, 3, ["reorder", *["inner_product_forward"] * 3, *["inner_product_backward_weights"] * 3, "sum"]),
    ],
    ids=["weights that change", "weights that stay", "weights used by many"],
)
def test_weights_change_their_order_only_where_it_pays(fold: bool, uses: int, expected: list[str]) -> None:
    graph = Graph()
    w = graph.parameter("w", (24, 40))
    inputs = [graph.input(f"x{number}", (5, 40)) for number in range(uses)]
    results = [ops.linear(x, w) for x in inputs]
    seed = graph.input("seed", (5, 24))
    outputs = [*results, differentiate(dict.fromkeys(results, seed), [w])[w]]
    program = compile_graph(outputs, fold=fold)
    assert sorted(calls(program)) == sorted(expected)
    rng = np.random.default_rng(2)
    leaves = {name: rng.standard_normal(shape, np.float32) for name, shape in (("w", w.shape), ("seed", seed.shape))}
    leaves |= {f"x{number}": rng.standard_normal((5, 40), np.float32) for number in range(uses)}
    program.bind(leaves)
    for ours, theirs in zip(program.run(leaves), evaluate(outputs, leaves), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)


def test_a_gradient_whose_forward_ran_on_numpy_runs_on_numpy() -> None:
    from kernels.onednn import EMITTERS
    from kernels.onednn.program import NativeProgram

    graph = Graph()
    x = graph.input("x", (2, 3, 6, 6))
    y = ops.max_pool(x, kernel=(2, 2), strides=(2, 2))
    outputs = [y, differentiate({y: graph.input("seed", y.shape)}, [x])[x]]
    feeds = {"x": np.random.default_rng(1).random(x.shape, np.float32), "seed": np.ones(y.shape, np.float32)}
    without = {name: emitter for name, emitter in EMITTERS.items() if name != "max_pool"}
    program = NativeProgram(outputs, without, threads=1, fold=False)
    assert calls(program) == ["max_pool", "max_pool_backward"]
    for ours, theirs in zip(program.run(feeds), evaluate(outputs, feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    without = {name: emitter for name, emitter in EMITTERS.items() if name != "max_pool_backward"}
    with pytest.raises(UnsupportedError, match="oneDNN has no gradient for what it computed"):
        NativeProgram(outputs, without, threads=1, fold=False)


@pytest.mark.parametrize("kind", ["sum", "mean", "max", "min"])
def test_reductions_over_axes_of_one_cost_nothing(kind: str) -> None:
    graph = Graph()
    x = graph.input("x", (1, 3, 1))
    outputs = [ops.reduce(x, kind, axes, keepdims) for axes in (0, 2, (0, 2)) for keepdims in (True, False)]
    feeds = {"x": np.array([[[1], [2], [4]]], np.float32)}
    program = compile_graph(outputs)
    assert set(calls(program)) == {"reorder"}
    for ours, theirs in zip(program.run(feeds), evaluate(outputs, feeds), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_what_depends_on_parameters_alone_is_computed_once() -> None:
    graph = Graph()
    x = graph.input("x", (2, 64))
    w = ops.exp(ops.add(graph.parameter("w", (48, 64)), graph.constant(np.float32(1))))
    y = ops.linear(x, w)
    training, inference = compile_graph([y]), compile_graph([y], fold=True)
    assert (calls(training)[-1], calls(inference)[-1]) == ("matmul", "inner_product_forward")
    feeds = {"x": np.ones((2, 64), np.float32)}
    weights = np.zeros((48, 64), np.float32)
    for program in (training, inference):
        program.bind({"w": weights})
        np.testing.assert_allclose(program.run(feeds)[0], 64 * np.e, rtol=1e-5)
    weights += 1
    np.testing.assert_allclose(training.run(feeds)[0], 64 * np.e**2, rtol=1e-5)
    np.testing.assert_allclose(inference.run(feeds)[0], 64 * np.e, rtol=1e-5)  # until it is told
    inference.bind({"w": weights})
    np.testing.assert_allclose(inference.run(feeds)[0], 64 * np.e**2, rtol=1e-5)


def test_training_lenet_runs_natively() -> None:
    """All but the loss, which is a row of numbers long; Python runs before the first native call and after the last."""
    from nnframes.models import LeNet5
    from nnframes.nn import ClassNLLCriterion
    from nnframes.optim import SGD
    from nnframes.train import MiniBatch
    from nnframes.train.replica import NetworkReplica

    replica = NetworkReplica(LeNet5(10), ClassNLLCriterion(), SGD())
    batch = MiniBatch((np.zeros((8, 1, 28, 28), np.float32),), np.zeros(8, np.int32))
    replica.gradient(0, batch, 0, np.zeros(replica.message_size, np.float32))
    (step,) = replica._steps.values()
    lines = step.program.describe()
    assert [line.split()[0] for line in (lines[0], lines[-1])] == ["nll_backward", "nll"]
    assert not any("numpy" in line for line in lines[1:-1])
