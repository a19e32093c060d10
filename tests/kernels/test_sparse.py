from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.errors import ShapeError
from kernels.sparse import RowSparse, add, coalesce

ROWS = 6
gathers = st.lists(st.tuples(st.integers(0, ROWS - 1), st.integers(-8, 8)), max_size=12)


def build(pairs: list[tuple[int, int]]) -> RowSparse:
    values = np.array([[value, 2 * value] for _, value in pairs], np.float32).reshape(-1, 2)
    return coalesce(np.array([row for row, _ in pairs], np.int64), values)


def dense(pairs: list[tuple[int, int]]) -> np.ndarray:
    result = np.zeros((ROWS, 2), np.float32)
    for row, value in pairs:
        result[row] += (value, 2 * value)
    return result


@given(gathers)
def test_coalesce_sums_duplicates(pairs):
    sparse = build(pairs)
    assert sparse.rows.tolist() == sorted({row for row, _ in pairs})
    assert np.array_equal(sparse.to_dense(ROWS), dense(pairs))


@given(gathers, gathers)
def test_add_is_the_dense_sum(left, right):
    assert np.array_equal(add(build(left), build(right)).to_dense(ROWS), dense(left) + dense(right))


def test_add_leaves_its_arguments():
    a, b = build([(0, 1), (2, 3)]), build([(2, 4)])
    add(a, b)
    assert np.array_equal(a.to_dense(ROWS), dense([(0, 1), (2, 3)]))
    assert np.array_equal(b.to_dense(ROWS), dense([(2, 4)]))


BAD = {
    "lengths": (np.zeros(2, np.int32), np.zeros((1, 1), np.float32), "received"),
    "dimensions": (np.zeros(1, np.int32), np.zeros(1, np.float32), "received"),
    "dtype of rows": (np.zeros(1, np.int64), np.zeros((1, 1), np.float32), "int32"),
    "dtype of values": (np.zeros(1, np.int32), np.zeros((1, 1)), "float32"),
    "order": (np.array([1, 0], np.int32), np.zeros((2, 1), np.float32), "coalesce"),
    "duplicates": (np.array([1, 1], np.int32), np.zeros((2, 1), np.float32), "coalesce"),
    "negative": (np.array([-1], np.int32), np.zeros((1, 1), np.float32), ">= 0"),
}


@pytest.mark.parametrize("case", BAD)
def test_misfits_are_refused(case):
    rows, values, message = BAD[case]
    with pytest.raises(ShapeError, match=message):
        RowSparse(rows, values)


def test_adding_other_widths_is_refused():
    with pytest.raises(ShapeError, match="3 and 2"):
        add(RowSparse.empty(3), RowSparse.empty(2))


def test_coalesce_refuses_other_lengths():
    with pytest.raises(ShapeError, match="coalesce expects"):
        coalesce(np.zeros(2, np.int32), np.zeros((3, 1), np.float32))
