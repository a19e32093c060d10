"""Rows of a table by number, and sums into rows: embeddings and wide models."""

from __future__ import annotations

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import INT32, TABLE, Node, Op, RowGradient, Spec, Value, apply
from kernels.ops.shape import reshape
from kernels.ops.shapes import expect, expect_type, floats


def _check_ids(ids: np.ndarray, rows: int) -> None:
    wrong = (ids < 0) | (ids >= rows)
    if wrong.any():
        raise ArgumentError(f"ids must be in [0, {rows}). Received: {int(ids[wrong][0])}.")


def _ids_shape(x: Spec, *, rows: int) -> Spec:
    return Spec(x.shape, INT32)


def _ids(x: np.ndarray, *, rows: int) -> np.ndarray:
    good = (x >= 0) & (x < rows) & (x == np.floor(x))  # all false for NaN
    if not good.all():
        raise ArgumentError(f"ids must be whole numbers in [0, {rows}). Received: {x[~good][0]!s}.")
    return x.astype(np.int32)


def _ids_rule(node: Node, dy: Value) -> list[Value | None]:
    return [None]


def _gather_shape(table: Spec, ids: Spec) -> Spec:
    expect(len(table.shape) == 2, "a table (rows, dim)", table.shape)
    floats(table)
    expect_type(ids, INT32, "ids")
    return Spec((*ids.shape, table.shape[1]))


def _gather(table: np.ndarray, ids: np.ndarray) -> np.ndarray:
    _check_ids(ids, len(table))
    return table[ids]


def _gather_rule(node: Node, dy: Value) -> list[Value | RowGradient | None]:
    table, ids = node.inputs
    rows, values = reshape(ids, (-1,)), reshape(dy, (-1, table.shape[1]))
    if table.node.op is TABLE:
        return [RowGradient(rows, values), None]
    return [scatter_rows(rows, values, table.shape[0]), None]


def _scatter_shape(ids: Spec, values: Spec, *, rows: int) -> Spec:
    expect(len(ids.shape) == 1, "ids (n,)", ids.shape)
    expect(len(values.shape) == 2 and values.shape[:1] == ids.shape, f"values ({ids.shape[0]}, dim)", values.shape)
    expect_type(ids, INT32, "ids")
    floats(values)
    return Spec((rows, values.shape[1]))


def _scatter(ids: np.ndarray, values: np.ndarray, *, rows: int) -> np.ndarray:
    _check_ids(ids, rows)
    table = np.zeros((rows, values.shape[1]), values.dtype)
    np.add.at(table, ids, values)
    return table


def _scatter_rule(node: Node, dtable: Value) -> list[Value | None]:
    return [None, gather_rows(dtable, node.inputs[0])]


ROW_IDS = Op("row_ids", _ids_shape, _ids, _ids_rule)
GATHER_ROWS = Op("gather_rows", _gather_shape, _gather, _gather_rule)
SCATTER_ROWS = Op("scatter_rows", _scatter_shape, _scatter, _scatter_rule)


def row_ids(x: Value, rows: int) -> Value:
    """Numbers of rows as int32, for a table that has `rows` of them; no gradient.

    Raises `ArgumentError` at run for what is no whole number in [0, rows), in a program of gradients as well.

    >>> from kernels.graph import Graph
    >>> row_ids(Graph().input("ids", (8, 20)), 5000).dtype
    'int32'
    """
    return apply(ROW_IDS, x, rows=int(rows))[0]


def gather_rows(table: Value, ids: Value) -> Value:
    """Rows table[ids]: (rows, dim), int32 ids of any shape -> ids.shape + (dim,).

    The gradient of a table leaf is a `RowGradient`, that of any other matrix is dense. Raises `ArgumentError` at run
    for an id outside [0, rows).

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> gather_rows(graph.table("words", (5000, 16)), graph.input("ids", (8, 20), "int32")).shape
    (8, 20, 16)
    """
    return apply(GATHER_ROWS, table, ids)[0]


def scatter_rows(ids: Value, values: Value, rows: int) -> Value:
    """A matrix (rows, dim) of zeros to whose row ids[i] each values[i] is added, in the order of i.

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> scatter_rows(graph.input("ids", (8,), "int32"), graph.input("values", (8, 16)), 100).shape
    (100, 16)
    """
    return apply(SCATTER_ROWS, ids, values, rows=int(rows))[0]
