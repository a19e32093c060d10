"""Windows of time series in a Spark DataFrame: the steps of `featurelib.series`, a series at a time on the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd
from pyspark.sql import DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import (
    ArrayType,
    BooleanType,
    DataType,
    DateType,
    FloatType,
    NumericType,
    StringType,
    StructField,
    StructType,
    TimestampNTZType,
    TimestampType,
)

from featurelib.series.frames import as_list
from featurelib.series.windows import Window
from nnframes.errors import ArgumentError, ColumnError
from nnframes.spark.columns import check_dataframe
from nnframes.spark.functions import quoted

if TYPE_CHECKING:
    from featurelib.series import TSDataset

__all__ = ["series_windows"]

_TIMES = (TimestampType, TimestampNTZType, DateType, StringType)


def series_windows(
    df: DataFrame,
    dt_col: str,
    target_col: str | Sequence[str],
    lookback: int,
    horizon: int | Sequence[int],
    id_col: str | None = None,
    extra_feature_col: str | Sequence[str] | None = None,
    prepare: Callable[[TSDataset], TSDataset] | None = None,
) -> DataFrame:
    """Return the windows of every series as rows (`id_col`, `dt_col`, features, label), as `TSDataset.roll` makes them.

    `dt_col` is the last time of a window's past; features are lookback x (targets + features) numbers, label horizon x
    targets, both flat: ``NNEstimator(model, criterion, [lookback, columns])`` gives features their shape. `prepare`
    does to the `TSDataset` of one series what comes before `roll`, as ``lambda data: data.resample("1h").impute()``. A
    scaler in it must have been fitted before; one that it fits is the series' own. Timestamps have the session's time
    zone there: hours of the calendar are local ones, and the hour that comes twice in autumn is two. Each series must
    fit in a task's memory; without `id_col` the frame is one series. Series too short for a window give no rows.

    Raises `ColumnError` for a column that is not there or does not fit, on the driver; what the rows do wrong is a
    `FeatureError` of the job that runs, as the table of `featurelib.series` says.
    """
    check_dataframe("series_windows", df)
    target, extra = as_list("target_col", target_col), as_list("extra_feature_col", extra_feature_col or [])
    Window.of(lookback, horizon, extra, target)
    if prepare is not None and not callable(prepare):
        raise ArgumentError(f"prepare must be a function of a TSDataset. Received: {prepare!r}.")
    for name in [*target, *extra]:
        kind = _field(df, name).dataType
        if not isinstance(kind, (NumericType, BooleanType)):
            raise ColumnError(f"Column '{name}' must be a number. Received: {kind.simpleString()}.")
    ids = [] if id_col is None else [_field(df, id_col)]
    kind = _field(df, dt_col).dataType
    time = StructField(dt_col, _time(kind, dt_col))
    zone = _zone(df) if isinstance(kind, TimestampType) else None
    task = _Task(dt_col, target, id_col, extra, lookback, horizon, prepare, zone)
    numbers = [StructField(name, ArrayType(FloatType(), False)) for name in ("features", "label")]
    for field in (*ids, time):
        if field.name in ("features", "label"):
            raise ColumnError(f"Column '{field.name}' must have another name: windows have it. Hint: rename it.")
    at = F.col(quoted(dt_col)) if zone is None else F.unix_micros(quoted(dt_col))
    # By numbers, as Spark's groups take no names with dots.
    values = [*(F.col(quoted(field.name)) for field in ids), at, *(F.col(quoted(name)) for name in [*target, *extra])]
    groups = df.select(*(value.alias(f"c{n}") for n, value in enumerate(values))).groupBy(*["c0"][: len(ids)])
    return groups.applyInPandas(_function(task), StructType([*ids, time, *numbers]))


@dataclass(frozen=True)
class _Task:
    dt_col: str
    target: list[str]
    id_col: str | None
    extra: list[str]
    lookback: int
    horizon: Any
    prepare: Callable[[TSDataset], TSDataset] | None
    zone: str | None  # of timestamps, which then come as microseconds


def _function(task: _Task) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """What a worker does with the rows of one series; a plain function, as Spark counts and reads its parameters."""

    def windows(frame):
        from featurelib.series import TSDataset

        ids = [] if task.id_col is None else [task.id_col]
        frame = frame.set_axis([*ids, task.dt_col, *task.target, *task.extra], axis=1)
        if task.zone is not None:
            times = pd.to_datetime(frame[task.dt_col], unit="us", utc=True).dt.tz_convert(task.zone)
            frame = frame.assign(**{task.dt_col: times})
        data: TSDataset = TSDataset.from_pandas(frame, task.dt_col, task.target, task.id_col, task.extra)
        data = data if task.prepare is None else task.prepare(data)
        return data.roll(task.lookback, task.horizon, allow_empty=True).to_rows()

    return windows


def _field(df: DataFrame, name: str) -> StructField:
    if df.columns.count(name) != 1:
        raise ColumnError(f"Column '{name}' must exist once. Received the columns: {', '.join(df.columns)}.")
    return df.schema[name]


def _zone(df: DataFrame) -> str | None:
    """The session's time zone if pandas knows it by this name; what it does not are offsets, without summer time."""
    zone = df.sparkSession.conf.get("spark.sql.session.timeZone")
    try:
        pd.Timestamp(0, tz=zone)
    except Exception:  # each library of time zones has its own
        return None
    return zone


def _time(kind: DataType, name: str) -> DataType:
    if not isinstance(kind, _TIMES):
        raise ColumnError(
            f"Column '{name}' must be a timestamp, a date or text of one. Received: {kind.simpleString()}. "
            f"Hint: timestamp_seconds({name})."
        )
    return kind if isinstance(kind, (TimestampType, TimestampNTZType)) else TimestampType()
