"""What a frame must be to hold series: its columns, times in order, numbers."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from featurelib.errors import FeatureError
from kernels.errors import ArgumentError

__all__ = ["as_list", "known_columns", "numeric", "ordered"]

_LOG = logging.getLogger("featurelib")


def as_list(name: str, value: Any) -> list[str]:
    """Return one name or several as a list; `ArgumentError` for anything else, and for a name that comes twice.

    >>> as_list("target_col", "v"), as_list("target_col", ("v", "w"))
    (['v'], ['v', 'w'])
    """
    names: list[Any] = (
        [value] if isinstance(value, str) else list(value) if isinstance(value, (list, tuple)) else [None]
    )
    if not all(isinstance(each, str) for each in names) or len(set(names)) < len(names):
        raise ArgumentError(f"{name} must be a name or a list of different names. Received: {value!r}.")
    return names


def known_columns(frame: Any, names: Sequence[str]) -> None:
    """Raise `ArgumentError` where a frame of pandas lacks a column, or one is named twice."""
    if not isinstance(frame, pd.DataFrame):
        hint = " Hint: nnframes.spark.series takes Spark's." if hasattr(frame, "sparkSession") else ""
        raise ArgumentError(f"df must be a pandas DataFrame. Received: {type(frame).__name__}.{hint}")
    for name in names:
        if list(frame.columns).count(name) != 1 or list(names).count(name) != 1:
            raise ArgumentError(
                f"columns must be there once and have one use. Received: {name!r}, "
                f"of {', '.join(map(str, frame.columns))}."
            )


def ordered(df: pd.DataFrame, dt_col: str, id_col: str | None) -> pd.DataFrame:
    """Return the rows by series and time; rows of equal times keep their order. `FeatureError` without a time or id."""
    if not len(df):
        raise FeatureError("a TSDataset expects rows, received an empty frame.")
    frame = df.assign(**{dt_col: _times(df[dt_col])})
    keys = [dt_col] if id_col is None else [id_col, dt_col]
    for column in keys:
        if missing := int(frame[column].isna().sum()):
            raise FeatureError(f"column {column!r} must have no nulls. Received: {missing} in {len(frame)} rows.")
    result = frame.sort_values(keys, kind="stable")
    moved = int((result.index.to_numpy() != frame.index.to_numpy()).sum())
    if moved:
        _LOG.info("TSDataset: rows sorted by %s, %d of %d were out of order.", " and ".join(keys), moved, len(frame))
    return result.reset_index(drop=True)


def numeric(frame: pd.DataFrame, columns: Sequence[str]) -> pd.DataFrame:
    """Return the frame with these columns as float64, nulls as NaN; `FeatureError` for text and other things.

    >>> numeric(pd.DataFrame({"v": [True, None]}), ["v"])["v"].tolist()
    [1.0, nan]
    """
    return frame.assign(**{column: _numbers(frame[column]) for column in columns})


def _numbers(values: pd.Series) -> np.ndarray:
    kind = values.dtype
    text = pd.api.types.is_object_dtype(kind) and values.map(lambda each: isinstance(each, (str, bytes))).any()
    if not text and not pd.api.types.is_datetime64_any_dtype(kind) and not pd.api.types.is_timedelta64_dtype(kind):
        try:
            return values.to_numpy(np.float64, na_value=np.nan)
        except (TypeError, ValueError):
            pass
    raise FeatureError(f"column {values.name!r} must hold numbers. Received: {kind}, such as {values.iloc[0]!r}.")


def _times(values: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(values.dtype):
        raise FeatureError(
            f"column {values.name!r} must hold times. Received: {values.dtype}, such as {values.iloc[0]}. "
            "Hint: pandas.to_datetime(values, unit='s')."
        )
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # of different offsets, which are an error here
            times = pd.to_datetime(values, format="ISO8601")  # guessing a format may take days for months
    except (ValueError, TypeError) as error:
        raise FeatureError(f"column {values.name!r} must hold times: {error}.") from None
    if not pd.api.types.is_datetime64_any_dtype(times.dtype):
        raise FeatureError(
            f"column {values.name!r} must hold times of one offset from UTC. Received: several. "
            "Hint: pandas.to_datetime(values, utc=True)."
        )
    return times
