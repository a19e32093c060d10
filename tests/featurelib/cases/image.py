"""Rows of the table: images."""

from __future__ import annotations

import numpy as np

from featurelib import ChainedPreprocessing, DecodeError, FeatureError
from featurelib import image as I
from featurelib.image.functional import encode_png
from tests.featurelib.cases.case import Case


def picture(seed: int, height: int = 12, width: int = 10, channels: int = 3, dtype: str = "uint8") -> np.ndarray:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels))
    return pixels.astype(dtype)


PICTURES = [picture(0), picture(1), picture(2)]
RAGGED = [picture(0), picture(1, 9, 14), picture(2, 30, 31)]
GREYS = [picture(0, channels=1), picture(1, channels=1)]
FLOATS = [picture(0, dtype="float32") / 3, picture(1, dtype="float32") - 100]
FILES = [encode_png(mat) for mat in (*PICTURES, *GREYS)]
RECORDS = [I.ImageFeature(mat, label=float(i), path=f"{i}.png") for i, mat in enumerate(PICTURES)]
ROWS = [
    {"origin": "a", "height": 12, "width": 10, "nChannels": 3, "mode": 16, "data": mat.tobytes()} for mat in PICTURES
]

NO_PICTURE = (b"abc", FeatureError, "decoded image, received only ['bytes']")
NO_IMAGE = (None, FeatureError, "bytes, an array or an ImageFeature. Received: null")
CROP_BAD = [NO_PICTURE, NO_IMAGE, (np.zeros((2, 2), np.int64), FeatureError, "uint8, uint16 or float32")]
ALL_PICTURES = [PICTURES, RAGGED, GREYS, FLOATS, RECORDS, []]
UINT8 = {"dtype": "uint8", "bounds": (0, 255)}

CASES = [
    Case(
        I.ImageBytesToMat(),
        [FILES[:3], FILES, [I.ImageFeature(FILES[0], label=1)], [bytearray(FILES[0]), memoryview(FILES[1])]],
        (12, 10, 3),
        **UINT8,
        bad=[
            (b"", DecodeError, "0 bytes"),
            (None, DecodeError, "bytes. Received: null"),
            (I.ImageFeature(PICTURES[0]), DecodeError, "bytes. Received: null"),
            (b"GIF99a" + bytes(20), DecodeError, "must be JPEG, PNG"),
        ],
    ),
    Case(I.ImageBytesToMat(image_codec=0), [FILES], (12, 10, 1), **UINT8),
    Case(I.ImageBytesToMat(image_codec=1), [FILES], (12, 10, 3), **UINT8),
    Case(
        I.RowToImageFeature(),
        [ROWS],
        (12, 10, 3),
        **UINT8,
        bad=[
            ({**ROWS[0], "data": b"123"}, FeatureError, "= 360 values for 12x10x3. Received: 3"),
            ({**ROWS[0], "nChannels": 1}, FeatureError, "Received: 360"),
            ({**ROWS[0], "mode": 7}, FeatureError, "mode must be one of"),
            ({**ROWS[0], "mode": -1, "height": -1, "data": b""}, DecodeError, "'a' could not be read"),
            ({"origin": "a"}, FeatureError, "height, width, nChannels, mode and data. Received: dict"),
            (None, FeatureError, "Received: null"),
        ],
    ),
    Case(I.ImageResize(7, 5), ALL_PICTURES, (7, 5, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageResize(12, 10), ALL_PICTURES, (12, 10, 3), **UINT8),
    Case(I.ImageResize(20, 20, resize_mode=-1), ALL_PICTURES, (20, 20, 3), **UINT8),
    Case(
        I.ImageChannelNormalize(123, 117.0, 104, 58, 57, 57.5),
        ALL_PICTURES,
        (12, 10, 3),
        bounds=(-2.2, 2.7),
        bad=[*CROP_BAD, (picture(0, channels=4), FeatureError, "1 or 3 channels, received 4")],
    ),
    Case(I.ImageCenterCrop(4, 6), ALL_PICTURES, (6, 4, 3), **UINT8, bad=CROP_BAD),
    Case(
        I.ImageCenterCrop(10, 12, is_clip=False),
        [PICTURES],
        (12, 10, 3),
        **UINT8,
        bad=[(picture(0, 4, 4), FeatureError, "at least 12x10 pixels (height x width), received 4x4")],
    ),
    Case(I.ImageRandomCrop(4, 6), ALL_PICTURES, (6, 4, 3), **UINT8, bad=CROP_BAD),
    Case(
        I.ImageRandomCrop(10, 12, is_clip=False),
        [PICTURES],
        (12, 10, 3),
        **UINT8,
        bad=[(picture(0, 4, 4), FeatureError, "at least 12x10 pixels")],
    ),
    Case(I.ImageHFlip(), ALL_PICTURES, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageBrightness(-60, 60.0), [*ALL_PICTURES, [picture(0, dtype="uint16")]], (12, 10, 3), **UINT8),
    Case(I.ImageRandomTranslate(3, 20, value=7), ALL_PICTURES, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(
        I.ImageRandomPreprocessing(I.ImageHFlip() >> I.ImageBrightness(0, 9), 0.5),
        ALL_PICTURES,
        (12, 10, 3),
        **UINT8,
        bad=[NO_IMAGE],
    ),
    Case(I.ImageMatToTensor(), [*ALL_PICTURES, [picture(0, channels=4)]], (3, 12, 10), bounds=(0, 255), bad=CROP_BAD),
    Case(I.ImageMatToTensor(to_RGB=True), [*ALL_PICTURES, [picture(0, channels=4)]], (3, 12, 10), bounds=(0, 255)),
    Case(I.ImageMatToTensor(share_buffer=False, format="NHWC"), ALL_PICTURES, (12, 10, 3), bounds=(0, 255)),
    Case(
        I.ImageFeatureToTensor(),
        [[I.ImageMatToTensor()(mat) for mat in mats] for mats in (PICTURES, RAGGED, FLOATS)],
        (3, 12, 10),
        bounds=(0, 255),
        bad=[
            (I.ImageFeature(PICTURES[0]), FeatureError, "with 'imageTensor'. Received: ['mat', 'originalSize']"),
            (b"", FeatureError, "Received: bytes"),
        ],
    ),
    Case(
        ChainedPreprocessing(
            [
                I.ImageBytesToMat(image_codec=1),
                I.ImageResize(8, 8),
                I.ImageRandomTranslate(1, 1),
                I.ImageRandomPreprocessing(I.ImageHFlip(), 0.5),
                I.ImageChannelNormalize(128, 128, 128, 128, 128, 128),
                I.ImageMatToTensor(to_RGB=True),
                I.ImageFeatureToTensor(),
            ]
        ),
        [FILES, [I.ImageFeature(file) for file in FILES]],
        (3, 8, 8),
        bounds=(-1, 1),
        bad=[(b"", DecodeError, "0 bytes")],
    ),
    Case(ChainedPreprocessing([]), [PICTURES], (12, 10, 3), **UINT8),
]
