"""Windows of a series: what was, to learn from, and what comes, to be learned."""

from __future__ import annotations

import logging
import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from featurelib import _checks
from featurelib.errors import FeatureError
from kernels.errors import ArgumentError

__all__ = ["Window", "Windows", "called", "check_rows", "joined", "windows_of"]

_LOG = logging.getLogger("featurelib")


@dataclass(frozen=True)
class Window:
    """The form of windows: `lookback` rows of `x_columns`, then `y_columns` at each of the steps ahead (1 = the next).

    >>> Window.of(3, 2, ["v", "HOUR"], ["v"]).steps
    (1, 2)
    """

    lookback: int
    steps: tuple[int, ...]
    x_columns: tuple[str, ...]
    y_columns: tuple[str, ...]

    @classmethod
    def of(cls, lookback: int, horizon: int | Sequence[int], x: Sequence[str], y: Sequence[str]) -> Window:
        """Check the arguments; `horizon` is how many steps, or which; 0 for windows without a future."""
        _checks.whole("lookback", lookback, 1)
        if isinstance(horizon, numbers.Integral):
            _checks.whole("horizon", horizon, 0)
            horizon = range(1, int(horizon) + 1)
        elif not isinstance(horizon, (list, tuple)) or not horizon:
            raise ArgumentError(f"horizon must be an integer >= 0 or a list of steps >= 1. Received: {horizon!r}.")
        for step in horizon:
            _checks.whole("horizon", step, 1)
        return cls(lookback, tuple(horizon), tuple(x), tuple(y))

    @property
    def rows(self) -> int:
        """How many rows one window needs."""
        return self.lookback + max(self.steps, default=0)


@dataclass(frozen=True, eq=False)
class Windows:
    """n windows: x (n, lookback, x columns), y (n, steps, y columns), float32; series and last time of x of each."""

    x: np.ndarray
    y: np.ndarray
    ids: np.ndarray
    times: pd.Series


def called(name: Any) -> str:
    """Return how a message calls a series; None for the only one."""
    return "the series" if name is None else f"series {name!r}"


def windows_of(frame: pd.DataFrame, window: Window, name: Any, dt_col: str) -> Windows:
    """Return all windows of one series, one for every row that has enough before and after; possibly none.

    Raises `FeatureError` for equal times and for NaN or infinity; warns of gaps and of a series that is too short.

    >>> frame = pd.DataFrame({"t": pd.date_range("2024-01-01", periods=5), "v": [1.0, 2, 3, 4, 5]})
    >>> found = windows_of(frame, Window.of(2, [2], ["v"], ["v"]), None, "t")
    >>> found.x[..., 0].tolist(), found.y[..., 0].tolist()
    ([[1.0, 2.0], [2.0, 3.0]], [[4.0], [5.0]])
    """
    columns = list(dict.fromkeys(window.x_columns + window.y_columns))
    with np.errstate(over="ignore"):  # what float32 cannot hold is infinite for a network
        values = frame[columns].to_numpy(np.float32)
    check_rows(frame[dt_col], dict(zip(columns, values.T, strict=True)), window, name)
    count = max(len(frame) - window.rows + 1, 0)
    x, y = (values[:, [columns.index(each) for each in names]] for names in (window.x_columns, window.y_columns))
    ends = np.arange(count) + window.lookback - 1
    past = ends[:, None] + np.arange(1 - window.lookback, 1)
    return Windows(
        x=x[past],
        y=y[ends[:, None] + np.array(window.steps, np.intp)],
        ids=np.array([name] * count, object),
        times=frame[dt_col].iloc[ends].reset_index(drop=True),
    )


def check_rows(times: pd.Series, values: dict[str, np.ndarray], window: Window, name: Any) -> None:
    """Raise `FeatureError` for rows that no window can be made of; warn of what windows pass over."""
    gaps = np.diff(times.astype(np.int64).to_numpy())  # numpy, as there may be many short series
    if equal := int((gaps == 0).sum()):
        raise FeatureError(
            f"{called(name)} has {equal} rows of a time in column {times.name!r} that another row has. "
            "Hint: deduplicate()."
        )
    for column, numbers_ in values.items():
        if bad := int((~np.isfinite(numbers_)).sum()):
            raise FeatureError(
                f"{called(name)} has {bad} of {len(times)} values in column {column!r} that are NaN or infinite. "
                "Hint: impute()."
            )
    uneven = int((gaps > gaps.min()).sum()) if len(gaps) else 0
    if uneven:
        _LOG.warning(
            "%s: %d of %d steps in column %r are longer than the shortest; windows go on over such gaps. "
            "Hint: resample(interval).",
            called(name),
            uneven,
            len(gaps),
            times.name,
        )
    if len(times) < window.rows:
        _LOG.warning("%s is left out: it has %d rows, a window needs %d.", called(name), len(times), window.rows)


def joined(parts: Sequence[Windows]) -> Windows:
    """Return the windows of several series as one."""
    return Windows(
        x=np.concatenate([part.x for part in parts]),
        y=np.concatenate([part.y for part in parts]),
        ids=np.concatenate([part.ids for part in parts]),
        times=pd.concat([part.times for part in parts], ignore_index=True),
    )
