"""Rows of the table: images with boxes."""

from __future__ import annotations

import numpy as np

from featurelib import FeatureError
from featurelib import image as I
from tests.featurelib.cases.case import Case
from tests.featurelib.cases.image import FOUND, NO_IMAGE, PICTURES, UINT8

NO_BOXES = (PICTURES[0], FeatureError, "a Roi under 'roi'. Received: NoneType among ['mat', 'originalSize']")
WRONG = (FOUND[0].replace(roi=[1, 2]), FeatureError, "a Roi under 'roi'. Received: list")
CUT = I.ImageFixedCrop(0, 0, 0.5, 0.5)
DETECTED = [record.replace(found=np.array([[1, 0.9, 0.2, 0.25, 0.7, 0.5, 8]])) for record in FOUND]
FLAT = [record.replace(found=[1.0, 1, 0.9, 0, 0, 1, 1]) for record in FOUND]
NOTHING = [record.replace(found=np.empty((0, 6), np.float32)) for record in FOUND]

CASES = [
    Case(I.RoiNormalize(), [FOUND, PICTURES], (12, 10, 3), **UINT8, bad=[NO_IMAGE, WRONG]),
    Case(I.RoiProject(), [[CUT(record) for record in FOUND], PICTURES], (6, 5, 3), **UINT8, bad=[NO_IMAGE, WRONG]),
    Case(I.RoiProject(False), [[CUT(record) for record in FOUND], FOUND], (6, 5, 3), **UINT8, bad=[NO_IMAGE]),
    Case(I.RoiHFlip(), [FOUND, PICTURES], (12, 10, 3), **UINT8, bad=[NO_IMAGE]),
    Case(I.RoiResize(), [FOUND, PICTURES], (12, 10, 3), **UINT8, bad=[NO_IMAGE]),
    Case(I.RandomSampler(), [FOUND], None, **UINT8, bad=[NO_IMAGE, NO_BOXES, WRONG]),
    Case(
        I.DetectionCrop("found"),
        [DETECTED, FLAT, NOTHING],
        (3, 5, 3),
        **UINT8,
        bad=[
            (
                FOUND[0],
                FeatureError,
                "detections (n, 6) under 'found': class, score, x1, y1, x2, y2. Received: NoneType",
            ),
            (FOUND[0].replace(found=np.zeros((2, 5))), FeatureError, "Received: ndarray of shape (2, 5)"),
            (FOUND[0].replace(found=[[1, 1, 2, 2, 3, 3]]), FeatureError, "DetectionCrop must leave at least a pixel"),
            (FOUND[0].replace(found=[[1, 1, 0, 0, np.nan, 3]]), FeatureError, "finite detections"),
        ],
    ),
    Case(
        I.RoiNormalize() >> I.RandomSampler() >> I.ImageResize(30, 30) >> I.ImageMatToTensor(),
        [FOUND],
        (3, 30, 30),
        bounds=(0, 255),
        bad=[NO_BOXES],
    ),
]
