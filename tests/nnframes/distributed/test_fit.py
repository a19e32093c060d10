"""Training on a real Spark: the same bits whatever the placement, right errors, nothing left behind."""

from __future__ import annotations

import json
import queue
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import functions as F

from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
from nnframes.distributed.cache import fit_folder
from nnframes.distributed.files import ShardFile
from nnframes.distributed.jobs import SparkJob
from nnframes.distributed.run import materialise
from nnframes.distributed.store import ShardStore
from nnframes.errors import ColumnError, DataError, SyncError, TrainingError
from nnframes.train import Listener, MaxEpoch, MaxIteration, SerialSync, TrainSettings, train
from tests.nnframes.distributed import softmax

ROWS = 37
SCHEMA = "features array<float>, label double"


@pytest.fixture(scope="module")
def frame(spark):
    return spark.createDataFrame(softmax.rows_of(ROWS), SCHEMA).coalesce(1).cache()


def source(**settings) -> ReplicaSource:
    return ReplicaSource(softmax.load, json.dumps(settings).encode())


def settings_of(folder: Path, **changes) -> FitSettings:
    values = {"batch_size": 8, "end_when": MaxEpoch(2), "shards": 2, "seed": 3, "cache_folder": str(folder)}
    return FitSettings(**{**values, **changes})


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.parent != folder)


def serial(frame, settings: FitSettings, plan=None, extra: int = 0) -> dict[str, np.ndarray]:
    """The same training in this process, over the files of the same first job."""
    plan = plan or softmax.plan_of()
    data = materialise(frame, plan, settings, "serial")
    files = {shard.shard: ShardFile(Path(shard.path)) for shard in data.shards if shard.path}
    pieces = {
        shard: [(files[piece.source], piece.low, piece.high) for piece in parts]
        for shard, parts in enumerate(data.pieces)
    }
    tail = plan.make_tail(plan.settings) if plan.make_tail else None
    replica = softmax.Softmax(extra)
    train_settings = TrainSettings(
        data.summary.rows, settings.batch_size, settings.end_when, settings.shards, settings.seed
    )
    store = ShardStore(pieces, tail, settings.seed)
    train(replica, store, SerialSync(settings.shards), train_settings)
    return replica.state()


@pytest.mark.parametrize(("shards", "extra"), [(1, 0), (2, 0), (3, 200_000), (4, 0)])
def test_one_two_or_no_tasks_give_the_same_bits(frame, tmp_path, shards, extra):
    settings = settings_of(tmp_path, shards=shards)
    expected = serial(frame, settings, extra=extra)
    for tasks in {1, min(2, shards)}:
        result = fit_on_spark(
            frame, softmax.plan_of(), settings_of(tmp_path, shards=shards, max_tasks=tasks), source(extra=extra)
        )
        assert result.tasks == tasks
        assert softmax.equal(result.weights, expected)
        assert (result.state.epoch, result.state.records) == (2, 2 * ROWS)
    assert not np.array_equal(expected["weights"], softmax.Softmax(extra).parameters)


def test_partitioning_and_order_of_the_input_do_not_show(frame, tmp_path):
    expected = serial(frame, settings_of(tmp_path))
    arrangements = [frame.repartition(3), frame.repartition(7).orderBy(F.rand(1)), frame.orderBy("label", "features")]
    for arranged in arrangements:
        result = fit_on_spark(arranged, softmax.plan_of(), settings_of(tmp_path), source())
        assert softmax.equal(result.weights, expected)
    other = fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, seed=4), source())
    assert not softmax.equal(other.weights, expected)


def test_random_tails_on_samples_of_many_shapes_repeat(frame, tmp_path):
    settings = settings_of(tmp_path, shards=3)
    expected = serial(frame, settings, softmax.RAGGED)
    result = fit_on_spark(frame.repartition(5), softmax.RAGGED, settings, source())
    assert softmax.equal(result.weights, expected)
    assert result.data.shapes == (((1,), (2,), (3,)),)


def test_before_spark_4_1_the_bits_are_the_same(frame, tmp_path, monkeypatch):
    expected = fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, shards=4), source())
    for owner in ("pyspark.sql.classic.dataframe.DataFrame", "pyspark.sql.DataFrame"):
        monkeypatch.delattr(f"{owner}.repartitionById")
    result = fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, shards=4), source())
    assert softmax.equal(result.weights, expected.weights)
    assert result.data == expected.data


def test_more_shards_than_rows(spark, tmp_path):
    small = spark.createDataFrame(softmax.rows_of(3), SCHEMA)
    settings = settings_of(tmp_path, shards=7, batch_size=2)
    result = fit_on_spark(small, softmax.plan_of(), settings, source())
    assert result.data.rows_per_shard == (1, 1, 1, 0, 0, 0, 0)
    assert softmax.equal(result.weights, serial(small, settings))


def test_equal_rows_are_spread_over_the_shards(spark, tmp_path):
    same = spark.createDataFrame(softmax.rows_of(1) * 10, SCHEMA)
    result = fit_on_spark(same, softmax.plan_of(), settings_of(tmp_path, shards=3), source())
    assert result.data.rows_per_shard == (4, 3, 3)


def test_vectors_and_odd_column_names(frame, tmp_path):
    from pyspark.ml.functions import array_to_vector

    vectors = frame.withColumn("features", array_to_vector(frame.features.cast("array<double>")))
    expected = fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path), source())
    result = fit_on_spark(vectors, softmax.plan_of(), settings_of(tmp_path), source())
    assert softmax.equal(result.weights, expected.weights)


def test_a_large_payload_travels_as_a_file(frame, tmp_path):
    payload = source(extra=10).payload
    large = ReplicaSource(softmax.load, payload + b" " * (2 << 20))
    settings = settings_of(tmp_path, end_when=MaxIteration(2))
    small = fit_on_spark(frame, softmax.plan_of(), settings, ReplicaSource(softmax.load, payload))
    assert softmax.equal(fit_on_spark(frame, softmax.plan_of(), settings, large).weights, small.weights)


class Recorder(Listener):
    def __init__(self):
        self.calls = []

    def on_start(self, settings, state):
        self.calls.append(("start", settings.rows))

    def on_iteration(self, state):
        self.calls.append(("iteration", state.iteration))

    def on_epoch(self, state):
        self.calls.append(("epoch", state.epoch))

    def on_end(self, state):
        self.calls.append(("end", state.iteration))


def test_the_listener_hears_every_iteration_on_the_driver(frame, tmp_path):
    recorder = Recorder()
    fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path), source(), listener=recorder)
    epochs = [[("iteration", 5 * epoch + step + 1) for step in range(5)] + [("epoch", epoch + 1)] for epoch in (0, 1)]
    assert recorder.calls == [("start", ROWS), *epochs[0], *epochs[1], ("end", 10)]


def test_the_check_sees_what_the_data_holds(frame, tmp_path):
    seen = []

    def check(summary):
        seen.append(summary)
        raise DataError("enough")

    with pytest.raises(DataError, match="enough"):
        fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path), source(), check=check)
    assert (seen[0].rows, seen[0].target_min, seen[0].target_max, seen[0].nan_inputs) == (ROWS, 0.0, 2.0, 0)
    assert seen[0].shapes == (((softmax.FEATURES,),),)
    assert sum(seen[0].rows_per_shard) == ROWS
    assert left_in(tmp_path) == []


BAD = [
    ("null", "Columns to train on must not hold nulls. Received: rows with nulls: 1 in 'features', 1 in 'label'"),
    ("bad", r"Every row must give a sample. Received: \d+ that do not: row with label=1.0, hash=-?\d+: label 1 is bad"),
    ("empty", "The DataFrame must have at least one row. Received: none"),
]


@pytest.mark.parametrize(("kind", "message"), BAD)
def test_rows_without_samples_are_refused_or_dropped(spark, frame, tmp_path, kind, message):
    holed = spark.createDataFrame([([1.0, None] + [0.0] * 4, 0.0), ([0.0] * 6, None)], SCHEMA)
    given = {"null": frame.union(holed), "bad": frame, "empty": frame.limit(0)}[kind]
    bad = {"bad": 1} if kind == "bad" else {}
    with pytest.raises(DataError, match=message):
        fit_on_spark(given, softmax.plan_of(**bad), settings_of(tmp_path), source())
    assert left_in(tmp_path) == []
    if kind != "empty":
        result = fit_on_spark(given, softmax.plan_of(on_error="drop", **bad), settings_of(tmp_path), source())
        dropped = 2 if kind == "null" else frame.filter("label = 1").count()
        assert (result.data.dropped, result.data.rows) == (dropped, ROWS + 2 * (kind == "null") - dropped)


def test_columns_that_do_not_work_are_named(spark, frame, tmp_path):
    with pytest.raises(ColumnError, match=r"Column 'label' must exist. Received: features"):
        fit_on_spark(frame.select("features"), softmax.plan_of(), settings_of(tmp_path), source())
    maps = frame.withColumn("label", F.create_map(F.lit(1), F.lit(2)))
    with pytest.raises(ColumnError, match="Column 'label' must hold numbers"):
        fit_on_spark(maps, softmax.plan_of(), settings_of(tmp_path), source())


def test_a_fault_in_the_preprocessing_is_told_without_java(frame, tmp_path):
    with pytest.raises(
        TrainingError, match=r"^Preparing the data failed in a task: ValueError: this head has a fault$"
    ):
        fit_on_spark(frame, softmax.plan_of(crash=True), settings_of(tmp_path), source())
    assert left_in(tmp_path) == []


FAULTS = [
    ("raise", TrainingError, r"^Training failed on rank 1 of 2 on \S+: ValueError: this network has a fault$"),
    (
        "die",
        SyncError,
        r"^Training failed on rank 1 of 2 on \S+: its process ended without a word. Hint: it was killed",
    ),
    (
        "hang",
        SyncError,
        r"^Training failed on rank 0 of 2 on \S+: Rank 0 waited 1 s to receive from rank 1 on",
    ),
]


@pytest.mark.parametrize(("kind", "error", "message"), FAULTS)
def test_a_rank_that_fails_is_named_and_nothing_stays(frame, tmp_path, kind, error, message):
    fault = {"kind": kind, "shard": 1, "iteration": 3, "seconds": 3}
    settings = settings_of(tmp_path, deadline=1.0 if kind == "hang" else 60.0)
    with pytest.raises(error, match=message):
        fit_on_spark(frame, softmax.plan_of(), settings, source(fault=fault))
    assert left_in(tmp_path) == []
    again = fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path), source())
    assert again.state.epoch == 2


def own_sockets_and_threads() -> tuple[int, list[str]]:
    links = [str(path.readlink()) for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
    threads = [thread.name for thread in threading.enumerate() if thread.name.startswith("nnframes")]
    return sum(link.startswith("socket:") for link in links), threads


def test_the_driver_keeps_no_socket_and_no_thread(frame, tmp_path):
    fault = {"kind": "raise", "shard": 1, "iteration": 1}

    def fits():
        fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path), source())
        with pytest.raises(TrainingError):
            fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path), source(fault=fault))

    fits()
    before = own_sockets_and_threads()[0]
    fits()
    end = time.monotonic() + 20
    while own_sockets_and_threads() > (before, []) and time.monotonic() < end:
        threading.Event().wait(0.05)  # threads end once their connections have
    sockets, threads = own_sockets_and_threads()
    assert sockets <= before
    assert threads == []


def test_too_few_slots_are_told_and_those_that_are_there_taken(frame, tmp_path, monkeypatch, caplog):
    expected = fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, shards=3), source())
    monkeypatch.setattr("nnframes.distributed.group.free_slots", lambda spark: 3)
    found = fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, shards=3, arrival_timeout=4.0), source())
    message = "All 3 training tasks must run at once. Received: 2 of 3 within 4 s of the last one. Hint"
    assert message in caplog.text
    assert (found.tasks, expected.tasks) == (2, 2)
    assert softmax.equal(found.weights, expected.weights)


def test_slots_that_never_come_are_told_with_the_cure(frame, tmp_path, monkeypatch):
    monkeypatch.setattr("nnframes.distributed.group.free_slots", lambda spark: 3)
    monkeypatch.setattr("nnframes.distributed.group.ARRIVALS", 1)
    message = "All 3 training tasks must run at once. Received: 2 of 3 within 2 s of the last one. Hint"
    with pytest.raises(SyncError, match=message):
        fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, shards=3, arrival_timeout=2.0), source())
    assert left_in(tmp_path) == []


def test_a_failing_listener_ends_the_fit(frame, tmp_path):
    class Failing(Listener):
        def on_iteration(self, state):
            raise KeyboardInterrupt

        def on_end(self, state):
            ended.append(state.iteration)

    ended = []
    with pytest.raises(KeyboardInterrupt):
        fit_on_spark(
            frame, softmax.plan_of(), settings_of(tmp_path, end_when=MaxEpoch(10**6)), source(), listener=Failing()
        )
    assert ended == [1]
    assert left_in(tmp_path) == []


def test_a_fit_sweeps_what_dead_ones_left_and_spares_live_ones(frame, tmp_path):
    live, dead = fit_folder(tmp_path, "live"), fit_folder(tmp_path, "dead")
    host = next((dead / "owners").iterdir()).name.rsplit(":", 2)[0]
    for owner in (dead / "owners").iterdir():
        owner.unlink()
    (dead / "owners" / f"{host}:4194303:17").touch()
    fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, end_when=MaxIteration(1)), source())
    assert live.is_dir()
    assert not dead.exists()


def test_a_job_that_takes_too_long_is_left_and_cancelled(spark):
    endless = spark.range(10**15).selectExpr("sum(id % 7)")
    job = SparkJob(spark, endless.collect)
    with pytest.raises(queue.Empty):
        job.result(timeout=1.0)
    value, error = job.ends.get(timeout=30)
    assert value is None
    assert "cancel" in str(error).lower()
