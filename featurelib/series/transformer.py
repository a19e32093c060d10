"""The older way to windows, AutoTS's `TimeSequenceFeatureTransformer`: a thin layer over `TSDataset`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from featurelib import _checks
from featurelib.config import from_config, to_config
from featurelib.errors import ConfigError, FeatureError
from featurelib.series import steps
from featurelib.series.dataset import TSDataset
from featurelib.series.frames import as_list
from featurelib.series.scalers import SCALERS, Scaler, StandardScaler
from kernels.errors import ArgumentError

__all__ = ["TimeSequenceFeatureTransformer"]

_FORMAT, _VERSION = "nnframes.TimeSequenceFeatureTransformer", 1


class TimeSequenceFeatureTransformer:
    """One series from frame to scaled windows, and predictions back to values (AutoTS's, with its arguments).

    `future_seq_len` steps of `target_col` are predicted from the rows before; `extra_features_col` and, with
    `time_features`, the calendar are features beside them. `drop_missing` leaves rows with nulls out, else they are a
    `FeatureError`. x is (n, past_seq_len, targets + features), y is (n, future_seq_len, targets), scaled.

    >>> df = pd.DataFrame({"datetime": pd.date_range("2024-01-01", periods=30, freq="h"), "value": range(30)})
    >>> transformer = TimeSequenceFeatureTransformer(future_seq_len=2)
    >>> x, y = transformer.fit_transform(df, past_seq_len=5, selected_features=["HOUR"])
    >>> x.shape, y.shape
    ((24, 5, 2), (24, 2, 1))
    >>> transformer.post_processing(df, y, is_train=True)[0][0].round(3).ravel().tolist()
    [5.0, 6.0]
    """

    def __init__(
        self,
        future_seq_len: int = 1,
        dt_col: str = "datetime",
        target_col: str | Sequence[str] = ("value",),
        extra_features_col: str | Sequence[str] | None = None,
        drop_missing: bool = True,
        time_features: bool = True,
    ) -> None:
        _checks.whole("future_seq_len", future_seq_len, 1)
        as_list("target_col", target_col)
        as_list("extra_features_col", extra_features_col or [])
        self.future_seq_len = future_seq_len
        self.dt_col = dt_col
        self.target_col = target_col
        self.extra_features_col = extra_features_col
        self.drop_missing = drop_missing
        self.time_features = time_features
        self.past_seq_len: int | None = None
        self.selected_features: list[str] = []
        self.scaler: Scaler | None = None

    def get_feature_list(self) -> list[str]:
        """Return the names of all features to select from: the calendar, then the extra columns."""
        calendar = list(steps.CALENDAR) if self.time_features else []
        return [*calendar, *as_list("extra_features_col", self.extra_features_col or [])]

    def fit_transform(
        self, input_df: pd.DataFrame, past_seq_len: int = 2, selected_features: Sequence[str] | None = None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Learn the scale and return windows (x, y); all features are used if none are selected."""
        _checks.whole("past_seq_len", past_seq_len, 1)
        known = self.get_feature_list()
        selected = known if selected_features is None else as_list("selected_features", selected_features)
        for name in selected:
            _checks.one_of("selected_features", name, known)
        self.past_seq_len, self.selected_features = past_seq_len, selected
        scaled = self._rows(input_df).scale(StandardScaler())
        self.scaler = scaled.scaler
        return scaled.roll(past_seq_len, self.future_seq_len, selected).to_numpy()

    def transform(self, input_df: pd.DataFrame, is_train: bool = True) -> tuple[np.ndarray, np.ndarray | None]:
        """Return windows (x, y) of other rows; without `is_train` x up to the newest row, and None."""
        return self._windows(input_df, is_train).to_numpy()

    def post_processing(self, input_df: pd.DataFrame, y_pred: np.ndarray, is_train: bool) -> Any:
        """Undo the scale of what was predicted for `transform(input_df, is_train)`.

        With `is_train` returns (y of the rows, y predicted), both (n, future_seq_len, targets). Without it returns a
        frame: the time of the first predicted step, and the targets, "value" or for several steps "value_0", ...
        """
        rolled = self._windows(input_df, is_train)
        targets = len(as_list("target_col", self.target_col))
        count = len(rolled.to_numpy()[0])
        if np.size(y_pred) != count * self.future_seq_len * targets:
            raise FeatureError(
                f"post_processing expects {count} x {self.future_seq_len} x {targets} predictions for the windows of "
                f"input_df, received {np.shape(y_pred)}."
            )
        predicted = rolled.unscale_numpy(np.reshape(y_pred, (count, self.future_seq_len, targets)))
        y = rolled.to_numpy()[1]
        return (rolled.unscale_numpy(y), predicted) if y is not None else self._predictions(rolled, predicted)

    def unscale_uncertainty(self, y_uncertainty: np.ndarray) -> np.ndarray:
        """Undo the scale of standard deviations (n, future_seq_len, targets): they are stretched, not shifted."""
        scale = np.asarray(self._fitted().scale_)[: len(as_list("target_col", self.target_col))]
        return np.asarray(y_uncertainty, np.float64) * scale

    def save(self, file_path: str | Path, replace: bool = False) -> None:
        """Write arguments and what was learned as JSON; `ArgumentError` for a file that exists, without `replace`."""
        path = Path(file_path)
        if path.exists() and not replace:
            raise ArgumentError(f"file_path must not exist. Received: {path}. Hint: replace=True.")
        path.write_text(json.dumps({"format": _FORMAT, "version": _VERSION, "transformer": to_config(self)}))

    def restore(self, file_path: str | Path) -> TimeSequenceFeatureTransformer:
        """Become what was saved; returns itself. Raises `ConfigError` for anything else than such a file."""
        try:
            stored = json.loads(Path(file_path).read_bytes())
        except ValueError as error:
            raise ConfigError(f"{file_path} must be JSON: {error}.") from None
        found = (stored.get("format"), stored.get("version")) if isinstance(stored, dict) else None
        if found != (_FORMAT, _VERSION):
            raise ConfigError(f"{file_path} must be of format {_FORMAT}, version {_VERSION}. Received: {found}.")
        restored = from_config(stored.get("transformer"), {type(self).__name__: type(self), **SCALERS})
        if not isinstance(restored, type(self)):
            raise ConfigError(f"{file_path} must hold a {type(self).__name__}. Received: {type(restored).__name__}.")
        vars(self).update(vars(restored))
        return self

    def config_state(self) -> dict[str, Any]:
        """Return what was learned, for `featurelib.config`."""
        return {
            "past_seq_len": self.past_seq_len,
            "selected_features": self.selected_features,
            "scaler": self.scaler,
        }

    @classmethod
    def from_config_state(cls, args: dict[str, Any], state: dict[str, Any]) -> TimeSequenceFeatureTransformer:
        """Build a transformer as it was."""
        made = cls(**args)
        made.past_seq_len, made.scaler = state["past_seq_len"], state["scaler"]
        made.selected_features = as_list("selected_features", state["selected_features"])
        if not isinstance(made.scaler, (Scaler, type(None))):
            raise ValueError("scaler must be a scaler")
        return made

    def _rows(self, input_df: pd.DataFrame) -> TSDataset:
        own = as_list("extra_features_col", self.extra_features_col or [])
        extra = [name for name in self.selected_features if name in own]
        targets = as_list("target_col", self.target_col)
        if self.drop_missing and isinstance(input_df, pd.DataFrame):
            input_df = input_df.dropna(subset=[n for n in (self.dt_col, *targets, *extra) if n in input_df.columns])
        rows: TSDataset = TSDataset.from_pandas(input_df, self.dt_col, targets, extra_feature_col=extra)
        return rows.gen_dt_feature([name for name in self.selected_features if name not in own])

    def _windows(self, input_df: pd.DataFrame, is_train: bool) -> TSDataset:
        scaler = self._fitted()
        scaled = self._rows(input_df).scale(scaler, fit=False)
        return scaled.roll(self.past_seq_len or 1, self.future_seq_len if is_train else 0, self.selected_features)

    def _predictions(self, rolled: TSDataset, predicted: np.ndarray) -> pd.DataFrame:
        times = rolled.frame[self.dt_col]
        step = times.iloc[-1] - times.iloc[-2] if len(times) > 1 else pd.Timedelta(0)
        columns = {
            name if self.future_seq_len == 1 else f"{name}_{ahead}": predicted[:, ahead, place]
            for place, name in enumerate(as_list("target_col", self.target_col))
            for ahead in range(self.future_seq_len)
        }
        return pd.DataFrame({self.dt_col: rolled.to_rows()[self.dt_col] + step, **columns})

    def _fitted(self) -> Scaler:
        if self.scaler is None:
            raise ArgumentError("TimeSequenceFeatureTransformer must be fitted first. Hint: fit_transform or restore.")
        return self.scaler
