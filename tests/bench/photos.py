"""JPEG photos for the suite `features`: those of the test data where they are, else pictures as hard to decode.

`NNFRAMES_TEST_DATA` names another folder of test data.
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from tests.bench.contest import ROOT

MEANS = (123.0, 117.0, 104.0)
DEVIATIONS = (58.4, 57.1, 57.4)


def photos() -> list[bytes]:
    """The files' bytes."""
    folder = Path(os.environ.get("NNFRAMES_TEST_DATA") or Path(ROOT).parent / "shared" / "data") / "photos"
    return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))] or [_drawn(seed) for seed in range(14)]


def _drawn(seed: int) -> bytes:
    """500 x 375 pixels whose detail falls off as in nature: noise of all sizes, the larger the stronger."""
    rng = np.random.default_rng(seed)
    picture = np.full((375, 500, 3), 128.0)
    for size in (3, 8, 20, 50, 130, 350):
        noise = rng.standard_normal((size, size, 3)) * 60 / np.sqrt(size)
        picture += cv2.resize(noise, (500, 375), interpolation=cv2.INTER_CUBIC)
    return cv2.imencode(".jpg", np.clip(picture, 0, 255).astype(np.uint8))[1].tobytes()


def save(folder: Path, count: int) -> None:
    """Write `count` files, the photos one after the other."""
    folder.mkdir(parents=True)
    files = photos()
    for number in range(count):
        (folder / f"{number:05d}.jpg").write_bytes(files[number % len(files)])
