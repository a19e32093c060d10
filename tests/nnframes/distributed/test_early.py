"""Sums that begin while gradients are computed: the bits of one process, and the choice that all ranks follow."""

from __future__ import annotations

import numpy as np
import pytest

from nnframes.distributed import early, region
from nnframes.distributed.collective import GroupSync
from nnframes.distributed.early import stretches
from nnframes.distributed.ways import EARLY, SLICED, WHOLE, Ways
from nnframes.distributed.wire import Secret
from nnframes.io.replica_file import load_replica
from nnframes.train import MiniBatch, SerialSync
from nnframes.train.compression import Rounding
from tests.nnframes.distributed import peers, together

WAYS = [WHOLE, EARLY, EARLY, SLICED, EARLY]
LEAST = early.LEAST
LARGE = (512, 4)
"""The shape of a network whose messages are long enough as they are, and its parameters stretches."""

ENCRYPTED = Secret.fresh(encrypted=True)

SIZES = [0, 1, LEAST - 1, LEAST, LEAST + 1, 2 * LEAST - 1, 2 * LEAST, 8 * LEAST, 8 * LEAST + 1, 15_485_863, 179_424_673]
"""The last two are primes."""

pytestmark = pytest.mark.usefixtures("no_thread_is_left")


def followed(iterations: int) -> list[int]:
    return [WAYS[iteration % len(WAYS)] for iteration in range(iterations)]


@pytest.mark.parametrize("size", SIZES)
def test_stretches_are_one_after_the_other_from_the_end_on_and_never_short(size):
    found = stretches(size)
    assert len(found) <= early.STRETCHES
    assert bool(found) is (size >= 2 * LEAST)
    end = size
    for start, stop in found:
        assert stop == end
        assert stop - start >= LEAST
        end = start
    assert end > 0 or not size


# ---------------------------------------------------------------- bits


@pytest.mark.parametrize(("ranks", "shards"), [(2, 3), (3, 3)])
@pytest.mark.parametrize("threads", [1, 2])
def test_ranks_that_train_a_network_in_all_ways_have_the_bits_of_one_process(ranks, shards, threads):
    settings = together.settings_of(shards, 6)
    found = peers.run_ranks(ranks, shards, together.trained, settings, threads, WAYS, LARGE)
    expected, _ = together.trained(SerialSync(shards), settings, threads, shape=LARGE)
    assert found == dict.fromkeys(range(ranks), (expected, followed(6)))


def test_the_large_network_has_stretches_that_are_complete_one_after_the_other():
    replica = load_replica(together.network_bytes(*LARGE), 1)
    assert 4 * replica.gradient_size >= Ways.SIZE
    told, ends = [], stretches(replica.gradient_size)
    x = np.ones((8, together.FEATURES), np.float32)
    out = np.empty(replica.message_size, np.float32)
    replica.gradient(0, MiniBatch((x,), np.arange(8) % together.CLASSES), 0, out, told.append)
    at_once = [sum(start >= reached for start, _ in ends) for reached in told]
    assert len({count for count in at_once if count}) > 2
    assert at_once[-1] == len(ends) == 3


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("kind", ["none", "bf16"])
@pytest.mark.parametrize("rounds", [1, 2])
@pytest.mark.parametrize(("ranks", "shards"), [(2, 2), (2, 5), (3, 7), (4, 4)])
def test_stretches_in_one_round_or_two_have_the_bits_of_one_process(ranks, shards, rounds, kind, monkeypatch):
    monkeypatch.setattr(region, "SMALL", 0 if rounds == 2 else 1 << 30)
    size = load_replica(together.network_bytes(), 1).gradient_size
    settings, rounding = together.settings_of(shards, 7), Rounding(kind, size)
    assert len(stretches(size)) == early.STRETCHES - 1
    ways = WAYS if kind == "none" else [WHOLE, EARLY, EARLY]  # what is rounded is not sent as weights
    found = together.run_together(ranks, shards, lambda sync: together.trained(sync, settings, 1, ways), rounding)
    expected, _ = together.trained(SerialSync(shards, rounding), settings)
    assert found == [(expected, [ways[iteration % len(ways)] for iteration in range(7)])] * ranks


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("kind", "ways"), [("lars", [WHOLE, EARLY, EARLY]), ("clipped", WAYS)])
@pytest.mark.parametrize(("ranks", "shards"), [(2, 3), (3, 3)])
def test_updates_that_look_at_more_than_one_weight_have_the_bits_of_one_process(ranks, shards, kind, ways):
    settings, shape = together.settings_of(shards, 7), (100, 3, kind)
    plain, _ = together.trained(SerialSync(shards), settings)
    expected, _ = together.trained(SerialSync(shards), settings, shape=shape)
    assert expected != plain
    found = together.run_together(ranks, shards, lambda sync: together.trained(sync, settings, 1, ways, shape))
    assert found == [(expected, [ways[iteration % len(ways)] for iteration in range(7)])] * ranks


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(("ranks", "shards", "rows"), [(2, 4, 13), (2, 4, 15), (3, 3, 13), (3, 6, 14)])
def test_a_rank_whose_last_shard_has_no_rows_exchanges_as_early_as_the_others(ranks, shards, rows):
    settings = together.settings_of(shards, 9, rows, batch=6)
    plan = settings.plan()
    last = plan.iterations_per_epoch - 1
    assert not len(plan.indices(0, last, shards - 1))
    assert all(len(plan.indices(0, 0, shard)) for shard in range(shards))
    found = together.run_together(ranks, shards, lambda sync: together.trained(sync, settings, 1, [EARLY]))
    expected, _ = together.trained(SerialSync(shards), settings)
    assert found == [(expected, [WHOLE] + [EARLY] * 8)] * ranks


@pytest.mark.usefixtures("small")
def test_encrypted_ranks_that_are_threads_have_the_bits_of_one_process():
    settings = together.settings_of(3, 6)
    found = together.run_together(2, 3, lambda sync: together.trained(sync, settings, 1, WAYS), secret=ENCRYPTED)
    assert found == [(together.trained(SerialSync(3), settings)[0], followed(6))] * 2


def test_encrypted_ranks_have_the_bits_of_one_process():
    settings = together.settings_of(2, 5)
    found = peers.run_ranks(2, 2, together.trained, settings, 1, WAYS, LARGE, secret=ENCRYPTED)
    expected, _ = together.trained(SerialSync(2), settings, shape=LARGE)
    assert found == dict.fromkeys(range(2), (expected, followed(5)))


# ---------------------------------------------------------------- the choice


class Clock:
    """Tells rank 0 what it is to see: how long iterations of each way take, and in them exchange and update."""

    def __init__(self, sync: GroupSync, early: float, exchange: float, update: float) -> None:
        self._sync, self._now, self._asked = sync, 0.0, 0
        self._computing = {WHOLE: 1 - exchange - update, EARLY: early - exchange - update}
        self._steps = exchange, update

    def __call__(self) -> float:
        part = self._asked % 3  # as `Ways.iterate` asks: before the exchange, behind it, behind the update
        self._now += self._steps[part - 1] if part else self._computing[self._sync._way]
        self._asked += 1
        return self._now


TRIED = 2 * ([WHOLE] * 4 + [EARLY] * 4)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("early_lap", "exchange", "update", "went"),
    [
        (0.8, 0.30, 0.12, [*TRIED, *[EARLY] * 4]),
        (1.1, 0.30, 0.05, [*TRIED, *[WHOLE] * 4]),
        (0.99, 0.30, 0.30, [*TRIED, *[SLICED] * 4]),
        (0.9, 0.04, 0.05, [WHOLE] * 10),
        (0.9, 0.04, 0.30, [WHOLE] * 6 + [SLICED] * 4),
    ],
    ids=["early", "whole", "sliced", "whole at once", "sliced at once"],
)
@pytest.mark.parametrize("ranks", [2, 3])
def test_all_ranks_follow_what_rank_0_finds_the_shortest(ranks, early_lap, exchange, update, went, monkeypatch):
    """Two iterations of a way are looked at after one that prepares it, and the next one tells what follows it."""
    monkeypatch.setattr(Ways, "ITERATIONS", 2)
    settings = together.settings_of(ranks, len(went))

    def work(sync: GroupSync) -> tuple[str, list[int]]:
        if sync.rank == 0:
            sync._ways = Ways(ranks, clock=Clock(sync, early_lap, exchange, update))
        return together.trained(sync, settings)

    found = together.run_together(ranks, ranks, work)
    assert found == [(together.trained(SerialSync(ranks), settings)[0], went)] * ranks


@pytest.mark.usefixtures("small")
def test_where_no_copies_are_kept_the_next_shortest_way_is_taken():
    settings = together.settings_of(2, 5)

    def work(sync: GroupSync) -> tuple[str, list[int]]:
        sync._ways.way, sync._ways.otherwise, sync._ways.is_settled = SLICED, EARLY, True
        return together.trained(sync, settings, are_kept=False)

    found = together.run_together(2, 2, work)
    assert found == [(together.trained(SerialSync(2), settings)[0], [WHOLE] + [EARLY] * 4)] * 2
