"""Samples survive the way through files, pieces and other hosts to the last bit; folders are kept and cleaned."""

from __future__ import annotations

import os
import socket
import subprocess
import threading

import numpy as np
import pytest

from kernels.random import stream
from nnframes.distributed import cache
from nnframes.distributed.balance import Piece
from nnframes.distributed.cache import fit_folder, remove_fit, sweep
from nnframes.distributed.files import ShardFile, ShardWriter, stored
from nnframes.distributed.mesh import Mesh, Peer
from nnframes.distributed.store import TAIL, ShardStore
from nnframes.distributed.transfer import fetch
from nnframes.errors import DataError
from nnframes.train import MiniBatch

FIXED = [(np.arange(12, dtype=np.float32).reshape(4, 3), np.arange(4)), (np.ones((2, 3), np.float32), np.arange(2))]
RAGGED = [([np.arange(size, dtype=np.uint8).reshape(1, size) for size in (3, 1, 0)], np.arange(3.0))]


def written(folder, blocks, shard=0, tuple_target=False) -> ShardFile:
    writer = ShardWriter("fit", shard, str(folder))
    for block in blocks:
        writer.add(block, 1, tuple_target)
    return ShardFile(writer.close())


def same(a, b) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) and x.shape == y.shape for x, y in zip(a, b, strict=True))


def test_fixed_shapes_come_back_as_one_array(tmp_path):
    file = written(tmp_path, FIXED)
    rows = file.fields[0].take(np.array([5, 0, 3]))
    assert rows.tolist() == [[1, 1, 1], [0, 1, 2], [9, 10, 11]]
    assert file.fields[1].take(np.arange(6)).dtype == np.int32
    assert file.rows == 6


def test_many_shapes_come_back_as_a_list(tmp_path):
    file = written(tmp_path, RAGGED)
    samples = file.fields[0].take(np.array([2, 0, 1]))
    assert same(samples, [RAGGED[0][0][2], RAGGED[0][0][0], RAGGED[0][0][1]])
    assert file.fields[1].take(np.array([1])).dtype == np.float32


@pytest.mark.parametrize("blocks", [FIXED, RAGGED], ids=["fixed", "ragged"])
def test_pieces_on_other_hosts_are_fetched_to_the_last_bit(tmp_path, blocks):
    """Two ranks, each with the files that the other one needs."""
    files = [{rank: written(tmp_path / str(rank), blocks, rank)} for rank in range(2)]
    rows = files[0][0].rows
    transfers = [[1, 0, 1, 0, rows], [0, 1, 0, 1, rows], [0, 1, 0, 0, 1]]
    ends = socket.socketpair()
    meshes = [Mesh(rank, {1 - rank: ends[rank]}, {1 - rank: Peer(1 - rank, "host", "pair")}, 10.0) for rank in range(2)]
    found: dict[int, dict] = {}

    def run(rank):
        found[rank] = fetch(meshes[rank], transfers, files[rank], "fit", str(tmp_path / str(rank)))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    for mesh in meshes:
        mesh.close()
    assert set(found[0]) == {Piece(1, 0, rows)}
    assert set(found[1]) == {Piece(0, 1, rows), Piece(0, 0, 1)}
    for rank, fetched in found.items():
        for piece, file in fetched.items():
            for k in range(2):
                whole = files[1 - rank][1 - rank].fields[k].take(np.arange(piece.low, piece.high))
                assert same(file.fields[k].take(np.arange(file.rows)), whole)


def test_a_shard_of_pieces_reads_like_one(tmp_path):
    a, b = written(tmp_path, FIXED), written(tmp_path, FIXED[1:], 1)
    store = ShardStore({7: [(a, 1, 5), (b, 0, 2)]}, None, 0)
    batch = store.batch(7, 0, np.array([5, 0, 3, 4]))
    assert store.rows(7) == 6
    assert batch.inputs[0].tolist() == [[1, 1, 1], [3, 4, 5], [1, 1, 1], [1, 1, 1]]
    assert batch.target.tolist() == [1, 1, 0, 0]
    assert (batch.inputs[0].dtype, batch.target.dtype) == (np.float32, np.int32)


def test_a_tail_draws_by_row_not_by_batch(tmp_path):
    def draw(epoch, rows):
        return store.batch(0, epoch, np.array(rows)).inputs[0].tolist()

    pieces = {0: [(written(tmp_path, FIXED), 0, 6)]}
    store = ShardStore(pieces, lambda x, y, rngs: MiniBatch((np.array([rng.random() for rng in rngs]),), y), 1)
    drawn = draw(2, range(6))
    assert [draw(2, [row])[0] for row in range(6)] == drawn
    assert drawn == [stream(1, 2, 0, row, TAIL).random() for row in range(6)]
    assert len({*drawn, *draw(3, range(6))}) == 12


def test_rows_that_draw_nothing_get_no_generator(tmp_path):
    asked = []

    def tail(inputs, target, streams):
        asked.append((streams, streams[3].random()))
        return MiniBatch(inputs, [np.zeros(2), np.ones(2)])

    store = ShardStore({0: [(written(tmp_path, FIXED), 0, 6)]}, tail, 1)
    batch = store.batch(0, 0, np.arange(6)[::-1])
    assert asked[0][1] == stream(1, 0, 0, 2, TAIL).random()
    assert list(asked[0][0]._made) == [3]
    assert batch.target.tolist() == [[0, 0], [1, 1]]


def test_samples_of_many_shapes_need_a_tail(tmp_path):
    store = ShardStore({0: [(written(tmp_path, RAGGED), 0, 3)]}, None, 0)
    with pytest.raises(DataError, match=r"Samples of one batch must have one shape. Received: \(1, 0\), \(1, 1\)"):
        store.batch(0, 0, np.arange(3))
    assert store.batch(0, 0, np.array([1])).inputs[0].tolist() == [[[0]]]


REFUSED = [
    (np.array(["a"]), "Samples must be numbers"),
    (np.array([2**40]), "Whole numbers must fit 32 bits"),
]


@pytest.mark.parametrize(("values", "message"), REFUSED)
def test_what_cannot_be_stored_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        stored(values)


def test_blocks_must_agree(tmp_path):
    writer = ShardWriter("fit", 0, str(tmp_path))
    writer.add(FIXED[0], 1, False)
    with pytest.raises(DataError, match="one dtype and rank"):
        writer.add((np.zeros((1, 3), np.uint8), np.arange(1)), 1, False)
    with pytest.raises(DataError, match="same number of inputs"):
        writer.add((np.zeros((1, 3), np.float32),), 1, False)
    writer.abort()


def test_an_incomplete_file_is_refused(tmp_path):
    file = written(tmp_path, FIXED)
    (file.path / "0.bin").write_bytes(b"1234")
    with pytest.raises(DataError, match=r"must hold 6 samples of shape \(3,\)"):
        ShardFile(file.path)
    (file.path / "header.json").unlink()
    with pytest.raises(DataError, match="must hold a complete shard"):
        ShardFile(file.path)


def test_a_full_memory_file_system_hands_over_to_the_disk(tmp_path, monkeypatch):
    memory, disk = tmp_path / "memory", tmp_path / "disk"
    memory.mkdir()
    disk.mkdir()
    space = {memory: 100, disk: 10**6}
    monkeypatch.setattr("nnframes.distributed.files.candidates", lambda folder, on_disk: [memory, disk])
    monkeypatch.setattr("nnframes.distributed.files.room", space.__getitem__)
    writer = ShardWriter("fit", 0, None)
    writer.add(FIXED[0], 1, False)
    space[memory] = 10
    writer.add(FIXED[1], 1, False)
    path = writer.close()
    assert disk in path.parents
    assert same(ShardFile(path).fields[0].take(np.arange(6)), np.concatenate([FIXED[0][0], FIXED[1][0]]))
    assert not list(memory.rglob("*.bin"))
    space[disk] = 10
    with pytest.raises(DataError, match=r"must have room for \d+ more bytes"):
        ShardWriter("fit", 1, None).add(FIXED[0], 1, False)


def test_only_dead_fits_are_swept(tmp_path):
    folders = {name: fit_folder(tmp_path, name) for name in ("live", "dead", "foreign", "young", "old")}
    for name in ("dead", "foreign", "young", "old"):
        for owner in (folders[name] / "owners").iterdir():
            owner.unlink()
    (folders["dead"] / "owners" / f"{socket.gethostname()}:1:before-this-boot").touch()
    (folders["foreign"] / "owners" / "another-host:1:1").touch()
    os.utime(folders["old"], (0, 0))
    sweep(str(tmp_path))
    assert {name for name, folder in folders.items() if folder.exists()} == {"live", "foreign", "young"}
    remove_fit("live", str(tmp_path))
    remove_fit("live", str(tmp_path))
    assert not folders["live"].exists()


def test_a_process_that_nobody_has_buried_is_dead(tmp_path):
    folder = fit_folder(tmp_path, "killed")
    with subprocess.Popen(["true"]) as process:
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        for owner in (folder / "owners").iterdir():
            owner.unlink()
        (folder / "owners" / f"{socket.gethostname()}:{process.pid}:{cache._started(process.pid)}").touch()
        sweep(str(tmp_path))
    assert not folder.exists()


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch):
    fit_folder(tmp_path, "a")
    monkeypatch.setattr(cache.os, "getuid", lambda: 12345)
    (tmp_path / "nnframes-12345").mkdir()
    monkeypatch.setattr(cache.os, "getuid", iter([12345, 12345, 777]).__next__)
    with pytest.raises(DataError, match="must belong to this user"):
        fit_folder(tmp_path, "b")
