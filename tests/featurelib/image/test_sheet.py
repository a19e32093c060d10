"""Contact sheets."""

from __future__ import annotations

import numpy as np
import pytest

from featurelib.errors import FeatureError
from featurelib.image.sheet import contact_sheet


def test_every_picture_is_in_its_place():
    pictures = [np.full((4, 4, channels), 10 * number, np.uint8) for number, channels in enumerate((1, 3, 1), 1)]
    sheet = contact_sheet(pictures, ["one", "two", "three"], columns=2, tile=32)
    assert [int(sheet[20, 20, 0]), int(sheet[20, 58, 0]), int(sheet[76, 20, 0])] == [10, 20, 30]
    assert sheet[76, 58].tolist() == [255, 255, 255]


def test_captions_are_drawn():
    sheet = contact_sheet([np.zeros((4, 4), np.uint8)], ["five"], columns=1, tile=32)
    assert (sheet[38:56] < 128).any()


@pytest.mark.parametrize(("pictures", "captions"), [([], []), ([np.zeros((2, 2), np.uint8)], ["a", "b"])])
def test_pictures_and_captions_must_match(pictures, captions):
    with pytest.raises(FeatureError, match=f"{len(pictures)} and {len(captions)}"):
        contact_sheet(pictures, captions)
