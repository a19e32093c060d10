"""Steps on the rows of one series, sorted by time: pure functions from frame to frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from featurelib import _checks
from kernels.errors import ArgumentError

__all__ = [
    "CALENDAR",
    "IMPUTE_MODES",
    "MERGE_MODES",
    "STATISTICS",
    "calendar",
    "filled",
    "merged",
    "rolled",
    "steps_of",
]

IMPUTE_MODES = ("last", "const", "linear")
MERGE_MODES = ("mean", "sum", "max", "min")
STATISTICS = ("mean", "std", "min", "max", "sum", "median")
MAX_STEPS = 1 << 26  # rows that resampling may make of one series

# Name: (what it is of a time, its first value, its period); without a period it has no sine and cosine.
CALENDAR: dict[str, tuple[Callable[[Any], Any], int, int | None]] = {
    "MINUTE": (lambda dt: dt.minute, 0, 60),
    "HOUR": (lambda dt: dt.hour, 0, 24),
    "DAY": (lambda dt: dt.day, 1, 31),
    "DAYOFYEAR": (lambda dt: dt.dayofyear, 1, 366),
    "WEEKDAY": (lambda dt: dt.weekday, 0, 7),
    "WEEKOFYEAR": (lambda dt: dt.isocalendar().week, 1, 53),
    "MONTH": (lambda dt: dt.month, 1, 12),
    "YEAR": (lambda dt: dt.year, 0, None),
    "IS_AWAKE": (lambda dt: (dt.hour >= 6) | (dt.hour == 0), 0, None),
    "IS_BUSY_HOURS": (lambda dt: dt.hour.isin([7, 8, 9, 16, 17, 18, 19]), 0, None),
    "IS_WEEKEND": (lambda dt: dt.weekday >= 5, 0, None),
}


def filled(values: pd.Series, times: pd.Series, mode: str, const: float = 0.0) -> pd.Series:
    """Return a column of numbers without NaN.

    "last": the number before, and 0 where there is none; "const": `const`; "linear": on the line, over time, between
    the numbers before and after, the nearest number at the ends. A column of NaN stays what it is with "linear".

    >>> times = pd.Series(pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-04"]))
    >>> filled(pd.Series([1.0, np.nan, 4.0]), times, "linear").tolist()
    [1.0, 2.0, 4.0]
    """
    if mode == "const":
        return values.fillna(const)
    if mode == "last":
        return values.ffill().fillna(0.0)
    known = values.notna().to_numpy()
    if not known.any():
        return values
    seconds = (times - times.iloc[0]).dt.total_seconds().to_numpy()
    return pd.Series(np.interp(seconds, seconds[known], values.to_numpy()[known]), values.index).where(~known, values)


def steps_of(interval: Any) -> pd.Timedelta:
    """Return an interval such as "30min" as a length of time; `ArgumentError` for anything else.

    >>> steps_of("30min")
    Timedelta('0 days 00:30:00')
    """
    try:
        step = pd.Timedelta(interval)
    except (ValueError, TypeError):
        step = pd.NaT
    if step is pd.NaT or step <= pd.Timedelta(0):
        raise ArgumentError(f"interval must be a length of time, such as '30min' or '1D'. Received: {interval!r}.")
    return step


def merged(frame: pd.DataFrame, dt_col: str, step: pd.Timedelta, mode: str) -> pd.DataFrame:
    """Return one row for every `step`, counted from midnight: the mean (...) of its rows, NaN where there are none.

    >>> times = pd.to_datetime(["2024-01-01 00:10", "2024-01-01 00:20", "2024-01-01 02:00"])
    >>> merged(pd.DataFrame({"t": times, "v": [1.0, 3.0, 5.0]}), "t", pd.Timedelta("1h"), "mean")["v"].tolist()
    [2.0, nan, 5.0]
    """
    count = (frame[dt_col].iloc[-1] - frame[dt_col].iloc[0]) / step
    if count > MAX_STEPS:
        raise ArgumentError(
            f"interval must leave a series at most {MAX_STEPS} rows. Received: {step}, {count:.0f} rows."
        )
    bins = frame.set_index(dt_col).resample(step)
    return (bins.sum(min_count=1) if mode == "sum" else bins.agg(mode)).reset_index()


def calendar(times: pd.Series, names: Sequence[str], cyclic: bool) -> dict[str, np.ndarray]:
    """Return columns of numbers by name; with `cyclic` a sine and a cosine for what has a period.

    >>> hours = calendar(pd.Series(pd.to_datetime(["2024-01-01 06:00"])), ["HOUR"], cyclic=True)
    >>> {name: values.round(3).tolist() for name, values in hours.items()}
    {'HOUR_SIN': [1.0], 'HOUR_COS': [0.0]}
    """
    columns = {}
    for name in names:
        function, first, period = CALENDAR[name]
        values = np.asarray(function(times.dt), np.float64)
        if not cyclic or period is None:
            columns[name] = values
            continue
        angle = 2 * np.pi / period * (values - first)
        columns[f"{name}_SIN"], columns[f"{name}_COS"] = np.sin(angle), np.cos(angle)
    return columns


def rolled(values: pd.Series, window: int, statistic: str) -> pd.Series:
    """Return a statistic of each row and the window - 1 rows before it, of fewer at the beginning.

    >>> rolled(pd.Series([1.0, 3.0, 5.0]), 2, "mean").tolist()
    [1.0, 2.0, 4.0]
    """
    _checks.one_of("statistic", statistic, STATISTICS)
    windows = values.rolling(window, min_periods=1)
    return windows.std(ddof=0) if statistic == "std" else getattr(windows, statistic)()
