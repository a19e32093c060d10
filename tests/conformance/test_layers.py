"""Every layer over one table: shapes, gradients, configs, errors, parameters."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re

import numpy as np
import pytest

from featurelib.config import from_config, to_config
from kernels import Value, compile_graph, evaluate
from nnframes import nn
from nnframes.errors import ShapeError
from nnframes.nn.nest import flatten, unflatten
from tests.conformance.layers_table import LAYERS, MADE_ELSEWHERE, Run, shapes_of

CLASSES = {**nn.LAYERS, **nn.INITIALIZERS, **nn.REGULARIZERS}
BASES = {"Layer", "Container", "Cell"}
every_case = pytest.mark.parametrize("case", LAYERS, ids=str)


def _found(base: type) -> dict[str, type]:
    """Every class below `base` that the package defines, abstract bases left out."""
    for module in pkgutil.walk_packages(nn.__path__, "nnframes.nn."):
        importlib.import_module(module.name)
    found, pending = {}, [base]
    while pending:
        for cls in pending.pop().__subclasses__():
            pending.append(cls)
            if cls.__module__.startswith("nnframes.nn."):
                found[cls.__name__] = cls
    return {name: cls for name, cls in found.items() if name not in BASES}


def test_every_layer_is_in_the_catalog_and_in_the_table():
    assert _found(nn.Layer) == nn.LAYERS
    assert {case.layer for case in LAYERS} | MADE_ELSEWHERE == set(nn.LAYERS)


@pytest.mark.parametrize(
    ("table", "base"),
    [
        (nn.LAYERS, nn.Layer),
        (nn.CRITERIONS, nn.Criterion),
        (nn.INITIALIZERS, nn.InitMethod),
        (nn.REGULARIZERS, nn.Regularizer),
    ],
    ids=["layers", "criterions", "initialisers", "regularisers"],
)
def test_tables_are_complete_sorted_and_exported(table, base):
    assert dict(table) == _found(base)
    assert list(table) == sorted(table)
    assert set(table) <= set(nn.__all__)
    assert all(name == cls.__name__ for name, cls in table.items())


def test_all_names_exist_once():
    assert len(nn.__all__) == len(set(nn.__all__))
    assert all(hasattr(nn, name) for name in nn.__all__)


@every_case
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_shape(case, training):
    run = Run.of(case.build(), unflatten(case.input, case.inputs()), training, np.float32)
    assert case.build().output_shape(case.input) == case.output
    result = run.result()
    assert shapes_of(result) == case.output
    assert all(np.isfinite(array).all() for array in flatten(result))
    assert {array.dtype for array in flatten(result)} <= {np.dtype(np.float32), np.dtype(np.int32)}


@every_case
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_gradient_against_finite_differences(case, training):
    run = Run.of(case.build(), unflatten(case.input, case.inputs()), training)
    outputs = flatten(run.result())
    if not case.gradient:
        return
    rng = np.random.default_rng(5)
    seeds = [rng.normal(0, 1, array.shape) for array in outputs]
    gradients = run.gradients(seeds)
    for name, gradient in gradients.items():
        assert gradient.shape == run.feeds[name].shape
        if case.draw == "ids" and name.startswith("x"):
            continue
        for _ in range(3):
            direction = rng.normal(0, 1, gradient.shape)
            expected = _slope(run, name, direction, seeds)
            np.testing.assert_allclose((gradient * direction).sum(), expected, rtol=1e-5, atol=1e-7, err_msg=name)


@pytest.mark.parametrize("case", [case for case in LAYERS if case.args.get("batch_mode", True)], ids=str)
@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_one_row_alone_is_computed_as_the_reference_does(case, training):
    """To the engine a tensor of one row looks like one that is repeated along the rows of another."""
    run = Run.of(case.build(), unflatten(case.input, [array[:1] for array in case.inputs()]), training, np.float32)
    outputs, feeds, rng = flatten(run.outputs), run.feeds, np.random.default_rng(5)
    if case.gradient:
        seeds = [rng.normal(0, 1, value.shape).astype(np.float32) for value in outputs]
        gradients, feeds = run.gradient_values(seeds)
        outputs = [*outputs, *(value for value in gradients.values() if isinstance(value, Value))]
    program = compile_graph(outputs)
    program.bind(feeds)
    for ours, theirs in zip(program.run(feeds), evaluate(outputs, feeds), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def _slope(run: Run, name: str, direction: np.ndarray, seeds: list[np.ndarray], step: float = 1e-6) -> float:
    middle, values = run.feeds[name], []
    for sign in (1, -1):
        run.feeds[name] = middle + sign * step * direction
        values.append(sum((array * seed).sum() for array, seed in zip(flatten(run.result()), seeds, strict=True)))
    run.feeds[name] = middle
    return (values[0] - values[1]) / (2 * step)


@every_case
def test_config_round_trip(case):
    layer = case.build().set_name("probe").initialise()
    config = to_config(layer)
    again = from_config(json.loads(json.dumps(config, allow_nan=False)), CLASSES)
    assert type(again) is type(layer)
    assert to_config(again) == config
    assert [path for path, _ in nn.parameters_in(again)] == [path for path, _ in nn.parameters_in(layer)]
    again.set_weights(layer.get_weights())
    inputs = unflatten(case.input, case.inputs())
    for ours, theirs in zip(
        flatten(Run.of(layer, inputs).result()), flatten(Run.of(again, inputs).result()), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


@every_case
def test_arguments_are_stored_under_their_names(case):
    layer = case.build()
    for name, value in case.args.items():
        stored = getattr(layer, name)
        if np.ndim(value) == 0 and not callable(value):
            assert stored == value


@every_case
def test_bad_input_names_the_layer_what_it_expects_and_what_came(case):
    if case.wrong is False:
        return
    layer = case.build().set_name("probe")
    for number, child in enumerate(layer.children()):
        child.set_name(f"inner{number}")
    wrong = case.wrong if case.wrong is not None else [(2, 3), (2, 3)] if layer.takes == "tensor" else (2, 3)
    with pytest.raises(ShapeError) as caught:
        layer.output_shape(wrong)
    assert re.match(r"\w+ '(probe|inner\d|linear_\d)' expects .+, received .+\.$", str(caught.value)), caught.value


@every_case
def test_parameters(case):
    layer = case.build()
    weights = layer.get_weights()
    assert sum(array.size for array in weights) == case.parameters
    assert layer.is_with_weights() == bool(weights)
    assert all(array.dtype == np.float32 for array in weights)
    changed = [array + 1 for array in weights]
    assert layer.set_weights(changed) is layer
    for ours, expected in zip(layer.get_weights(), changed, strict=True):
        np.testing.assert_array_equal(ours, expected)


@every_case
def test_first_values_follow_the_seed_alone(case):
    first, again, other = case.build(), case.build(), case.build().set_seed(7)
    for ours, theirs in zip(first.get_weights(), again.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    drawn = [own for _, own in nn.parameters_in(other) if isinstance(own.init, nn.RandomUniform | nn.RandomNormal)]
    for ours, parameter in zip(_drawn(first), drawn, strict=True):
        other.initialise()
        assert not np.array_equal(ours, parameter.value)


def _drawn(layer: nn.Layer) -> list[np.ndarray]:
    return [own.value for _, own in nn.parameters_in(layer) if isinstance(own.init, nn.RandomUniform | nn.RandomNormal)]
