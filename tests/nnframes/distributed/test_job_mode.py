"""Job mode on a real Spark: the bits of group mode and of one process, whatever is lost on the way."""

from __future__ import annotations

import hashlib
import queue
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnframes.distributed import FitSettings, ReplicaSource, fit_on_spark
from nnframes.distributed.cache import CacheLevel
from nnframes.distributed.files import ShardFile
from nnframes.distributed.homes import Homes
from nnframes.distributed.job_mode import choose_mode
from nnframes.distributed.job_sync import CUT
from nnframes.distributed.job_watch import Follower
from nnframes.distributed.run import materialise
from nnframes.distributed.shards import ShardTask
from nnframes.distributed.store import ShardStore
from nnframes.errors import ArgumentError, DataError, SyncError, TrainingError
from nnframes.io.checkpoint import CheckpointStore
from nnframes.io.replica_file import load_replica, replica_bytes
from nnframes.nn import Linear, MSECriterion, Sequential
from nnframes.optim import SGD
from nnframes.train import (
    MSE,
    EarlyStopping,
    Listener,
    Loss,
    MaxEpoch,
    MaxIteration,
    MaxScore,
    SerialSync,
    SeveralIteration,
    Top1Accuracy,
    TrainState,
    train,
)
from tests.nnframes.distributed import cluster, killing, networks, softmax
from tests.nnframes.distributed.test_fit import ROWS, SCHEMA, Recorder, left_in, source


@pytest.fixture(scope="module")
def frame(spark):
    return spark.createDataFrame(softmax.rows_of(ROWS), SCHEMA).coalesce(1).cache()


DIRECT = CacheLevel.of("DIRECT")
"""Files of one epoch: of 5 iterations, so that the second begins with the sixth."""


def in_full(*values):
    """A case of a fault that `make faults` alone tries."""
    return pytest.param(*values, marks=[pytest.mark.slow, pytest.mark.faults])


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


class Heard(Listener):
    """All that a listener is told, in order."""

    def __init__(self) -> None:
        self.calls: list = []

    def on_iteration(self, state):
        self.calls.append(state)

    def on_epoch(self, state):
        self.calls.append(("epoch", state))

    def on_validation(self, state, validation):
        self.calls.append((state, validation))

    def on_histograms(self, state, histograms):
        self.calls.append((state, dict(histograms)))


def snapshots_in(folder: Path) -> dict[str, str]:
    """The SHA-256 of all files, and the folders that they lie in."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}


@pytest.mark.parametrize("case", networks.CASES)
def test_jobs_and_groups_and_one_process_give_the_same_bits(frame, tmp_path, case):
    """Weights, validations, snapshots, histograms and all that a listener hears, in order."""
    make, plan = networks.CASES[case]
    replica, found = ReplicaSource(load_replica, make()), []
    expected = serial(frame, plan, settings_of(tmp_path / "cache"), load_replica(replica.payload, 1))
    before = load_replica(replica.payload, 1).weights()
    assert not softmax.equal(before, expected)
    methods = [MSE()] if case == "augmentation" else [Loss(), Top1Accuracy()]
    for number, changes in enumerate(
        ({"max_tasks": 1}, {"max_tasks": 2, "cache_level": DIRECT}, {"sync_mode": "group"})
    ):
        heard, path, settings = Heard(), tmp_path / f"snapshots {number}", settings_of(tmp_path / "cache", **changes)
        more = {"histograms": SeveralIteration(4), "identity": {"network": case}}
        course = softmax.course_of(frame, path, 2, validate=3, methods=methods, plan=plan, **more)
        result = fit_on_spark(frame, plan, settings, replica, listener=heard, course=course)
        assert softmax.equal(result.weights, expected)
        assert result.mode == changes.get("sync_mode", "job")
        assert result.tasks == changes.get("max_tasks", 2)
        assert result.state.iteration == 8
        found.append((result.history, result.state, heard.calls, snapshots_in(path)))
    assert found[0] == found[1] == found[2]
    history, _, calls, snapshots = found[0]
    assert [one.iteration for one in history] == [3, 6]
    assert len(snapshots) == 2 * len([2, 4, 6, 8])
    assert len(calls) == 8 + 1 + 2 + 2
    shutil.rmtree(tmp_path / "cache" / next((tmp_path / "cache").iterdir()).name / "serial")
    assert left_in(tmp_path / "cache") == []


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


@pytest.mark.parametrize(
    ("pattern", "iteration", "level"),
    [("shard-00001-*", 4, CacheLevel()), ("shard-*", 4, CacheLevel()), in_full("shard-*", 7, DIRECT)],
)
def test_shards_that_are_missing_are_written_again(frame, tmp_path, pattern, iteration, level):
    settings = settings_of(tmp_path / "cache", end_when=MaxIteration(9))
    course = softmax.course_of(frame, tmp_path / "snapshots", 6)
    quiet = fit_on_spark(frame, softmax.plan_of(), settings, source(), course=course)
    losing, settings = Losing(tmp_path, pattern, iteration), replace(settings, cache_level=level)
    result = fit_on_spark(frame, softmax.plan_of(), settings, source(), listener=losing, course=course)
    assert len(losing.lost) == (2 if "1" in pattern else 6)
    assert killing.told(result) == killing.told(quiet)
    assert left_in(tmp_path / "cache") == []


def test_rows_that_changed_are_refused_when_they_are_written_again(frame, tmp_path):
    settings, plan = settings_of(tmp_path), softmax.plan_of()
    data = materialise(frame, plan, settings, "first")
    homes = Homes(frame.limit(9), ShardTask("first", plan, str(tmp_path)), data, settings.seed, "Validation")
    with pytest.raises(
        DataError, match=r"^Validation: The DataFrame must give the same rows whenever it is evaluated. Received: "
    ):
        homes.write([0, 1, 2])


@pytest.mark.parametrize(
    ("shard", "iteration", "level"),
    [(1, 3, CacheLevel()), ("validation", None, CacheLevel()), in_full(1, 5, DIRECT), in_full(1, 7, DIRECT)],
)
def test_a_worker_that_dies_is_replaced_even_where_spark_does_not(frame, tmp_path, shard, iteration, level):
    fault = {"kind": "die", "shard": shard, "iteration": iteration, "once": str(tmp_path / "died")}
    settings, course = settings_of(tmp_path / "cache"), softmax.course_of(frame, tmp_path / "snapshots", 4)
    hard = replace(settings, cache_level=level)
    result = fit_on_spark(frame, softmax.plan_of(), hard, source(fault=fault), course=course)
    assert (tmp_path / "died").exists()
    quiet = fit_on_spark(frame, softmax.plan_of(), settings, source(), course=course)
    assert killing.told(result) == killing.told(quiet)


FAULTS = [
    ("raise", TrainingError, r"^Training failed on task 1 of 2 on \S+ in iteration 4: ValueError: this network has a"),
    (
        "raise validation",
        TrainingError,
        r"^Training failed on task 0 of 2 on \S+ in the validation after iteration 2: ",
    ),
    ("nan", TrainingError, r"^The loss must stay finite. Received: nan at iteration 4 \(epoch 1\)"),
    ("inf", TrainingError, r"^The gradient must stay finite. Received: inf at iteration 4 \(epoch 1\)"),
    ("die", SyncError, r"^Training failed: iteration 4 was tried 4 times, and each time a worker ended without a word"),
    ("hang", SyncError, r"^Iteration 4 must end within [\d.]+ s. Received: no end. Hint: a task hangs"),
]


@pytest.mark.parametrize("mode", ["job", "group"])
def test_a_loss_that_is_not_finite_names_iteration_and_layer(frame, tmp_path, mode):
    network = Sequential().add(Linear(6, 8)).add(Linear(8, 1))
    # The second loss overflows.
    replica = ReplicaSource(load_replica, replica_bytes(network, MSECriterion(), SGD(1e30), [], seed=3))
    words = (
        r"The loss must stay finite. Received: (inf|nan) \(nor is the gradient of '\S*linear_\d+\.(weight|bias)'.*\)"
    )
    with pytest.raises(TrainingError, match=rf"{words} at iteration 2 \(epoch 1\)"):
        fit_on_spark(frame, softmax.plan_of(), settings_of(tmp_path, sync_mode=mode), replica)
    assert left_in(tmp_path) == []


@pytest.mark.parametrize(("kind", "error", "message"), FAULTS)
def test_what_fails_is_named_and_nothing_stays(spark, frame, tmp_path, kind, error, message):
    kind, _, validation = kind.partition(" ")
    place = {"shard": "validation", "iteration": None} if validation else {"shard": 1, "iteration": 3}
    fault, course = {"kind": kind, "seconds": 60, **place}, softmax.course_of(frame, tmp_path / "snapshots", 2)
    impatient = {"deadline": 0.1, "arrival_timeout": 5.0} if kind == "hang" else {}
    settings = settings_of(tmp_path / "cache", shards=2, **impatient)
    with pytest.raises(error, match=message):
        fit_on_spark(frame, softmax.plan_of(), settings, source(fault=fault), course=course if validation else None)
    assert left_in(tmp_path / "cache") == []
    assert not spark.sparkContext.statusTracker().getActiveJobsIds()


def test_no_slot_at_all_is_told(spark, tmp_path):
    follower = Follower(spark, settings_of(tmp_path, arrival_timeout=0.5), lambda: "iteration 1", TrainState())
    with pytest.raises(SyncError, match=r"A training task must start within 0.5 s. Received: none in iteration 1"):
        follower.follow(queue.Queue(), Listener())


def small_results(folder: str) -> dict[str, str]:
    """What fits say, in a Spark of a fresh process, whose weights are more than the driver takes."""
    said = {}
    frame_of, settings = cluster.frame_of, {"spark.driver.maxResultSize": "1m"}
    with cluster.own_spark("local[2]", folder, settings) as spark:
        for mode in ("job", "group"):
            told = settings_of(Path(folder, "cache"), sync_mode=mode, shards=2)
            try:
                fit_on_spark(frame_of(spark), softmax.plan_of(), told, source(extra=400_000))
            except TrainingError as error:
                said[mode] = str(error)
    return said


@pytest.mark.slow
@pytest.mark.faults
def test_weights_that_the_driver_does_not_take_are_told_with_the_cure(spawn, tmp_path):
    said = spawn(small_results, str(tmp_path), timeout=180)
    for mode in ("job", "group"):
        assert re.match(
            r"^(The t|T)raining (job )?failed: \S+: .*maxResultSize.* Hint: set spark.driver.maxR", said[mode]
        )


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
    auto = settings_of(tmp_path, sync_mode="auto", cache_level=DIRECT)
    result = fit_on_spark(frame, softmax.plan_of(), auto, source())
    assert (result.mode, result.reason) == ("group", "2 task slots stay for the whole training")
    assert "Training in group mode: 2 task slots stay for the whole training." in caplog.messages
    with pytest.raises(ArgumentError, match=r"FitSettings sync_mode must be one of auto, group, job. Received: 'ring'"):
        settings_of(tmp_path, sync_mode="ring")


# ---------------------------------------------------------------- validation, snapshots, early stopping


@pytest.mark.parametrize(
    "modes", [("group", "job"), ("job", "group"), ("job", "job"), ("direct", "direct")], ids=" then ".join
)
def test_a_run_goes_on_in_another_mode_and_stops_with_the_best_weights(frame, tmp_path, modes):
    """The first validation stays the best: it lies before the snapshot, the stop behind it."""
    make, plan = networks.CASES["batch norm, dropout, class weights, clipping"]
    replica, told = ReplicaSource(load_replica, make()), {}

    def fitted(mode: str, end: int, path: str, **changes):
        stopping = EarlyStopping("Loss", patience=3, min_delta=100.0)
        course = softmax.course_of(
            frame, tmp_path / path, 3, validate=2, plan=plan, stopping=stopping, is_overwrite=True, **changes
        )
        how = {"sync_mode": "job", "cache_level": DIRECT} if mode == "direct" else {"sync_mode": mode}
        settings = settings_of(tmp_path / "cache", end_when=MaxIteration(end), **how)
        return fit_on_spark(frame, plan, settings, replica, course=course)

    whole = fitted("group", 99, "whole")
    assert (whole.state.iteration, [one.iteration for one in whole.history]) == (8, [2, 4, 6, 8])
    best = fitted(modes[0], 2, "best")
    first = fitted(modes[0], 7, "parts")
    assert CheckpointStore(tmp_path / "parts").iterations() == [6]
    told = [killing.told(each)["weights"] for each in (best, first, fitted(modes[1], 99, "parts", resume=True))]
    assert told == [killing.told(whole)["weights"]] * 3
    again = fitted(modes[1], 99, "parts", resume=True)
    assert (again.state, again.history) == (whole.state, whole.history)
    assert killing.told(again) == killing.told(whole)


def test_a_score_ends_the_run(frame, tmp_path):
    settings = settings_of(tmp_path / "cache", end_when=MaxScore(0.0))
    course = softmax.course_of(frame, tmp_path / "snapshots", 3, is_overwrite=True)
    result = fit_on_spark(frame, softmax.plan_of(), settings, source(), course=course)
    assert result.state.iteration == 3
    assert result.state.score == result.history[0].value("Loss") > 0
    assert CheckpointStore(tmp_path / "snapshots").read().train_state == result.state


def test_a_snapshot_that_cannot_be_written_ends_the_fit(frame, tmp_path):
    class Spoiling(Listener):
        def on_iteration(self, state):
            if state.iteration == 1:
                shutil.rmtree(path)
                path.write_text("in the way")

    path, settings = tmp_path / "snapshots", settings_of(tmp_path / "cache", end_when=MaxIteration(30))
    course = softmax.course_of(frame, path, 15)
    with pytest.raises(TrainingError, match=rf"^The snapshot of iteration 15 must be written to {path}. Received: "):
        fit_on_spark(frame, softmax.plan_of(), settings, source(), listener=Spoiling(), course=course)
    assert left_in(tmp_path / "cache") == []


# ---------------------------------------------------------------- executors that come and go


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.parametrize(("dynamic", "level"), [(False, "DRAM"), (True, "DIRECT")])
def test_executors_that_are_killed_do_not_show(spark, spawn, tmp_path, dynamic, level):
    settings = settings_of(tmp_path / "own", end_when=MaxIteration(killing.ITERATIONS), sync_mode="group")
    frame = cluster.frame_of(spark)
    course = softmax.course_of(frame, tmp_path / "snapshots", 7)
    expected = fit_on_spark(frame, softmax.plan_of(), settings, source(extra=killing.EXTRA), course=course)
    found = spawn(killing.by_jobs, str(tmp_path), dynamic, level, timeout=420)
    assert found["mode"] == "job"
    assert len(found["killed"]) == 2
    assert {name: found[name] for name in ("weights", "history")} == killing.told(expected)
    assert found["left"] == []


@pytest.mark.slow
def test_a_second_attempt_beside_a_slow_task_does_not_show(spark, spawn, tmp_path):
    settings = settings_of(tmp_path / "own", end_when=MaxIteration(10), sync_mode="group")
    frame = cluster.frame_of(spark)
    course = softmax.course_of(frame, tmp_path / "own snapshots", 3)
    expected = fit_on_spark(frame, softmax.plan_of(), settings, source(), course=course)
    assert spawn(killing.with_speculation, str(tmp_path), timeout=420) == killing.told(expected)
    assert (tmp_path / "hung").exists()
    assert snapshots_in(tmp_path / "snapshots") == snapshots_in(tmp_path / "own snapshots")
