"""A file system that kills its process at a chosen operation, as a local disk or as an object store."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow.fs import FileSelector, FileSystemHandler, LocalFileSystem, PyFileSystem

from nnframes.io.checkpoint import CheckpointStore
from nnframes.train import TrainState


def state(iteration: int) -> dict[str, np.ndarray]:
    weights = np.random.default_rng(iteration).normal(size=(64, 8)).astype(np.float32)
    return {"weights": weights, "optim/updates": np.array([iteration], np.int64)}


class Counter:
    def __init__(self, last: int | None) -> None:
        self.count, self.last = 0, last

    def step(self) -> bool:
        """Count an operation; say whether it is the one to die at."""
        self.count += 1
        return self.count == self.last

    def check(self) -> None:
        if self.step():
            os.kill(os.getpid(), signal.SIGKILL)


class DyingFile:
    """Local: half of a write arrives before the kill. Object store: nothing is there before the close."""

    def __init__(self, path: str, counter: Counter, objects: bool) -> None:
        self.path, self.counter, self.objects = path, counter, objects
        self.content, self.closed = b"", False
        if objects:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        else:
            Path(path).write_bytes(b"")

    def write(self, data) -> int:
        dies = self.counter.step()
        self.content += bytes(data)[: len(data) // 2] if dies else bytes(data)
        if not self.objects:
            Path(self.path).write_bytes(self.content)
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.counter.check()
            if self.objects:
                Path(self.path).write_bytes(self.content)

    def flush(self) -> None:
        pass

    def writable(self) -> bool:
        return True


class DyingStore(FileSystemHandler):
    """Hands on to the local file system; has no rename, no append and no random writes."""

    def __init__(self, last: int | None, objects: bool) -> None:
        self.local, self.counter, self.objects = LocalFileSystem(), Counter(last), objects

    def get_type_name(self):
        return "dying"

    def normalize_path(self, path):
        return path

    def get_file_info(self, paths):
        self.counter.check()
        return self.local.get_file_info(paths)

    def get_file_info_selector(self, selector):
        self.counter.check()
        return self.local.get_file_info(FileSelector(selector.base_dir, selector.allow_not_found, selector.recursive))

    def create_dir(self, path, recursive):
        self.counter.check()
        if not self.objects:
            self.local.create_dir(path, recursive=recursive)

    def delete_file(self, path):
        self.counter.check()
        self.local.delete_file(path)

    def delete_dir(self, path):
        for item in sorted(Path(path).iterdir()):
            self.counter.check()
            item.unlink()
        self.counter.check()
        Path(path).rmdir()

    def open_input_stream(self, path):
        self.counter.check()
        return self.local.open_input_stream(path)

    def open_output_stream(self, path, metadata):
        self.counter.check()
        return pa.PythonFile(DyingFile(path, self.counter, self.objects), mode="w")

    def refuse(self, *args):
        raise AssertionError("a store need not be able to do this")

    copy_file = delete_dir_contents = delete_root_dir_contents = move = open_append_stream = open_input_file = refuse


def write_dying(folder: str, iteration: int, overwrite: bool, objects: bool, last: int | None) -> int:
    """Write a snapshot and die at operation `last`; returns how many there were."""
    handler = DyingStore(last, objects)
    store = CheckpointStore(folder, overwrite, PyFileSystem(handler))
    store.write(state(iteration), TrainState(iteration=iteration), {"n": iteration})
    return handler.counter.count


def read(folder: str) -> int | None:
    """Return the iteration of the newest snapshot, after looking at every number in it."""
    store = CheckpointStore(folder)
    if store.latest() is None:
        return None
    found = store.read()
    iteration = found.train_state.iteration
    assert found.meta == {"n": iteration}
    assert {name: array.tobytes() for name, array in found.state.items()} == {
        name: array.tobytes() for name, array in state(iteration).items()
    }
    return iteration


def die_at_every_step(overwrite: bool, objects: bool, old: bool) -> list[list[int | None]]:
    """Return per operation what was found after dying at it, and after the next write; the last one did not die."""
    found: list[list[int | None]] = []
    while not found or found[-1][2]:
        with tempfile.TemporaryDirectory() as folder:
            if old:
                write_dying(folder, 5, overwrite, objects, None)
            child = os.fork()
            if not child:
                write_dying(folder, 6, overwrite, objects, len(found) + 1)
                os._exit(0)
            died = os.waitpid(child, 0)[1]
            assert died in (0, signal.SIGKILL)
            after = read(folder)
            CheckpointStore(folder, overwrite).write(state(4), TrainState(iteration=4), {"n": 4})
            kept = len(list(Path(folder).iterdir()))
            found.append([after, read(folder), died, kept])
    return found
