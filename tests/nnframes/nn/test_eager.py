"""Layers run on arrays: the compiled path against the reference, accumulation, modes, changes between calls."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.sparse import RowSparse
from nnframes import nn
from nnframes.errors import ArgumentError, ShapeError
from nnframes.nn.nest import flatten, map_nested, unflatten
from tests.conformance.layers_table import LAYERS, Run, shapes_of

X = np.random.default_rng(0).normal(0, 1, (5, 4)).astype(np.float32)


def _mlp() -> nn.Sequential:
    return nn.Sequential().add(nn.Linear(4, 3).set_name("fc1")).add(nn.Tanh()).add(nn.Linear(3, 2).set_name("fc2"))


@pytest.mark.parametrize("case", LAYERS, ids=str)
def test_forward_and_backward_are_the_reference(case):
    layer = case.build().evaluate()
    arrays = [array.astype(np.float32) for array in case.inputs()]
    inputs = unflatten(case.input, arrays)
    run = Run.of(layer, inputs, dtype=np.float32)
    outputs = layer.forward(inputs)
    assert shapes_of(outputs) == case.output
    for ours, expected in zip(flatten(outputs), flatten(run.result()), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)
    if not case.gradient:
        return
    rng = np.random.default_rng(5)
    seeds = map_nested(lambda array: rng.normal(0, 1, array.shape).astype(np.float32), outputs)
    given = layer.backward(inputs, seeds)
    expected = run.gradients(flatten(seeds))
    assert shapes_of(given) == case.input
    for number, ours in enumerate(flatten(given)):
        np.testing.assert_allclose(ours, expected[f"x{number}"], rtol=1e-3, atol=1e-4)
    for path, own in nn.parameters_in(layer):
        if path in expected:
            grad = own.grad.to_dense(own.shape[0]) if isinstance(own.grad, RowSparse) else own.grad
            np.testing.assert_allclose(grad, expected[path], rtol=1e-3, atol=1e-4, err_msg=path)


def test_gradients_accumulate_until_they_are_zeroed():
    model, seed = _mlp(), np.ones((5, 2), np.float32)
    model.forward(X)
    model.backward(X, seed)
    once = model.parameters()["fc1"]["gradWeight"]
    model.backward(X, seed)
    np.testing.assert_allclose(model.parameters()["fc1"]["gradWeight"], 2 * once, rtol=1e-6)
    model.zero_grad_parameters()
    assert not model.parameters()["fc1"]["gradWeight"].any()
    model.backward(X, seed)
    np.testing.assert_allclose(model.parameters()["fc1"]["gradWeight"], once, rtol=1e-6)


def test_one_value_at_two_outputs_gets_both_gradients():
    model = nn.ConcatTable().add(nn.Identity()).add(nn.Identity())
    whole = nn.Sequential().add(nn.Tanh()).add(model)
    whole.forward(X)
    gradient = whole.backward(X, [np.ones_like(X), 2 * np.ones_like(X)])
    np.testing.assert_allclose(gradient, 3 * (1 - np.tanh(X) ** 2), rtol=1e-4, atol=1e-6)


def test_weights_may_be_set_between_calls():
    layer = nn.Linear(4, 2)
    layer.forward(X)
    layer.set_weights([np.ones((2, 4)), np.zeros(2)])
    np.testing.assert_allclose(layer.forward(X), np.repeat(X.sum(1, keepdims=True), 2, 1), rtol=1e-4, atol=1e-5)
    layer.set_init_method(nn.Zeros(), nn.Ones())
    np.testing.assert_array_equal(layer.forward(X), np.ones((5, 2)))


def test_weights_may_be_moved_between_calls():
    layer = nn.Linear(4, 2)
    layer.forward(X)
    flat = np.zeros(10, np.float32)
    layer.weight.value, layer.bias.value = flat[:8].reshape(2, 4), flat[8:]
    np.testing.assert_array_equal(layer.forward(X), np.zeros((5, 2)))
    flat[8:] = 3
    np.testing.assert_array_equal(layer.forward(X), np.full((5, 2), 3.0))


def test_layers_may_be_added_between_calls():
    model = nn.Sequential().add(nn.Linear(4, 2))
    before = model.forward(X)
    model.add(nn.Tanh())
    np.testing.assert_allclose(model.forward(X), np.tanh(before), rtol=1e-4, atol=1e-5)


def test_batch_sizes_may_change():
    model = _mlp().evaluate()
    whole = model.forward(X)
    np.testing.assert_allclose(
        np.concatenate([model.forward(X[:2]), model.forward(X[2:])]), whole, rtol=1e-4, atol=1e-5
    )


def test_descent_lowers_the_loss():
    model, criterion = _mlp(), nn.MSECriterion()
    target, losses = np.ones((5, 2), np.float32), []
    for _ in range(20):
        output = model.forward(X)
        losses.append(criterion.forward(output, target))
        model.zero_grad_parameters()
        model.backward(X, criterion.backward(output, target))
        model.update_parameters(0.1)
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] / 2


def test_batch_statistics_move_in_training_only():
    layer = nn.BatchNormalization(4, momentum=0.5)
    layer.evaluate().forward(X)
    np.testing.assert_array_equal(layer.running_mean.value, np.zeros(4))
    layer.training().forward(X)
    np.testing.assert_allclose(layer.running_mean.value, X.mean(0) / 2, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer.running_var.value, 0.5 + X.var(0, ddof=1) / 2, rtol=1e-4)


def test_an_empty_batch_moves_no_statistics():
    layer = nn.SpatialBatchNormalization(3)
    before = layer.parameters()
    x = np.zeros((0, 3, 4, 4), np.float32)
    y = layer.forward(x)
    assert layer.backward(x, y).shape == y.shape == x.shape
    for name, value in next(iter(layer.parameters().values())).items():
        np.testing.assert_array_equal(value, next(iter(before.values()))[name])


def test_predictions_name_a_wrong_number_of_inputs():
    predict = nn.Linear(3, 2)._compiled().predictor(4, (3,), threads=1)
    x = np.zeros((2, 3), np.float32)
    assert predict((x,)).shape == (2, 2)
    for inputs in ((), (x, x)):
        with pytest.raises(ArgumentError, match=f"The network takes 1 inputs. Received: {len(inputs)}"):
            predict(inputs)


def test_dropout_draws_anew_and_backward_uses_the_same_mask():
    layer, ones = nn.Dropout(0.5), np.ones((20, 50), np.float32)
    first = layer.forward(ones)
    second = layer.forward(ones)
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(layer.backward(ones, ones), second)
    np.testing.assert_array_equal(layer.evaluate().forward(ones), ones)


def test_a_wrong_input_is_named():
    with pytest.raises(ShapeError, match=r"Linear 'fc2' expects \(batch, 3\), received \(5, 2\)\."):
        nn.Sequential().add(nn.Linear(4, 2)).add(nn.Linear(3, 2).set_name("fc2")).forward(X)


@pytest.mark.parametrize("wrong", [np.array([["a", "b"]]), "text", {"x": 1}, [np.ones((1, 2)), object()]])
def test_what_is_no_array_of_numbers_is_refused(wrong):
    with pytest.raises(ArgumentError, match=r"A network takes arrays of numbers, or lists of such. Received: "):
        nn.Linear(2, 2).forward(wrong)
