"""Transforms from a record to what training takes of it: inputs and targets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib.base import Preprocessing
from featurelib.errors import FeatureError
from featurelib.image.feature import ImageFeature, as_feature
from featurelib.sample import Sample
from kernels.errors import ArgumentError

__all__ = ["ImageFeatureToSample", "ImageFrameToSample", "ImageSetToSample"]


class ImageSetToSample(Preprocessing):
    """Gather tensors and labels of a record as a `Sample` under `sample_key` (Analytics Zoo's `ImageSetToSample`).

    `input_keys` and `target_keys` name entries of the record, which become float32 arrays; a number becomes one of
    shape (1,), boxes (``roi``) one of (n, 6). `target_keys` may be None, for scoring. Raises `FeatureError` where an
    entry is missing or is no numbers.

    >>> record = ImageFeature(label=3).replace(imageTensor=np.zeros((1, 2, 2), np.float32))
    >>> sample = ImageSetToSample()(record)["sample"]
    >>> sample.features[0].shape, sample.labels[0].tolist()
    ((1, 2, 2), [3.0])
    """

    def __init__(
        self,
        input_keys: Sequence[str] = ("imageTensor",),
        target_keys: Sequence[str] | None = ("label",),
        sample_key: str = "sample",
    ) -> None:
        _check_keys("input_keys", input_keys)
        _check_keys("target_keys", target_keys or ())
        self.input_keys = input_keys
        self.target_keys = target_keys
        self.sample_key = sample_key

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        return _with_sample(self, as_feature(value))


class ImageFrameToSample(Preprocessing):
    """`ImageSetToSample` under BigDL's name and with its default: no targets unless they are named.

    >>> record = ImageFeature(label=3).replace(imageTensor=np.zeros((1, 2, 2), np.float32))
    >>> ImageFrameToSample()(record)["sample"].labels
    ()
    """

    def __init__(
        self,
        input_keys: Sequence[str] = ("imageTensor",),
        target_keys: Sequence[str] | None = None,
        sample_key: str = "sample",
    ) -> None:
        _check_keys("input_keys", input_keys)
        _check_keys("target_keys", target_keys or ())
        self.input_keys = input_keys
        self.target_keys = target_keys
        self.sample_key = sample_key

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        return _with_sample(self, as_feature(value))


class ImageFeatureToSample(Preprocessing):
    """The `Sample` that `ImageSetToSample` left in the record (Analytics Zoo's `ImageFeatureToSample`).

    Raises `FeatureError` where there is none.

    >>> record = ImageFeature(label=3).replace(imageTensor=np.zeros((1, 2, 2), np.float32))
    >>> (ImageSetToSample() >> ImageFeatureToSample())(record).labels[0].tolist()
    [3.0]
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Sample:
        sample = value.get("sample") if isinstance(value, ImageFeature) else None
        if not isinstance(sample, Sample):
            received = sorted(value) if isinstance(value, ImageFeature) else type(value).__name__
            raise FeatureError(
                f"ImageFeatureToSample expects an ImageFeature with a 'sample'. Received: {received}. "
                "Hint: ImageSetToSample() first."
            )
        return sample


def _check_keys(name: str, keys: Any) -> None:
    if not isinstance(keys, (list, tuple)) or not all(isinstance(key, str) for key in keys):
        raise ArgumentError(f"{name} must be a list of keys. Received: {keys!r}.")


def _with_sample(transform: ImageSetToSample | ImageFrameToSample, feature: ImageFeature) -> ImageFeature:
    features = tuple(_tensor(transform, feature, key) for key in transform.input_keys)
    labels = tuple(_tensor(transform, feature, key) for key in transform.target_keys or ())
    return feature.replace(**{transform.sample_key: Sample(features, labels)})


def _tensor(transform: ImageSetToSample | ImageFrameToSample, feature: ImageFeature, key: str) -> np.ndarray:
    if feature.get(key) is None:
        hint = (
            "target_keys=None where there are no targets" if key in (transform.target_keys or ()) else "make it first"
        )
        name = type(transform).__name__
        raise FeatureError(f"{name} expects {key!r} in the record. Received: {sorted(feature)}. Hint: {hint}.")
    try:
        return np.atleast_1d(np.asarray(feature[key], np.float32))
    except (TypeError, ValueError):
        raise FeatureError(
            f"{type(transform).__name__} expects numbers under {key!r}. Received: {type(feature[key]).__name__}."
        ) from None
