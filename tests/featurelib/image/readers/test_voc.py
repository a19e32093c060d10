from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from featurelib import FeatureError
from featurelib.image import ImageBytesToMat
from featurelib.image.readers import VOC_CLASSES, read_coco, read_voc


@pytest.fixture(scope="module")
def voc(data_dir: Path) -> Path:
    return data_dir / "voc2007-mini" / "VOCdevkit" / "VOC2007"


def made(folder: Path, annotation: str, name: str = "1") -> Path:
    for part in ("ImageSets/Main", "JPEGImages", "Annotations"):
        (folder / part).mkdir(parents=True)
    (folder / "ImageSets" / "Main" / "trainval.txt").write_text(f"{name}  1\n\n")
    cv2.imwrite(str(folder / "JPEGImages" / "1.jpg"), np.zeros((20, 30, 3), np.uint8))
    (folder / "Annotations" / "1.xml").write_text(annotation)
    return folder


OBJECT = "<object><name>{}</name>{}<bndbox><xmin>1</xmin><ymin>2</ymin><xmax>30</xmax><ymax>{}</ymax></bndbox></object>"


def test_real_photographs(voc: Path) -> None:
    features = read_voc(voc)
    assert len(features) == 10
    first = features[0]
    assert first["uri"].endswith("JPEGImages/000005.jpg")
    assert [VOC_CLASSES[int(number) - 1] for number in first["roi"].classes] == ["chair"] * 5
    assert first["roi"].boxes[0].tolist() == [262, 210, 324, 339]  # in the file 263 211 324 339
    assert first["roi"].difficult.tolist() == [False, False, True, False, True]
    for feature in features:
        height, width, _ = ImageBytesToMat()(feature)["mat"].shape
        boxes = feature["roi"].boxes
        assert boxes.dtype == np.float32
        assert (boxes >= 0).all()
        assert (boxes[:, 2] <= width).all()
        assert (boxes[:, 3] <= height).all()


def test_a_picture_without_objects_and_other_classes(tmp_path: Path) -> None:
    (found,) = read_voc(made(tmp_path / "a", "<annotation/>"))
    assert found["roi"].boxes.shape == (0, 4)
    (found,) = read_voc(
        made(tmp_path / "b", f"<a>{OBJECT.format('ship', '<difficult>1</difficult>', 9)}</a>"), "trainval", ["ship"]
    )
    assert (found["roi"].boxes.tolist(), found["roi"].classes.tolist()) == ([[0, 1, 30, 9]], [1])
    assert found["roi"].difficult.tolist() == [True]


@pytest.mark.parametrize(
    ("annotation", "message"),
    [
        ("<annotation><object>", "an annotation must be XML. Received: no element|an annotation must be XML"),
        (f"<a>{OBJECT.format('ship', '', 9)}</a>", "must be of a known class. Received: 'ship'"),
        (f"<a>{OBJECT.format('cat', '', -5)}</a>", "boxes must be finite x1 <= x2, y1 <= y2"),
        (f"<a>{OBJECT.format('cat', '', 'x')}</a>", "object 0 must have a box of four numbers"),
        ("<a><object><name>cat</name></object></a>", "object 0 must have a box"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "must have no document type"),
        (" " * ((1 << 20) + 1), "must have at most 1048576 bytes"),
    ],
)
def test_damaged_annotations_are_named(annotation: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=rf"Annotations/1.xml: .*{message}"):
        read_voc(made(tmp_path, annotation))


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(FeatureError, match=r"Main/val.txt: the file cannot be read"):
        read_voc(made(tmp_path / "a", "<a/>"), "val")
    with pytest.raises(FeatureError, match=r"JPEGImages/2.jpg: the file cannot be read"):
        read_voc(made(tmp_path / "b", "<a/>", "2"))


def instances(voc_features: list, folder: Path) -> dict:
    """The same boxes as COCO writes them, with category numbers that have gaps."""
    images, annotations = [], []
    for number, feature in enumerate(voc_features):
        images.append({"id": 100 + number, "file_name": Path(feature["uri"]).name})
        for box, kind in zip(feature["roi"].boxes.tolist(), feature["roi"].classes.tolist(), strict=True):
            sides = [box[0], box[1], box[2] - box[0], box[3] - box[1]]
            annotations.append({"image_id": 100 + number, "bbox": sides, "category_id": 3 * int(kind), "iscrowd": 0})
    categories = [{"id": 3 * number, "name": name} for number, name in enumerate(VOC_CLASSES, 1)]
    return {"images": images, "annotations": annotations, "categories": categories[::-1]}


def test_coco_gives_the_same_boxes(voc: Path, tmp_path: Path) -> None:
    expected = read_voc(voc)
    content = instances(expected, voc)
    content["annotations"].append({"image_id": 100, "bbox": [1, 2, 0, 4], "category_id": 3})  # no area: left out
    content["annotations"].append({"image_id": 109, "bbox": [1, 2, 3, 4], "category_id": 6, "iscrowd": 1})
    (tmp_path / "instances.json").write_text(json.dumps(content))
    found = read_coco(voc / "JPEGImages", tmp_path / "instances.json")
    assert [f["uri"] for f in found] == [f["uri"] for f in expected]
    for one, other in zip(found[:-1], expected[:-1], strict=True):
        assert one["bytes"] == other["bytes"]
        np.testing.assert_array_equal(one["roi"].boxes, other["roi"].boxes)
        np.testing.assert_array_equal(one["roi"].classes, other["roi"].classes)
    last = found[-1]["roi"]
    assert (last.boxes[-1].tolist(), last.classes[-1], last.difficult[-1]) == ([1, 2, 4, 6], 2, True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "annotations must be JSON"),
        ("[" * 100000, "annotations must be JSON"),
        ("[]", "it must hold 'images', 'annotations' and 'categories'"),
        ('{"categories": []}', "KeyError: 'images'"),
        ('{"categories": [], "images": [], "annotations": [{"bbox": [1, 2, 3]}]}', "ValueError"),
    ],
)
def test_damaged_coco_files_are_named(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text(text)
    with pytest.raises(FeatureError, match=rf"i.json: .*{message}"):
        read_coco(tmp_path, tmp_path / "i.json")


def test_coco_boxes_that_are_none(tmp_path: Path) -> None:
    box = {"image_id": 1, "bbox": [float("nan"), 0, 1, 1], "category_id": 1}
    content = {"categories": [{"id": 1}], "images": [{"id": 1, "file_name": "a.jpg"}], "annotations": [box]}
    (tmp_path / "i.json").write_text(json.dumps(content))
    with pytest.raises(FeatureError, match=r"boxes of 'a.jpg': boxes must be finite"):
        read_coco(tmp_path, tmp_path / "i.json")


def test_coco_pictures_lie_below_the_folder(tmp_path: Path) -> None:
    for name in ("../secret.jpg", "/etc/passwd"):
        (tmp_path / "i.json").write_text(json.dumps({"categories": [], "images": [{"id": 1, "file_name": name}]}))
        with pytest.raises(FeatureError, match="must lie below the folder"):
            read_coco(tmp_path, tmp_path / "i.json")
