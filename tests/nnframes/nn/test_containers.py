"""Containers: adding, sharing, configs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from featurelib.config import from_config, to_config
from nnframes import nn
from nnframes.errors import ArgumentError, ShapeError, UnsupportedError
from tests.conformance.layers_table import Run

CLASSES = {**nn.LAYERS, **nn.INITIALIZERS, **nn.REGULARIZERS}


def _again(layer: nn.Layer) -> nn.Layer:
    return from_config(json.loads(json.dumps(to_config(layer))), CLASSES)


def test_only_layers_can_be_added():
    with pytest.raises(ArgumentError, match=r"Sequential must be given layers\. Received: int\."):
        nn.Sequential().add(3)


def test_a_container_must_not_contain_itself():
    outer, inner = nn.Sequential(), nn.Sequential()
    outer.add(inner)
    with pytest.raises(ArgumentError, match="Sequential must not contain itself"):
        inner.add(outer)
    with pytest.raises(ArgumentError, match="Sequential must not contain itself"):
        inner.add(inner)


def test_an_empty_sequential_is_the_identity_and_an_empty_concat_an_error():
    assert nn.Sequential().output_shape((3, 4)) == (3, 4)
    with pytest.raises(ShapeError, match=r"Concat 'concat_1' expects at least one layer"):
        nn.Concat(1).output_shape((3, 4))


def test_errors_name_the_innermost_layer_once():
    model = nn.Sequential().add(nn.Sequential().add(nn.Linear(4, 3)).add(nn.Linear(4, 3).set_name("fc2")))
    with pytest.raises(ShapeError) as caught:
        model.output_shape((2, 4))
    assert str(caught.value) == "Linear 'fc2' expects (batch, 4), received (2, 3)."


def test_a_config_keeps_names_inits_nesting_and_what_a_container_shares():
    shared = nn.Linear(3, 3).set_init_method(nn.Xavier()).set_name("twice")
    branch = nn.Concat(1).add(nn.Linear(3, 2, wRegularizer=nn.L1Regularizer(0.1))).add(nn.Identity())
    model = nn.Sequential().add(shared).add(nn.Tanh()).add(shared).add(branch).set_name("net")
    again = _again(model)
    assert to_config(again) == to_config(model)
    assert again.layers[0] is again.layers[2]
    assert list(nn.names_in(again).values()) == list(nn.names_in(model).values())
    assert isinstance(again.layers[0].weight.init, nn.Xavier)
    assert again.layers[3].layers[0].weight.regularizer.l1 == 0.1
    assert [array.shape for array in again.get_weights()] == [array.shape for array in model.get_weights()]


def test_a_config_refuses_what_two_containers_share():
    shared = nn.Linear(3, 3)
    model = nn.Concat(1).add(nn.Sequential().add(shared)).add(nn.Sequential().add(shared))
    with pytest.raises(ArgumentError, match="A config cannot describe a Linear that two containers share"):
        to_config(model)


def test_concat_joins_and_sequential_chains():
    x = np.random.default_rng(0).normal(0, 1, (2, 3)).astype(np.float32)
    model = nn.Concat(1).add(nn.Identity()).add(nn.Sequential().add(nn.MulConstant(2.0)).add(nn.AddConstant(1.0)))
    np.testing.assert_allclose(Run.of(model, x).result(), np.concatenate([x, 2 * x + 1], 1), rtol=1e-6)


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.CAddTable(), lambda a, b: a + b),
        (nn.CSubTable(), lambda a, b: a - b),
        (nn.CMulTable(), lambda a, b: a * b),
        (nn.CMaxTable(), np.maximum),
        (nn.JoinTable(1), lambda a, b: np.concatenate([a, b], 1)),
        (nn.SelectTable(1), lambda a, b: b),
    ],
)
def test_table_layers_by_formula(layer, expected):
    a, b = np.random.default_rng(0).normal(0, 1, (2, 3, 4))
    np.testing.assert_allclose(Run.of(layer, [a, b]).result(), expected(a, b))


def test_recurrent_is_the_cell_step_by_step():
    cell = nn.RnnCell(3, 2, "tanh")
    x = np.random.default_rng(0).normal(0, 1, (4, 5, 3))
    result = Run.of(nn.Recurrent().add(cell), x).result()
    w, b, u, c = (array.astype(np.float64) for array in cell.get_weights())
    hidden = np.zeros((4, 2))
    for step in range(5):
        hidden = np.tanh(x[:, step] @ w.T + b + hidden @ u.T + c)
        np.testing.assert_allclose(result[:, step], hidden)


@pytest.mark.parametrize("layers", [[], [nn.Linear(2, 2)], [nn.RnnCell(2, 2), nn.RnnCell(2, 2)]])
def test_recurrent_holds_one_cell(layers):
    model = nn.Recurrent()
    for layer in layers:
        model.add(layer)
    with pytest.raises(ArgumentError, match="Recurrent must hold exactly one cell"):
        model.output_shape((1, 2, 2))


def test_a_cell_must_not_update_buffers():
    cell = nn.RnnCell(2, 3, activation=nn.BatchNormalization(3))
    with pytest.raises(UnsupportedError, match="updates 'running_mean', which the cell of a Recurrent cannot"):
        Run.of(nn.Recurrent().add(cell), np.zeros((4, 2, 2)), training=True)


def test_non_max_suppression_keeps_the_best_of_overlapping_boxes():
    boxes = np.array([[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30], [0, 0, 1, 1]], np.float32)
    scores = np.array([0.8, 0.9, 0.3, 0.05], np.float32)
    indices, count = Run.of(nn.NonMaxSuppression(0.5, 0.1, 3), [boxes, scores], dtype=np.float32).result()
    assert indices.tolist() == [1, 2, -1]
    assert count.tolist() == [2]
