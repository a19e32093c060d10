from __future__ import annotations

import io
import re
import threading

import pytest

from nnframes.optim import Adam
from nnframes.train import (
    EvaluatedResult,
    MaxEpoch,
    MaxIteration,
    MinLoss,
    Progress,
    SerialSync,
    SeveralIteration,
    TrainSettings,
    TrainState,
    Validation,
    train,
)
from nnframes.train.progress import _clock
from tests.nnframes.train.softmax import SoftmaxReplica, data


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def run(progress: Progress, end_when=None, until=None) -> None:
    settings, state = TrainSettings(90, 32, end_when or MaxEpoch(3), 2, seed=1), None
    replica = SoftmaxReplica(Adam(0.1))
    while state is None or not settings.end_when(state):
        state = train(replica, data(2), SerialSync(2), settings, state, until, progress)


LINE = r"Epoch {epoch}: loss=\d\.\d{{4}}, [\d,]+ records/s{rest}"


@pytest.mark.parametrize("until", [None, SeveralIteration(2)])
def test_a_file_gets_a_line_per_epoch(until):
    file = io.StringIO()
    run(Progress(file=file), until=until)
    lines = file.getvalue().splitlines()
    assert len(lines) == 3
    for n, line in enumerate(lines, 1):
        assert re.fullmatch(LINE.format(epoch=f"{n}/3", rest=r", ETA \d+:\d\d"), line), line
    assert lines[-1].endswith("ETA 0:00")


def test_standard_error_is_the_default(capsys):
    run(Progress())
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("records/s") == 3


def test_without_a_known_end_there_is_no_time_left():
    file = io.StringIO()
    run(Progress(file=file), MinLoss(0.6))
    lines = file.getvalue().splitlines()
    assert all(re.fullmatch(LINE.format(epoch=n, rest=""), line) for n, line in enumerate(lines, 1))
    assert lines


@pytest.mark.parametrize("file", [io.StringIO(), Terminal()])
def test_silent_when_not_wanted(file):
    run(Progress(enabled=False, file=file))
    assert file.getvalue() == ""


@pytest.mark.parametrize("until", [None, SeveralIteration(1)])
def test_a_terminal_gets_one_bar(until):
    file = Terminal()
    threads = threading.active_count()
    run(Progress(file=file), MaxIteration(7), until)
    last = file.getvalue().strip().split("\r")[-1]
    assert last.startswith("Epoch 3/3: 100%")
    assert "212/212" in last
    assert re.search(r"loss=\d\.\d{4}", last)
    assert "records/s" in last
    assert file.getvalue().count("\n") == 1
    assert threading.active_count() == threads


def test_a_bar_of_unknown_end_counts_up():
    file = Terminal()
    run(Progress(file=file), MinLoss(0.6))
    assert re.search(r"Epoch \d+: [\d.]+k? records \[", file.getvalue().split("\r")[-1])


def test_a_bar_left_open_is_closed_with_its_owner():
    file = Terminal()
    with Progress(file=file) as progress:
        progress.on_start(TrainSettings(90, 32, MaxEpoch(3)), TrainState())
        assert not file.getvalue().endswith("\n")
    assert file.getvalue().endswith("\n")


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3725, "1:02:05")])
def test_clock(seconds, text):
    assert _clock(seconds) == text


def test_validations_are_shown_on_a_line_or_in_the_bar():
    validation = Validation(4, 1, (EvaluatedResult(0.75, 9, "Top1Accuracy"), EvaluatedResult(0.5, 9, "Loss")))
    state = TrainState().after(loss=0.25, rows=90, last_of_epoch=True)
    for file in (io.StringIO(), Terminal()):
        with Progress(file=file) as progress:
            progress.on_start(TrainSettings(90, 90, MaxEpoch(2)), TrainState())
            progress.on_iteration(state)
            progress.on_validation(state, validation)
            progress.on_iteration(state.after(0.125, 90, True))
        assert "Top1Accuracy=0.7500, Loss=0.5000" in file.getvalue()
    assert "loss=0.1250, Top1Accuracy=0.7500" in file.getvalue()
    Progress(enabled=False).on_validation(state, validation)
