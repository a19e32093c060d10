"""The first bytes of an image file: format, size and orientation, read before anything is decoded.

A header of a few bytes can announce a picture of gigabytes, and a decoder believes it. Only formats whose size is known
here are decoded. Everything is read at checked places; nothing is allocated by what a file says.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass

from featurelib.errors import DecodeError

__all__ = ["ImageHeader", "read_header"]


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself: pixels across and down as stored, and EXIF orientation (1 to 8, 1 = upright)."""

    format: str
    width: int
    height: int
    orientation: int = 1


def read_header(data: bytes) -> ImageHeader:
    """Read format, stored size and orientation of JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or PNM (PBM, PGM, PPM).

    The content decides, not the file's name. TIFF's and AVIF's own orientation is left to the decoder. Raises
    `DecodeError` for empty data, an unknown format, and a file that is cut off.

    >>> read_header(b"GIF89a" + bytes([4, 0, 3, 0]) + b";")
    ImageHeader(format='GIF', width=4, height=3, orientation=1)
    """
    if not data:
        raise DecodeError("image must be encoded bytes. Received: 0 bytes.")
    reader = next((reader for magic, reader in _FORMATS if magic.match(data)), None)
    if reader is None:
        raise DecodeError(
            "image must be JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or PNM. "
            f"Received: {len(data)} bytes that begin with {data[:8]!r}."
        )
    try:
        header = reader(data)
    except (struct.error, IndexError):
        raise _truncated("image", data) from None
    if header.width < 1 or header.height < 1:
        raise DecodeError(f"{header.format} image must have a size. Received: {header.width}x{header.height} pixels.")
    return header


def _truncated(kind: str, data: bytes) -> DecodeError:
    return DecodeError(f"{kind} is truncated: its end is missing after {len(data)} bytes.")


def _png(data: bytes) -> ImageHeader:
    width, height = struct.unpack_from(">II", data, 16)
    if data.rfind(b"IEND") < 0:
        raise _truncated("PNG image", data)
    # Chunks are (length, name, body, checksum). Looking for the name first spares most files the walk.
    orientation, start = 1, 8
    while b"eXIf" in data and start + 8 <= len(data):
        length, name = struct.unpack_from(">I4s", data, start)
        if name == b"eXIf":
            orientation = _orientation(data[start + 8 : start + 8 + length])
            break
        start += 12 + length
    return ImageHeader("PNG", width, height, orientation)


def _jpeg(data: bytes) -> ImageHeader:
    size, orientation, start = None, 1, 2
    while True:
        if data[start] != 0xFF:
            raise DecodeError(f"JPEG image must have a marker at byte {start}. Received: {data[start]:#04x}.")
        while data[start] == 0xFF:  # any number of fill bytes may stand before a marker
            start += 1
        marker = data[start]
        if marker == 0xD9:
            raise DecodeError("JPEG image must hold a picture. Received: only headers.")
        (length,) = struct.unpack_from(">H", data, start + 1)
        body = start + 3
        if marker == 0xE1 and data[body : body + 6] == b"Exif\x00\x00":
            orientation = _orientation(data[body + 6 : start + 1 + length])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):  # start of frame
            size = struct.unpack_from(">HH", data, body + 1)
        if marker == 0xDA:  # start of scan: compressed data follows, in which the end marker cannot occur
            break
        start += 1 + length
    if not data.endswith(b"\xff\xd9") and data.find(b"\xff\xd9", start) < 0:
        raise _truncated("JPEG image", data)
    if size is None:
        raise DecodeError("JPEG image must state its size before its picture.")
    return ImageHeader("JPEG", size[1], size[0], orientation)


def _gif(data: bytes) -> ImageHeader:
    return ImageHeader("GIF", *struct.unpack_from("<HH", data, 6))


def _bmp(data: bytes) -> ImageHeader:
    (header_size,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if header_size == 12 else "<ii", data, 18)
    return ImageHeader("BMP", width, abs(height))  # a negative height means rows from top to bottom


def _webp(data: bytes) -> ImageHeader:
    (riff_size,) = struct.unpack_from("<I", data, 4)
    if riff_size + 8 > len(data):
        raise _truncated("WebP image", data)
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (1 + int.from_bytes(data[i : i + 3], "little") for i in (24, 27))
        return ImageHeader("WebP", width, height, _webp_orientation(data))
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return ImageHeader("WebP", 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF))
    width, height = struct.unpack_from("<HH", data, 26)
    return ImageHeader("WebP", width & 0x3FFF, height & 0x3FFF)


def _webp_orientation(data: bytes) -> int:
    start = 12
    while start + 8 <= len(data):
        name, length = struct.unpack_from("<4sI", data, start)
        if name == b"EXIF":
            exif = data[start + 8 : start + 8 + length]
            return _orientation(exif[6:] if exif.startswith(b"Exif\x00\x00") else exif)
        start += 8 + length + length % 2
    return 1


def _tiff(data: bytes) -> ImageHeader:
    tags = _tiff_tags(data)
    return ImageHeader("TIFF", tags.get(256, 0), tags.get(257, 0))


def _avif(data: bytes) -> ImageHeader:
    # Each part of the picture states its extents; the largest bounds what the decoder allocates.
    sizes = [struct.unpack_from(">II", data, found.end() + 4) for found in re.finditer(b"ispe", data[:65536])]
    width, height = max(sizes, key=lambda size: size[0] * size[1], default=(0, 0))
    return ImageHeader("AVIF", width, height)


def _pnm(data: bytes) -> ImageHeader:
    found = re.match(rb"P[1-6](?:\s+(?:#[^\n]*\n\s*)*)(\d{1,9})(?:\s+(?:#[^\n]*\n\s*)*)(\d{1,9})\s", data[:4096])
    if found is None:
        raise DecodeError(f"PNM image must state width and height. Received: {data[:24]!r}.")
    return ImageHeader("PNM", int(found[1]), int(found[2]))


def _tiff_tags(data: bytes) -> dict[int, int]:
    """The short and long numbers of a TIFF's first directory by tag; EXIF has the same structure."""
    order = "<" if data[:2] == b"II" else ">"
    (directory,) = struct.unpack_from(order + "I", data, 4)
    (count,) = struct.unpack_from(order + "H", data, directory)
    tags = {}
    for entry in range(directory + 2, directory + 2 + 12 * count, 12):
        tag, kind = struct.unpack_from(order + "HH", data, entry)
        if kind in (3, 4):
            (tags[tag],) = struct.unpack_from(order + ("H" if kind == 3 else "I"), data, entry + 8)
    return tags


def _orientation(exif: bytes) -> int:
    try:
        orientation = _tiff_tags(exif).get(274, 1)
    except struct.error:
        return 1  # a picture with damaged EXIF is still a picture
    return orientation if 1 <= orientation <= 8 else 1


_FORMATS: list[tuple[re.Pattern[bytes], Callable[[bytes], ImageHeader]]] = [
    (re.compile(magic, re.DOTALL), reader)
    for magic, reader in (
        (rb"\x89PNG\r\n\x1a\n", _png),
        (rb"\xff\xd8\xff", _jpeg),
        (rb"GIF8[79]a", _gif),
        (rb"BM.{8}", _bmp),
        (rb"RIFF.{4}WEBP", _webp),
        (rb"II\*\x00|MM\x00\*", _tiff),
        (rb".{4}ftyp(?:avi[fs]|mif1)", _avif),
        (rb"P[1-6]\s", _pnm),
    )
]
