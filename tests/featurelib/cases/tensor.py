"""Rows of the table: numbers and sequences to tensors."""

from __future__ import annotations

import numpy as np

from featurelib import ArrayToTensor, FeatureError, ScalarToTensor, SeqToMultipleTensors, SeqToTensor
from tests.featurelib.cases.case import Case

VECTORS = [[1, 2, 3, 4, 5, 6], np.arange(6.0), np.arange(6, dtype=np.int64)]


class Vector:
    """Looks like a Spark ML vector."""

    def __init__(self, *values: float) -> None:
        self.values = np.array(values)

    def toArray(self) -> np.ndarray:
        return self.values


CASES = [
    Case(
        SeqToTensor([2, 3]),
        [VECTORS, np.arange(18).reshape(3, 6), [Vector(1, 2, 3, 4, 5, 6)], [range(6)], []],
        (2, 3),
        bad=[
            ([1, 2], FeatureError, "expects 6 numbers for size (2, 3), received 2"),
            ("abcdef", FeatureError, "expects numbers. Received: 'abcdef'"),
            ([1, None, 3, 4, 5, 6], FeatureError, "fill or drop null"),
            (None, FeatureError, "fill or drop null"),
            ([[1, 2], [3]], FeatureError, "lists of unequal lengths"),
            ([1j] * 6, FeatureError, "expects numbers"),
        ],
    ),
    Case(SeqToTensor(), [VECTORS, [1.5, 2, 3], np.arange(4), [True, False], [np.float32(2)]], (6,)),
    Case(SeqToTensor(6), [VECTORS], (6,)),
    Case(
        ArrayToTensor([3, 2]),
        [VECTORS, np.arange(12.0).reshape(2, 6)],
        (3, 2),
        bad=[
            (3.0, FeatureError, "expects an array. Received: 3.0"),
            ([1, 2, 3], FeatureError, "expects 6 numbers for size (3, 2), received 3"),
        ],
    ),
    Case(
        ScalarToTensor(),
        [[1, 2.5, np.float32(3), np.int64(4), True], np.arange(3), [2**70, 1.0], []],
        (1,),
        bad=[
            ([1.0], FeatureError, "expects a number, received an array of shape (1,)"),
            ("1", FeatureError, "expects numbers"),
            (None, FeatureError, "expects numbers. Received: None"),
        ],
    ),
    Case(
        SeqToMultipleTensors([[2, 2], 2]),
        [VECTORS, np.arange(18).reshape(3, 6), []],
        bad=[([1, 2], FeatureError, "expects 6 numbers for size (6,), received 2")],
    ),
]
