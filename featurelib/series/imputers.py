"""The older imputers of frames, by the names of AutoTS; `TSDataset.impute` and `resample` do the same per series."""

from __future__ import annotations

import pandas as pd

from featurelib import _checks
from featurelib.series import steps
from featurelib.series.frames import known_columns, ordered

__all__ = ["FillZeroImpute", "LastFillImpute", "TimeMergeImputor"]


class LastFillImpute:
    """Fill nulls of number columns with the value of the row before, 0 where there is none.

    >>> LastFillImpute().impute(pd.DataFrame({"v": [None, 1.0, None]}))["v"].tolist()
    [0.0, 1.0, 1.0]
    """

    def impute(self, input_df: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with its numbers filled."""
        known_columns(input_df, [])
        numbers = input_df.select_dtypes("number").columns
        return input_df.assign(**{name: steps.filled(input_df[name], input_df[name], "last") for name in numbers})


class FillZeroImpute:
    """Fill nulls of number columns with 0.

    >>> FillZeroImpute().impute(pd.DataFrame({"v": [None, 1.0]}))["v"].tolist()
    [0.0, 1.0]
    """

    def impute(self, input_df: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with its numbers filled."""
        known_columns(input_df, [])
        return input_df.fillna(dict.fromkeys(input_df.select_dtypes("number").columns, 0))


class TimeMergeImputor:
    """Round times to multiples of `time_interval` seconds, and merge the rows that then have the same.

    `mode` is "max", "min", "mean" or "sum"; with "" the rows keep apart. The result is sorted by time.

    >>> frame = pd.DataFrame({"t": pd.to_datetime(["2024-01-01 00:00:01", "2024-01-01 00:00:02"]), "v": [1.0, 3.0]})
    >>> TimeMergeImputor(10, "t", "mean").impute(frame)["v"].tolist()
    [2.0]
    """

    def __init__(self, time_interval: int, timestamp_column_name: str, mode: str = "") -> None:
        _checks.whole("time_interval", time_interval, 1)
        _checks.one_of("mode", mode, ("", *steps.MERGE_MODES))
        self.time_interval = time_interval
        self.timestamp_column_name = timestamp_column_name
        self.mode = mode

    def impute(self, input_df: pd.DataFrame) -> pd.DataFrame:
        """Return the frame with its rows merged; `FeatureError` for a column that does not hold times."""
        name = self.timestamp_column_name
        known_columns(input_df, [name])
        frame = ordered(input_df, name, None)
        frame[name] = frame[name].dt.round(f"{self.time_interval}s")
        return frame.groupby(name, as_index=False).agg(self.mode) if self.mode else frame
