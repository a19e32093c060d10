"""Batches made ahead by threads: the same ones, in the order of the loop, with their errors, and nothing left over."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nnframes.errors import DataError
from nnframes.optim import SGD
from nnframes.train import ArrayData, MaxEpoch, MaxIteration, SerialSync, TrainSettings, TrainState, train
from nnframes.train.ahead import Ahead, batches_ahead, requests
from tests.nnframes.train.softmax import SoftmaxReplica
from tests.nnframes.train.softmax import data as softmax_data

SHARDS, ROWS = 3, 50


class Watched:
    """Another's rows, made by `producers` threads; `asked` says by which one, and of which shard and epoch."""

    def __init__(self, data: ArrayData, producers: int, fails_at: int | None = None) -> None:
        self.producers, self.asked = producers, []
        self._data, self._fails_at = data, fails_at

    def rows(self, shard: int) -> int:
        return self._data.rows(shard)

    def batch(self, shard, epoch, indices):
        self.asked.append((threading.current_thread().name, shard, epoch))
        if len(self.asked) == self._fails_at:
            raise DataError("row 7 of the table is not a picture")
        return self._data.batch(shard, epoch, indices)


def trained(data, end_when, state=None, until=None):
    replica = SoftmaxReplica(SGD(0.1))
    settings = TrainSettings(rows=ROWS, batch_size=8, shards=SHARDS, seed=3, end_when=end_when)
    reached = train(replica, data, SerialSync(SHARDS), settings, state, until)
    return replica.state(), reached


@pytest.mark.parametrize("producers", [1, 2, 5])
def test_the_result_is_the_same_and_other_threads_make_the_batches(producers):
    data = softmax_data(SHARDS, ROWS)
    quiet, end = trained(data, MaxEpoch(3))
    watched = Watched(data, producers)
    weights, reached = trained(watched, MaxEpoch(3))
    assert reached == end
    for name, values in quiet.items():
        np.testing.assert_array_equal(weights[name], values)
    assert all(name.startswith("nnframes-batches") for name, *_ in watched.asked)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nnframes-batches")]


def test_it_goes_on_from_any_state():
    data = softmax_data(SHARDS, ROWS)
    _, half = trained(data, MaxEpoch(3), until=MaxIteration(9))
    replica, watched = SoftmaxReplica(SGD(0.1)), Watched(data, 1)
    settings = TrainSettings(rows=ROWS, batch_size=8, shards=SHARDS, seed=3, end_when=MaxIteration(12))
    train(replica, watched, SerialSync(SHARDS), settings, half)
    assert (half.epoch, half.step) == (1, 2)
    assert [each[1:] for each in watched.asked[:9]] == [(shard, 1) for _ in range(3) for shard in range(SHARDS)]


def test_no_more_is_made_than_one_batch_beyond_the_threads():
    watched = Watched(softmax_data(SHARDS, ROWS), 2)
    plan = TrainSettings(rows=ROWS, batch_size=8, shards=SHARDS, seed=3, end_when=MaxEpoch(1)).plan()
    with batches_ahead(watched, plan, range(SHARDS), TrainState()) as ahead:
        asked = requests(plan, range(SHARDS), TrainState())
        for number in range(1, 9):
            ahead.batch(*next(asked))
            assert len(watched.asked) <= number + watched.producers + 1


def test_what_was_not_expected_is_made_at_once():
    data = softmax_data(SHARDS, ROWS)
    watched = Watched(data, 1)
    plan = TrainSettings(rows=ROWS, batch_size=8, shards=SHARDS, seed=3, end_when=MaxEpoch(1)).plan()
    with batches_ahead(watched, plan, range(SHARDS), TrainState()) as ahead:
        assert isinstance(ahead, Ahead)
        assert (ahead.rows(0), ahead.producers) == (data.rows(0), 1)
        other = ahead.batch(2, 0, np.array([1, 0]))
        expected = ahead.batch(0, 0, plan.indices(0, 0, 0))
    np.testing.assert_array_equal(other.target, data.batch(2, 0, np.array([1, 0])).target)
    np.testing.assert_array_equal(expected.target, data.batch(0, 0, plan.indices(0, 0, 0)).target)
    assert [name for name, *_ in watched.asked].count(threading.current_thread().name) == 1


def test_an_error_comes_where_its_batch_is_asked_for():
    with pytest.raises(DataError, match="row 7 of the table is not a picture"):
        trained(Watched(softmax_data(SHARDS, ROWS), 1, fails_at=8), MaxEpoch(3))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("nnframes-batches")]
