"""Gradients of 16 bits: what is rounded, how, and how it travels.

    bf16   8 bits of mantissa, the range of float32; fast
    fp16   11 bits of mantissa down to 6e-5, fewer below, up to 65504; above that a gradient is not finite

Every node of the tree over shards is rounded to nearest even, leaves and root included. So whatever part of the sum a
worker has is a number of 16 bits and travels as such, and the result depends on the format, but not on who has which
shards. Rounded are the gradients, the leading numbers of a message. The batch statistics, loss and weights behind them
stay float32, and so do row-sparse gradients, which are short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from nnframes.errors import ArgumentError
from nnframes.train.reduce import Node, combine, partial_sums

__all__ = ["COMPRESSIONS", "Packed", "Rounding"]

BLOCK = 1 << 15
"""Numbers that are rounded at once: they and the working memory stay in the cache."""


class Packed(NamedTuple):
    """A message as it travels: `codes` uint16 of the rounded gradients, `rest` float32 of all behind them."""

    codes: np.ndarray
    rest: np.ndarray


class _Format(NamedTuple):
    """A number format: round a block in place with as much working memory; rounded numbers to codes, and back."""

    round: Callable[[np.ndarray, np.ndarray], None]
    pack: Callable[[np.ndarray, np.ndarray], object]
    unpack: Callable[[np.ndarray, np.ndarray], object]


def _round_bf16(block: np.ndarray, spare: np.ndarray) -> None:
    """Add a half, or what lies just below it before an even number, and cut."""
    bits, carry = block.view(np.uint32), spare.view(np.uint32)
    if np.isnan(block).any():
        block[np.isnan(block)] = np.nan  # else the sum may run over
    np.right_shift(bits, 16, out=carry)
    carry &= 1
    carry += 0x7FFF
    bits += carry
    bits &= 0xFFFF0000


def _round_fp16(block: np.ndarray, spare: np.ndarray) -> None:
    """Let the processor round: beside 1.5 * 2**13 times its power of two a number keeps 11 bits of mantissa.

    The least power of two counts for all smaller numbers, as in fp16; too large ones run over on the way up and back.
    """
    np.bitwise_and(block.view(np.uint32), 0x7F800000, out=spare.view(np.uint32))
    np.maximum(spare, np.float32(2.0**-14), out=spare)
    spare *= np.float32(1.5 * 2.0**13)
    block += spare
    block -= spare
    block *= np.float32(2.0**112)
    block *= np.float32(2.0**-112)


FORMATS = {
    "bf16": _Format(
        _round_bf16,
        lambda block, codes: np.right_shift(block.view(np.uint32), 16, out=codes, casting="unsafe"),
        lambda codes, block: np.left_shift(codes, 16, out=block.view(np.uint32), dtype=np.uint32),
    ),
    "fp16": _Format(
        _round_fp16,
        lambda block, codes: np.copyto(codes.view(np.float16), block, casting="unsafe"),
        lambda codes, block: np.copyto(block, codes.view(np.float16)),
    ),
}
COMPRESSIONS = ("none", *FORMATS)


@dataclass(frozen=True)
class Rounding:
    """How messages with `size` gradients in front are summed and sent: `kind` "none", "bf16" or "fp16".

    >>> rounding = Rounding("bf16", 2)
    >>> rounding.round(np.array([1.003, -257, 1.003], np.float32)).tolist()[:2]
    [1.0, -256.0]
    >>> rounding.pack(np.array([1, 2, 3], np.float32))
    Packed(codes=array([16256, 16384], dtype=uint16), rest=array([3.], dtype=float32))
    """

    kind: str = "none"
    size: int = 0

    def __post_init__(self) -> None:
        if self.kind not in COMPRESSIONS:
            raise ArgumentError(f"Rounding kind must be one of {', '.join(COMPRESSIONS)}. Received: {self.kind!r}.")

    def behind(self, start: int) -> Rounding:
        """Return the rounding of messages without their first `start` numbers."""
        return replace(self, size=max(0, self.size - start))

    def rounded(self, length: int) -> int:
        """Return how many of the first `length` numbers of a message are rounded."""
        return 0 if self.kind == "none" else min(self.size, length)

    def round(self, message: np.ndarray) -> np.ndarray:
        """Round a message in place and return it."""
        if count := self.rounded(len(message)):
            spare = np.empty(min(BLOCK, count), np.float32)
            with np.errstate(all="ignore"):
                for part in _blocks(count):
                    block = message[part]
                    FORMATS[self.kind].round(block, spare[: len(block)])
        return message

    def add(self, a: np.ndarray, b: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Return the rounded sum, in `out`, else in `a`."""
        with np.errstate(all="ignore"):  # what is not finite is said where the sums are used
            return self.round(np.add(a, b, out=a if out is None else out))

    def partial_sums(self, messages: Mapping[int, np.ndarray], shards: int) -> dict[Node, np.ndarray]:
        """Round the shards' messages and sum them as far as they go; in place."""
        return partial_sums({shard: self.round(message) for shard, message in messages.items()}, shards, self.add)

    def combine(self, nodes: Mapping[Node, np.ndarray], shards: int) -> np.ndarray:
        """Return the sum over all shards of rounded partial sums; in place, in the array of the leftmost node."""
        return combine(nodes, shards, self.add)

    def pack(self, message: np.ndarray) -> Packed:
        """Return a rounded message as it travels; `rest` is a part of it."""
        packed = self.room(message)
        if packed.codes.size:
            for part in _blocks(len(packed.codes)):
                FORMATS[self.kind].pack(message[part], packed.codes[part])
        return packed

    def room(self, message: np.ndarray) -> Packed:
        """Return where a packed message may arrive that `unpack` then puts into `message`."""
        count = self.rounded(len(message))
        return Packed(np.empty(count, np.uint16), message[count:])

    def unpack(self, packed: Packed, message: np.ndarray) -> np.ndarray:
        """Fill the gradients of `message` from what came in its `room`, and return it."""
        if packed.codes.size:
            for part in _blocks(len(packed.codes)):
                FORMATS[self.kind].unpack(packed.codes[part], message[part])
        return message

    def unpacked(self, packed: Packed) -> np.ndarray:
        """Return the message that was packed; where nothing was rounded, its `rest` itself."""
        if not packed.codes.size:
            return packed.rest
        return self.unpack(packed, np.concatenate([np.empty(len(packed.codes), np.float32), packed.rest]))


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, min(count, start + BLOCK)) for start in range(0, count, BLOCK))
