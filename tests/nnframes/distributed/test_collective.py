"""The collective between real processes: the bits of the serial sum, and errors in time that name who and what."""

from __future__ import annotations

import socket

import pytest

from nnframes.distributed.ways import EARLY, SLICED, WHOLE
from nnframes.train import SerialSync
from nnframes.train.compression import Rounding
from tests.nnframes.distributed import peers

BIG = 3_000_000
LARGE = 1_200_000
"""Weights that may be updated by slices."""

CASES = [
    # ranks, shards, size, sparse
    (2, 2, 22_000, False),
    (2, 3, 100_001, True),
    (2, 2, BIG, False),
    (3, 7, 70_000, True),
    (4, 5, 5, True),
    (4, 4, 300_000, False),
]


@pytest.mark.parametrize(("ranks", "shards", "size", "sparse"), CASES)
def test_sums_are_those_of_one_process(ranks, shards, size, sparse):
    found = peers.run_ranks(ranks, shards, peers.sums, size, 3, sparse)
    expected = peers.serial(shards, size, 3, sparse)
    assert found == dict.fromkeys(range(ranks), expected)


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
@pytest.mark.parametrize(
    ("ranks", "shards", "size", "gradients"),
    [(2, 3, 100_001, 99_990), (3, 7, 70_000, 30_000), (2, 2, 1000, 990), (1, 3, 50, 40)],
)
def test_compressed_sums_are_those_of_one_process(ranks, shards, size, gradients, kind):
    """Slices of gradients alone, with statistics behind them, of statistics alone; and messages sent whole."""
    rounding = Rounding(kind, gradients)
    found = peers.run_ranks(ranks, shards, peers.sums, size, 3, True, rounding=rounding)
    expected = peers.serial(shards, size, 3, True, rounding)
    assert found == dict.fromkeys(range(ranks), expected)
    assert expected != peers.serial(shards, size, 3, True)


def test_compressed_gradients_take_half_the_bytes():
    size, tail = 500_000, 3
    plain, compressed = (
        peers.run_ranks(2, 2, peers.traffic, size, 1, False, rounding=Rounding(kind, size - tail))
        for kind in ("none", "bf16")
    )
    assert sum(plain.values()) - sum(compressed.values()) == 2 * 2 * (size - tail)
    assert sum(compressed.values()) < 0.51 * sum(plain.values())


@pytest.mark.parametrize(("ranks", "shards"), [(2, 2), (2, 3), (3, 7), (4, 5)])
def test_short_vectors_are_merged_as_in_one_process(ranks, shards):
    found = peers.run_ranks(ranks, shards, peers.merges, 5, 3, False)
    assert found == dict.fromkeys(range(ranks), peers.merges(SerialSync(shards), 5, 3, False))


@pytest.mark.parametrize(("ranks", "shards"), [(2, 2), (3, 4)])
def test_ranks_that_update_a_slice_each_have_the_bits_of_one_process(ranks, shards):
    ways = [WHOLE] * 3 + [SLICED] * 8
    found = peers.run_ranks(ranks, shards, peers.trained, LARGE, 11, ways)
    expected, _ = peers.trained(SerialSync(shards), LARGE, 11)
    assert found == dict.fromkeys(range(ranks), (expected, [3, 4, 6, 7]))


@pytest.mark.parametrize("kind", ["none", "bf16"])
@pytest.mark.parametrize(("ranks", "shards"), [(2, 2), (3, 4)])
def test_sums_that_begin_early_have_the_bits_of_one_process(ranks, shards, kind):
    ways, rounding = [WHOLE, EARLY, EARLY, WHOLE, SLICED, EARLY], Rounding(kind, LARGE + 18)
    found = peers.run_ranks(ranks, shards, peers.trained, LARGE, 9, ways, rounding=rounding)
    expected, _ = peers.trained(SerialSync(shards, rounding), LARGE, 9)
    assert {state for state, _ in found.values()} == {expected}


@pytest.mark.parametrize(
    ("extra", "rounding"), [(1000, Rounding()), (LARGE, Rounding("bf16", LARGE + 18))], ids=["small", "compressed"]
)
def test_small_and_compressed_messages_are_for_everybody(extra, rounding):
    found = peers.run_ranks(2, 2, peers.trained, extra, 8, [SLICED, WHOLE], rounding=rounding)
    assert found == dict.fromkeys(range(2), peers.trained(SerialSync(2, rounding), extra, 8))


def test_a_peer_that_dies_is_named():
    found = peers.run_ranks(2, 2, peers.dies, 100_000, 50, False)
    assert "PeerLost: Rank 0 lost rank 1 on" in found[0]
    assert "while it waited for the" in found[0]
    assert "of iteration 2 of this group" in found[0]


def test_a_peer_that_stalls_is_named_after_the_deadline():
    found = peers.run_ranks(2, 2, peers.stalls, 1000, 2, False, deadline=1.0)
    assert "PeerLost: Rank 0 waited 1 s to receive from rank 1 on" in found[0]
    assert "the gradients of iteration 1 of this group, 4032 bytes missing" in found[0]


def test_strangers_change_nothing():
    strangers = []

    def call(address):
        for words in (b"", b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 100_000):
            sock = socket.create_connection(address, timeout=5)
            strangers.append(sock)
            if words:
                sock.sendall(words)

    try:
        found = peers.run_ranks(2, 2, peers.sums, 1000, 2, True, before=call)
    finally:
        for sock in strangers:
            sock.close()
    assert found == dict.fromkeys(range(2), peers.serial(2, 1000, 2, True))
