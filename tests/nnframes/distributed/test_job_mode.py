"""Job mode on a real Spark: the bits of group mode and of one process, whatever is lost on the way."""

from __future__ import annotations

import queue
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
from nnframes.distributed.files import ShardFile
from nnframes.distributed.homes import Homes
from nnframes.distributed.job_mode import CUT, _Follower, choose_mode
from nnframes.distributed.run import materialise
from nnframes.distributed.shards import ShardTask
from nnframes.distributed.store import ShardStore
from nnframes.errors import ArgumentError, DataError, SyncError, TrainingError, UnsupportedError
from nnframes.io.replica_file import load_replica
from nnframes.train import Listener, MaxEpoch, MaxIteration, SerialSync, train
from tests.nnframes.distributed import cluster, killing, networks, softmax
from tests.nnframes.distributed.test_fit import ROWS, SCHEMA, Recorder, left_in, source


@pytest.fixture(scope="module")
def frame(spark):
    return spark.createDataFrame(softmax.rows_of(ROWS), SCHEMA).coalesce(1).cache()


def settings_of(folder: Path, **changes) -> FitSettings:
    values = {"batch_size": 8, "end_when": MaxIteration(8), "shards": 3, "seed": 3, "sync_mode": "job"}
    return FitSettings(**{**values, "cache_folder": str(folder), **changes})


def serial(frame, plan, settings: FitSettings, replica) -> dict:
    """The same training in this process."""
    data = materialise(frame, plan, settings, "serial")
    files = {shard.shard: ShardFile(Path(shard.path)) for shard in data.shards if shard.path}
    pieces = {s: [(files[p.source], p.low, p.high) for p in parts] for s, parts in enumerate(data.pieces)}
    tail = plan.make_tail(plan.settings) if plan.make_tail else None
    told = settings.train(data.summary.rows)
    sync = SerialSync(settings.shards, told.rounding(replica.gradient_size))
    train(replica, ShardStore(pieces, tail, settings.seed), sync, told)
    return {name: np.array(array) for name, array in replica.weights().items()}


@pytest.mark.parametrize("case", networks.CASES)
def test_jobs_and_groups_and_one_process_give_the_same_bits(frame, tmp_path, case):
    make, plan = networks.CASES[case]
    replica = ReplicaSource(load_replica, make())
    expected = serial(frame, plan, settings_of(tmp_path), load_replica(replica.payload, 1))
    before = load_replica(replica.payload, 1).weights()
    assert not softmax.equal(before, expected)
    for changes in ({"max_tasks": 1}, {"max_tasks": 2}, {"sync_mode": "group"}):
        result = fit_on_spark(frame, plan, settings_of(tmp_path, **changes), replica)
        assert softmax.equal(result.weights, expected)
        assert result.mode == changes.get("sync_mode", "job")
        assert result.tasks == changes.get("max_tasks", 2)
        assert result.state.iteration == 8


@pytest.mark.parametrize(
    ("kind", "case"), [("bf16", "several slices"), ("fp16", "batch norm, dropout, class weights, clipping")]
)
def test_compressed_gradients_give_the_same_bits_too(frame, tmp_path, kind, case):
    make, plan = networks.CASES[case]
    replica = ReplicaSource(load_replica, make())
    settings = settings_of(tmp_path, gradient_compression=kind)
    expected = serial(frame, plan, settings, load_replica(replica.payload, 1))
    assert not softmax.equal(expected, serial(frame, plan, settings_of(tmp_path), load_replica(replica.payload, 1)))
    for changes in ({"max_tasks": 1}, {"max_tasks": 2}, {"sync_mode": "group"}):
        result = fit_on_spark(frame, plan, replace(settings, **changes), replica)
        assert softmax.equal(result.weights, expected)


def test_the_lineage_is_cut_and_nothing_is_kept(spark, frame, tmp_path):
    persistent = spark.sparkContext._jsc.getPersistentRDDs().size()
    settings = settings_of(tmp_path, end_when=MaxIteration(CUT + 3))
    result = fit_on_spark(frame, softmax.plan_of(), settings, source(extra=300_000))
    assert softmax.equal(result.weights, serial(frame, softmax.plan_of(), settings, softmax.Softmax(300_000)))
    assert spark.sparkContext._jsc.getPersistentRDDs().size() == persistent
    shutil.rmtree(tmp_path / next(tmp_path.iterdir()).name / "serial")
    assert left_in(tmp_path) == []


def test_more_shards_than_rows_and_iterations_without_rows(spark, tmp_path):
    small = spark.createDataFrame(softmax.rows_of(3), SCHEMA)
    settings = settings_of(tmp_path, shards=7, batch_size=2, end_when=MaxEpoch(2))
    result = fit_on_spark(small, softmax.plan_of(), settings, source())
    assert softmax.equal(result.weights, serial(small, softmax.plan_of(), settings, softmax.Softmax()))


def test_the_listener_hears_every_iteration(frame, tmp_path):
    recorder = Recorder()
    settings = settings_of(tmp_path, end_when=MaxEpoch(2))
    fit_on_spark(frame, softmax.plan_of(), settings, source(), listener=recorder)
    epochs = [[("iteration", 5 * epoch + step + 1) for step in range(5)] + [("epoch", epoch + 1)] for epoch in (0, 1)]
    assert recorder.calls == [("start", ROWS), *epochs[0], *epochs[1], ("end", 10)]


class Losing(Listener):
    """Removes files of shards after an iteration; `pattern` says which."""

    def __init__(self, folder: Path, pattern: str, iteration: int) -> None:
        self.folder, self.pattern, self.iteration = folder, pattern, iteration
        self.lost: list[str] = []

    def on_iteration(self, state):
        if state.iteration == self.iteration:
            for path in list(self.folder.rglob(self.pattern)):
                shutil.rmtree(path)
                self.lost.append(path.name)


@pytest.mark.parametrize("pattern", ["shard-00001-*", "shard-*"])
def test_shards_that_are_missing_are_written_again(frame, tmp_path, pattern):
    settings = settings_of(tmp_path, end_when=MaxIteration(20))
    quiet = fit_on_spark(frame, softmax.plan_of(), settings, source())
    losing = Losing(tmp_path, pattern, 4)
    result = fit_on_spark(frame, softmax.plan_of(), settings, source(), listener=losing)
    assert len(losing.lost) == (1 if "1" in pattern else 3)
    assert softmax.equal(result.weights, quiet.weights)
    assert left_in(tmp_path) == []


def test_rows_that_changed_are_refused_when_they_are_written_again(frame, tmp_path):
    settings, plan = settings_of(tmp_path), softmax.plan_of()
    data = materialise(frame, plan, settings, "first")
    homes = Homes(frame.limit(9), ShardTask("first", plan, str(tmp_path)), data, settings.seed)
    with pytest.raises(DataError, match=r"The DataFrame must give the same rows whenever it is evaluated. Received: "):
        homes.write([0, 1, 2])


def test_a_worker_that_dies_is_replaced_even_where_spark_does_not(frame, tmp_path):
    fault = {"kind": "die", "shard": 1, "iteration": 3, "once": str(tmp_path / "died")}
    settings = settings_of(tmp_path / "cache")
    result = fit_on_spark(frame, softmax.plan_of(), settings, source(fault=fault))
    assert (tmp_path / "died").exists()
    assert softmax.equal(result.weights, fit_on_spark(frame, softmax.plan_of(), settings, source()).weights)


FAULTS = [
    ("raise", TrainingError, r"^Training failed on task 1 of 2 on \S+ in iteration 4: ValueError: this network has a"),
    ("nan", TrainingError, r"^The loss must stay finite. Received: nan at iteration 4 \(epoch 1\)"),
    ("inf", TrainingError, r"^The gradient must stay finite. Received: inf at iteration 4 \(epoch 1\)"),
    ("die", SyncError, r"^Training failed: iteration 4 was tried 4 times, and each time a worker ended without a word"),
    ("hang", SyncError, r"^Iteration 4 must end within [\d.]+ s. Received: no end. Hint: a task hangs"),
]


@pytest.mark.parametrize(("kind", "error", "message"), FAULTS)
def test_what_fails_is_named_and_nothing_stays(spark, frame, tmp_path, kind, error, message):
    fault = {"kind": kind, "shard": 1, "iteration": 3, "seconds": 60}
    impatient = {"deadline": 0.1, "arrival_timeout": 5.0} if kind == "hang" else {}
    with pytest.raises(error, match=message):
        fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, shards=2, **impatient), source(fault=fault))
    assert left_in(tmp_path) == []
    assert not spark.sparkContext.statusTracker().getActiveJobsIds()


def test_no_slot_at_all_is_told(spark, tmp_path):
    follower = _Follower(spark, settings_of(tmp_path, arrival_timeout=0.5), Listener())
    with pytest.raises(SyncError, match=r"A training task must start within 0.5 s. Received: none in iteration 1"):
        follower.follow(queue.Queue())


def test_a_failing_listener_ends_the_fit(spark, frame, tmp_path):
    class Failing(Listener):
        def on_iteration(self, state):
            raise KeyboardInterrupt

    settings = settings_of(tmp_path, end_when=MaxEpoch(10**6))
    with pytest.raises(KeyboardInterrupt):
        fit_on_spark(frame, softmax.plan_of(), settings, source(), listener=Failing())
    assert left_in(tmp_path) == []
    assert not spark.sparkContext.statusTracker().getActiveJobsIds()


def test_the_mode_follows_setting_and_cluster(spark, frame, tmp_path, caplog):
    assert choose_mode(spark, settings_of(tmp_path)) == ("job", "it was asked for")
    caplog.set_level("INFO", "nnframes")
    result = fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, sync_mode="auto"), source())
    assert result.mode == "group"
    assert "Training in group mode: 2 task slots stay for the whole training." in caplog.messages
    with pytest.raises(ArgumentError, match=r"FitSettings sync_mode must be one of auto, group, job. Received: 'ring'"):
        settings_of(tmp_path, sync_mode="ring")


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize("dynamic", [False, True])
def test_executors_that_are_killed_do_not_show(spark, spawn, tmp_path, dynamic):
    settings = settings_of(tmp_path / "own", end_when=MaxIteration(killing.ITERATIONS), sync_mode="group")
    frame = cluster.frame_of(spark)
    expected = fit_on_spark(frame, softmax.plan_of(), settings, source(extra=killing.EXTRA)).weights
    found = spawn(killing.by_jobs, str(tmp_path), dynamic, timeout=300)
    assert found["mode"] == "job"
    assert len(found["killed"]) == 2
    assert found["weights"] == cluster.digest(expected)
    assert found["left"] == []


@pytest.mark.parametrize(("asked", "expected"), [("auto", "group"), ("group", "group"), ("job", None)])
def test_validation_and_snapshots_are_for_a_gang(spark, asked, expected):
    settings = FitSettings(8, MaxEpoch(1), 2, sync_mode=asked)
    if expected is None:
        with pytest.raises(UnsupportedError, match=r"'job' trains without validation, snapshots.*Hint: use 'group'"):
            choose_mode(spark, settings, milestones=True)
    else:
        assert choose_mode(spark, settings, milestones=True)[0] == expected
