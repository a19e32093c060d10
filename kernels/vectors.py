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
from kernels.errors import UnsupportedError
from kernels.native.memory import Scratch
from kernels.native.threads import survived

if TYPE_CHECKING:
    from kernels.onednn.vectors import NativeCall, NativeVectors

__all__ = ["all_finite", "axpby", "product", "quotient", "scaled", "shifted_root"]

LONG = 1 << 16
"""Numbers from which on a native call pays, which takes more of Python; matrices come in all sizes and are numpy's."""

SIZES = 64
"""How many sizes of vectors are prepared at once: a network's updates know one or two."""

_SCRATCH = Scratch(1)

Factor = float | np.ndarray


def axpby(a: float, x: np.ndarray, b: Factor, y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write ``a x + b y`` to `out` and return it; float32 of one shape, each product and the sum rounded.

    `out` may be `x`, but not `y`. `b` may be an array that broadcasts.

    >>> x, y = np.array([1.0, 2.0], np.float32), np.array([4.0, 8.0], np.float32)
    >>> axpby(1.0, x, -0.5, y, out=x)
    array([-1., -2.], dtype=float32)
    """
    # Python's numbers: a numpy scalar would make numpy compute in its own type.
    a, factor = float(a), b if isinstance(b, np.ndarray) else float(b)
    native = _native_for("axpby", out, x, y) if isinstance(factor, float) else None
    if native is not None and isinstance(factor, float):
        native.run(a, factor)
        return out
    other = y
    if isinstance(factor, np.ndarray) or factor != 1.0:
        (other,) = _SCRATCH.arrays(y.shape)
        np.multiply(y, factor, out=other)
    return np.add(x if a == 1.0 else np.multiply(x, a, out=out), other, out=out)


def scaled(a: float, x: np.ndarray) -> np.ndarray:
    """Multiply float32 `x` by `a` in place and return it.

    >>> scaled(0.5, np.array([4.0, np.inf], np.float32))
    array([ 2., inf], dtype=float32)
    """
    native = _native_for("scale", x)
    if native is None:
        return np.multiply(x, float(a), out=x)
    native.run(a)
    return x


def product(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write ``x y`` to `out`, another array, and return it; float32 of one shape.

    >>> product(np.ones(2, np.float32), np.array([2.0, 3.0], np.float32), np.empty(2, np.float32))
    array([2., 3.], dtype=float32)
    """
    native = _native_for("multiply", out, x, y)
    if native is None:
        return np.multiply(x, y, out=out)
    native.run()
    return out


def quotient(x: np.ndarray, y: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Write ``x / y`` to `out`, another array, and return it; float32 of one shape.

    >>> quotient(np.ones(2, np.float32), np.array([2.0, 4.0], np.float32), np.empty(2, np.float32))
    array([0.5 , 0.25], dtype=float32)
    """
    native = _native_for("divide", out, x, y)
    if native is None:
        return np.divide(x, y, out=out)
    native.run()
    return out


def shifted_root(x: np.ndarray, shift: float, out: np.ndarray) -> np.ndarray:
    """Write ``sqrt(x) + shift`` to `out`, another array, and return it; float32 of one shape.

    >>> shifted_root(np.array([4.0, 9.0], np.float32), 0.5, np.empty(2, np.float32))
    array([2.5, 3.5], dtype=float32)
    """
    root, add = _native_for("sqrt", out, x), _native_for("shift", out)
    if root is None or add is None:
        return np.add(np.sqrt(x, out=out), float(shift), out=out)
    root.run()  # oneDNN has no fast primitive for both
    add.run(shift)
    return out


def all_finite(vector: np.ndarray) -> bool:
    """Whether no number of a float32 array is infinite or NaN.

    >>> all_finite(np.ones(3, np.float32)), all_finite(np.array([np.inf, -np.inf], np.float32))
    (True, False)
    """
    if not vector.size:
        return True
    native = _native_for("total", vector)
    if native is not None:
        native.run()
        rest = vector[vector.size // len(native.own) * len(native.own) :]
        # A sum is odd where a number is, and also where finite ones overflow: then numpy looks. Python adds what is
        # left, as that takes less than to wake numpy, which has gone from the caches meanwhile.
        if math.isfinite(sum(native.own.tolist()) + sum(rest.tolist())):
            return True
    flat = vector.reshape(-1)
    return math.isfinite(np.maximum.reduce(flat)) and math.isfinite(np.minimum.reduce(flat))


def _native_for(name: str, *arrays: np.ndarray) -> NativeCall | None:
    """oneDNN's form of `name` for these arrays, which it takes as bare memory; None where numpy has to compute.

    The first array is what is written, if anything is.
    """
    size = arrays[0].size
    if size < LONG or not survived() or not _rounds_as_numpy():
        return None
    if name != "total" and not arrays[0].flags.writeable:
        return None
    native = _native(size)
    call = native.known(name, arrays)
    if call is not None:
        return call
    for array in arrays:
        if array.shape != (size,) or array.dtype != np.float32 or not array.flags.c_contiguous:
            return None
    return native.on(name, arrays)


@functools.lru_cache(SIZES)
def _native(size: int) -> NativeVectors:
    from kernels.onednn.vectors import NativeVectors

    return NativeVectors(size)


@functools.cache
def _rounds_as_numpy() -> bool:
    """Whether there is oneDNN and its bits are those of numpy, on one vector that has whole registers and a rest."""
    if native_library() is None:
        return False
    from kernels.native.dnnl import DnnlError

    size = LONG + 7
    x, y = np.random.default_rng(0).standard_normal((2, size), np.float32)
    out, above = np.empty_like(x), np.abs(y) + np.float32(0.5)
    try:
        native = _native(size)
        for name, arrays, factors, expected in (
            ("axpby", (out, x, y), (0.9, -0.01), np.float32(0.9) * x + np.float32(-0.01) * y),
            ("multiply", (out, x, y), (), x * y),
            ("divide", (out, x, above), (), x / above),
            ("sqrt", (out, above), (), np.sqrt(above)),
            ("shift", (out,), (1e-8,), np.sqrt(above) + np.float32(1e-8)),
            ("scale", (out,), (0.1,), (np.sqrt(above) + np.float32(1e-8)) * np.float32(0.1)),
        ):
            native.on(name, arrays).run(*factors)
            if not np.array_equal(out, expected):
                return False
    except (UnsupportedError, DnnlError):
        return False
    return True
