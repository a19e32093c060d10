"""The file of one shard: raw arrays, memory-mapped when read, and a JSON header that is written last.

    shard-00003-<token>/0.bin, 1.bin, ...      per field (inputs, then targets) the samples one after the other
    shard-00003-<token>/0.shapes               int32 (rows, rank), only where the shapes of a field's samples differ
    shard-00003-<token>/header.json            rows, inputs, slices, per field dtype and common shape (or null)

A field is cut into slices of whole rows and about equal bytes, of which one is mapped at a time: with n slices a
reader's memory, and its address space, stay at 1/n of the file. A single slice stays mapped.

Every attempt of a task writes under a token of its own; the driver knows the folder whose report it took, so a retried
or speculated attempt harms nothing.
"""

from __future__ import annotations

import json
import math
import mmap
import os
import secrets
import shutil
import weakref
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from nnframes.distributed.cache import CacheLevel, candidates, fit_folder, full_disk, is_full, no_room, room
from nnframes.distributed.gather import placed, shares, within
from nnframes.errors import DataError

__all__ = ["Bytes", "ShardFile", "ShardWriter", "stored", "write_all"]

HEADER = "header.json"
LEAST = 64 << 10
"""Bytes of a field below which slices are not made smaller."""

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
    """Writes the samples of one shard block by block, where `level` says: in memory first, on disk when that is full.

    Raises `DataError` when the last root is full. Whatever `add` and `close` raise, nothing of the shard stays.
    """

    def __init__(self, fit: str, shard: int, folder: str | None, level: CacheLevel | None = None) -> None:
        self._level = level or CacheLevel()
        self._fit, self._name = fit, f"shard-{shard:05d}-{secrets.token_hex(6)}"
        self._roots = candidates(folder, self._level.on_disk)
        self._fields: list[_FieldWriter] = []
        self._layout: tuple[int, bool] | None = None
        self.rows = self.bytes = 0
        self._path = self._make()

    def add(self, fields: Sequence[Any], inputs: int, tuple_target: bool) -> None:
        """Append a block: per field an array (n, ...) or a list of n arrays."""
        with self._undone(0):
            fields = [stored(values) for values in fields]
        size = sum(
            values.nbytes if isinstance(values, np.ndarray) else sum(v.nbytes for v in values) for values in fields
        )
        with self._undone(size):
            self._ensure_room(size)
            if self._layout is None:
                self._layout = (inputs, tuple_target)
                self._fields = [_FieldWriter(self._path / f"{k}.bin") for k in range(len(fields))]
            if self._layout != (inputs, tuple_target) or len(fields) != len(self._fields):
                raise DataError("All samples must have the same number of inputs and targets.")
            for writer, values in zip(self._fields, fields, strict=True):
                self._write(writer, values, size)
        self.rows += len(fields[0])
        self.bytes += size

    def close(self) -> Path:
        """Finish the file and return its folder."""
        inputs, tuple_target = self._layout or (0, False)
        with self._undone(0):
            header = {
                "version": 1,
                "rows": self.rows,
                "inputs": inputs,
                "tuple_target": tuple_target,
                "slices": self._level.slices,
                "fields": [writer.close() for writer in self._fields],
            }
            (self._path / HEADER).write_text(json.dumps(header), encoding="utf-8")
        return self._path

    def abort(self) -> None:
        """Remove what was written."""
        for writer in self._fields:
            with suppress(OSError):
                writer.file.close()
        shutil.rmtree(self._path, ignore_errors=True)

    @contextmanager
    def _undone(self, size: int) -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            full = no_room(self._roots[0], size, self.bytes) if is_full(error) else None
            self.abort()
            if full is not None:
                raise full from error
            raise

    def _make(self) -> Path:
        with full_disk(self._roots[0], 0):
            path = fit_folder(self._roots[0], self._fit) / self._name
            path.mkdir()
        return path

    def _ensure_room(self, size: int) -> None:
        if room(self._roots[0]) >= size:
            return
        if len(self._roots) == 1:
            raise no_room(self._roots[0], size, self.bytes)
        self._move(size)

    def _write(self, writer: _FieldWriter, values: Any, size: int) -> None:
        """Append to one field; again on disk when others have filled the memory file system meanwhile."""
        try:
            writer.add(values)
        except OSError as error:
            if not is_full(error) or len(self._roots) == 1:
                raise
            self._move(size)
            writer.add(values)

    def _move(self, size: int) -> None:
        """Go on under the next root, with what was written so far."""
        old, self._roots = self._path, self._roots[1:]
        try:
            self._ensure_room(self.bytes + size)
            self._path = self._make()
            for writer in self._fields:
                writer.move(self._path)
        finally:
            shutil.rmtree(old, ignore_errors=True)


class _FieldWriter:
    """One field's samples, one after the other; remembers their shapes run by run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        # Unbuffered: a write that fails has failed, closing the file does not try it once more.
        self.file = path.open("wb", buffering=0)
        self.dtype: np.dtype | None = None
        self.runs: list[tuple[int, tuple[int, ...]]] = []
        self._size = 0

    def add(self, values: Any) -> None:
        """Append all of `values`; when that fails, none of them count."""
        if isinstance(values, np.ndarray):
            runs, parts = [(len(values), values.shape[1:])], [values]
        else:
            runs, parts = [(1, value.shape) for value in values], list(values)
        parts = [part for part, (count, _) in zip(parts, runs, strict=True) if count]
        runs = [run for run in runs if run[0]]
        if not runs:
            return
        for part, (_, shape) in zip(parts, runs, strict=True):
            self._check(part.dtype, shape, runs[0][1])
        self._append(parts[0] if len(parts) == 1 else np.concatenate([part.reshape(-1) for part in parts]))
        for run in runs:
            self._count(*run)

    def move(self, folder: Path) -> None:
        """Go on in another folder, without the bytes that do not count."""
        self.file.close()
        self.path = Path(shutil.copyfile(self.path, folder / self.path.name))
        self.file = self.path.open("r+b", buffering=0)
        self.file.truncate(self._size)
        self.file.seek(0, os.SEEK_END)

    def close(self) -> dict:
        """Finish the file and return what the header says of it."""
        self.file.close()
        shape: list[int] | None = list(self.runs[0][1]) if self.runs else []
        if len({run[1] for run in self.runs}) > 1:
            shape = None
            shapes = np.repeat(np.array([run[1] for run in self.runs], "<i4"), [run[0] for run in self.runs], axis=0)
            self.path.with_suffix(".shapes").write_bytes(shapes.data)
        return {"dtype": (self.dtype or np.dtype("<f4")).str, "shape": shape}

    def _check(self, dtype: np.dtype, shape: tuple[int, ...], first: tuple[int, ...]) -> None:
        known = self.runs[0][1] if self.runs else first
        self.dtype = self.dtype or dtype
        if dtype != self.dtype or len(shape) != len(known):
            raise DataError(
                f"All samples of an input or target must have one dtype and rank. Received: {dtype} {shape} "
                f"after {self.dtype} {known}."
            )

    def _append(self, values: np.ndarray) -> None:
        if not values.size:
            return
        write_all(self.file, values.data)
        self._size += values.nbytes

    def _count(self, count: int, shape: tuple[int, ...]) -> None:
        if self.runs and self.runs[-1][1] == shape:
            self.runs[-1] = (self.runs[-1][0] + count, shape)
        else:
            self.runs.append((count, shape))


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
        slices: int = header["slices"]
        self.fields = [
            _Field(path / f"{k}.bin", self.rows, slices, **field) for k, field in enumerate(header["fields"])
        ]

    def part(self, low: int, high: int) -> tuple[dict, dict[str, Bytes]]:
        """Return header and file contents (by file name) of a shard made of rows low..high-1."""
        contents: dict[str, Bytes] = {}
        for k, field in enumerate(self.fields):
            contents[f"{k}.bin"] = field.part(low, high)
            if field.shapes is not None:
                contents[f"{k}.shapes"] = np.ascontiguousarray(field.shapes[low:high]).reshape(-1).view(np.uint8)
        return {**self.header, "rows": high - low}, contents


class Bytes(Protocol):
    """Bytes to be sent: an array of uint8, or what gives one by slices."""

    @property
    def size(self) -> int:
        """Their number."""

    def __getitem__(self, part: slice, /) -> np.ndarray:
        """Return some of them."""


@dataclass(frozen=True)
class _Span:
    """Bytes start..stop-1 of an open file, which are read, not mapped."""

    file: int
    start: int
    stop: int

    @property
    def size(self) -> int:
        return self.stop - self.start

    def __getitem__(self, part: slice, /) -> np.ndarray:
        low, high, _ = part.indices(self.size)
        return np.frombuffer(os.pread(self.file, high - low, self.start + low), np.uint8)


class _Field:
    """One field of a shard, of whose slices one is mapped at a time."""

    def __init__(self, path: Path, rows: int, slices: int, dtype: str, shape: list[int] | None) -> None:
        self.shape = None if shape is None else tuple(shape)
        self._numbers = math.prod(shape or [])
        self.dtype = np.dtype(dtype)
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        weakref.finalize(self, os.close, self._file)
        size = os.fstat(self._file).st_size // self.dtype.itemsize
        self.shapes: np.ndarray | None = None
        if self.shape is None:
            self.shapes = np.fromfile(path.with_suffix(".shapes"), "<i4").reshape(rows, -1)
            self._ends = np.cumsum(np.concatenate(([0], self.shapes.prod(axis=1, dtype=np.int64))))
        if size != self.offset(rows):
            shapes = "their shapes" if self.shape is None else f"shape {self.shape}"
            raise DataError(f"{path} must hold {rows} samples of {shapes}. Received: {size} numbers.")
        self._borders = self._cut(rows, size, slices)
        self._mapped: tuple[int, np.ndarray] | None = None

    def offset(self, row: int) -> int:
        """Return how many numbers there are before row `row`."""
        return int(self._ends[row]) if self.shape is None else row * self._numbers

    def take(self, rows: np.ndarray) -> np.ndarray | list[np.ndarray]:
        """Return copies of these rows: one array (n, ...), or a list where shapes may differ, of one row one copy."""
        if len(self._borders) == 2 or not len(rows):
            return self._taken(0, rows)
        slices = np.searchsorted(self._borders, rows, "right") - 1
        whole: np.ndarray | list[np.ndarray] = []
        for number, places in shares(slices, -1 if self._mapped is None else self._mapped[0]):
            low, high = self._borders[number : number + 2]
            whole = placed(whole, places, self._taken(number, within(rows[places], low, high)))
        return whole

    def part(self, low: int, high: int) -> _Span:
        """Return the bytes of rows low..high-1."""
        first, last = (self.offset(row) * self.dtype.itemsize for row in (low, high))
        return _Span(self._file, first, last)

    def _cut(self, rows: int, size: int, slices: int) -> np.ndarray:
        """Return where slices of about `size / slices` numbers, but at least `LEAST` bytes, begin and end, in rows."""
        slices = max(1, min(slices, size * self.dtype.itemsize // LEAST, rows))
        if self.shape is None:
            found = np.searchsorted(self._ends, np.arange(1, slices) * size // slices)
        else:
            found = np.arange(1, slices) * rows // slices
        return np.concatenate([[0], found, [rows]])

    def _taken(self, number: int, rows: np.ndarray) -> np.ndarray | list[np.ndarray]:
        low, high = (int(border) for border in self._borders[number : number + 2])
        flat = self._slice(number)
        if self.shapes is None:
            return flat.reshape(high - low, *(self.shape or ())).take(rows - low, axis=0)
        numbers, copies = rows.tolist(), dict[int, np.ndarray]()
        firsts, lasts = ((self._ends[rows + k] - self._ends[low]).tolist() for k in (0, 1))
        for row, first, last in zip(numbers, firsts, lasts, strict=True):
            # A row may stand for many that others own, and may be the largest: it is copied once.
            if row not in copies:
                copies[row] = flat[first:last].reshape(self.shapes[row]).copy()
        return [copies[row] for row in numbers]

    def _slice(self, number: int) -> np.ndarray:
        """Return the numbers of a slice, after the one mapped before is let go."""
        if self._mapped is None or self._mapped[0] != number:
            self._mapped = None
            first, last = (self.offset(int(self._borders[k])) * self.dtype.itemsize for k in (number, number + 1))
            self._mapped = (number, _mapping(self._file, first, last).view(self.dtype))
        return self._mapped[1]


def write_all(file: FileIO, data: memoryview) -> None:
    """Write a whole block to an unbuffered file; the system may take less than that at a time."""
    left = data.cast("B")
    while len(left):
        left = left[file.write(left) or 0 :]


def _mapping(file: int, start: int, stop: int) -> np.ndarray:
    """Map bytes start..stop-1 of an open file; the mapping ends with the array."""
    if start == stop:  # nothing cannot be mapped
        return np.empty(0, np.uint8)
    skipped = start % mmap.ALLOCATIONGRANULARITY
    mapped = mmap.mmap(file, stop - start + skipped, access=mmap.ACCESS_READ, offset=start - skipped)
    return np.frombuffer(mapped, np.uint8, offset=skipped)
