"""Objects as JSON: layers, transforms, criterions, optim methods and triggers, by their constructors' arguments.

A description is ``{"class": "Linear", "args": {"input_size": 784}}``. Arguments that equal their default are left out.
Inside it, numbers, strings, booleans, None and lists are themselves; every other value is a JSON object with one tag:

===========================================  =============================================================
value                                        written as
===========================================  =============================================================
object                                       ``{"class": name, "args": {...}}``, and ``"state"`` if it has one
tuple                                        ``{"tuple": [...]}``
dict                                         ``{"dict": {...}}``; ``{"pairs": [[key, value], ...]}`` if a key is no str
numpy array (up to 65,536 numbers)           ``{"array": nested lists, "dtype": "float32"}``, ``"shape"`` if it is empty
float that JSON lacks                        ``{"float": "nan"}``, ``"inf"`` or ``"-inf"``
===========================================  =============================================================

numpy scalars become plain numbers. An object whose constructor does not say all (a container with its layers) has a
method ``config_state() -> dict`` and a classmethod ``from_config_state(args, state)`` that rebuilds it; args and state
hold any of the values above. Nothing is ever imported, evaluated or unpickled: classes come from the caller's table, or
were registered by the program (`featurelib.registry`).
"""

from __future__ import annotations

import difflib
import inspect
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from featurelib.errors import ConfigError
from featurelib.registry import check_name, registered
from kernels.errors import NNFramesError

__all__ = ["from_config", "to_config"]

_SHOWN = 12
_MAX_DEPTH = 100
_MADE_BY_CLASS = 1 << 9  # CPython's flag of types that come from a class statement, not from C
_MAX_ARRAY = 1 << 16
_DTYPES = (
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
)
_NON_FINITE = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


def to_config(obj: Any) -> dict[str, Any]:
    """Describe an object by its class name and the constructor arguments that differ from their defaults.

    Each argument is read from the attribute of the same name. Raises `ConfigError` for what cannot be described: a
    function, an argument that is not stored, an object without a Python constructor, nesting deeper than 100.

    >>> class Scale:
    ...     def __init__(self, factor, axes=(0,), bias=0.0):
    ...         self.factor, self.axes, self.bias = factor, axes, bias
    >>> to_config(Scale(2.0, (1, 2)))
    {'class': 'Scale', 'args': {'factor': 2.0, 'axes': {'tuple': [1, 2]}}}
    """
    return _encode_object(obj, type(obj).__name__, 0)


def from_config(config: Any, classes: Mapping[str, type]) -> Any:
    """Build the object that a config describes, with the classes of a literal table.

    Raises `ConfigError` for a class that is neither there nor registered, an unknown, missing or refused argument, and
    any malformed part; errors of the project that a constructor raises (`ArgumentError`, ...) pass through.

    >>> class Scale:
    ...     def __init__(self, factor, axes=(0,)):
    ...         self.factor, self.axes = factor, axes
    >>> from_config({"class": "Scale", "args": {"factor": 3}}, {"Scale": Scale}).factor
    3
    >>> from_config({"class": "os.system", "args": {}}, {"Scale": Scale})
    Traceback (most recent call last):
    featurelib.errors.ConfigError: config: class 'os.system' is not known. Known: Scale. Hint: ...
    """
    if not isinstance(config, Mapping) or "class" not in config:
        raise ConfigError(f"config must be an object with 'class' and 'args'. Received: {_short(config)}.")
    return _decode_object(config, classes, "config", 0)


# ---------------------------------------------------------------- writing


def _encode(value: Any, path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ConfigError(f"{path[:200]}: nested deeper than {_MAX_DEPTH}; does an object contain itself?")
    if isinstance(value, np.generic) and value.dtype.name in _DTYPES:
        value = value.item()
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else {"float": str(float(value))}
    if isinstance(value, list):
        return [_encode(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [_encode(item, f"{path}[{i}]", depth + 1) for i, item in enumerate(value)]}
    if isinstance(value, dict):
        return _encode_dict(value, path, depth)
    if isinstance(value, np.ndarray):
        return _encode_array(value, path)
    return _encode_object(value, path, depth)


def _encode_dict(value: dict, path: str, depth: int) -> dict[str, Any]:
    if all(type(key) is str for key in value):
        return {"dict": {key: _encode(item, f"{path}[{key!r}]", depth + 1) for key, item in value.items()}}
    pairs = [
        [_encode(key, f"{path} key", depth + 1), _encode(item, f"{path}[{key!r}]", depth + 1)]
        for key, item in value.items()
    ]
    return {"pairs": pairs}


def _encode_array(value: np.ndarray, path: str) -> dict[str, Any]:
    if value.dtype.name not in _DTYPES:
        raise ConfigError(f"{path}: arrays must be of numbers or booleans. Received: dtype {value.dtype}.")
    if value.size > _MAX_ARRAY:
        raise ConfigError(
            f"{path}: arrays in a config hold at most {_MAX_ARRAY} numbers. Received: {value.size}. "
            "Hint: large arrays belong among the tensors of the model file."
        )
    config = {"array": _encode(value.tolist(), path, 0), "dtype": value.dtype.name}
    return config if value.size else {**config, "shape": list(value.shape)}


def _encode_object(obj: Any, path: str, depth: int) -> dict[str, Any]:
    name = type(obj).__name__
    _check_name(type(obj), path)
    args = {}
    for key, parameter in _parameters(type(obj), path).items():
        try:
            value = getattr(obj, key)
        except AttributeError:
            raise ConfigError(
                f"{path}: {name} must store its argument {key!r} as the attribute of that name."
            ) from None
        encoded = _encode(value, f"{path}.{key}", depth + 1)
        if not _is_default(encoded, parameter):
            args[key] = encoded
    config: dict[str, Any] = {"class": name, "args": args}
    if hasattr(obj, "config_state"):
        state = obj.config_state()
        config["state"] = {key: _encode(value, f"{path}.{key}", depth + 1) for key, value in state.items()}
    return config


def _check_name(cls: type, path: str) -> None:
    try:
        check_name(cls)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _is_default(encoded: Any, parameter: inspect.Parameter) -> bool:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return encoded == {"tuple": []}
    if parameter.default is inspect.Parameter.empty:
        return False
    try:
        default = _encode(parameter.default, "default", 0)
    except ConfigError:
        return False
    # Compared as text: 1, 1.0 and True are equal in Python, yet they are different arguments.
    return json.dumps(default) == json.dumps(encoded)


def _parameters(cls: type, path: str) -> dict[str, inspect.Parameter]:
    """The constructor's parameters; only classes written in Python say them all."""
    if inspect.isfunction(cls.__init__):  # type: ignore[misc]
        parameters = list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]
    elif cls.__init__ is object.__init__ and cls.__new__ is object.__new__ and cls.__flags__ & _MADE_BY_CLASS:  # type: ignore[misc]
        parameters = []
    else:
        raise ConfigError(
            f"{path}: a {cls.__name__} cannot be written as a config. Hint: use numbers, strings, lists, tuples, "
            "dicts, arrays, and objects that store their constructor's arguments."
        )
    for parameter in parameters:
        if parameter.kind is inspect.Parameter.VAR_KEYWORD:
            raise ConfigError(f"{path}: {cls.__name__} takes **{parameter.name}; a config needs named arguments.")
    return {parameter.name: parameter for parameter in parameters}


# ---------------------------------------------------------------- reading


def _decode(value: Any, classes: Mapping[str, type], path: str, depth: int) -> Any:
    if depth > _MAX_DEPTH:
        raise ConfigError(f"{path[:200]}: nested deeper than {_MAX_DEPTH}.")
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, list):
        return _decode_list(value, classes, path, depth)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{path}: expected a JSON value. Received: {type(value).__name__}.")
    if "class" in value:
        return _decode_object(value, classes, path, depth)
    if "array" in value:
        return _decode_array(value, path)
    if len(value) == 1:
        tag, content = next(iter(value.items()))
        if tag == "tuple" and isinstance(content, list):
            return tuple(_decode_list(content, classes, path, depth))
        if tag == "dict" and isinstance(content, Mapping):
            return {key: _decode(item, classes, f"{path}[{key!r}]", depth + 1) for key, item in content.items()}
        if tag == "pairs" and isinstance(content, list):
            return _decode_pairs(content, classes, path, depth)
        if tag == "float" and isinstance(content, str) and content in _NON_FINITE:
            return _NON_FINITE[content]
    raise ConfigError(
        f"{path}: expected one of the tags class, tuple, dict, pairs, array, float. Received: {_short(value)}."
    )


def _decode_list(items: list, classes: Mapping[str, type], path: str, depth: int) -> list:
    return [_decode(item, classes, f"{path}[{i}]", depth + 1) for i, item in enumerate(items)]


def _decode_pairs(pairs: list, classes: Mapping[str, type], path: str, depth: int) -> dict:
    result = {}
    for i, pair in enumerate(pairs):
        if not isinstance(pair, list) or len(pair) != 2:
            raise ConfigError(f"{path}[{i}]: a pair must be [key, value]. Received: {_short(pair)}.")
        key, item = _decode_list(pair, classes, f"{path}[{i}]", depth)
        try:
            result[key] = item
        except TypeError as error:
            raise ConfigError(f"{path}[{i}]: {error}.") from None
    return result


def _decode_array(value: Mapping[str, Any], path: str) -> np.ndarray:
    dtype, shape = value.get("dtype"), value.get("shape")
    if not isinstance(dtype, str) or dtype not in _DTYPES or not set(value) <= {"array", "dtype", "shape"}:
        raise ConfigError(f"{path}: an array needs 'array' and a 'dtype' of {', '.join(_DTYPES)}. Received: {dtype!r}.")
    try:
        array = np.array(_decode(value["array"], {}, path, 0), dtype=dtype)
        array = array if shape is None else array.reshape(shape)
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{path}: not an array of {dtype}: {error}.") from None
    if array.size > _MAX_ARRAY:
        raise ConfigError(f"{path}: arrays in a config hold at most {_MAX_ARRAY} numbers. Received: {array.size}.")
    return array


def _decode_object(config: Mapping[str, Any], classes: Mapping[str, type], path: str, depth: int) -> Any:
    name, args = config["class"], config.get("args", {})
    cls = (classes.get(name) or registered(name)) if isinstance(name, str) else None
    if cls is None:
        raise _unknown(path, name, classes)
    if not isinstance(args, Mapping) or not set(config) <= {"class", "args", "state"}:
        raise ConfigError(f"{path}: {name} needs 'class', 'args' and 'state' only. Received: {_short(config)}.")
    parameters = _parameters(cls, path)
    for key in args:
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise ConfigError(f"{path}: {name} has no argument {_short(key)}. Arguments: {known}.")
    decoded = {key: _decode(item, classes, f"{path}.{key}", depth + 1) for key, item in args.items()}
    if not hasattr(cls, "from_config_state"):
        if "state" in config:
            raise ConfigError(f"{path}: {name} takes no 'state'.")
        return _construct(cls, parameters, decoded, path)
    state = config.get("state")
    if not isinstance(state, Mapping):
        raise ConfigError(f"{path}: {name} needs a 'state' object. Received: {_short(state)}.")
    decoded_state = {key: _decode(item, classes, f"{path}.{key}", depth + 1) for key, item in state.items()}
    try:
        return cls.from_config_state(decoded, decoded_state)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise _refusal(error, path, name) from error


def _unknown(path: str, name: Any, classes: Mapping[str, type]) -> ConfigError:
    several = len(classes) > _SHOWN
    near = difflib.get_close_matches(str(name), classes) if several else sorted(classes)
    return ConfigError(
        f"{path}: class {_short(name)} is not known. {'Similar' if several else 'Known'}: {', '.join(near) or 'none'}. "
        "Hint: a class of your own must be registered before, by featurelib.register_class."
    )


def _construct(cls: type, parameters: dict[str, inspect.Parameter], args: dict[str, Any], path: str) -> Any:
    for key, parameter in parameters.items():
        several = parameter.kind is inspect.Parameter.VAR_POSITIONAL
        if key not in args and parameter.default is inspect.Parameter.empty and not several:
            raise ConfigError(f"{path}: {cls.__name__} needs the argument {key!r}.")
        if key in args and several and not isinstance(args[key], tuple):
            raise ConfigError(f"{path}: {cls.__name__} takes *{key} as a tuple. Received: {_short(args[key])}.")
    bound = inspect.BoundArguments(inspect.Signature(list(parameters.values())), dict(args))
    bound.apply_defaults()
    try:
        return cls(*bound.args, **bound.kwargs)
    except (TypeError, ValueError, KeyError, IndexError) as error:
        raise _refusal(error, path, cls.__name__) from error


def _refusal(error: Exception, path: str, name: str) -> Exception:
    """A constructor's own refusal stays what it is; a stumble over a wrongly typed argument becomes a ConfigError."""
    return error if isinstance(error, NNFramesError) else ConfigError(f"{path}: {name} was refused: {error!r}.")


def _short(value: Any, limit: int = 120) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}..."
