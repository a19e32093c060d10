from __future__ import annotations

import inspect
import json

import pytest

from featurelib.config import from_config, to_config
from nnframes.errors import ArgumentError
from nnframes.train import (
    TRIGGERS,
    EveryEpoch,
    MaxEpoch,
    MaxIteration,
    MaxScore,
    MinLoss,
    SeveralIteration,
    TrainSettings,
    TrainState,
    Trigger,
    TriggerAnd,
    TriggerOr,
    triggers,
)
from nnframes.train.triggers import expected_iterations


def states(iterations: int, per_epoch: int) -> list[TrainState]:
    """A run's states; the loss falls as 1/i, every epoch's end brings a score of epoch/10."""
    run = [TrainState()]
    for i in range(1, iterations + 1):
        run.append(run[-1].after(loss=1.0 / i, rows=2, last_of_epoch=i % per_epoch == 0))
    return [TrainState(**{**state.to_json(), "score": state.epoch / 10 or None}) for state in run]


# trigger -> the iterations after which it fires, in 10 iterations of 3 an epoch.
FIRES = [
    (MaxEpoch(2), [6, 7, 8, 9, 10]),
    (MaxIteration(9), [9, 10]),
    (EveryEpoch(), [3, 6, 9]),
    (SeveralIteration(4), [4, 8]),
    (SeveralIteration(1), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]),
    (MinLoss(0.125), [9, 10]),
    (MaxScore(0.25), [9, 10]),
    (TriggerAnd(EveryEpoch(), MinLoss(0.3)), [6, 9]),
    (TriggerAnd(EveryEpoch()), [3, 6, 9]),
    (TriggerOr(EveryEpoch(), SeveralIteration(5), MaxIteration(10)), [3, 5, 6, 9, 10]),
    (TriggerOr(TriggerAnd(EveryEpoch(), MaxEpoch(3)), SeveralIteration(8)), [8, 9]),
]


@pytest.mark.parametrize(("trigger", "fires"), FIRES)
def test_fires(trigger, fires):
    run = states(10, 3)
    assert [i for i, state in enumerate(run) if trigger(state)] == fires
    # No memory: asked again, backwards, it answers the same.
    assert [i for i in reversed(range(11)) if trigger(run[i])] == fires[::-1]


@pytest.mark.parametrize(("trigger", "fires"), FIRES)
def test_config_round_trip(trigger, fires):
    again = from_config(json.loads(json.dumps(to_config(trigger))), TRIGGERS)
    assert [i for i, state in enumerate(states(10, 3)) if again(state)] == fires


def test_every_trigger_is_in_the_table():
    found = {
        name: cls
        for name, cls in vars(triggers).items()
        if inspect.isclass(cls) and issubclass(cls, Trigger) and not inspect.isabstract(cls)
    }
    assert found == TRIGGERS
    assert {type(trigger) for trigger, _ in FIRES} == set(TRIGGERS.values())


def test_five_epochs_of_one_iteration_fire_five_times():
    assert sum(map(EveryEpoch(), states(5, 1))) == 5


ENDS = [
    (MaxEpoch(2), 20),
    (MaxIteration(7), 7),
    (EveryEpoch(), 10),
    (SeveralIteration(4), 4),
    (MinLoss(0.1), None),
    (MaxScore(0.1), None),
    (TriggerOr(MaxEpoch(2), MaxIteration(7), MinLoss(0.1)), 7),
    (TriggerOr(MinLoss(0.1), MaxScore(0.1)), None),
    (TriggerAnd(MaxEpoch(2), MaxIteration(7)), 20),
    (TriggerAnd(MaxEpoch(2), MinLoss(0.1)), None),
]


@pytest.mark.parametrize(("trigger", "iterations"), ENDS)
def test_expected_iterations(trigger, iterations):
    assert expected_iterations(trigger, 10) == iterations


REFUSED = [
    (lambda: MaxEpoch(0), "MaxEpoch n must be a whole number >= 1. Received: 0."),
    (lambda: MaxIteration(2.5), "Received: 2.5"),
    (lambda: SeveralIteration(True), "Received: True"),
    (lambda: MinLoss("low"), "MinLoss x must be a finite number. Received: 'low'"),
    (lambda: TriggerAnd(MaxEpoch(1), 3), "TriggerAnd takes triggers. Received: 3."),
    (lambda: TriggerOr(None), "TriggerOr takes triggers. Received: None."),
    (lambda: TrainSettings(10, 0, MaxEpoch(1)), "batch_size must be a whole number >= 1. Received: 0."),
    (lambda: TrainSettings(10, 2, 5), "end_when must be a Trigger. Received: 5."),
    (lambda: TrainSettings.from_json({"rows": 3}), "must have the fields"),
    (lambda: TrainState.from_json({"speed": 3}), "no field speed"),
]


@pytest.mark.parametrize(("make", "message"), REFUSED)
def test_bad_settings_are_refused(make, message):
    with pytest.raises(ArgumentError, match=message):
        make()


def test_settings_and_states_survive_json():
    settings = TrainSettings(10, 4, TriggerOr(MaxEpoch(3), MinLoss(0.5)), shards=2, seed=-5)
    again = TrainSettings.from_json(json.loads(json.dumps(settings.to_json())))
    assert again.to_json() == settings.to_json()
    for state in states(4, 3):
        assert TrainState.from_json(json.loads(json.dumps(state.to_json()))) == state
