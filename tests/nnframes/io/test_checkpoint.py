from __future__ import annotations

import hashlib
import json
import resource
import shutil

import numpy as np
import pytest
from pyarrow.fs import FileSystem, PyFileSystem, SubTreeFileSystem

from nnframes.errors import ArgumentError, ModelFileError, TrainingError
from nnframes.io.checkpoint import CheckpointStore
from nnframes.io.replica_file import load_replica, replica_bytes
from nnframes.nn import (
    BatchNormalization,
    ClassNLLCriterion,
    Dropout,
    L2Regularizer,
    Linear,
    LogSoftMax,
    LookupTable,
    ReLU,
    Reshape,
    Sequential,
)
from nnframes.optim import SGD, Adam, L2NormClipping, Step
from nnframes.train import ArrayData, MaxEpoch, MaxIteration, SerialSync, TrainSettings, TrainState, train
from tests.nnframes.io.dying_store import DyingStore, die_at_every_step, read, state


def write(store: CheckpointStore, iteration: int) -> str:
    return store.write(state(iteration), TrainState(iteration=iteration), {"n": iteration})


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def rewrite(path, **changes) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


# ---------------------------------------------------------------- round trip and policy


def test_everything_comes_back(tmp_path):
    arrays = {
        "w/a.b": np.array([[1.5, -0.0], [np.nan, np.inf]], np.float32),
        "": np.zeros((0, 3), np.float64),
        "ä": np.array([2**62], np.int64),
        "columns": np.arange(6, dtype=np.int32).reshape(2, 3).T,
        "bytes": np.arange(3, dtype=np.uint8),
    }
    reached = TrainState(2, 7, 1, 99, 0.1, 1 / 3, 33, False, float("nan"))
    meta = {"settings": TrainSettings(9, 4, MaxEpoch(3)).to_json(), "history": [1, None, "x"]}
    CheckpointStore(tmp_path / "new" / "folder").write(arrays, reached, meta)
    found = CheckpointStore(tmp_path / "new" / "folder").read()
    assert {name: (a.dtype, a.shape, a.tobytes()) for name, a in found.state.items()} == {
        name: (a.dtype, a.shape, a.tobytes()) for name, a in arrays.items()
    }
    assert repr(found.train_state) == repr(reached)
    assert found.meta == meta
    assert not found.state["ä"].flags.writeable


def test_overwrite_keeps_the_newest(tmp_path):
    store = CheckpointStore(tmp_path)
    for iteration in (9, 10, 11):
        assert write(store, iteration) == f"{tmp_path}/snapshot.{iteration}"
        assert names(tmp_path) == [f"snapshot.{iteration}"]
    assert store.iterations() == [11]


def test_without_overwrite_all_stay(tmp_path):
    store = CheckpointStore(str(tmp_path), overwrite=False)
    for iteration in (9, 10, 100):
        write(store, iteration)
    assert names(tmp_path) == ["snapshot.10", "snapshot.100", "snapshot.9"]
    assert store.iterations() == [9, 10, 100]
    assert store.latest() == read(str(tmp_path)) == 100
    assert store.read(10).meta == {"n": 10}
    with pytest.raises(ModelFileError, match=r"snapshot of iteration 11. Received: \[9, 10, 100\]."):
        store.read(11)


def test_a_later_run_is_newer_whatever_its_iteration(tmp_path):
    write(CheckpointStore(tmp_path, overwrite=False), 1000)
    later = CheckpointStore(tmp_path, overwrite=False)
    assert [write(later, 20), write(later, 1000)] == [f"{tmp_path}/snapshot.20.1", f"{tmp_path}/snapshot.1000.1"]
    write(CheckpointStore(tmp_path, overwrite=False), 7)
    assert read(str(tmp_path)) == 7
    assert later.iterations() == [7, 20, 1000]
    write(CheckpointStore(tmp_path), 3)
    assert names(tmp_path) == ["snapshot.3.3"]


def test_going_back_within_a_run(tmp_path):
    store = CheckpointStore(tmp_path, overwrite=False)
    for iteration in (5, 6, 5):
        write(store, iteration)
    assert store.latest() == 5
    assert names(tmp_path) == ["snapshot.5", "snapshot.5.1", "snapshot.6"]


def test_a_run_that_goes_on_with_another_store(tmp_path):
    """Each snapshot is the newest when it is written, also after one that was written twice."""
    run = CheckpointStore(tmp_path).next_run()
    for number, iteration, expected in [(run, 5, 0), (run, 6, 0), (run, 6, 1), (run + 2, 6, 2), (run, 7, 3)]:
        store = CheckpointStore(tmp_path, overwrite=False, run=number)
        write(store, iteration)
        assert store.run == expected
        assert store.latest() == iteration
    assert store.next_run() == 4
    (tmp_path / "file").write_text("in the way")
    assert CheckpointStore(tmp_path / "file").next_run() == 0


def test_what_is_not_ours_stays(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "snapshot.1").mkdir()
    (tmp_path / "snapshot.1" / "notes.txt").write_text("mine")
    (tmp_path / "snapshot.01").mkdir()
    write(CheckpointStore(tmp_path), 2)
    assert names(tmp_path) == ["notes.txt", "snapshot.01", "snapshot.1", "snapshot.2.1"]
    assert read(str(tmp_path)) == 2


@pytest.mark.parametrize("address", ["file:{}", "file://{}", "file://{}/"])
def test_addresses(tmp_path, address):
    write(CheckpointStore(address.format(tmp_path / "a")), 1)
    assert CheckpointStore(tmp_path / "a").latest() == 1


def test_an_object_store_in_memory():
    files, _ = FileSystem.from_uri("mock:/")
    for root, store_files in (("bucket/run", files), ("run", SubTreeFileSystem("other", files))):
        store = CheckpointStore(root, filesystem=store_files)
        for iteration in (1, 2):
            write(store, iteration)
        assert CheckpointStore(root, filesystem=store_files).read().meta == {"n": 2}


def test_hadoops_spelling_of_s3():
    store = CheckpointStore("s3a://bucket/a/b/?region=eu-west-1")
    assert (store._files.type_name, store._root) == ("s3", "bucket/a/b")


def test_keys_in_addresses_are_not_shown():
    store = CheckpointStore("s3://user:key%2Fword@bucket/a?region=eu-west-1")
    assert store.path == "s3://bucket/a?region=eu-west-1"
    with pytest.raises(ArgumentError) as refusal:
        CheckpointStore("nosuch://user:keyword@bucket/a")
    assert "keyword" not in str(refusal.value)


@pytest.mark.parametrize("path", ["", "nosuch://bucket/x", "s3://"])
def test_refused_addresses(path):
    with pytest.raises(ArgumentError, match="path must"):
        CheckpointStore(path)


REFUSED = {
    "half floats": ({"w": np.zeros(2, np.float16)}, {}, "State 'w' must be an array of float32, .*float16"),
    "objects": ({"w": np.array([object()])}, {}, "Received: object"),
    "a list": ({"w": [1.0]}, {}, "Received: list"),
    "a single number": ({"w": np.float32(1)}, {}, "Received: float32"),
    "no dimension": ({"w": np.array(1.0)}, {}, r"Received: float64 \(\)"),
    "notes": ({}, {"a": {1, 2}}, "meta must be what JSON holds"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_content(case, tmp_path):
    arrays, meta, text = REFUSED[case]
    with pytest.raises(ArgumentError, match=text):
        CheckpointStore(tmp_path / "new").write(arrays, TrainState(), meta)
    assert not (tmp_path / "new").exists()


# ---------------------------------------------------------------- faults


@pytest.mark.parametrize("old", [True, False], ids=["second", "first"])
@pytest.mark.parametrize("objects", [False, True], ids=["disk", "objects"])
@pytest.mark.parametrize("overwrite", [True, False], ids=["newest", "all"])
def test_a_kill_at_any_step_leaves_old_or_new(overwrite, objects, old, spawn):
    """SIGKILL at every operation, in the middle of writes too; the next run writes, reads and cleans up."""
    found = spawn(die_at_every_step, overwrite, objects, old)
    assert len(found) >= 8
    before = 5 if old else None
    switch = [after for after, *_ in found].index(6)
    assert [after for after, *_ in found] == [before] * switch + [6] * (len(found) - switch)
    assert 4 <= switch < len(found) - 1
    assert all(following == 4 for _, following, *_ in found)
    if overwrite:
        assert {kept for *_, kept in found} == {1}


def write_with_little_room(folder: str, limit: int) -> list:
    store = CheckpointStore(folder)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
    try:
        store.write(state(6), TrainState(iteration=6), {"n": 6})
    except TrainingError as error:
        return [str(error), store.latest()]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    return ["", store.latest()]


@pytest.mark.parametrize("limit", [0, 100, 2000])
def test_a_full_disk_keeps_the_old_one_and_says_so(tmp_path, spawn, limit):
    write(CheckpointStore(tmp_path), 5)
    text, latest = spawn(write_with_little_room, str(tmp_path), limit)
    assert text.startswith(f"The snapshot of iteration 6 must be written to {tmp_path}. Received: ")
    assert "File too large" in text
    assert "Hint: free space" in text
    assert latest == read(str(tmp_path)) == 5
    assert names(tmp_path) == ["snapshot.5"]


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(TrainingError, match="The snapshot of iteration 1 must be written to"):
        write(CheckpointStore(tmp_path / "file"), 1)
    with pytest.raises(ModelFileError, match="cannot be read"):
        CheckpointStore(tmp_path / "file").read()


def test_old_ones_that_cannot_be_removed_are_warned_of(tmp_path):
    class Kept(DyingStore):
        def delete_dir(self, path):
            raise PermissionError(13, "not allowed")

    store = CheckpointStore(str(tmp_path), filesystem=PyFileSystem(Kept(None, False)))
    write(store, 1)
    with pytest.warns(UserWarning, match="cannot be removed.*not allowed"):
        write(store, 2)
    assert read(str(tmp_path)) == 2


# ---------------------------------------------------------------- reading what is wrong


def damaged(path):
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


DAMAGE = {
    "a bit": (lambda f: damaged(f / "state.safetensors"), "expected SHA-256 .*Hint: the snapshot was changed"),
    "shorter": (lambda f: (f / "state.safetensors").write_bytes(b"x"), r"expected \d+ bytes, received 1 bytes"),
    "missing": (lambda f: (f / "state.safetensors").unlink(), "received no file"),
    "newer": (lambda f: rewrite(f / "manifest.json", version=2), "expected version 1, received 2.*Hint: update"),
    "foreign": (lambda f: rewrite(f / "manifest.json", format="x"), "another program"),
    "a list": (lambda f: (f / "manifest.json").write_text("[]"), "another program"),
    "other files": (lambda f: rewrite(f / "manifest.json", files={"../../x": {}}), "must list size and sha256"),
    "a size of text": (
        lambda f: rewrite(f / "manifest.json", files={"state.safetensors": {"size": "1", "sha256": ""}}),
        "must list size and sha256",
    ),
    "renamed": (lambda f: f.rename(f.with_name("snapshot.9")), "expects iteration 9, received 6"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_damage_is_said_and_an_earlier_one_can_be_read(case, tmp_path):
    store = CheckpointStore(tmp_path, overwrite=False)
    for iteration in (5, 6):
        write(store, iteration)
    damage, text = DAMAGE[case]
    damage(tmp_path / "snapshot.6")
    with pytest.raises(ModelFileError, match=text):
        store.read()
    assert store.read(5).meta == {"n": 5}


HALF = {
    "no manifest": lambda f: (f / "manifest.json").unlink(),
    "empty manifest": lambda f: (f / "manifest.json").write_bytes(b""),
    "torn manifest": lambda f: (f / "manifest.json").write_bytes((f / "manifest.json").read_bytes()[:-1]),
    "no text": lambda f: (f / "manifest.json").write_bytes(b"\xff\xfe{}"),
    "endless manifest": lambda f: (f / "manifest.json").write_bytes(b" " * 70000 + (f / "manifest.json").read_bytes()),
    "deep manifest": lambda f: (f / "manifest.json").write_bytes(b"[" * 60000),
    "a folder for a manifest": lambda f: ((f / "manifest.json").unlink(), (f / "manifest.json").mkdir()),
    "a file for a folder": lambda f: (shutil.rmtree(f), f.write_text("")),
}


@pytest.mark.parametrize("case", HALF)
def test_half_a_snapshot_is_none(case, tmp_path):
    store = CheckpointStore(tmp_path, overwrite=False)
    for iteration in (5, 6):
        write(store, iteration)
    HALF[case](tmp_path / "snapshot.6")
    assert store.latest() == read(str(tmp_path)) == 5
    assert store.iterations() == [5]


def test_nothing_there(tmp_path):
    for folder in (tmp_path, tmp_path / "none"):
        assert CheckpointStore(folder).latest() is None
        with pytest.raises(ModelFileError, match=r"must hold a complete snapshot. Received: none."):
            CheckpointStore(folder).read()


@pytest.mark.parametrize("notes", [{}, {"training": "x"}, {"training": '{"train_state": {"later": 1}, "meta": {}}'}])
def test_tensors_without_counters(tmp_path, notes):
    from nnframes.io.tensors import pack

    folder = tmp_path / "snapshot.1"
    write(CheckpointStore(tmp_path), 1)
    data = pack(state(1), notes)
    (folder / "state.safetensors").write_bytes(data)
    entry = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    rewrite(folder / "manifest.json", files={"state.safetensors": entry})
    with pytest.raises(ModelFileError, match="must hold the counters of a run"):
        CheckpointStore(tmp_path).read()


# ---------------------------------------------------------------- resuming

METHODS = {
    "adam": lambda: Adam(0.01, learningrate_decay=0.01),
    "momentum": lambda: SGD(0.05, momentum=0.9, weightdecay=1e-3, learningrate_schedule=Step(5, 0.5)),
}
RUN = TrainSettings(rows=50, batch_size=16, end_when=MaxEpoch(3), shards=3, seed=4)


def replica(method: str):
    """A network with all that has state: dropout, batch norm, a table, regulariser, clipping."""
    net = Sequential().add(LookupTable(12, 4)).add(Reshape([12])).add(Linear(12, 8, wRegularizer=L2Regularizer(1e-3)))
    net.add(BatchNormalization(8)).add(ReLU()).add(Dropout(0.4)).add(Linear(8, 3)).add(LogSoftMax())
    payload = replica_bytes(net.set_seed(3), ClassNLLCriterion(), METHODS[method](), [L2NormClipping(1.0)], seed=9)
    return load_replica(payload, threads=1)


def rows() -> ArrayData:
    words = np.random.default_rng(1).integers(0, 12, (RUN.rows, 3))
    return ArrayData(words, words.sum(axis=1) % 3, RUN.shards)


def digest(arrays) -> str:
    content = [(name, array.dtype.str, array.shape, array.tobytes().hex()) for name, array in sorted(arrays.items())]
    return hashlib.sha256(repr(content).encode()).hexdigest()


def resume(folder: str, method: str) -> list:
    found, fresh = CheckpointStore(folder).read(), replica(method)
    fresh.load_state(found.state)
    settings = TrainSettings.from_json(found.meta["settings"])
    reached = train(fresh, rows(), SerialSync(settings.shards), settings, found.train_state)
    return [digest(fresh.state()), reached.to_json()]


@pytest.mark.parametrize("stop", [6, 4], ids=["in an epoch", "between epochs"])
@pytest.mark.parametrize("method", METHODS)
def test_a_resumed_run_reaches_the_same_bits(method, stop, tmp_path, spawn):
    whole = replica(method)
    reached = train(whole, rows(), SerialSync(RUN.shards), RUN)
    first = replica(method)
    half = train(first, rows(), SerialSync(RUN.shards), RUN, until=MaxIteration(stop))
    assert (half.epoch, half.step) == divmod(stop, 4)
    CheckpointStore(tmp_path).write(first.state(), half, {"settings": RUN.to_json()})
    assert digest(first.state()) != digest(whole.state())
    assert spawn(resume, str(tmp_path), method) == [digest(whole.state()), reached.to_json()]


def test_a_second_crash_does_no_harm(tmp_path):
    """Snapshot, crash, resume, snapshot, resume: three processes' worth of a run."""
    whole = replica("adam")
    train(whole, rows(), SerialSync(RUN.shards), RUN)
    reached, current = TrainState(), replica("adam")
    for stop in (3, 7, 12):
        reached = train(current, rows(), SerialSync(RUN.shards), RUN, reached, MaxIteration(stop))
        CheckpointStore(tmp_path).write(current.state(), reached)
        found, current = CheckpointStore(tmp_path).read(), replica("adam")
        current.load_state(found.state)
        reached = found.train_state
    assert digest(current.state()) == digest(whole.state())
