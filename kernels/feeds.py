"""Arrays given to programs and taken from them: what they must be, checked before any of it reaches native code."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence

import numpy as np

from kernels.errors import ArgumentError, ShapeError
from kernels.graph import INPUT, TYPES, Value, needed

Feeds = Mapping[str, np.ndarray]

Finished = Callable[[Sequence[int]], None]
"""Told the numbers of outputs that are complete; from then on their memory is the caller's, who may overwrite it."""

_DTYPES = {name: np.dtype(name) for name in TYPES}
"""To compare types with their names takes longer than all other checks of a small input."""


def input_specs(outputs: Sequence[Value]) -> dict[str, Value]:
    """The inputs that these outputs read."""
    return {node.attrs["name"]: node.outputs[0] for node in needed(outputs) if node.op is INPUT}


def checked_input(value: Value, inputs: Feeds) -> np.ndarray:
    """The array given for an input, dense and of its type; `ShapeError` where it does not fit."""
    name = value.node.attrs["name"]
    if name not in inputs:
        raise ArgumentError(f"Input '{name}' must be given. Received: {sorted(inputs)}.")
    given = np.asarray(inputs[name])
    if given.shape != value.shape:
        raise ShapeError(f"Input '{name}' expects {value.shape}, received {given.shape}.")
    if given.dtype == _DTYPES[value.dtype]:
        return given if given.flags.c_contiguous else np.ascontiguousarray(given)
    with np.errstate(invalid="ignore"):
        array = np.asarray(given, dtype=value.dtype, order="C")
    if array.dtype.kind in "iu" and not np.array_equal(array, given):
        raise ArgumentError(f"Input '{name}' must hold whole numbers that fit {value.dtype}. Received: {given.dtype}.")
    return array


def checked_leaf(name: str, array: np.ndarray, size: int) -> np.ndarray:
    """The memory of a parameter, buffer or table of so many numbers, of any shape."""
    fits = isinstance(array, np.ndarray) and array.dtype == np.float32 and array.size == size
    if not (fits and array.flags.c_contiguous):
        raise ArgumentError(f"'{name}' must be a dense float32 array of {size} numbers. Received: {_described(array)}.")
    return array


def check_bound(missing: Collection[str]) -> None:
    """Raise `ArgumentError` while a parameter, buffer or table has no memory yet."""
    if missing:
        names = ", ".join(sorted(missing))
        raise ArgumentError(f"Every parameter must be bound before a run. Missing: {names}.")


def result_slots(outputs: Sequence[Value], results: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    """What the caller gave for each output; None for the rest."""
    if len(results) > len(outputs):
        raise ArgumentError(f"At most {len(outputs)} results can be given. Received: {len(results)}.")
    return [*results, *[None] * (len(outputs) - len(results))]


def checked_result(value: Value, given: np.ndarray | None) -> np.ndarray:
    """Memory for an output: what the caller gave (any shape of as many numbers), else a new array."""
    if given is None:
        return np.empty(value.shape, value.dtype)
    size = math.prod(value.shape)
    fits = isinstance(given, np.ndarray) and given.dtype == _DTYPES[value.dtype] and given.size == size
    if not (fits and given.flags.c_contiguous and given.flags.writeable):
        raise ArgumentError(
            f"A result must be a dense writeable {value.dtype} array of {size} numbers. Received: {_described(given)}."
        )
    return given


def _described(given: object) -> str:
    if not isinstance(given, np.ndarray):
        return type(given).__name__
    remarks = [", not dense"] * (not given.flags.c_contiguous) + [", read-only"] * (not given.flags.writeable)
    return f"{given.dtype} {given.shape}{''.join(remarks)}"
