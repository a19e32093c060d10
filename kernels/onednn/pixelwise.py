"""3x3 convolutions of pictures of 2x2 pixels, made of products of matrices: one or two for each place of the kernel.

    y[p] = sum over the places k of w[k] x[p + k]      for all pixels p, where p + k is in the picture

Pictures lie pixel by pixel, one pixel of all pictures after the other, so that the pixels a place sees are rows of a
matrix. Of the 36 multiplications of a plain sum 20 are with the border; the products have none of these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from kernels.graph import Node, Value
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Activation, Layout, channels_last, plain, strided
from kernels.onednn.elementwise import activation_of
from kernels.onednn.linear import product

PLACES = 9
SIDE = 2
"""Pixels of a side: with one, eight places of nine see nothing; with three, Winograd's algorithm multiplies less."""

CHANNELS = 32
"""With fewer on either side the calls take longer than what they compute; measured."""


@dataclass(frozen=True)
class _Run:
    """At one place of the kernel, `pixels` results from the pixel `result` on see those from `seen` on."""

    place: int
    pixels: int
    result: int
    seen: int


def _runs() -> list[_Run]:
    """All that is seen. At the first place each result sees itself, at the last four its opposite."""
    found = []
    for place in sorted(range(PLACES), key=lambda place: abs(place // 3 - 1) + abs(place % 3 - 1)):
        down, across = place // 3 - 1, place % 3 - 1
        first = SIDE * max(0, -down) + max(0, -across)
        rows, columns = SIDE - abs(down), SIDE - abs(across)
        whole = [(rows * columns, first)] if columns == SIDE else [(1, first + SIDE * row) for row in range(rows)]
        found += [_Run(place, pixels, result, result + SIDE * down + across) for pixels, result in whole]
    return found


_RUNS = _runs()
_BACK = [replace(run, result=run.seen, seen=run.result) for run in _RUNS]


def suits(x: Sequence[int], w: Sequence[int]) -> bool:
    """Whether a 3x3 convolution with a border of one pixel is one that this computes, and faster than the plain sum."""
    return tuple(x[2:]) == (SIDE, SIDE) and min(w[:2]) >= CHANNELS


def convolution(c: Compiler, node: Node) -> None:
    """y = activation(x * w + b)."""
    x, w, *bias = node.inputs
    result, activation = c.activation_after(node, activation_of)
    row = c.plain(bias[0]).seen(plain((1, w.shape[0]))) if bias else None
    _convolve(c, _RUNS, x, _kernels(c, w, [2, 1, 0]), result, row, activation)


def backward_data(c: Compiler, node: Node) -> None:
    """Gradient of the input: pixels get back from the results that saw them."""
    dy, w = node.inputs
    _convolve(c, _BACK, dy, _kernels(c, w, [2, 0, 1]), node.outputs[0])


def backward_weights(c: Compiler, node: Node) -> None:
    """Gradients of the weights, at each place the sum of dy[p] x[p + k] over pixels and pictures, and of the bias."""
    x, dy = node.inputs
    dw, *db = node.outputs
    source, gradient = c.want(x, _by_pixels(x.shape)), c.want(dy, _by_pixels(dy.shape))
    sums = c.scratch(plain((PLACES, *dw.shape[:2])))
    begun = set()
    for run in _RUNS:
        results, pixels = _matrix(gradient, run.result, run), _matrix(source, run.seen, run)
        turned = results.seen(results.layout.permute([1, 0]))
        product(c, turned, pixels, _one(sums, run), accumulate=run.place in begun)
        begun.add(run.place)
    c.make_viewed(dw, sums, plain((*dw.shape[:2], PLACES)).permute([2, 0, 1]))
    if db:
        every = gradient.seen(plain((SIDE**2 * dy.shape[0], dy.shape[1])))
        row = c.make(db[0], plain(db[0].shape)).seen(plain((1, dy.shape[1])))
        product(c, c.constant(np.ones((1, every.layout.shape[0]), np.float32)), every, row)


def _convolve(
    c: Compiler,
    runs: Sequence[_Run],
    x: Value,
    kernels: Tensor,
    y: Value,
    bias: Tensor | None = None,
    activation: Activation | None = None,
) -> None:
    source, target = c.want(x, _by_pixels(x.shape)), c.scratch(_by_pixels(y.shape))
    last = len(runs) - SIDE**2
    for number, run in enumerate(runs):
        pixels, results = _matrix(source, run.seen, run), _matrix(target, run.result, run)
        row, function = bias if number == 0 else None, activation if number >= last else None
        product(c, pixels, _one(kernels, run), results, row, activation=function, accumulate=number > 0)
    # Others know this order, in which normalization is ten times as fast.
    order = channels_last(y.shape)
    c.copy(y, target, target.layout, order, order)


def _by_pixels(shape: Sequence[int]) -> Layout:
    """Pictures (n, c, h, w) that lie pixel by pixel, of each the channels of all pictures."""
    pictures, channels, _, width = shape
    pixel = pictures * channels
    return strided(shape, (channels, 1, width * pixel, pixel))


def _matrix(pictures: Tensor, first: int, run: _Run) -> Tensor:
    """The pixels of a run, from the pixel `first` on: (pixels x pictures, channels)."""
    count, channels = pictures.layout.shape[:2]
    return pictures.seen(plain((run.pixels * count, channels)), first * count * channels)


def _kernels(c: Compiler, w: Value, order: Sequence[int]) -> Tensor:
    """The kernels, one place after the other; `order` of the axes (to, from, place)."""
    view = plain((*w.shape[:2], PLACES)).permute(order)
    return c.want_viewed(w, view, plain(view.shape))


def _one(kernels: Tensor, run: _Run) -> Tensor:
    """The matrix of a place."""
    rows, columns = kernels.layout.shape[1:]
    return kernels.seen(plain((rows, columns)), run.place * rows * columns)
