"""Boxes follow the picture: in every transform, in today's programs and in BigDL's."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from featurelib import Preprocessing
from featurelib import image as I
from featurelib.image import vision as V
from featurelib.image.functional import decode
from featurelib.image.transforms.base import ImageTransform
from tests.featurelib.cases import CASES

DOGS = np.float32([[20, 30, 60, 50]])


def record_of(height: int, width: int, boxes: np.ndarray) -> I.ImageFeature:
    """A black picture, white inside the boxes."""
    mat = np.zeros((height, width, 1), np.uint8)
    for x1, y1, x2, y2 in boxes.astype(int):
        mat[y1:y2, x1:x2] = 255
    return I.ImageFeature(mat).replace(roi=I.Roi(boxes, np.arange(len(boxes))))


def box_of_pixels(mat: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mat[..., 0] >= 128)
    return np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])


MOVING: list[tuple[Preprocessing, float]] = [  # and how far pixels may be from their box
    (I.ImageHFlip(), 0),
    (I.ImageMirror(), 0),
    (I.ImageResize(160, 50), 1),
    (I.ImageResize(37, 211), 2),
    (I.ImageAspectScale(200, 16, 260), 2),
    (I.ImageRandomAspectScale([40, 100, 160]), 2),
    (I.RandomResize(50, 150), 2),
    (I.ImageCenterCrop(70, 40), 0),
    (I.ImageRandomCrop(90, 60), 0),
    (I.ImageFixedCrop(0.25, 0.1, 0.75, 0.9), 0),
    (I.ImageRandomResizedCrop(100, 100, area=(0.6, 1.0)), 2),
    (I.RandomAlterAspect(0.6, 1, 0.75, "CUBIC", 90), 2),
    (I.RandomCropper(90, 60, True, channels=1), 0),
    (I.ImageRandomTranslate(15, 12), 0),
    (I.ImageExpand(0, 0, 0), 0),
    (I.FixExpand(150, 160), 0),
    (I.ImageRotate(90), 0),
    (I.ImageRotate(180), 0),
    (I.ImageRotate(-20), 2),
    (I.ImageRandomRotate(30), 2),
    (I.ImageAffine(20, 0.1, (0.8, 1.2), 10), 2),
    (I.RandomSampler(), 0),
]


def moves(transform: Preprocessing) -> bool:
    return isinstance(transform, ImageTransform) and type(transform).geometry is not ImageTransform.geometry


def test_every_transform_that_moves_pixels_is_tried() -> None:
    wanted = {type(case.transform) for case in CASES if moves(case.transform)} - {I.DetectionCrop}
    assert {type(transform) for transform, _ in MOVING} == wanted


@pytest.mark.parametrize(("transform", "near"), MOVING, ids=[repr(t)[:60] for t, _ in MOVING])
@pytest.mark.parametrize("normalized", [False, True])
def test_a_box_stays_around_its_pixels(transform: Preprocessing, near: float, normalized: bool) -> None:
    record = record_of(100, 100, DOGS)
    record = I.RoiNormalize()(record) if normalized else record
    for seed in range(12):
        moved = transform.apply(record, np.random.default_rng(seed) if transform.random else None)
        roi, mat = moved["roi"], moved["mat"]
        assert roi.normalized == normalized
        assert len(roi) == 1, "the transforms are chosen so that the object stays in sight"
        box = roi.in_pixels(*mat.shape[:2]).boxes[0]
        assert np.abs(box - box_of_pixels(mat)).max() <= near + 1e-3


@pytest.mark.parametrize("case", [c for c in CASES if moves(c.transform)], ids=lambda c: repr(c.transform)[:60])
def test_boxes_are_inside_the_picture(case) -> None:
    rng = np.random.default_rng(1)
    mat = case.values[0][0]
    mat = mat["mat"] if isinstance(mat, I.ImageFeature) else mat
    found = {"found": np.float32([[1, 1, 0.1, 0.1, 0.8, 0.9]])}
    for _ in range(20):
        ends = rng.random((6, 2, 2)) * [mat.shape[1], mat.shape[0]]
        boxes = np.concatenate([ends.min(axis=1), ends.max(axis=1)], axis=1)
        record = I.ImageFeature(mat).replace(roi=I.Roi(boxes, range(6), [True, False] * 3), **found)
        moved = case.transform.apply(record, rng if case.transform.random else None)
        roi, (height, width, _) = moved["roi"], moved["mat"].shape
        assert (roi.boxes >= 0).all()
        assert (roi.boxes <= [width, height, width, height]).all()
        assert (roi.boxes[:, :2] < roi.boxes[:, 2:]).all()
        assert len(roi) == len(roi.difficult) == len(roi.centered)
        assert [bool(each) for each in roi.difficult] == [number % 2 == 0 for number in roi.classes]


@pytest.mark.parametrize(
    "case", [c for c in CASES if isinstance(c.transform, ImageTransform)], ids=lambda c: repr(c.transform)[:60]
)
def test_boxes_stay_where_pixels_stay(case) -> None:
    if moves(case.transform):
        return
    mat = case.values[0][0]
    roi = I.Roi([[1, 1, 3, 3]], [0])
    record = (mat if isinstance(mat, I.ImageFeature) else I.ImageFeature(mat)).replace(roi=roi)
    assert case.transform.apply(record, np.random.default_rng(1))["roi"] is roi


def test_the_rule_of_the_middle() -> None:
    record = record_of(100, 100, np.float32([[0, 0, 60, 40], [40, 40, 70, 70], [80, 80, 90, 90]]))
    cut = I.ImageFixedCrop(50, 30, 100, 75, normalized=False)
    assert cut(record)["roi"].classes.tolist() == [0, 1]
    assert (cut >> I.RoiProject(False))(record)["roi"].classes.tolist() == [0, 1]
    projected = (cut >> I.ImageHFlip() >> I.RoiProject())(record)["roi"]
    assert projected.classes.tolist() == [1]
    assert projected.boxes.tolist() == [[30, 10, 50, 40]]


def annotated(folder: Path, name: str) -> I.ImageFeature:
    objects = list(ET.parse(folder / "Annotations" / f"{name}.xml").iter("object"))
    ends = [[float(o.findtext(f"bndbox/{end}")) for end in ("xmin", "ymin", "xmax", "ymax")] for o in objects]  # type: ignore[arg-type]
    boxes = np.array(ends) - [1, 1, 0, 0]  # pixels are counted from 1, and the last one belongs to the box
    roi = I.Roi(
        boxes, [len(o.findtext("name") or "") for o in objects], [o.findtext("difficult") == "1" for o in objects]
    )
    picture = decode((folder / "JPEGImages" / f"{name}.jpg").read_bytes(), 1)
    return I.ImageFeature(picture, path=name).replace(roi=roi)


TODAY = (
    I.ImageRandomPreprocessing(I.ImageExpand(max_expand_ratio=2), 0.5)
    >> I.ImageRandomResizedCrop(300, 300, area=(0.5, 1))
    >> I.ImageRandomPreprocessing(I.ImageHFlip(), 0.5)
    >> I.ImageColorJitter()
    >> I.ImageChannelNormalize(123, 117, 104)
    >> I.ImageMatToTensor()
)
BIGDL = V.Pipeline(
    [
        V.RoiNormalize(),
        V.ColorJitter(),
        V.RandomTransformer(V.Pipeline([V.Expand(), V.RoiProject(True)]), 0.5),
        V.RandomSampler(),
        V.Resize(300, 300, -1),
        V.RoiResize(),
        V.RandomTransformer(V.Pipeline([V.HFlip(), V.RoiHFlip()]), 0.5),
        V.ChannelNormalize(123, 117, 104),
        V.MatToFloats(),
        V.ImageFrameToSample(["floats"], ["roi"]),
    ]
)


@pytest.mark.parametrize("program", [TODAY, BIGDL], ids=["today", "bigdl"])
def test_programs_on_photos(program: Preprocessing, voc: Path) -> None:
    names = sorted(path.stem for path in (voc / "Annotations").glob("*.xml"))
    records = [annotated(voc, name) for name in names]
    kept = 0
    for seed in range(3):
        results = program.batch(records, [np.random.default_rng([seed, row]) for row in range(len(records))])
        for before, after in zip(records, results, strict=True):
            roi = after["roi"].normalize(300, 300)
            assert ((roi.boxes >= 0) & (roi.boxes <= 1)).all()
            assert set(roi.classes) <= set(before["roi"].classes)
            kept += len(roi)
    assert kept > sum(len(record["roi"]) for record in records)


def test_both_programs_say_the_same(voc: Path) -> None:
    """The explicit steps of BigDL's programs change nothing that the transforms have not done."""
    for path in (voc / "Annotations").glob("*.xml"):
        record = annotated(voc, path.stem)
        plain = I.ImageResize(300, 300) >> I.ImageHFlip() >> I.ImageFixedCrop(0.1, 0.1, 0.9, 0.9)
        explicit = V.Pipeline(
            [
                V.RoiNormalize(),
                V.Resize(300, 300),
                V.RoiResize(normalized=True),
                V.HFlip(),
                V.RoiHFlip(),
                V.FixedCrop(0.1, 0.1, 0.9, 0.9),
                V.RoiProject(False),
            ]
        )
        left, right = plain(record), explicit(record)
        np.testing.assert_array_equal(left["mat"], right["mat"])
        np.testing.assert_allclose(left["roi"].boxes, right["roi"].in_pixels(240, 240).boxes, atol=1e-3)
        scale = np.float32([300 / record["mat"].shape[1], 300 / record["mat"].shape[0]] * 2)
        x1, y1, x2, y2 = (record["roi"].boxes * scale).T
        expected = np.clip(np.stack([300 - x2, y1, 300 - x1, y2], axis=1) - 30, 0, 240)
        expected = expected[(expected[:, :2] < expected[:, 2:]).all(axis=1)]
        np.testing.assert_allclose(left["roi"].boxes, expected, atol=1e-3)


def test_a_training_chain_scores_pictures_without_boxes() -> None:
    scoring = V.Pipeline(BIGDL.transformers[:-1]).deterministic()
    assert scoring(np.zeros((200, 100, 3), np.uint8))["floats"].shape == (3, 300, 300)


def test_a_training_chain_ends_in_samples(voc: Path) -> None:
    sample = (BIGDL >> I.ImageFeatureToSample()).apply(annotated(voc, "000005"), np.random.default_rng(4))
    assert sample.features[0].shape == (3, 300, 300)
    assert sample.labels[0].shape[1] == 6
    assert np.asarray(sample).dtype == np.float32


def test_random_sampler_shows_objects() -> None:
    boxes = np.float32([[100, 100, 160, 180], [10, 200, 90, 260]])
    record = record_of(300, 400, boxes)
    sizes = set()
    for seed in range(60):
        cut = I.RandomSampler()(record, np.random.default_rng(seed))
        height, width, _ = cut["mat"].shape
        sizes.add((height, width))
        assert 0.3 * 300 * 0.7 <= height <= 300
        assert 0.3 * 400 * 0.7 <= width <= 400
        assert 0.4 <= (width / 400) / (height / 300) <= 2.1
    assert (300, 400) in sizes
    assert len(sizes) > 30
    empty = record.replace(roi=I.Roi(np.empty((0, 4)), []))
    assert I.RandomSampler()(empty, np.random.default_rng(0))["mat"].shape == (300, 400, 1)
