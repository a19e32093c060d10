"""Rows of the table: pixel values of images."""

from __future__ import annotations

import numpy as np

from featurelib import FeatureError
from featurelib import image as I
from tests.featurelib.cases.case import Case
from tests.featurelib.cases.image import ALL_PICTURES, CROP_BAD, GREYS, NO_IMAGE, PICTURES, UINT8, picture

KINDS = [*ALL_PICTURES, [picture(0, dtype="uint16") * 250], [picture(0, channels=2)], [picture(0, channels=4)]]
COLOURS = [*ALL_PICTURES[:3], *KINDS[4:]]  # no negative pixels
FIVE = (picture(0, channels=5), FeatureError, "3 channels, or 4 with alpha. Received: 5")

CASES = [
    Case(
        I.ImageChannelNormalize(123, 117.0, 104, 58, 57, 57.5),
        ALL_PICTURES,
        (12, 10, 3),
        bounds=(-2.2, 2.7),
        bad=[*CROP_BAD, (picture(0, channels=4), FeatureError, "1 or 3 channels, received 4")],
    ),
    Case(I.ImageBrightness(-60, 60.0), [*ALL_PICTURES, [picture(0, dtype="uint16")]], (12, 10, 3), **UINT8),
    Case(
        I.ChannelScaledNormalizer(123, 117.0, 104, 0.0078125),
        ALL_PICTURES,
        (12, 10, 3),
        bounds=(-1, 1.2),
        bad=[*CROP_BAD, (picture(0, channels=4), FeatureError, "ChannelScaledNormalizer expects 1 or 3 channels")],
    ),
    Case(
        I.ImagePixelNormalize(np.arange(360, dtype=np.float32)),
        [PICTURES],
        (12, 10, 3),
        bounds=(-360, 255),
        bad=[
            *CROP_BAD,
            (GREYS[0], FeatureError, "(12, 10, 1) expects a mean for each of its 120 numbers. Received: 360"),
        ],
    ),
    Case(I.ImagePixelNormalize([1.5] * 360), [PICTURES], (12, 10, 3), bounds=(-1.5, 253.5)),
    Case(I.PerImageNormalize(-1, 1.0), KINDS, (12, 10, 3), bounds=(-1.0001, 1.0001), bad=CROP_BAD),
    Case(I.PerImageNormalize(1, 1, norm_type=4), KINDS, (12, 10, 3), bounds=(0, 1)),
    Case(I.ImageContrast(0.5, 1.5), KINDS, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageHue(-90, 90), COLOURS, (12, 10, 3), **UINT8, bad=[*CROP_BAD, FIVE]),
    Case(I.ImageSaturation(0.5, 1.5), COLOURS, (12, 10, 3), **UINT8, bad=[*CROP_BAD, FIVE]),
    Case(I.ImageChannelOrder(), KINDS, (12, 10, 3), **UINT8, bad=[*CROP_BAD, FIVE]),
    Case(I.ImageColorJitter(), COLOURS, (12, 10, 3), **UINT8, bad=[NO_IMAGE]),
    Case(I.ImageColorJitter(1, 20, 1, 0.9, 1.1, 1, 9, 1, 0.8, 1.2, 0.5, True), COLOURS, (12, 10, 3), **UINT8),
    Case(I.ImageFiller(0.1, 0.2, 0.5, 0.9, 7), KINDS, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageFiller(0.5, 0.5, 0.51, 1), KINDS, (12, 10, 3), **UINT8),
    Case(I.ImageCutout(), KINDS, (12, 10, 3), **UINT8, bad=CROP_BAD),
    Case(I.ImageGaussianBlur(5), KINDS, (12, 10, 3), **UINT8, bad=CROP_BAD),
]
