"""Windows of time series as rows: real taxi rides of New York, and tables of what goes wrong."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from pyspark.errors import PythonException
from pyspark.sql import functions as F

from featurelib.series import MinMaxScaler, StandardScaler, TSDataset
from nnframes import NNEstimator
from nnframes.errors import ArgumentError, ColumnError
from nnframes.nn import Linear, MSECriterion, ReLU, Reshape, Sequential
from nnframes.optim import Adam
from nnframes.spark.series import series_windows

LOOKBACK = 12


@pytest.fixture(scope="module")
def rides(data_dir):
    """Rides in each half hour, as two series: the first and the last half of the year."""
    df = pd.read_csv(data_dir / "nyc-taxi" / "nyc_taxi.csv", parse_dates=["timestamp"])
    return df.assign(half=np.where(np.arange(len(df)) < len(df) // 2, "first", "last"))


@pytest.fixture(scope="module")
def frame(spark, rides):
    return spark.createDataFrame(rides.sample(frac=1, random_state=1)).repartition(4)


def prepared(data):
    return data.resample("1h", "sum").gen_dt_feature(["HOUR"], cyclic=True)


def test_windows_are_those_of_each_series_alone(frame, rides):
    found = series_windows(frame, "timestamp", "value", LOOKBACK, 2, "half", prepare=prepared)
    assert found.columns == ["half", "timestamp", "features", "label"]
    collected = found.orderBy("half", "timestamp").toPandas()
    for name in ("first", "last"):
        alone = TSDataset.from_pandas(rides[rides["half"] == name], "timestamp", "value")
        wanted = prepared(alone).roll(LOOKBACK, 2).to_rows()
        rows = collected[collected["half"] == name]
        assert rows["timestamp"].tolist() == wanted["timestamp"].tolist()
        for column in ("features", "label"):
            np.testing.assert_array_equal(np.stack(rows[column]), np.stack(wanted[column]))


def test_one_series_without_an_id_and_windows_without_a_future(frame):
    rows = series_windows(frame, "timestamp", "value", 48, 0)
    assert rows.columns == ["timestamp", "features", "label"]
    newest = rows.orderBy(F.desc("timestamp")).first()
    assert (rows.count(), len(newest.features), newest.label) == (10320 - 47, 48, [])


def test_the_hour_that_comes_twice_in_autumn_is_two(spark):
    hours = spark.range(49).select(F.timestamp_seconds(1729900800 + 3600 * F.col("id")).alias("at.time"), "id")
    zone = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", "Europe/Berlin")
    try:
        rows = series_windows(hours, "at.time", "id", 2, 1, prepare=lambda data: data.gen_dt_feature(["HOUR"]))
        found = rows.select(F.unix_seconds("`at.time`").alias("s"), "features", "label").orderBy("s").collect()
    finally:
        spark.conf.set("spark.sql.session.timeZone", zone)
    assert [row.s for row in found] == [1729900800 + 3600 * hour for hour in range(1, 48)]
    assert [row.label for row in found] == [[hour + 1.0] for hour in range(1, 48)]
    # 2024-10-26 00:00 UTC is 2 o'clock in Berlin; clocks go back a day later, at 1 o'clock UTC.
    assert [row.features[3] for row in found[:3]] == [3.0, 4.0, 5.0]
    assert [row.features[3] for row in found[22:27]] == [1.0, 2.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("arrow", ["true", "false"])
def test_rows_of_a_dataset_become_a_dataframe(arrow, spark, rides):
    data = TSDataset.from_pandas(rides[:100], "timestamp", "value", id_col="half").roll(LOOKBACK, 1)
    spark.conf.set("spark.sql.execution.arrow.pyspark.enabled", arrow)
    try:
        rows = spark.createDataFrame(
            data.to_rows(), "half string, timestamp timestamp, features array<float>, label array<float>"
        ).collect()
    finally:
        spark.conf.unset("spark.sql.execution.arrow.pyspark.enabled")
    x, y = data.to_numpy()
    np.testing.assert_array_equal([row.features for row in rows], x[..., 0])
    np.testing.assert_array_equal([row.label for row in rows], y[..., 0])


def network():
    layers = [Reshape([LOOKBACK * 3]), Linear(LOOKBACK * 3, 32), ReLU(), Linear(32, 1)]
    model = Sequential()
    for layer in layers:
        model.add(layer)
    return model


@pytest.mark.slow
def test_rides_are_forecast_better_than_by_the_last_hour(spark, rides):
    train, _, test = TSDataset.from_pandas(
        rides, "timestamp", "value", with_split=True, test_ratio=0.2, largest_look_back=2 * LOOKBACK
    )
    train, scaler = prepared(train), StandardScaler()
    train.scale(scaler)

    def windows(part):
        rows = spark.createDataFrame(part.to_pandas()[["timestamp", "value"]])
        return series_windows(
            rows, "timestamp", "value", LOOKBACK, 1, prepare=lambda data: prepared(data).scale(scaler, fit=False)
        ).cache()

    estimator = NNEstimator(network(), MSECriterion(), [LOOKBACK, 3], [1]).setOptimMethod(Adam(0.01)).setSeed(3)
    model = estimator.setBatchSize(64).setMaxEpoch(12).setNumShards(2).setShowProgress(False).fit(windows(train))

    scored = model.transform(windows(test)).select("features", "label", "prediction").toPandas()
    label = np.stack(scored["label"])[:, 0]
    last = np.stack(scored["features"])[:, -3]  # value, HOUR_SIN, HOUR_COS of the newest hour
    error = np.mean((np.stack(scored["prediction"])[:, 0] - label) ** 2)
    assert error < 0.5 * np.mean((last - label) ** 2)


def test_short_series_give_no_rows(spark):
    rows = [("long", f"2024-01-0{day}", float(day)) for day in range(1, 8)] + [("short", "2024-01-01", 1.0)]
    frame = spark.createDataFrame(rows, "id string, day string, v double").withColumn("day", F.to_date("day"))
    found = series_windows(frame, "day", "v", 3, 1, "id").orderBy("day").collect()
    assert [(row.id, row.day.day, row.label) for row in found] == [("long", day, [day + 1.0]) for day in (3, 4, 5, 6)]


def test_a_series_that_fails_is_named(spark):
    rows = [("a", "2024-01-01", 1.0), ("b", "2024-01-01", None), ("b", "2024-01-02", 2.0)]
    frame = spark.createDataFrame(rows, "id string, day string, v double")
    with pytest.raises(PythonException, match="series 'b' has 1 of 2 values in column 'v' that are NaN"):
        series_windows(frame, "day", "v", 1, 1, "id").collect()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"dt_col": "when"}, ColumnError, "Column 'when' must exist once. Received the columns: id, day, v"),
        ({"dt_col": "v"}, ColumnError, "Column 'v' must be a timestamp, a date or text of one. Received: double"),
        ({"target_col": "id"}, ColumnError, "Column 'id' must be a number. Received: string."),
        ({"extra_feature_col": ["w"]}, ColumnError, "Column 'w' must exist once"),
        ({"id_col": "label"}, ColumnError, "Column 'label' must have another name"),
        ({"lookback": 0}, ArgumentError, "lookback must be an integer >= 1"),
        ({"horizon": []}, ArgumentError, "horizon must be an integer >= 0 or a list"),
        ({"prepare": MinMaxScaler()}, ArgumentError, "prepare must be a function of a TSDataset"),
        ({"df": pd.DataFrame()}, ArgumentError, "series_windows must be given a Spark DataFrame"),
    ],
)
def test_bad_arguments(arguments, error, message, spark):
    frame = spark.createDataFrame([("a", "2024-01-01", 1.0, 1)], "id string, day string, v double, label int")
    given = {"df": frame, "dt_col": "day", "target_col": "v", "lookback": 1, "horizon": 1, **arguments}
    with pytest.raises(error) as caught:
        series_windows(**given)
    assert message in str(caught.value)
