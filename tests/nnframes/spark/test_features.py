from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from featurelib import ArrayToTensor, ChainedPreprocessing, ScalarToTensor, SeqToMultipleTensors, SeqToTensor
from featurelib.config import to_config
from featurelib.errors import FeatureError
from featurelib.image import ImageBytesToMat, ImageMatToTensor
from nnframes.errors import ArgumentError
from nnframes.spark.features import (
    as_preprocessing,
    chain_from_json,
    chain_to_json,
    finite_rows,
    inputs_of,
    natural,
    static_sizes,
    taken,
    values_of,
)

FORMS = {
    "none": (None, None),
    "empty": ([], None),
    "size": ([28, 28], SeqToTensor([28, 28])),
    "tuple": ((3,), SeqToTensor([3])),
    "sizes": ([[1], [2, 2]], SeqToMultipleTensors([[1], [2, 2]])),
    "object": (ScalarToTensor(), ScalarToTensor()),
}


@pytest.mark.parametrize("form", FORMS)
def test_forms_of_a_preprocessing(form):
    given, wanted = FORMS[form]
    found = as_preprocessing("p", given)
    assert (found is None) == (wanted is None)
    assert found is None or to_config(found) == to_config(wanted)


@pytest.mark.parametrize("bad", ["28", 3, {"a": 1}, SeqToTensor])
def test_other_forms_are_refused(bad):
    with pytest.raises(ArgumentError, match="p must be a Preprocessing, a size such as"):
        as_preprocessing("p", bad)


@pytest.mark.parametrize(
    ("preprocessing", "size", "wanted"),
    [
        (None, None, None),
        (None, 7, ((7,),)),
        (SeqToTensor([2, 2]), None, ((2, 2),)),
        (SeqToTensor(4), 4, ((4,),)),
        (SeqToTensor(), None, None),
        (SeqToTensor(), 3, ((3,),)),
        (ArrayToTensor([2, 3]), 6, ((2, 3),)),
        (ScalarToTensor(), None, ((1,),)),
        (SeqToMultipleTensors([[1], [2, 2]]), 5, ((1,), (2, 2))),
        (ChainedPreprocessing([]), 2, ((2,),)),
        (SeqToTensor() >> ArrayToTensor([2]), 9, ((2,),)),
        (ImageBytesToMat() >> ImageMatToTensor(), None, None),
    ],
)
def test_sizes_known_without_data(preprocessing, size, wanted):
    assert static_sizes(preprocessing, size) == wanted


def test_a_size_that_the_column_contradicts():
    with pytest.raises(FeatureError, match="expects 5 numbers, the column has 4"):
        static_sizes(SeqToMultipleTensors([[1], [2, 2]]), 4)


def test_chains_travel_as_json():
    chain = SeqToTensor([4]) >> ArrayToTensor([2, 2])
    assert to_config(chain_from_json(chain_to_json(chain))) == to_config(chain)
    assert chain_to_json(None) == ""
    assert chain_from_json("") is None


def vectors(*rows):
    """ML vectors as Spark hands them to Arrow functions."""
    kind = pa.struct(
        [
            ("type", pa.int8()),
            ("size", pa.int32()),
            ("indices", pa.list_(pa.int32())),
            ("values", pa.list_(pa.float64())),
        ]
    )
    return pa.array(rows, kind)


def dense(*numbers):
    return {"type": 1, "size": None, "indices": None, "values": list(numbers)}


def sparse(size, **numbers):
    return {"type": 0, "size": size, "indices": [int(k[1:]) for k in numbers], "values": list(numbers.values())}


VECTORS = {
    "dense": (vectors(dense(1.0, 2.0), dense(3.0, 4.0)), [[1, 2], [3, 4]]),
    "sparse": (vectors(sparse(3, i1=5.0), sparse(3), sparse(3, i0=1.0, i2=2.0)), [[0, 5, 0], [0, 0, 0], [1, 0, 2]]),
    "mixed": (vectors(dense(1.0, 2.0, 3.0), sparse(3, i2=9.0)), [[1, 2, 3], [0, 0, 9]]),
    "sliced": (vectors(dense(0.0, 0.0), sparse(2, i1=5.0), dense(1.0, 2.0)).slice(1), [[0, 5], [1, 2]]),
    "unequal": (vectors(dense(1.0), sparse(2, i1=5.0)), [[1], [0, 5]]),
    "filtered": (vectors(dense(0.0), sparse(1, i0=5.0), dense(1.0)).filter(pa.array([False, True, True])), [[5], [1]]),
}


@pytest.mark.parametrize("case", VECTORS)
def test_vectors(case):
    column, wanted = VECTORS[case]
    assert [np.asarray(row).tolist() for row in values_of(column)] == wanted


def test_image_rows_are_dicts():
    row = {"origin": "a", "height": 1, "width": 1, "nChannels": 1, "mode": 0, "data": b"x"}
    kind = pa.struct([(k, pa.binary() if k == "data" else pa.string() if k == "origin" else pa.int32()) for k in row])
    assert values_of(pa.array([row, row], kind)) == [row, row]


def test_the_pixels_of_float_images_are_arrays():
    """224 x 224 x 3 Python floats of a row took 200 times as long as its bytes would."""
    kind = pa.struct([("origin", pa.string()), ("data", pa.list_(pa.float32()))])
    rows = [{"origin": str(i), "data": [float(i), 2.0]} for i in range(4)] + [{"origin": "gone", "data": None}]
    values = values_of(pa.array(rows, kind)[1:])
    assert [type(row["data"]) for row in values[:3]] == [np.ndarray] * 3
    assert [row["data"].tolist() for row in values[:3]] == [row["data"] for row in rows[1:4]]
    assert values[3] == {"origin": "gone", "data": None}


@pytest.mark.parametrize(
    ("values", "shape"),
    [
        (np.arange(3), (3, 1)),
        (np.array([True, False]), (2, 1)),
        (np.ones((2, 5)), (2, 5)),
        (np.ones((2, 5, 3)), (2, 5, 3)),
        ([], (0, 1)),
    ],
)
def test_natural_inputs(values, shape):
    found = natural(values)
    assert (found.shape, found.dtype) == (shape, np.float32)


def test_rows_without_a_sample_are_named_and_the_others_stay_in_order():
    inputs, errors = inputs_of(SeqToTensor([2]), [[1, 2], [3], [4, 5], "x"])
    assert inputs[0].tolist() == [[1, 2], [4, 5]]
    assert sorted(errors) == [1, 3]
    assert errors[1] == "SeqToTensor expects 2 numbers for size (2,), received 1."
    assert inputs_of(SeqToTensor([2]), [[1]])[0] == ()
    assert sorted(inputs_of(None, ["a", "b"])[1]) == [0, 1]


def test_rows_of_several_tensors():
    inputs, errors = inputs_of(SeqToMultipleTensors([[1], [2]]), [[1, 2, 3], [0], [4, 5, 6]])
    assert [part.tolist() for part in inputs] == [[[1], [4]], [[2, 3], [5, 6]]]
    assert list(errors) == [1]


@pytest.mark.parametrize("spoil", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite(spoil):
    block = np.ones((4, 3), np.float32)
    assert finite_rows((block,)).all()
    block[2, 1] = spoil
    assert finite_rows((np.ones((4, 1)), block)).tolist() == [True, True, False, True]
    assert finite_rows((list(block),)).tolist() == [True, True, False, True]
    assert finite_rows((np.full((2, 2), np.finfo(np.float32).max, np.float32),)).all()
    assert taken((block, list(block)), np.array([True, False, False, True]))[0].shape == (2, 3)
