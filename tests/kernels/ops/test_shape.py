from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from kernels import ops
from kernels.graph import Graph
from kernels.reference import evaluate

ARRAY = np.arange(60, dtype=np.float32).reshape(3, 4, 5)


@pytest.mark.parametrize(
    ("starts", "stops", "steps", "python"),
    [
        ((0, 1, 2), (3, 3, 5), None, np.s_[0:3, 1:3, 2:5]),
        ((None, -3, None), (None, -1, None), (1, 1, 2), np.s_[:, -3:-1, ::2]),
        ((None, None, None), (None, None, None), (-1, -2, -3), np.s_[::-1, ::-2, ::-3]),
        ((2, 3, 4), (0, 1, None), (-1, -1, -1), np.s_[2:0:-1, 3:1:-1, 4::-1]),
    ],
)
def test_slice_is_that_of_python(starts: Any, stops: Any, steps: Any, python: Any) -> None:
    y = ops.slice_(Graph().input("x", ARRAY.shape), starts, stops, steps)
    np.testing.assert_array_equal(evaluate([y], {"x": ARRAY})[0], ARRAY[python])


def test_attributes_of_slice_are_resolved() -> None:
    y = ops.slice_(Graph().input("x", (3, 4)), (-2, None), (None, None), (1, -1))
    assert y.node.attrs == {"starts": (1, 3), "stops": (3, -1), "steps": (1, -1)}


def test_nothing_to_do_adds_no_node() -> None:
    x = Graph().input("x", (3, 4))
    assert ops.reshape(x, (3, -1)) is x
    assert ops.broadcast_to(x, (3, 4)) is x
    assert ops.concat([x], 0) is x
    assert ops.sum_to(x, (3, 4)) is x
    assert ops.add_n([x]) is x
    assert ops.cast(x, "float32") is x


def test_split_and_concat_are_opposites() -> None:
    x = Graph().input("x", ARRAY.shape)
    y = ops.concat(ops.split(x, (1, 3, 1), 2), 2)
    np.testing.assert_array_equal(evaluate([y], {"x": ARRAY})[0], ARRAY)
