"""What the first job learns about the data on its way: counts that the driver checks before any training."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = ["BlockStatistics", "DataSummary"]

SHOWN_ERRORS = 5
SHOWN_SHAPES = 8


@dataclass(frozen=True)
class DataSummary:
    """The materialised data, counted over all shards.

    `dropped` rows had an error or a null under on_error="drop"; `nulls` counts rows with a null by column; `nan_inputs`
    and `nan_targets` count samples with a NaN or infinite number; `target_min`, `target_max` and `fractional_targets`
    (samples with a number that is not whole) are over the finite numbers of the first target, None when there are none.
    `shapes` are per input the sample shapes seen, sorted, at most eight; `input_ranges`, where they were asked for, per
    input (least, largest, samples with a number that is not whole).
    """

    rows: int
    dropped: int
    nulls: dict[str, int]
    nan_inputs: int
    nan_targets: int
    target_min: float | None
    target_max: float | None
    fractional_targets: int
    shapes: tuple[tuple[tuple[int, ...], ...], ...]
    bytes: int
    rows_per_shard: tuple[int, ...]
    input_ranges: tuple[tuple[float, float, int], ...] = ()


@dataclass
class BlockStatistics:
    """The same counts while they grow; JSON between the tasks and the driver."""

    dropped: int = 0
    nulls: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    error_hashes: list[int] = field(default_factory=list)
    error_rows: int = 0
    nan_inputs: int = 0
    nan_targets: int = 0
    target_min: float | None = None
    target_max: float | None = None
    fractional_targets: int = 0
    shapes: list[list[list[int]]] = field(default_factory=list)
    input_ranges: list[list[float]] = field(default_factory=list)

    def add_fields(self, fields: tuple[Any, ...], inputs: int) -> None:
        """Count what is in the samples of a block."""
        self.nan_inputs += _rows_not_finite(fields[:inputs])
        self.nan_targets += _rows_not_finite(fields[inputs:])
        for values in fields[inputs : inputs + 1]:
            self._add_target(values)
        seen = [[list(shape) for shape in {np.shape(row) for row in _distinct(values)}] for values in fields[:inputs]]
        self.shapes = _merged(self.shapes, seen)

    def add_ranges(self, inputs: tuple[Any, ...]) -> None:
        """Count the range of each input of a block."""
        self.input_ranges = _joined(self.input_ranges, [_range(values) for values in inputs])

    def add_error(self, text: str, row_hash: int = 0) -> None:
        """Count a row without a sample; the first ones are kept in words, and by their hashes."""
        self.error_rows += 1
        self.errors = [*self.errors, text][:SHOWN_ERRORS]
        self.error_hashes = [*self.error_hashes, row_hash][:SHOWN_ERRORS]

    def _add_target(self, values: Any) -> None:
        low, high, fractional = _range(values)
        if low <= high:
            self.target_min = low if self.target_min is None else min(low, self.target_min)
            self.target_max = high if self.target_max is None else max(high, self.target_max)
            self.fractional_targets += int(fractional)

    @classmethod
    def merged(cls, parts: Iterable[BlockStatistics]) -> BlockStatistics:
        """Return the counts of all parts together, the errors in the order of the parts."""
        total = cls()
        for part in parts:
            for name in ("dropped", "error_rows", "nan_inputs", "nan_targets", "fractional_targets"):
                setattr(total, name, getattr(total, name) + getattr(part, name))
            for column, count in part.nulls.items():
                total.nulls[column] = total.nulls.get(column, 0) + count
            total.errors = [*total.errors, *part.errors][:SHOWN_ERRORS]
            total.error_hashes = [*total.error_hashes, *part.error_hashes][:SHOWN_ERRORS]
            lows = [low for low in (total.target_min, part.target_min) if low is not None]
            highs = [high for high in (total.target_max, part.target_max) if high is not None]
            total.target_min, total.target_max = min(lows, default=None), max(highs, default=None)
            total.shapes = _merged(total.shapes, part.shapes)
            total.input_ranges = _joined(total.input_ranges, part.input_ranges)
        return total

    def summary(self, rows_per_shard: tuple[int, ...], size: int) -> DataSummary:
        """Return the finished summary."""
        return DataSummary(
            rows=sum(rows_per_shard),
            dropped=self.dropped,
            nulls=self.nulls,
            nan_inputs=self.nan_inputs,
            nan_targets=self.nan_targets,
            target_min=self.target_min,
            target_max=self.target_max,
            fractional_targets=self.fractional_targets,
            shapes=tuple(tuple(tuple(shape) for shape in shapes) for shapes in self.shapes),
            bytes=size,
            rows_per_shard=rows_per_shard,
            input_ranges=tuple((low, high, int(fractional)) for low, high, fractional in self.input_ranges),
        )


def _whole(values: Any) -> list[np.ndarray]:
    """Return the samples as arrays with rows first."""
    return [values] if isinstance(values, np.ndarray) else [np.asarray(value)[None] for value in values]


def _range(values: Any) -> list[float]:
    """Return the least and the largest finite number, and how many samples have one that is not whole."""
    low, high, fractional = np.inf, -np.inf, 0
    for rows in _whole(values):
        numbers = rows[np.isfinite(rows)]
        if numbers.size:
            low, high = min(low, float(numbers.min())), max(high, float(numbers.max()))
        if rows.dtype.kind == "f":
            odd = np.isfinite(rows) & (rows != np.floor(rows))
            fractional += int(odd.reshape(len(odd), -1).any(axis=1).sum())
    return [low, high, fractional]


def _joined(a: list[list[float]], b: list[list[float]]) -> list[list[float]]:
    """Return per input the range of both."""
    if not a or not b:
        return a or b
    return [[min(x[0], y[0]), max(x[1], y[1]), x[2] + y[2]] for x, y in zip(a, b, strict=True)]


def _distinct(values: Any) -> Iterable[Any]:
    return values[:1] if isinstance(values, np.ndarray) else values


def _rows_not_finite(fields: tuple[Any, ...]) -> int:
    """Return how many samples have a number that is not finite in any of `fields`."""
    if not fields:
        return 0
    bad = np.zeros(len(fields[0]), bool)
    for values in fields:
        if isinstance(values, np.ndarray):
            if values.dtype.kind == "f":
                bad |= ~np.isfinite(values.reshape(len(values), int(np.prod(values.shape[1:])))).all(axis=1)
        else:
            bad |= [value.dtype.kind == "f" and not np.isfinite(value).all() for value in values]
    return int(bad.sum())


def _merged(a: list[list[list[int]]], b: list[list[list[int]]]) -> list[list[list[int]]]:
    """Return per input the shapes of both, sorted, the first eight."""
    if not a or not b:
        return a or b
    return [
        [list(shape) for shape in sorted({tuple(s) for s in [*x, *y]})[:SHOWN_SHAPES]]
        for x, y in zip(a, b, strict=True)
    ]
