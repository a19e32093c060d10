"""Properties that every transform has, over the table in cases.py."""

from __future__ import annotations

import copy
import dataclasses
import importlib
import inspect
import json
import pkgutil
from typing import Any

import numpy as np
import pytest

import featurelib
from featurelib import FeatureError, Preprocessing, RowStreams, from_config, stack, to_config
from featurelib.catalog import PREPROCESSING
from featurelib.image import ImageFeature
from kernels.errors import ArgumentError
from tests.featurelib.cases import CASES, IDS, Case


def streams(case: Case, count: int, seed: int = 5) -> RowStreams | None:
    rows = np.arange(count) + 40
    return RowStreams(lambda row: np.random.default_rng([seed, row]), rows) if case.transform.random else None


def rows_of(result: Any, count: int) -> list[Any]:
    rows = list(zip(*result, strict=True)) if isinstance(result, tuple) else list(result)
    assert len(rows) == count
    return rows


def same(left: Any, right: Any) -> None:
    assert type(left) is type(right)
    if isinstance(left, np.ndarray):
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    elif isinstance(left, dict):
        assert list(left) == list(right)
        for key in left:
            same(left[key], right[key])
    elif dataclasses.is_dataclass(left):
        same(vars(left), vars(right))
    elif isinstance(left, (list, tuple)):
        for one, other in zip(left, right, strict=True):
            same(one, other)
    else:
        assert left == right


def apply_all(case: Case, values: Any, seed: int = 5) -> list[Any]:
    rngs = streams(case, len(values), seed)
    return [case.transform.apply(value, None if rngs is None else rngs[i]) for i, value in enumerate(values)]


def concrete_classes() -> set[type]:
    classes: set[type] = set()
    for module in pkgutil.walk_packages(featurelib.__path__, "featurelib."):
        for _, cls in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(cls, Preprocessing) and not inspect.isabstract(cls):
                classes.add(cls)
    return classes


def test_table_and_catalog_hold_every_transform() -> None:
    assert {type(case.transform) for case in CASES} == concrete_classes()
    assert set(PREPROCESSING.values()) == concrete_classes()
    assert all(name == cls.__name__ for name, cls in PREPROCESSING.items())
    assert list(PREPROCESSING) == sorted(PREPROCESSING)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_shape_type_and_range(case: Case) -> None:
    for value in apply_all(case, case.values[0]):
        if not isinstance(value, tuple):
            array = np.asarray(value)
            assert case.shape in (array.shape, None)
            assert array.dtype == case.dtype
            assert case.bounds[0] <= array.min()
            assert array.max() <= case.bounds[1]
        else:
            assert all(part.dtype == case.dtype for part in value if part is not None)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_batch_equals_a_loop_of_apply(case: Case) -> None:
    for values in case.values:
        count = len(values)
        batch = case.transform.batch(values, streams(case, count))
        same(rows_of(batch, count) if count else [], apply_all(case, values))


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_input_is_never_changed(case: Case) -> None:
    for values in case.values:
        before = copy.deepcopy([bytes(v) if isinstance(v, memoryview) else v for v in values])
        apply_all(case, values)
        case.transform.batch(values, streams(case, len(values)))
        for old, new in zip(before, values, strict=True):
            if hasattr(old, "toArray"):
                old, new = old.toArray(), new.toArray()
            same(old, bytes(new) if isinstance(new, memoryview) else new)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_results_do_not_follow_later_changes_of_other_rows(case: Case) -> None:
    values = case.values[0]
    first = apply_all(case, values)
    before = copy.deepcopy(first)
    apply_all(case, values, seed=6)
    same(first, before)


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_same_seed_same_result(case: Case) -> None:
    same(apply_all(case, case.values[0]), apply_all(case, case.values[0]))


@pytest.mark.parametrize("case", [c for c in CASES if c.transform.random], ids=repr)
def test_random_transforms(case: Case) -> None:
    with pytest.raises(ArgumentError, match="needs a generator"):
        case.transform.apply(case.values[0][0])
    with pytest.raises(ArgumentError, match="needs a generator"):
        case.transform.batch(case.values[0])
    fixed = case.transform.deterministic()
    assert not fixed.random
    array = np.asarray(fixed.apply(case.values[0][0]))
    assert case.shape is None or array.shape == np.asarray(apply_all(case, case.values[0])[0]).shape


def test_another_seed_gives_another_result() -> None:
    unmoved = []
    for case in (c for c in CASES if c.transform.random and c.shape not in (None, (12, 10, 3))):
        runs = [stack(case.transform.batch(case.values[0], streams(case, len(case.values[0]), s))) for s in range(8)]
        unmoved += [repr(case.transform)] * all(np.array_equal(run, runs[0]) for run in runs)
    assert unmoved == []


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_config_round_trip(case: Case) -> None:
    text = json.dumps(to_config(case.transform))
    rebuilt = from_config(json.loads(text), PREPROCESSING)
    assert type(rebuilt) is type(case.transform)
    assert json.dumps(to_config(rebuilt)) == text
    assert repr(rebuilt) == repr(case.transform)
    same(apply_all(Case(rebuilt, []), case.values[0]), apply_all(case, case.values[0]))


BAD = [(case, *bad) for case in CASES for bad in case.bad]


@pytest.mark.parametrize(
    ("case", "value", "error", "message"), BAD, ids=[f"{type(b[0].transform).__name__}-{b[3]}" for b in BAD]
)
def test_bad_values(case: Case, value: Any, error: type[Exception], message: str) -> None:
    rng = np.random.default_rng(0) if case.transform.random else None
    with pytest.raises(error) as one:
        case.transform.apply(value, rng)
    assert message in str(one.value)
    assert isinstance(one.value, FeatureError)
    assert one.value.row is None

    values = [*case.values[0], value]
    with pytest.raises(error) as many:
        case.transform.batch(values, streams(case, len(values)))
    assert isinstance(many.value, FeatureError)
    assert many.value.row == len(values) - 1
    assert str(many.value).startswith(f"row {len(values) - 1}: ")


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_constructor_only_stores_its_arguments(case: Case) -> None:
    parameters = inspect.signature(type(case.transform)).parameters
    assert set(vars(case.transform)) == set(parameters)


def test_records_keep_what_they_carry() -> None:
    for case in CASES:
        if case.transform.random or not type(case.transform).__module__.startswith("featurelib.image"):
            continue
        value = case.values[0][0]
        record = value if isinstance(value, ImageFeature) else None
        if record is None and isinstance(value, np.ndarray):
            record = ImageFeature(value, label=3.0, path="x")
            result = case.transform.apply(record)
            assert (result["label"], result["uri"], result["originalSize"]) == (3.0, "x", value.shape)
