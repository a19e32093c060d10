from __future__ import annotations

import datetime
import decimal
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featurelib import FeatureError
from featurelib.series import MinMaxScaler, Split, StandardScaler, TSDataset
from kernels.errors import ArgumentError
from tests.featurelib.series.rows import HOURS, dataset, frame, two

# ---------------------------------------------------------------- from_pandas


def test_rows_are_sorted_and_the_frame_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    df = two()
    before = df.copy()
    with caplog.at_level(logging.INFO, "featurelib"):
        data = dataset(df, id_col="id")
    pd.testing.assert_frame_equal(df, before)
    assert data.to_pandas()["id"].tolist() == ["a"] * 30 + ["b"] * 20
    assert data.to_pandas()["v"].tolist() == [*range(100, 130), *range(20)]
    assert "rows sorted by id and t" in caplog.text
    assert "of 50 were out of order" in caplog.text


@pytest.mark.parametrize(
    "values",
    [
        [1, 2],
        [True, False],
        [decimal.Decimal("1.5"), None],
        pd.array([1, None], "Int64"),
        np.array([1, 2], "float16"),
        pd.array([1.5, None], "Float32"),
    ],
)
def test_numbers_of_all_kinds_become_float64(values: Any) -> None:
    data = dataset(pd.DataFrame({"t": HOURS[:2], "v": values}))
    assert data.frame["v"].dtype == np.float64


@pytest.mark.parametrize(
    "times",
    [
        ["2024-01-02", "2024-01-01"],
        [datetime.date(2024, 1, 2), datetime.date(2024, 1, 1)],
        [datetime.datetime(2024, 1, 2), datetime.datetime(2024, 1, 1)],
        pd.to_datetime(["2024-01-02", "2024-01-01"]).tz_localize("Europe/Berlin"),
    ],
)
def test_times_of_all_kinds(times: Any) -> None:
    data = dataset(pd.DataFrame({"t": times, "v": [1, 2]}))
    assert data.frame["v"].tolist() == [2.0, 1.0]
    assert data.frame["t"].iloc[0].day == 1


@pytest.mark.parametrize(
    ("df", "arguments", "error", "message"),
    [
        (pd.DataFrame({"t": [], "v": []}), {}, FeatureError, "expects rows, received an empty frame"),
        (frame(3, v=["a", "b", "c"]), {}, FeatureError, "column 'v' must hold numbers. Received: object, such as 'a'."),
        (frame(2, v=["1", "2"]), {}, FeatureError, "column 'v' must hold numbers"),
        (frame(2, v=HOURS[:2]), {}, FeatureError, "column 'v' must hold numbers. Received: datetime64[ns]"),
        (frame(2, t=[1, 2]), {}, FeatureError, "column 't' must hold times. Received: int64, such as 1. Hint: pandas"),
        (frame(2, t=["soon", "later"]), {}, FeatureError, "column 't' must hold times: "),
        (frame(2, t=[HOURS[0], None]), {}, FeatureError, "column 't' must have no nulls. Received: 1 in 2 rows."),
        (frame(2, id=["a", None]), {"id_col": "id"}, FeatureError, "column 'id' must have no nulls. Received: 1"),
        (
            frame(2),
            {"id_col": "w"},
            ArgumentError,
            "columns must be there once and have one use. Received: 'w', of t, v",
        ),
        (frame(2), {"extra_feature_col": ["v"]}, ArgumentError, "Received: 'v', of t, v"),
        (frame(2), {"extra_feature_col": 3}, ArgumentError, "extra_feature_col must be a name or a list"),
        ([1, 2], {}, ArgumentError, "df must be a pandas DataFrame. Received: list."),
    ],
)
def test_bad_frames(df: Any, arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        dataset(df, **arguments)
    assert message in str(caught.value)


def test_parquet(tmp_path: Path) -> None:
    two().to_parquet(tmp_path / "rows.parquet")
    data = TSDataset.from_parquet(tmp_path / "rows.parquet", "t", "v", id_col="id")
    pd.testing.assert_frame_equal(data.to_pandas(), dataset(two(), id_col="id").to_pandas())


# ---------------------------------------------------------------- split


def test_split_predicts_every_row_at_most_once() -> None:
    parts = TSDataset.from_pandas(
        two(), "t", "v", id_col="id", with_split=True,
        val_ratio=0.2, test_ratio=0.3, largest_look_back=4, largest_horizon=2,
    )  # fmt: skip
    predicted = []
    for part in parts:
        rolled = part.roll(lookback=4, horizon=2)
        assert set(rolled.windows.ids) == {"a", "b"}
        predicted.append({float(v) for v in rolled.to_numpy()[1].ravel()})
    assert predicted[0] | predicted[1] | predicted[2] == {*range(104, 130), *range(4, 20)}
    assert not predicted[0] & predicted[1]
    assert not (predicted[0] | predicted[1]) & predicted[2]
    assert min(v for v in predicted[2] if v >= 100) == 121  # the last 9 of 30 rows
    assert parts[2].to_pandas().query("id == 'a'")["v"].min() == 117  # and 4 to look back on


def test_a_part_of_ratio_zero_is_none() -> None:
    train, val, test = dataset(with_split=True)  # type: ignore[misc]
    assert val is None
    assert (len(train.frame), len(test.frame)) == (54, 6)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"test_ratio": 1}, ArgumentError, "leave something to train on. Received: val_ratio=0, test_ratio=1."),
        ({"val_ratio": -0.1}, ArgumentError, "val_ratio and test_ratio must be >= 0"),
        ({"val_ratio": "a"}, ArgumentError, "val_ratio must be a finite number"),
        ({"largest_horizon": 0}, ArgumentError, "largest_horizon must be an integer >= 1"),
        (
            {"test_ratio": 0.01},
            FeatureError,
            "the series has 60 rows of 't', of which the test part would have 0: too few for largest_look_back=0",
        ),
        ({"largest_look_back": 60}, FeatureError, "of which the training part would have 54"),
    ],
)
def test_bad_splits(arguments: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        dataset(with_split=True, **arguments)
    assert message in str(caught.value)
    assert Split().slices(100)[0] == slice(0, 90)


# ---------------------------------------------------------------- steps


@pytest.mark.parametrize(
    ("mode", "wanted"),
    [
        ({"mode": "last"}, [0, 0, 2, 2, 2, 5]),
        ({"mode": "const", "const_num": -1}, [-1, -1, 2, -1, -1, 5]),
        ({"mode": "linear"}, [2, 2, 2, 3, 4, 5]),
    ],
)
def test_impute(mode: dict, wanted: list[float], caplog: pytest.LogCaptureFixture) -> None:
    data = dataset(frame(6, v=[None, None, 2, None, None, 5.0]))
    with caplog.at_level(logging.INFO, "featurelib"):
        assert data.impute(**mode).frame["v"].tolist() == wanted
    assert "impute: 4 values filled" in caplog.text
    assert data.frame["v"].isna().sum() == 4  # the dataset itself stays as it is


def test_linear_follows_time_and_stays_in_its_series() -> None:
    times = pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-05"] * 2)
    df = pd.DataFrame({"t": times, "id": list("aaabbb"), "v": [0, None, 8, 100, 100, None]})
    assert dataset(df, id_col="id").impute("linear").frame["v"].tolist() == [0, 2, 8, 100, 100, 100]
    assert dataset(df, id_col="id").impute("last").frame["v"].tolist() == [0, 0, 8, 100, 100, 100]


def test_deduplicate_keeps_the_last_row_of_a_time(caplog: pytest.LogCaptureFixture) -> None:
    df = pd.DataFrame({"t": HOURS[[1, 0, 1, 1]], "id": list("aaba"), "v": [1.0, 2, 3, 4]})
    with caplog.at_level(logging.INFO, "featurelib"):
        data = dataset(df, id_col="id").deduplicate()
    assert data.frame[["id", "v"]].to_numpy().tolist() == [["a", 2.0], ["a", 4.0], ["b", 3.0]]
    assert "deduplicate: 1 of 4 rows dropped" in caplog.text


@pytest.mark.parametrize(("mode", "wanted"), [("mean", 1.5), ("sum", 3), ("max", 2), ("min", 1)])
def test_resample(mode: str, wanted: float, caplog: pytest.LogCaptureFixture) -> None:
    times = pd.to_datetime(["2024-01-01 00:05", "2024-01-01 00:40", "2024-01-01 03:00"] * 2)
    df = pd.DataFrame({"t": times, "id": list("aaabbb"), "v": [1, 2, 5, 1, 2, 7]})
    with caplog.at_level(logging.INFO, "featurelib"):
        rows = dataset(df, id_col="id").resample("1h", mode).frame
    assert rows["id"].tolist() == list("aaaabbbb")
    np.testing.assert_array_equal(rows["v"], [wanted, np.nan, np.nan, 5, wanted, np.nan, np.nan, 7])
    assert rows["t"].dt.strftime("%H:%M").tolist()[:4] == ["00:00", "01:00", "02:00", "03:00"]
    assert "resample: 6 rows became 8, 4 of them empty" in caplog.text


def test_calendar() -> None:
    times = pd.to_datetime(["2024-01-01 00:30", "2024-12-29 17:05"])  # a Monday and a Sunday
    data = dataset(pd.DataFrame({"t": times, "v": [1, 2]})).gen_dt_feature()
    wanted = {
        "MINUTE": [30, 5], "HOUR": [0, 17], "DAY": [1, 29], "DAYOFYEAR": [1, 364], "WEEKDAY": [0, 6],
        "WEEKOFYEAR": [1, 52], "MONTH": [1, 12], "YEAR": [2024, 2024], "IS_AWAKE": [1, 1],
        "IS_BUSY_HOURS": [0, 1], "IS_WEEKEND": [0, 1],
    }  # fmt: skip
    assert data.feature_col == list(wanted)
    assert {name: data.frame[name].tolist() for name in wanted} == wanted


def test_cyclic_features_close_the_circle() -> None:
    data = dataset(frame(25)).gen_dt_feature(["HOUR", "IS_WEEKEND"], cyclic=True)
    assert data.feature_col == ["HOUR_SIN", "HOUR_COS", "IS_WEEKEND"]
    points = data.frame[["HOUR_SIN", "HOUR_COS"]].to_numpy()
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1)
    np.testing.assert_allclose(np.linalg.norm(np.diff(points, axis=0), axis=1), 2 * np.sin(np.pi / 24))


def test_rolling_features_look_back_only_and_stay_in_their_series() -> None:
    data = dataset(two(), id_col="id").gen_rolling_feature(3, ["mean", "std", "max"])
    assert data.feature_col == ["v_mean_3", "v_std_3", "v_max_3"]
    rows = data.frame.query("id == 'b'")
    assert rows["v_mean_3"].tolist()[:4] == [0, 0.5, 1, 2]
    assert rows["v_std_3"].tolist()[:3] == pytest.approx([0, 0.5, np.sqrt(2 / 3)])
    assert rows["v_max_3"].tolist()[:4] == [0, 1, 2, 3]


# ---------------------------------------------------------------- scale


@pytest.mark.parametrize("scaler", [StandardScaler(), MinMaxScaler(), MinMaxScaler((-1, 2))])
def test_scale_and_back(scaler: Any) -> None:
    train, _, test = TSDataset.from_pandas(
        frame(w=7.0), "t", "v", extra_feature_col="w", with_split=True, test_ratio=0.5
    )
    scaled = train.scale(scaler)
    values = scaled.frame["v"].to_numpy()
    if isinstance(scaler, StandardScaler):
        assert (values.mean(), values.std()) == pytest.approx((0, 1))
    else:
        assert (values.min(), values.max()) == pytest.approx(scaler.feature_range)
    assert scaled.frame["w"].nunique() == 1  # a constant stays one
    pd.testing.assert_frame_equal(scaled.unscale().frame, train.frame)
    other = test.scale(scaler, fit=False)
    assert other.frame["v"].iloc[0] == pytest.approx(values[-1] + values[1] - values[0])
    _, y = other.roll(3, 2).to_numpy()
    np.testing.assert_allclose(other.roll(3, 2).unscale_numpy(y)[0], [[33], [34]], rtol=1e-6)
    np.testing.assert_allclose(other.unscale_numpy(y[..., 0])[0], [33, 34], rtol=1e-6)


def test_unscaling_knows_the_columns_of_the_targets() -> None:
    df = frame(u=np.arange(60.0) * 1000, w=5.0 + np.arange(60))
    data = (
        TSDataset.from_pandas(df, "t", ["v", "u"], extra_feature_col="w").scale(MinMaxScaler()).gen_dt_feature(["DAY"])
    )
    rolled = data.roll(2, 1, target_col="u")
    np.testing.assert_allclose(rolled.unscale_numpy(rolled.to_numpy()[1])[:2].ravel(), [2000, 3000], rtol=1e-5)
    both = data.roll(2, 1)
    np.testing.assert_allclose(both.unscale_numpy(both.to_numpy()[1])[1].ravel(), [3, 3000], rtol=1e-5)


def test_a_scaler_that_learns_anew_does_not_change_what_it_scaled() -> None:
    scaler = StandardScaler()
    data = dataset().scale(scaler)
    scaler.fit([[1000.0], [3000.0]])
    assert data.unscale().frame["v"].tolist() == pytest.approx(list(range(60)))


# ---------------------------------------------------------------- arguments


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: d.impute("mean"), "mode must be one of 'last', 'const', 'linear'. Received: 'mean'."),
        (
            lambda d: d.resample("often"),
            "interval must be a length of time, such as '30min' or '1D'. Received: 'often'",
        ),
        (lambda d: d.resample("-1h"), "interval must be a length of time"),
        (lambda d: d.resample("1ns"), "interval must leave a series at most 67108864 rows."),
        (lambda d: d.resample("1h", "first"), "merge_mode must be one of"),
        (lambda d: d.gen_dt_feature(["CENTURY"]), "features must be one of 'MINUTE'"),
        (lambda d: d.gen_dt_feature(["HOUR"]).gen_dt_feature(), "a new feature must have a new name. Received: 'HOUR'"),
        (lambda d: d.gen_rolling_feature(0), "window_size must be an integer >= 1"),
        (lambda d: d.gen_rolling_feature(2, ["mode"]), "statistic must be one of"),
        (lambda d: d.gen_rolling_feature(2, columns="w"), "Received: 'w', of v."),
        (lambda d: d.scale("standard"), "or a MinMaxScaler of featurelib.series. Received: 'standard'."),
        (lambda d: d.scale(StandardScaler(), fit=False), "StandardScaler must be fitted first"),
        (
            lambda d: d.scale(StandardScaler().fit(np.ones((3, 2))), fit=False),
            "learned the columns ['v']. Received: one",
        ),
        (
            lambda d: d.scale(StandardScaler()).scale(StandardScaler()),
            "must not be scaled twice. Hint: unscale() first.",
        ),
        (lambda d: d.unscale(), "must be scaled before it is unscaled"),
        (lambda d: d.unscale_numpy(np.ones((2, 1))), "must be scaled before it is unscaled"),
        (lambda d: d.to_numpy(), "must have windows first. Hint: roll(lookback, horizon)."),
        (lambda d: d.to_rows(), "must have windows first"),
        (lambda d: d.roll(0, 1), "lookback must be an integer >= 1. Received: 0."),
        (lambda d: d.roll(1, -1), "horizon must be an integer >= 0. Received: -1."),
        (lambda d: d.roll(1, []), "horizon must be an integer >= 0 or a list of steps >= 1. Received: []."),
        (lambda d: d.roll(1, [0]), "horizon must be an integer >= 1. Received: 0."),
        (lambda d: d.roll(1, 1, feature_col="w"), "Received: 'w', of v."),
        (lambda d: d.roll(1, 1, feature_col="v"), "Received: 'v', of v."),
    ],
)
def test_bad_arguments(call: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        call(dataset())
    assert message in str(caught.value)


def test_predictions_of_another_shape() -> None:
    with pytest.raises(FeatureError, match=r"expects \(n, steps, 1\) for \['v'\], received \(2, 1, 3\)"):
        dataset().scale(StandardScaler()).unscale_numpy(np.ones((2, 1, 3)))


def test_real_rows(data_dir: Path) -> None:
    df = pd.read_csv(data_dir / "nyc-taxi" / "nyc_taxi.csv")
    train, _, test = TSDataset.from_pandas(
        df, "timestamp", "value", with_split=True, test_ratio=0.1, largest_look_back=48, largest_horizon=1
    )
    scaler = StandardScaler()
    x, _ = train.gen_dt_feature(["HOUR"], cyclic=True).scale(scaler).roll(48, 1).to_numpy()
    assert x.shape == (9288 - 48, 48, 3)
    later = test.gen_dt_feature(["HOUR"], cyclic=True).scale(scaler, fit=False).roll(48, 1)
    assert len(later.to_numpy()[0]) == 1032
    wanted = df["value"].to_numpy()[-1032:]
    np.testing.assert_allclose(later.unscale_numpy(later.to_numpy()[1]).ravel(), wanted, rtol=1e-4)


def test_texts_of_different_offsets_are_no_times_of_one_series() -> None:
    times = ["2024-10-27T02:30:00+02:00", "2024-10-27T02:30:00+01:00"]
    with pytest.raises(FeatureError, match=r"Hint: pandas.to_datetime\(values, utc=True\)|must hold times"):
        TSDataset.from_pandas(pd.DataFrame({"t": times, "v": [1.0, 2.0]}), "t", "v")
