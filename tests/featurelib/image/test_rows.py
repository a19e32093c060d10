from __future__ import annotations

import numpy as np
import pytest

from featurelib import DecodeError, FeatureError
from featurelib.image import RowToImageFeature
from featurelib.image.rows import MODES, UNREADABLE, mode_of


def row(mat, **changes):
    names = ("height", "width", "nChannels")
    return {
        "origin": "o",
        **dict(zip(names, mat.shape, strict=True)),
        "mode": mode_of(mat),
        "data": mat.tobytes(),
    } | changes


@pytest.mark.parametrize(("mode", "kind"), MODES.items(), ids=map(str, MODES))
def test_every_mode_comes_back_as_it_was(mode, kind):
    dtype, channels = kind
    mat = np.random.default_rng(0).integers(0, 200, (3, 5, channels)).astype(dtype)
    assert mode_of(mat) == mode
    read = RowToImageFeature()(row(mat))["mat"]
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, mat)
    np.testing.assert_array_equal(RowToImageFeature()(row(mat, data=mat.ravel().tolist()))["mat"], mat)


def test_modes_are_opencvs():
    """CV_MAKETYPE: depth + 8 * (channels - 1)."""
    assert [mode for mode, (kind, _) in MODES.items() if kind == np.uint16] == [2, 10, 18, 26]
    assert [mode for mode, (_, channels) in MODES.items() if channels == 3] == [16, 18, 21]


@pytest.mark.parametrize("shape", [(2, 2, 5), (2, 2, 0)])
def test_pictures_without_a_mode(shape):
    with pytest.raises(FeatureError, match=r"1 to 4 channels of uint8, uint16 or float32. Received: \d of uint8"):
        mode_of(np.zeros(shape, np.uint8))


def test_rows_that_hold_no_picture():
    mat = np.zeros((2, 3, 1), np.uint16)
    for changes in ({"data": None}, {"mode": UNREADABLE, "data": None}, {"mode": UNREADABLE, "data": b""}):
        with pytest.raises(DecodeError, match="image 'o' could not be read"):
            RowToImageFeature()(row(mat, **changes))
    for data in (b"", bytes(11), bytes(6), bytes(13)):
        with pytest.raises(FeatureError, match="= 6 values for 2x3x1"):
            RowToImageFeature()(row(mat, data=data))
