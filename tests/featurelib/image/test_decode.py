"""Files as they come: every format, orientations, damage, bombs. The content decides, never the name."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from featurelib import DecodeError
from featurelib.image import ImageBytesToMat, ImageFeature
from featurelib.image.functional import MAX_PIXELS, decode, encode_png
from featurelib.image.header import ImageHeader, read_header

WIDE = np.random.default_rng(3).integers(0, 256, (40, 64, 3)).astype(np.uint8)
RED_CMYK_JPEG = base64.b85decode(  # 8x8 pixels of pure red, four inks
    "|JeWT01iQ9Z(?NtWB>pF0095n07C#24i6F!4HOa(5*HN|7#=bq9vmDVJuEIHGD$#8OGiLPMNnFEVo+6WRz*f+h-Gbedx3(1PGF6fjD41Ket~"
    "@dzyK5o00;mG1Va%3O%VWD5dcdO0RO}Q6aWDL000000000000000000L6!~hf!0RR910000000000000000RP$m4g^C0O#oQ{O8@{r0A?5%X8+j"
)


def encode(extension: str, mat: np.ndarray = WIDE) -> bytes:
    return cv2.imencode(extension, mat)[1].tobytes()


def can_write(extension: str) -> bool:
    return bool(cv2.haveImageWriter(f"x{extension}"))


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    value = struct.pack(order + "HHIHH", 274, 3, 1, orientation, 0)
    return mark + struct.pack(order + "IH", 8, 1) + value + bytes(4)


def jpeg_with(orientation: int, order: str = "<") -> bytes:
    body = b"Exif\0\0" + exif(orientation, order)
    data = encode(".jpg")
    return data[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + data[2:]


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png_with(orientation: int, order: str = ">") -> bytes:
    data = encode(".png")
    return data[:33] + chunk(b"eXIf", exif(orientation, order)) + data[33:]


def webp_with(orientation: int) -> bytes:
    picture = encode(".webp")[12:]
    body = exif(orientation)
    canvas = struct.pack("<I", 8) + (63).to_bytes(3, "little") + (39).to_bytes(3, "little")
    content = b"WEBPVP8X" + struct.pack("<I", 10) + canvas + picture + b"EXIF" + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", len(content)) + content


FORMATS = [
    (".png", "PNG"),
    (".jpg", "JPEG"),
    (".bmp", "BMP"),
    (".webp", "WebP"),
    (".tiff", "TIFF"),
    (".ppm", "PNM"),
    (".gif", "GIF"),
    (".avif", "AVIF"),
]


@pytest.mark.parametrize(("extension", "name"), FORMATS)
def test_every_format_says_its_size_and_decodes_as_opencv_does(extension: str, name: str) -> None:
    if not can_write(extension):
        pytest.skip(f"this OpenCV does not write {extension}")
    data = encode(extension)
    assert read_header(data) == ImageHeader(name, 64, 40)
    for codec in (-1, 0, 1):
        expected = cv2.imdecode(np.frombuffer(data, np.uint8), codec)
        decoded = decode(data, codec)
        assert decoded.ndim == 3
        np.testing.assert_array_equal(decoded.reshape(expected.shape), expected)


def test_lossless_webp_and_grey_pnm_headers() -> None:
    lossless = cv2.imencode(".webp", WIDE, [cv2.IMWRITE_WEBP_QUALITY, 101])[1].tobytes()
    assert read_header(lossless) == ImageHeader("WebP", 64, 40)
    np.testing.assert_array_equal(decode(lossless), WIDE)
    assert read_header(b"P5 # a remark\n3 2\n255\n" + bytes(6)) == ImageHeader("PNM", 3, 2)


@pytest.mark.parametrize("make", [jpeg_with, png_with, webp_with], ids=["jpeg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured_for_every_codec(make: Callable[[int], bytes], orientation: int) -> None:
    data = make(orientation)
    expected = cv2.imdecode(np.frombuffer(make(1), np.uint8), cv2.IMREAD_COLOR)
    turned = {
        1: expected,
        2: cv2.flip(expected, 1),
        3: cv2.rotate(expected, cv2.ROTATE_180),
        4: cv2.flip(expected, 0),
        5: cv2.transpose(expected),
        6: cv2.rotate(expected, cv2.ROTATE_90_CLOCKWISE),
        7: cv2.flip(cv2.transpose(expected), -1),
        8: cv2.rotate(expected, cv2.ROTATE_90_COUNTERCLOCKWISE),
    }[orientation]
    assert read_header(data).orientation == orientation
    for codec in (-1, 1):
        np.testing.assert_array_equal(decode(data, codec), turned)
    assert decode(data, 0).shape == (*turned.shape[:2], 1)


def test_orientation_is_read_in_both_byte_orders_and_damage_ignored() -> None:
    assert read_header(jpeg_with(6, ">")).orientation == 6
    assert read_header(png_with(8, "<")).orientation == 8
    assert read_header(jpeg_with(9)).orientation == 1
    damaged = jpeg_with(6).replace(b"II*\0" + struct.pack("<I", 8), b"II*\0" + struct.pack("<I", 1 << 31))
    assert read_header(damaged).orientation == 1
    assert decode(damaged).shape == (40, 64, 3)


def test_kinds_of_pictures() -> None:
    grey16 = np.arange(12, dtype=np.uint16).reshape(3, 4) * 257
    data = encode_png(grey16)
    np.testing.assert_array_equal(decode(data)[..., 0], grey16)  # as stored: 16 bits stay
    np.testing.assert_array_equal(decode(data, 0)[..., 0], grey16 // 257)
    assert decode(data, 1).dtype == np.uint8

    bgra = np.dstack([WIDE, np.full((40, 64), 9, np.uint8)])
    data = encode_png(bgra)
    np.testing.assert_array_equal(decode(data), bgra)
    np.testing.assert_array_equal(decode(data, 1), WIDE)

    grey_alpha = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 8, 4, 0, 0, 0))
    grey_alpha += chunk(b"IDAT", zlib.compress(bytes([0, 50, 255, 60, 128]))) + chunk(b"IEND", b"")
    np.testing.assert_array_equal(decode(grey_alpha), [[[50, 50, 50, 255], [60, 60, 60, 128]]])
    np.testing.assert_array_equal(decode(grey_alpha, 1), [[[50] * 3, [60] * 3]])
    np.testing.assert_array_equal(decode(grey_alpha, 0), [[[50], [60]]])

    for codec, channels in ((-1, 3), (1, 3), (0, 1)):
        assert decode(RED_CMYK_JPEG, codec).shape == (8, 8, channels)
    assert np.abs(decode(RED_CMYK_JPEG).astype(int) - [0, 0, 255]).max() < 8

    floats = np.random.default_rng(0).random((3, 4), np.float32)
    np.testing.assert_array_equal(decode(encode(".tiff", floats))[..., 0], floats)
    with pytest.raises(DecodeError, match=r"TIFF image must hold uint8, uint16 or float32\. Received: int"):
        decode(encode(".tiff", np.ones((3, 4), np.int32)))


def png_of(depth: int, colour: int, row: bytes, *chunks: bytes) -> bytes:
    """A PNG of two pixels in one row."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(chunks) + chunk(b"IDAT", zlib.compress(row)) + chunk(b"IEND", b"")


RED_AND_GREEN = chunk(b"PLTE", bytes([255, 0, 0, 0, 255, 0]))


@pytest.mark.parametrize(
    ("data", "stored", "colour"),
    [
        (png_of(1, 0, bytes([0, 0b10000000])), [[255], [0]], [[255] * 3, [0] * 3]),
        (png_of(4, 0, bytes([0, 0x1F])), [[17], [255]], [[17] * 3, [255] * 3]),
        (png_of(8, 3, bytes([0, 0, 1]), RED_AND_GREEN), [[0, 0, 255], [0, 255, 0]], [[0, 0, 255], [0, 255, 0]]),
        (
            png_of(8, 3, bytes([0, 0, 1]), RED_AND_GREEN, chunk(b"tRNS", bytes([255, 7]))),
            [[0, 0, 255, 255], [0, 255, 0, 7]],
            [[0, 0, 255], [0, 255, 0]],
        ),
        (
            png_of(16, 4, bytes([0, 1, 2, 3, 4, 5, 6, 7, 8])),
            [[258, 258, 258, 772], [1286, 1286, 1286, 1800]],
            [[1] * 3, [5] * 3],
        ),
        (
            png_of(16, 6, bytes(range(17))),
            [[1286, 772, 258, 1800], [3342, 2828, 2314, 3856]],
            [[5, 3, 1], [13, 11, 9]],
        ),
    ],
    ids=["one bit", "four bits", "palette", "transparent palette", "grey with alpha of 16 bits", "alpha of 16 bits"],
)
def test_rare_kinds_of_png(data: bytes, stored: list, colour: list) -> None:
    np.testing.assert_array_equal(decode(data), [stored])
    np.testing.assert_array_equal(decode(data, 1), [colour])
    assert decode(data, 0).shape == (1, 2, 1)


@pytest.mark.skipif(not hasattr(cv2, "imencodemulti"), reason="this OpenCV does not write several pages")
def test_of_several_pages_the_first() -> None:
    pages = [np.full((4, 6), value, np.uint8) for value in (9, 99)]
    np.testing.assert_array_equal(decode(cv2.imencodemulti(".tiff", pages)[1].tobytes())[..., 0], pages[0])


@pytest.mark.skipif(not hasattr(cv2, "imencodeanimation"), reason="this OpenCV does not write animations")
@pytest.mark.parametrize("extension", [".webp", ".png", ".gif", ".avif"])
def test_of_an_animation_the_first_picture(extension: str) -> None:
    if not can_write(extension):
        pytest.skip(f"this OpenCV does not write {extension}")
    frames = [np.full((8, 8, 4), value, np.uint8) for value in (40, 200)]
    for frame in frames:
        frame[..., 3] = 255
    animation = cv2.Animation()
    animation.frames, animation.durations = frames, np.array([100, 100])
    done, data = cv2.imencodeanimation(extension, animation)
    assert done
    for codec in (-1, 0, 1):
        assert np.abs(decode(data.tobytes(), codec)[..., :3].mean() - 40) < 8


@pytest.mark.parametrize(("extension", "name"), FORMATS)
def test_a_truncated_file_is_refused(extension: str, name: str) -> None:
    if not can_write(extension):
        pytest.skip(f"this OpenCV does not write {extension}")
    data = encode(extension)
    for kept in (4, 13, 20, len(data) // 4, len(data) // 2, len(data) * 9 // 10):
        with pytest.raises(DecodeError):
            decode(data[:kept])


def test_a_truncated_photo_says_so(photos: Path) -> None:
    data = (photos / "cat.jpg").read_bytes()
    with pytest.raises(DecodeError, match=f"JPEG image is truncated: its end is missing after {len(data) // 2} bytes"):
        decode(data[: len(data) // 2])
    with pytest.raises(DecodeError, match="PNG image is truncated"):
        decode(encode(".png")[:-20])
    with pytest.raises(DecodeError, match="WebP image is truncated"):
        decode(encode(".webp")[:-20])
    assert decode(data + b"trailing bytes of a camera").shape == (360, 480, 3)


BAD = [
    (b"", "Received: 0 bytes"),
    (b"hello, world", r"must be JPEG, PNG.*Received: 12 bytes that begin with b'hello, w'"),
    (b"\x00" * 100, "must be JPEG"),
    (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "must be JPEG"),
    (b"\xff\xd8\xff\xd9", "only headers"),
    (b"\xff\xd8\xff\xe0\x00\x04abXX", "must have a marker at byte 8. Received: 0x58"),
    (b"\xff\xd8\xff\xda\x00\x02abc\xff\xd9", "must state its size"),
    (b"GIF89a" + bytes(20), "GIF image must have a size. Received: 0x0"),
    (b"P6 junk", "PNM image must state width and height"),
    (b"II*\0\x08\0\0\0\0\0" + bytes(9), "TIFF image must have a size"),
    (b"\x00\x00\x00\x1cftypavif" + bytes(40), "AVIF image must have a size"),
    (encode(".png")[:41] + bytes(60) + encode(".png")[101:], "cannot be decoded"),
]


@pytest.mark.parametrize(("data", "message"), BAD, ids=[m for _, m in BAD])
def test_what_is_no_image_says_why(data: bytes, message: str) -> None:
    with pytest.raises(DecodeError, match=message):
        decode(data)


def bomb_png(width: int, height: int) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")


BOMBS = [
    bomb_png(60000, 60000),
    bomb_png(2**31 - 1, 2**31 - 1),
    b"GIF89a" + struct.pack("<HH", 65535, 65535) + b";",
    encode(".bmp")[:18] + struct.pack("<ii", 2**30, -(2**30)) + encode(".bmp")[26:],
    b"P6 999999999 999999999 255\n" + bytes(10),
]


@pytest.mark.parametrize("data", BOMBS, ids=["png", "png-max", "gif", "bmp", "pnm"])
def test_a_bomb_is_refused_by_its_header(data: bytes) -> None:
    with pytest.raises(DecodeError, match=rf"must have at most {MAX_PIXELS} pixels\. Received: \d+x\d+\."):
        decode(data)


def test_the_limit_is_the_user_s() -> None:
    transform = ImageBytesToMat(max_pixels=64 * 40 - 1)
    with pytest.raises(DecodeError, match=r"at most 2559 pixels. Received: 64x40. Hint: raise max_pixels"):
        transform(encode(".png"))
    assert ImageBytesToMat(max_pixels=64 * 40)(encode(".png"))["mat"].shape == (40, 64, 3)


def test_random_damage_is_a_decode_error_or_a_picture() -> None:
    rng = np.random.default_rng(11)
    outcomes = set()
    for extension, _ in FORMATS:
        if not can_write(extension):
            continue
        original = np.frombuffer(encode(extension), np.uint8)
        for _ in range(25):
            data = original.copy()
            data[rng.integers(0, min(len(data), 400), 6)] = rng.integers(0, 256, 6)
            try:
                outcomes.add(decode(data.tobytes()).ndim)
            except DecodeError:
                outcomes.add(0)
    assert outcomes == {0, 3}


def test_bytes_are_not_carried_on() -> None:
    record = ImageFeature(encode_png(WIDE), label=2.0, path="right.jpg")  # a PNG by another name
    decoded = ImageBytesToMat()(record)
    assert sorted(decoded) == ["label", "mat", "originalSize", "uri"]
    assert sorted(record) == ["bytes", "label", "uri"]
    other = ImageBytesToMat(byte_key="file")(ImageFeature().replace(file=encode_png(WIDE)))
    assert other["originalSize"] == (40, 64, 3)
