"""Transforms of volumes: parameters and sampling here, arithmetic in `featurelib.volume.functional`."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing, generator
from featurelib.errors import FeatureError
from featurelib.volume import functional as F
from kernels.errors import ArgumentError

__all__ = ["AffineTransform3D", "CenterCrop3D", "Crop3D", "RandomCrop3D", "Rotate3D", "VolumeTransform"]

_NEAR = 1e-6  # rounding must not push the border voxels of a mirrored or turned volume outside


class VolumeTransform(Preprocessing):
    """A transform of an array (depth, height, width[, channels]) of numbers; `FeatureError` for anything else.

    A subclass writes `apply_volume`, which gets the generator too, for what is random.

    >>> CenterCrop3D(1, 1, 2)([[[1, 2, 3, 4]]]).tolist()
    [[[2, 3]]]
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        return self.apply_volume(_volume(self, value), rng)

    @abstractmethod
    def apply_volume(self, volume: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        """The new volume."""


class Crop3D(VolumeTransform):
    """Cut out the part of `patch_size` that begins at `start` (Analytics Zoo's `Crop3D`).

    Both are (depth, height, width), `start` is counted from 0. Raises `FeatureError` for a volume that ends before.

    >>> Crop3D([0, 0, 1], [1, 1, 2])(np.arange(4).reshape(1, 1, 4)).ravel().tolist()
    [1, 2]
    """

    def __init__(self, start: Sequence[int], patch_size: Sequence[int]) -> None:
        _whole_three("start", start, 0)
        _whole_three("patch_size", patch_size, 1)
        self.start = start
        self.patch_size = patch_size

    def apply_volume(self, volume: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        _check_covers(self, volume, np.add(self.start, self.patch_size))
        return F.crop(volume, self.start, self.patch_size)


class CenterCrop3D(VolumeTransform):
    """Cut the middle out of a volume (Analytics Zoo's `CenterCrop3D`); `FeatureError` for a smaller one.

    >>> CenterCrop3D(1, 1, 2)(np.arange(4).reshape(1, 1, 4)).ravel().tolist()
    [1, 2]
    """

    def __init__(self, crop_depth: int, crop_height: int, crop_width: int) -> None:
        self.crop_depth, self.crop_height, self.crop_width = _crop_size(crop_depth, crop_height, crop_width)

    def apply_volume(self, volume: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        size = (self.crop_depth, self.crop_height, self.crop_width)
        _check_covers(self, volume, size)
        return F.crop(volume, [(n - m) // 2 for n, m in zip(volume.shape, size, strict=False)], size)


class RandomCrop3D(VolumeTransform):
    """Cut a part out of a volume at a random place (Analytics Zoo's `RandomCrop3D`); its middle when scoring.

    Raises `FeatureError` for a volume that is smaller.

    >>> RandomCrop3D(2, 2, 2)(np.zeros((8, 8, 8)), np.random.default_rng(1)).shape
    (2, 2, 2)
    """

    random = True

    def __init__(self, crop_depth: int, crop_height: int, crop_width: int) -> None:
        self.crop_depth, self.crop_height, self.crop_width = _crop_size(crop_depth, crop_height, crop_width)

    def apply_volume(self, volume: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        draw = generator(self, rng).random
        size = (self.crop_depth, self.crop_height, self.crop_width)
        _check_covers(self, volume, size)
        return F.crop(volume, [int(draw() * (n - m + 1)) for n, m in zip(volume.shape, size, strict=False)], size)

    def deterministic(self) -> Preprocessing:
        return CenterCrop3D(self.crop_depth, self.crop_height, self.crop_width)


class Rotate3D(VolumeTransform):
    """Turn a volume about its middle (Analytics Zoo's `Rotate3D`); float32 of the same size.

    `rotation_angles` are yaw, pitch and roll in radians: about the height, the width and the depth axis. A voxel takes
    the value, interpolated, of the place that Rz(yaw) Ry(pitch) Rx(roll) maps it to; beyond half a voxel outside it
    is 0.

    >>> Rotate3D([0, 0, np.pi / 2])(np.arange(4).reshape(1, 2, 2)).round().ravel().tolist()
    [1.0, 3.0, 0.0, 2.0]
    """

    def __init__(self, rotation_angles: Sequence[float]) -> None:
        _finite("rotation_angles", rotation_angles, (3,))
        self.rotation_angles = rotation_angles

    def apply_volume(self, volume: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        yaw, pitch, roll = (float(angle) for angle in self.rotation_angles)
        return F.affine(volume, F.rotation(yaw, pitch, roll), np.zeros(3), margin=0.5)


class AffineTransform3D(VolumeTransform):
    """Map a volume linearly about its middle (Analytics Zoo's `AffineTransform3D`); float32 of the same size.

    The voxel at p takes the value, interpolated, at c + affine_mat (p - c) - translation, with c the middle of the
    volume, all in the order (depth, height, width). Outside the volume that is its border ("clamp") or `pad_val`
    ("padding").

    >>> shift = AffineTransform3D(np.eye(3), [0, 0, 1], "padding", pad_val=-1.0)
    >>> shift(np.arange(3).reshape(1, 1, 3)).ravel().tolist()
    [-1.0, 0.0, 1.0]
    """

    def __init__(
        self,
        affine_mat: np.ndarray | Sequence[Sequence[float]],
        translation: np.ndarray | Sequence[float] = (0.0, 0.0, 0.0),
        clamp_mode: str = "clamp",
        pad_val: float = 0.0,
    ) -> None:
        _finite("affine_mat", affine_mat, (3, 3))
        _finite("translation", translation, (3,))
        _checks.one_of("clamp_mode", clamp_mode, ("clamp", "padding"))
        _checks.finite("pad_val", pad_val)
        if pad_val and clamp_mode == "clamp":
            raise ArgumentError(
                f"pad_val must be 0 with clamp_mode='clamp', which pads nothing. Received: {pad_val!r}."
            )
        self.affine_mat = affine_mat
        self.translation = translation
        self.clamp_mode = clamp_mode
        self.pad_val = pad_val

    def apply_volume(self, volume: np.ndarray, rng: np.random.Generator | None) -> np.ndarray:
        margin = np.inf if self.clamp_mode == "clamp" else _NEAR
        return F.affine(volume, np.asarray(self.affine_mat), np.asarray(self.translation), margin, self.pad_val)


def _volume(transform: Preprocessing, value: Any) -> np.ndarray:
    try:
        volume = np.asarray(value)
    except ValueError:
        volume = np.empty(0, object)  # nested lists of unequal lengths
    if volume.dtype.kind not in "biuf" or volume.ndim not in (3, 4) or not volume.size:
        received = f"{volume.dtype} {volume.shape}" if isinstance(value, np.ndarray) else type(value).__name__
        raise FeatureError(
            f"{type(transform).__name__} expects numbers (depth, height, width[, channels]). Received: {received}."
        )
    return volume


def _check_covers(transform: Preprocessing, volume: np.ndarray, end: Any) -> None:
    if any(n < m for n, m in zip(volume.shape, end, strict=False)):
        needed, received = ("x".join(map(str, size[:3])) for size in (list(end), volume.shape))
        raise FeatureError(
            f"{type(transform).__name__} expects a volume of at least {needed} voxels (depth x height x width), "
            f"received {received}."
        )


def _crop_size(depth: int, height: int, width: int) -> tuple[int, int, int]:
    for name, size in (("crop_depth", depth), ("crop_height", height), ("crop_width", width)):
        _checks.whole(name, size, 1)
    return depth, height, width


def _whole_three(name: str, values: Any, low: int) -> None:
    if not isinstance(values, (list, tuple, np.ndarray)) or len(values) != 3:
        raise ArgumentError(f"{name} must be three integers (depth, height, width). Received: {values!r}.")
    for value in values:
        _checks.whole(name, value, low)


def _finite(name: str, values: Any, shape: tuple[int, ...]) -> None:
    try:
        array = np.asarray(values, float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != shape or not np.isfinite(array).all():
        raise ArgumentError(f"{name} must be finite numbers of shape {shape}. Received: {values!r}.")
