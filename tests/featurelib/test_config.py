from __future__ import annotations

import json
import math
from functools import partial
from typing import Any

import numpy as np
import pytest

from featurelib import ConfigError, from_config, to_config
from kernels.errors import ArgumentError, NNFramesError


class Holder:
    def __init__(self, value: Any, other: Any = 1) -> None:
        self.value = value
        self.other = other


class Positive:
    def __init__(self, number: int = 1) -> None:
        if number < 1:
            raise ArgumentError(f"number must be >= 1. Received: {number}.")
        self.number = number


class AnyOf:
    def __init__(self, first: Any, *others: Any, name: str | None = None) -> None:
        self.first, self.others, self.name = first, others, name


class Empty:
    pass


class Container:
    """Holds parts that its constructor does not take."""

    def __init__(self, name: str = "c") -> None:
        self.name = name
        self.parts: list[Any] = []

    def config_state(self) -> dict[str, Any]:
        return {"parts": self.parts}

    @classmethod
    def from_config_state(cls, args: dict[str, Any], state: dict[str, Any]) -> Container:
        container = cls(**args)
        container.parts = state["parts"]
        return container


class Forgetful:
    def __init__(self, kept: int, lost: int = 2) -> None:
        self.kept = kept


class Open:
    def __init__(self, **settings: Any) -> None:
        self.settings = settings


CLASSES = {cls.__name__: cls for cls in (Holder, Positive, AnyOf, Empty, Container, Forgetful, Open)}

VALUES = [
    (None, None),
    (True, True),
    (3, 3),
    (2**80, 2**80),
    (0.1, 0.1),
    ("naïve 数", "naïve 数"),
    (np.int32(3), 3),
    (np.float32(0.5), 0.5),
    (np.float64(0.1), 0.1),
    (np.bool_(True), True),
    (math.inf, {"float": "inf"}),
    (-math.inf, {"float": "-inf"}),
    (math.nan, {"float": "nan"}),
    (np.float32("nan"), {"float": "nan"}),
    ([], []),
    ([1, [2.0, "a"]], [1, [2.0, "a"]]),
    ((), {"tuple": []}),
    ((1, (2,), [3]), {"tuple": [1, {"tuple": [2]}, [3]]}),
    ({"a": (1,)}, {"dict": {"a": {"tuple": [1]}}}),
    ({"class": 1, "args": 2}, {"dict": {"class": 1, "args": 2}}),
    ({1: "x", (2, 3): "y"}, {"pairs": [[1, "x"], [{"tuple": [2, 3]}, "y"]]}),
    (np.array([[1, 2]], np.uint8), {"array": [[1, 2]], "dtype": "uint8"}),
    (np.array([0.1, np.inf], np.float32), {"array": [float(np.float32(0.1)), {"float": "inf"}], "dtype": "float32"}),
    (np.array(5.0), {"array": 5.0, "dtype": "float64"}),
    (np.zeros((0, 3), np.int64), {"array": [], "dtype": "int64", "shape": [0, 3]}),
    (np.array([True]), {"array": [True], "dtype": "bool"}),
    (Empty(), {"class": "Empty", "args": {}}),
    ([Positive(2), Positive()], [{"class": "Positive", "args": {"number": 2}}, {"class": "Positive", "args": {}}]),
]


def same(left: Any, right: Any) -> bool:
    if isinstance(left, np.generic):
        left = left.item()
    if isinstance(left, np.ndarray):
        return left.dtype == right.dtype and np.array_equal(left, right)
    if isinstance(left, float) and math.isnan(left):
        return math.isnan(right)
    if hasattr(left, "__dict__"):
        return type(left) is type(right) and vars(left) == vars(right)
    if isinstance(left, list) and left and hasattr(left[0], "__dict__"):
        return all(map(same, left, right))
    return type(left) is type(right) and left == right


@pytest.mark.parametrize(("value", "encoded"), VALUES, ids=lambda v: repr(v)[:30])
def test_values_round_trip_through_json(value: Any, encoded: Any) -> None:
    config = to_config(Holder(value))
    assert config == {"class": "Holder", "args": {"value": encoded}}
    text = json.dumps(config, allow_nan=False)
    assert same(value, from_config(json.loads(text), CLASSES).value)


@pytest.mark.parametrize(("other", "kept"), [(1, False), (np.int64(1), False), (True, True), (1.0, True), (2, True)])
def test_defaults_are_left_out_by_value_and_type(other: Any, kept: bool) -> None:
    assert ("other" in to_config(Holder(0, other))["args"]) == kept


def test_positional_arguments_and_state() -> None:
    container = Container("outer")
    container.parts = [Holder((1,)), Container()]
    both = AnyOf(Empty(), 1, container, name="n")
    config = json.loads(json.dumps(to_config(both)))
    rebuilt = from_config(config, CLASSES)
    assert to_config(rebuilt) == config
    assert rebuilt.others[1].parts[0].value == (1,)
    assert rebuilt.others[1].parts[1].name == "c"


def loop() -> Holder:
    holder = Holder(None)
    holder.value = [holder]
    return holder


REFUSED_OBJECTS = [
    (partial(print), "Holder.value: a partial cannot"),
    (print, "a builtin_function_or_method cannot"),
    (lambda: 0, "a function cannot"),
    (np.add, "a ufunc cannot"),
    (np.random.default_rng(0), "cannot be written as a config"),
    (int, "a type cannot"),
    (b"x", "a bytes cannot"),
    ({1}, "a set cannot"),
    (1j, "a complex cannot"),
    (np.array(["a"]), "numbers or booleans. Received: dtype <U1"),
    (np.array([1j]), "Received: dtype complex128"),
    (np.zeros(65537), "at most 65536 numbers. Received: 65537"),
    (Forgetful(1), "Holder.value: Forgetful must store its argument 'lost'"),
    (Open(a=1), "Open takes **settings"),
    (loop(), "does an object contain itself?"),
]


@pytest.mark.parametrize(("value", "message"), REFUSED_OBJECTS, ids=[m for _, m in REFUSED_OBJECTS])
def test_what_cannot_be_described(value: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        to_config(Holder(value))
    assert message in str(caught.value)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def held(value: Any) -> dict[str, Any]:
    return {"class": "Holder", "args": {"value": value}}


REFUSED_CONFIGS = [
    (None, "must be an object with 'class' and 'args'. Received: None"),
    ([1], "Received: [1]"),
    ({"args": {}}, "must be an object with 'class'"),
    ({"class": "os.system", "args": {"command": "x"}}, "class 'os.system' is not known. Known: AnyOf,"),
    ({"class": ["Holder"], "args": {}}, "is not known"),
    ({"class": "Holder", "args": [1]}, "needs 'class', 'args' and 'state' only"),
    ({"class": "Holder", "args": {"value": 1}, "extra": 1}, "needs 'class', 'args' and 'state' only"),
    ({"class": "Holder", "args": {"value": 1, "self": 2}}, "no argument 'self'. Arguments: value, other"),
    ({"class": "Holder", "args": {"value": 1, "vale": 2}}, "no argument 'vale'"),
    ({"class": "Holder", "args": {"other": 2}}, "Holder needs the argument 'value'"),
    ({"class": "Holder", "args": {"value": 1}, "state": {}}, "Holder takes no 'state'"),
    ({"class": "Container", "args": {}}, "Container needs a 'state' object"),
    ({"class": "Container", "args": {}, "state": {}}, "Container was refused: KeyError('parts')"),
    ({"class": "AnyOf", "args": {"first": 1, "others": [2]}}, "takes *others as a tuple"),
    ({"class": "Positive", "args": {"number": "one"}}, "Positive was refused: TypeError"),
    (held({"class": "Evil", "args": {}}), "config.value: class 'Evil' is not known"),
    (held({}), "expected one of the tags"),
    (held({"lambda": "x"}), "expected one of the tags"),
    (held({"tuple": 1}), "expected one of the tags"),
    (held({"dict": [1]}), "expected one of the tags"),
    (held({"float": "1e5"}), "expected one of the tags"),
    (held({"tuple": [], "dict": {}}), "expected one of the tags"),
    (held({"pairs": [[1]]}), "a pair must be [key, value]. Received: [1]"),
    (held({"pairs": [[[1], 2]]}), "unhashable"),
    (held({"array": [1], "dtype": "object"}), "a 'dtype' of bool, int8"),
    (held({"array": [1]}), "Received: None"),
    (held({"array": [[1], [1, 2]], "dtype": "float32"}), "not an array of float32"),
    (held({"array": ["a"], "dtype": "float32"}), "not an array of float32"),
    (held({"array": [300], "dtype": "uint8"}), "not an array of uint8"),
    (held({"array": [1], "dtype": "float32", "shape": [2]}), "not an array of float32"),
    (held({"array": [1], "dtype": "float32", "shape": "x"}), "not an array of float32"),
    (held({"array": [0] * 65537, "dtype": "float32"}), "at most 65536"),
    (held({"array": [{"class": "Holder"}], "dtype": "float32"}), "is not known. Known: none"),
    (held(nested(101)), "nested deeper than 100"),
    (held(object()), "expected a JSON value. Received: object"),
]


@pytest.mark.parametrize(
    ("config", "message"), REFUSED_CONFIGS, ids=[f"{i}-{m}" for i, (_, m) in enumerate(REFUSED_CONFIGS)]
)
def test_what_cannot_be_built(config: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        from_config(config, CLASSES)
    assert message in str(caught.value)


def test_a_constructor_s_own_refusal_passes_through() -> None:
    with pytest.raises(ArgumentError, match=r"number must be >= 1\. Received: 0\."):
        from_config({"class": "Positive", "args": {"number": 0}}, CLASSES)


def test_errors_belong_to_the_project() -> None:
    assert issubclass(ConfigError, NNFramesError)
    assert issubclass(ConfigError, ValueError)
