"""One instance of every transform, with values it takes and values it refuses; a module for each family."""

from __future__ import annotations

from tests.featurelib.cases import (
    adapters,
    audio,
    image,
    image_detection,
    image_geometry,
    image_values,
    tensor,
    text,
    volume,
)
from tests.featurelib.cases.case import Case

__all__ = ["CASES", "IDS", "Case"]

CASES = [
    *tensor.CASES,
    *adapters.CASES,
    *image.CASES,
    *image_values.CASES,
    *image_geometry.CASES,
    *image_detection.CASES,
    *volume.CASES,
    *audio.CASES,
    *text.CASES,
]
IDS = [repr(case.transform) if len(repr(case.transform)) < 80 else "chain" for case in CASES]
