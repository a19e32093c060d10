"""Gradient clipping whose global norm has the same bits however the vector is sliced."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np

from nnframes.errors import ArgumentError
from nnframes.optim.checks import number

__all__ = [
    "BLOCK",
    "CLIPPINGS",
    "Clipping",
    "ConstantClipping",
    "L2NormClipping",
    "block_squares",
    "clip",
    "global_norm",
]

# Slices that workers hold must be whole blocks of this many float32 numbers, or partial sums would differ.
BLOCK = 4096
_GROUP = 16


def block_squares(vector: np.ndarray) -> np.ndarray:
    """Return the sum of squares of each block of `BLOCK` numbers of float32 `vector`, float64 (ceil(n / BLOCK),).

    Partial sums of slices that are whole blocks are, joined, those of the whole vector, to the last bit.

    >>> block_squares(np.ones(BLOCK + 2, np.float32)).tolist()
    [4096.0, 2.0]
    """
    vector = np.ravel(vector)
    whole = len(vector) // BLOCK
    sums = np.empty(-(-len(vector) // BLOCK))
    squares = np.empty((min(_GROUP, max(whole, 1)), BLOCK))
    blocks = vector[: whole * BLOCK].reshape(whole, BLOCK)
    for low in range(0, whole, _GROUP):
        part = squares[: min(_GROUP, whole - low)]
        # A float32 squared is exact in float64, so only the order of the additions matters.
        np.multiply(blocks[low : low + _GROUP], blocks[low : low + _GROUP], out=part, dtype=np.float64)
        np.add.reduce(part, axis=1, out=sums[low : low + len(part)])
    if whole < len(sums):
        rest = vector[whole * BLOCK :].astype(np.float64)
        sums[whole] = np.add.reduce(np.multiply(rest, rest, out=rest))
    return sums


def global_norm(partials: Iterable[np.ndarray]) -> float:
    """Return the Euclidean norm from the `block_squares` of all slices; the sum is correctly rounded.

    >>> global_norm([block_squares(np.array([3.0, 4.0], np.float32))])
    5.0
    """
    squares = np.concatenate([np.ravel(part) for part in partials] or [np.zeros(0)])
    # fsum raises on inf - inf and on overflow to inf, where a plain sum says what the gradient is.
    return math.sqrt(math.fsum(squares) if np.isfinite(squares).all() else float(np.sum(squares)))


class Clipping(ABC):
    """Base of the clippings; `needs_norm` says whether `apply` reads the global norm."""

    needs_norm: bool

    @abstractmethod
    def apply(self, vector: np.ndarray, norm: float) -> None:
        """Clip float32 `vector` (any slice of the gradient) in place; `norm` is the whole gradient's norm."""


class ConstantClipping(Clipping):
    """Clips every gradient number to [min, max], as BigDL's `set_gradclip_const`.

    >>> gradient = np.array([-3.0, 0.5], np.float32)
    >>> clip([gradient], [ConstantClipping(-1.0, 1.0)])
    >>> gradient.tolist()
    [-1.0, 0.5]
    """

    needs_norm = False

    def __init__(self, min: float, max: float) -> None:
        number(self, "min", min)
        number(self, "max", max)
        if min > max:
            raise ArgumentError(f"ConstantClipping min must be <= max. Received: min={min}, max={max}.")
        self.min = min
        self.max = max

    def apply(self, vector: np.ndarray, norm: float) -> None:
        """Clip `vector` in place."""
        np.clip(vector, np.float32(self.min), np.float32(self.max), out=vector)


class L2NormClipping(Clipping):
    """Scales the whole gradient by ``norm / its norm`` when its norm is larger, as BigDL's `set_gradclip_l2norm`.

    >>> gradient = np.array([3.0, 4.0], np.float32)
    >>> clip([gradient], [L2NormClipping(1.0)])
    >>> gradient
    array([0.6, 0.8], dtype=float32)
    """

    needs_norm = True

    def __init__(self, norm: float) -> None:
        number(self, "norm", norm, 0.0, above=True)
        self.norm = norm

    def apply(self, vector: np.ndarray, norm: float) -> None:
        """Scale `vector` in place; a gradient that is not finite stays, for the loss to show it."""
        if self.norm < norm < math.inf:
            np.multiply(vector, np.float32(self.norm / norm), out=vector)


CLIPPINGS: dict[str, type[Clipping]] = {"ConstantClipping": ConstantClipping, "L2NormClipping": L2NormClipping}


def clip(vectors: Sequence[np.ndarray], clippings: Sequence[Clipping], norm: float | None = None) -> None:
    """Clip the gradient that `vectors` (dense vector, values of row-sparse gradients) make up, in place.

    Clippings that need the norm come first, so L2 before constant. `norm` is the whole gradient's norm where `vectors`
    are only slices of it (see `global_norm`); by default it is computed from `vectors`.

    >>> gradient = np.array([30.0, 40.0], np.float32)
    >>> clip([gradient], [ConstantClipping(0.0, 4.0), L2NormClipping(10.0)])
    >>> gradient.tolist()
    [4.0, 4.0]
    """
    if norm is None and any(clipping.needs_norm for clipping in clippings):
        norm = global_norm(block_squares(vector) for vector in vectors)
    for clipping in sorted(clippings, key=lambda one: not one.needs_norm):
        for vector in vectors:
            clipping.apply(vector, norm or 0.0)
