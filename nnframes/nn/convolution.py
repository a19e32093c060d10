"""Convolutions over one, two and three spatial axes."""

from __future__ import annotations

import numpy as np

from kernels import ops
from kernels.graph import Value
from nnframes.errors import ArgumentError
from nnframes.nn.layer import Layer
from nnframes.nn.parameter import Parameter, positive, weight_and_bias
from nnframes.nn.regularizers import Regularizer
from nnframes.nn.trace import Trace
from nnframes.nn.window import Window, channels_first, check_format, in_format

__all__ = ["SpatialConvolution", "SpatialDilatedConvolution", "TemporalConvolution", "VolumetricConvolution"]


def _convolve(t: Trace, x: Value, window: Window, weight: Parameter, bias: Parameter | None, groups: int = 1) -> Value:
    return ops.convolution(
        x,
        t(weight),
        t(bias) if bias else None,
        strides=window.strides,
        padding=window.padding(x.shape[2:]),
        dilation=window.dilation,
        groups=groups,
    )


def _check_groups(owner: Layer, inputs: int, outputs: int, groups: int) -> None:
    positive(owner, n_input_plane=inputs, n_output_plane=outputs, n_group=groups)
    if inputs % groups or outputs % groups:
        raise ArgumentError(
            f"{type(owner).__name__} n_group must divide both numbers of planes. "
            f"Received: n_group={groups} for {inputs} -> {outputs} planes."
        )


class SpatialConvolution(Layer):
    """Two-dimensional convolution (cross-correlation) with zero padding, in `n_group` independent groups of channels.

    From (batch, n_input_plane, height, width) to (batch, n_output_plane, height', width'), or channels last with
    `data_format="NHWC"`; height' = (height + 2 pad_h - kernel_h) // stride_h + 1, with padding -1 ("same")
    ceil(height / stride_h). Widths stand before heights, as in BigDL. The weight is (out, in / n_group, kernel_h,
    kernel_w). `propagate_back` is accepted and needs no telling here: gradients that nobody uses are not computed.

    >>> SpatialConvolution(1, 6, 5, 5).output_shape((32, 1, 28, 28))
    (32, 6, 24, 24)
    """

    def __init__(
        self,
        n_input_plane: int,
        n_output_plane: int,
        kernel_w: int,
        kernel_h: int,
        stride_w: int = 1,
        stride_h: int = 1,
        pad_w: int = 0,
        pad_h: int = 0,
        n_group: int = 1,
        propagate_back: bool = True,
        wRegularizer: Regularizer | None = None,
        bRegularizer: Regularizer | None = None,
        init_weight: np.ndarray | None = None,
        init_bias: np.ndarray | None = None,
        with_bias: bool = True,
        data_format: str = "NCHW",
    ) -> None:
        _check_groups(self, n_input_plane, n_output_plane, n_group)
        self.n_input_plane = n_input_plane
        self.n_output_plane = n_output_plane
        self.kernel_w = kernel_w
        self.kernel_h = kernel_h
        self.stride_w = stride_w
        self.stride_h = stride_h
        self.pad_w = pad_w
        self.pad_h = pad_h
        self.n_group = n_group
        self.propagate_back = propagate_back
        self.wRegularizer = wRegularizer
        self.bRegularizer = bRegularizer
        self.init_weight = init_weight
        self.init_bias = init_bias
        self.with_bias = with_bias
        self.data_format = check_format(self, data_format)
        kernel, given = (kernel_h, kernel_w), (init_weight, init_bias)
        self._window = Window("SpatialConvolution", kernel, (stride_h, stride_w), (pad_h, pad_w))
        shape = (n_output_plane, n_input_plane // n_group, *kernel)
        self.weight, self.bias = weight_and_bias(shape, with_bias, (wRegularizer, bRegularizer), given)

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 2, self.n_input_plane, self.data_format)
        return in_format(_convolve(t, x, self._window, self.weight, self.bias, self.n_group), self.data_format)


class SpatialDilatedConvolution(Layer):
    """Two-dimensional convolution whose kernel is spread: `dilation` - 1 numbers are skipped between its elements.

    From (batch, n_input_plane, height, width) to (batch, n_output_plane, height', width') with height' = (height +
    2 pad_h - dilation_h (kh - 1) - 1) // dh + 1; padding -1 is "same". The weight is (out, in, kh, kw).

    >>> SpatialDilatedConvolution(3, 8, 3, 3, dilation_w=2, dilation_h=2).output_shape((2, 3, 9, 9))
    (2, 8, 5, 5)
    """

    def __init__(
        self,
        n_input_plane: int,
        n_output_plane: int,
        kw: int,
        kh: int,
        dw: int = 1,
        dh: int = 1,
        pad_w: int = 0,
        pad_h: int = 0,
        dilation_w: int = 1,
        dilation_h: int = 1,
        wRegularizer: Regularizer | None = None,
        bRegularizer: Regularizer | None = None,
    ) -> None:
        positive(self, n_input_plane=n_input_plane, n_output_plane=n_output_plane)
        self.n_input_plane = n_input_plane
        self.n_output_plane = n_output_plane
        self.kw = kw
        self.kh = kh
        self.dw = dw
        self.dh = dh
        self.pad_w = pad_w
        self.pad_h = pad_h
        self.dilation_w = dilation_w
        self.dilation_h = dilation_h
        self.wRegularizer = wRegularizer
        self.bRegularizer = bRegularizer
        self._window = Window("SpatialDilatedConvolution", (kh, kw), (dh, dw), (pad_h, pad_w), (dilation_h, dilation_w))
        self.weight, self.bias = weight_and_bias(
            (n_output_plane, n_input_plane, kh, kw), True, (wRegularizer, bRegularizer)
        )

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 2, self.n_input_plane)
        return _convolve(t, x, self._window, self.weight, self.bias)


class TemporalConvolution(Layer):
    """One-dimensional convolution over time: (batch, time, input_frame_size) to (batch, time', output_frame_size).

    time' = (time - kernel_w) // stride_w + 1. The weight is (output_frame_size, input_frame_size, kernel_w).

    >>> TemporalConvolution(50, 100, 5).output_shape((32, 20, 50))
    (32, 16, 100)
    """

    def __init__(
        self,
        input_frame_size: int,
        output_frame_size: int,
        kernel_w: int,
        stride_w: int = 1,
        propagate_back: bool = True,
        weight_regularizer: Regularizer | None = None,
        bias_regularizer: Regularizer | None = None,
        init_weight: np.ndarray | None = None,
        init_bias: np.ndarray | None = None,
    ) -> None:
        positive(self, input_frame_size=input_frame_size, output_frame_size=output_frame_size)
        self.input_frame_size = input_frame_size
        self.output_frame_size = output_frame_size
        self.kernel_w = kernel_w
        self.stride_w = stride_w
        self.propagate_back = propagate_back
        self.weight_regularizer = weight_regularizer
        self.bias_regularizer = bias_regularizer
        self.init_weight = init_weight
        self.init_bias = init_bias
        self._window = Window("TemporalConvolution", (kernel_w,), (stride_w,), (0,))
        self.weight, self.bias = weight_and_bias(
            (output_frame_size, input_frame_size, kernel_w),
            True,
            (weight_regularizer, bias_regularizer),
            (init_weight, init_bias),
        )

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 1, self.input_frame_size, "NHWC")
        return in_format(_convolve(t, x, self._window, self.weight, self.bias), "NHWC")


class VolumetricConvolution(Layer):
    """Three-dimensional convolution: (batch, n_input_plane, depth, height, width) to (batch, n_output_plane, ...).

    The depth (time) numbers `k_t`, `d_t`, `pad_t` come first, then width, then height; padding -1 is "same". The weight
    is (out, in, k_t, k_h, k_w).

    >>> VolumetricConvolution(1, 8, 3, 3, 3).output_shape((2, 1, 6, 7, 8))
    (2, 8, 4, 5, 6)
    """

    def __init__(
        self,
        n_input_plane: int,
        n_output_plane: int,
        k_t: int,
        k_w: int,
        k_h: int,
        d_t: int = 1,
        d_w: int = 1,
        d_h: int = 1,
        pad_t: int = 0,
        pad_w: int = 0,
        pad_h: int = 0,
        with_bias: bool = True,
        wRegularizer: Regularizer | None = None,
        bRegularizer: Regularizer | None = None,
    ) -> None:
        positive(self, n_input_plane=n_input_plane, n_output_plane=n_output_plane)
        self.n_input_plane = n_input_plane
        self.n_output_plane = n_output_plane
        self.k_t = k_t
        self.k_w = k_w
        self.k_h = k_h
        self.d_t = d_t
        self.d_w = d_w
        self.d_h = d_h
        self.pad_t = pad_t
        self.pad_w = pad_w
        self.pad_h = pad_h
        self.with_bias = with_bias
        self.wRegularizer = wRegularizer
        self.bRegularizer = bRegularizer
        self._window = Window("VolumetricConvolution", (k_t, k_h, k_w), (d_t, d_h, d_w), (pad_t, pad_h, pad_w))
        self.weight, self.bias = weight_and_bias(
            (n_output_plane, n_input_plane, k_t, k_h, k_w), with_bias, (wRegularizer, bRegularizer)
        )

    def call(self, t: Trace, x: Value) -> Value:
        x = channels_first(t, x, 3, self.n_input_plane)
        return _convolve(t, x, self._window, self.weight, self.bias)
