"""Windows of time series in a Spark DataFrame: the steps of `featurelib.series`, a series at a time on the workers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pyspark.sql import DataFrame
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

if TYPE_CHECKING:
    import pandas as pd

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
    scaler in it must have been fitted before; one that it fits is the series' own. Each series must fit in a task's
    memory; without `id_col` the frame is one series. Series too short for a window give no rows.

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
    task = _Task(dt_col, target, id_col, extra, lookback, horizon, prepare)
    ids = [] if id_col is None else [_field(df, id_col)]
    time = StructField(dt_col, _time(_field(df, dt_col).dataType, dt_col))
    numbers = [StructField(name, ArrayType(FloatType(), False)) for name in ("features", "label")]
    for field in (*ids, time):
        if field.name in ("features", "label"):
            raise ColumnError(f"Column '{field.name}' must have another name: windows have it. Hint: rename it.")
    rows = df.select(*(field.name for field in ids), dt_col, *target, *extra)
    groups = rows.groupBy(*(field.name for field in ids))
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


def _function(task: _Task) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """What a worker does with the rows of one series; a plain function, as Spark counts and reads its parameters."""

    def windows(frame):
        from featurelib.series import TSDataset

        data: TSDataset = TSDataset.from_pandas(frame, task.dt_col, task.target, task.id_col, task.extra)
        data = data if task.prepare is None else task.prepare(data)
        return data.roll(task.lookback, task.horizon, allow_empty=True).to_rows()

    return windows


def _field(df: DataFrame, name: str) -> StructField:
    if df.columns.count(name) != 1:
        raise ColumnError(f"Column '{name}' must exist once. Received the columns: {', '.join(df.columns)}.")
    return df.schema[name]


def _time(kind: DataType, name: str) -> DataType:
    if not isinstance(kind, _TIMES):
        raise ColumnError(
            f"Column '{name}' must be a timestamp, a date or text of one. Received: {kind.simpleString()}. "
            f"Hint: timestamp_seconds({name})."
        )
    return kind if isinstance(kind, (TimestampType, TimestampNTZType)) else TimestampType()
