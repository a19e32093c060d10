"""Every image transform on a photo, drawn on one sheet to be looked at: `contact_sheet.png` in the test's folder."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from featurelib import ChainedPreprocessing, Preprocessing
from featurelib import image as I
from featurelib.catalog import PREPROCESSING
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform

DOG, BICYCLE = (45, 75, 108, 190), (42, 40, 200, 155)  # in the photo of 200x266 pixels

SHOWN: list[Preprocessing] = [
    I.ImageResize(100, 150),
    I.ImageResize(12, 16, resize_mode=3),
    I.ImageAspectScale(90, 16, 100),
    I.ImageRandomAspectScale([60, 90, 120]),
    I.RandomResize(60, 120),
    I.ImageCenterCrop(150, 100),
    I.ImageRandomCrop(150, 100),
    I.ImageFixedCrop(0.3, 0.3, 0.8, 0.9),
    I.ImageRandomResizedCrop(120, 160),
    I.RandomAlterAspect(0.2, 1, 0.75, "CUBIC", 150),
    I.RandomCropper(150, 120, True),
    I.RandomSampler(),
    I.DetectionCrop("found"),
    I.ImageHFlip(),
    I.ImageMirror(),
    I.ImageRandomTranslate(60, 40, 128),
    I.ImageRotate(20, "reflect"),
    I.ImageRandomRotate(30, "replicate"),
    I.ImageAffine(20, 0.1, (0.6, 0.9), 15, value=128),
    I.ImageExpand(max_expand_ratio=1.1, min_expand_ratio=1.05),
    I.FixExpand(200, 290),
    I.ImageBrightness(60, 61),
    I.ImageBrightness(-61, -60),
    I.ImageContrast(1.5, 1.6),
    I.ImageHue(30, 31),
    I.ImageSaturation(0.1, 0.2),
    I.ImageSaturation(2, 2.1),
    I.ImageChannelOrder(),
    I.ImageColorJitter(1, 32, 1, 0.5, 1.5, 1, 18, 1),
    I.ImageChannelNormalize(123, 117, 104, 58, 57, 57),
    I.ChannelScaledNormalizer(123, 117, 104, 0.017),
    I.PerImageNormalize(-2, 2),
    I.ImagePixelNormalize(np.full((200, 266, 3), 40)) >> I.ImageChannelNormalize(83, 77, 64, 58, 57, 57),
    I.ImageFiller(0.4, 0.3, 0.7, 0.6, 0),
    I.ImageCutout((0.1, 0.2), value=128),
    I.ImageGaussianBlur(9, 3, 3.1),
    I.ImageRandomPreprocessing(I.ImageHFlip(), 0.5),
]
STAGES = [
    stage for each in SHOWN for stage in (each.transformers if isinstance(each, ChainedPreprocessing) else [each])
]


def tile(title: str, record: I.ImageFeature) -> np.ndarray:
    picture, roi = np.array(record["mat"], order="C"), record["roi"]
    if picture.dtype != np.uint8:
        picture = np.clip(np.rint(picture * 57 + 115), 0, 255).astype(np.uint8)
    canvas = np.full((240, 300, 3), 255, np.uint8)
    for box in np.rint(roi.boxes).astype(int).tolist():
        cv2.rectangle(picture, box[:2], (box[2] - 1, box[3] - 1), (0, 255, 255))
    canvas[20 : 20 + picture.shape[0], : picture.shape[1]] = picture
    cv2.putText(canvas, title[:58], (2, 14), cv2.FONT_HERSHEY_SIMPLEX, 0.33, (0, 0, 0), 1, cv2.LINE_AA)
    return canvas


def test_contact_sheet(photos: Path, tmp_path: Path) -> None:
    photo = F.resize(F.decode((photos / "dog.jpg").read_bytes(), image_codec=1), 200, 266, cv2.INTER_AREA)
    roi = I.Roi([DOG, BICYCLE], [1, 2]).clip(200, 266)
    record = I.ImageFeature(photo).replace(roi=roi, found=[[1, 0.9, 0.3, 0.3, 0.9, 0.9]])
    results = [transform.apply(record, np.random.default_rng(2)) for transform in SHOWN]
    tiles = [tile("original", record)] + [
        tile(repr(each).removeprefix("Image"), result) for each, result in zip(SHOWN, results, strict=True)
    ]
    tiles += [np.full_like(tiles[0], 255)] * (-len(tiles) % 6)
    sheet = np.vstack([np.hstack(tiles[i : i + 6]) for i in range(0, len(tiles), 6)])
    path = tmp_path / "contact_sheet.png"
    path.write_bytes(F.encode_png(sheet))
    np.testing.assert_array_equal(F.decode(path.read_bytes()), sheet)
    assert all(not np.array_equal(result["mat"], photo) for result in results)


def test_the_sheet_shows_every_picture_transform() -> None:
    wanted = {cls for cls in PREPROCESSING.values() if issubclass(cls, ImageTransform)}
    assert {type(stage) for stage in STAGES} >= wanted


def test_photos_decode_to_plausible_pictures(photos: Path) -> None:
    files = sorted(photos.glob("*.jpg"))
    assert files
    for file in files:
        mat = F.decode(file.read_bytes())
        assert min(mat.shape[:2]) >= 200
        assert mat.shape[2] == 3
        assert mat.std() > 20
