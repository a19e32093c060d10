from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featurelib.volume import AffineTransform3D, CenterCrop3D, Crop3D, RandomCrop3D, Rotate3D
from featurelib.volume.functional import interpolate, rotation
from kernels.errors import ArgumentError

VOLUME = np.random.default_rng(3).random((5, 6, 7))
QUARTER = math.pi / 2


def by_the_formula(volume: np.ndarray, matrix: np.ndarray, translation: Any, margin: float, pad: float) -> np.ndarray:
    """One voxel after the other."""
    out = np.empty(volume.shape)
    last = np.array(volume.shape) - 1
    middle = last / 2
    for place in np.ndindex(volume.shape):
        wanted = middle + matrix @ (np.array(place) - middle) - translation
        inside = np.minimum(np.maximum(wanted, 0), last)
        if (abs(wanted - inside) > margin).any():
            out[place] = pad
            continue
        low = np.floor(inside).astype(int)
        high = np.minimum(low + 1, last)
        (a, b, c), values = inside - low, volume[np.ix_(*zip(low, high, strict=True))]
        lines = values[:, :, 0] * (1 - c) + values[:, :, 1] * c
        points = lines[:, 0] * (1 - b) + lines[:, 1] * b
        out[place] = points[0] * (1 - a) + points[1] * a
    return out


@pytest.mark.parametrize(("mode", "margin", "pad"), [("clamp", np.inf, 0.0), ("padding", 1e-6, 0.25)])
@pytest.mark.parametrize("seed", range(4))
def test_affine_is_the_formula(mode: str, margin: float, pad: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    matrix, translation = np.eye(3) + rng.normal(0, 0.3, (3, 3)), rng.normal(0, 1.5, 3)
    wanted = by_the_formula(VOLUME, matrix, translation, margin, pad)
    np.testing.assert_allclose(AffineTransform3D(matrix, translation, mode, pad)(VOLUME), wanted, atol=1e-6)


@pytest.mark.parametrize(("mode", "ours"), [("nearest", ("clamp", 0.0)), ("constant", ("padding", 0.5))])
def test_affine_is_scipys(mode: str, ours: tuple[str, float]) -> None:
    ndimage = pytest.importorskip("scipy.ndimage", reason="a second opinion, not a dependency")
    matrix, translation = np.array([[0.9, 0.3, 0], [-0.2, 1.1, 0.1], [0, 0.4, 0.8]]), np.array([0.3, -1.2, 0.7])
    middle = (np.array(VOLUME.shape) - 1) / 2
    offset = middle - matrix @ middle - translation
    wanted = ndimage.affine_transform(VOLUME, matrix, offset, order=1, mode=mode, cval=ours[1])
    np.testing.assert_allclose(AffineTransform3D(matrix, translation, *ours)(VOLUME), wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("angles", "axes"),
    [((0, 0, QUARTER), (1, 2)), ((QUARTER, 0, 0), (0, 2)), ((0, QUARTER, 0), (0, 1))],
    ids=["roll, about depth", "yaw, about height", "pitch, about width"],
)
def test_a_quarter_turn_moves_whole_voxels(angles: tuple, axes: tuple[int, int]) -> None:
    cube = np.random.default_rng(0).random((5, 5, 5), np.float32)
    turned = Rotate3D(angles)(cube)
    assert any(np.allclose(turned, np.rot90(cube, times, axes), atol=1e-5) for times in (1, -1))
    np.testing.assert_allclose(Rotate3D([-angle for angle in angles])(turned), cube, atol=1e-5)


def test_rotation_is_yaw_after_pitch_after_roll() -> None:
    both = rotation(0.3, 0, 0) @ rotation(0, 0.2, 0) @ rotation(0, 0, 0.1)
    np.testing.assert_allclose(rotation(0.3, 0.2, 0.1), both, atol=1e-15)
    np.testing.assert_allclose(both @ both.T, np.eye(3), atol=1e-15)


def test_rotation_fills_what_comes_from_outside_with_zeros() -> None:
    turned = Rotate3D([0, 0, math.pi / 4])(np.ones((1, 9, 9)))[0]
    assert turned[0, 0] == 0
    assert turned[4, 4] == 1
    np.testing.assert_allclose(turned, by_the_formula(np.ones((1, 9, 9)), rotation(0, 0, math.pi / 4), 0, 0.5, 0)[0])


def test_channels_are_transformed_alike() -> None:
    both = np.stack([VOLUME, 2 * VOLUME], axis=-1)
    turned = Rotate3D([0.1, 0.2, 0.3])(both)
    np.testing.assert_allclose(turned[..., 0], Rotate3D([0.1, 0.2, 0.3])(VOLUME))
    np.testing.assert_allclose(turned[..., 1], 2 * turned[..., 0], rtol=1e-6)


def test_crops() -> None:
    assert np.array_equal(Crop3D([1, 2, 3], [2, 3, 4])(VOLUME), VOLUME[1:3, 2:5, 3:7])
    assert np.array_equal(CenterCrop3D(3, 3, 3)(VOLUME), VOLUME[1:4, 1:4, 2:5])
    places = {RandomCrop3D(5, 5, 1)(VOLUME, np.random.default_rng(seed))[0, 0, 0] for seed in range(200)}
    assert places == set(VOLUME[0, :2].ravel())


@given(st.lists(st.floats(-20, 20), min_size=3, max_size=3))
@settings(deadline=None)
def test_a_linear_ramp_is_interpolated_exactly(place: list[float]) -> None:
    depth, height, width = np.indices((4, 5, 6))
    inside = np.clip(place, 0, [3, 4, 5])
    found = interpolate(depth + 10.0 * height - 3 * width, np.array([place]))[0]
    assert found == pytest.approx(inside[0] + 10 * inside[1] - 3 * inside[2])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Crop3D([1, 2], [1, 1, 1]), "start must be three integers (depth, height, width). Received: [1, 2]."),
        (lambda: Crop3D([-1, 0, 0], [1, 1, 1]), "start must be an integer >= 0. Received: -1."),
        (lambda: Crop3D([0, 0, 0], [1, 1, 0.5]), "patch_size must be an integer >= 1. Received: 0.5."),
        (lambda: CenterCrop3D(1, 0, 1), "crop_height must be an integer >= 1. Received: 0."),
        (lambda: RandomCrop3D(1, 1, True), "crop_width must be an integer >= 1. Received: True."),
        (lambda: Rotate3D([0, 1]), "rotation_angles must be finite numbers of shape (3,). Received: [0, 1]."),
        (lambda: Rotate3D([0, math.nan, 1]), "rotation_angles must be finite"),
        (lambda: AffineTransform3D(np.eye(2)), "affine_mat must be finite numbers of shape (3, 3)."),
        (lambda: AffineTransform3D("abc"), "affine_mat must be finite numbers of shape (3, 3). Received: 'abc'."),
        (lambda: AffineTransform3D(np.eye(3), [1]), "translation must be finite numbers of shape (3,)."),
        (lambda: AffineTransform3D(np.eye(3), clamp_mode="wrap"), "clamp_mode must be one of 'clamp', 'padding'."),
        (lambda: AffineTransform3D(np.eye(3), pad_val=1.0), "pad_val must be 0 with clamp_mode='clamp'"),
    ],
)
def test_bad_arguments(make: Any, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        make()
    assert message in str(caught.value)
