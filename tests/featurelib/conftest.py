from __future__ import annotations

import os
from pathlib import Path

import pytest


def data_folder(name: str) -> Path:
    root = Path(os.environ.get("NNFRAMES_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    folder = root / name
    if not folder.is_dir():
        pytest.skip(f"no test data in {folder}; set NNFRAMES_TEST_DATA to the folder of test data")
    return folder


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of test photos."""
    return data_folder("photos")


@pytest.fixture(scope="session")
def voc() -> Path:
    """A few photos of VOC 2007 with their annotations."""
    return data_folder("voc2007-mini") / "VOCdevkit" / "VOC2007"
