"""Analytics Zoo's links between features, labels and samples, which its programs name in chains.

A stage here takes features from one column and labels from another by itself, so none of these is needed: a stage runs
what is inside them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib.base import Preprocessing, Streams
from featurelib.errors import FeatureError
from featurelib.sample import Sample, tensors_of
from kernels.errors import ArgumentError

__all__ = ["BigDLAdapter", "FeatureLabelPreprocessing", "FeatureToTupleAdapter", "TensorToSample", "ToTuple"]


class TensorToSample(Preprocessing):
    """A tensor as a `Sample` without a label (Analytics Zoo's `TensorToSample`).

    Numbers become float32, int32 stays. Raises `FeatureError` for what is no tensor.

    >>> TensorToSample()(np.zeros((2, 3), np.float32))
    Sample(features=[(2, 3)], labels=[])
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Sample:
        return Sample(_numbers(self, value))


class ToTuple(Preprocessing):
    """A feature as the pair (feature, no label) that `FeatureLabelPreprocessing` takes (Analytics Zoo's `ToTuple`).

    >>> ToTuple()(5.0)
    (5.0, None)
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> tuple[Any, None]:
        return value, None


class FeatureLabelPreprocessing(Preprocessing):
    """A pair (feature, label) to a `Sample`, each by its transform (Analytics Zoo's `FeatureLabelPreprocessing`).

    A label of None is no label. As the `setSamplePreprocessing` of an estimator, features and labels are those of its
    two columns; a model uses the part for features. Raises `FeatureError` for what is no pair.

    >>> from featurelib.tensor import ScalarToTensor, SeqToTensor
    >>> both = FeatureLabelPreprocessing(SeqToTensor([2]), ScalarToTensor())
    >>> both(([1, 2], 3)), (ToTuple() >> both)([1, 2])
    (Sample(features=[(2,)], labels=[(1,)]), Sample(features=[(2,)], labels=[]))
    """

    def __init__(self, feature_transformer: Preprocessing, label_transformer: Preprocessing) -> None:
        _check("feature_transformer", feature_transformer)
        _check("label_transformer", label_transformer)
        if label_transformer.random:
            raise ArgumentError(f"label_transformer must not be random. Received: {label_transformer!r}.")
        self.feature_transformer = feature_transformer
        self.label_transformer = label_transformer

    @property
    def random(self) -> bool:
        return self.feature_transformer.random

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Sample:
        feature, label = _pair(self, value)
        features = _numbers(self, self.feature_transformer.apply(feature, rng))
        labels = () if label is None else _numbers(self, self.label_transformer.apply(label))
        return Sample(features, labels)

    def deterministic(self) -> Preprocessing:
        return FeatureLabelPreprocessing(self.feature_transformer.deterministic(), self.label_transformer)


class FeatureToTupleAdapter(Preprocessing):
    """A transform of features, for pairs (feature, label): labels go (Analytics Zoo's `FeatureToTupleAdapter`).

    >>> FeatureToTupleAdapter(TensorToSample())((np.zeros(2, np.float32), 1.0))
    Sample(features=[(2,)], labels=[])
    """

    def __init__(self, sample_transformer: Preprocessing) -> None:
        _check("sample_transformer", sample_transformer)
        self.sample_transformer = sample_transformer

    @property
    def random(self) -> bool:
        return self.sample_transformer.random

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        return self.sample_transformer.apply(_pair(self, value)[0], rng)

    def deterministic(self) -> Preprocessing:
        return FeatureToTupleAdapter(self.sample_transformer.deterministic())


class BigDLAdapter(Preprocessing):
    """A transform of BigDL, which is a `Preprocessing` here (Analytics Zoo's `BigDLAdapter`): the same transform.

    >>> from featurelib.image.vision import HFlip
    >>> BigDLAdapter(HFlip())(np.array([[1, 2]], np.uint8))["mat"].ravel().tolist()
    [2, 1]
    """

    def __init__(self, bigdl_transformer: Preprocessing) -> None:
        _check("bigdl_transformer", bigdl_transformer)
        self.bigdl_transformer = bigdl_transformer

    @property
    def random(self) -> bool:
        return self.bigdl_transformer.random

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        return self.bigdl_transformer.apply(value, rng)

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> Any:
        """As the transform itself."""
        return self.bigdl_transformer.batch(values, rngs)

    def deterministic(self) -> Preprocessing:
        return self.bigdl_transformer.deterministic()


def _check(name: str, value: Any) -> None:
    if not isinstance(value, Preprocessing):
        raise ArgumentError(f"{name} must be a Preprocessing. Received: {value!r}.")


def _pair(transform: Preprocessing, value: Any) -> tuple[Any, Any]:
    if not isinstance(value, tuple) or len(value) != 2:
        name, received = type(transform).__name__, type(value).__name__
        raise FeatureError(f"{name} expects a pair (feature, label). Received: {received}. Hint: ToTuple() makes one.")
    return value


def _numbers(transform: Preprocessing, value: Any) -> tuple[np.ndarray, ...]:
    parts = tensors_of(value)
    for part in parts:
        if part.dtype.kind not in "biuf":
            raise FeatureError(f"{type(transform).__name__} expects tensors. Received: {type(value).__name__}.")
    return tuple(part if part.dtype == np.int32 else part.astype(np.float32, copy=False) for part in parts)
