from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def photos() -> Path:
    """The folder of test photos."""
    root = Path(os.environ.get("NNFRAMES_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    folder = root / "photos"
    if not folder.is_dir():
        pytest.skip(f"no test photos in {folder}; set NNFRAMES_TEST_DATA to the folder of test data")
    return folder
