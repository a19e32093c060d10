"""Golden numbers: each function against its formula written out, on every kind of picture."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from featurelib import FeatureError, RowStreams
from featurelib.image import (
    ImageBrightness,
    ImageCenterCrop,
    ImageChannelNormalize,
    ImageFeature,
    ImageMatToTensor,
    ImageRandomCrop,
    ImageRandomPreprocessing,
    ImageRandomTranslate,
    ImageResize,
    RowToImageFeature,
)
from featurelib.image import functional as F
from kernels.errors import ArgumentError

SIZES = [(1, 1), (1, 7), (7, 1), (5, 6), (33, 17)]
KINDS = [(channels, dtype) for channels in (1, 2, 3, 4) for dtype in ("uint8", "uint16", "float32")]


def mat_of(height: int, width: int, channels: int, dtype: str) -> np.ndarray:
    mat = np.random.default_rng([height, width, channels]).integers(0, 256, (height, width, channels)).astype(dtype)
    mat.flags.writeable = False
    return mat


@pytest.mark.parametrize(("channels", "dtype"), KINDS)
@pytest.mark.parametrize(("height", "width"), SIZES)
def test_every_function_on_every_kind(height: int, width: int, channels: int, dtype: str) -> None:
    mat = mat_of(height, width, channels, dtype)
    f32 = np.float32
    mean, std = np.arange(1, channels + 1, dtype=f32), np.linspace(0.5, 60, channels, dtype=f32)
    normalized = F.channel_normalize(mat, mean.tolist(), std.tolist())
    np.testing.assert_array_equal(normalized, (mat.astype(f32) - mean) / std)
    assert F.to_tensor(normalized).base is normalized.base
    np.testing.assert_array_equal(F.to_tensor(mat), mat.astype(f32).transpose(2, 0, 1))
    order = [2, 1, 0, 3][:channels] if channels >= 3 else list(range(channels))
    np.testing.assert_array_equal(F.to_tensor(mat, to_rgb=True), mat.astype(f32).transpose(2, 0, 1)[order])
    np.testing.assert_array_equal(F.hflip(mat), mat[:, ::-1])
    np.testing.assert_array_equal(
        ImageCenterCrop(3, 3)(mat)["mat"],
        mat[(height - 3) // 2 if height > 3 else 0 :][:3][:, (width - 3) // 2 if width > 3 else 0 :][:, :3],
    )
    resized = F.resize(mat, 9, 4)
    np.testing.assert_array_equal(resized, cv2.resize(mat, (4, 9)).reshape(9, 4, channels))
    assert resized.dtype == mat.dtype


LAYOUTS = {
    "part": lambda mat: np.pad(mat, ((3, 2), (1, 4), (0, 0)))[3:-2, 1:-4],
    "planes": lambda mat: np.ascontiguousarray(mat.transpose(2, 0, 1)).transpose(1, 2, 0),
    "backwards": lambda mat: np.ascontiguousarray(mat[::-1, ::-1])[::-1, ::-1],
    "columns": lambda mat: np.asfortranarray(mat),
    "channels": lambda mat: np.repeat(mat, 2, axis=2)[:, :, ::2],
}
FUNCTIONS = {
    "resize": lambda mat: F.resize(mat, 9, 4),
    "hflip": F.hflip,
    "mirror": F.mirror,
    "pad": lambda mat: F.pad(mat, 1, 2, 9, 9, (1,) * mat.shape[2]),
    "warp": lambda mat: F.warp(mat, F.rotation_map(10)),
    "adjust": lambda mat: F.adjust(mat, 1.5, 3),
    "adjust_colour": lambda mat: F.adjust_colour(mat, 10, 0.5),
    "blur": lambda mat: F.blur(mat, 3, 1.0),
    "fill": lambda mat: F.fill(mat, 1, 1, 2, 2, 9),
    "reorder": lambda mat: F.reorder(mat, (2, 0, 1)),
    "normalize_range": lambda mat: F.normalize_range(mat, 0, 1),
    "to_tensor": lambda mat: F.to_tensor(mat, to_rgb=True),
    "channel_normalize": lambda mat: F.channel_normalize(mat, (1.0,) * mat.shape[2], (2.0,) * mat.shape[2]),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_order_in_memory_does_not_matter(name: str, layout: str) -> None:
    for channels, dtype in KINDS:
        mat = mat_of(6, 5, channels, dtype)
        other = LAYOUTS[layout](mat)
        np.testing.assert_array_equal(other, mat)
        np.testing.assert_array_equal(FUNCTIONS[name](other), FUNCTIONS[name](mat))


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (1, 0), (0, -1), (-2, 3), (5, 0), (-9, 9)])
def test_translate(dx: int, dy: int) -> None:
    mat = mat_of(4, 5, 3, "uint8")
    expected = np.full_like(mat, 77)
    for row in range(4):
        for column in range(5):
            if 0 <= row - dy < 4 and 0 <= column - dx < 5:
                expected[row, column] = mat[row - dy, column - dx]
    np.testing.assert_array_equal(F.translate(mat, dx, dy, 77), expected)


def test_translate_fills_within_the_range_of_the_type() -> None:
    assert F.translate(np.zeros((1, 2, 1), np.uint8), 1, 0, 999).max() == 255
    assert F.translate(np.zeros((1, 2, 1), np.uint8), 1, 0, -5).max() == 0
    assert F.translate(np.zeros((1, 2, 1), np.float32), 1, 0, -5.5).min() == -5.5


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_adjust(dtype: str) -> None:
    mat = np.arange(0, 256, 5).astype(dtype).reshape(4, 13, 1)
    exact = mat.astype(np.float64) * 1.5 - 20.5
    top = {"uint8": 255, "uint16": 65535}.get(dtype)
    expected = exact if top is None else np.clip(np.rint(exact), 0, top)
    np.testing.assert_allclose(F.adjust(mat, 1.5, -20.5), expected, rtol=1e-6)
    assert F.adjust(mat, 1.5, -20.5).dtype == dtype


def test_linear_resize_of_a_ramp_is_a_ramp() -> None:
    ramp = np.arange(8, dtype=np.float32).reshape(1, 8, 1)
    np.testing.assert_allclose(F.resize(ramp, 1, 4).ravel(), [0.5, 2.5, 4.5, 6.5])
    np.testing.assert_array_equal(F.resize(ramp, 1, 4, 0).ravel(), [0, 2, 4, 6])


def test_normalisation_takes_means_as_r_g_b_and_grey_takes_red() -> None:
    transform = ImageChannelNormalize(30.0, 20.0, 10.0, 3.0, 2.0, 1.0)
    bgr = np.array([[[11, 24, 39]]], np.uint8)
    np.testing.assert_array_equal(transform(bgr)["mat"], [[[1, 2, 3]]])
    np.testing.assert_array_equal(transform(np.array([[36]], np.uint8))["mat"], [[[2]]])
    tensor = ImageMatToTensor(to_RGB=True)(transform(bgr))["imageTensor"]
    np.testing.assert_array_equal(tensor.ravel(), [3, 2, 1])


def test_random_transforms_draw_all_they_can() -> None:
    def runs(transform: object, mat: np.ndarray) -> list[ImageFeature]:
        streams = RowStreams(lambda row: np.random.default_rng([1, row]), range(300))
        return transform.batch([mat] * 300, streams)  # type: ignore[attr-defined]

    dot = np.zeros((5, 5), np.uint8)
    dot[2, 2] = 1
    places = {tuple(np.argwhere(f["mat"][..., 0])[0]) for f in runs(ImageRandomTranslate(1, 2), dot)}
    assert places == {(y, x) for y in range(5) for x in (1, 2, 3)}
    ramp = np.arange(12, dtype=np.uint8).reshape(3, 4)
    assert {int(f["mat"][0, 0, 0]) for f in runs(ImageRandomCrop(3, 2), ramp)} == {0, 1, 4, 5}
    deltas = [int(f["mat"][0, 0, 0]) - 100 for f in runs(ImageBrightness(-5, 5), np.full((1, 1), 100, np.uint8))]
    assert (min(deltas), max(deltas)) == (-5, 5)
    flips = runs(ImageRandomPreprocessing(ImageResize(1, 1), 0.25), ramp)
    assert 50 < sum(f["mat"].shape == (1, 1, 1) for f in flips) < 100
    assert len({f["mat"].tobytes() for f in runs(ImageResize(7, 9, resize_mode=-1), ramp)}) >= 4


def test_share_buffer() -> None:
    mat = ImageChannelNormalize(1, 1, 1)(np.zeros((2, 3, 3), np.uint8))
    assert np.shares_memory(ImageMatToTensor()(mat)["imageTensor"], mat["mat"])
    assert not np.shares_memory(ImageMatToTensor(share_buffer=False)(mat)["imageTensor"], mat["mat"])
    block = ImageMatToTensor(share_buffer=False).batch([mat, mat])
    assert not np.shares_memory(block[0]["imageTensor"], mat["mat"])


def test_rows_of_spark_images() -> None:
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)
    row = {"origin": "o", "height": 2, "width": 3, "nChannels": 4, "mode": 24, "data": bytearray(pixels.tobytes())}
    feature = RowToImageFeature()(row)
    np.testing.assert_array_equal(feature["mat"], pixels)
    assert (feature["uri"], feature["originalSize"]) == ("o", (2, 3, 4))
    floats = {**row, "nChannels": 3, "mode": 21, "data": [0.5] * 18}
    assert RowToImageFeature()(floats)["mat"].dtype == np.float32


def test_records() -> None:
    feature = ImageFeature(b"abc", label=4, path="p")
    assert (feature.get_label(), feature["uri"], repr(feature)) == (
        4,
        "p",
        "ImageFeature(bytes=3 bytes, label=4, uri='p')",
    )
    with pytest.raises(FeatureError, match=r"holds no picture yet, only \['bytes', 'label', 'uri'\]"):
        np.asarray(feature)
    picture = ImageFeature(np.full((2, 3, 3), 7, np.uint8))
    assert picture.get_image().shape == (3, 2, 3)
    assert picture.get_image(to_chw=False).shape == (2, 3, 3)
    assert np.asarray(ImageMatToTensor()(picture)).shape == (3, 2, 3)
    assert np.asarray(picture, dtype=np.float64).dtype == np.float64


@pytest.mark.parametrize(
    ("mat", "message"),
    [
        (np.zeros(5, np.uint8), r"\(height, width, channels\)\. Received: shape \(5,\)"),
        (np.zeros((0, 5), np.uint8), r"Received: shape \(0, 5, 1\)"),
        (np.zeros((2, 2), np.int32), "uint8, uint16 or float32. Received: int32"),
    ],
)
def test_what_is_no_picture(mat: np.ndarray, message: str) -> None:
    with pytest.raises(FeatureError, match=message):
        F.as_mat(mat)


def test_png_takes_what_png_holds() -> None:
    with pytest.raises(FeatureError, match="1, 3 or 4 channels of uint8 or uint16"):
        F.encode_png(np.zeros((2, 2), np.float32))
    with pytest.raises(FeatureError, match="1, 3 or 4 channels"):
        F.encode_png(np.zeros((2, 2, 2), np.uint8))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ImageResize(0, 4), "resize_h must be an integer >= 1. Received: 0."),
        (lambda: ImageResize(4, 2.0), "resize_w must be an integer >= 1. Received: 2.0."),  # type: ignore[arg-type]
        (lambda: ImageResize(4, 4, resize_mode=9), "resize_mode must be one of -1, 0, 1, 2, 3, 4. Received: 9."),
        (lambda: ImageChannelNormalize(1, 2, 3, std_g=0), "std_g must not be 0"),
        (lambda: ImageChannelNormalize(float("nan"), 2, 3), "mean_r must be a finite number. Received: nan."),
        (lambda: ImageBrightness(2, 1), "delta_low must be <= delta_high. Received: delta_low=2, delta_high=1."),
        (lambda: ImageRandomPreprocessing(ImageResize(1, 1), 1.5), r"prob must be in [0, 1]. Received: 1.5."),
        (lambda: ImageRandomPreprocessing(3, 0.5), "must be a Preprocessing. Received: 3."),  # type: ignore[arg-type]
        (lambda: ImageRandomTranslate(-1, 0), "max_dx must be an integer >= 0. Received: -1."),
        (lambda: ImageMatToTensor(format="CHW"), "format must be one of 'NCHW', 'NHWC'. Received: 'CHW'."),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)
