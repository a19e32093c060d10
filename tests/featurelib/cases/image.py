"""Rows of the table: into pictures and out of them; the pictures of the other families."""

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

ROIS = [
    I.Roi([[1, 2, 7, 9], [0, 0, 10, 12]], [3, 4], [True, False]),
    I.Roi([[4, 4, 5, 6]], [2]),
    I.Roi(np.empty((0, 4)), []),
]
FOUND = [record.replace(roi=roi) for record, roi in zip(RECORDS, ROIS, strict=True)]
TENSORS = [I.ImageMatToTensor()(record) for record in FOUND]

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
        I.ImagePixelBytesToMat(),
        [[I.ImageFeature(mat.tobytes()).replace(originalSize=mat.shape) for mat in PICTURES]],
        (12, 10, 3),
        **UINT8,
        bad=[
            (b"abc", FeatureError, "bytes under 'bytes' and their size under 'originalSize'. Received: ['bytes']"),
            (I.ImageFeature(b"abc").replace(originalSize=(2, 2, 1)), FeatureError, "of (2, 2, 1). Received: 3 bytes"),
            (I.ImageFeature(b"abc").replace(originalSize=(-3, -1, 1)), FeatureError, "Received: 3 bytes"),
            NO_IMAGE,
        ],
    ),
    Case(I.MatToTensor(True), ALL_PICTURES, (3, 12, 10), bounds=(0, 255), bad=CROP_BAD),
    Case(I.MatToFloats(), [*ALL_PICTURES, [picture(0, channels=4)]], (3, 12, 10), bounds=(0, 255), bad=CROP_BAD),
    Case(
        I.ImageSetToSample(target_keys=["label", "roi"]),
        [TENSORS],
        (3, 12, 10),
        bounds=(0, 255),
        bad=[
            (PICTURES[0], FeatureError, "'imageTensor' in the record. Received: ['mat', 'originalSize']"),
            (TENSORS[0].replace(label=None), FeatureError, "'label' in the record"),
            (TENSORS[0].replace(label="cat"), FeatureError, "numbers under 'label'. Received: str"),
        ],
    ),
    Case(I.ImageFrameToSample(), [TENSORS], (3, 12, 10), bounds=(0, 255), bad=[NO_IMAGE]),
    Case(
        I.ImageFeatureToSample(),
        [[I.ImageSetToSample()(record) for record in TENSORS]],
        (3, 12, 10),
        bounds=(0, 255),
        bad=[(TENSORS[0], FeatureError, "with a 'sample'. Received: ['imageTensor'"), (b"", FeatureError, "bytes")],
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
