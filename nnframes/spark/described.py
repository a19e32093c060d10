"""What a stage is made of must be what its description says: tasks and saved stages are built from descriptions.

A layer of one's own that is not registered, or whose constructor changes its arguments, would fail in a task, or come
back from a file as something else. Here it is built once on the driver, before any job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from featurelib.base import Preprocessing
from featurelib.config import from_config, to_config
from nnframes.errors import ArgumentError
from nnframes.io.background import CheckpointSettings
from nnframes.io.model_file import rebuilt
from nnframes.nn import CRITERIONS, Layer, parameters_in
from nnframes.optim import OPTIM_METHODS, SCHEDULES
from nnframes.train import (
    TRIGGERS,
    VALIDATION_METHODS,
    EarlyStopping,
    TrainSummary,
    ValidationSettings,
    ValidationSummary,
)

__all__ = ["check_described", "is_plain", "known_classes"]

_SETTINGS = (CheckpointSettings, EarlyStopping, TrainSummary, ValidationSettings, ValidationSummary)
_TRAINING: dict[str, type] = {
    **CRITERIONS,
    **OPTIM_METHODS,
    **SCHEDULES,
    **TRIGGERS,
    **VALIDATION_METHODS,
    **{one.__name__: one for one in _SETTINGS},
}


def known_classes() -> dict[str, type]:
    """Return the built-in classes that a stage may hold beside its network."""
    from featurelib.catalog import PREPROCESSING  # imports OpenCV

    return {**_TRAINING, **PREPROCESSING}


def is_plain(value: Any) -> bool:
    """Whether a value of a stage is JSON as it stands."""
    return value is None or isinstance(value, (bool, int, float, str, list))


def check_described(**parts: Any) -> None:
    """Raise `ArgumentError` naming argument and class where a part, built from its description, would be another."""
    for name, part in parts.items():
        if is_plain(part):
            continue
        try:
            wrong = _differing_layer(part) if isinstance(part, Layer) else _differing_object(part)
        except Exception as error:  # a class of the user's own may raise anything
            raise ArgumentError(f"{name} must be buildable from its description. Received: {error}") from error
        if wrong is not None:
            raise ArgumentError(
                f"{name} must be what its description builds. Received: {wrong}, which comes out different. Hint: "
                "a constructor stores its arguments as they are, under their own names."
            )


def _differing_layer(layer: Layer) -> str | None:
    again, config, other = rebuilt(layer)
    if config != other:
        return _differing(config, other, type(layer).__name__)
    wanted, found = ({path: own.shape for path, own in parameters_in(one)} for one in (layer, again))
    paths = [path for path in {**wanted, **found} if wanted.get(path) != found.get(path)]
    return f"{type(layer).__name__} with {paths[0]} {wanted.get(paths[0])}" if paths else None


def _differing_object(part: Any) -> str | None:
    config = to_config(part)
    other = to_config(from_config(config, known_classes() if isinstance(part, Preprocessing) else _TRAINING))
    return None if config == other else _differing(config, other, type(part).__name__)


def _differing(one: Any, other: Any, owner: str) -> str:
    """The innermost class in whose description two descriptions differ first."""
    if isinstance(one, Mapping) and isinstance(other, Mapping) and one.keys() == other.keys():
        owner = str(one.get("class", owner))
        pairs = [(one[key], other[key]) for key in one]
    elif isinstance(one, list) and isinstance(other, list) and len(one) == len(other):
        pairs = list(zip(one, other, strict=True))
    else:
        return owner
    return next((_differing(a, b, owner) for a, b in pairs if a != b), owner)
