"""`TSDataset`: one or many series and the steps that make windows of them."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from featurelib import _checks
from featurelib.errors import FeatureError
from featurelib.series import steps
from featurelib.series.frames import as_list, known_columns, numeric, ordered
from featurelib.series.scalers import Scaler
from featurelib.series.split import Split
from featurelib.series.windows import Window, Windows, called, joined, windows_of
from kernels.errors import ArgumentError

__all__ = ["TSDataset"]

_LOG = logging.getLogger("featurelib")


@dataclass(frozen=True, eq=False, repr=False)
class TSDataset:
    """Series of numbers over time (Chronos's `TSDataset`); made by `from_pandas` or `from_parquet`.

    Its steps are Chronos's, but each returns a new dataset and leaves this one as it is. `frame` is sorted by series
    and time; `target_col` are the columns to predict, `feature_col` the others that are known; both are float64. A step
    that changes rows drops the windows, so `roll` comes last.

    >>> data = TSDataset.from_pandas(pd.DataFrame({"t": pd.date_range("2024", periods=9), "v": range(9)}), "t", "v")
    >>> data.roll(lookback=4, horizon=1)
    TSDataset(9 rows of 1 series, target_col=['v'], feature_col=[], 5 windows)
    """

    frame: pd.DataFrame
    dt_col: str
    target_col: list[str]
    feature_col: list[str]
    id_col: str | None = None
    scaler: Scaler | None = None
    scaled_col: tuple[str, ...] = ()
    window: Window | None = None
    windows: Windows | None = None

    @classmethod
    def from_pandas(
        cls,
        df: pd.DataFrame,
        dt_col: str,
        target_col: str | Sequence[str],
        id_col: str | None = None,
        extra_feature_col: str | Sequence[str] | None = None,
        with_split: bool = False,
        **split: Any,
    ) -> Any:
        """Take columns of a frame; with `with_split` return (train, validation, test), None for a part of ratio 0.

        `split` are `Split`'s arguments. Times may be datetimes, dates or text of ISO 8601; without `id_col` there is
        one series. Raises `ArgumentError` for a column that is not there, `FeatureError` for one that does not
        hold what it should, and for a part that is too short for a window.

        >>> df = pd.DataFrame({"t": pd.date_range("2024", periods=10), "v": range(10)})
        >>> train, _, test = TSDataset.from_pandas(df, "t", "v", with_split=True, test_ratio=0.3, largest_look_back=2)
        >>> train.to_pandas()["v"].tolist()[-2:], test.to_pandas()["v"].tolist()
        ([5.0, 6.0], [5.0, 6.0, 7.0, 8.0, 9.0])
        """
        target, features = as_list("target_col", target_col), as_list("extra_feature_col", extra_feature_col or [])
        if not target:
            raise ArgumentError("target_col must name at least one column. Received: none.")
        columns = [*([] if id_col is None else [id_col]), dt_col, *target, *features]
        known_columns(df, columns)
        cut = Split(**split)
        frame = numeric(ordered(df[columns], dt_col, id_col), [*target, *features])
        whole = cls(frame, dt_col, target, features, id_col)
        return whole._split(cut) if with_split else whole

    @classmethod
    def from_parquet(cls, path: Any, dt_col: str, target_col: str | Sequence[str], **arguments: Any) -> Any:
        """Read the columns of a Parquet file or folder, then as `from_pandas`."""
        return cls.from_pandas(pd.read_parquet(path), dt_col, target_col, **arguments)

    def impute(self, mode: str = "last", const_num: float = 0.0) -> TSDataset:
        """Fill NaN in targets and features, series by series.

        "last" takes the value before, 0 where there is none; "const" takes `const_num`; "linear" the line over time,
        and the nearest value at the ends. Raises `FeatureError` where "linear" finds no value at all.
        """
        _checks.one_of("mode", mode, steps.IMPUTE_MODES)
        _checks.finite("const_num", const_num)

        missing = self.frame[self._columns].isna().sum()
        wanted = [column for column in self._columns if missing[column]]

        def fill(name: Any, frame: pd.DataFrame) -> pd.DataFrame:
            columns = {}
            for column in wanted:
                columns[column] = steps.filled(frame[column], frame[self.dt_col], mode, const_num)
                if columns[column].isna().any():
                    raise FeatureError(f"{called(name)} has no value in column {column!r} to interpolate from.")
            return frame.assign(**columns)

        _LOG.info("impute: %d values filled (%s).", int(missing.sum()), mode)
        return self._each(fill) if wanted else self._with(self.frame)

    def deduplicate(self) -> TSDataset:
        """Keep the last of the rows that a series has of one time, counted in the log."""
        keys = [*([] if self.id_col is None else [self.id_col]), self.dt_col]
        frame = self.frame.drop_duplicates(keys, keep="last", ignore_index=True)
        _LOG.info("deduplicate: %d of %d rows dropped.", len(self.frame) - len(frame), len(self.frame))
        return self._with(frame)

    def resample(self, interval: str, merge_mode: str = "mean") -> TSDataset:
        """Make one row of every `interval` ("30min", "1D"), counted from midnight, series by series.

        `merge_mode` ("mean", "sum", "max", "min") makes one row of several; an interval without rows is NaN: `impute`
        comes next.
        """
        _checks.one_of("merge_mode", merge_mode, steps.MERGE_MODES)
        step = steps.steps_of(interval)

        def merge(name: Any, frame: pd.DataFrame) -> pd.DataFrame:
            result = steps.merged(frame[[self.dt_col, *self._columns]], self.dt_col, step, merge_mode)
            return result if self.id_col is None else result.assign(**{self.id_col: name})[list(frame.columns)]

        merged = self._each(merge)
        empty = int(merged.frame[self._columns].isna().all(axis=1).sum())
        _LOG.info("resample: %d rows became %d, %d of them empty.", len(self.frame), len(merged.frame), empty)
        return merged

    def gen_dt_feature(self, features: str | Sequence[str] = "auto", cyclic: bool = False) -> TSDataset:
        """Add features of the calendar: "auto" for all, or names among those of `featurelib.series.steps.CALENDAR`.

        MINUTE, HOUR, DAY, DAYOFYEAR, WEEKDAY (Monday is 0), WEEKOFYEAR, MONTH and YEAR are numbers, IS_AWAKE (6 to 1
        o'clock), IS_BUSY_HOURS (7 to 10, 16 to 20) and IS_WEEKEND 0 or 1. With `cyclic` what has a period becomes two
        columns, NAME_SIN and NAME_COS, in which its end is next to its beginning.
        """
        names = list(steps.CALENDAR) if features == "auto" else as_list("features", features)
        for name in names:
            _checks.one_of("features", name, tuple(steps.CALENDAR))
        return self._adding(steps.calendar(self.frame[self.dt_col], names, cyclic))

    def gen_rolling_feature(
        self, window_size: int, statistics: Sequence[str] = ("mean", "std", "min", "max"), columns: Any = None
    ) -> TSDataset:
        """Add statistics of each row and the window_size - 1 before it, as features "v_mean_24", series by series.

        `columns` are the targets if None. The first rows of a series have fewer before them. What comes is never used.
        """
        _checks.whole("window_size", window_size, 1)
        names = self.target_col if columns is None else as_list("columns", columns)
        known_columns(self.frame[self._columns], names)
        parts = [frame for _, frame in self._series()]
        return self._adding(
            {
                f"{column}_{each}_{window_size}": np.concatenate(
                    [steps.rolled(part[column], window_size, each).to_numpy() for part in parts]
                )
                for column in names
                for each in as_list("statistics", statistics)
            }
        )

    def scale(self, scaler: Scaler, fit: bool = True) -> TSDataset:
        """Scale targets and features; with `fit` the scaler learns from them first, else it must have learned before.

        The dataset keeps its own copy as `scaler`. Fit on the training part alone:
        ``train = train.scale(scaler); test = test.scale(scaler, fit=False)``.
        """
        if not isinstance(scaler, Scaler):
            raise ArgumentError(
                f"scaler must be a StandardScaler or a MinMaxScaler of featurelib.series. Received: {scaler!r}."
            )
        if self.scaler is not None:
            raise ArgumentError("a TSDataset must not be scaled twice. Hint: unscale() first.")
        values = self.frame[self._columns].to_numpy()
        if fit:
            scaler.fit(values)
        elif scaler.shift_ is not None and len(scaler.shift_) != len(self._columns):
            known = len(scaler.shift_)
            raise ArgumentError(
                f"scaler must have learned the columns {self._columns}. Received: one of {known} columns."
            )
        scaled = self.frame.assign(**dict(zip(self._columns, scaler.transform(values).T, strict=True)))
        return replace(self._with(scaled), scaler=copy.deepcopy(scaler), scaled_col=tuple(self._columns))

    def unscale(self) -> TSDataset:
        """Undo `scale`; features that were added since stay what they are."""
        columns = list(self.scaled_col)
        values = self._fitted().inverse_transform(self.frame[columns].to_numpy())
        frame = self.frame.assign(**dict(zip(columns, values.T, strict=True)))
        return replace(self._with(frame), scaler=None, scaled_col=())

    def unscale_numpy(self, data: np.ndarray) -> np.ndarray:
        """Undo `scale` for what a network predicts: (n, steps, targets), or (n, steps) of one target.

        >>> from featurelib.series import MinMaxScaler
        >>> df = pd.DataFrame({"t": pd.date_range("2024", periods=4), "v": [1.0, 2, 3, 4]})
        >>> data = TSDataset.from_pandas(df, "t", "v").scale(MinMaxScaler())
        >>> data.unscale_numpy(np.array([[0.0], [1.0]])).ravel().tolist()
        [1.0, 4.0]
        """
        targets = list(self.window.y_columns) if self.window else self.target_col
        single = len(targets) == 1 and data.ndim == 2
        if not single and data.shape[-1] != len(targets):
            raise FeatureError(
                f"unscale_numpy expects (n, steps, {len(targets)}) for {targets}, received {data.shape}."
            )
        scaler = self._fitted()
        columns = [self.scaled_col.index(each) for each in targets]
        values = scaler.inverse_transform(data[..., None] if single else data, columns)
        return values.reshape(data.shape)

    def roll(
        self,
        lookback: int,
        horizon: int | Sequence[int],
        feature_col: str | Sequence[str] | None = None,
        target_col: str | Sequence[str] | None = None,
        allow_empty: bool = False,
    ) -> TSDataset:
        """Make windows: `lookback` rows to learn from, and the targets of the `horizon` rows after them.

        x has the targets, then the features (all if None). `horizon` is how many steps, a list of steps (1 = the next),
        or 0 for windows that end with the newest row and have no y. Windows do not cross series. Raises `FeatureError`
        as the table of `featurelib.series` says; with `allow_empty` no window is a result too.
        """
        target = self.target_col if target_col is None else as_list("target_col", target_col)
        features = self.feature_col if feature_col is None else as_list("feature_col", feature_col)
        known_columns(self.frame[self._columns], [*target, *features])
        window = Window.of(lookback, horizon, [*target, *features], target)
        windows = joined([windows_of(frame, window, name, self.dt_col) for name, frame in self._series()])
        if not len(windows.x) and not allow_empty:
            name, first = next(self._series())
            raise FeatureError(
                f"{called(name)} must have {window.rows} rows of {self.dt_col!r} for lookback={lookback} and "
                f"horizon={horizon}. Received: {len(first)}, and no longer series."
            )
        return replace(self, window=window, windows=windows)

    def to_numpy(self) -> tuple[np.ndarray, np.ndarray | None]:
        """Return x (n, lookback, targets + features) and y (n, steps, targets), float32; y is None for horizon 0."""
        windows = self._rolled()
        return windows.x, windows.y if windows.y.shape[1] else None

    def to_rows(self) -> pd.DataFrame:
        """Return the windows as rows for `spark.createDataFrame`: series, last time of x, ``features`` and ``label``.

        Both are flat lists; ``NNEstimator(model, criterion, [lookback, columns])`` gives features their shape.
        """
        windows = self._rolled()
        ids = {} if self.id_col is None else {self.id_col: pd.Series(windows.ids, dtype=self.frame[self.id_col].dtype)}
        flat = {
            # Lists, as Spark takes arrays of numpy with Arrow only, which is not its default everywhere.
            name: pd.Series(part.reshape(len(part), part.shape[1] * part.shape[2]).tolist(), dtype=object)
            for name, part in (("features", windows.x), ("label", windows.y))
        }
        return pd.DataFrame({**ids, self.dt_col: windows.times, **flat})

    def to_pandas(self) -> pd.DataFrame:
        """Return the rows as they are now: series, time, targets, features."""
        return self.frame.copy()

    def __repr__(self) -> str:
        count = sum(1 for _ in self._series())
        windows = "" if self.windows is None else f", {len(self.windows.x)} windows"
        return (
            f"TSDataset({len(self.frame)} rows of {count} series, target_col={self.target_col}, "
            f"feature_col={self.feature_col}{windows})"
        )

    @property
    def _columns(self) -> list[str]:
        return [*self.target_col, *self.feature_col]

    def _series(self) -> Iterator[tuple[Any, pd.DataFrame]]:
        if self.id_col is None:
            yield None, self.frame
        else:
            yield from self.frame.groupby(self.id_col, sort=True, observed=True)

    def _each(self, function: Callable[[Any, pd.DataFrame], pd.DataFrame]) -> TSDataset:
        return self._with(pd.concat([function(name, frame) for name, frame in self._series()], ignore_index=True))

    def _with(self, frame: pd.DataFrame) -> TSDataset:
        return replace(self, frame=frame, window=None, windows=None)

    def _adding(self, columns: dict[str, np.ndarray]) -> TSDataset:
        taken = [name for name in columns if name in self.frame.columns]
        if taken:
            raise ArgumentError(f"a new feature must have a new name. Received: {taken[0]!r}, which is there already.")
        return replace(self._with(self.frame.assign(**columns)), feature_col=[*self.feature_col, *columns])

    def _split(self, cut: Split) -> tuple[TSDataset | None, ...]:
        parts: tuple[list[pd.DataFrame], ...] = ([], [], [])
        for name, frame in self._series():
            for part, rows, which in zip(
                parts, cut.slices(len(frame)), ("training", "validation", "test"), strict=True
            ):
                if rows is None:
                    continue
                part.append(frame.iloc[rows])
                if len(part[-1]) < cut.largest_look_back + cut.largest_horizon:
                    raise FeatureError(
                        f"{called(name)} has {len(frame)} rows of {self.dt_col!r}, of which the {which} part would "
                        f"have {len(part[-1])}: too few for largest_look_back={cut.largest_look_back} and "
                        f"largest_horizon={cut.largest_horizon}."
                    )
        return tuple(self._with(pd.concat(part, ignore_index=True)) if part else None for part in parts)

    def _rolled(self) -> Windows:
        if self.windows is None:
            raise ArgumentError("a TSDataset must have windows first. Hint: roll(lookback, horizon).")
        return self.windows

    def _fitted(self) -> Scaler:
        if self.scaler is None:
            raise ArgumentError("a TSDataset must be scaled before it is unscaled. Hint: scale(StandardScaler()).")
        return self.scaler
