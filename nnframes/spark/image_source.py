"""Image files as a data source of Spark SQL: ``spark.read.format("nnimages").option("resizeH", 224).load(path)``.

The files are those that the workers can open themselves: Spark's Python data sources know no other file system. Spark
hands them no columns to leave out; it may hand them filters from 4.1 on, but refuses sources that take any unless a
setting allows it, so this one takes none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
from pyspark.sql import SparkSession
from pyspark.sql.datasource import DataSource, DataSourceReader, InputPartition
from pyspark.sql.types import StructType

from featurelib.image.files import find_files, split_paths
from featurelib.image.functional import MAX_PIXELS
from featurelib.image.rows import FAIL
from nnframes.errors import ArgumentError
from nnframes.spark.context import session_of
from nnframes.spark.image_rows import IMAGE_TYPE, ReadSettings, image_batches, local_files, without_traceback

__all__ = ["ImageDataSource", "register_sources"]

FILES_PER_TASK = 256


def register_sources(spark: SparkSession | None = None) -> None:
    """Make the data source ``nnimages`` known to a session, the running one for None.

    Options: ``path`` as `NNImageReader.readImages` takes it, ``resizeH``, ``resizeW``, ``imageCodec``, ``invalid``
    ("fail", "drop" or "null"), ``maxPixels`` and ``minPartitions``. The schema is the one column ``image``.
    """
    session_of(spark).dataSource.register(ImageDataSource)


class ImageDataSource(DataSource):
    """The data source ``nnimages``; `register_sources` makes it known."""

    @classmethod
    def name(cls) -> str:
        """What ``format`` takes."""
        return "nnimages"

    def schema(self) -> str:
        """Spark's image schema."""
        return f"image {IMAGE_TYPE}"

    def reader(self, schema: StructType) -> ImageSourceReader:
        """Return what plans and reads; `schema` must be the source's own."""
        if schema.names != ["image"]:
            raise ArgumentError(f"The schema of nnimages must be the column 'image'. Received: {schema.names}.")
        return ImageSourceReader(dict(self.options))


class ImageSourceReader(DataSourceReader):
    """Reads every n-th file in each of n partitions."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.paths = _paths(options)
        self.settings = ReadSettings(
            _number(options, "resizeH", -1),
            _number(options, "resizeW", -1),
            _number(options, "imageCodec", -1),
            _lower(options).get("invalid", FAIL),
            _number(options, "maxPixels", MAX_PIXELS),
        )
        self.least = _number(options, "minPartitions", 1)

    def partitions(self) -> list[InputPartition]:
        """Count the files, without keeping their names, and plan a share of a few hundred for each task."""
        files = sum(1 for _ in find_files(self.paths))
        parts = max(self.least, -(-files // FILES_PER_TASK), 1)
        return [InputPartition((part, parts)) for part in range(parts)]

    def read(self, partition: InputPartition) -> Iterator[pa.RecordBatch]:
        """Read one share."""
        return without_traceback(image_batches(local_files(self.paths, *partition.value), self.settings))


def _paths(options: dict[str, Any]) -> list[str]:
    given = _lower(options)
    several = given.get("paths")
    paths = split_paths(json.loads(several) if several else given.get("path", ""))
    for path in paths:
        if "://" in path and not path.startswith("file:"):
            raise ArgumentError(
                f"nnimages must be given paths that the workers can open as files. Received: {path!r}. "
                "Hint: NNImageReader.readImages reads all file systems that Spark does."
            )
    return paths


def _number(options: dict[str, Any], name: str, default: int) -> int:
    text = _lower(options).get(name.lower(), default)
    try:
        return int(text)
    except ValueError:
        raise ArgumentError(f"Option {name} of nnimages must be an integer. Received: {text!r}.") from None


def _lower(options: dict[str, Any]) -> dict[str, Any]:
    """Options by their names without regard to case, which Spark keeps none of."""
    return {name.lower(): value for name, value in options.items()}
