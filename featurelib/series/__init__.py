"""Time series: from a pandas frame of one or many series to windows of past and future, as Chronos's `TSDataset`.

A `TSDataset` is never changed: each step returns another one. What does not fit is said with the series and the column,
what was changed or left out is counted in the log. `nnframes.spark.series` does the same for a Spark DataFrame.

=======================  ===========================================================================================
in the data              outcome
=======================  ===========================================================================================
rows out of order        sorted by series and time, counted in the log
no time, no id, no rows  `FeatureError`
a column of no numbers   `FeatureError`
equal times              `deduplicate` keeps the last row; `roll` raises `FeatureError`
NaN or infinity          `impute` fills NaN; `roll` raises `FeatureError` where one is left
gaps                     `resample` makes them rows of NaN for `impute`; `roll` goes on over them and warns
a series too short       `roll` leaves it out and warns; `FeatureError` where no window is left
=======================  ===========================================================================================

>>> import pandas as pd
>>> times = pd.date_range("2024-01-01", periods=48, freq="h")
>>> data = TSDataset.from_pandas(pd.DataFrame({"t": times, "v": range(48)}), "t", "v")
>>> x, y = data.gen_dt_feature(["HOUR"]).scale(StandardScaler()).roll(lookback=24, horizon=2).to_numpy()
>>> x.shape, y.shape
((23, 24, 2), (23, 2, 1))
"""

from __future__ import annotations

from featurelib.series.dataset import TSDataset
from featurelib.series.imputers import FillZeroImpute, LastFillImpute, TimeMergeImputor
from featurelib.series.scalers import MinMaxScaler, StandardScaler
from featurelib.series.split import Split
from featurelib.series.transformer import TimeSequenceFeatureTransformer

__all__ = [
    "FillZeroImpute",
    "LastFillImpute",
    "MinMaxScaler",
    "Split",
    "StandardScaler",
    "TSDataset",
    "TimeMergeImputor",
    "TimeSequenceFeatureTransformer",
]
