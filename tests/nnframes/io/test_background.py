"""Snapshots written in the background: in order, the newest last, failures named."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from nnframes.errors import TrainingError
from nnframes.io.background import BackgroundWriter
from nnframes.io.checkpoint import CheckpointStore, checkpoint_bytes, checkpoint_from_bytes
from nnframes.train import TrainState


class Gate(CheckpointStore):
    """A store that waits at every write until it is let through."""

    def __init__(self, path, overwrite: bool) -> None:
        super().__init__(path, overwrite)
        self.started, self.free, self.written = threading.Semaphore(0), threading.Semaphore(0), []

    def write(self, state, train_state, meta=None) -> str:
        self.started.release()
        assert self.free.acquire(timeout=20)
        self.written.append(train_state.iteration)
        return super().write(state, train_state, meta)


def put(writer: BackgroundWriter, iteration: int) -> None:
    writer.write({"w": np.full(3, iteration, np.float32)}, TrainState(iteration=iteration), {"n": iteration})


def test_a_newer_snapshot_replaces_the_one_that_waits(tmp_path):
    store = Gate(tmp_path, overwrite=True)
    writer = BackgroundWriter(store)
    put(writer, 1)
    assert store.started.acquire(timeout=20)
    for iteration in (2, 3, 4):
        put(writer, iteration)
    store.free.release(2)
    writer.close()
    assert store.written == [1, 4]
    assert store.read().meta == {"n": 4}


def test_all_are_written_where_all_are_kept(tmp_path):
    store = Gate(tmp_path, overwrite=False)
    store.free.release(5)
    writer = BackgroundWriter(store)
    for iteration in range(1, 6):
        put(writer, iteration)
    writer.close()
    assert store.iterations() == [1, 2, 3, 4, 5]


def test_a_failure_is_raised_once_and_names_path_and_cause(tmp_path):
    place = tmp_path / "file"
    place.write_text("in the way")
    writer = BackgroundWriter(CheckpointStore(place))
    put(writer, 7)
    with pytest.raises(TrainingError, match=rf"snapshot of iteration 7 must be written to {place}. Received: "):
        writer.close()
    writer.check()
    writer.close()
    place.unlink()
    put(writer, 8)
    writer.close()
    assert CheckpointStore(place).latest() == 8


def test_the_check_leaves_nothing_behind(tmp_path):
    store = CheckpointStore(tmp_path / "a" / "b")
    store.check(1000)
    assert list((tmp_path / "a" / "b").iterdir()) == []
    with pytest.raises(TrainingError, match=r"bytes are free, a snapshot needs \d+"):
        store.check(1 << 60)
    assert store.latest() is None


def test_a_snapshot_as_one_file():
    content = checkpoint_bytes({"w": np.arange(3.0)}, TrainState(iteration=5), {"a": [1]})
    found = checkpoint_from_bytes(content, "here")
    assert (found.state["w"].tolist(), found.train_state.iteration, found.meta) == ([0, 1, 2], 5, {"a": [1]})
