from __future__ import annotations

import re

import numpy as np
import pytest

from kernels import ops
from kernels.errors import ArgumentError
from kernels.gradient import differentiate
from kernels.graph import Graph, RowGradient
from kernels.reference import evaluate


def test_table_has_a_row_gradient_and_two_uses_are_joined() -> None:
    graph = Graph()
    table, ids = graph.table("table", (5, 2)), graph.input("ids", (2, 3), "int32")
    seed = graph.input("seed", (2, 3, 2))
    gradient = differentiate({ops.gather_rows(table, ids): seed, ops.gather_rows(table, ids): seed}, [table])[table]
    assert isinstance(gradient, RowGradient)
    assert (gradient.rows.shape, gradient.values.shape) == ((12,), (12, 2))


def test_repeated_ids_add_up() -> None:
    graph = Graph()
    y = ops.scatter_rows(graph.input("ids", (3,), "int32"), graph.input("values", (3, 1)), 4)
    feeds = {"ids": np.array([2, 0, 2], np.int32), "values": np.array([[1], [2], [4]], np.float32)}
    assert evaluate([y], feeds)[0].ravel().tolist() == [2, 0, 5, 0]


@pytest.mark.parametrize(("wrong", "named"), [(-1, "-1.0"), (4, "4.0"), (0.5, "0.5"), (np.nan, "nan"), (1e20, "1e+20")])
def test_what_is_no_row_is_named(wrong: float, named: str) -> None:
    y = ops.row_ids(Graph().input("x", (2,)), 4)
    with pytest.raises(ArgumentError, match=rf"ids must be whole numbers in \[0, 4\). Received: {re.escape(named)}\."):
        evaluate([y], {"x": np.array([0, wrong], np.float32)})


@pytest.mark.parametrize("wrong", [-1, 4])
def test_id_out_of_range_is_named(wrong: int) -> None:
    graph = Graph()
    y = ops.gather_rows(graph.table("table", (4, 2)), graph.input("ids", (2,), "int32"))
    feeds = {"table": np.zeros((4, 2), np.float32), "ids": np.array([0, wrong], np.int32)}
    with pytest.raises(ArgumentError, match=rf"ids must be in \[0, 4\). Received: {wrong}."):
        evaluate([y], feeds)
