"""Which convolutions are made of products of matrices."""

from __future__ import annotations

from typing import Any

import pytest

from kernels.config import native_library
from tests.kernels.convolutions import SAME

pytestmark = pytest.mark.skipif(native_library() is None, reason="oneDNN is not here")


@pytest.mark.parametrize(
    ("x", "w", "other", "expected"),
    [
        ((32, 64, 56, 56), (192, 64, 3, 3), {}, "winograd"),
        ((32, 256, 14, 14), (256, 256, 3, 3), {}, "winograd"),
        ((32, 512, 7, 7), (512, 512, 3, 3), {}, "winograd"),
        ((64, 3, 32, 32), (64, 3, 3, 3), {}, None),  # too few channels
        ((64, 16, 32, 32), (16, 16, 3, 3), {}, None),
        ((1, 512, 7, 7), (512, 512, 3, 3), {}, None),  # the kernels' transforms alone take longer
        ((64, 512, 2, 2), (512, 512, 3, 3), {}, "pixelwise"),
        ((64, 512, 2, 2), (16, 512, 3, 3), {}, None),
        ((64, 512, 2, 1), (512, 512, 3, 3), {}, None),
        ((64, 512, 1, 1), (512, 512, 3, 3), {}, None),
        ((64, 512, 2, 2), (512, 512, 3, 3), {"strides": (2, 2)}, None),
        ((32, 64, 56, 56), (192, 64, 5, 5), {"padding": ((2, 2), (2, 2))}, None),
        ((32, 64, 56, 56), (192, 64, 3, 3), {"strides": (2, 2)}, None),
        ((32, 64, 56, 56), (192, 64, 3, 3), {"dilation": (2, 2)}, None),
        ((32, 64, 56, 56), (192, 64, 3, 3), {"padding": ((0, 0), (0, 0))}, None),
        ((32, 64, 56, 56), (192, 64, 3, 3), {"padding": ((1, 1), (1, 0))}, None),
        ((32, 128, 56, 56), (192, 64, 3, 3), {"groups": 2}, None),
        ((32, 64, 56), (192, 64, 3), {"strides": (1,), "padding": ((1, 1),), "dilation": (1,)}, None),
        ((2, 64, 9, 9, 9), (64, 64, 3, 3, 3), {"strides": (1, 1, 1)}, None),
    ],
)
def test_the_way_follows_from_the_shape(x: tuple, w: tuple, other: dict[str, Any], expected: str | None) -> None:
    from kernels.onednn.convolution import way

    found = way({**SAME, **other}, x, w)
    assert (found and found.__name__.split(".")[-1]) == expected
