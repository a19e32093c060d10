"""Golden numbers of the transforms: OpenCV's own calls, or formulas written out."""

from __future__ import annotations

import colorsys
import itertools

import cv2
import numpy as np
import pytest

from featurelib import FeatureError, Preprocessing, RowStreams
from featurelib import image as I
from featurelib.image import functional as F
from featurelib.image.transforms.base import ImageTransform
from kernels.errors import ArgumentError
from tests.featurelib.cases import CASES, Case

BGR = np.random.default_rng(5).integers(0, 256, (31, 23, 3)).astype(np.uint8)
BGR.flags.writeable = False


def stream(row: int) -> np.random.Generator:
    return np.random.default_rng([3, row])


def mats(transform: Preprocessing, mat: np.ndarray = BGR, count: int = 60) -> list[np.ndarray]:
    streams = RowStreams(stream, range(count))
    return [record["mat"] for record in transform.batch([mat] * count, streams)]


def test_hue_and_saturation_are_opencv_s() -> None:
    hsv = cv2.cvtColor(BGR, cv2.COLOR_BGR2HSV).astype(int)
    turned = hsv.copy()
    turned[..., 0] = (turned[..., 0] + 33) % 180
    np.testing.assert_array_equal(mats(I.ImageHue(33, 33))[0], cv2.cvtColor(turned.astype(np.uint8), cv2.COLOR_HSV2BGR))
    np.testing.assert_array_equal(F.adjust_colour(BGR, hue=33 - 180), F.adjust_colour(BGR, hue=33))
    hsv[..., 1] = np.clip(np.rint(hsv[..., 1] * 1.4), 0, 255)
    expected = cv2.cvtColor(hsv.astype(np.uint8), cv2.COLOR_HSV2BGR)
    np.testing.assert_array_equal(mats(I.ImageSaturation(1.4, 1.4))[0], expected)


@pytest.mark.parametrize(("dtype", "scale"), [("float32", 1.0), ("float32", 255.0), ("uint16", 65535)])
def test_hue_and_saturation_of_other_types_follow_the_formula(dtype: str, scale: float) -> None:
    pixels = np.random.default_rng(1).random((4, 5, 3))
    mat = (pixels * scale).astype(dtype)
    result = F.adjust_colour(mat, hue=25, saturation=0.6)
    assert result.dtype == dtype
    for row, column in np.ndindex(4, 5):
        b, g, r = mat[row, column] / scale
        h, s, v = colorsys.rgb_to_hsv(r, g, b)
        rgb = colorsys.hsv_to_rgb((h + 25 / 180) % 1, s * 0.6, v)
        np.testing.assert_allclose(result[row, column] / scale, rgb[::-1], atol=2e-4)


def test_colour_leaves_grey_and_alpha() -> None:
    grey, pair = BGR[..., :1], BGR[..., :2]
    alpha = np.dstack([BGR, np.arange(31 * 23, dtype=np.uint16).reshape(31, 23).astype(np.uint8)])
    for transform in (I.ImageHue(5, 50), I.ImageSaturation(0.2, 0.4), I.ImageChannelOrder()):
        assert mats(transform, grey, 1)[0] is grey
        assert mats(transform, pair, 1)[0] is pair
        result = mats(transform, alpha, 1)[0]
        np.testing.assert_array_equal(result[..., 3], alpha[..., 3])
        np.testing.assert_array_equal(result[..., :3], mats(transform, BGR, 1)[0])


def test_contrast_and_order() -> None:
    np.testing.assert_array_equal(mats(I.ImageContrast(1.5, 1.5))[0], np.clip(np.rint(BGR * 1.5), 0, 255))
    pixel = np.array([[[1, 2, 3]]], np.uint8)
    orders = {tuple(mat.ravel().tolist()) for mat in mats(I.ImageChannelOrder(), pixel)}
    assert orders == {(1, 2, 3), (1, 3, 2), (2, 1, 3), (2, 3, 1), (3, 1, 2), (3, 2, 1)}


def test_jitter_is_made_of_its_steps() -> None:
    assert all(np.array_equal(mat, BGR) for mat in mats(I.ImageColorJitter(0, 32, 0, 0.5, 1.5, 0, 18, 0, 0.5, 1.5)))
    grey = np.full((2, 2, 1), 100, np.uint8)
    bright = {int(mat[0, 0, 0]) for mat in mats(I.ImageColorJitter(1, 10, 0, 1, 1, 0, 0, 0, 1, 1), grey)}
    assert min(bright) >= 90
    assert max(bright) <= 110
    assert len(bright) > 10
    # 100 + 10 and then doubled, or doubled and then + 10: both orders come, shuffled, and in one step
    jitter = I.ImageColorJitter(1, 10, 1, 2, 2, 0, 0, 0, 1, 1, shuffle=True)
    seen = set()
    for seed in range(20):
        (light,) = jitter.sample(np.random.default_rng(seed), grey)["steps"]
        seen.add(tuple(light))
        expected = 100.0
        for name, by in light.items():
            expected = float(np.clip(np.rint(expected + by if name == "brightness" else expected * by), 0, 255))
        assert jitter.apply(grey, np.random.default_rng(seed))["mat"][0, 0, 0] == expected
    assert seen == {("brightness", "contrast"), ("contrast", "brightness")}
    both = I.ImageColorJitter(0, 0, 0, 1, 1, 1, 18, 1, 0.5, 1.5)
    (step,) = both.sample(np.random.default_rng(1), BGR)["steps"]
    np.testing.assert_array_equal(mats(both)[0], F.adjust_colour(BGR, **both.sample(stream(0), BGR)["steps"][0]))
    assert sorted(step) == ["hue", "saturation"]


def test_normalisations() -> None:
    floats = BGR.astype(np.float32)
    low, high = floats.min(), floats.max()
    expected = (floats - low) / (high - low) * 3 - 1
    np.testing.assert_allclose(I.PerImageNormalize(-1, 2)(BGR)["mat"], expected, atol=1e-5)
    for norm_type, order in ((1, np.inf), (2, 1), (4, 2)):
        expected = floats * (5 / np.linalg.norm(floats.ravel().astype(np.float64), order))
        np.testing.assert_allclose(I.PerImageNormalize(5, 5, norm_type)(BGR)["mat"], expected, rtol=1e-5)
    constant = I.PerImageNormalize(2, 3)(np.full((2, 2), 9, np.uint8))["mat"]
    np.testing.assert_array_equal(constant, np.full((2, 2, 1), 2))
    means = np.random.default_rng(0).random(BGR.shape).astype(np.float32)
    for form in (means, means.ravel(), means.ravel().tolist()):
        np.testing.assert_array_equal(I.ImagePixelNormalize(form)(BGR)["mat"], floats - means)
    scaled = I.ChannelScaledNormalizer(3, 2, 1, 0.5)(BGR)["mat"]
    np.testing.assert_array_equal(scaled, (floats - [1, 2, 3]) * 0.5)


@pytest.mark.parametrize(
    ("transform", "height", "width", "expected"),
    [
        (I.ImageAspectScale(300), 375, 500, (300, 400)),
        (I.ImageAspectScale(600), 375, 500, (600, 800)),
        (I.ImageAspectScale(600, max_size=700), 375, 500, (525, 700)),
        (I.ImageAspectScale(600, 32, 700), 375, 500, (512, 672)),
        (I.ImageAspectScale(10, min_scale=2.0), 375, 500, (750, 1000)),
        (I.ImageAspectScale(100), 1, 90000, (1, 1000)),
        (I.ImageAspectScale(8, 16), 10, 10, (16, 16)),
        (I.ImageRandomAspectScale([300], 1, 350), 375, 500, (263, 350)),
        (I.ImageRandomAspectScale([300, 100, 200]).deterministic(), 375, 500, (200, 267)),
        (I.RandomResize(256, 256), 375, 500, (256, 341)),
        (I.RandomResize(200, 300).deterministic(), 500, 375, (333, 250)),
    ],
)
def test_sizes_after_scaling(transform: Preprocessing, height: int, width: int, expected: tuple[int, int]) -> None:
    mat = np.zeros((height, width, 1), np.uint8)
    assert transform.apply(mat, np.random.default_rng(0))["mat"].shape[:2] == expected


def test_random_sizes_come_all() -> None:
    square = np.zeros((10, 10), np.uint8)
    assert {mat.shape[0] for mat in mats(I.RandomResize(4, 7), square)} == {4, 5, 6, 7}
    assert {mat.shape[0] for mat in mats(I.ImageRandomAspectScale([4, 9]), square)} == {4, 9}


def test_crops() -> None:
    np.testing.assert_array_equal(I.ImageFixedCrop(0.5, 0.25, 1, 1)(BGR)["mat"], BGR[7:, 11:])
    np.testing.assert_array_equal(I.ImageFixedCrop(3, 4, 10.9, 999, normalized=False)(BGR)["mat"], BGR[4:, 3:10])
    np.testing.assert_array_equal(I.RandomCropper(9, 8, True).deterministic()(BGR)["mat"], BGR[11:19, 7:16])
    ramp = np.arange(12, dtype=np.uint8).reshape(3, 4, 1)
    corners = {tuple(mat[0, :, 0].tolist()) for mat in mats(I.RandomCropper(3, 3, True, channels=1), ramp)}
    assert corners == {(0, 1, 2), (1, 2, 3), (2, 1, 0), (3, 2, 1)}


def test_a_part_of_random_area() -> None:
    transform = I.ImageRandomResizedCrop(8, 8, area=(0.2, 0.5), aspect=(0.5, 2.0))
    picture = np.zeros((100, 150, 1), np.uint8)
    for seed in range(50):
        found = transform.sample(np.random.default_rng(seed), picture)
        assert 0.19 <= found["height"] * found["width"] / 15000 <= 0.51
        assert 0.48 <= found["width"] / found["height"] <= 2.05
        assert 0 <= found["top"] <= 100 - found["height"]
        assert 0 <= found["left"] <= 150 - found["width"]
    wide = I.ImageRandomResizedCrop(8, 8, area=(0.9, 1.0), aspect=(4.0, 5.0))
    expected = {"top": 31, "left": 0, "height": 38, "width": 150}
    assert wide.sample(np.random.default_rng(0), picture) == expected


def test_half_turns_and_mirrors() -> None:
    np.testing.assert_array_equal(I.ImageMirror()(BGR)["mat"], BGR[::-1, ::-1])
    np.testing.assert_array_equal(I.ImageRotate(180)(BGR)["mat"], BGR[::-1, ::-1])
    square = BGR[:23]
    np.testing.assert_array_equal(I.ImageRotate(90)(square)["mat"], np.rot90(square))
    np.testing.assert_array_equal(I.ImageRotate(0)(BGR)["mat"], BGR)


def test_rotation_is_opencv_s() -> None:
    matrix = cv2.getRotationMatrix2D(((23 - 1) / 2, (31 - 1) / 2), 27, 1.0)
    for border, flag in F.BORDERS.items():
        expected = cv2.warpAffine(BGR, matrix, (23, 31), borderMode=flag, borderValue=(9, 9, 9))
        turned = I.ImageRotate(27, border, 9)(BGR)["mat"]
        assert np.abs(turned.astype(int) - expected).max() <= 2


def test_affine_draws_within_its_ranges() -> None:
    transform = I.ImageAffine(rotate=30, translate=0.1, scale=(0.5, 2), shear=0)
    for seed in range(50):
        matrix = transform.sample(np.random.default_rng(seed), BGR)["matrix"]
        scale = np.sqrt(np.linalg.det(matrix[:2, :2]))
        assert 0.5 <= scale <= 2
        assert matrix[0, 0] / scale >= np.cos(np.radians(30)) - 1e-9
        middle = matrix @ [11.5, 15.5, 1] - [11.5, 15.5, 1]
        assert abs(middle[0]) <= 2.3 + 1e-9
        assert abs(middle[1]) <= 3.1 + 1e-9
    still = I.ImageAffine().sample(np.random.default_rng(0), BGR)["matrix"]
    np.testing.assert_allclose(still, np.eye(3), atol=1e-12)


def test_canvases() -> None:
    expanded = mats(I.ImageExpand(1, 2, 3, 2, 3))[0]
    colour = np.array([3, 2, 1])
    inside = (expanded != colour).any(axis=2)
    rows, columns = np.nonzero(inside)
    part = expanded[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    np.testing.assert_array_equal(part, BGR)
    assert 62 <= expanded.shape[0] <= 93
    fixed = I.FixExpand(36, 30)(BGR)["mat"]
    np.testing.assert_array_equal(fixed[2:33, 3:26], BGR)
    assert fixed.sum() == BGR.sum()


def test_patches_and_blur() -> None:
    filled = I.ImageFiller(0.5, 0, 1, 0.5, 8)(BGR)["mat"]
    assert (filled[:16, 12:] == 8).all()
    np.testing.assert_array_equal(filled[16:], BGR[16:])
    np.testing.assert_array_equal(filled[:, :12], BGR[:, :12])
    picture = np.zeros((40, 60, 1), np.uint8)
    for mat in mats(I.ImageCutout((0.1, 0.2), value=1), picture):
        rows, columns = np.nonzero(mat[..., 0])
        assert mat.sum() == (np.ptp(rows) + 1) * (np.ptp(columns) + 1)
        assert mat.sum() <= 0.2 * 2400 * 1.1
    for mat in mats(I.ImageGaussianBlur(7, 1.5, 1.5), count=1):
        np.testing.assert_array_equal(mat, cv2.GaussianBlur(BGR, (7, 7), 1.5))


def test_mixing() -> None:
    rng = np.random.default_rng(2)
    images, labels = rng.random((6, 3, 16, 20), np.float32), np.eye(6, dtype=np.float32)
    mixed, soft = F.mixup(images, labels, np.random.default_rng(1), alpha=1.0)
    np.testing.assert_allclose(mixed, np.tensordot(soft, images, 1), rtol=1e-5)
    np.testing.assert_allclose(soft.sum(axis=1), 1, rtol=1e-6)
    cut, shares = F.cutmix(images, labels, np.random.default_rng(3), alpha=1.0)
    np.testing.assert_allclose(shares.sum(axis=1), 1, rtol=1e-6)
    for row in range(6):
        own = (cut[row] == images[row]).all(axis=0).mean()
        np.testing.assert_allclose(shares[row, row], own, atol=1e-6)
    assert {mixed.dtype, soft.dtype, cut.dtype, shares.dtype} == {np.dtype(np.float32)}
    for mix in (F.mixup, F.cutmix):
        with pytest.raises(FeatureError, match=r"expects one-hot or soft labels \(6, classes\) of floats"):
            mix(images, np.arange(6), rng)
        with pytest.raises(ArgumentError, match="alpha must be > 0"):
            mix(images, labels, rng, 0)
    with pytest.raises(FeatureError, match=r"cutmix expects images \(n, channels, height, width\)"):
        F.cutmix(images[0], labels, rng)


def test_samples_of_several_inputs() -> None:
    record = I.ImageFeature(label=[1, 2]).replace(a=np.zeros((2, 2)), b=3)
    sample = I.ImageSetToSample(["a", "b"], ["label"])(record)["sample"]
    assert [part.shape for part in (*sample.features, *sample.labels)] == [(2, 2), (1,), (2,)]
    with pytest.raises(FeatureError, match=r"one input\. Received: 2 inputs"):
        np.asarray(sample)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: I.ImageContrast(-1, 1), "delta_low must be >= 0. Received: -1."),
        (lambda: I.ImageSaturation(2, 1), "delta_low must be <= delta_high"),
        (lambda: I.ImageColorJitter(hue_prob=2), "hue_prob must be in [0, 1]. Received: 2."),
        (lambda: I.PerImageNormalize(0, 1, 3), "norm_type must be one of 1, 2, 4, 32. Received: 3."),
        (lambda: I.ImagePixelNormalize([]), "means must be finite numbers, one for each of a picture"),
        (lambda: I.ImagePixelNormalize([1, float("nan")]), "means must be finite numbers"),
        (lambda: I.ImageAspectScale(8, 16, 8), "max_size must be an integer >= 16. Received: 8."),
        (lambda: I.ImageRandomAspectScale([0]), "scales must be an integer >= 1 or a list of them"),
        (lambda: I.ImageFixedCrop(2, 0, 1, 1), "x1 must be <= x2"),
        (lambda: I.ImageRandomResizedCrop(2, 2, (0, 1)), "area must be two numbers in order, above 0 and at most 1"),
        (
            lambda: I.ImageRandomResizedCrop(2, 2, aspect=3),
            "aspect must be two numbers in order, above 0. Received: 3.",
        ),
        (lambda: I.RandomAlterAspect(interp_mode="BEST"), "interp_mode must be one of 'NEAREST', 'LINEAR'"),
        (lambda: I.RandomCropper(2, 2, True, "Top"), "cropper_method must be one of 'Random', 'Center'"),
        (lambda: I.ImageRotate(2, "wrap"), "border must be one of 'constant', 'replicate', 'reflect'"),
        (lambda: I.ImageAffine(shear=90), "shear must be in [0, 89]. Received: 90."),
        (lambda: I.ImageExpand(min_expand_ratio=0.5), "min_expand_ratio must be in [1, 4.0]. Received: 0.5."),
        (lambda: I.ImageFiller(0, 0, 2, 1), "end_x must be in [0, 1]. Received: 2."),
        (lambda: I.ImageGaussianBlur(4), "kernel_size must be odd. Received: 4."),
        (lambda: I.ImageSetToSample("imageTensor"), "input_keys must be a list of keys. Received: 'imageTensor'."),
    ],
)
def test_bad_arguments(make: object, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()  # type: ignore[operator]
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "case", [c for c in CASES if isinstance(c.transform, ImageTransform)], ids=lambda c: repr(c.transform)[:60]
)
def test_odd_pictures_are_transformed_or_refused(case: Case) -> None:
    """Small, thin, of one to five channels, of every type: no other error than `FeatureError` comes out."""
    for height, width in ((1, 1), (1, 40), (40, 1), (2, 3)):
        for channels, dtype in itertools.product((1, 2, 3, 4, 5), ("uint8", "uint16", "float32")):
            mat = np.random.default_rng(1).integers(0, 256, (height, width, channels)).astype(dtype)
            record = I.ImageFeature(mat).replace(roi=I.Roi([[0, 0, 1, 1]], [1]), found=[[1, 1, 0, 0, 1, 1]])
            try:
                result = case.transform.apply(record, np.random.default_rng(0) if case.transform.random else None)
            except FeatureError:
                continue
            assert result["mat"].ndim == 3
            assert result["mat"].size
            assert result["mat"].shape[2] == channels
            assert result["mat"].dtype in (mat.dtype, np.float32)
