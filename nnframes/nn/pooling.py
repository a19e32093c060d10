"""Poolings over one, two and three spatial axes."""

from __future__ import annotations

import math

import numpy as np

from kernels import ops
from kernels.graph import Value
from nnframes.nn.layer import Layer
from nnframes.nn.trace import Trace
from nnframes.nn.window import Window, channels_first, check_format, in_format

__all__ = [
    "SpatialAveragePooling",
    "SpatialMaxPooling",
    "TemporalMaxPooling",
    "VolumetricAveragePooling",
    "VolumetricMaxPooling",
]


def _max_pool(x: Value, window: Window, ceil: bool = False) -> Value:
    padding = window.padding(x.shape[2:], ceil)
    return ops.max_pool(x, kernel=window.kernel, strides=window.strides, padding=padding)


def _avg_pool(x: Value, window: Window, ceil: bool, include_padding: bool) -> Value:
    padding = window.padding(x.shape[2:], ceil)
    return ops.avg_pool(
        x, kernel=window.kernel, strides=window.strides, padding=padding, include_padding=include_padding
    )


def _without_overhang(y: Value, spatial: tuple[int, ...], window: Window) -> Value:
    """Averages of ceil mode as BigDL and PyTorch count: the op counts what hangs over the padding, they do not."""
    factor = np.ones(1)
    for axis, (low, high) in enumerate(window.padding(spatial)):
        starts = np.arange(y.shape[2 + axis]) * window.strides[axis]
        kernel = window.kernel[axis]
        counted = np.minimum(kernel, low + spatial[axis] + high - starts)
        factor = np.multiply.outer(factor, kernel / counted)
    return y if (factor == 1).all() else ops.multiply(y, y.graph.constant(factor[None].astype(np.float32)))


class SpatialMaxPooling(Layer):
    """The largest number under each window of kw x kh, moved by dw, dh: (batch, channels, height, width) in and out.

    Sizes are rounded down, with `to_ceil` (or after `ceil()`) up; padding never wins, and padding -1 is "same".

    >>> SpatialMaxPooling(2, 2, 2, 2).output_shape((32, 6, 24, 24))
    (32, 6, 12, 12)
    >>> SpatialMaxPooling(3, 3, 2, 2).ceil().output_shape((32, 64, 112, 112))
    (32, 64, 56, 56)
    """

    def __init__(
        self,
        kw: int,
        kh: int,
        dw: int,
        dh: int,
        pad_w: int = 0,
        pad_h: int = 0,
        to_ceil: bool = False,
        format: str = "NCHW",
    ) -> None:
        self.kw = kw
        self.kh = kh
        self.dw = dw
        self.dh = dh
        self.pad_w = pad_w
        self.pad_h = pad_h
        self.to_ceil = to_ceil
        self.format = check_format(self, format)
        self._window = Window("SpatialMaxPooling", (kh, kw), (dh, dw), (pad_h, pad_w))

    def ceil(self) -> SpatialMaxPooling:
        """Round output sizes up from now on."""
        self.to_ceil = True
        return self.changed()

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 2, data_format=self.format)
        return in_format(_max_pool(x, self._window, self.to_ceil), self.format)


class SpatialAveragePooling(Layer):
    """The mean under each window of kw x kh, moved by dw, dh: (batch, channels, height, width) in and out.

    `global_pooling` takes the whole image, whatever kw and kh say; `count_include_pad` lets padding count as zeros;
    `divide=False` gives sums; padding -1 is "same".

    >>> SpatialAveragePooling(7, 7).output_shape((32, 1024, 7, 7))
    (32, 1024, 1, 1)
    """

    def __init__(
        self,
        kw: int,
        kh: int,
        dw: int = 1,
        dh: int = 1,
        pad_w: int = 0,
        pad_h: int = 0,
        global_pooling: bool = False,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divide: bool = True,
        format: str = "NCHW",
    ) -> None:
        self.kw = kw
        self.kh = kh
        self.dw = dw
        self.dh = dh
        self.pad_w = pad_w
        self.pad_h = pad_h
        self.global_pooling = global_pooling
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divide = divide
        self.format = check_format(self, format)
        kernel = (1, 1) if global_pooling else (kh, kw)
        self._window = Window("SpatialAveragePooling", kernel, (dh, dw), (pad_h, pad_w))

    def ceil(self) -> SpatialAveragePooling:
        """Round output sizes up from now on."""
        self.ceil_mode = True
        return self.changed()

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 2, data_format=self.format)
        window = self._window
        if self.global_pooling:
            window = Window(window.owner, x.shape[2:], (1, 1), (0, 0))
        # A sum is the mean with padding counted, times the size of the window.
        y = _avg_pool(x, window, self.ceil_mode, self.count_include_pad or not self.divide)
        if not self.divide:
            y = ops.affine(y, math.prod(window.kernel))
        elif self.count_include_pad:
            y = _without_overhang(y, x.shape[2:], window)
        return in_format(y, self.format)


class TemporalMaxPooling(Layer):
    """The largest number under each window of `k_w` frames: (batch, time, features) to (batch, time', features).

    The window moves by `d_w` frames, -1 for `k_w`.

    >>> TemporalMaxPooling(4).output_shape((32, 20, 50))
    (32, 5, 50)
    """

    def __init__(self, k_w: int, d_w: int = -1) -> None:
        self.k_w = k_w
        self.d_w = d_w
        self._window = Window("TemporalMaxPooling", (k_w,), (k_w if d_w == -1 else d_w,), (0,))

    def call(self, t: Trace, x: Value) -> Value:
        return in_format(_max_pool(channels_first(t, x, 1, data_format="NHWC"), self._window), "NHWC")


class VolumetricMaxPooling(Layer):
    """The largest number under each window of k_t x k_h x k_w: (batch, channels, depth, height, width) in and out.

    >>> VolumetricMaxPooling(2, 2, 2, 2, 2, 2).output_shape((2, 3, 8, 8, 8))
    (2, 3, 4, 4, 4)
    """

    def __init__(
        self,
        k_t: int,
        k_w: int,
        k_h: int,
        d_t: int,
        d_w: int,
        d_h: int,
        pad_t: int = 0,
        pad_w: int = 0,
        pad_h: int = 0,
    ) -> None:
        self.k_t = k_t
        self.k_w = k_w
        self.k_h = k_h
        self.d_t = d_t
        self.d_w = d_w
        self.d_h = d_h
        self.pad_t = pad_t
        self.pad_w = pad_w
        self.pad_h = pad_h
        self._window = Window("VolumetricMaxPooling", (k_t, k_h, k_w), (d_t, d_h, d_w), (pad_t, pad_h, pad_w))

    def call(self, t: Trace, x: Value) -> Value:
        return _max_pool(channels_first(t, x, 3), self._window)


class VolumetricAveragePooling(Layer):
    """The mean under each window of k_t x k_h x k_w: (batch, channels, depth, height, width) in and out.

    >>> VolumetricAveragePooling(2, 2, 2, 2, 2, 2).output_shape((2, 3, 8, 8, 8))
    (2, 3, 4, 4, 4)
    """

    def __init__(
        self,
        k_t: int,
        k_w: int,
        k_h: int,
        d_t: int,
        d_w: int,
        d_h: int,
        pad_t: int = 0,
        pad_w: int = 0,
        pad_h: int = 0,
        count_include_pad: bool = True,
        ceil_mode: bool = False,
    ) -> None:
        self.k_t = k_t
        self.k_w = k_w
        self.k_h = k_h
        self.d_t = d_t
        self.d_w = d_w
        self.d_h = d_h
        self.pad_t = pad_t
        self.pad_w = pad_w
        self.pad_h = pad_h
        self.count_include_pad = count_include_pad
        self.ceil_mode = ceil_mode
        self._window = Window("VolumetricAveragePooling", (k_t, k_h, k_w), (d_t, d_h, d_w), (pad_t, pad_h, pad_w))

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 3)
        y = _avg_pool(x, self._window, self.ceil_mode, self.count_include_pad)
        return _without_overhang(y, x.shape[2:], self._window) if self.count_include_pad else y
