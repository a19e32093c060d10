"""Scalers of columns, with their inverse and as JSON (`featurelib.config`). The names are scikit-learn's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.errors import FeatureError
from kernels.errors import ArgumentError

__all__ = ["SCALERS", "MinMaxScaler", "Scaler", "StandardScaler"]


class Scaler(ABC):
    """(x - shift) / scale for each column of an array (n, columns), float64.

    `fit` learns both from the numbers that are not NaN. `shift_` and `scale_` are arrays (columns,), None before.

    >>> scaler = StandardScaler().fit([[1.0], [3.0]])
    >>> scaler.transform([[3.0]]).tolist(), scaler.inverse_transform([[1.0]]).tolist()
    ([[1.0]], [[3.0]])
    """

    shift_: np.ndarray | None = None
    scale_: np.ndarray | None = None

    def fit(self, values: Any) -> Scaler:
        """Learn from an array (n, columns) of finite numbers and NaN; returns itself.

        Raises `FeatureError` for a column without a number.
        """
        array = np.asarray(values, np.float64)
        if array.ndim != 2:
            raise FeatureError(f"{type(self).__name__} expects (n, columns), received {array.shape}.")
        empty = np.flatnonzero(~np.isfinite(array).any(axis=0) | np.isinf(array).any(axis=0))
        if len(empty):
            raise FeatureError(
                f"{type(self).__name__} expects finite numbers in every column. Received: none, or infinity, in "
                f"column {empty[0]} of {array.shape[1]}."
            )
        self.shift_, scale = self._learn(array)
        self.scale_ = np.where(scale == 0, 1.0, scale)  # a constant column becomes a constant
        return self

    def transform(self, values: Any) -> np.ndarray:
        """Scale an array (..., columns)."""
        shift, scale = self._learned(None)
        return (np.asarray(values, np.float64) - shift) / scale

    def inverse_transform(self, values: Any, columns: Sequence[int] | None = None) -> np.ndarray:
        """Undo it, for an array (..., columns); `columns` says which of the fitted ones these are, if not all."""
        shift, scale = self._learned(columns)
        return np.asarray(values, np.float64) * scale + shift

    def fit_transform(self, values: Any) -> np.ndarray:
        """Learn from an array and scale it."""
        return self.fit(values).transform(values)

    @abstractmethod
    def _learn(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shift and scale of the columns."""

    def _learned(self, columns: Sequence[int] | None) -> tuple[np.ndarray, np.ndarray]:
        if self.shift_ is None or self.scale_ is None:
            raise ArgumentError(f"{type(self).__name__} must be fitted first. Hint: scaler.fit(values), or fit=True.")
        return (self.shift_, self.scale_) if columns is None else (self.shift_[columns], self.scale_[columns])

    def config_state(self) -> dict[str, Any]:
        """Return what was learned, for `featurelib.config`."""
        return {"shift": self.shift_, "scale": self.scale_}

    @classmethod
    def from_config_state(cls, args: dict[str, Any], state: dict[str, Any]) -> Scaler:
        """Build a scaler as it was."""
        scaler = cls(**args)
        shift, scale = state["shift"], state["scale"]
        if shift is not None or scale is not None:
            if not all(isinstance(each, np.ndarray) and each.ndim == 1 for each in (shift, scale)):
                raise ValueError("shift and scale must be arrays (columns,)")
            scaler.shift_, scaler.scale_ = np.broadcast_arrays(shift, scale)
        return scaler


class StandardScaler(Scaler):
    """(x - mean) / standard deviation (of the population, as scikit-learn's).

    >>> StandardScaler().fit_transform([[1.0], [2.0], [3.0]]).round(3).ravel().tolist()
    [-1.225, 0.0, 1.225]
    """

    def _learn(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.nanmean(array, axis=0), np.nanstd(array, axis=0)


class MinMaxScaler(Scaler):
    """Map the smallest and the largest number of a column to the ends of `feature_range`.

    >>> MinMaxScaler((-1, 1)).fit_transform([[1.0], [2.0], [3.0]]).ravel().tolist()
    [-1.0, 0.0, 1.0]
    """

    def __init__(self, feature_range: tuple[float, float] = (0, 1)) -> None:
        if not isinstance(feature_range, (tuple, list)) or len(feature_range) != 2:
            raise ArgumentError(f"feature_range must be two numbers. Received: {feature_range!r}.")
        _checks.ordered("feature_range[0]", feature_range[0], "feature_range[1]", feature_range[1])
        if feature_range[0] == feature_range[1]:
            raise ArgumentError(f"feature_range must be two different numbers. Received: {feature_range!r}.")
        self.feature_range = feature_range

    def _learn(self, array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        low, high = self.feature_range
        smallest = np.nanmin(array, axis=0)
        scale = (np.nanmax(array, axis=0) - smallest) / (high - low)
        return smallest - low * np.where(scale == 0, 1.0, scale), scale


SCALERS: dict[str, type[Scaler]] = {"MinMaxScaler": MinMaxScaler, "StandardScaler": StandardScaler}
