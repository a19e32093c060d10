"""PASCAL VOC: photographs, their boxes in XML files, lists of their names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from featurelib.errors import FeatureError
from featurelib.image.feature import ImageFeature
from featurelib.image.files import named_bytes, origin_of
from featurelib.image.roi import Roi

__all__ = ["VOC_CLASSES", "read_voc", "voc_boxes"]

VOC_CLASSES = (
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)
"""The twenty classes, in the order in which detectors number them from 1; 0 is the background."""

MAX_XML = 1 << 20


def read_voc(root: str | Path, image_set: str = "trainval", classes: Sequence[str] = VOC_CLASSES) -> list[ImageFeature]:
    """The pictures that ``ImageSets/Main/<image_set>.txt`` below `root` lists, as files' bytes with their ``roi``.

    `root` is the folder of a year (``VOCdevkit/VOC2007``). VOC names the first and last pixel of a box and counts them
    from 1; `Roi` says where a box begins and ends, from 0: x1 and y1 are one less than in the file. Classes count from
    1 by `classes`. Raises `FeatureError` for a list or an annotation that is missing or damaged or names another class;
    the message names the file.
    """
    return list(_features(Path(root), image_set, {name: number for number, name in enumerate(classes, 1)}))


def voc_boxes(path: str | Path, numbers: dict[str, int]) -> Roi:
    """The boxes of one annotation; `numbers` gives the number of a class by its name."""
    objects = list(_parsed(path).iter("object"))
    boxes = np.zeros((len(objects), 4), np.float32)
    classes = np.zeros(len(objects), np.float32)
    difficult = np.zeros(len(objects), bool)
    for row, found in enumerate(objects):
        name = (found.findtext("name") or "").strip()
        if name not in numbers:
            raise FeatureError(f"{path}: an object must be of a known class. Received: {name!r}.")
        classes[row] = numbers[name]
        difficult[row] = (found.findtext("difficult") or "0").strip() == "1"
        try:
            boxes[row] = [float(found.findtext(f"bndbox/{side}") or "") for side in ("xmin", "ymin", "xmax", "ymax")]
        except ValueError:
            raise FeatureError(f"{path}: object {row} must have a box of four numbers. Received: none.") from None
    boxes[:, :2] -= 1
    try:
        return Roi(boxes, classes, difficult)
    except FeatureError as error:
        raise FeatureError(f"{path}: {error}") from None


def _features(root: Path, image_set: str, numbers: dict[str, int]) -> Iterator[ImageFeature]:
    listed = root / "ImageSets" / "Main" / f"{image_set}.txt"
    for line in named_bytes(listed).decode("utf-8", "replace").splitlines():
        name = line.split()[0] if line.strip() else ""
        if name:
            picture = root / "JPEGImages" / f"{name}.jpg"
            feature = ImageFeature(named_bytes(picture), path=origin_of(str(picture)))
            yield feature.replace(roi=voc_boxes(root / "Annotations" / f"{name}.xml", numbers))


def _parsed(path: str | Path) -> ElementTree.Element:
    data = named_bytes(path, MAX_XML)
    # Annotations need no entities of their own, and entities are how a small file becomes a large one.
    if re.search(rb"<!(DOCTYPE|ENTITY)", data):
        raise FeatureError(f"{path}: an annotation must have no document type of its own.")
    try:
        return ElementTree.fromstring(data)
    except ElementTree.ParseError as error:
        raise FeatureError(f"{path}: an annotation must be XML. Received: {error}.") from None
