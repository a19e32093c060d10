from __future__ import annotations

import itertools

import numpy as np
import pytest

from kernels.errors import ArgumentError
from kernels.random import permutation, stream, uniform_mask

# First raw words of some streams. They must never change: stored runs are resumed with them.
GOLDEN = [
    ((0,), [213000021201967259, 4455796210202625458, 2055444239878205049]),
    ((7, 1, 2, 3), [560779879732166654, 4599848583522699346, 305738767132848321]),
    ((2**64 - 1, 2**32 - 1, 0, 5, 6, 7, 8, 9), [7355871971657931313, 5672256577638243881, 7121230356576370644]),
]


@pytest.mark.parametrize(("name", "words"), GOLDEN)
def test_golden_words(name, words):
    assert stream(*name).bit_generator.random_raw(3).tolist() == words


def test_words_follow_the_documented_packing():
    expected = np.random.Philox(
        key=np.array([5, 1 | 2 << 32], np.uint64), counter=np.array([0, 3 | 4 << 32, 6 << 32, 6 << 32], np.uint64)
    )
    assert stream(5, 1, 2, 3, 4, 0, 6).bit_generator.random_raw(8).tolist() == expected.random_raw(8).tolist()


def test_distinct_names_give_distinct_streams():
    names = [(seed, *key) for seed in (0, 1) for n in range(4) for key in itertools.product((0, 1, 2), repeat=n)]
    firsts = {tuple(stream(*name).bit_generator.random_raw(2).tolist()) for name in names}
    assert len(firsts) == len(names)


def test_negative_seed_is_taken_modulo():
    assert stream(-1, 3).random() == stream(2**64 - 1, 3).random()


@pytest.mark.parametrize("key", [(-1,), (2**32,), tuple(range(8))])
def test_keys_that_cannot_be_packed_are_refused(key):
    with pytest.raises(ArgumentError, match="at most 7 integers"):
        stream(0, *key)


def test_golden_permutation():
    assert permutation(3, 1, 2, size=8).tolist() == [2, 4, 3, 7, 6, 0, 1, 5]


@pytest.mark.parametrize("size", [0, 1, 2, 1000])
def test_permutation_holds_every_row_once(size):
    order = permutation(11, 4, size=size)
    assert order.dtype == np.int64
    assert np.array_equal(np.sort(order), np.arange(size))


def test_permutations_are_even():
    places = np.array([permutation(0, n, size=3) for n in range(6000)])
    _, counts = np.unique(places, axis=0, return_counts=True)
    assert len(counts) == 6
    assert np.abs(counts - 1000).max() < 150


def test_negative_size_is_refused():
    with pytest.raises(ArgumentError, match=r"size must be >= 0. Received: -1"):
        permutation(0, size=-1)


def test_golden_mask():
    assert np.packbits(uniform_mask(9, (1, 2), (4, 8), 0.75)).tolist() == [254, 47, 247, 255]


def quarters(generator: np.random.Generator, count: int) -> list[int]:
    words = generator.bit_generator.random_raw(-(-count // 4))
    return [word >> bits & 0xFFFF for word in words.tolist() for bits in (0, 16, 32, 48)][:count]


@pytest.mark.parametrize("keep_prob", [0.0, 1e-9, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5), (640, 501)])
def test_mask_compares_quarters_in_order_and_what_is_equal_once_more(keep_prob, shape):
    mask = uniform_mask(2, (8,), shape, keep_prob)
    assert mask.shape == shape
    upper, lower = divmod(round(keep_prob * 2**32), 2**16)
    generator = stream(2, 8)
    found = quarters(generator, mask.size)
    equal = [number for number, quarter in enumerate(found) if quarter == upper]
    again = dict(zip(equal, quarters(generator, len(equal)), strict=True))
    expected = [quarter < upper or again.get(number, lower) < lower for number, quarter in enumerate(found)]
    assert mask.reshape(-1).tolist() == expected


@pytest.mark.parametrize("keep_prob", [0.2, 0.5, 0.9])
def test_mask_keeps_the_asked_share(keep_prob):
    mask = uniform_mask(2, (8,), (100_000,), keep_prob)
    assert abs(mask.mean() - keep_prob) < 0.006


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.bool_])
@pytest.mark.parametrize("keep_prob", [0.0, 0.4, 1.0])
def test_mask_writes_into_out(dtype, keep_prob):
    out = np.full((5, 3), 1, dtype)
    assert uniform_mask(4, (1,), (5, 3), keep_prob, out) is out
    assert np.array_equal(out, uniform_mask(4, (1,), (5, 3), keep_prob).astype(dtype))


@pytest.mark.parametrize("keep_prob", [-0.1, 1.5, float("nan")])
def test_mask_refuses_bad_probability(keep_prob):
    with pytest.raises(ArgumentError, match="keep_prob must be in"):
        uniform_mask(0, (), (3,), keep_prob)


@pytest.mark.parametrize("out", [np.empty((3, 2)), np.empty((4, 3)).T[:, :4].T[:, ::2]])
def test_mask_refuses_out_that_does_not_fit(out):
    with pytest.raises(ArgumentError, match="C-contiguous"):
        uniform_mask(0, (), (4, 2), 0.5, out)


def test_masks_of_many_blocks_go_on_where_the_stream_is(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = uniform_mask(3, (5,), (300_001,), 0.4)
    monkeypatch.setattr("kernels.random._BLOCK", 8)
    assert np.array_equal(uniform_mask(3, (5,), (300_001,), 0.4), whole)
