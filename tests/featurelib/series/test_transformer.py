from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from featurelib import ConfigError, FeatureError
from featurelib.series import FillZeroImpute, LastFillImpute, TimeMergeImputor, TimeSequenceFeatureTransformer
from kernels.errors import ArgumentError


def frame(rows: int = 40) -> pd.DataFrame:
    times = pd.date_range("2024-01-01", periods=rows, freq="h")
    return pd.DataFrame({"datetime": times, "value": 10.0 + np.arange(rows), "load": np.arange(rows) % 5})


def fitted(**arguments: Any) -> TimeSequenceFeatureTransformer:
    made = TimeSequenceFeatureTransformer(future_seq_len=2, extra_features_col=["load"], **arguments)
    made.fit_transform(frame(), past_seq_len=4, selected_features=["HOUR", "load"])
    return made


def test_windows_are_scaled_and_in_the_order_of_the_selection() -> None:
    made = TimeSequenceFeatureTransformer(future_seq_len=2, extra_features_col=["load"])
    assert made.get_feature_list()[-2:] == ["IS_WEEKEND", "load"]
    x, y = made.fit_transform(frame(), past_seq_len=4, selected_features=["HOUR", "load"])
    assert (x.shape, y.shape) == ((35, 4, 3), (35, 2, 1))  # type: ignore[union-attr]
    np.testing.assert_allclose(made.fit_transform(frame(), 4, ["load", "HOUR"])[0], x[..., [0, 2, 1]])
    assert made.fit_transform(frame(), 4)[0].shape == (35, 4, 1 + 12)
    assert TimeSequenceFeatureTransformer(time_features=False).fit_transform(frame(), 4)[0].shape == (36, 4, 1)


def test_predictions_come_back_as_values() -> None:
    made = fitted()
    _, y = made.transform(frame())
    true, predicted = made.post_processing(frame(), y, is_train=True)
    np.testing.assert_allclose(true, predicted)
    np.testing.assert_allclose(predicted[0].ravel(), [14, 15], rtol=1e-6)

    x, nothing = made.transform(frame(), is_train=False)
    assert nothing is None
    assert len(x) == 37
    rows = made.post_processing(frame(), np.zeros((37, 2)), is_train=False)
    assert list(rows.columns) == ["datetime", "value_0", "value_1"]
    assert rows["datetime"].iloc[-1] == pd.Timestamp("2024-01-02 16:00")  # an hour after the newest row
    np.testing.assert_allclose(rows["value_0"], frame()["value"].mean())
    np.testing.assert_allclose(made.unscale_uncertainty(np.ones((1, 2, 1))), frame()["value"].std(ddof=0))


def test_one_step_keeps_the_name_of_the_target() -> None:
    made = TimeSequenceFeatureTransformer()
    made.fit_transform(frame(), 3)
    assert list(made.post_processing(frame(), np.zeros(38), is_train=False)) == ["datetime", "value"]


def test_missing_rows_are_dropped_or_refused() -> None:
    holes = frame()
    holes.loc[[3, 20], "value"] = np.nan
    made = TimeSequenceFeatureTransformer()
    x, _ = made.fit_transform(holes, 3)
    assert len(x) == 38 - 3
    with pytest.raises(FeatureError, match="2 of 40 values in column 'value' that are NaN"):
        TimeSequenceFeatureTransformer(drop_missing=False).fit_transform(holes, 3)


def test_save_and_restore(tmp_path: Path) -> None:
    made = fitted()
    made.save(tmp_path / "transformer.json")
    again = TimeSequenceFeatureTransformer().restore(tmp_path / "transformer.json")
    for one, other in zip(made.transform(frame()), again.transform(frame()), strict=True):
        np.testing.assert_array_equal(one, other)  # type: ignore[arg-type]
    assert vars(again).keys() == vars(made).keys()
    with pytest.raises(ArgumentError, match="file_path must not exist"):
        made.save(tmp_path / "transformer.json")
    made.save(tmp_path / "transformer.json", replace=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 1. Received: ('nnframes.TimeSequenceFeatureTransformer', 2)."),
        ({"format": "other"}, "Received: ('other', 1)."),
        ({"transformer": None}, "config must be an object"),
        ({"transformer": {"class": "StandardScaler", "state": {"shift": None, "scale": None}}}, "Received: Standard"),
        ({"transformer": {"class": "TimeSequenceFeatureTransformer", "args": {}, "state": {}}}, "was refused"),
        ({"transformer": {"class": "os.system", "args": {}}}, "class 'os.system' is not known"),
    ],
)
def test_damaged_files(change: dict, message: str, tmp_path: Path) -> None:
    path = tmp_path / "transformer.json"
    fitted().save(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    made = fitted()
    before = dict(vars(made))
    with pytest.raises(ConfigError) as caught:
        made.restore(path)
    assert message in str(caught.value)
    assert vars(made) == before


def test_what_is_no_json(tmp_path: Path) -> None:
    for number, content in enumerate([b"\xff\x00", b"", b"[1]"]):
        (tmp_path / str(number)).write_bytes(content)
        with pytest.raises(ConfigError, match="must be"):
            TimeSequenceFeatureTransformer().restore(tmp_path / str(number))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: TimeSequenceFeatureTransformer(0), ArgumentError, "future_seq_len must be an integer >= 1"),
        (lambda: TimeSequenceFeatureTransformer().transform(frame()), ArgumentError, "must be fitted first"),
        (lambda: TimeSequenceFeatureTransformer().fit_transform(frame(), 0), ArgumentError, "past_seq_len must be"),
        (
            lambda: TimeSequenceFeatureTransformer().fit_transform(frame(), 2, ["X"]),
            ArgumentError,
            "selected_features must",
        ),
        (lambda: TimeSequenceFeatureTransformer(dt_col="x").fit_transform(frame()), ArgumentError, "Received: 'x'"),
        (lambda: fitted().post_processing(frame(), np.zeros(3), True), FeatureError, "expects 35 x 2 x 1 predictions"),
    ],
)
def test_bad_arguments(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)


def test_imputers() -> None:
    df = pd.DataFrame({"name": ["a", None, "c"], "v": [None, 2.0, None], "n": [1, 2, 3]})
    assert LastFillImpute().impute(df)["v"].tolist() == [0, 2, 2]
    assert FillZeroImpute().impute(df)["v"].tolist() == [0, 2, 0]
    assert FillZeroImpute().impute(df)["name"].tolist() == ["a", None, "c"]
    assert df["v"].isna().sum() == 2


@pytest.mark.parametrize(
    ("mode", "wanted"), [("", [4, 1, 2]), ("max", [4, 2]), ("min", [4, 1]), ("sum", [4, 3]), ("mean", [4, 1.5])]
)
def test_times_are_merged(mode: str, wanted: list[float]) -> None:
    times = pd.to_datetime(["2024-01-01 00:00:58", "2024-01-01 00:01:04", "2024-01-01 00:00:01"])
    merged = TimeMergeImputor(10, "t", mode).impute(pd.DataFrame({"t": times, "v": [1.0, 2, 4]}))
    assert merged["v"].tolist() == wanted
    assert merged["t"].dt.strftime("%M:%S").tolist() == ["00:00", "01:00", "01:00"][: len(wanted)]
    with pytest.raises(ArgumentError, match="mode must be one of"):
        TimeMergeImputor(10, "t", "first")
