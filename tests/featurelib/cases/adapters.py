"""Rows of the table: links between features, labels and samples."""

from __future__ import annotations

import numpy as np

from featurelib import (
    BigDLAdapter,
    FeatureError,
    FeatureLabelPreprocessing,
    FeatureToTupleAdapter,
    ScalarToTensor,
    SeqToTensor,
    TensorToSample,
    ToTuple,
)
from featurelib.image import ImageRandomCrop
from tests.featurelib.cases.case import Case

TENSOR = np.arange(6, dtype=np.float32).reshape(2, 3)
PICTURE = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
NO_PAIR = (TENSOR, FeatureError, r"expects a pair (feature, label). Received: ndarray. Hint: ToTuple()")

CASES = [
    Case(
        TensorToSample(),
        [[TENSOR, TENSOR + 1], [TENSOR.astype(np.int32)], [np.arange(3.0)], [(TENSOR, TENSOR[0])], []],
        (2, 3),
        bad=[("text", FeatureError, "TensorToSample expects tensors. Received: str")],
    ),
    Case(ToTuple(), [[TENSOR, TENSOR + 1], [1.0, "text"], []]),
    Case(
        FeatureLabelPreprocessing(SeqToTensor([3]), ScalarToTensor()),
        [[([1, 2, 3], 4), ([1, 2, 3], None)], []],
        (3,),
        bad=[NO_PAIR, (([1, 2], 4), FeatureError, "expects 3 numbers"), (([1, 2, 3], "a"), FeatureError, "numbers")],
    ),
    Case(
        FeatureToTupleAdapter(TensorToSample()),
        [[(TENSOR, 1.0), (TENSOR, None)], []],
        (2, 3),
        bad=[NO_PAIR],
    ),
    Case(FeatureToTupleAdapter(ImageRandomCrop(2, 2)), [[(PICTURE, 1.0)]], (2, 2, 3), "uint8"),
    Case(BigDLAdapter(ImageRandomCrop(2, 2)), [[PICTURE], []], (2, 2, 3), "uint8"),
]
