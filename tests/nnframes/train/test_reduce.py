from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.sparse import RowSparse, coalesce
from nnframes.errors import ArgumentError
from nnframes.train import SerialSync
from nnframes.train.reduce import add_sparse, combine, partial_sums, subtrees, tree_sum

shard_counts = st.integers(1, 17)


@st.composite
def placements(draw):
    """(shards, the worker of each shard)."""
    shards = draw(shard_counts)
    return shards, draw(st.lists(st.integers(0, 4), min_size=shards, max_size=shards))


def messages(shards: int, size: int = 5) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(shards)
    values = rng.standard_normal((shards, size)) * 10.0 ** rng.integers(-4, 4, (shards, 1))
    return dict(enumerate(values.astype(np.float32)))


def by_definition(values: dict[int, np.ndarray], low: int, high: int) -> np.ndarray:
    if high - low == 1:
        return values[low]
    middle = (low + high + 1) // 2
    return by_definition(values, low, middle) + by_definition(values, middle, high)


@given(shard_counts)
def test_tree_sum_is_the_definition(shards):
    expected = by_definition(messages(shards), 0, shards)
    assert tree_sum(messages(shards), shards).tobytes() == expected.tobytes()
    serial, _ = SerialSync(shards).all_reduce(messages(shards), {shard: {} for shard in range(shards)})
    assert serial.tobytes() == expected.tobytes()


@given(placements())
def test_any_placement_gives_the_same_bits(placement):
    shards, worker = placement
    nodes = {}
    for one in set(worker):
        nodes |= partial_sums({s: m for s, m in messages(shards).items() if worker[s] == one}, shards)
    assert combine(nodes, shards).tobytes() == by_definition(messages(shards), 0, shards).tobytes()


@given(placements())
def test_subtrees_cover_what_is_held_with_whole_nodes(placement):
    shards, worker = placement
    held = [shard for shard in range(shards) if worker[shard] == worker[0]]
    nodes = subtrees(held, shards)
    assert [shard for low, high in nodes for shard in range(low, high)] == held
    tree = set()

    def walk(low: int, high: int) -> None:
        tree.add((low, high))
        if high - low > 1:
            middle = (low + high + 1) // 2
            walk(low, middle)
            walk(middle, high)
            assert not {(low, middle), (middle, high)} <= set(nodes), "the two could have been one"

    walk(0, shards)
    assert set(nodes) <= tree


@pytest.mark.parametrize("cut", [1, 2, 4])
def test_slices_combine_to_slices(cut):
    whole = tree_sum(messages(6), 6)
    parts = [tree_sum({s: m[part] for s, m in messages(6).items()}, 6) for part in (slice(0, cut), slice(cut, None))]
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_the_sum_is_made_in_the_leftmost_array():
    values = messages(3)
    assert tree_sum(values, 3) is values[0]


def sparse_messages(shards: int) -> dict[int, dict[str, RowSparse]]:
    rng, result = np.random.default_rng(shards), {}
    for shard in range(shards):
        rows = rng.integers(0, 6, shard)
        result[shard] = {"words": coalesce(rows, rng.standard_normal((shard, 2)).astype(np.float32))} if shard else {}
    return result


@given(placements())
def test_row_sparse_sums_are_placed_freely_too(placement):
    shards, worker = placement
    values = sparse_messages(shards)
    expected = tree_sum(values, shards, add_sparse)
    nodes = {}
    for one in set(worker):
        nodes |= partial_sums({s: m for s, m in values.items() if worker[s] == one}, shards, add_sparse)
    total = combine(nodes, shards, add_sparse)
    assert set(total) == set(expected) == ({"words"} if shards > 1 else set())
    for name, sum_ in total.items():
        assert np.array_equal(sum_.rows, expected[name].rows)
        assert sum_.values.tobytes() == expected[name].values.tobytes()
        dense = by_definition(
            {s: m[name].to_dense(6) if m else np.zeros((6, 2), np.float32) for s, m in values.items()}, 0, shards
        )
        assert np.array_equal(sum_.to_dense(6), dense)


def test_a_missing_shard_is_named():
    with pytest.raises(ArgumentError, match=r"Shard 2 is missing from the sum. Received: \[\(0, 2\)\]"):
        combine({(0, 2): np.zeros(1)}, 3)


@pytest.mark.parametrize("shard", [-1, 4])
def test_shards_outside_are_refused(shard):
    with pytest.raises(ArgumentError, match=r"Shards must be in \[0, 4\)"):
        subtrees([0, shard], 4)


def test_a_sync_of_no_shards_is_refused():
    with pytest.raises(ArgumentError, match="shards must be >= 1"):
        SerialSync(0)
