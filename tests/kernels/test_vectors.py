"""Arithmetic on vectors: whoever computes, the bits are numpy's."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import numpy as np
import pytest

from kernels.config import native_library
from kernels.native.threads import _Threads, set_threads
from kernels.onednn.vectors import KEPT
from kernels.vectors import LONG, _native, _native_for, all_finite, axpby, product, quotient, scaled, shifted_root

SIZES = [1, 37, LONG - 1, LONG, LONG + 1, 100_003]
FACTORS = [(0.9, 1.0), (1.0, -0.01), (0.999, 1e-3), (0.0, 2.0), (np.float64(0.1), np.float64(0.7))]


def vectors(size: int, offset: int = 0) -> list[np.ndarray]:
    rng = np.random.default_rng(size)
    return [rng.standard_normal(size + offset, np.float32)[offset:] for _ in range(4)]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("offset", [0, 3], ids=["whole", "slice"])
@pytest.mark.parametrize("in_place", [False, True], ids=["", "in place"])
@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("size", SIZES)
def test_axpby_has_numpys_bits(size: int, factors: tuple, in_place: bool, offset: int, threads: int) -> None:
    set_threads(threads)
    x, y, out, _ = vectors(size, offset)
    a, b = (np.float32(factor) for factor in factors)
    expected, kept = a * x + b * y, y.copy()
    target = x if in_place else out
    assert axpby(*(item for pair in zip(factors, (x, y), strict=True) for item in pair), target) is target
    np.testing.assert_array_equal(target, expected)
    np.testing.assert_array_equal(y, kept)


@pytest.mark.parametrize("offset", [0, 3], ids=["whole", "slice"])
@pytest.mark.parametrize("size", SIZES)
def test_other_arithmetic_has_numpys_bits(size: int, offset: int) -> None:
    x, y, out, _ = vectors(size, offset)
    y[:1], x[-1:] = 0.0, 0.0
    with np.errstate(all="ignore"):
        for function, expected in ((product, x * y), (quotient, x / y)):
            assert function(x, y, out) is out
            np.testing.assert_array_equal(out, expected)
        squares = x * x
        np.testing.assert_array_equal(product(x, x, out), squares)
        np.testing.assert_array_equal(shifted_root(squares, 1e-3, out), np.sqrt(squares) + np.float32(1e-3))
        expected = x * np.float32(1 / 3)
        assert scaled(1 / 3, x) is x
        np.testing.assert_array_equal(x, expected)


def test_axpby_of_odd_numbers() -> None:
    x, y, out, _ = vectors(LONG)
    x[:6] = [np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-42]
    y[:6] = [1.0, 1.0, 1.0, -0.0, -0.0, 1e-42]
    axpby(1.0, x, 1.0, y, out)
    np.testing.assert_array_equal(out.view(np.uint32)[3:], (x + y).view(np.uint32)[3:])
    np.testing.assert_array_equal(out[:3], (x + y)[:3])


@pytest.mark.parametrize("size", SIZES)
def test_axpby_with_a_factor_for_each(size: int) -> None:
    x, y, factors, _ = vectors(size)
    expected = np.float32(0.5) * x + factors * y
    np.testing.assert_array_equal(axpby(0.5, x, factors, y, x), expected)


def test_axpby_of_matrices() -> None:
    """Rows of tables, each with a factor of its own."""
    x, y, out, _ = (array.reshape(-1, 4) for array in vectors(4 * LONG))
    factors = np.linspace(0, 1, LONG, dtype=np.float32)[:, None]
    axpby(1.0, x, factors, y, out)
    np.testing.assert_array_equal(out, x + factors * y)


@pytest.mark.parametrize("odd", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("size", SIZES)
def test_all_finite_finds_every_place(size: int, odd: float) -> None:
    vector = vectors(size)[0]
    assert all_finite(vector)
    for place in {0, size // 3, size - 1}:
        kept, vector[place] = vector[place], odd
        assert not all_finite(vector)
        vector[place] = kept


@pytest.mark.parametrize("shape", [(0,), (LONG,), (LONG // 128, 128)])
def test_all_finite_of_shapes_and_sums_that_overflow(shape: tuple[int, ...]) -> None:
    vector = np.full(shape, 3e38, np.float32)
    assert all_finite(vector)
    if vector.size:
        vector[:1], vector[-1:] = -np.inf, np.inf
        assert not all_finite(vector)


@pytest.mark.parametrize("harm", ["strided", "strided result", "backwards", "float64", "repeated"])
def test_memory_that_is_not_dense_float32_is_numpys(harm: str) -> None:
    x, y, out, _ = vectors(LONG)
    beside = np.full((LONG, 2), 7.0, np.float32)
    y = {
        "strided": beside[:, 0],
        "backwards": y[::-1],
        "float64": y.astype(np.float64),
        "repeated": np.broadcast_to(y[:1], y.shape),
    }.get(harm, y)
    target = beside[:, 1] if harm == "strided result" else out
    expected = x + np.float32(0.5) * y
    axpby(1.0, x, 0.5, y, target)
    np.testing.assert_allclose(target, expected, rtol=1e-6)
    assert (beside[:, 0] == 7).all()
    assert not all_finite(np.where(np.arange(2 * LONG) % 2, np.float32(np.nan), np.float32(1))[1::2])
    assert all_finite(np.where(np.arange(2 * LONG) % 2, np.float32(np.nan), np.float32(1))[::2])


def test_memory_that_cannot_be_written_stays() -> None:
    x = np.frombuffer(bytes(4 * LONG), np.float32)
    with pytest.raises(ValueError, match="read-only"):
        scaled(2.0, x)
    with pytest.raises(ValueError, match="read-only"):
        axpby(1.0, x, 1.0, x.copy(), x)
    y = scaled(2.0, np.ones(LONG, np.float32))
    y.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):  # although it is known
        scaled(2.0, y)


@pytest.mark.skipif(native_library() is None, reason="needs oneDNN")
def test_long_vectors_are_native_but_not_in_a_forked_child(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y, out, _ = vectors(LONG)
    assert _native_for("multiply", out, x, y) is not None
    assert _native_for("multiply", out, x, y[1:]) is None
    assert _native_for("multiply", out, x.reshape(2, -1), y) is None
    assert _native_for("scale", x[1:]) is None
    monkeypatch.setattr(_Threads, "forked", True)
    assert _native_for("multiply", out, x, y) is None
    assert all_finite(x)


@pytest.mark.skipif(native_library() is None, reason="needs oneDNN")
def test_arrays_seen_before_are_known_again_and_others_in_their_place_are_not() -> None:
    x, y, out, other = vectors(LONG)
    call = _native_for("multiply", out, x, y)
    assert _native_for("multiply", out, x, y) is call
    assert _native_for("multiply", out, x, other) is not call
    assert _native_for("multiply", out, x, y) is call
    for _ in range(2 * KEPT):  # new arrays, perhaps at the addresses of old ones
        some = vectors(LONG)
        np.testing.assert_array_equal(product(*some[:2], some[2]), some[0] * some[1])
    np.testing.assert_array_equal(product(x, y, out), x * y)


@pytest.mark.skipif(native_library() is None, reason="needs oneDNN")
def test_a_call_that_was_interrupted_is_not_trusted() -> None:
    """It points at one array of those before, and at one of the next."""
    size = LONG + 1000
    several = [vectors(size)[:3] for _ in range(KEPT)]  # all that is kept is in use
    for some in several:
        product(*some)
    calls = _native(size)._calls["multiply"]
    kept = [call._set for call in calls]
    for call in calls:
        call._set = interrupted_at(2, call._set)
    following = vectors(size)
    with pytest.raises(KeyboardInterrupt):
        product(*following[:3])
    for call, whole in zip(calls, kept, strict=True):
        call._set = whole
    for x, y, out in several:
        out.fill(0)
        np.testing.assert_array_equal(product(x, y, out), x * y)


def interrupted_at(count: int, function: Callable[..., int]) -> Callable[..., int]:
    """Return the function, whose call number `count` somebody interrupts."""
    left = [count]

    def call(*arguments: int) -> int:
        left[0] -= 1
        if not left[0]:
            raise KeyboardInterrupt
        return function(*arguments)

    return call


@pytest.mark.skipif(native_library() is None, reason="needs oneDNN")
def test_what_is_kept_keeps_no_array_alive() -> None:
    vector = vectors(LONG)[0]
    scaled(2.0, vector)
    gone = weakref.ref(vector)
    del vector
    assert gone() is None
