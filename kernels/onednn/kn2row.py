"""3x3 convolutions of pictures of 2x2 pixels by accumulated products of matrices, one for each place of the kernel.

    y[p] = sum over the places k of w[k] x[p + k]      for all pixels p, where p + k is in the picture

Vasudevan, Anderson and Gregg, 2017, https://arxiv.org/abs/1704.04428. With channels last, a pixel of all pictures is a
matrix as it lies. Of the 36 multiplications that a plain sum has for two channels 20 are with the border; the products
have none of these.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.graph import Node, Value
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Activation, channels_last, plain, strided
from kernels.onednn.elementwise import activation_of
from kernels.onednn.linear import product

KERNEL, SIDE = 3, 2
PIXELS = SIDE**2

CHANNELS, IMAGES, WORK = 32, 16, 1 << 19
"""Least channels on either side, pictures, and their product: with less, calls and kernels read anew cost more than the
border does; measured with one thread and two."""


@dataclass(frozen=True)
class _Place:
    """A place of the kernel: the results from pixel `result` on, `step` apart, see the pixels from `seen` on."""

    number: int
    count: int
    step: int
    result: int
    seen: int

    def turned(self) -> _Place:
        """The same for gradients, which go from results to pixels."""
        return _Place(self.number, self.count, self.step, self.seen, self.result)


def _place(number: int) -> _Place:
    down, across = number // KERNEL - 1, number % KERNEL - 1
    result = SIDE * max(0, -down) + max(0, -across)
    count = (SIDE - abs(down)) * (SIDE - abs(across))
    return _Place(number, count, SIDE if across else 1, result, result + SIDE * down + across)


PLACES = sorted((_place(number) for number in range(KERNEL**2)), key=lambda place: -place.count)
"""The middle, where each result sees itself, first; the corners, where each sees its opposite, last."""


def suits(x: Sequence[int], w: Sequence[int]) -> bool:
    """Whether this is faster than the plain sum for a 3x3 convolution of stride 1 with a border of one pixel."""
    images, outputs, inputs = x[0], *w[:2]
    large = min(inputs, outputs) >= CHANNELS and images >= IMAGES and images * inputs * outputs >= WORK
    return tuple(x[2:]) == (SIDE, SIDE) and large


def convolution(c: Compiler, node: Node) -> None:
    """y = activation(x * w + b)."""
    x, w, *bias = node.inputs
    result, activation = c.activation_after(node, activation_of)
    row = c.plain(bias[0]).seen(plain((1, 1, w.shape[0]))) if bias else None
    _convolve(c, x, _kernels(c, w, [2, 1, 0]), result, PLACES, row, activation)


def backward_data(c: Compiler, node: Node) -> None:
    """Gradient of the input: pixels get it from the results that saw them."""
    dy, w = node.inputs
    _convolve(c, dy, _kernels(c, w, [2, 0, 1]), node.outputs[0], [place.turned() for place in PLACES])


def backward_weights(c: Compiler, node: Node) -> None:
    """Gradients of the weights, at each place the sum of dy[p] x[p + k] over pixels and pictures, and of the bias."""
    x, dy = node.inputs
    dw, *db = node.outputs
    source, gradient = c.want(x, channels_last(x.shape)), c.want(dy, channels_last(dy.shape))
    sums = c.scratch(plain((KERNEL**2, *dw.shape[:2])))
    for place in PLACES:
        target = _kernel_at(sums, place, dw.shape[:2])
        pairs = zip(_matrices(gradient, place.result, place), _matrices(source, place.seen, place), strict=True)
        for number, (results, pixels) in enumerate(pairs):
            turned = results.seen(results.layout.permute([1, 0]))
            product(c, turned, pixels, target, accumulate=number > 0)
    c.make_viewed(dw, sums, plain((*dw.shape[:2], KERNEL**2)).permute([2, 0, 1]))
    if db:
        every = _all(gradient)
        row = c.make(db[0], plain(db[0].shape)).seen(plain((1, dy.shape[1])))
        product(c, c.constant(np.ones((1, every.layout.shape[0]), np.float32)), every, row)


def _convolve(
    c: Compiler,
    x: Value,
    kernels: Tensor,
    y: Value,
    places: Sequence[_Place],
    bias: Tensor | None = None,
    activation: Activation | None = None,
) -> None:
    source, target = c.want(x, channels_last(x.shape)), c.make(y, channels_last(y.shape))
    for place in places:
        first, last = place.count == PIXELS, place.count == 1
        product(
            c,
            _stack(source, place.seen, place),
            _kernel_at(kernels, place, (1, *kernels.layout.shape[1:])),
            _stack(target, place.result, place),
            bias if first else None,
            activation=activation if last else None,
            accumulate=not first,
        )


def _all(pictures: Tensor) -> Tensor:
    """All pixels of all pictures: (pixels, channels)."""
    images, channels = pictures.layout.shape[:2]
    return pictures.seen(plain((PIXELS * images, channels)))


def _stack(pictures: Tensor, first: int, place: _Place) -> Tensor:
    """The pixels that a place has to do with, from `first` on: (pixels, pictures, channels)."""
    if place.count == PIXELS:
        every = _all(pictures)
        return every.seen(plain((1, *every.layout.shape)))
    images, channels = pictures.layout.shape[:2]
    strides = (place.step * channels, PIXELS * channels, 1)
    return pictures.seen(strided((place.count, images, channels), strides), first * channels)


def _matrices(pictures: Tensor, first: int, place: _Place) -> list[Tensor]:
    """The same as a matrix for each pixel, (pictures, channels), or one for all."""
    if place.count == PIXELS:
        return [_all(pictures)]
    images, channels = pictures.layout.shape[:2]
    one = strided((images, channels), (PIXELS * channels, 1))
    return [pictures.seen(one, (first + place.step * number) * channels) for number in range(place.count)]


def _kernels(c: Compiler, w: Value, order: Sequence[int]) -> Tensor:
    """A matrix for each place of the kernel; `order` of the axes (to, from, place)."""
    view = plain((*w.shape[:2], KERNEL**2)).permute(order)
    return c.want_viewed(w, view, plain(view.shape))


def _kernel_at(kernels: Tensor, place: _Place, shape: Sequence[int]) -> Tensor:
    """The matrix of a place."""
    return kernels.seen(plain(shape), place.number * math.prod(shape))
