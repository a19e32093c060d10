"""Sets of images that are transformed as a whole, in memory; sets over DataFrames have the same contract.

A set never changes: what transforms or labels it gives another set. Random transforms draw from a stream of each image,
which follows from the seed, from how many transforms came before, and from the image's name (or, without one, its
content): never from its place, its neighbours or the partition it lies in.
"""

from __future__ import annotations

import hashlib
import logging
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing, RowStreams, Transformable
from featurelib.errors import FeatureError
from featurelib.image import functional as F
from featurelib.image.feature import ImageFeature, as_feature
from featurelib.image.files import class_folders, find_files, origin_of, read_file, split_paths
from featurelib.image.rows import DROP, FAIL, NULL
from kernels.errors import ArgumentError

__all__ = ["ImageCollection", "LocalImageSet", "Step", "class_numbers", "row_digest", "split_bounds", "split_place"]

_SPLIT_DIGITS = 13

_LOG = logging.getLogger("featurelib")


class ImageCollection(Transformable):
    """What sets of images have in common, in memory or over a cluster (Analytics Zoo's `ImageSet`).

    `label_map` is {name of a class: its number} where the labels are those of folders, else None.
    """

    label_map: dict[str, int] | None = None

    @abstractmethod
    def transform(self, transformer: Preprocessing, seed: int = 0, epoch: int = 0) -> Any:
        """The set with every image transformed; random transforms follow (seed, epoch, the image)."""

    @abstractmethod
    def get_image(self, key: str = "imageTensor", to_chw: bool = True) -> Any:
        """The tensors under `key`, or else the pictures, as float32."""

    @abstractmethod
    def get_label(self) -> Any:
        """The labels, None for an image without one."""

    @abstractmethod
    def get_predict(self, key: str = "predict") -> Any:
        """(uri, prediction) of every image, None before prediction."""

    @abstractmethod
    def get_sample(self) -> Any:
        """What is under the key ``sample`` of every image."""

    @abstractmethod
    def get_uri(self) -> Any:
        """Where every image came from."""

    @abstractmethod
    def set_label(self, labels: Any) -> Any:
        """The set with other labels: {uri: label}."""

    @abstractmethod
    def random_split(self, weights: Sequence[float], seed: int = 0) -> list[Any]:
        """Sets of about these shares; which image goes where follows from the seed and the image alone."""

    @abstractmethod
    def is_local(self) -> bool:
        """Whether the images are in this process's memory."""

    def is_distributed(self) -> bool:
        """Whether the images are rows of a DataFrame."""
        return not self.is_local()

    def to_image_frame(self) -> Any:
        """The set itself: BigDL's `ImageFrame` is another name of it."""
        return self


@dataclass(frozen=True)
class Step:
    """One transform of a whole set, with what its random numbers follow from."""

    transformer: Preprocessing
    seed: int = 0
    epoch: int = 0

    def __post_init__(self) -> None:
        if not isinstance(self.transformer, Preprocessing):
            raise ArgumentError(f"transformer must be a Preprocessing. Received: {self.transformer!r}.")
        _checks.whole("seed", self.seed, 0)
        _checks.whole("epoch", self.epoch, 0)

    def run(self, number: int, features: Sequence[ImageFeature]) -> list[Any]:
        """Apply as the step with this number of its set; errors name the image."""
        digests = [row_digest(feature) if self.transformer.random else 0 for feature in features]
        streams = RowStreams(lambda digest: np.random.default_rng([self.seed, self.epoch, number, digest]), digests)
        try:
            return [_record(each, row) for row, each in enumerate(self.transformer.batch(features, streams))]
        except FeatureError as error:
            uri = features[error.row or 0].get("uri")
            if uri is not None:
                raise FeatureError(f"image {uri!r}: {error}").at_row(error.row or 0) from None
            raise


class LocalImageSet(ImageCollection):
    """Images in memory (Analytics Zoo's `LocalImageSet`).

    `image_list` holds `ImageFeature`s, pictures or encoded bytes; `label_list` as many labels.

    >>> from featurelib.image import ImageResize
    >>> images = LocalImageSet([np.zeros((4, 6, 3), np.uint8)], [1.0])
    >>> small = images.transform(ImageResize(2, 3))
    >>> small.get_image()[0].shape, small.get_label(), images.get_image()[0].shape
    ((3, 2, 3), [1.0], (3, 4, 6))
    """

    def __init__(self, image_list: Iterable[Any] | None = None, label_list: Sequence[Any] | None = None) -> None:
        features = [as_feature(image) for image in (() if image_list is None else image_list)]
        if label_list is not None:
            if len(label_list) != len(features):
                raise ArgumentError(
                    f"label_list must have one label per image. Received: {len(label_list)} for {len(features)} images."
                )
            features = [f.replace(label=label) for f, label in zip(features, label_list, strict=True)]
        self.features: tuple[Any, ...] = tuple(features)
        self._steps = 0

    @staticmethod
    def read(
        path: Any,
        resize_height: int = -1,
        resize_width: int = -1,
        image_codec: int = -1,
        with_label: bool = False,
        one_based_label: bool = True,
        invalid: str = FAIL,
        max_pixels: int = F.MAX_PIXELS,
    ) -> LocalImageSet:
        """Read image files: a file, a folder, a comma list or a pattern, all that lies below folders.

        `with_label` takes the name of a file's folder for its class; the folders right in `path` are the classes,
        sorted, counted from 1 or from 0. `invalid` says what becomes of a file that is no image or has more than
        `max_pixels`: "fail" raises `FeatureError`, which names it; "drop" leaves it out; "null" keeps an image without
        a picture. The log counts the last two.
        """
        _checks.one_of("invalid", invalid, (FAIL, DROP, NULL))
        paths, size = split_paths(path), (resize_height, resize_width)
        if (min(size) > 0) != (max(size) > 0):
            raise ArgumentError(f"resize_height and resize_width must both be >= 1, or both -1. Received: {size}.")
        label_map = _classes(paths, one_based_label) if with_label else None
        images = _readable(
            find_files(paths), partial(_read, size=size, codec=image_codec, max_pixels=max_pixels), invalid
        )
        if label_map is not None:
            images = (_labelled(image, label_map) for image in images)
        made = LocalImageSet(images)
        made.label_map = label_map
        return made

    def transform(self, transformer: Preprocessing, seed: int = 0, epoch: int = 0) -> LocalImageSet:
        made = self._with(Step(transformer, seed, epoch).run(self._steps, self.features))
        made._steps = self._steps + 1
        return made

    def get_image(self, key: str = "imageTensor", to_chw: bool = True) -> list[np.ndarray]:
        return [feature.get_image(key, to_chw) for feature in self.features]

    def get_label(self) -> list[Any]:
        return self._values("label")

    def get_predict(self, key: str = "predict") -> list[tuple[Any, Any]]:
        return list(zip(self.get_uri(), self._values(key), strict=True))

    def get_sample(self) -> list[Any]:
        return self._values("sample")

    def get_uri(self) -> list[Any]:
        return self._values("uri")

    def set_label(self, labels: Mapping[str, Any] | Sequence[Any]) -> LocalImageSet:
        """The set with other labels: {uri: label}, others stay as they are; or one label for every image."""
        if not isinstance(labels, Mapping):
            made = LocalImageSet(self.features, labels)
            return self._with(made.features)
        known = [(f, labels.get(f.get("uri"), f.get("label"))) for f in self.features]
        return self._with(f if label is None else f.replace(label=label) for f, label in known)

    def random_split(self, weights: Sequence[float], seed: int = 0) -> list[LocalImageSet]:
        bounds = split_bounds(weights)
        places = np.searchsorted(bounds, [split_place(feature, seed) for feature in self.features], side="right")
        pairs = list(zip(self.features, places, strict=True))
        return [self._with(f for f, place in pairs if place == number) for number in range(len(weights))]

    def is_local(self) -> bool:
        return True

    def __len__(self) -> int:
        return len(self.features)

    def __iter__(self) -> Iterator[ImageFeature]:
        return iter(self.features)

    def _values(self, key: str) -> list[Any]:
        return [feature.get(key) for feature in self.features]

    def _with(self, features: Iterable[Any]) -> LocalImageSet:
        made = LocalImageSet()
        made.features, made.label_map, made._steps = tuple(features), self.label_map, self._steps
        return made


def class_numbers(names: Sequence[str], one_based: bool) -> dict[str, int]:
    """Number classes in the order of their names. Raises `FeatureError` where there are none.

    >>> class_numbers(["dog", "cat"], one_based=True)
    {'cat': 1, 'dog': 2}
    """
    if not names:
        raise FeatureError("path must hold a folder for each class to read labels. Received: no folder in it.")
    return {name: number for number, name in enumerate(sorted(names), int(one_based))}


def _record(value: Any, row: int) -> ImageFeature:
    """What a step made of an image, which must be a record still; `FeatureError` where it is not."""
    if isinstance(value, ImageFeature):
        return value
    raise FeatureError(
        f"a transform of a set must give an ImageFeature. Received: {type(value).__name__}. Hint: end it with "
        "ImageMatToTensor() or ImageSetToSample(), and take get_image() or get_sample()."
    ).at_row(row)


def row_digest(feature: ImageFeature) -> int:
    """64 bits that stand for an image: for its name, or without one for its content."""
    return int(hashlib.sha256(_identity(feature)).hexdigest()[:16], 16)


def split_place(feature: ImageFeature, seed: int) -> float:
    """A number in [0, 1) that follows from an image and a seed; SQL computes the same."""
    digest = hashlib.sha256(_identity(feature) + f"/{seed}".encode()).hexdigest()
    return int(digest[:_SPLIT_DIGITS], 16) / 16**_SPLIT_DIGITS


def split_bounds(weights: Sequence[float]) -> list[float]:
    """Where each part but the last ends in [0, 1).

    >>> split_bounds([1, 3])
    [0.25]
    """
    for weight in weights:
        _checks.finite("weights", weight)
    if not len(weights) or min(weights) < 0 or not sum(weights):
        raise ArgumentError(f"weights must be numbers >= 0 and not all 0. Received: {list(weights)!r}.")
    return (np.cumsum(weights)[:-1] / sum(weights)).tolist()


def _identity(feature: ImageFeature) -> bytes:
    if feature.get("uri") is not None:
        return str(feature["uri"]).encode("utf-8", "replace")
    data = feature.get("bytes")
    return data if data is not None else np.ascontiguousarray(feature).tobytes()


def _classes(paths: list[str], one_based: bool) -> dict[str, int]:
    if len(paths) != 1:
        raise ArgumentError(f"path must be one folder, of a folder for each class. Received: {paths}.")
    return class_numbers(class_folders(paths[0]), one_based)


def _readable(paths: Iterable[str], read: Callable[[str], ImageFeature], invalid: str) -> Iterator[ImageFeature]:
    """What `read` makes of files; `invalid` says what becomes of those that it cannot read."""
    count, bad = 0, []
    for path in paths:
        count += 1
        try:
            yield read(path)
        except FeatureError as error:
            if invalid == FAIL:
                raise
            bad.append(str(error).rstrip("."))
            if invalid == NULL:
                yield ImageFeature(path=origin_of(path))
    if bad:
        _LOG.warning("%d of %d files are no images (invalid='%s'): %s", len(bad), count, invalid, "; ".join(bad[:3]))


def _labelled(image: ImageFeature, label_map: dict[str, int]) -> ImageFeature:
    label = label_map.get(Path(image["uri"]).parent.name)
    return image if label is None else image.replace(label=float(label))


def _read(path: str, size: tuple[int, int], codec: int, max_pixels: int) -> ImageFeature:
    try:
        mat = F.decode(read_file(path), codec, max_pixels)
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from None
    original = mat.shape
    mat = F.resize(mat, *size) if min(size) > 0 else mat
    return ImageFeature(mat, path=origin_of(path)).replace(originalSize=original)
