"""Row-sparse matrices: the gradient of a large table of which a step touches few rows. numpy alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kernels.errors import ShapeError

__all__ = ["RowSparse", "add", "coalesce"]


@dataclass(frozen=True, eq=False)
class RowSparse:
    """Some rows of a (rows, dim) matrix whose other rows are zero.

    `rows` is int32 (n,), strictly increasing; `values` is float32 (n, dim), row `values[i]` standing at `rows[i]`.
    Raises `ShapeError` when they do not fit each other.

    >>> RowSparse(np.array([1], np.int32), np.ones((1, 2), np.float32)).to_dense(3).tolist()
    [[0.0, 0.0], [1.0, 1.0], [0.0, 0.0]]
    """

    rows: np.ndarray
    values: np.ndarray

    def __post_init__(self) -> None:
        rows, values = self.rows, self.values
        if rows.ndim != 1 or values.ndim != 2 or len(rows) != len(values):
            raise ShapeError(f"RowSparse expects rows (n,) and values (n, dim), received {rows.shape}, {values.shape}.")
        if rows.dtype != np.int32 or values.dtype != np.float32:
            raise ShapeError(f"RowSparse expects int32 rows, float32 values, received {rows.dtype}, {values.dtype}.")
        if len(rows) and (rows[0] < 0 or not np.all(rows[1:] > rows[:-1])):
            raise ShapeError("RowSparse rows must be >= 0 and strictly increasing. Hint: use coalesce(rows, values).")

    @property
    def dim(self) -> int:
        """The number of columns."""
        return self.values.shape[1]

    @classmethod
    def empty(cls, dim: int) -> RowSparse:
        """Return the zero matrix of `dim` columns, which holds no row.

        >>> len(RowSparse.empty(4).rows)
        0
        """
        return cls(np.empty(0, np.int32), np.empty((0, dim), np.float32))

    def to_dense(self, rows: int) -> np.ndarray:
        """Return the same matrix as float32 (rows, dim)."""
        dense = np.zeros((rows, self.dim), np.float32)
        dense[self.rows] = self.values
        return dense


def coalesce(rows: np.ndarray, values: np.ndarray) -> RowSparse:
    """Sum the rows of `values` (n, dim) that carry the same number in `rows` (n,); the same input gives the same bits.

    >>> sparse = coalesce(np.array([4, 1, 4]), np.array([[1.0], [2.0], [3.0]], np.float32))
    >>> sparse.rows.tolist(), sparse.values.tolist()
    ([1, 4], [[2.0], [4.0]])
    """
    rows, values = np.asarray(rows).reshape(-1), np.asarray(values, np.float32)
    if values.ndim != 2 or len(rows) != len(values):
        raise ShapeError(f"coalesce expects rows (n,) and values (n, dim), received {rows.shape}, {values.shape}.")
    if not len(rows):
        return RowSparse.empty(values.shape[1])
    order = np.argsort(rows, kind="stable")
    rows = rows[order]
    starts = np.flatnonzero(np.concatenate(([True], rows[1:] != rows[:-1])))
    return RowSparse(rows[starts].astype(np.int32), np.add.reduceat(values[order], starts, axis=0))


def add(a: RowSparse, b: RowSparse) -> RowSparse:
    """Return a + b; a row held by both is `a`'s value plus `b`'s, one rounding.

    >>> one = RowSparse(np.array([2], np.int32), np.ones((1, 1), np.float32))
    >>> add(one, one).values.tolist()
    [[2.0]]
    """
    if a.dim != b.dim:
        raise ShapeError(f"RowSparse matrices to add must have equal dim. Received: {a.dim} and {b.dim}.")
    if not len(a.rows) or not len(b.rows):
        return a if len(a.rows) else b
    rows = np.union1d(a.rows, b.rows)
    values = np.zeros((len(rows), a.dim), np.float32)
    values[np.searchsorted(rows, a.rows)] = a.values
    values[np.searchsorted(rows, b.rows)] += b.values
    return RowSparse(rows, values)
