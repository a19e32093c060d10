from __future__ import annotations

import numpy as np
import pytest

from nnframes.errors import ArgumentError, DataError
from nnframes.train import ArrayData


def test_rows_are_dealt_in_turn():
    data = ArrayData(np.arange(7.0)[:, None], np.arange(7), shards=3)
    assert [data.rows(shard) for shard in range(3)] == [3, 2, 2]
    dealt = [data.batch(shard, 0, np.arange(data.rows(shard))).target.tolist() for shard in range(3)]
    assert dealt == [[0, 3, 6], [1, 4], [2, 5]]


def test_batches_are_ordered_copies_of_plain_types():
    images = np.arange(24, dtype=np.float64).reshape(4, 2, 3)
    words = np.array([5, 6, 7, 8], np.int64)
    data = ArrayData((images, words), (words, images))
    batch = data.batch(0, 3, np.array([2, 0]))
    assert len(batch) == 2
    assert [array.dtype for array in batch.inputs] == [np.float32, np.int32]
    assert [array.dtype for array in batch.target] == [np.int32, np.float32]
    assert np.array_equal(batch.inputs[0], images[[2, 0]])
    batch.inputs[0][...] = -1
    assert np.array_equal(data.batch(0, 3, np.array([2, 0])).inputs[0], images[[2, 0]])


REFUSED = [
    (lambda: ArrayData(np.zeros((3, 2)), np.zeros(4)), DataError, r"same number of rows, >= 1. Received: \[3, 4\]"),
    (lambda: ArrayData(np.zeros((0, 2)), np.zeros(0)), DataError, r"Received: \[0\]"),
    (lambda: ArrayData(np.array(["a"]), np.zeros(1)), DataError, "must be numeric"),
    (lambda: ArrayData(np.float32(3), np.zeros(1)), DataError, "rows first"),
    (lambda: ArrayData(np.zeros(1), np.zeros(1), shards=0), ArgumentError, "shards must be >= 1. Received: 0."),
]


@pytest.mark.parametrize(("make", "error", "message"), REFUSED)
def test_bad_arrays_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()
