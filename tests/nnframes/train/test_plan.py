from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnframes.errors import ArgumentError
from nnframes.train import SamplingPlan

sizes = st.builds(
    SamplingPlan, st.integers(1, 70), st.integers(1, 80), st.integers(1, 12), st.integers(-(2**40), 2**40)
)


@given(sizes, st.integers(0, 1000))
def test_each_row_comes_once_an_epoch(plan, epoch):
    seen = {shard: [] for shard in range(plan.shards)}
    for step in range(plan.iterations_per_epoch):
        for shard, rows in seen.items():
            rows += plan.indices(epoch, step, shard).tolist()
    assert {shard: sorted(rows) for shard, rows in seen.items()} == {
        shard: list(range(plan.shard_rows(shard))) for shard in range(plan.shards)
    }


@given(sizes)
def test_shards_are_dealt_evenly(plan):
    counts = [plan.shard_rows(shard) for shard in range(plan.shards)]
    assert counts == [len(range(shard, plan.rows, plan.shards)) for shard in range(plan.shards)]
    assert max(counts) - min(counts) <= 1


@given(sizes)
def test_iterations_take_even_parts(plan):
    for step in range(plan.iterations_per_epoch):
        counts = [len(plan.indices(0, step, shard)) for shard in range(plan.shards)]
        rows = plan.batch_rows(step)
        assert sum(counts) == rows
        assert set(counts) <= {rows // plan.shards, rows // plan.shards + 1}
        assert rows == plan.batch_size or step == plan.iterations_per_epoch - 1
    assert sum(map(plan.batch_rows, range(plan.iterations_per_epoch))) == plan.rows


@given(sizes, st.integers(0, 5))
@settings(max_examples=30)
def test_the_plan_is_a_pure_function(plan, epoch):
    again = SamplingPlan(plan.rows, plan.batch_size, plan.shards, plan.seed)
    last = plan.iterations_per_epoch - 1
    plan.indices(epoch + 1, 0, 0)
    for shard in reversed(range(plan.shards)):
        assert np.array_equal(plan.indices(epoch, last, shard), again.indices(epoch, last, shard))


def test_position_by_position_as_defined():
    plan = SamplingPlan(rows=11, batch_size=4, shards=3, seed=2)
    orders = [np.concatenate([plan.indices(1, step, shard) for step in range(3)]) for shard in range(3)]
    for step in range(3):
        dealt = {shard: [] for shard in range(3)}
        for position in range(4 * step, min(4 * step + 4, 11)):
            dealt[position % 3].append(orders[position % 3][position // 3])
        assert {shard: plan.indices(1, step, shard).tolist() for shard in range(3)} == dealt


def test_epochs_shards_and_seeds_shuffle_differently():
    def order(seed: int, epoch: int, shard: int) -> tuple[int, ...]:
        return tuple(SamplingPlan(80, 80, 2, seed).indices(epoch, 0, shard).tolist())

    assert len({order(seed, epoch, shard) for seed in range(3) for epoch in range(3) for shard in range(2)}) == 18


def test_golden_order():
    """Stored runs resume with it."""
    plan = SamplingPlan(rows=10, batch_size=4, shards=2, seed=0)
    assert [[plan.indices(0, step, shard).tolist() for shard in range(2)] for step in range(3)] == [
        [[2, 3], [2, 4]],
        [[1, 0], [3, 0]],
        [[4], [1]],
    ]


@pytest.mark.parametrize("name", ["rows", "batch_size", "shards"])
def test_sizes_below_one_are_refused(name):
    values = {"rows": 5, "batch_size": 5, "shards": 5, "seed": 0, name: 0}
    with pytest.raises(ArgumentError, match=f"{name} must be >= 1. Received: 0."):
        SamplingPlan(**values)
