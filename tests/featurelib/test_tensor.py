from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from featurelib import ArrayToTensor, FeatureError, Preprocessing, ScalarToTensor, SeqToMultipleTensors, SeqToTensor
from kernels.errors import ArgumentError


def test_values_are_kept_in_order() -> None:
    np.testing.assert_array_equal(SeqToTensor([2, 3])(range(6)), [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(SeqToTensor()([[1, 2], [3, 4]]), [1, 2, 3, 4])
    np.testing.assert_array_equal(SeqToTensor()(5), [5])
    np.testing.assert_array_equal(SeqToTensor()([Decimal("1.5"), 2]), [1.5, 2])
    np.testing.assert_array_equal(ScalarToTensor()(Decimal("1.5")), [1.5])
    first, second = SeqToMultipleTensors([[2, 2], 3])(range(7))
    np.testing.assert_array_equal(first, [[0, 1], [2, 3]])
    np.testing.assert_array_equal(second, [4, 5, 6])


def test_batches_of_several_tensors() -> None:
    first, second = SeqToMultipleTensors([[2, 1], 3]).batch(np.arange(10).reshape(2, 5))
    np.testing.assert_array_equal(first, [[[0], [1]], [[5], [6]]])
    np.testing.assert_array_equal(second, [[2, 3, 4], [7, 8, 9]])
    assert first.flags.c_contiguous
    assert second.flags.c_contiguous


def test_a_batch_as_an_array_is_only_reshaped() -> None:
    block = np.random.default_rng(0).random((5, 6), np.float32)
    np.testing.assert_array_equal(SeqToTensor([2, 3]).batch(block), block.reshape(5, 2, 3))
    assert SeqToTensor([2, 3]).batch([]).shape == (0, 2, 3)
    assert ScalarToTensor().batch([]).shape == (0, 1)


@pytest.mark.parametrize(
    ("transform", "values", "message"),
    [
        (SeqToTensor([2]), [[1, 2], [1, 2, 3]], "row 1: SeqToTensor expects 2 numbers for size (2,), received 3."),
        (SeqToTensor(), [[1, 2], [3, 4], [5]], "row 2: SeqToTensor expects 2 numbers as in row 0, received 1."),
        (SeqToTensor([3]), np.zeros((4, 2)), "row 0: SeqToTensor expects 3 numbers for size (3,), received 2."),
        (SeqToTensor([2]), [[1, 2], None], "row 1: SeqToTensor expects numbers. Received: None. Hint: fill or drop"),
        (
            ArrayToTensor([1]),
            [1.0, 2.0],
            "row 0: ArrayToTensor expects an array. Received: 1.0. Hint: ScalarToTensor()",
        ),
        (ScalarToTensor(), [[1.0], [2.0]], "row 0: ScalarToTensor expects a number, received an array of shape (1,)."),
        (ScalarToTensor(), [1.0, None], "row 1: ScalarToTensor expects numbers. Received: None."),
        (SeqToMultipleTensors([1, 1]), [[1, 2], [1]], "row 1: SeqToMultipleTensors expects 2 numbers"),
    ],
)
def test_ragged_batches_name_the_row(transform: Preprocessing, values: Any, message: str) -> None:
    with pytest.raises(FeatureError) as caught:
        transform.batch(values)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeqToTensor([0]), "size must be an integer >= 1 or a list of them. Received: [0]."),
        (lambda: SeqToTensor("3"), "Received: '3'."),
        (lambda: SeqToTensor([2.0]), "Received: [2.0]."),
        (lambda: SeqToTensor(True), "Received: True."),
        (lambda: ArrayToTensor([]), "at least one dimension"),
        (lambda: SeqToMultipleTensors([]), "must be a list of sizes"),
        (lambda: SeqToMultipleTensors(3), "must be a list of sizes"),
    ],
)
def test_bad_sizes(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
