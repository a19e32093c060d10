"""Arithmetic on long vectors outside of graphs, for updates of weights: one pass over memory, on the threads in force.

Long vectors go to oneDNN where its bits are numpy's, all else to numpy: who computes, how a vector is sliced and how
many threads there are changes no bit. A call takes the whole vector rather than blocks that fit the cache: every thread
then has the same part of it in each pass, and finds it in its own cache.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING

import numpy as np

from kernels.config import native_library
from kernels.native.threads import survived

if TYPE_CHECKING:
    from kernels.onednn.vectors import NativeVectors

__all__ = ["all_finite", "axpby", "product", "quotient", "shifted_root"]

LONG = 1 << 16
"""Numbers from which on a native call pays, which takes more of Python; matrices come in all sizes and are numpy's."""

SIZES = 64
"""How many sizes of vectors are prepared at once: a network's updates know one or two."""

Factor = float | np.ndarray


def axpby(a: float, x: np.ndarray, b: Factor, y: np.ndarray, out: np.ndarray, scratch: np.ndarray) -> np.ndarray:
    """Write ``a x + b y`` to `out` and return it; float32 of one shape, each product and the sum rounded.

    `out` may be `x`, but not `y`. `scratch`, of the same shape, may be overwritten; it may be `y`, but not `out`. `b`
    may be an array that broadcasts.

    >>> x, y = np.array([1.0, 2.0], np.float32), np.array([4.0, 8.0], np.float32)
    >>> axpby(1.0, x, -0.5, y, out=x, scratch=np.empty_like(x))
    array([-1., -2.], dtype=float32)
    """
    # Python's numbers: a numpy scalar would make numpy compute in its own type.
    a, factor = float(a), b if isinstance(b, np.ndarray) else float(b)
    native = _native_for(x)
    if native is not None and isinstance(factor, float):
        native.axpby(a, x, factor, y, out)
        return out
    other = y if isinstance(factor, float) and factor == 1.0 else np.multiply(y, factor, out=scratch)
    return np.add(x if a == 1.0 else np.multiply(x, a, out=out), other, out=out)


def product(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write ``x y`` to `out`, another array, and return it; float32 of one shape.

    >>> product(np.ones(2, np.float32), np.array([2.0, 3.0], np.float32), np.empty(2, np.float32))
    array([2., 3.], dtype=float32)
    """
    native = _native_for(x)
    if native is None:
        return np.multiply(x, y, out=out)
    native.binary("multiply", x, y, out)
    return out


def quotient(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write ``x / y`` to `out`, another array, and return it; float32 of one shape.

    >>> quotient(np.ones(2, np.float32), np.array([2.0, 4.0], np.float32), np.empty(2, np.float32))
    array([0.5 , 0.25], dtype=float32)
    """
    native = _native_for(x)
    if native is None:
        return np.divide(x, y, out=out)
    native.binary("divide", x, y, out)
    return out


def shifted_root(x: np.ndarray, shift: float, out: np.ndarray) -> np.ndarray:
    """Write ``sqrt(x) + shift`` to `out`, another array, and return it; float32 of one shape.

    >>> shifted_root(np.array([4.0, 9.0], np.float32), 0.5, np.empty(2, np.float32))
    array([2.5, 3.5], dtype=float32)
    """
    native = _native_for(x)
    if native is None:
        return np.add(np.sqrt(x, out=out), float(shift), out=out)
    native.root(x, shift, out)
    return out


def all_finite(vector: np.ndarray) -> bool:
    """Whether no number of a float32 array is infinite or NaN.

    >>> all_finite(np.ones(3, np.float32)), all_finite(np.array([np.inf, -np.inf], np.float32))
    (True, False)
    """
    if not vector.size:
        return True
    native = _native_for(vector)
    # A sum is odd where a number is, and also where finite ones overflow: then numpy looks.
    if native is not None and math.isfinite(native.total(vector)):
        return True
    flat = vector.reshape(-1)
    return math.isfinite(np.maximum.reduce(flat)) and math.isfinite(np.minimum.reduce(flat))


def _native_for(vector: np.ndarray) -> NativeVectors | None:
    return _native(vector.size) if vector.ndim == 1 and vector.size >= LONG and survived() else None


@functools.lru_cache(SIZES)
def _native(size: int) -> NativeVectors | None:
    """oneDNN's form for vectors of this size, if there is one and it rounds as numpy does."""
    if native_library() is None:
        return None
    from kernels.onednn.vectors import NativeVectors

    native = NativeVectors(size)
    return native if _rounds_as_numpy(native, size) else None


def _rounds_as_numpy(native: NativeVectors, size: int) -> bool:
    x, y = np.random.default_rng(0).standard_normal((2, size), np.float32)
    out, positive = np.empty_like(x), np.abs(y)
    for compute, expected in (
        (lambda: native.axpby(0.9, x, -0.01, y, out), np.float32(0.9) * x + np.float32(-0.01) * y),
        (lambda: native.binary("multiply", x, y, out), x * y),
        (lambda: native.binary("divide", x, positive, out), x / positive),
        (lambda: native.root(positive, 1e-8, out), np.sqrt(positive) + np.float32(1e-8)),
    ):
        compute()
        if not np.array_equal(out, expected):
            return False
    return True
