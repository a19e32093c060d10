"""Graph models: wiring, sharing, configs, errors."""

from __future__ import annotations

import json

import numpy as np
import pytest

from featurelib.config import from_config, to_config
from nnframes import nn
from nnframes.errors import ArgumentError, ShapeError
from tests.conformance.layers_table import Run

CLASSES = {**nn.LAYERS, **nn.INITIALIZERS, **nn.REGULARIZERS}


def _siamese() -> nn.Model:
    """Two inputs through one shared layer; the difference and the first of them come out."""
    left, right = nn.Input((4,), "left"), nn.Input((4,), "right")
    shared = nn.Linear(4, 3).set_name("shared")
    a, b = shared(left), shared(right)
    return nn.Model([left, right], [nn.CSubTable()([a, b]), nn.Tanh()(a)]).set_name("siamese")


def test_values_and_shared_weights():
    model = _siamese()
    x, y = np.random.default_rng(0).normal(0, 1, (2, 5, 4))
    weight, bias = model.get_weights()
    difference, first = Run.of(model, [x, y]).result()
    np.testing.assert_allclose(difference, (x - y) @ weight.T, atol=1e-12)
    np.testing.assert_allclose(first, np.tanh(x @ weight.T + bias))


def test_gradient_of_a_shared_layer_is_the_sum_over_its_uses():
    run = Run.of(_siamese(), list(np.random.default_rng(0).normal(0, 1, (2, 5, 4))))
    seeds = [np.ones((5, 3)), np.zeros((5, 3))]
    gradients = run.gradients(seeds)
    np.testing.assert_allclose(gradients["shared.bias"], 0, atol=1e-12)
    expected = np.ones((5, 3)).T @ (run.feeds["x0"] - run.feeds["x1"])
    np.testing.assert_allclose(gradients["shared.weight"], expected, atol=1e-12)


def test_shapes_layers_and_names():
    model = _siamese()
    assert model.output_shape([(5, 4), (5, 4)]) == [(5, 3), (5, 3)]
    assert model.input_shape == [(4,), (4,)]
    assert [type(layer).__name__ for layer in model.layers] == ["Linear", "CSubTable", "Tanh"]
    assert list(nn.names_in(model).values()) == ["siamese", "shared", "csubtable_1", "tanh_1"]


def test_config_round_trip():
    model = _siamese()
    config = to_config(model)
    again = from_config(json.loads(json.dumps(config)), CLASSES)
    assert to_config(again) == config
    assert again.input_shape == model.input_shape
    assert len(again.get_weights()) == 2
    again.set_weights(model.get_weights())
    inputs = list(np.random.default_rng(0).normal(0, 1, (2, 5, 4)))
    for ours, theirs in zip(Run.of(model, inputs).result(), Run.of(again, inputs).result(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_models_nest():
    x = nn.Input((4,))
    inner = nn.Model(x, nn.Linear(4, 3)(x))
    y = nn.Input()
    outer = nn.Model(y, nn.Tanh()(inner(y)))
    assert outer.input_shape is None
    assert outer.output_shape((2, 4)) == (2, 3)
    assert to_config(from_config(to_config(outer), CLASSES)) == to_config(outer)


def test_deep_graphs_need_no_recursion():
    x = node = nn.Input((2,))
    for _ in range(2000):
        node = nn.Tanh()(node)
    assert len(nn.Model(x, node).layers) == 2000


def test_an_input_may_be_an_output_and_an_output_listed_twice():
    x = nn.Input((2,))
    y = nn.Tanh()(x)
    assert nn.Model(x, [x, y, y]).output_shape((3, 2)) == [(3, 2)] * 3


def test_wrong_inputs_are_named():
    model = _siamese()
    with pytest.raises(ShapeError, match=r"Model 'siamese' expects 2 inputs, received \(5, 4\)\."):
        model.output_shape((5, 4))
    with pytest.raises(ShapeError, match=r"Model 'siamese' expects \(batch, 4\), received \(5, 3\)\."):
        model.output_shape([(5, 4), (5, 3)])


def _unlisted() -> nn.Model:
    a, b = nn.Input(name="a"), nn.Input(name="b")
    return nn.Model(a, nn.CAddTable()([a, b]))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_unlisted, "Model inputs must list every Input that the outputs need. Missing: b."),
        (lambda: nn.Model(nn.Tanh()(nn.Input()), nn.Input()), "Model inputs must be different nodes made by Input()."),
        (lambda: nn.Model(nn.Input(), nn.Tanh()), "Model outputs must be nodes: Input() or a layer called on nodes."),
        (lambda: nn.Model([], nn.Input()), "Model inputs must be nodes"),
        (lambda: nn.Linear(2, 2)(np.zeros((1, 2))), "Hint: use Linear.forward(array) to compute."),
        (lambda: nn.CAddTable()([]), "CAddTable must be called on one node at least."),
    ],
)
def test_bad_wiring(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)


def test_the_same_input_twice_is_refused():
    x = nn.Input()
    with pytest.raises(ArgumentError, match="must be different nodes"):
        nn.Model([x, x], x)
