"""Every row in exactly one place, shards of the plan's sizes, ranks next to their data."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nnframes.distributed.balance import Piece, balance, ranges
from nnframes.distributed.rendezvous import assign
from nnframes.train import SamplingPlan

COUNTS = st.lists(st.integers(0, 40), min_size=1, max_size=12)


@given(COUNTS)
def test_balanced_shards_have_the_plans_sizes_and_all_rows_once(counts):
    pieces = balance(counts)
    plan = SamplingPlan(max(1, sum(counts)), 1, len(counts), 0)
    if sum(counts):
        sizes = [sum(piece.high - piece.low for piece in parts) for parts in pieces]
        assert sizes == [plan.shard_rows(shard) for shard in range(len(counts))]
    rows = [(piece.source, row) for parts in pieces for piece in parts for row in range(piece.low, piece.high)]
    assert sorted(rows) == [(source, row) for source, count in enumerate(counts) for row in range(count)]


@given(COUNTS)
def test_as_few_rows_as_possible_move(counts):
    wanted = [len(range(shard, sum(counts), len(counts))) for shard in range(len(counts))]
    for shard, parts in enumerate(balance(counts)):
        own = [piece for piece in parts if piece.source == shard]
        assert own == (
            [Piece(shard, 0, min(counts[shard], wanted[shard]))] if min(counts[shard], wanted[shard]) else []
        )
        assert parts[: len(own)] == own


@given(st.integers(1, 30), st.integers(1, 30))
def test_ranges_cover_all_shards_evenly(shards, tasks):
    tasks = min(shards, tasks)
    parts = ranges(shards, tasks)
    assert [shard for part in parts for shard in part] == list(range(shards))
    assert {len(part) for part in parts} <= {shards // tasks, -(-shards // tasks)}


@given(COUNTS, st.data())
def test_every_rank_gets_every_row_it_needs_from_a_rank_that_has_it(counts, data):
    shards = len(counts)
    tasks = data.draw(st.integers(1, shards))
    visible = [sorted(data.draw(st.sets(st.integers(0, shards - 1)))) for _ in range(tasks)]
    plan = assign(visible, balance(counts))
    assert sorted(plan["ranks"]) == list(range(tasks))
    seen = {rank: set(sources) for rank, sources in zip(plan["ranks"], visible, strict=True)}
    moved = {(receiver, Piece(*piece)) for sender, receiver, *piece in plan["transfers"]}
    for sender, _receiver, source, *_ in plan["transfers"]:
        assert source in seen[sender]
    for rank, own in enumerate(ranges(shards, tasks)):
        for piece in [piece for shard in own for piece in balance(counts)[shard]]:
            reachable = piece.source not in plan["unreachable"]
            assert (piece.source in seen[rank]) + ((rank, piece) in moved) == reachable


def test_ranks_go_where_their_files_are():
    plan = assign([[2, 3], [0, 1]], balance([5, 5, 5, 5]))
    assert plan == {"ranks": [1, 0], "transfers": [], "unreachable": []}
