"""Sequence files of Hadoop with images, as BigDL writes ImageNet: each is read by one task, as a stream."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from pyspark.sql import functions as F

from featurelib.errors import FeatureError
from featurelib.image.files import find_files, origin_of, rooted, split_paths
from featurelib.image.readers import imagenet_record, sequence_records
from nnframes.errors import DataError
from nnframes.spark.context import session_of
from nnframes.spark.image_reader import binary_files, each_part, is_local
from nnframes.spark.image_rows import IMAGE_TYPE, ImageFile, ReadSettings, at_hand, image_batches, without_traceback
from nnframes.spark.image_set import DistributedImageSet

__all__ = ["SeqFileFolder"]


class SeqFileFolder:
    """Reads folders of Hadoop sequence files with images, as BigDL writes ImageNet."""

    @staticmethod
    def files_to_image_frame(url: str, sc: Any, class_num: int, partition_num: int = -1) -> DistributedImageSet:
        r"""Read the images with labels of at most `class_num`, in `partition_num` tasks where that is positive.

        Keys are "name\nlabel" or a label, values image files, or width, height and pixels. One task reads a file;
        files beyond 2 GB must be such that the workers can open themselves.
        """
        spark, paths = session_of(sc), split_paths(url)
        schema = f"image {IMAGE_TYPE}, label double"
        if all(is_local(spark, path) for path in paths):
            frame = each_part(
                spark, paths, max(partition_num, 1), _SequenceShare([rooted(path) for path in paths]), schema
            )
        else:
            frame = binary_files(spark, paths, partition_num).mapInArrow(_sequence_rows, schema)
        return DistributedImageSet(frame.where(F.col("label") <= class_num))


@dataclass(frozen=True)
class _SequenceShare:
    """Reads one share of local sequence files; travels to the tasks."""

    paths: list[str]

    def __call__(self, part: int, parts: int) -> Iterator[pa.RecordBatch]:
        return image_batches(self.files(part, parts), ReadSettings(), pa.float64())

    def files(self, part: int, parts: int) -> Iterator[ImageFile]:
        for number, path in enumerate(find_files(self.paths)):
            if number % parts == part:
                with Path(path).open("rb") as file:
                    yield from _records(file, origin_of(path))


def _sequence_rows(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    pairs = (pair for batch in batches for pair in zip(batch.column("path"), batch.column("content"), strict=True))
    files = (file for path, content in pairs for file in _records(pa.BufferReader(content.as_buffer()), path.as_py()))
    return without_traceback(image_batches(files, ReadSettings(), pa.float64()))


def _records(file: Any, origin: str) -> Iterator[ImageFile]:
    try:
        for number, record in enumerate(sequence_records(file, origin)):
            name, label, picture = imagenet_record(*record)
            yield ImageFile(name or f"{origin}#{number}", at_hand(picture), label)
    except (FeatureError, OSError) as error:
        raise DataError(f"{origin}: {error}") from None
