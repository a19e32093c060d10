"""Pictures on their way into DataFrames: files are decoded, resized and put into Arrow batches of bounded size.

All readers of images come through here, so that a file gives the same row and the same error whoever reads it. A
picture is copied once, into the batch; a large one not at all.
"""

from __future__ import annotations

import logging
import numbers
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from featurelib.errors import DecodeError, FeatureError
from featurelib.image import functional as F
from featurelib.image.files import find_files, origin_of, read_file
from featurelib.image.rows import DROP, FAIL, NULL, UNREADABLE, mode_of
from nnframes.distributed.garbage import settle
from nnframes.errors import ArgumentError, DataError, NNFramesError

__all__ = [
    "BATCH_BYTES",
    "IMAGE_TYPE",
    "ImageFile",
    "ReadSettings",
    "at_hand",
    "image_batches",
    "local_files",
    "without_traceback",
]

IMAGE_TYPE = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
"""Spark's own image schema, as `pyspark.ml.image` has it."""

BATCH_BYTES = 4 << 20
"""Pixels of a batch: what fits the processor's caches. One larger picture is a batch by itself."""

MOST_BYTES = (1 << 31) - 16
"""What a value of a row may have: arrays of the JVM and offsets of Arrow have 31 bits."""

SHOWN = 3

_LOG = logging.getLogger("nnframes")


@dataclass(frozen=True)
class ReadSettings:
    """How files become pictures; sizes below 1 keep the file's own."""

    resize_h: int = -1
    resize_w: int = -1
    image_codec: int = -1
    invalid: str = FAIL
    max_pixels: int = F.MAX_PIXELS

    def __post_init__(self) -> None:
        for name, least in (("resize_h", None), ("resize_w", None), ("image_codec", None), ("max_pixels", 1)):
            value = getattr(self, name)
            if not isinstance(value, numbers.Integral) or (least is not None and value < least):
                wanted = "an integer" if least is None else f"an integer >= {least}"
                raise ArgumentError(f"{name} must be {wanted}. Received: {value!r}.")
        if (self.resize_h > 0) != (self.resize_w > 0):
            raise ArgumentError(
                "resizeH and resizeW must both be >= 1, or both -1 for the size of the file. "
                f"Received: {self.resize_h} and {self.resize_w}."
            )
        if self.invalid not in (FAIL, DROP, NULL):
            raise ArgumentError(f"invalid must be one of 'fail', 'drop', 'null'. Received: {self.invalid!r}.")

    def picture(self, content: bytes | np.ndarray) -> np.ndarray:
        """Decode a file, or take a picture as it is, and resize it."""
        mat = content if isinstance(content, np.ndarray) else F.decode(content, self.image_codec, self.max_pixels)
        mat = F.resize(mat, self.resize_h, self.resize_w) if self.resize_h > 0 else mat
        if mat.nbytes > MOST_BYTES:
            raise DecodeError(f"a picture must have at most {MOST_BYTES} bytes in a row. Received: {mat.nbytes}.")
        mode_of(mat)
        return mat


class ImageFile(NamedTuple):
    """A file by name; `load` gives its bytes or its picture, or raises `FeatureError`."""

    origin: str | None
    load: Callable[[], bytes | np.ndarray]
    label: Any = None


def at_hand(content: bytes | np.ndarray) -> Callable[[], bytes | np.ndarray]:
    """What loads a file or picture that is in memory."""
    return lambda: content


def local_files(paths: list[str], part: int, parts: int) -> Iterator[ImageFile]:
    """One of `parts` equal shares of the files at and below local paths."""
    for path in islice(find_files(paths), part, None, parts):
        yield ImageFile(origin_of(path), partial(read_file, path))


def image_batches(
    files: Iterable[ImageFile], settings: ReadSettings, label: pa.DataType | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield rows of the column ``image``, and of ``label`` where it has a type, in batches of bounded size.

    A file that is no image fails the task ("fail"), gives no row ("drop") or one without pixels ("null"); of the last
    two the log has how many there were, and the first ones.
    """
    block, read, bad, shown = _Block(label), 0, 0, []
    for file in files:
        read += 1
        try:
            mat: np.ndarray | None = settings.picture(file.load())
        except FeatureError as error:
            reason = f"{file.origin or f'number {read - 1}'}: {str(error).rstrip('.')}"
            if settings.invalid == FAIL:
                raise DataError(
                    f"Every file must be an image that can be read. Received {reason}. "
                    "Hint: invalid='drop' leaves such files out, 'null' keeps a row without pixels for them."
                ) from None
            shown += [reason] if bad < SHOWN else []
            mat, bad = None, bad + 1
        if mat is not None or settings.invalid == NULL:
            if block.rows and block.bytes + (0 if mat is None else mat.nbytes) > BATCH_BYTES:
                yield block.batch()
                block = _Block(label)
            block.add(file, mat)
    if bad:
        reasons = "; ".join(shown)
        _LOG.warning("%d of %d files are no images (invalid='%s'): %s", bad, read, settings.invalid, reasons)
    if block.rows:
        yield block.batch()


def without_traceback(batches: Iterable[Any]) -> Iterator[Any]:
    """Hand on batches; our errors say what is wrong with the data: a traceback would bury that in Spark's report."""
    settle()
    try:
        yield from batches
    except NNFramesError as error:
        raise error.with_traceback(None) from None


class _Block:
    """Rows of a batch that grows."""

    def __init__(self, label: pa.DataType | None) -> None:
        self.label, self.bytes = label, 0
        self.rows: list[tuple[ImageFile, np.ndarray | None]] = []

    def add(self, file: ImageFile, mat: np.ndarray | None) -> None:
        self.rows.append((file, mat))
        self.bytes += 0 if mat is None else mat.nbytes

    def batch(self) -> pa.RecordBatch:
        mats = [mat for _, mat in self.rows]
        unreadable = (UNREADABLE,) * 4
        numbers = np.array([unreadable if m is None else (*m.shape, mode_of(m)) for m in mats], np.int32)
        columns = [
            pa.array([file.origin for file, _ in self.rows], pa.string()),
            *(pa.array(np.ascontiguousarray(column)) for column in numbers.T),
            _binary(mats),
        ]
        arrays = [pa.StructArray.from_arrays(columns, ["origin", "height", "width", "nChannels", "mode", "data"])]
        if self.label is None:
            return pa.RecordBatch.from_arrays(arrays, ["image"])
        arrays.append(pa.array([file.label for file, _ in self.rows], self.label))
        return pa.RecordBatch.from_arrays(arrays, ["image", "label"])


def _binary(mats: list[np.ndarray | None]) -> pa.Array:
    """The pixels of pictures, one after the other; None gives null."""
    sizes = np.array([0 if mat is None else mat.nbytes for mat in mats])
    offsets = np.zeros(len(mats) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    given = [np.ascontiguousarray(mat) for mat in mats if mat is not None]
    pixels = np.concatenate([mat.reshape(-1).view(np.uint8) for mat in given] or [np.empty(0, np.uint8)])
    valid = np.packbits([mat is not None for mat in mats], bitorder="little")
    buffers = [pa.py_buffer(valid), pa.py_buffer(offsets), pa.py_buffer(pixels)]
    return pa.Array.from_buffers(pa.binary(), len(mats), buffers)
