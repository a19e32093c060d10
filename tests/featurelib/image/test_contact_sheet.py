"""Every image transform on a photo, drawn on one sheet to be looked at: `contact_sheet.png` in the test's folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from featurelib import Preprocessing
from featurelib import image as I
from featurelib.catalog import PREPROCESSING
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform

SHOWN: list[Preprocessing] = [
    I.ImageResize(100, 150),
    I.ImageResize(12, 16, resize_mode=3),
    I.ImageChannelNormalize(123, 117, 104, 58, 57, 57),
    I.ImageCenterCrop(150, 100),
    I.ImageRandomCrop(150, 100),
    I.ImageHFlip(),
    I.ImageBrightness(60, 61),
    I.ImageBrightness(-61, -60),
    I.ImageRandomTranslate(60, 40, 128),
    I.ImageRandomPreprocessing(I.ImageHFlip(), 0.5),
]


def tile(title: str, picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8:
        picture = np.clip(np.rint(picture * 57 + 115), 0, 255).astype(np.uint8)
    canvas = np.full((220, 300, 3), 255, np.uint8)
    canvas[20 : 20 + picture.shape[0], : picture.shape[1]] = picture
    cv2.putText(canvas, title[5:60], (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def test_contact_sheet(photos: Path, tmp_path: Path) -> None:
    photo = F.resize(F.decode((photos / "dog.jpg").read_bytes(), image_codec=1), 200, 266, cv2.INTER_AREA)
    results = [transform.apply(photo, np.random.default_rng(2))["mat"] for transform in SHOWN]
    tiles = [tile("     original", photo)] + [tile(repr(t), r) for t, r in zip(SHOWN, results, strict=True)]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % 4)
    sheet = np.vstack([np.hstack(tiles[i : i + 4]) for i in range(0, len(tiles), 4)])
    path = tmp_path / "contact_sheet.png"
    path.write_bytes(F.encode_png(sheet))
    np.testing.assert_array_equal(F.decode(path.read_bytes()), sheet)
    assert all(not np.array_equal(result, photo) for result in results)


def test_the_sheet_shows_every_picture_transform() -> None:
    wanted = {cls for cls in PREPROCESSING.values() if issubclass(cls, ImageTransform)}
    assert {type(transform) for transform in SHOWN} >= wanted


def test_photos_decode_to_plausible_pictures(photos: Path) -> None:
    files = sorted(photos.glob("*.jpg"))
    assert files
    for file in files:
        mat = F.decode(file.read_bytes())
        assert min(mat.shape[:2]) >= 200
        assert mat.shape[2] == 3
        assert mat.std() > 20
