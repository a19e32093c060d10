"""Hadoop's SequenceFile, version 6: read as a stream, with every length checked against a bound before it is believed.

The header names the classes of keys and values and whether records, or blocks of them, are compressed. Here keys and
values are Text or BytesWritable and the codec is Hadoop's DefaultCodec (zlib) or GzipCodec. Every few kilobytes a mark
of 16 bytes follows the length -1, so that a reader may start in the middle of a file; this one starts at the beginning.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np

from featurelib.errors import DecodeError

__all__ = ["MAX_RECORD", "imagenet_record", "sequence_records"]

MAX_RECORD = 1 << 30
"""Bytes of the largest record or part of a block, compressed or not."""

_SYNC = 16
_ESCAPE = -1
_TEXT, _BYTES = "org.apache.hadoop.io.Text", "org.apache.hadoop.io.BytesWritable"
_CODECS = {f"org.apache.hadoop.io.compress.{name}": bits for name, bits in (("DefaultCodec", 15), ("GzipCodec", 31))}


def sequence_records(file: BinaryIO, name: str = "", max_record: int = MAX_RECORD) -> Iterator[tuple[bytes, bytes]]:
    """Yield (key, value) of a sequence file, one record or block in memory at a time.

    Raises `DecodeError`, which names the file, where it is none, truncated or damaged, of another version, of other
    classes or another codec, or announces more than `max_record` bytes.
    """
    reader = _Reader(file, max_record)
    try:
        header = _header(reader)
        records = _blocks(reader, header) if header.blocks else _single(reader, header)
        yield from records
    except (DecodeError, struct.error, zlib.error) as error:
        raise DecodeError(f"sequence file {name!r} cannot be read at byte {reader.position}: {error}") from None


def imagenet_record(key: bytes, value: bytes) -> tuple[str | None, float, bytes | np.ndarray]:
    r"""(name, label, picture) of a record as BigDL writes ImageNet: the picture is an image file's bytes, or pixels.

    The key is "name\nlabel", or the label alone: then the name is None. The value is an image file, or width and height
    in four bytes each, most significant first, and pixels in the order B, G, R. Raises `DecodeError` for anything else.

    >>> name, label, picture = imagenet_record(b"cat.jpg\n7", struct.pack(">ii", 2, 1) + bytes(6))
    >>> name, label, picture.shape
    ('cat.jpg', 7.0, (1, 2, 3))
    """
    parts: list[Any] = key.decode("utf-8", "replace").split("\n")
    parts = parts if len(parts) > 1 else [None, *parts]
    try:
        label = float(parts[1])
    except ValueError:
        raise DecodeError(f"a key must be 'name\\nlabel' or a label. Received: {key[:80]!r}.") from None
    width, height = struct.unpack_from(">ii", value) if len(value) >= 8 else (0, 0)
    # A picture file's first bytes, read as a width, are far beyond any picture: both forms cannot be confused.
    if width > 0 and height > 0 and len(value) - 8 == 3 * width * height:
        return parts[0], label, np.frombuffer(value, np.uint8, offset=8).reshape(height, width, 3)
    return parts[0], label, value


@dataclass(frozen=True)
class _Header:
    key: str
    value: str
    blocks: bool
    window: int | None  # of zlib; None where nothing is compressed
    sync: bytes


class _Reader:
    """Numbers and bytes of a stream that ends where it says it does."""

    def __init__(self, file: BinaryIO, limit: int) -> None:
        self._file, self.limit, self.position = file, limit, 0

    def bytes(self, size: int) -> bytes:
        if not 0 <= size <= self.limit:
            raise DecodeError(f"a length must be in 0..{self.limit}. Received: {size}.")
        data = self._file.read(size)
        self.position += len(data)
        if len(data) < size:
            raise DecodeError(f"the file is truncated: {size - len(data)} of {size} bytes are missing.")
        return data

    def number(self) -> int:
        """Four bytes, signed."""
        return struct.unpack(">i", self.bytes(4))[0]

    def first_number(self) -> int | None:
        """The same, or None at the end of the file."""
        first = self._file.read(1)
        if not first:
            return None
        self.position += 1
        return struct.unpack(">i", first + self.bytes(3))[0]

    def variable(self) -> int:
        """Hadoop's number of variable length: one byte, or a byte of sign and length and up to eight more."""
        (first,) = struct.unpack("b", self.bytes(1))
        if first >= -112:
            return first
        negative = first < -120
        value = int.from_bytes(self.bytes(-first - (120 if negative else 112)), "big")
        return ~value if negative else value

    def text(self) -> str:
        return self.bytes(self.variable()).decode("utf-8", "replace")

    @property
    def rest(self) -> int:
        """What is left of a part in memory."""
        data = self._file.read()
        self.position += len(data)
        return len(data)


def _header(reader: _Reader) -> _Header:
    magic = reader.bytes(4)
    if magic[:3] != b"SEQ" or magic[3] != 6:
        raise DecodeError(f"it must begin with b'SEQ\\x06'. Received: {magic!r}.")
    key, value = reader.text(), reader.text()
    for each in (key, value):
        if each not in (_TEXT, _BYTES):
            raise DecodeError(f"keys and values must be {_TEXT} or {_BYTES}. Received: {each[:120]}.")
    compressed, blocks = reader.bytes(2)
    codec = reader.text() if compressed else None
    if codec is not None and codec not in _CODECS:
        raise DecodeError(f"the codec must be one of {', '.join(_CODECS)}. Received: {codec[:120]}.")
    for _ in range(reader.number()):
        reader.text(), reader.text()
    return _Header(key, value, bool(blocks), None if codec is None else _CODECS[codec], reader.bytes(_SYNC))


def _single(reader: _Reader, header: _Header) -> Iterator[tuple[bytes, bytes]]:
    """Records one by one; of a compressed one the value alone is."""
    while (size := reader.first_number()) is not None:
        if size == _ESCAPE:
            _check_sync(reader, header)
            continue
        key_size = reader.number()
        if not 0 <= key_size <= size:
            raise DecodeError(f"a key must have 0..{size} bytes, as its record. Received: {key_size}.")
        key, value = reader.bytes(key_size), reader.bytes(size - key_size)
        yield _content(key, header.key, reader), _content(_inflated(value, header, reader), header.value, reader)


def _blocks(reader: _Reader, header: _Header) -> Iterator[tuple[bytes, bytes]]:
    """Blocks of records: the lengths of all keys, all keys, the lengths of all values, all values."""
    while (escape := reader.first_number()) is not None:
        if escape != _ESCAPE:
            raise DecodeError(f"a block must begin with {_ESCAPE}. Received: {escape}.")
        _check_sync(reader, header)
        count = reader.variable()
        keys = _parts(reader, header, header.key, count)
        yield from zip(keys, _parts(reader, header, header.value, count), strict=True)


def _parts(reader: _Reader, header: _Header, kind: str, count: int) -> list[bytes]:
    lengths, data = (_inflated(reader.bytes(reader.variable()), header, reader) for _ in range(2))
    if not 0 <= count <= len(lengths):  # each length takes a byte or more
        raise DecodeError(f"a block must have as many lengths as records. Received: {count} records.")
    sizes, contents = (_Reader(io.BytesIO(part), reader.limit) for part in (lengths, data))
    found = [_content(contents.bytes(sizes.variable()), kind, reader) for _ in range(count)]
    if sizes.rest or contents.rest:
        raise DecodeError("a block must hold nothing beyond its records.")
    return found


def _check_sync(reader: _Reader, header: _Header) -> None:
    if reader.bytes(_SYNC) != header.sync:
        raise DecodeError("the mark between records is not the one of the header: the file is damaged.")


def _inflated(data: bytes, header: _Header, reader: _Reader) -> bytes:
    if header.window is None:
        return data
    stream = zlib.decompressobj(header.window)
    plain = stream.decompress(data, reader.limit)
    if not stream.eof:
        raise DecodeError(f"compressed data must end, within {reader.limit} bytes. Received: {len(plain)} so far.")
    return plain


def _content(data: bytes, kind: str, outer: _Reader) -> bytes:
    """The bytes that a Text or BytesWritable holds behind its length."""
    reader = _Reader(io.BytesIO(data), outer.limit)
    content = reader.bytes(reader.variable() if kind == _TEXT else reader.number())
    if reader.position != len(data):
        raise DecodeError(f"a record must have {reader.position} bytes, as it says. Received: {len(data)}.")
    return content
