"""Rounded sums: to nearest even as the formats say, the same for any placement, and what does not fit is infinite."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnframes.errors import ArgumentError, TrainingError
from nnframes.optim import SGD
from nnframes.train import MaxEpoch, SerialSync, TrainSettings, train
from nnframes.train.compression import BLOCK, COMPRESSIONS, Packed, Rounding
from tests.nnframes.train.softmax import SoftmaxReplica
from tests.nnframes.train.test_loop import data

KINDS = [kind for kind in COMPRESSIONS if kind != "none"]


def floats() -> np.ndarray:
    """For each number of 16 bits (sign, exponent, mantissa of float32): itself, its middles, what lies beside them."""
    highs = np.arange(1 << 16, dtype=np.uint32)[:, None] << 16
    lows = np.array([0, 1, 0x0FFF, 0x1000, 0x1001, 0x2FFF, 0x3000, 0x7FFF, 0x8000, 0x8001, 0xFFFF], np.uint32)
    return (highs | lows).reshape(-1).view(np.float32)


def nearest(values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """The one of `numbers` (non-negative, in order, even and odd by turns, infinity last) nearest to |values|."""
    wide, magnitudes = numbers.astype(np.float64), np.abs(values).astype(np.float64)
    wide[-1] = 2 * wide[-2] - wide[-3]  # where infinity would be if the format went on
    above = np.clip(np.searchsorted(wide, magnitudes), 1, len(numbers) - 1)
    low, high = magnitudes - wide[above - 1], wide[above] - magnitudes
    up = (high < low) | ((high == low) & (above % 2 == 0))
    found = np.where(up, above, above - 1)
    found[magnitudes >= wide[-1]] = len(numbers) - 1
    return np.copysign(numbers[found], values)


NUMBERS = {
    "bf16": (np.arange(0x7F81, dtype=np.uint32) << 16).view(np.float32),
    "fp16": np.arange(0x7C01, dtype=np.uint16).view(np.float16).astype(np.float32),
}


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_are_rounded_to_the_nearest_even_one(kind):
    values = floats()
    rounded = Rounding(kind, values.size).round(values.copy())
    good = np.isfinite(values)
    expected = nearest(values[good], NUMBERS[kind])
    finite = np.isfinite(expected)
    assert np.array_equal(rounded[good][finite], expected[finite])
    assert not np.isfinite(rounded[good][~finite]).any()
    assert not np.isfinite(rounded[~good]).any()


def test_fp16_is_that_of_numpy():
    values = floats()[np.abs(floats()) < 65520]
    assert np.array_equal(Rounding("fp16", values.size).round(values.copy()), values.astype(np.float16))


@pytest.mark.parametrize("kind", KINDS)
def test_rounded_numbers_travel_unchanged(kind):
    rounding = Rounding(kind, 10**9)
    values = rounding.round(floats())
    packed = rounding.pack(values)
    assert (packed.codes.nbytes, packed.rest.size) == (values.nbytes // 2, 0)
    came = rounding.unpacked(packed)
    same = np.isfinite(values)
    assert came[same].tobytes() == values[same].tobytes()
    assert not np.isfinite(came[~same]).any()
    assert rounding.round(came.copy())[same].tobytes() == values[same].tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_behind_the_gradients_stays(kind):
    message = np.full(2 * BLOCK + 10, 1.2345678, np.float32)
    rounding = Rounding(kind, BLOCK + 7)
    rounding.round(message)
    assert (message[: BLOCK + 7] != np.float32(1.2345678)).all()
    assert (message[BLOCK + 7 :] == np.float32(1.2345678)).all()
    codes, rest = rounding.pack(message)
    assert (codes.size, rest.size) == (BLOCK + 7, BLOCK + 3)
    assert np.array_equal(rounding.unpacked(Packed(codes, rest)), message)


def test_without_compression_nothing_is_copied():
    message = np.arange(5, dtype=np.float32)
    rounding = Rounding("none", 5)
    assert rounding.unpacked(rounding.pack(message)).base is message
    assert rounding.room(message).rest.base is message
    assert rounding.round(message).tolist() == [0, 1, 2, 3, 4]


def messages(shards: int, size: int = 6) -> dict[int, np.ndarray]:
    rng = np.random.default_rng(shards)
    values = rng.standard_normal((shards, size)) * 10.0 ** rng.integers(-3, 3, (shards, 1))
    return dict(enumerate(values.astype(np.float32)))


@given(st.sampled_from(KINDS), st.integers(1, 13), st.data())
def test_any_placement_and_any_cut_give_the_same_bits(kind, shards, data):
    rounding = Rounding(kind, 4)
    expected, _ = SerialSync(shards, rounding).all_reduce(messages(shards), {shard: {} for shard in range(shards)})
    workers = data.draw(st.lists(st.integers(0, 3), min_size=shards, max_size=shards))
    nodes = {}
    for worker in set(workers):
        nodes |= rounding.partial_sums({s: m for s, m in messages(shards).items() if workers[s] == worker}, shards)
    for low, high in ((0, 3), (3, 6)):
        part = rounding.behind(low)
        came = {node: part.unpacked(part.pack(value[low:high].copy())) for node, value in nodes.items()}
        assert part.combine(came, shards).tobytes() == expected[low:high].tobytes()


def test_what_fp16_cannot_hold_is_said_with_the_cure():
    settings = TrainSettings(90, 16, MaxEpoch(1), 5, seed=4, gradient_compression="fp16")

    class Steep(SoftmaxReplica):
        def gradient(self, shard, batch, iteration, out, reached=None):
            tables = super().gradient(shard, batch, iteration, out)
            out[0] = 50_000
            return tables

        def update(self, message, sparse):
            if not np.isfinite(message[: self.size]).all():
                raise FloatingPointError("The gradient must stay finite. Received: inf")
            return super().update(message, sparse)

    def fitted(kind: str) -> None:
        replica = Steep(SGD(1e-6))
        train(replica, data(5), SerialSync(5, Rounding(kind, replica.gradient_size)), settings)

    fitted("bf16")
    hint = "gradients compressed as fp16 end at 65504, as bf16 they do not."
    with pytest.raises(TrainingError, match=rf"must stay finite.*{re.escape(hint)}"):
        fitted("fp16")


def test_unknown_kinds_are_refused():
    with pytest.raises(ArgumentError, match=r"kind must be one of none, bf16, fp16. Received: 'int8'"):
        TrainSettings(10, 2, MaxEpoch(1), gradient_compression="int8")
