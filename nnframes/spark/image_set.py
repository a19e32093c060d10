"""Sets of images over DataFrames, and the readers that give sets: in memory without a session, distributed with one.

A distributed set is a DataFrame of pictures (and labels) and the transforms that are still to be applied; they run, all
in one pass, when something is asked of the set. What it gives is a DataFrame, on Spark Connect too.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from featurelib.base import ChainedPreprocessing, Preprocessing
from featurelib.errors import FeatureError
from featurelib.image import RowToImageFeature
from featurelib.image.feature import ImageFeature, as_feature
from featurelib.image.files import class_folders, split_paths
from featurelib.image.image_set import ImageCollection, LocalImageSet, Step, class_numbers, split_bounds
from featurelib.image.rows import mode_of
from featurelib.registry import WithClasses
from nnframes.errors import ArgumentError, ColumnError, DataError
from nnframes.spark.context import session_of
from nnframes.spark.features import chain_classes, chain_from_json, chain_to_json
from nnframes.spark.image_reader import binary_files, decoded, image_frame, is_local
from nnframes.spark.image_rows import (
    BATCH_BYTES,
    IMAGE_TYPE,
    ImageFile,
    ReadSettings,
    at_hand,
    image_batches,
    without_traceback,
)

__all__ = ["DistributedImageSet", "ImageFrame", "ImageSet"]

ROWS_AT_ONCE = 16
"""Rows that transforms see together: few enough for large pictures, enough to work in one go where they can."""

_VALUES = "uri string, shape array<int>, data array<float>"
_HASH_DIGITS = 13


class DistributedImageSet(ImageCollection):
    """Images as rows of a DataFrame (Analytics Zoo's `DistributedImageSet`).

    `frame` has a column ``image`` in Spark's image schema and may have one ``label``. What `get_image`, `get_label`,
    `get_predict` and `get_sample` return are DataFrames of ``uri``, ``shape`` and ``data`` (null where there is none);
    of a sample it is the input.
    """

    def __init__(self, frame: DataFrame, label_map: dict[str, int] | None = None, steps: tuple[Step, ...] = ()) -> None:
        if not isinstance(frame, DataFrame):
            hint = "ImageSet.from_rdds takes RDDs, from_local sets in memory"
            raise ArgumentError(f"frame must be a Spark DataFrame. Received: {type(frame).__name__}. Hint: {hint}.")
        if "image" not in frame.columns:
            raise ColumnError(f"Column 'image' must exist. Received: {', '.join(frame.columns)}.")
        kept = ["image", "label"] if "label" in frame.columns else ["image"]
        self.frame, self.label_map, self.steps = frame.select(*kept), label_map, steps

    @staticmethod
    def from_local(images: LocalImageSet, sc: Any = None) -> DistributedImageSet:
        """Distribute a set that is in memory; labels must be numbers or lists of them."""
        batches = list(image_batches(map(_file, images), ReadSettings(), _label_type(images.get_label())))
        if not batches:
            raise DataError("The set must have an image to be distributed. Received: none.")
        frame = session_of(sc).createDataFrame(pa.Table.from_batches(batches))
        return DistributedImageSet(frame, images.label_map)

    def transform(self, transformer: Preprocessing, seed: int = 0, epoch: int = 0) -> DistributedImageSet:
        return self._with(self.frame, (*self.steps, Step(transformer, seed, epoch)))

    def get_image(self, key: str = "imageTensor", to_chw: bool = True) -> DataFrame:
        return self._run(_Task("values", key, image=True, to_chw=to_chw), _VALUES)

    def get_label(self) -> DataFrame:
        return self._run(_Task("values", "label"), _VALUES)

    def get_predict(self, key: str = "predict") -> DataFrame:
        return self._run(_Task("values", key), _VALUES)

    def get_sample(self) -> DataFrame:
        return self._run(_Task("values", "sample"), _VALUES)

    def get_uri(self) -> DataFrame:
        return self.frame.select(F.col("image.origin").alias("uri"))

    def set_label(self, labels: Mapping[str, float]) -> DistributedImageSet:
        """The set with other labels: {uri: label}; images that are not in it keep what they have."""
        rows = [(str(uri), float(label)) for uri, label in labels.items()]
        given = self.frame.sparkSession.createDataFrame(rows, "__uri string, __label double")
        joined = self.frame.join(F.broadcast(given), F.col("image.origin") == F.col("__uri"), "left")
        label = F.coalesce("__label", "label") if "label" in self.frame.columns else F.col("__label")
        return self._with(joined.select("image", label.alias("label")), self.steps)

    def random_split(self, weights: Sequence[float], seed: int = 0) -> list[DistributedImageSet]:
        bounds = [0.0, *split_bounds(weights), 1.0]
        place = _place(seed)
        return [
            self._with(self.frame.where((place >= low) & (place < high)), self.steps)
            for low, high in itertools.pairwise(bounds)
        ]

    def to_dataframe(self) -> DataFrame:
        """Return the pictures, transformed, in Spark's image schema as ``image``, with ``label`` if there is one."""
        if not self.steps:
            return self.frame
        label = self.frame.schema["label"].dataType.simpleString() if "label" in self.frame.columns else None
        return self._run(_Task("pictures"), f"image {IMAGE_TYPE}" + (f", label {label}" if label else ""))

    def to_local(self) -> LocalImageSet:
        """Bring the pictures, transformed, into this process's memory."""
        table = self.to_dataframe().toArrow()
        made = LocalImageSet(feature for batch in table.to_batches() for feature in _features(batch))
        made.label_map = self.label_map
        return made

    def is_local(self) -> bool:
        return False

    def _with(self, frame: DataFrame, steps: tuple[Step, ...]) -> DistributedImageSet:
        return DistributedImageSet(frame, self.label_map, steps)

    def _run(self, task: _Task, schema: str) -> DataFrame:
        texts = tuple((chain_to_json(step.transformer), step.seed, step.epoch) for step in self.steps)
        run = WithClasses(_run_steps, chain_classes(*(step.transformer for step in self.steps)))
        return self.frame.mapInArrow(partial(run, task, texts), schema)


class ImageSet:
    """Reads sets of images (Analytics Zoo's `ImageSet`); `ImageFrame` (BigDL's) is another name of it."""

    @staticmethod
    def read(
        path: Any,
        sc: Any = None,
        min_partitions: int = 1,
        resize_height: int = -1,
        resize_width: int = -1,
        image_codec: int = -1,
        with_label: bool = False,
        one_based_label: bool = True,
        **reading: Any,
    ) -> LocalImageSet | DistributedImageSet:
        """Read image files, as `NNImageReader.readImages` takes them: without `sc` into memory, else distributed.

        `with_label` takes the name of a file's folder for its class: the folders right in `path` are the classes,
        sorted by name and counted from 1, or without `one_based_label` from 0, as `NNClassifier` takes them;
        `label_map` says which is which. `reading` may name `invalid` and `max_pixels`, as `readImages` takes them.
        """
        if sc is None:
            size = (resize_height, resize_width)
            return LocalImageSet.read(path, *size, image_codec, with_label, one_based_label, **reading)
        spark, paths = session_of(sc), split_paths(path)
        settings = ReadSettings(resize_height, resize_width, image_codec, **reading)
        frame = image_frame(spark, paths, min_partitions, settings)
        if not with_label:
            return DistributedImageSet(frame)
        label_map = _label_map(spark, paths, one_based_label)
        return DistributedImageSet(frame.withColumn("label", _numbered(_folder("image.origin"), label_map)), label_map)

    @staticmethod
    def from_dataframe(frame: DataFrame) -> DistributedImageSet:
        """Take a DataFrame with ``image`` in Spark's image schema, and ``label`` if there is one."""
        return DistributedImageSet(frame)

    @staticmethod
    def from_rdds(image_rdd: Any, label_rdd: Any = None) -> DistributedImageSet:
        """Take an RDD of pictures, files' bytes or `ImageFeature`s, and one of as many labels, a number each.

        Without `label_rdd` the labels are those of the features.
        """
        pairs = image_rdd.map(_with_none) if label_rdd is None else image_rdd.zip(label_rdd)
        frame = session_of(image_rdd.context).createDataFrame(pairs.map(_row), f"image {IMAGE_TYPE}, label double")
        return DistributedImageSet(frame)

    @staticmethod
    def from_image_frame(image_frame: ImageCollection) -> ImageCollection:
        """The set itself: image frames and image sets are the same."""
        return image_frame

    @staticmethod
    def write_parquet(path: Any, output: str, sc: Any = None, partition_num: int = 1) -> None:
        """Write the files at `path`, as they are, to Parquet: ``uri`` and ``bytes``."""
        files = binary_files(session_of(sc), split_paths(path), partition_num)
        files.select(F.col("path").alias("uri"), F.col("content").alias("bytes")).write.parquet(output)

    @staticmethod
    def read_parquet(
        path: str, sc: Any = None, resize_height: int = -1, resize_width: int = -1, image_codec: int = -1
    ) -> DistributedImageSet:
        """Read what `write_parquet` wrote, or any Parquet with ``uri`` and ``bytes``."""
        files = session_of(sc).read.parquet(path)
        named = files.select(F.col("uri").alias("path"), F.col("bytes").alias("content"))
        return DistributedImageSet(decoded(named, ReadSettings(resize_height, resize_width, image_codec)))


ImageFrame = ImageSet


def _with_none(image: Any) -> tuple[Any, None]:
    return image, None


def _row(pair: tuple[Any, Any]) -> tuple[tuple[Any, ...], float | None]:
    """A row of an image and a label, in a task of Spark."""
    try:
        feature = as_feature(pair[0])
        mat = ReadSettings().picture(_file(feature).load())
        label = feature.get("label") if pair[1] is None else pair[1]
        number = None if label is None else float(np.asarray(label, np.float64).item())
    except (FeatureError, TypeError, ValueError) as error:
        raise DataError(f"Every element must be an image, with a number for a label. Received: {error}") from None
    return (feature.get("uri"), *mat.shape, mode_of(mat), mat.tobytes()), number


@dataclass(frozen=True)
class _Task:
    """What is asked of a set: its pictures, or the values under a key."""

    kind: str
    key: str = ""
    image: bool = False  # the key is one of pictures: without it the picture itself
    to_chw: bool = True

    def value(self, feature: ImageFeature) -> Any:
        return feature.get_image(self.key, self.to_chw) if self.image else feature.get(self.key)


def _run_steps(
    task: _Task, texts: tuple[tuple[str, int, int], ...], batches: Iterable[pa.RecordBatch]
) -> Iterator[pa.RecordBatch]:
    """Apply the steps of a set to rows of pictures, in a task of Spark."""
    steps = [Step(chain_from_json(text) or ChainedPreprocessing([]), seed, epoch) for text, seed, epoch in texts]
    return without_traceback(_answers(task, steps, batches))


def _answers(task: _Task, steps: list[Step], batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    for batch in batches:
        features = _transformed(steps, batch)
        if task.kind == "pictures":
            label = batch.schema.field("label").type if "label" in batch.schema.names else None
            yield from image_batches(map(_file, features), ReadSettings(), label)
        else:
            yield from _value_batches(task, features)


def _transformed(steps: list[Step], batch: pa.RecordBatch) -> Iterator[ImageFeature]:
    for low in range(0, batch.num_rows, ROWS_AT_ONCE):
        try:
            features: list[Any] = _features(batch.slice(low, ROWS_AT_ONCE))
            for number, step in enumerate(steps):
                features = step.run(number, features)
        except FeatureError as error:
            error.row = None
            raise DataError(f"Every image must be one that the transforms take. Received {error}") from None
        yield from features


def _value_batches(task: _Task, features: Iterable[Any]) -> Iterator[pa.RecordBatch]:
    rows: list[tuple[Any, Any, Any]] = []
    size = 0
    for feature in features:
        numbers = _numbers(task, feature)
        rows.append((feature.get("uri"), *((None, None) if numbers is None else (numbers.shape, numbers.reshape(-1)))))
        size += 0 if numbers is None else numbers.nbytes
        if size >= BATCH_BYTES:
            yield _value_batch(rows)
            rows, size = [], 0
    if rows:
        yield _value_batch(rows)


def _numbers(task: _Task, feature: ImageFeature) -> np.ndarray | None:
    value = task.value(feature)
    try:
        return None if value is None else np.asarray(value, np.float32)
    except (TypeError, ValueError):
        raise DataError(
            f"Image {feature.get('uri')!r} must have numbers under '{task.key}'. Received: {type(value).__name__}."
        ) from None


def _value_batch(rows: list[tuple[Any, Any, Any]]) -> pa.RecordBatch:
    kinds = (pa.string(), pa.list_(pa.int32()), pa.list_(pa.float32()))
    columns = [pa.array(list(column), kind) for column, kind in zip(zip(*rows, strict=True), kinds, strict=True)]
    return pa.RecordBatch.from_arrays(columns, ["uri", "shape", "data"])


def _features(batch: pa.RecordBatch) -> list[Any]:
    """Rows of image and label as records."""
    image, opener = batch.column("image"), RowToImageFeature()
    names = [image.type.field(i).name for i in range(image.type.num_fields)]
    columns = [image.field(name).to_pylist() for name in names]
    features = [opener(dict(zip(names, row, strict=True))) for row in zip(*columns, strict=True)]
    if "label" not in batch.schema.names:
        return features
    return [
        f if y is None else f.replace(label=y) for f, y in zip(features, batch.column("label").to_pylist(), strict=True)
    ]


def _file(feature: ImageFeature) -> ImageFile:
    content = feature["mat"] if "mat" in feature else feature.get("bytes")
    if content is None:
        raise ArgumentError(f"An image must have its picture to become a row. Received: {feature!r}.")
    return ImageFile(feature.get("uri"), at_hand(content), feature.get("label"))


def _label_type(labels: list[Any]) -> pa.DataType | None:
    """What holds all labels; None where there are none."""
    known = [label for label in labels if label is not None]
    try:
        return pa.array(known).type if known else None
    except (pa.ArrowException, TypeError) as error:
        raise DataError(f"Labels must be numbers or lists of them, all alike. Received: {error}.") from None


def _place(seed: int) -> Column:
    """A number in [0, 1) for each row: what `featurelib.image.image_set.split_place` computes."""
    identity = F.coalesce(F.col("image.origin").cast("binary"), F.col("image.data"))
    digest = F.sha2(F.concat(identity, F.lit(f"/{seed}").cast("binary")), 256)
    return F.conv(F.substring(digest, 1, _HASH_DIGITS), 16, 10).cast("double") / float(16**_HASH_DIGITS)


def _folder(column: str) -> Column:
    """The name of the folder that a file lies in."""
    return F.element_at(F.split(F.col(column), "/"), -2)


def _numbered(names: Column, label_map: dict[str, int]) -> Column:
    numbers = F.from_json(F.lit(json.dumps(label_map)), "map<string,double>")
    return F.try_element_at(numbers, names)


def _label_map(spark: SparkSession, paths: list[str], one_based: bool) -> dict[str, int]:
    if len(paths) != 1:
        raise ArgumentError(f"path must be one folder, of a folder for each class. Received: {paths}.")
    try:
        if is_local(spark, paths[0]):
            return class_numbers(class_folders(paths[0]), one_based)
        # Names alone: Spark reads no content that nobody asks for. A match may be a folder, whose files lie deeper.
        files = binary_files(spark, [f"{paths[0]}/*/*"], 1)
        found = files.select(_folder("path").alias("name"), F.size(F.split("path", "/")).alias("depth"))
        rows = found.where("name NOT RLIKE '^[._]'").distinct().collect()
        least = min((row["depth"] for row in rows), default=0)
        return class_numbers([row["name"] for row in rows if row["depth"] == least], one_based)
    except FeatureError as error:
        raise DataError(str(error)) from None
