"""What every layer can do: names, parameters, seeds, modes."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from kernels.sparse import RowSparse
from nnframes import nn
from nnframes.errors import ArgumentError, ShapeError
from nnframes.nn.walk import Structure, layers_in


def _mlp() -> nn.Sequential:
    return nn.Sequential().add(nn.Linear(4, 3).set_name("fc1")).add(nn.Tanh()).add(nn.Linear(3, 2))


def test_names_are_given_or_counted_depth_first():
    inner = nn.Sequential().add(nn.Tanh()).add(nn.Linear(2, 2))
    names = nn.names_in(_mlp().add(inner).add(nn.Linear(2, 2)))
    assert list(names.values()) == [
        *("sequential_1", "fc1", "tanh_1", "linear_1"),
        *("sequential_2", "tanh_2", "linear_2", "linear_3"),
    ]


def test_counted_names_keep_clear_of_given_ones():
    model = nn.Sequential().add(nn.Linear(2, 2)).add(nn.Linear(2, 2).set_name("linear_1"))
    assert list(nn.names_in(model).values()) == ["sequential_1", "linear_2", "linear_1"]


def test_a_name_given_twice_is_refused():
    model = nn.Sequential().add(nn.Linear(2, 2).set_name("a")).add(nn.Tanh().set_name("a"))
    with pytest.raises(ArgumentError, match=r"unique in a model\. Received: 2 layers named 'a'\."):
        model.output_shape((1, 2))


@pytest.mark.parametrize("name", ["", None, 3])
def test_a_name_is_a_non_empty_string(name):
    with pytest.raises(ArgumentError, match="Linear name must be a non-empty string"):
        nn.Linear(1, 1).set_name(name)


def test_parameters_are_named_by_layer_and_copied():
    model = _mlp()
    parameters = model.parameters()
    assert {name: list(entries) for name, entries in parameters.items()} == {
        name: ["weight", "gradWeight", "bias", "gradBias"] for name in ("fc1", "linear_1")
    }
    assert parameters["fc1"]["weight"].shape == (3, 4)
    assert not parameters["fc1"]["gradWeight"].any()
    parameters["fc1"]["weight"][...] = 100
    assert model.parameters()["fc1"]["weight"].max() < 1


def test_buffers_are_shown_but_not_trained():
    layer = nn.BatchNormalization(3)
    assert list(layer.parameters()["batchnormalization_1"]) == [
        *("weight", "gradWeight", "bias", "gradBias"),
        *("running_mean", "running_var"),
    ]
    assert [array.shape for array in layer.get_weights()] == [(3,), (3,)]
    assert not nn.BatchNormalization(3, affine=False).is_with_weights()


def test_set_weights_checks_all_shapes_before_it_changes_any():
    layer = nn.Linear(2, 3)
    before = layer.get_weights()
    with pytest.raises(ShapeError, match=r"Linear expects weights of shapes \[\(3, 2\), \(3,\)\], received \[\(3, 2\)"):
        layer.set_weights([np.ones((3, 2)), np.ones(2)])
    with pytest.raises(ShapeError):
        layer.set_weights([np.ones((3, 2))])
    for wrong in (3, "weights", None):
        with pytest.raises(ArgumentError, match=r"Linear weights must be a list of arrays. Received: (int|str|None)"):
            layer.set_weights(wrong)
    for ours, expected in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, expected)


def test_set_weights_keeps_views_of_the_values():
    layer = nn.Linear(2, 1).initialise()
    view = layer.weight.value
    layer.set_weights([np.full((1, 2), 5.0), np.zeros(1)])
    np.testing.assert_array_equal(view, [[5.0, 5.0]])


def test_shared_layers_have_one_set_of_parameters():
    shared = nn.Linear(3, 3)
    model = nn.Sequential().add(shared).add(nn.Tanh()).add(shared)
    assert len(model.get_weights()) == 2
    assert layers_in(model) == [model, shared, model.layers[1]]


def test_plain_descent_moves_against_the_gradient():
    layer = nn.Linear(2, 1).initialise()
    layer.set_weights([np.ones((1, 2)), np.ones(1)])
    layer.weight.grad = np.array([[1.0, 2.0]], np.float32)
    layer.update_parameters(0.5)
    np.testing.assert_array_equal(layer.weight.value, [[0.5, 0.0]])
    np.testing.assert_array_equal(layer.bias.value, [1.0])
    layer.zero_grad_parameters()
    assert not layer.weight.grad.any()


def test_row_sparse_descent_touches_only_its_rows():
    layer = nn.LookupTable(4, 2).initialise()
    before = layer.weight.value.copy()
    layer.weight.grad = RowSparse(np.array([1, 3], np.int32), np.ones((2, 2), np.float32))
    assert isinstance(layer.parameters()["lookuptable_1"]["gradWeight"], RowSparse)
    layer.update_parameters(0.25)
    np.testing.assert_allclose(before - layer.weight.value, [[0, 0], [0.25, 0.25], [0, 0], [0.25, 0.25]], atol=1e-7)
    layer.zero_grad_parameters()
    assert layer.weight.grad is None


def test_init_methods_are_chosen_per_layer():
    layer = nn.Linear(3, 2).set_init_method(nn.ConstInitMethod(0.5), nn.Zeros())
    weight, bias = layer.get_weights()
    assert (weight == 0.5).all()
    assert not bias.any()
    assert not nn.Linear(3, 2, with_bias=False).set_init_method(nn.Zeros()).get_weights()[0].any()


def test_init_methods_need_a_parameter():
    with pytest.raises(ArgumentError, match=r"Tanh weight must exist to be given an init method"):
        nn.Tanh().set_init_method(nn.Zeros())
    with pytest.raises(ArgumentError, match=r"Linear bias must exist"):
        nn.Linear(3, 2, with_bias=False).set_init_method(bias_init_method=nn.Zeros())
    with pytest.raises(ArgumentError, match=r"init method, such as Zeros\(\)\. Received: 'zeros'"):
        nn.Linear(3, 2).set_init_method("zeros")


def test_init_arrays_are_the_first_values():
    layer = nn.Linear(2, 1, init_weight=np.array([[1.0, 2.0]]), init_bias=np.array([3.0]))
    np.testing.assert_array_equal(layer.get_weights()[0], [[1, 2]])
    np.testing.assert_array_equal(layer.get_weights()[1], [3])
    with pytest.raises(ShapeError, match=r"Parameter 'weight' expects \(1, 2\), received \(2,\)"):
        nn.Linear(2, 1, init_weight=np.ones(2))


def test_reset_draws_anew_and_seeds_differ():
    layer = nn.Linear(3, 2)
    first = layer.get_weights()[0]
    layer.set_weights([np.zeros((2, 3)), np.zeros(2)])
    np.testing.assert_array_equal(layer.reset().get_weights()[0], first)
    assert not np.array_equal(layer.set_seed(5).reset().get_weights()[0], first)
    assert layer.seed == 5


def test_parameters_of_one_network_are_drawn_from_different_streams():
    model = nn.Sequential().add(nn.Linear(3, 3)).add(nn.Linear(3, 3))
    first, _, second, _ = model.get_weights()
    assert not np.array_equal(first, second)


def tried() -> nn.Linear:
    """A layer that was used before it became part of a network."""
    layer = nn.Linear(3, 3)
    layer.forward(np.zeros((2, 3)))
    return layer


def test_parts_that_were_used_before_start_with_different_weights():
    used, parts = tried(), [nn.Linear(3, 3), tried(), nn.Sequential().add(tried()).add(nn.Linear(3, 3)), tried()]
    model = nn.Sequential().add(used)
    for part in parts:
        model.add(part)
    before = used.get_weights()[0]
    found = [array for array in model.get_weights() if array.ndim == 2]
    assert len({array.tobytes() for array in found}) == len(found) == 6
    np.testing.assert_array_equal(found[0], before)
    for one, other in zip(found, [array for array in model.get_weights() if array.ndim == 2], strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("known", ["copied", "assigned", "trained"])
def test_weights_that_somebody_wanted_stay(known):
    one, other = tried(), tried()
    if known == "copied":
        other = copy.deepcopy(one)
    elif known == "assigned":
        other.set_weights(one.get_weights())
    else:
        for layer in (one, other):
            layer.forward(np.ones((1, 3)))
            layer.backward(np.ones((1, 3)), np.ones((1, 3)))
            layer.update_parameters(0.5)
    first, _, second, _ = nn.Sequential().add(one).add(other).get_weights()
    np.testing.assert_array_equal(first, second)


def test_training_and_evaluation_reach_all_layers():
    model = _mlp()
    assert model.is_training()
    assert model.evaluate() is model
    assert not any(layer.is_training() for layer in layers_in(model))
    model.training()
    assert all(layer.is_training() for layer in layers_in(model))


@pytest.mark.parametrize(
    "change",
    [
        lambda model: model.add(nn.Tanh()),
        lambda model: model.layers[0].set_name("other"),
        lambda model: model.layers[0].set_init_method(nn.Zeros()),
        lambda model: setattr(model.layers[0].weight, "value", np.zeros((3, 4), np.float32)),
    ],
)
def test_what_was_compiled_is_told_from_what_is(change):
    model = _mlp()
    before = Structure(model.initialise())
    assert before.holds(model)
    change(model)
    assert not before.holds(model)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.Linear(0, 3), "Linear input_size must be an integer >= 1. Received: 0."),
        (lambda: nn.Linear(3, 2.5), "Linear output_size must be an integer >= 1. Received: 2.5."),
        (lambda: nn.SpatialConvolution(3, 4, 0, 3), "SpatialConvolution kernel must be >= 1. Received: (3, 0)."),
        (
            lambda: nn.SpatialConvolution(3, 4, 3, 3, pad_w=-2),
            "SpatialConvolution padding must be >= 0, or -1 for 'same'.",
        ),
        (lambda: nn.SpatialConvolution(3, 4, 3, 3, n_group=2), "SpatialConvolution n_group must divide both"),
        (lambda: nn.SpatialConvolution(3, 4, 3, 3, data_format="CHW"), "data_format must be one of NCHW, NHWC."),
        (lambda: nn.SpatialMaxPooling(2, 2, 0, 2), "SpatialMaxPooling stride must be >= 1."),
        (lambda: nn.TemporalMaxPooling(0), "TemporalMaxPooling kernel must be >= 1."),
        (lambda: nn.Dropout(1.0), "Dropout init_p (the probability to drop) must be in [0, 1). Received: 1.0."),
        (lambda: nn.BatchNormalization(4, eps=0), "BatchNormalization eps must be > 0. Received: 0."),
        (lambda: nn.BatchNormalization(4, momentum=1.5), "BatchNormalization momentum must be in [0, 1]."),
        (lambda: nn.SpatialCrossMapLRN(4), "SpatialCrossMapLRN size must be odd. Received: 4."),
        (lambda: nn.LookupTable(5, 2, padding_value=5), "LookupTable padding_value must be an id in [0, 5) or None."),
        (lambda: nn.LeakyReLU(-0.1), "LeakyReLU negval must be >= 0. Received: -0.1."),
        (lambda: nn.HardTanh(1, -1), "HardTanh minimum must be <= maximum. Received: 1, -1."),
        (lambda: nn.SoftPlus(0), "SoftPlus beta must be > 0. Received: 0."),
        (lambda: nn.PReLU(-1), "PReLU n_output_plane must be >= 0. Received: -1."),
        (lambda: nn.Reshape([2, -1, -1]), "Reshape sizes must be >= 1, at most one -1."),
        (lambda: nn.Transpose([1, 2]), "Transpose permutations must be pairs of dimensions."),
        (lambda: nn.CMul([0]), "CMul size must be an integer >= 1. Received: 0."),
        (lambda: nn.RnnCell(2, 3, "tan"), "activation must be a layer or one of hard_sigmoid, relu,"),
        (lambda: nn.NonMaxSuppression(1.5), "NonMaxSuppression iou_threshold must be in [0, 1]."),
        (
            lambda: nn.Linear(2, 1, wRegularizer=0.1),
            "must have a Regularizer such as L2Regularizer(1e-4).",
        ),
        (lambda: nn.L2Regularizer(-1), "L2Regularizer l2 must be >= 0. Received: -1."),
        (lambda: nn.RandomUniform(1.0), "RandomUniform takes both bounds or neither."),
        (lambda: nn.RandomNormal(0, -1), "RandomNormal stdv must be >= 0."),
    ],
)
def test_bad_arguments_are_named_with_what_came(make, message):
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)


def test_a_parameter_hidden_from_the_walk_is_named():
    class Hidden(nn.Layer):
        def __init__(self):
            self.hidden = {"weight": nn.Parameter("weight", (1,), nn.Zeros())}

        def call(self, t, x):
            return t(self.hidden["weight"])

    with pytest.raises(ArgumentError, match=r"Hidden 'hidden_1' parameter 'weight' must be an attribute of a layer"):
        Hidden().output_shape((1, 1))


def test_a_copy_is_independent():
    shared = nn.Linear(3, 3)
    model = nn.Sequential().add(shared).add(shared).initialise()
    model.forward(np.zeros((2, 3)))
    twin = copy.deepcopy(model)
    twin.set_weights([np.zeros((3, 3)), np.ones(3)])
    assert twin.layers[0] is twin.layers[1]
    np.testing.assert_array_equal(twin.forward(np.zeros((2, 3))), np.ones((2, 3)))
    assert not np.array_equal(model.get_weights()[1], np.ones(3))
