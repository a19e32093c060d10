"""TensorBoard's event files, written and read without TensorBoard.

A file is a row of records: length (uint64), masked CRC-32C of the length (uint32), the bytes, their masked CRC-32C, all
little-endian. The bytes are an `Event` of TensorFlow's event.proto in protobuf's wire format, of which scalars,
histograms and the mark of a restart are known here.
"""

from __future__ import annotations

import itertools
import os
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from nnframes.errors import DataError

__all__ = ["EventWriter", "Scalar", "crc32c", "histogram", "read_records", "read_scalars"]

VERSION = b"brain.Event:2"
MAX_RECORD = 1 << 24
BUCKETS = 30
_MASK = 0xA282EAD8
_POLYNOMIAL = 0x82F63B78
_RESTART = 1  # SessionLog.START: points at and after this event's step are of a run that went back


class Scalar(NamedTuple):
    """One point of a curve."""

    step: int
    value: float
    wall_time: float


def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = (byte >> 1) ^ (_POLYNOMIAL if byte & 1 else 0)
        table.append(byte)
    return tuple(table)


_CRC = _table()


def crc32c(data: bytes) -> int:
    """Return the CRC-32C (Castagnoli) of `data`.

    >>> hex(crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _CRC[(crc ^ byte) & 0xFF] ^ (crc >> 8)
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF)


class EventWriter:
    """Appends to a new event file in `folder`; every event is with the system when its method returns.

    A file cut short by a crash is never written again: the next writer opens its own, so that only the last record of a
    file can be torn. Raises `OSError`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with EventWriter(Path(folder)) as writer:
    ...         writer.scalar("Loss", 0.5, step=1)
    ...     [point.value for point in read_scalars(Path(folder))["Loss"]]
    [0.5]
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, descriptor = _create(folder)
        # Unbuffered, and one write a record: a kill between two calls leaves whole records.
        self._file = os.fdopen(descriptor, "wb", buffering=0)
        self._write(_bytes(3, VERSION), 0)

    def __enter__(self) -> EventWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def scalar(self, tag: str, value: float, step: int) -> None:
        """Append one point of the curve `tag`."""
        self._write(_bytes(5, _bytes(1, _bytes(1, tag.encode()) + _float(2, value))), step)

    def histogram(self, tag: str, values: np.ndarray | bytes, step: int) -> None:
        """Append how `values` are spread, or what `histogram` made of them; only finite numbers count."""
        spread = values if isinstance(values, bytes) else histogram(values)
        self._write(_bytes(5, _bytes(1, _bytes(1, tag.encode()) + _bytes(5, spread))), step)

    def restart(self, step: int) -> None:
        """Say that the points at `step` and after it, written before, are of a run that went back."""
        self._write(_bytes(7, _integer(1, _RESTART)), step)

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _write(self, what: bytes, step: int) -> None:
        event = _double(1, time.time()) + _integer(2, step) + what
        length = struct.pack("<Q", len(event))
        record = memoryview(length + _masked(length) + event + _masked(event))
        # A nearly full disk takes a part; the next call then says why.
        while record:
            record = record[self._file.write(record) :]


def _create(folder: Path) -> tuple[Path, int]:
    """Create a file of its own whose name sorts behind all others: TensorBoard reads them in that order."""
    latest = max((_order(path.name) for path in folder.glob("events.out.tfevents.*")), default=(0, 0))
    second = max(int(time.time()), latest[0])
    host = "".join(letter if letter.isalnum() else "-" for letter in socket.gethostname())
    for number in itertools.count(latest[1] + 1 if second == latest[0] else 0):
        path = folder / f"events.out.tfevents.{second:010d}.{number:06d}.{host}"
        try:
            return path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        except FileExistsError:
            continue
    raise AssertionError("unreachable: the numbers do not end")


def _order(name: str) -> tuple[int, int]:
    parts = name.split(".")
    numbers = [int(part) if part.isdecimal() and len(part) < 12 else 0 for part in (*parts[3:5], "", "")]
    return numbers[0], numbers[1]


def histogram(values: np.ndarray) -> bytes:
    """Return TensorFlow's HistogramProto of the finite numbers among `values`, in buckets of equal width.

    Fields: 1 min, 2 max, 3 count, 4 sum, 5 sum of squares, 6 upper bounds, 7 counts of the buckets.
    """
    with np.errstate(over="ignore"):
        numbers = np.asarray(values, np.float32).ravel()
    numbers = numbers[np.isfinite(numbers)].astype(np.float64)
    if not numbers.size:
        return b"".join(_double(field, 0.0) for field in range(1, 6))
    counts, edges = np.histogram(numbers, BUCKETS)
    sums = (numbers.min(), numbers.max(), numbers.size, numbers.sum(), np.square(numbers).sum())
    plain = b"".join(_double(field, float(value)) for field, value in enumerate(sums, 1))
    return plain + _bytes(6, edges[1:].astype("<f8").tobytes()) + _bytes(7, counts.astype("<f8").tobytes())


# ---------------------------------------------------------------- protobuf's wire format


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _integer(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _double(field: int, value: float) -> bytes:
    return _varint(field << 3 | 1) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _float(field: int, value: float) -> bytes:
    with np.errstate(over="ignore"):  # too large for a float32 is infinite, not an error
        return _varint(field << 3 | 5) + np.array(value, np.float64).astype("<f4").tobytes()


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield (number, value) of a message: varints as int, everything else as bytes."""
    place = 0
    while place < len(data):
        key, place = _read_varint(data, place)
        kind = key & 7
        if kind == 0:
            value, place = _read_varint(data, place)
            yield key >> 3, value
            continue
        size = {1: 8, 5: 4}.get(kind)
        if kind == 2:
            size, place = _read_varint(data, place)
        if size is None or place + size > len(data):
            raise DataError("An event must be a protobuf message. Received: other bytes.")
        yield key >> 3, data[place : place + size]
        place += size


def _read_varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 70:
        value |= (data[place] & 0x7F) << shift
        place += 1
        if data[place - 1] < 0x80:
            return value, place
        shift += 7
    raise DataError("An event must be a protobuf message. Received: other bytes.")


# ---------------------------------------------------------------- reading


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the records of a file up to its end, or up to a torn or damaged record."""
    with path.open("rb") as file:
        while len(head := file.read(12)) == 12:
            length = int.from_bytes(head[:8], "little")
            if head[8:] != _masked(head[:8]) or length > MAX_RECORD:
                return
            data, check = file.read(length), file.read(4)
            if len(data) < length or check != _masked(data):
                return
            yield data


def read_scalars(folder: Path) -> dict[str, list[Scalar]]:
    """Return the curves in the event files of `folder` by tag, without the points that a restart went back over."""
    found: dict[str, list[Scalar]] = {}
    for path in sorted(folder.glob("events.out.tfevents.*")):
        for record in read_records(path):
            _add(found, dict(_fields(record)))
    return found


def _add(found: dict[str, list[Scalar]], event: dict[int, int | bytes]) -> None:
    wall_time, step, summary, session = event.get(1), event.get(2, 0), event.get(5), event.get(7)
    if not isinstance(step, int) or not isinstance(wall_time, bytes):
        return
    step -= (step >> 63) << 64  # int64 travels as its two's complement
    if isinstance(session, bytes) and dict(_fields(session)).get(1) == _RESTART:
        for tag, points in found.items():
            found[tag] = [point for point in points if point.step < step]
    for tag, value in _values(summary) if isinstance(summary, bytes) else ():
        found.setdefault(tag, []).append(Scalar(step, value, struct.unpack("<d", wall_time)[0]))


def _values(summary: bytes) -> Iterable[tuple[str, float]]:
    for number, content in _fields(summary):
        parts = dict(_fields(content)) if number == 1 and isinstance(content, bytes) else {}
        tag, value = parts.get(1), parts.get(2)
        if isinstance(tag, bytes) and isinstance(value, bytes) and len(value) == 4:
            yield tag.decode(errors="replace"), struct.unpack("<f", value)[0]
