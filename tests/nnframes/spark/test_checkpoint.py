"""Snapshots of fits on a real Spark, and runs that go on from them to the same bits."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnframes.errors import ArgumentError, ModelFileError, TrainingError
from nnframes.io.checkpoint import CheckpointStore
from nnframes.nn import Linear, LogSoftMax, Sequential
from nnframes.optim import SGD, Adam, Step
from nnframes.train import EveryEpoch, Loss, MaxIteration, SeveralIteration, Top1Accuracy
from tests.nnframes.distributed import runs
from tests.nnframes.distributed.cluster import own_spark

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def frame(spark):
    return runs.frame_of(spark).coalesce(2).cache()


def estimator(name: str, frame, path=None, epochs: int = 4):
    """A run with dropout, batch norm, a table (words), validation and early stopping."""
    made = runs.classifier(runs.RUNS[name]).setMaxEpoch(epochs)
    made.setValidation(SeveralIteration(4), frame.where("label < 2"), [Loss(), Top1Accuracy()], 40)
    made.setEarlyStopping("Loss", patience=30)
    return made if path is None else made.setCheckpoint(path, SeveralIteration(3))


def digest(model) -> str:
    return runs.digest(array for array in model.model.get_weights())


@pytest.mark.parametrize("name", ["words-3", "numbers-2"])
def test_a_run_in_two_parts_has_the_bits_of_one(name, frame, tmp_path):
    whole = estimator(name, frame).fit(frame)
    path = tmp_path / "snapshots"
    first = estimator(name, frame, path).setEndWhen(MaxIteration(8))
    first.clear(first.maxEpoch)
    assert first.fit(frame).summary.iterations == 8
    assert CheckpointStore(path).iterations() == [6]
    second = estimator(name, frame, path).setSyncMode("job").setResume(True).fit(frame.repartition(3))
    assert digest(second) == digest(whole)
    assert second.summary == whole.summary
    again = estimator(name, frame, path).setResume(True).fit(frame)
    assert digest(again) == digest(whole)


def test_a_relative_path_leads_into_the_drivers_folder(classifier, points, tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)  # the workers stay where they started
    classifier.setCheckpoint("snapshots", EveryEpoch()).setMaxEpoch(1).fit(points)
    assert classifier.getCheckpoint()[0] == "snapshots"
    (iteration,) = CheckpointStore(tmp_path / "snapshots").iterations()
    caplog.clear()
    assert classifier.setResume(True).fit(points).summary.iterations == iteration
    assert not caplog.messages
    classifier.setResume(False).fit(points)
    assert f"holds a snapshot of an earlier fit (iteration {iteration})" in caplog.text
    classifier.setResume(True).setCheckpoint("elsewhere", EveryEpoch()).fit(points)
    assert f"No complete snapshot in {tmp_path / 'elsewhere'} to resume from" in caplog.text


def test_all_snapshots_are_kept_where_asked_for(classifier, points, tmp_path):
    assert classifier.getCheckpoint() is None
    trigger = EveryEpoch()
    classifier.setCheckpoint(tmp_path, trigger, False).setMaxEpoch(3)
    assert classifier.getCheckpoint() == [str(tmp_path), trigger, False]
    model = classifier.fit(points)
    assert CheckpointStore(tmp_path).iterations() == [5, 10, 15]
    assert model.summary.iterations == 15


def test_the_best_weights_come_back_after_a_resume(classifier, points, tmp_path):
    """The best validation lies before the snapshot, the stop after it."""
    classifier.setOptimMethod(SGD(30.0, learningrate_schedule=Step(30, 0.9))).setMaxEpoch(40)
    classifier.setValidation(EveryEpoch(), points, [Loss()], 80).setEarlyStopping("Loss", patience=3)
    whole = classifier.fit(points)
    place = whole.summary.validations.index(whole.summary.best)
    assert len(whole.summary.validations) == place + 4 < 40
    classifier.setCheckpoint(tmp_path, EveryEpoch()).setMaxEpoch(place + 2)
    classifier.fit(points)
    resumed = classifier.setMaxEpoch(40).setResume(True).fit(points)
    assert digest(resumed) == digest(whole)
    assert resumed.summary == whole.summary
    # The last snapshot is that of the stop: nothing is left to do.
    assert digest(classifier.fit(points)) == digest(whole)


def test_resume_without_a_snapshot_starts_anew(classifier, points, tmp_path):
    whole = classifier.setMaxEpoch(1).fit(points)
    resumed = classifier.setCheckpoint(tmp_path / "new", EveryEpoch()).setResume(True).fit(points)
    assert digest(resumed) == digest(whole)


OTHERS = {
    "network": lambda e, d: (setattr(e, "model", Sequential().add(Linear(4, 3)).add(LogSoftMax())), d)[1],
    "seed": lambda e, d: (e.setSeed(9), d)[1],
    "batch size": lambda e, d: (e.setBatchSize(24), d)[1],
    "shards": lambda e, d: (e.setNumShards(3), d)[1],
    "gradient compression": lambda e, d: (e.setGradientCompression("bf16"), d)[1],
    "optim method": lambda e, d: (e.setOptimMethod(SGD(0.1)), d)[1],
    "clipping": lambda e, d: (e.setGradientClippingByL2Norm(0.1), d)[1],
    "rows": lambda e, d: d.where("id > 5"),
    "data": lambda e, d: d.replace(0.0, 1.0, ["label"]),
}


@pytest.mark.parametrize("what", OTHERS)
def test_snapshots_of_another_run_are_refused(what, classifier, points, tmp_path):
    classifier.setCheckpoint(tmp_path, EveryEpoch()).setMaxEpoch(1).fit(points)
    changed = OTHERS[what](classifier, points)
    with pytest.raises(ModelFileError, match=rf"only from a snapshot of itself. Received: .*{what} .*; this fit has"):
        classifier.setResume(True).fit(changed)


def test_damage_is_named(classifier, points, tmp_path):
    classifier.setCheckpoint(tmp_path, EveryEpoch()).setMaxEpoch(1).fit(points)
    (state,) = tmp_path.glob("*/state.safetensors")
    state.write_bytes(state.read_bytes()[:-1] + b"x")
    with pytest.raises(ModelFileError, match="SHA-256"):
        classifier.setResume(True).fit(points)


# ---------------------------------------------------------------- where nothing can be written


def test_a_place_that_is_no_folder(classifier, points, tmp_path):
    (tmp_path / "file").write_text("in the way")
    classifier.setCheckpoint(tmp_path / "file" / "snapshots", EveryEpoch())
    with pytest.raises(TrainingError, match=rf"Snapshots must be written to {tmp_path}/file/snapshots. Received: "):
        classifier.fit(points)


def _needed(classifier, points, target) -> int:
    """How many bytes a fit says it lacks."""
    words = rf"{target}. Received: .* bytes are free, a snapshot needs (\d+)"
    with pytest.raises(TrainingError, match=words) as caught:
        classifier.fit(points)
    return int(re.findall(words, str(caught.value))[0])


def test_a_full_disk_is_said_before_training(classifier, points, tmp_path):
    target = tmp_path / "small"
    target.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", str(target)]
    if os.geteuid() or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        classifier.model = Sequential().add(Linear(4, 2000)).add(Linear(2000, 3)).add(LogSoftMax())
        classifier.setCheckpoint(target, EveryEpoch())
        needed = [_needed(classifier, points, target)]
        classifier.setValidation(EveryEpoch(), points, [Loss()], 80).setEarlyStopping("Loss", restore_best=False)
        needed.append(_needed(classifier, points, target))
        classifier.setEarlyStopping("Loss")
        assert _needed(classifier, points, target) > needed[1] == needed[0] > 4 * 2000 * 7
    finally:
        subprocess.run(["umount", str(target)], check=True)


def test_a_snapshot_that_fails_on_the_way_ends_the_fit(classifier, points, tmp_path):
    """The folder becomes a file while training runs: the error names path and cause."""
    path = tmp_path / "snapshots"

    class Spoil(EveryEpoch):
        def __call__(self, state):
            if state.iteration == 2:
                path.rmdir()
                path.write_text("in the way")
            return state.iteration == 3

    classifier.setCheckpoint(path, Spoil()).setNumShards(1).setMaxEpoch(20)
    with pytest.raises(TrainingError, match=rf"snapshot of iteration 3 must be written to {path}. Received: "):
        classifier.fit(points)


def test_bad_arguments(classifier, tmp_path):
    for arguments, message in [
        (("", EveryEpoch()), "path must be a folder or an address. Received: ''"),
        ((tmp_path, 3), "trigger must be a Trigger. Received: 3"),
        ((tmp_path, EveryEpoch), r"Hint: EveryEpoch\(...\)"),
        ((tmp_path, EveryEpoch(), 1), "isOverWrite must be True or False. Received: 1"),
    ]:
        with pytest.raises(ArgumentError, match=message):
            classifier.setCheckpoint(*arguments)
    classifier.setCheckpoint("nowhere://host/x", EveryEpoch())


# ---------------------------------------------------------------- a driver that dies


def run(folder: str, path: str, resume: bool, die_at: int) -> dict:
    """Train in a fresh process, which kills itself when iteration `die_at` is heard of."""
    from nnframes.train import Progress

    def on_iteration(self, state):
        if state.iteration >= die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    Progress.on_iteration = on_iteration
    with own_spark("local[2]", folder) as spark:
        frame = runs.frame_of(spark).cache()
        made = estimator("words-3", frame, path, epochs=150).setOptimMethod(Adam(0.01)).setResume(resume)
        model = made.setEarlyStopping(None).fit(frame)
        return {"weights": digest(model), "validations": [one.to_json() for one in model.summary.validations]}


@pytest.mark.slow
def test_a_killed_driver_and_a_fresh_one_give_the_bits_of_an_unbroken_run(spawn, tmp_path):
    whole = spawn(run, str(tmp_path / "a"), str(tmp_path / "unbroken"), False, 10**6, timeout=240)
    code = f"from {run.__module__} import run; run({str(tmp_path / 'b')!r}, {str(tmp_path / 'ck')!r}, False, 120)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    killed = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, timeout=240, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    reached = CheckpointStore(tmp_path / "ck").latest()
    assert reached is not None
    assert 0 < reached < 750
    resumed = spawn(run, str(tmp_path / "c"), str(tmp_path / "ck"), True, 10**6, timeout=240)
    assert resumed == whole
