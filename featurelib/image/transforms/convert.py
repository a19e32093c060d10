"""Into pictures (from files' bytes, from Spark's image rows) and out of them (to tensors)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing, Streams, stack
from featurelib.errors import DecodeError, FeatureError
from featurelib.image import functional as F
from featurelib.image.feature import ImageFeature, as_feature
from featurelib.image.rows import MODES
from featurelib.image.transforms.base import mat_of, mats_of

__all__ = [
    "ImageBytesToMat",
    "ImageFeatureToTensor",
    "ImageMatToTensor",
    "ImagePixelBytesToMat",
    "MatToFloats",
    "MatToTensor",
    "RowToImageFeature",
]


class ImageBytesToMat(Preprocessing):
    """Decode an image file's bytes into a picture (Analytics Zoo's `ImageBytesToMat`).

    Takes bytes, or an `ImageFeature` with them under `byte_key`; returns an `ImageFeature` with ``mat`` and
    ``originalSize`` and without the bytes. `image_codec` as in OpenCV: < 0 as stored, 0 grey, > 0 three channels.
    EXIF orientation is honoured in all cases. Raises `DecodeError` for empty, truncated, unknown or damaged data and
    above `max_pixels` pixels.

    >>> from featurelib.image.functional import encode_png
    >>> ImageBytesToMat(image_codec=1)(encode_png(np.zeros((2, 3), np.uint8)))
    ImageFeature(mat=uint8(2, 3, 3), originalSize=(2, 3, 3))
    """

    def __init__(self, byte_key: str = "bytes", image_codec: int = -1, max_pixels: int = F.MAX_PIXELS) -> None:
        _checks.whole("image_codec", image_codec, -(1 << 31))
        _checks.whole("max_pixels", max_pixels, 1)
        self.byte_key = byte_key
        self.image_codec = image_codec
        self.max_pixels = max_pixels

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        if isinstance(value, ImageFeature):
            data, feature = value.get(self.byte_key), value
        else:
            data, feature = value, None
        if not isinstance(data, (bytes, bytearray, memoryview)):
            received = "null" if data is None else type(data).__name__
            raise DecodeError(f"ImageBytesToMat expects an image file's bytes. Received: {received}.")
        mat = F.decode(bytes(data), self.image_codec, self.max_pixels)
        if feature is None:
            return ImageFeature(mat)
        decoded = feature.replace(mat=mat, originalSize=mat.shape)
        del decoded[self.byte_key]
        return decoded


class ImagePixelBytesToMat(Preprocessing):
    """Pixels as raw bytes into a picture (Analytics Zoo's `ImagePixelBytesToMat`).

    Takes an `ImageFeature` with uint8 pixels under `byte_key`, row by row, B, G, R, and their (height, width, channels)
    under ``originalSize``; returns it with ``mat`` and without the bytes. Raises `FeatureError` where one is missing or
    they do not fit.

    >>> record = ImageFeature(bytes([1, 2, 3, 4])).replace(originalSize=(2, 2, 1))
    >>> ImagePixelBytesToMat()(record)["mat"].ravel().tolist()
    [1, 2, 3, 4]
    """

    def __init__(self, byte_key: str = "bytes") -> None:
        self.byte_key = byte_key

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        feature = as_feature(value)
        data, size = feature.get(self.byte_key), feature.get("originalSize")
        if not isinstance(data, (bytes, bytearray, memoryview)) or not isinstance(size, (list, tuple)):
            raise FeatureError(
                f"ImagePixelBytesToMat expects bytes under {self.byte_key!r} and their size under 'originalSize'. "
                f"Received: {sorted(feature)}. Hint: ImageBytesToMat() decodes files."
            )
        pixels = np.frombuffer(data, np.uint8)
        if len(size) != 3 or min(size) < 1 or pixels.size != math.prod(size):
            raise FeatureError(
                f"ImagePixelBytesToMat expects a byte for each number of {tuple(size)}. Received: {pixels.size} bytes."
            )
        decoded = feature.replace(mat=pixels.reshape(size))
        del decoded[self.byte_key]
        return decoded


class RowToImageFeature(Preprocessing):
    """A row of Spark's image schema to an `ImageFeature` (Analytics Zoo's `RowToImageFeature`).

    Takes a dict, a Spark `Row` or anything else with the fields origin, height, width, nChannels, mode and data: pixels
    in row order, B, G, R; bytes, or a list of numbers. `mode` is OpenCV's type number: 1 to 4 channels of uint8, uint16
    or float32. Raises `DecodeError` for a row that marks an unreadable file, `FeatureError` for missing fields, an
    unknown mode or a length that does not fit.

    >>> row = {"origin": "a.png", "height": 1, "width": 2, "nChannels": 1, "mode": 0, "data": bytes([7, 8])}
    >>> RowToImageFeature()(row)
    ImageFeature(mat=uint8(1, 2, 1), originalSize=(1, 2, 1), uri='a.png')
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        try:
            origin, height, width, channels, mode, data = (
                value[name] for name in ("origin", "height", "width", "nChannels", "mode", "data")
            )
        except (TypeError, KeyError, IndexError, ValueError):
            received = "null" if value is None else type(value).__name__
            raise FeatureError(
                "RowToImageFeature expects a row with origin, height, width, nChannels, mode and data. "
                f"Received: {received}."
            ) from None
        if data is None or (mode not in MODES and not len(data)):
            raise DecodeError(f"image {origin!r} could not be read when the row was made.")
        if mode not in MODES:
            raise FeatureError(f"image mode must be one of {', '.join(map(str, MODES))}. Received: {mode!r}.")
        dtype, mode_channels = MODES[mode]
        pixels = _pixels(data, dtype)
        expected = height * width * channels
        if channels != mode_channels or pixels.size != expected or expected < 1:
            raise FeatureError(
                f"image {origin!r} of mode {mode} expects height*width*{mode_channels} = {expected} values for "
                f"{height}x{width}x{channels}. Received: {pixels.size}."
            )
        return ImageFeature(pixels.reshape(height, width, channels), path=origin)


def _pixels(data: Any, dtype: np.dtype) -> np.ndarray:
    """The numbers in bytes or in a list; bytes that end within a number give none."""
    if not isinstance(data, (bytes, bytearray, memoryview)):
        return np.asarray(data, dtype)
    return np.frombuffer(data, dtype) if data and len(data) % dtype.itemsize == 0 else np.empty(0, dtype)


class ImageMatToTensor(Preprocessing):
    """The picture as a float32 tensor under `tensor_key` (Analytics Zoo's `ImageMatToTensor`).

    `format` is "NCHW": (channels, height, width), or "NHWC". `to_RGB` turns the order B, G, R into R, G, B. With
    `share_buffer` the tensor uses the picture's own memory where that already has the tensor's form. Values are
    unchanged. Raises `FeatureError` where there is no picture.

    >>> ImageMatToTensor()(np.zeros((4, 5, 3), np.uint8))["imageTensor"].shape
    (3, 4, 5)
    """

    def __init__(
        self, to_RGB: bool = False, tensor_key: str = "imageTensor", share_buffer: bool = True, format: str = "NCHW"
    ) -> None:
        _checks.one_of("format", format, ("NCHW", "NHWC"))
        self.to_RGB = to_RGB
        self.tensor_key = tensor_key
        self.share_buffer = share_buffer
        self.format = format

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        feature = as_feature(value)
        mat = mat_of(self, feature)
        tensor = F.to_tensor(mat, self.to_RGB)
        if self.format == "NHWC":
            tensor = np.ascontiguousarray(tensor.transpose(1, 2, 0))
        if not self.share_buffer and np.shares_memory(tensor, mat):
            tensor = tensor.copy()
        return feature.replace(**{self.tensor_key: tensor})

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> list[ImageFeature]:
        """As `apply`; pictures of one size get their tensors in one array, so that stacking them copies nothing."""
        features, mats = mats_of(self, values)
        ready = all(mat.dtype == np.float32 and mat.transpose(2, 0, 1).flags.c_contiguous for mat in mats)
        uneven = len({mat.shape for mat in mats}) != 1
        if uneven or self.format == "NHWC" or (ready and self.share_buffer and not self.to_RGB):
            return [self.apply(feature) for feature in features]
        height, width, channels = mats[0].shape
        block = np.empty((len(mats), channels, height, width), np.float32)
        for mat, out in zip(mats, block, strict=True):
            F.to_tensor(mat, self.to_RGB, out)
        return [feature.replace(**{self.tensor_key: tensor}) for feature, tensor in zip(features, block, strict=True)]


class MatToTensor(Preprocessing):
    """`ImageMatToTensor` under BigDL's name and with its arguments.

    >>> MatToTensor(to_rgb=True)(np.array([[[1, 2, 3]]], np.uint8))["imageTensor"].ravel().tolist()
    [3.0, 2.0, 1.0]
    """

    def __init__(self, to_rgb: bool = False, tensor_key: str = "imageTensor") -> None:
        self.to_rgb = to_rgb
        self.tensor_key = tensor_key

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        return ImageMatToTensor(self.to_rgb, self.tensor_key).apply(value)

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> list[ImageFeature]:
        """As `apply`; pictures of one size get their tensors in one array."""
        return ImageMatToTensor(self.to_rgb, self.tensor_key).batch(values)


class MatToFloats(Preprocessing):
    """The picture as float32 (channels, height, width) under `out_key`, values unchanged (BigDL's `MatToFloats`).

    `valid_height`, `valid_width` and `valid_channel` are BigDL's arguments, for pictures that could not be read; here
    those are errors. `share_buffer` is that of `ImageMatToTensor`.

    >>> MatToFloats()(np.zeros((4, 5, 3), np.uint8))["floats"].shape
    (3, 4, 5)
    """

    def __init__(
        self,
        valid_height: int = 300,
        valid_width: int = 300,
        valid_channel: int = 300,
        out_key: str = "floats",
        share_buffer: bool = True,
    ) -> None:
        self.valid_height = valid_height
        self.valid_width = valid_width
        self.valid_channel = valid_channel
        self.out_key = out_key
        self.share_buffer = share_buffer

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> ImageFeature:
        return ImageMatToTensor(tensor_key=self.out_key, share_buffer=self.share_buffer).apply(value)

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> list[ImageFeature]:
        """As `apply`; pictures of one size get their floats in one array."""
        return ImageMatToTensor(tensor_key=self.out_key, share_buffer=self.share_buffer).batch(values)


class ImageFeatureToTensor(Preprocessing):
    """The tensor that `ImageMatToTensor` left in the record (Analytics Zoo's `ImageFeatureToTensor`).

    Takes an `ImageFeature` with ``imageTensor``; returns float32 (channels, height, width). `batch` returns one array
    (n, channels, height, width), or a list where sizes differ. Raises `FeatureError` where there is no tensor.

    >>> ImageFeatureToTensor()(ImageMatToTensor()(np.zeros((4, 5), np.uint8))).shape
    (1, 4, 5)
    """

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> np.ndarray:
        tensor = value.get("imageTensor") if isinstance(value, ImageFeature) else None
        if tensor is None:
            received = sorted(value) if isinstance(value, ImageFeature) else type(value).__name__
            raise FeatureError(
                f"ImageFeatureToTensor expects an ImageFeature with 'imageTensor'. Received: {received}. "
                "Hint: ImageMatToTensor() first."
            )
        return tensor

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> Any:
        tensors = super().batch(values, rngs)
        return stack(tensors) if len({tensor.shape for tensor in tensors}) == 1 else tensors
