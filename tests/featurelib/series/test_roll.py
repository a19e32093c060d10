from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from featurelib import FeatureError
from tests.featurelib.series.rows import HOURS, dataset, frame, two


def test_windows() -> None:
    data = dataset(frame(10, w=np.arange(10.0) * 10), extra_feature_col="w")
    x, y = data.roll(3, 2).to_numpy()
    assert (x.shape, y.shape, x.dtype, y.dtype) == ((6, 3, 2), (6, 2, 1), np.float32, np.float32)
    assert x[1].tolist() == [[1, 10], [2, 20], [3, 30]]
    assert y[1].tolist() == [[4], [5]]
    assert x[-1, -1, 0] == 7
    assert data.roll(3, [1, 4]).to_numpy()[1][0].tolist() == [[3], [6]]
    assert data.roll(3, 1, feature_col=[]).to_numpy()[0].shape == (7, 3, 1)
    assert data.roll(3, 1, target_col="w", feature_col="v").to_numpy()[0][0].tolist() == [[0, 0], [10, 1], [20, 2]]


def test_windows_without_a_future_end_with_the_newest_row() -> None:
    x, y = dataset(frame(5)).roll(3, 0).to_numpy()
    assert y is None
    assert x[..., 0].tolist() == [[0, 1, 2], [1, 2, 3], [2, 3, 4]]


def test_windows_do_not_cross_series(caplog: pytest.LogCaptureFixture) -> None:
    short = pd.concat([two(), frame(3, id="c")])
    data = dataset(short, id_col="id").roll(4, 1)
    assert len(data.to_numpy()[0]) == 26 + 16
    assert data.windows is not None
    assert data.windows.ids.tolist() == ["a"] * 26 + ["b"] * 16
    assert (np.diff(data.to_numpy()[0][..., 0], axis=1) == 1).all()
    assert "series 'c' is left out: it has 3 rows, a window needs 5" in caplog.text


def test_rows_for_spark() -> None:
    rows = dataset(two(), id_col="id").roll(2, 2).to_rows()
    assert list(rows.columns) == ["id", "t", "features", "label"]
    first = rows.iloc[0]
    assert (first["id"], first["t"]) == ("a", HOURS[1])
    assert (first["features"], first["label"]) == ([100, 101], [102, 103])
    assert list(dataset().roll(2, 2).to_rows().columns) == ["t", "features", "label"]


def test_gaps_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    dataset(frame(10).drop(index=[4, 7])).roll(2, 1)
    assert "the series: 2 of 7 steps in column 't' are longer than the shortest" in caplog.text


@pytest.mark.parametrize(
    ("df", "message"),
    [
        (pd.concat([frame(5)] * 2), "the series has 5 rows of a time in column 't' that another row has. Hint: dedupl"),
        (frame(5, v=[1, None, 3, None, 5]), "the series has 2 of 5 values in column 'v' that are NaN or infinite"),
        (frame(5, v=[1, 2, np.inf, 4, 5]), "1 of 5 values in column 'v' that are NaN or infinite. Hint: impute()."),
        (frame(5, v=[1, 2, 1e200, 4, 5]), "1 of 5 values in column 'v' that are NaN or infinite"),
        (
            frame(3),
            "the series must have 4 rows of 't' for lookback=2 and horizon=2. Received: 3, and no longer series",
        ),
    ],
)
def test_rows_that_make_no_windows(df: pd.DataFrame, message: str) -> None:
    with pytest.raises(FeatureError) as caught:
        dataset(df).roll(2, 2)
    assert message in str(caught.value)


def test_a_message_names_the_series() -> None:
    df = two()
    df.loc[df["id"] == "b", "v"] = np.nan
    with pytest.raises(FeatureError, match="series 'b' has 20 of 20 values in column 'v'"):
        dataset(df, id_col="id").roll(2, 1)
    with pytest.raises(FeatureError, match="series 'b' has no value in column 'v' to interpolate from"):
        dataset(df, id_col="id").impute("linear")


def test_no_window_is_a_result_where_that_is_allowed() -> None:
    rows = dataset(frame(3)).roll(2, 2, allow_empty=True).to_rows()
    assert (len(rows), list(rows.columns)) == (0, ["t", "features", "label"])


def test_a_step_that_changes_rows_drops_the_windows() -> None:
    rolled = dataset().roll(2, 1)
    assert rolled.deduplicate().windows is None
    assert rolled.windows is not None
    assert "58 windows" in repr(rolled)
