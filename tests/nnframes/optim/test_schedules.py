from __future__ import annotations

import inspect

import pytest

import nnframes.optim as optim
from featurelib.config import from_config, to_config
from nnframes.optim import SCHEDULES, Poly, Schedule, Step


def test_every_schedule_is_in_the_table():
    found = {
        name: cls
        for name, cls in vars(optim).items()
        if inspect.isclass(cls) and issubclass(cls, Schedule) and not inspect.isabstract(cls)
    }
    assert found == SCHEDULES


RATES = [
    (optim.Default(), [1.0, 0.5, 1 / 3, 0.25]),
    (Poly(1.0, 4), [1.0, 0.75, 0.5, 0.25, 0.0, 0.0]),
    (Step(3, 0.1), [1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.01]),
    (optim.Exponential(2, 0.25), [1.0, 0.5, 0.25, 0.125]),
    (optim.Exponential(2, 0.25, stair_case=True), [1.0, 1.0, 0.25, 0.25, 0.0625]),
]


@pytest.mark.parametrize(("schedule", "rates"), RATES)
def test_schedules(schedule, rates):
    assert [schedule.rate(1.0, t, decay=1.0) for t in range(len(rates))] == pytest.approx(rates, abs=1e-15)
    again = from_config(to_config(schedule), SCHEDULES)
    assert again.rate(1.0, 3, 1.0) == schedule.rate(1.0, 3, 1.0)
