"""Sequence files of bytes written here, so that each can be damaged; tests of Spark read those that Spark writes."""

from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from featurelib import DecodeError
from featurelib.image.readers import imagenet_record, sequence_records

TEXT, BYTES = "org.apache.hadoop.io.Text", "org.apache.hadoop.io.BytesWritable"
SYNC = bytes(range(16))
RECORDS = [(b"a.jpg\n%d" % number, bytes([number]) * (number * 40)) for number in range(9)]


def vint(value: int) -> bytes:
    """Hadoop's WritableUtils.writeVLong."""
    if -112 <= value <= 127:
        return struct.pack("b", value)
    length = (max(value, ~value).bit_length() + 7) // 8
    return struct.pack("b", (-120 if value < 0 else -112) - length) + max(value, ~value).to_bytes(length, "big")


def text(content: bytes) -> bytes:
    return vint(len(content)) + content


def binary(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def header(codec: str = "", blocks: bool = False, value: str = BYTES, version: int = 6) -> bytes:
    names = text(TEXT.encode()) + text(value.encode())
    name = text(f"org.apache.hadoop.io.compress.{codec}".encode()) if codec else b""
    metadata = struct.pack(">i", 1) + text(b"who") + text(b"me")
    return b"SEQ" + bytes([version]) + names + bytes([bool(codec), blocks]) + name + metadata + SYNC


def plain(records=RECORDS, pack=lambda data: data) -> bytes:
    parts = []
    for number, (key, value) in enumerate(records):
        key, value = text(key), pack(binary(value))
        parts.append(struct.pack(">ii", len(key) + len(value), len(key)) + key + value)
        if number % 4 == 3:
            parts.append(struct.pack(">i", -1) + SYNC)
    return b"".join(parts)


def block(records, pack=zlib.compress) -> bytes:
    parts = []
    for column in ([text(key) for key, _ in records], [binary(value) for _, value in records]):
        parts += [pack(b"".join(vint(len(part)) for part in column)), pack(b"".join(column))]
    return struct.pack(">i", -1) + SYNC + vint(len(records)) + b"".join(vint(len(part)) + part for part in parts)


FILES = {
    "plain": header() + plain(),
    "records": header("DefaultCodec") + plain(pack=zlib.compress),
    "gzip": header("GzipCodec") + plain(pack=gzip.compress),
    "blocks": header("DefaultCodec", blocks=True) + block(RECORDS[:4]) + block(RECORDS[4:]),
}


def records(data: bytes, **limits: int) -> list[tuple[bytes, bytes]]:
    return list(sequence_records(io.BytesIO(data), "x.seq", **limits))


@pytest.mark.parametrize("kind", FILES)
def test_all_records_are_read(kind: str) -> None:
    assert records(FILES[kind]) == RECORDS


def test_no_records() -> None:
    assert records(header()) == records(header("DefaultCodec", blocks=True)) == []


@pytest.mark.parametrize("kind", FILES)
def test_a_cut_anywhere_is_an_error_or_the_end_of_a_record(kind: str) -> None:
    found = [outcome(FILES[kind][:cut]) for cut in range(len(FILES[kind]))]
    assert all(read == RECORDS[: len(read)] for read in found if isinstance(read, list))
    # Most cuts leave a record behind that is not whole.
    assert sum(isinstance(read, str) for read in found) > len(found) * 0.9


@pytest.mark.parametrize("kind", FILES)
def test_damage_anywhere_never_ends_otherwise(kind: str) -> None:
    rng = np.random.default_rng(4)
    for _ in range(400):
        data = bytearray(FILES[kind])
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        outcome(bytes(data))


def outcome(data: bytes) -> list[tuple[bytes, bytes]] | str:
    """The records, or the error, which names the file."""
    try:
        return records(data, max_record=1 << 20)
    except DecodeError as error:
        if "sequence file 'x.seq' cannot be read at byte" not in str(error):
            raise
        return str(error)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated: 4 of 4 bytes are missing"),
        (b"PNG and more", r"must begin with b'SEQ\\x06'"),
        (header(version=5), r"must begin with b'SEQ\\x06'. Received: b'SEQ\\x05'"),
        (header(value="java.lang.Runtime"), "keys and values must be .* Received: java.lang.Runtime"),
        (header("SnappyCodec"), "the codec must be one of .*DefaultCodec.* Received: .*SnappyCodec"),
        (header() + struct.pack(">ii", 5, 9), r"a key must have 0..5 bytes"),
        (header() + struct.pack(">ii", 1 << 30, 4) + text(b"abc"), "a length must be in 0..1048576"),
        (header() + struct.pack(">i", -7), r"must have 0..-7 bytes|truncated"),
        (header() + struct.pack(">i", -1) + bytes(16), "the mark between records"),
        (header() + struct.pack(">ii", 4, 2) + text(b"a") + binary(b"")[:2], "are missing"),
        (header() + struct.pack(">ii", 8, 4) + text(b"a") + b"xx" + binary(b""), "as it says. Received: 4"),
        (header("DefaultCodec", blocks=True) + bytes(8), "a block must begin with -1"),
    ],
)
def test_errors_say_what_is_wrong(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        records(data, max_record=1 << 20)


def test_a_bomb_is_not_inflated() -> None:
    bomb = zlib.compress(bytes(64 << 20))
    data = header("DefaultCodec") + struct.pack(">ii", 2 + len(bomb), 2) + text(b"k") + bomb
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="must end, within 1048576 bytes"):
            records(data, max_record=1 << 20)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_bigdls_records() -> None:
    pixels = np.arange(24, dtype=np.uint8)
    name, label, picture = imagenet_record(b"n01.jpg\n12", struct.pack(">ii", 4, 2) + pixels.tobytes())
    assert (name, label) == ("n01.jpg", 12.0)
    np.testing.assert_array_equal(picture, pixels.reshape(2, 4, 3))
    assert imagenet_record(b"3", b"\xff\xd8\xff and so on") == (None, 3.0, b"\xff\xd8\xff and so on")
    with pytest.raises(DecodeError, match=r"must be 'name\\nlabel' or a label. Received: b'cat'"):
        imagenet_record(b"cat", b"")
