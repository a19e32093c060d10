"""Mini-batches of several owners: every row once in its place, whoever has most, whatever the shapes."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from nnframes.distributed.cache import CacheLevel
from nnframes.distributed.files import ShardFile, ShardWriter
from nnframes.distributed.gather import placed, shares, within
from nnframes.distributed.store import ShardStore
from nnframes.train import MiniBatch

OWNERS = {
    "one": [3, 3, 3],
    "most of one": [1, 0, 1, 1],
    "few of many": [5, 2, 9, 2, 0],
    "a tie": [4, 1, 4, 1],
}


@pytest.mark.parametrize("first", [-1, 2, 3, 99])
@pytest.mark.parametrize("owners", OWNERS.values(), ids=OWNERS)
def test_each_place_gets_what_its_owner_has(owners, first):
    owners, places = np.array(owners), np.arange(len(owners))
    whole, order = None, []
    for owner, chosen in shares(owners, first):
        order.append(owner)
        whole = placed(whole, chosen, 100 * owner + places[chosen])
    assert whole.tolist() == [100 * owner + place for place, owner in enumerate(owners)]
    assert sorted(order) == sorted(set(owners.tolist()))
    assert first not in order or order[0] == first


@pytest.mark.parametrize(
    "values",
    [np.zeros((2, 3), np.float64), np.zeros((2, 4), np.float32), [np.zeros(3), np.zeros(5)]],
    ids=["dtype", "shape", "list"],
)
def test_what_does_not_fit_an_array_makes_it_a_list(values):
    whole = placed(np.ones((4, 3), np.float32), np.array([0, 2]), values)
    assert [(value.shape, value.dtype) for value in whole[1::2]] == [((3,), np.float32)] * 2
    assert all(np.array_equal(*pair) for pair in zip(whole[::2], values, strict=True))


def test_rows_of_others_are_moved_inside():
    assert within(np.array([-4, 2, 3, 9]), 2, 4).tolist() == [2, 2, 3, 3]


@pytest.mark.parametrize("slices", [1, 3])
@pytest.mark.parametrize("ragged", [False, True], ids=["fixed", "ragged"])
def test_a_store_of_pieces_and_slices_reads_like_the_rows(tmp_path, slices, ragged):
    rng = np.random.default_rng(0)
    rows = [rng.standard_normal((1, 900 + (k % 3 if ragged else 0)), np.float32) for k in range(90)]

    def file(shard, low, high):
        writer = ShardWriter("fit", shard, str(tmp_path), CacheLevel("DISK_AND_DRAM", slices))
        writer.add([rows[low:high] if ragged else np.stack(rows[low:high]), np.arange(low, high)], 1, False)
        return ShardFile(writer.close())

    pieces = [(file(0, 0, 60), 5, 60), (file(1, 60, 70), 0, 3), (file(2, 70, 90), 10, 20)]
    tail = (lambda inputs, target, streams: MiniBatch(inputs, target)) if ragged else None
    store = ShardStore({4: pieces}, tail, 0)
    wanted = [*range(5, 60), *range(60, 63), *range(80, 90)]
    for count in (1, 7, 68):
        indices = rng.permutation(68)[:count]
        batch = store.batch(4, 0, indices)
        assert batch.target.tolist() == [wanted[k] for k in indices]
        assert all(np.array_equal(batch.inputs[0][place], rows[wanted[k]]) for place, k in enumerate(indices))
    assert store.rows(4) == 68


def test_a_large_row_at_the_end_of_a_piece_is_not_copied_for_the_rows_of_others(tmp_path):
    small = [np.zeros((1, 100 + k % 3), np.float32) for k in range(90)]
    large = np.zeros((1, 1_000_000), np.float32)

    def file(shard, rows):
        writer = ShardWriter("fit", shard, str(tmp_path))
        writer.add([rows, np.arange(len(rows))], 1, False)
        return ShardFile(writer.close())

    pieces = [(file(0, [*small[:50], large]), 0, 51), (file(1, small[50:]), 0, 40)]
    store = ShardStore({0: pieces}, lambda inputs, target, streams: MiniBatch(inputs, target), 0)
    tracemalloc.start()
    try:
        store.batch(0, 0, np.r_[:45, 51:91])
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2 * large.nbytes
