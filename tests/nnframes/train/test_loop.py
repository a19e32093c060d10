from __future__ import annotations

import numpy as np
import pytest

from nnframes.errors import DataError, TrainingError
from nnframes.optim import SGD, Adam, ConstantClipping, L2NormClipping
from nnframes.train import (
    EveryEpoch,
    Listener,
    Listeners,
    MaxEpoch,
    MaxIteration,
    MinLoss,
    SerialSync,
    SeveralIteration,
    TrainSettings,
    TrainState,
    TriggerOr,
    train,
)
from tests.nnframes.train.softmax import SoftmaxReplica, data, digits, run_threads

CLIPPINGS = (L2NormClipping(0.5), ConstantClipping(-0.2, 0.2))


def settings(shards: int = 5, rows: int = 90, batch_size: int = 16, end_when=None) -> TrainSettings:
    return TrainSettings(rows, batch_size, end_when or MaxEpoch(3), shards, seed=4)


def bits(replica: SoftmaxReplica) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in replica.state().items()}


def trained(run: TrainSettings, method=None, **options) -> tuple[SoftmaxReplica, TrainState]:
    replica = SoftmaxReplica(method or Adam(0.05), CLIPPINGS)
    return replica, train(replica, data(run.shards, run.rows), SerialSync(run.shards), run, **options)


class Recorder(Listener):
    def __init__(self) -> None:
        self.calls: list[tuple] = []

    def on_start(self, settings, state):
        self.calls.append(("start", state.iteration))

    def on_iteration(self, state):
        self.calls.append(("iteration", state.iteration))

    def on_epoch(self, state):
        self.calls.append(("epoch", state.epoch))

    def on_end(self, state):
        self.calls.append(("end", state.iteration))


@pytest.mark.parametrize("method", [SGD(0.5), SGD(0.1, momentum=0.9, dampening=0.0), Adam(0.05)])
def test_it_learns(method):
    replica = SoftmaxReplica(method)
    state = train(replica, data(2), SerialSync(2), settings(2, end_when=MaxEpoch(20)))
    (x, words), target = digits()
    assert (replica.logits(x.astype(np.float32), words).argmax(axis=1) == target).mean() >= 0.97
    assert state.epoch == 20
    assert state.epoch_loss < 0.3


PLACEMENTS = {
    "one worker": [[0, 1, 2, 3, 4]],
    "two": [[0, 1, 2], [3, 4]],
    "two, mixed": [[4, 1], [3, 0, 2]],
    "three": [[0, 1], [2, 3], [4]],
    "four": [[0], [1, 2], [3], [4]],
    "five": [[0], [1], [2], [3], [4]],
    "five, reversed": [[4], [3], [2], [1], [0]],
}


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("method", [SGD(0.1, momentum=0.9), Adam(0.05)], ids=["sgd", "adam"])
def test_any_placement_gives_the_same_bits(placement, method):
    serial, reached = trained(settings(), method)

    def work(sync):
        replica = SoftmaxReplica(method, CLIPPINGS)
        return replica, train(replica, data(5), sync, settings())

    for replica, state in run_threads(work, PLACEMENTS[placement]):
        assert bits(replica) == bits(serial)
        assert state == reached


def test_the_seed_matters():
    other = TrainSettings(90, 16, MaxEpoch(3), 5, seed=5)
    assert bits(trained(settings())[0]) != bits(trained(other)[0])


@pytest.mark.parametrize(("rows", "batch_size", "shards"), [(1, 1, 3), (7, 100, 3), (7, 2, 5), (3, 1, 1), (4, 4, 4)])
def test_any_sizes_are_legal(rows, batch_size, shards):
    replica, state = trained(settings(shards, rows, batch_size))
    assert state.records == 3 * rows
    assert state.iteration == 3 * -(-rows // batch_size)
    assert all(np.isfinite(array).all() for array in replica.state().values())


@pytest.mark.parametrize("until", [SeveralIteration(1), SeveralIteration(4), EveryEpoch(), MinLoss(0.8), MaxEpoch(9)])
def test_groups_of_iterations_reach_the_same_bits(until):
    whole, reached = trained(settings())
    run, state, groups = settings(), TrainState(), 0
    kept = SoftmaxReplica(Adam(0.05), CLIPPINGS).state()
    while not run.end_when(state):
        # As a restarted process would: settings and state from JSON, arrays into a fresh replica.
        replica = SoftmaxReplica(Adam(0.05), CLIPPINGS)
        replica.load_state(kept)
        run, state = TrainSettings.from_json(run.to_json()), TrainState.from_json(state.to_json())
        state = train(replica, data(5), SerialSync(5), run, state, until)
        kept, groups = {name: array.copy() for name, array in replica.state().items()}, groups + 1
    assert {name: array.tobytes() for name, array in kept.items()} == bits(whole)
    assert state == reached
    assert groups == {1: 18, 4: 5}.get(getattr(until, "k", 0), groups)


def test_an_ended_run_trains_no_more():
    replica, state = trained(settings())
    before = bits(replica)
    assert train(replica, data(5), SerialSync(5), settings(), state) == state
    assert bits(replica) == before


def test_listeners_hear_everything_in_order():
    first, second = Recorder(), Recorder()
    trained(settings(end_when=MaxIteration(7)), listener=Listeners(first, second))
    iterations = [("iteration", i) for i in range(1, 8)]
    assert first.calls == second.calls
    assert first.calls == [("start", 0), *iterations[:6], ("epoch", 1), iterations[6], ("end", 7)]


def test_five_epochs_are_five_ends_of_an_epoch():
    """Also with one iteration an epoch, where BigDL counts four."""
    recorder = Recorder()
    trained(settings(batch_size=90, end_when=MaxEpoch(5)), listener=recorder)
    assert [call for call in recorder.calls if call[0] == "epoch"] == [("epoch", n) for n in range(1, 6)]


def test_the_first_of_two_ends_counts():
    _, state = trained(settings(end_when=TriggerOr(MaxEpoch(50), MinLoss(0.9))))
    assert state.loss < 0.9
    assert state.epoch < 50


def test_epoch_loss_weights_iterations_by_rows():
    losses = []

    class Losses(Listener):
        def on_iteration(self, state):
            losses.append(state.loss)

    _, state = trained(settings(end_when=MaxEpoch(1)), listener=Losses())
    assert state.epoch_loss == pytest.approx((16 * sum(losses[:5]) + 10 * losses[5]) / 90)


class Exploding(SoftmaxReplica):
    def update(self, message, sparse):
        loss = super().update(message, sparse)
        return float("nan") if self.updates == 9 else loss


def test_a_loss_that_is_not_finite_stops_and_names_the_iteration():
    recorder = Recorder()
    with pytest.raises(TrainingError, match=r"Received: nan at iteration 9 \(epoch 2\). Hint: lower the learning rate"):
        train(Exploding(Adam(0.05)), data(5), SerialSync(5), settings(), listener=recorder)
    assert recorder.calls[-1] == ("end", 8)


def test_shards_of_another_size_are_refused():
    with pytest.raises(DataError, match=r"Shard 0 of 5 must hold 18 of 90 rows. Received: 17."):
        train(SoftmaxReplica(SGD()), data(5, 85), SerialSync(5), settings())
