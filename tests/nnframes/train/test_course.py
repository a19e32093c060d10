"""Runs from milestone to milestone, in this process: the real engine, any placement of shards, any interruption."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.sparse import RowSparse
from nnframes.errors import ArgumentError, SyncError, TrainingError
from nnframes.nn import BatchNormalization, ClassNLLCriterion, Dropout, Linear, LogSoftMax, ReLU, Sequential
from nnframes.optim import SGD, Adam
from nnframes.train import (
    ArrayData,
    Course,
    EarlyStopping,
    EveryEpoch,
    Listener,
    Loss,
    MaxEpoch,
    MaxIteration,
    Milestones,
    SerialSync,
    SeveralIteration,
    Top1Accuracy,
    TrainSettings,
    TrainState,
    ValidationSettings,
)
from nnframes.train.replica import NetworkReplica

SHARDS = 3
RNG = np.random.default_rng(4)
X = RNG.normal(size=(70, 4)).astype(np.float32)
Y = (X[:, :1] > 0).astype(np.float32) + (X[:, 1:2] > 0)
TRAIN, HELD = ArrayData(X[:50], Y[:50], SHARDS), ArrayData(X[50:], Y[50:], SHARDS)
VALIDATION = ValidationSettings(SeveralIteration(3), [Loss(), Top1Accuracy()], 8)


def replica(method=None) -> NetworkReplica:
    net = Sequential().add(Linear(4, 8)).add(BatchNormalization(8)).add(ReLU()).add(Dropout(0.2))
    return NetworkReplica(net.add(Linear(8, 3)).add(LogSoftMax()), ClassNLLCriterion(), method or Adam(0.05), seed=3)


def course(end=None, milestones=None, save=None, method=None) -> Course:
    settings = TrainSettings(50, 16, end or MaxEpoch(5), SHARDS, seed=1)
    return Course(settings, milestones or Milestones(VALIDATION), replica(method), HELD, save)


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(a[name].tobytes() == b[name].tobytes() for name in a)


def finished(made: Course) -> Course:
    made.run(TRAIN, SerialSync(SHARDS))
    return made


def test_figures_are_those_of_all_rows_at_once():
    made = finished(course(MaxIteration(6)))
    network = made.replica.layer.evaluate()
    output = network.forward(X[50:])
    for method, result in zip(VALIDATION.methods, made.history[-1].results, strict=True):
        assert result.result == pytest.approx(method.result(method.update(output, Y[50:])).result, rel=1e-5)
        assert result.total_num == 20
    assert made.state.score == made.history[-1].results[0].result
    assert [one.iteration for one in made.history] == [3, 6]


def test_a_predictor_follows_the_weights_and_leaves_the_buffers():
    one = replica()
    evaluate = [one.evaluator([Loss()], 20)(HELD.batch(0, 0, np.arange(5))) for _ in range(2)]
    before = {name: array.copy() for name, array in one.weights().items()}
    np.testing.assert_array_equal(*evaluate)
    one.weights()["linear_1.weight" if "linear_1.weight" in before else next(iter(before))][...] *= 2
    assert one.evaluator([Loss()], 20)(HELD.batch(0, 0, np.arange(5)))[0] != evaluate[0][0]
    unchanged = [name for name in before if np.array_equal(before[name], one.weights()[name])]
    assert len(unchanged) == len(before) - 1


@pytest.mark.parametrize("at", [1, 3, 4, 9, 13, 19])
def test_a_run_restored_from_any_snapshot_ends_alike(at):
    snapshots = {}

    def save(made: Course) -> None:
        snapshots[made.state.iteration] = (*made.snapshot(), made.state)

    milestones = Milestones(VALIDATION, EarlyStopping("Loss", 40), SeveralIteration(1))
    whole = finished(course(milestones=milestones, save=save))
    assert sorted(snapshots) == list(range(1, 21))
    arrays, notes, state = snapshots[at]
    resumed = course(milestones=milestones)
    resumed.restore(arrays, state, notes)
    finished(resumed)
    assert resumed.state == whole.state
    assert resumed.history == whole.history
    assert same(resumed.weights(), whole.weights())
    assert same(resumed.replica.state(), whole.replica.state())
    assert resumed.best == whole.best is not None


class Broken(SerialSync):
    """Fails at a chosen call of either kind."""

    def __init__(self, all_reduce: int, merge: int) -> None:
        super().__init__(SHARDS)
        self.left = {"all_reduce": all_reduce, "merge": merge}

    def _count(self, name: str) -> None:
        self.left[name] -= 1
        if not self.left[name]:
            raise SyncError("a peer is gone")

    def all_reduce(self, messages, sparse) -> tuple[np.ndarray, dict[str, RowSparse]]:
        self._count("all_reduce")
        return super().all_reduce(messages, sparse)

    def merge(self, partials) -> np.ndarray:
        self._count("merge")
        return super().merge(partials)


@pytest.mark.parametrize("broken", [(1, 9), (4, 9), (7, 9), (99, 1), (99, 3)])
def test_a_run_goes_on_after_an_exchange_that_failed(broken):
    whole, made = finished(course()), course()
    with pytest.raises(SyncError):
        made.run(TRAIN, Broken(*broken))
    finished(made)
    assert (made.state, made.history) == (whole.state, whole.history)
    assert same(made.weights(), whole.weights())


class Parted(SerialSync):
    """As one of several workers that update a slice each: not complete after a step until asked to be."""

    def __init__(self) -> None:
        super().__init__(SHARDS)
        self.completed, self.steps = [], 0

    def step(self, replica, messages, sparse) -> float:
        self.is_complete, self.steps = False, self.steps + 1
        return super().step(replica, messages, sparse)

    def complete(self, replica) -> None:
        self.is_complete = True
        self.completed.append(self.steps)


def test_the_state_is_completed_for_snapshots_pauses_and_the_end_on_every_worker():
    milestones = Milestones(VALIDATION, None, SeveralIteration(4))
    made, sync = course(MaxIteration(11), milestones), Parted()
    made.pause = SeveralIteration(6)
    while not made.finished():
        made.run(TRAIN, sync)
        assert made.is_complete
        made.snapshot()
        made.pause = None if made.state.iteration == 6 else made.pause
    assert sync.completed == [4, 6, 8, 11]


def test_no_snapshot_is_made_of_a_part_of_the_state():
    made, sync = course(), Parted()
    start = made.snapshot()[0]

    class Look(Listener):
        def on_iteration(self, state):
            assert not made.is_complete
            made.snapshot()

    with pytest.raises(TrainingError, match="A snapshot must hold all of the state"):
        made.run(TRAIN, sync, Look())
    made.restore(start, TrainState(), {})
    assert made.is_complete


def test_early_stopping_ends_the_run_with_the_best_weights():
    stopping = EarlyStopping("Loss", patience=2)
    seen = {}

    class Keep(Listener):
        def on_validation(self, state, validation):
            seen[validation.iteration] = {name: a.copy() for name, a in made.replica.weights().items()}

    made = course(MaxEpoch(200), Milestones(VALIDATION, stopping), method=SGD(5.0))
    made.run(TRAIN, SerialSync(SHARDS), Keep())
    assert made.finished()
    assert len(made.history) < 200
    assert made.history.index(made.best) == len(made.history) - 3
    assert same(made.weights(), seen[made.best.iteration])
    assert not same(made.weights(), made.replica.weights())
    iteration = made.state.iteration
    assert finished(made).state.iteration == iteration


def test_a_snapshot_without_the_best_weights_is_refused():
    saved = []
    milestones = Milestones(VALIDATION, EarlyStopping("Loss", 9, restore_best=False), SeveralIteration(6))
    finished(course(MaxIteration(6), milestones, lambda made: saved.append((*made.snapshot(), made.state))))
    arrays, notes, state = saved[-1]
    with pytest.raises(TrainingError, match=r"weights of its best validation \(iteration \d\)"):
        course(milestones=Milestones(VALIDATION, EarlyStopping("Loss", 9))).restore(arrays, state, notes)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ArgumentError, match="Received: Loss of no validation"):
        Milestones(stopping=EarlyStopping("Loss"))
    with pytest.raises(ArgumentError, match=r"must monitor a method of the validation. Received: MAE of Loss, Top1"):
        Milestones(VALIDATION, EarlyStopping("MAE"))
    settings = TrainSettings(50, 16, MaxEpoch(1), SHARDS)
    with pytest.raises(ArgumentError, match="must be given the rows to validate on"):
        Course(settings, Milestones(ValidationSettings(EveryEpoch(), [Loss()], 4)), replica()).run(
            TRAIN, SerialSync(SHARDS)
        )
