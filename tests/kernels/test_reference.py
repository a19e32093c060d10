from __future__ import annotations

import numpy as np
import pytest

from kernels import compile_graph, ops
from kernels.errors import ArgumentError, ShapeError
from kernels.graph import Graph
from kernels.reference import evaluate


def test_missing_feed_is_named() -> None:
    y = ops.tanh(Graph().input("x", (2, 3)))
    with pytest.raises(ArgumentError, match=r"feeds must hold 'x' of shape \(2, 3\). Received: y."):
        evaluate([y], {"y": np.zeros(3)})


def test_feed_of_another_shape_is_refused() -> None:
    y = ops.tanh(Graph().input("x", (2, 3)))
    with pytest.raises(ShapeError, match=r"feed 'x' expects \(2, 3\), received \(3, 2\)."):
        evaluate([y], {"x": np.zeros((3, 2))})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_type_of_the_feeds_is_kept(dtype: type) -> None:
    graph = Graph()
    x = graph.input("x", (2, 3))
    y = ops.softmax(ops.affine(ops.gelu_erf(ops.add(x, graph.constant(np.ones(3, np.float32)))), 2.0, 1.0))
    assert evaluate([y], {"x": np.zeros((2, 3), dtype)})[0].dtype == dtype


def test_nothing_wanted_and_the_same_value_twice() -> None:
    x = Graph().input("x", (2,))
    assert evaluate([], {}) == []
    y = ops.square(x)
    assert [a.tolist() for a in evaluate([y, x, y], {"x": np.array([1.0, 2.0])})] == [[1, 4], [1, 2], [1, 4]]


def test_feeds_are_not_written_to() -> None:
    x = Graph().input("x", (2, 3))
    feed = np.ones((2, 3), np.float32)
    feed.flags.writeable = False
    assert evaluate([ops.add_n([x, x, x])], {"x": feed})[0].tolist() == [[3, 3, 3], [3, 3, 3]]


@pytest.mark.parametrize("run", [evaluate, lambda outputs, feeds: compile_graph(outputs).run(feeds)])
def test_wrong_numbers_are_said_with_the_layer(run):
    graph = Graph()
    with graph.label("LookupTable 'words'"):
        rows = ops.gather_rows(graph.constant(np.zeros((3, 2), np.float32)), graph.input("ids", (1,), "int32"))
    with pytest.raises(ArgumentError, match=r"^LookupTable 'words': ids must be in \[0, 3\)\. Received: 7\."):
        run([rows], {"ids": np.array([7], np.int32)})
