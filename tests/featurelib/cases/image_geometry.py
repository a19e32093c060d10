"""Rows of the table: images whose pixels move."""

from __future__ import annotations

import numpy as np

from featurelib import FeatureError
from featurelib import image as I
from tests.featurelib.cases.case import Case
from tests.featurelib.cases.image import (
    ALL_PICTURES,
    CROP_BAD,
    FOUND,
    GREYS,
    NO_IMAGE,
    NO_PICTURE,
    PICTURES,
    RAGGED,
    UINT8,
    picture,
)

KINDS = [
    *ALL_PICTURES,
    FOUND,
    [picture(0, dtype="uint16") * 250],
    [picture(0, channels=2)],
    [picture(0, channels=4)],
]

CASES = [
    Case(I.ImageResize(7, 5), ALL_PICTURES, (7, 5, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageResize(12, 10), ALL_PICTURES, (12, 10, 3), **UINT8),
    Case(I.ImageResize(20, 20, resize_mode=-1), ALL_PICTURES, (20, 20, 3), **UINT8),
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
    Case(I.ImageRandomTranslate(3, 20, value=7), ALL_PICTURES, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageMirror(), KINDS, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageAspectScale(20), KINDS, (24, 20, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageAspectScale(20, 8, 40, -1, False, 0.5), KINDS, (24, 16, 3), **UINT8),
    Case(I.ImageRandomAspectScale([20, 25, 30], 4, 60), KINDS, None, **UINT8, bad=CROP_BAD),
    Case(I.RandomResize(20, 30), KINDS, None, **UINT8, bad=CROP_BAD),
    Case(
        I.RandomResize(40, 40),
        KINDS,
        (48, 40, 3),
        **UINT8,
        bad=[(np.zeros((1, 90000), np.uint8), FeatureError, "at most 134217728 pixels. Received: 40x3600000 to be")],
    ),
    Case(
        I.ImageFixedCrop(0.2, 0.25, 0.7, 0.5),
        KINDS,
        (3, 5, 3),
        **UINT8,
        bad=[*CROP_BAD, (picture(0, 12, 1), FeatureError, "ImageFixedCrop must leave at least a pixel. Received: an")],
    ),
    Case(I.ImageFixedCrop(-3, 4, 8, 99, normalized=False), KINDS, (8, 8, 3), **UINT8),
    Case(
        I.ImageFixedCrop(2, 4, 8, 10, False, False),
        [PICTURES],
        (6, 6, 3),
        **UINT8,
        bad=[(picture(0, 6, 8), FeatureError, "received 6x8 for x from 2 to 8, y from 4 to 10. Hint: is_clip=True")],
    ),
    Case(I.ImageRandomResizedCrop(7, 9), KINDS, (7, 9, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageRandomResizedCrop(7, 9, [0.1, 0.3], (1, 2), 0), KINDS, (7, 9, 3), **UINT8),
    Case(I.RandomAlterAspect(0.3, 1, 0.7, "CUBIC", 8), KINDS, (8, 8, 3), **UINT8, bad=CROP_BAD),
    Case(
        I.RandomCropper(6, 7, True),
        [PICTURES, RAGGED, FOUND],
        (7, 6, 3),
        **UINT8,
        bad=[
            NO_IMAGE,
            (GREYS[0], FeatureError, "RandomCropper expects 3 channels, received 1"),
            (picture(0, 5, 5), FeatureError, "RandomCropper expects an image of at least 7x6 pixels"),
        ],
    ),
    Case(I.RandomCropper(6, 7, False, "Center", 1), [GREYS], (7, 6, 1), **UINT8),
    Case(I.ImageRotate(30), KINDS, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageRotate(-90.0, "reflect"), KINDS, (12, 10, 3), **UINT8),
    Case(I.ImageRandomRotate(30, "replicate"), KINDS, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageAffine(20, 0.2, (0.8, 1.2), 10, value=9), KINDS, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(
        I.ImageExpand(),
        [*ALL_PICTURES, FOUND, [picture(0, channels=4)]],
        None,
        **UINT8,
        bad=[*CROP_BAD, (picture(0, channels=2), FeatureError, "ImageExpand expects 1, 3 or 4 channels, received 2")],
    ),
    Case(
        I.FixExpand(33, 40),
        KINDS,
        (33, 40, 3),
        **UINT8,
        bad=[
            NO_PICTURE,
            (picture(0, 34, 2), FeatureError, "at most 33x40 pixels (height x width) and 4 channels, received 34x2x3"),
            (picture(0, channels=5), FeatureError, "received 12x10x5"),
        ],
    ),
]
