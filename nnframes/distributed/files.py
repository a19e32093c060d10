"""The file of one shard: raw arrays, memory-mapped when read, and a JSON header that is written last.

    shard-00003-<token>/0.bin, 1.bin, ...      per field (inputs, then targets) the samples one after the other
    shard-00003-<token>/0.shapes               int32 (rows, rank), only where the shapes of a field's samples differ
    shard-00003-<token>/header.json            rows, number of inputs, per field dtype and common shape (or null)

Every attempt of a task writes under a token of its own; the driver knows the folder whose report it took, so a retried
or speculated attempt harms nothing.
"""

from __future__ import annotations

import json
import secrets
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from nnframes.distributed.cache import candidates, fit_folder, room
from nnframes.errors import DataError

__all__ = ["ShardFile", "ShardWriter", "stored"]

HEADER = "header.json"
NARROWER = {"f": np.dtype("<f4"), "i": np.dtype("<i4"), "u": np.dtype("<i4"), "b": np.dtype("<i4")}


def stored(values: Any) -> Any:
    """Return an array, or list of arrays, of the dtype kept in files: at most 32 bits a number, little-endian.

    >>> stored(np.zeros(2)).dtype, stored(np.zeros(2, np.uint8)).dtype
    (dtype('float32'), dtype('uint8'))
    """
    if isinstance(values, list):
        return [stored(value) for value in values]
    array = np.asarray(values)
    if array.dtype.kind not in NARROWER:
        raise DataError(f"Samples must be numbers. Received: dtype {array.dtype}.")
    wide = array.dtype.itemsize > 4 or array.dtype.kind == "b" or array.dtype in (np.float16, np.uint32)
    kept = NARROWER[array.dtype.kind] if wide else array.dtype.newbyteorder("<")
    if wide and array.dtype.kind in "iu" and array.size and not -(2**31) <= array.min() <= array.max() < 2**31:
        raise DataError(f"Whole numbers must fit 32 bits. Received: values from {array.min()} to {array.max()}.")
    return np.ascontiguousarray(array, kept) if array.ndim else array.astype(kept)


class ShardWriter:
    """Writes the samples of one shard block by block, in memory as long as there is room, then on disk."""

    def __init__(self, fit: str, shard: int, folder: str | None) -> None:
        self._fit, self._name = fit, f"shard-{shard:05d}-{secrets.token_hex(6)}"
        self._roots = candidates(folder)
        self._fields: list[_FieldWriter] = []
        self._layout: tuple[int, bool] | None = None
        self.rows = self.bytes = 0
        self._path = self._make()

    def add(self, fields: Sequence[Any], inputs: int, tuple_target: bool) -> None:
        """Append a block: per field an array (n, ...) or a list of n arrays."""
        fields = [stored(values) for values in fields]
        size = sum(
            values.nbytes if isinstance(values, np.ndarray) else sum(v.nbytes for v in values) for values in fields
        )
        self._ensure_room(size)
        if self._layout is None:
            self._layout = (inputs, tuple_target)
            self._fields = [_FieldWriter(self._path / f"{k}.bin") for k in range(len(fields))]
        if self._layout != (inputs, tuple_target) or len(fields) != len(self._fields):
            raise DataError("All samples must have the same number of inputs and targets.")
        for writer, values in zip(self._fields, fields, strict=True):
            writer.add(values)
        self.rows += len(fields[0])
        self.bytes += size

    def close(self) -> Path:
        """Finish the file and return its folder."""
        inputs, tuple_target = self._layout or (0, False)
        fields = [writer.close() for writer in self._fields]
        header = {"version": 1, "rows": self.rows, "inputs": inputs, "tuple_target": tuple_target, "fields": fields}
        (self._path / HEADER).write_text(json.dumps(header), encoding="utf-8")
        return self._path

    def abort(self) -> None:
        """Remove what was written."""
        for writer in self._fields:
            writer.file.close()
        shutil.rmtree(self._path, ignore_errors=True)

    def _make(self) -> Path:
        path = fit_folder(self._roots[0], self._fit) / self._name
        path.mkdir()
        return path

    def _ensure_room(self, size: int) -> None:
        if room(self._roots[0]) >= size:
            return
        if len(self._roots) == 1:
            raise DataError(
                f"The cache folder {self._roots[0]} must have room for {size} more bytes beside its reserve. "
                f"Received: {room(self._roots[0])}. Hint: choose another cache folder, or free space."
            )
        old = self._path
        self._roots = self._roots[1:]
        self._ensure_room(self.bytes + size)
        self._path = self._make()
        for writer in self._fields:
            writer.move(self._path)
        shutil.rmtree(old, ignore_errors=True)


class _FieldWriter:
    """One field's samples, one after the other; remembers their shapes run by run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO = path.open("wb")
        self.dtype: np.dtype | None = None
        self.runs: list[tuple[int, tuple[int, ...]]] = []

    def add(self, values: Any) -> None:
        if isinstance(values, np.ndarray):
            self._append(len(values), values.shape[1:], values)
            return
        for value in values:
            self._append(1, value.shape, value)

    def _append(self, count: int, shape: tuple[int, ...], values: np.ndarray) -> None:
        if not count:
            return
        if self.dtype is None:
            self.dtype = values.dtype
        if values.dtype != self.dtype or (self.runs and len(shape) != len(self.runs[0][1])):
            raise DataError(
                f"All samples of an input or target must have one dtype and rank. Received: {values.dtype} {shape} "
                f"after {self.dtype} {self.runs[0][1] if self.runs else ()}."
            )
        if values.size:
            self.file.write(values.data.cast("B"))
        if self.runs and self.runs[-1][1] == shape:
            self.runs[-1] = (self.runs[-1][0] + count, shape)
        else:
            self.runs.append((count, shape))

    def move(self, folder: Path) -> None:
        self.file.close()
        self.path = Path(shutil.copyfile(self.path, folder / self.path.name))
        self.file = self.path.open("ab")

    def close(self) -> dict:
        self.file.close()
        shape: list[int] | None = list(self.runs[0][1]) if self.runs else []
        if len({run[1] for run in self.runs}) > 1:
            shape = None
            shapes = np.repeat(np.array([run[1] for run in self.runs], "<i4"), [run[0] for run in self.runs], axis=0)
            shapes.tofile(self.path.with_suffix(".shapes"))
        return {"dtype": (self.dtype or np.dtype("<f4")).str, "shape": shape}


class ShardFile:
    """A shard's samples, memory-mapped. Raises `DataError` when the folder does not hold a complete shard."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            header = json.loads((path / HEADER).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise DataError(f"{path} must hold a complete shard. Received: {error}.") from error
        self.header = header
        self.rows: int = header["rows"]
        self.inputs: int = header["inputs"]
        self.tuple_target: bool = header["tuple_target"]
        self.fields = [_Field(path / f"{k}.bin", self.rows, **field) for k, field in enumerate(header["fields"])]

    def part(self, low: int, high: int) -> tuple[dict, dict[str, np.ndarray]]:
        """Return header and file contents (uint8 arrays by file name) of a shard made of rows low..high-1."""
        contents = {}
        for k, field in enumerate(self.fields):
            start, stop = field.offsets(low), field.offsets(high)
            contents[f"{k}.bin"] = field.flat[start:stop].view(np.uint8)
            if field.shapes is not None:
                contents[f"{k}.shapes"] = np.ascontiguousarray(field.shapes[low:high]).reshape(-1).view(np.uint8)
        return {**self.header, "rows": high - low}, contents


class _Field:
    def __init__(self, path: Path, rows: int, dtype: str, shape: list[int] | None) -> None:
        self.shape = None if shape is None else tuple(shape)
        self.dtype = np.dtype(dtype)
        size = path.stat().st_size // self.dtype.itemsize
        # An empty file cannot be mapped.
        self.flat = np.asarray(np.memmap(path, self.dtype, "r")) if size else np.empty(0, self.dtype)
        self.shapes: np.ndarray | None = None
        if self.shape is None:
            self.shapes = np.fromfile(path.with_suffix(".shapes"), "<i4").reshape(rows, -1)
            self._ends = np.cumsum(np.concatenate(([0], self.shapes.prod(axis=1, dtype=np.int64))))
        elif size != rows * int(np.prod(self.shape)):
            raise DataError(f"{path} must hold {rows} samples of shape {self.shape}. Received: {size} numbers.")
        else:
            self._rows = self.flat.reshape(rows, *self.shape)

    def offsets(self, row: int) -> int:
        """Return where row `row` begins in `flat`."""
        return int(self._ends[row]) if self.shape is None else row * int(np.prod(self.shape))

    def take(self, rows: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Return copies of these rows: one array (n, ...), or a list where shapes may differ."""
        if self.shapes is None:
            return self._rows[rows]
        return [self.flat[self._ends[row] : self._ends[row + 1]].reshape(self.shapes[row]).copy() for row in rows]
