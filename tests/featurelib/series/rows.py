"""Small series for the tests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from featurelib.series import TSDataset

HOURS = pd.date_range("2024-03-01", periods=60, freq="h")


def frame(rows: int = 60, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"t": HOURS[:rows], "v": np.arange(rows, dtype=float), **columns})


def two() -> pd.DataFrame:
    """Series b: 0, 1, ..., series a: 100, 101, ... with the rows of both shuffled."""
    parts = [frame(20, id="b"), frame(30, id="a").assign(v=100.0 + np.arange(30))]
    return pd.concat(parts).sample(frac=1, random_state=0, ignore_index=True)


def dataset(df: pd.DataFrame | None = None, **arguments: Any) -> TSDataset:
    made: TSDataset = TSDataset.from_pandas(frame() if df is None else df, "t", "v", **arguments)
    return made
