"""Image files as DataFrames.

Files that the workers can open themselves (`file:` paths, and all paths where that is Spark's default file system) are
listed and read by the tasks: nothing but the paths leaves the driver, which never holds a list of files, and no byte of
a file passes through the JVM. Every task walks the same folders and takes every n-th file. Other file systems are read
through Spark's own source of binary files.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F

from featurelib.errors import FeatureError
from featurelib.image.files import expanded, rooted, split_paths
from featurelib.image.rows import DROP, NULL
from nnframes.errors import ColumnError, DataError
from nnframes.spark.columns import check_free
from nnframes.spark.context import session_of
from nnframes.spark.functions import quoted
from nnframes.spark.image_rows import (
    IMAGE_TYPE,
    ImageFile,
    ReadSettings,
    image_batches,
    local_files,
    without_traceback,
)

__all__ = [
    "NNImageReader",
    "binary_files",
    "decoded",
    "each_part",
    "image_frame",
    "is_local",
    "partitions",
    "with_origin_column",
]

TASKS_PER_SLOT = 2
"""Shares of every n-th file take about equally long, and each walks all folders: a microsecond a file."""


class NNImageReader:
    """Reads image files into DataFrames (Analytics Zoo's `NNImageReader`)."""

    @staticmethod
    def readImages(
        path: Any,
        sc: Any = None,
        minPartitions: int = 1,
        resizeH: int = -1,
        resizeW: int = -1,
        image_codec: int = -1,
        invalid: str = "fail",
        observation: Any = None,
        **bounds: int,
    ) -> DataFrame:
        """Return a DataFrame of one column ``image`` in Spark's image schema: a row per file, pixels in B, G, R.

        `path` is a file, a folder (all files below it), a comma list, a list, or a pattern with ``* ? [..] {..}``;
        names that begin with a dot or an underscore are left out below folders. `sc` is a session or a context, None
        for the running one. `resizeH` and `resizeW` resize in the same pass. `image_codec` as in OpenCV: < 0 as stored,
        0 grey, > 0 three channels. ``mode`` is OpenCV's type number: 0, 8, 16, 24 for 1 to 4 channels of uint8, two
        more for uint16, five more for float32.

        `invalid` says what becomes of a file that is no image, cannot be read or is too large: "fail" fails the query
        and names the file; "drop" leaves it out; "null" keeps a row with its origin, null data and -1 elsewhere, as
        Spark's own source. The log of the tasks counts and names such files; a `pyspark.sql.Observation` given as
        `observation` has how many ``files`` there were and how many of them ``invalid`` after the first action.

        `bounds` may name `max_pixels`: what a file may announce before it counts as too large, 134 million if not said.

        `minPartitions` is a lower bound for files that the workers open themselves; others are repartitioned to it, and
        of others Spark's own source leaves empty ones out unseen. Raises `DataError` where a local path matches
        nothing. An empty folder gives a DataFrame without rows.
        """
        spark = session_of(sc)
        settings = ReadSettings(resizeH, resizeW, image_codec, invalid, **bounds)
        if observation is None:
            return image_frame(spark, split_paths(path), minPartitions, settings)
        # What is counted must be there: such rows are made first, and dropped behind the count.
        counted = replace(settings, invalid=NULL) if invalid == DROP else settings
        frame = image_frame(spark, split_paths(path), minPartitions, counted)
        bad = F.col("image.mode") < 0
        frame = frame.observe(observation, F.count(F.lit(1)).alias("files"), F.count(F.when(bad, 1)).alias("invalid"))
        return frame.where(~bad) if invalid == DROP else frame


def with_origin_column(dataset: DataFrame, imageColumn: str = "image", originColumn: str = "origin") -> DataFrame:
    """Append the origin of an image column as a column of its own (Analytics Zoo's function of this name)."""
    if imageColumn not in dataset.columns:
        raise ColumnError(f"Column '{imageColumn}' must exist. Received: {', '.join(dataset.columns)}.")
    check_free(dataset.schema, {"originColumn": originColumn})
    return dataset.withColumn(originColumn, F.col(quoted(imageColumn)).getField("origin"))


def image_frame(spark: SparkSession, paths: list[str], least: int, settings: ReadSettings) -> DataFrame:
    """Return the images of files as a DataFrame."""
    if all(is_local(spark, path) for path in paths):
        read = _ReadShare([rooted(path) for path in paths], settings)
        return each_part(spark, paths, least, read, f"image {IMAGE_TYPE}")
    return decoded(binary_files(spark, paths, least), settings)


@dataclass(frozen=True)
class _ReadShare:
    """Reads one share of local files; travels to the tasks."""

    paths: list[str]
    settings: ReadSettings

    def __call__(self, part: int, parts: int) -> Iterator[pa.RecordBatch]:
        return image_batches(local_files(self.paths, part, parts), self.settings)


def each_part(
    spark: SparkSession,
    paths: list[str],
    least: int,
    read: Callable[[int, int], Iterator[pa.RecordBatch]],
    schema: str,
) -> DataFrame:
    """Return what `read(part, parts)` yields in as many tasks; raises `DataError` where a local path is missing."""
    try:
        for path in paths:
            expanded(path)
    except FeatureError as error:
        raise DataError(str(error)) from None
    parts = partitions(spark, least)

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for part in [number for batch in batches for number in batch.column(0).to_pylist()]:
            yield from without_traceback(read(part, parts))

    return spark.range(0, parts, 1, parts).mapInArrow(run, schema)


def binary_files(spark: SparkSession, paths: list[str], least: int) -> DataFrame:
    """Return the files' ``path`` and ``content`` through Spark's own source, which lists folders in parallel."""
    files = spark.read.format("binaryFile").option("recursiveFileLookup", "true").load(paths)
    chosen = files.select("path", "content")
    return chosen.repartition(least) if least > 1 else chosen


def decoded(files: DataFrame, settings: ReadSettings) -> DataFrame:
    """Return the images of a DataFrame of ``path`` and ``content``."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return without_traceback(image_batches(_rows(batches), settings))

    return files.select("path", "content").mapInArrow(run, f"image {IMAGE_TYPE}")


def _rows(batches: Iterable[pa.RecordBatch]) -> Iterator[ImageFile]:
    for batch in batches:
        for path, content in zip(batch.column("path"), batch.column("content"), strict=True):
            yield ImageFile(path.as_py(), content.as_py)


def is_local(spark: SparkSession, path: str) -> bool:
    """Whether all workers can open a path as a file of their own hosts, as far as Spark tells."""
    scheme = re.match(r"([A-Za-z][\w+.-]*):", path)
    if scheme is not None:
        return scheme[1] == "file"
    # A client of Connect is not told the default file system, so there a path needs its scheme to be read directly.
    context = getattr(spark, "_jsc", None)
    return context is not None and context.hadoopConfiguration().get("fs.defaultFS", "").startswith("file:")


def partitions(spark: SparkSession, least: int) -> int:
    """Return in how many tasks to read, at least `least`: a few per slot, so that no slot waits long at the end."""
    context = getattr(spark, "_sc", None)
    if context is None:  # a client of Connect is not told how many slots there are
        return max(least, int(spark.conf.get("spark.sql.shuffle.partitions", "200") or 1))
    return max(least, context.defaultParallelism * TASKS_PER_SLOT)
