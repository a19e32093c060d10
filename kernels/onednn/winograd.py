"""3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3), made of products of matrices alone.

    y = A' [(G g G') . (B' d B)] A        Lavin and Gray, 2016, https://arxiv.org/abs/1509.09308

for each tile of 4x4 results, d being the 6x6 pixels under it: 36 multiplications where the plain sum has 144. With all
tiles and channels at once the element-wise products become 36 products of matrices, and so do the transforms, of a
small matrix with the rows (or columns) of all tiles. Pictures lie channels last. A chunk of tiles goes through all
steps at once, so that it stays in the cache; each thread has tiles of its own, the outermost axis of everything, so
that no core waits for numbers that another one has just made. Results are within some 1e-5 of their deviation, those of
a plain sum within a third of that.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from kernels.graph import Node
from kernels.native.dnnl import BIAS, DST, SRC, WEIGHTS, dnnl
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Activation, Layout, Primitive, channels_last, plain, strided
from kernels.onednn.elementwise import activation_of

TILE, WINDOW, KERNEL = 4, 6, 3

POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)
"""Where polynomials are interpolated, and at infinity: of all sets tried, errors are least with these, and 2 to 3 times
those of a plain sum."""


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A (6, 4), B' (6, 6) and G (6, 3) by Toom and Cook's algorithm."""
    others = [[other for other in POINTS if other != point] for point in POINTS]
    powers = np.array(POINTS)[:, None] ** np.arange(WINDOW)
    a = np.vstack([powers[:, :TILE], np.eye(TILE)[-1]])
    slopes = np.array([np.prod(np.subtract(point, rest)) for point, rest in zip(POINTS, others, strict=True)])
    g = np.vstack([powers[:, :KERNEL] / slopes[:, None], np.eye(KERNEL)[-1]])
    b = np.vstack([np.append(np.poly(rest)[::-1], 0.0) for rest in others] + [np.poly(POINTS)[::-1]])
    return a.astype(np.float32), b.astype(np.float32), g


A, B_TRANSPOSED, G = _matrices()

NUMBERS = 1 << 14
"""Tiles times channels of a chunk: its three stages of 36 such numbers take 7 MB, of which a core works on 1 MB."""

ROWS = 64
"""Tiles of a chunk at least: with fewer, products wait for the kernels, which each chunk reads anew."""

APART = 16
"""Numbers between the rows of a half transformed tile: a power of two would put them all in the same few places of the
cache."""

PASS = 30
"""What it takes to transform a number, in multiplications of a product of matrices; measured."""

GAIN = 1.2
"""Fewer multiplications than the plain sum's by this factor, or the plain sum it is: bringing the pictures into another
order must pay, too."""


def suits(attrs: Any, x: Sequence[int], w: Sequence[int]) -> bool:
    """Whether a convolution is one that this computes, and faster than the plain sum."""
    fits = len(x) == 4 and tuple(w[2:]) == (KERNEL, KERNEL) and attrs["groups"] == 1
    ones = (*attrs["strides"], *attrs["dilation"], *(side for sides in attrs["padding"] for side in sides))
    if not fits or any(one != 1 for one in ones):
        return False
    (images, inputs, height, width), outputs = x, w[0]
    tiles = images * -(-height // TILE) * -(-width // TILE)
    products = WINDOW**2 * tiles * inputs * outputs
    passes = WINDOW**2 * PASS * (tiles * (inputs + outputs) + inputs * outputs)
    # A plain sum leaves out what lies outside of the picture.
    plain_sum = images * (KERNEL * height - 2) * (KERNEL * width - 2) * inputs * outputs
    return GAIN * (products + passes) < plain_sum


def convolution(c: Compiler, node: Node) -> None:
    """y = activation(x * w + b)."""
    x, _, *bias = node.inputs
    result, activation = c.activation_after(node, activation_of)
    kernels = _kernels(c, node, [2, 1, 0], G)
    source = c.want(x, channels_last(x.shape))
    added = c.plain(bias[0]) if bias else None
    _convolve(c, source, kernels, c.make(result, channels_last(result.shape)), added, activation)


def backward_data(c: Compiler, node: Node) -> None:
    """Gradient of the input: the gradient of the output convolved with the kernels turned around."""
    dy, dx = node.inputs[0], node.outputs[0]
    kernels = _kernels(c, node, [2, 0, 1], G[:, ::-1])
    source = c.want(dy, channels_last(dy.shape))
    _convolve(c, source, kernels, c.make(dx, channels_last(dx.shape)))


def backward_weights(c: Compiler, node: Node) -> None:
    """Gradients of the weights, G' [sum of (A dy A') . (B' d B) over all tiles] G, and of the bias."""
    x, dy = node.inputs
    dw, *db = node.outputs
    inputs, outputs = x.shape[1], dy.shape[1]
    source, gradient = c.want(x, channels_last(x.shape)), c.want(dy, channels_last(dy.shape))
    bias = _seen(c.make(db[0], plain(db[0].shape)), plain((1, outputs))) if db else None
    work = _Work(c, x.shape, max(inputs, outputs))
    first, second, third = work.memory(), work.memory(), work.memory()
    total = c.scratch(plain((work.lanes, WINDOW**2, outputs, inputs)))
    for chunk in work.chunks:
        more = chunk is not work.chunks[0]
        windows = work.both_ways(B_TRANSPOSED, work.pixels(source, chunk, WINDOW), second, first)
        pixels = work.pixels(gradient, chunk, TILE)
        tiles = work.both_ways(A, pixels, second, third)
        turned = (work.lanes, WINDOW**2, outputs, chunk.tiles)
        place = chunk.tiles * outputs
        _product(
            c, _seen(tiles, strided(turned, (WINDOW**2 * place, place, 1, outputs))), windows, total, accumulate=more
        )
        if bias is not None:
            count = work.lanes * TILE**2 * chunk.tiles
            ones = c.constant(np.ones((1, count), np.float32))
            _product(c, ones, _seen(pixels, plain((count, outputs))), bias, accumulate=more)
    _finish(c, total, c.make(dw, plain(dw.shape)))


def _finish(c: Compiler, total: Tensor, dw: Tensor) -> None:
    """dw = G' total G, summed over the lanes."""
    lanes, _, outputs, inputs = total.layout.shape
    size = outputs * inputs
    back, target = c.constant(np.kron(G, G).astype(np.float32)), _seen(dw, plain((size, KERNEL**2)))
    for lane in range(lanes):
        part = _seen(total, strided((size, WINDOW**2), (1, size)), lane * WINDOW**2 * size)
        _product(c, part, back, target, accumulate=lane > 0)


def _kernels(c: Compiler, node: Node, order: Sequence[int], g: np.ndarray) -> Tensor:
    """The transformed kernels (1, 36, from, to), worked out once where weights stay."""
    w = node.inputs[1]
    constant = c.is_constant(w)
    view = plain((*w.shape[:2], KERNEL**2)).permute(order)
    size = w.shape[0] * w.shape[1]
    kernels = _seen(c.want_viewed(w, view, plain(view.shape)), plain((KERNEL**2, size)))
    result = c.scratch(plain((1, WINDOW**2, *view.shape[1:])), constant)
    matrix = c.constant(np.kron(g, g).astype(np.float32))
    _product(c, matrix, kernels, _seen(result, plain((WINDOW**2, size))), constant=constant)
    return result


def _convolve(
    c: Compiler,
    x: Tensor,
    kernels: Tensor,
    y: Tensor,
    bias: Tensor | None = None,
    activation: Activation | None = None,
) -> None:
    outputs = y.layout.shape[1]
    work = _Work(c, x.layout.shape, max(x.layout.shape[1], outputs))
    first, second = work.memory(), work.memory()
    row = None if bias is None else work.for_each_tile(bias)
    for chunk in work.chunks:
        windows = work.both_ways(B_TRANSPOSED, work.pixels(x, chunk, WINDOW), second, first)
        products = _seen(second, plain((work.lanes, WINDOW**2, chunk.tiles, outputs)))
        _product(c, windows, kernels, products)
        results = work.both_ways(A.T, products, first, second, row, activation)
        work.write(results, y, chunk)


def _product(
    c: Compiler,
    left: Tensor,
    right: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    constant: bool | None = None,
    **more: Any,
) -> None:
    """The product of two matrices, or of two stacks of them, plus a row; `more` is for `Primitive`."""
    primitive = Primitive("matmul", left.layout, right.layout, bias and bias.layout, target.layout, **more)
    c.execute(primitive, {SRC: left, WEIGHTS: right, BIAS: bias, DST: target}, constant)


def _seen(tensor: Tensor, layout: Layout, start: int = 0) -> Tensor:
    """The memory of a tensor from the number `start` on, in another layout."""
    return Tensor(tensor.buffer, layout, tensor.start + start, part=True)


@functools.lru_cache(256)
def _copying(shape: tuple[int, ...], read: tuple[int, ...], write: tuple[int, ...]) -> tuple[Primitive, Layout, Layout]:
    """A copy between two ways to lie in memory; the same ones come for many chunks."""
    source, target, engine = strided(shape, read), strided(shape, write), dnnl().engine
    return Primitive("reorder", source, engine, target, engine), source, target


def _zeros(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray]) -> None:
    writes[0].fill(0)


@dataclass(frozen=True)
class _Chunk:
    """Of each lane's pictures all tiles of some, or some rows of tiles of one."""

    picture: int
    pictures: int
    first: int
    last: int
    columns: int

    @property
    def tiles(self) -> int:
        return self.pictures * (self.last - self.first) * self.columns


def _chunks(pictures: int, height: int, width: int, most: int) -> Iterator[_Chunk]:
    """All tiles, about `most` at a time; those at the end of a row or column may reach beyond the picture."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    step, some_rows = max(1, most // (rows * columns)), min(rows, max(1, most // columns))
    for picture in range(0, pictures, step):
        for row in range(0, rows, some_rows):
            yield _Chunk(picture, min(step, pictures - picture), row, min(row + some_rows, rows), columns)


@dataclass(frozen=True)
class _Span:
    """Along one axis: `size` pixels from `pixel` on lie at `place` of tile number `tile`, and so on for `tiles`."""

    place: int
    size: int
    tile: int
    tiles: int
    pixel: int


def _inside(length: int, first: int, last: int) -> list[_Span]:
    """The pixels of the tiles `first` to `last`."""
    full = min(last, length // TILE)
    spans = [
        _Span(0, TILE, 0, full - first, TILE * first),
        _Span(0, length % TILE, full - first, last - full, TILE * full),
    ]
    return [span for span in spans if span.tiles > 0]


def _around(length: int, first: int, last: int) -> list[_Span]:
    """The pixels of the tiles `first` to `last` and one more on each side, where there is one."""
    low, high = max(first, 1), min(last, (length - 1) // TILE)
    before = _Span(0, 1, low - first, last - low, TILE * low - 1)
    after = _Span(WINDOW - 1, 1, 0, high - first, TILE * (first + 1))
    own = [replace(span, place=1) for span in _inside(length, first, last)]
    return [*own, *(span for span in (before, after) if span.tiles > 0)]


@dataclass(frozen=True)
class _Place:
    """Where numbers lie: the strides of their axes, and the first one."""

    strides: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class _Stretch:
    """Pixels that are in the same places of their tiles, in the pictures and in the tiles' own order.

    Axes: lane, row in the tile, column in the tile, picture, row of tiles, column of tiles, channel. The tiles' own
    order is, for each lane, one place of all tiles after the other.
    """

    shape: tuple[int, ...]
    pictures: _Place
    tiles: _Place


def _stretches(pictures: Sequence[int], lanes: int, chunk: _Chunk, size: int) -> Iterator[_Stretch]:
    """All pixels of the chunk's tiles, or of the windows around them, as few rectangular copies."""
    images, channels, height, width = pictures
    spans = _inside if size == TILE else _around
    row, tile_row, place = width * channels, chunk.columns * channels, chunk.tiles * channels
    there = (images // lanes * height * row, row, channels, height * row, TILE * row, TILE * channels, 1)
    here = (size**2 * place, size * place, place, place // chunk.pictures, tile_row, channels, 1)
    for down in spans(height, chunk.first, chunk.last):
        for across in spans(width, 0, chunk.columns):
            shape = (lanes, down.size, across.size, chunk.pictures, down.tiles, across.tiles, channels)
            pixel = (chunk.picture * height + down.pixel) * row + across.pixel * channels
            number = (down.place * size + across.place) * place + down.tile * tile_row + across.tile * channels
            yield _Stretch(shape, _Place(there, pixel), _Place(here, number))


class _Work:
    """The memory that chunks go through, and how they do."""

    def __init__(self, c: Compiler, pictures: Sequence[int], channels: int) -> None:
        self.c = c
        count, _, height, width = pictures
        self.lanes = c.threads if count % c.threads == 0 else 1
        self.chunks = list(_chunks(count // self.lanes, height, width, max(ROWS, NUMBERS // channels)))
        self._size = self.lanes * max(chunk.tiles for chunk in self.chunks) * channels
        self._pixels: dict[tuple[Any, ...], Tensor] = {}

    def memory(self, size: int = WINDOW) -> Tensor:
        """Room for `size` x `size` numbers of each tile and channel."""
        return self.c.scratch(plain((size**2 * (self._size + self.lanes * APART),)))

    def for_each_tile(self, row: Tensor) -> Tensor:
        """Copies of a row, one for each tile of a chunk."""
        channels = row.layout.shape[0]
        tiles = max(chunk.tiles for chunk in self.chunks)
        copies, ones = self.c.scratch(plain((tiles, channels))), self.c.constant(np.ones((tiles, 1), np.float32))
        _product(self.c, ones, _seen(row, plain((1, channels))), copies)
        return copies

    def pixels(self, pictures: Tensor, chunk: _Chunk, size: int) -> Tensor:
        """The tiles of a chunk, or the windows around them, with zeros beyond the pictures."""
        channels = pictures.layout.shape[1]
        shape = (self.lanes, size**2, chunk.tiles, channels)
        stretches = list(_stretches(pictures.layout.shape, self.lanes, chunk, size))
        # Chunks whose zeros are in the same places follow each other in the same memory.
        places = (shape, *((stretch.shape, stretch.tiles) for stretch in stretches))
        if places not in self._pixels:
            tiles = self._pixels[places] = _seen(self.memory(size), plain(shape))
            if sum(math.prod(stretch.shape) for stretch in stretches) < math.prod(shape):
                self.c.compute(_zeros, [], [tiles], "numpy: zeros")
        tiles = self._pixels[places]
        for stretch in stretches:
            self._copy(stretch.shape, (pictures, stretch.pictures), (tiles, stretch.tiles))
        return tiles

    def write(self, results: Tensor, pictures: Tensor, chunk: _Chunk) -> None:
        """Bring the results of a chunk, tiles of 4x4 pixels, to where they belong in the pictures."""
        for stretch in _stretches(pictures.layout.shape, self.lanes, chunk, TILE):
            self._copy(stretch.shape, (results, stretch.tiles), (pictures, stretch.pictures))

    def both_ways(
        self,
        matrix: np.ndarray,
        tiles: Tensor,
        other: Tensor,
        target: Tensor,
        row: Tensor | None = None,
        activation: Activation | None = None,
    ) -> Tensor:
        """``activation(matrix tile matrix' + row)`` of all tiles; `target` may be the memory of `tiles`."""
        rows, size = matrix.shape
        lanes, _, count, channels = tiles.layout.shape
        numbers = count * channels
        apart = numbers + APART
        lane = rows * size * apart
        left = _seen(self.c.constant(np.ascontiguousarray(matrix)), plain((1, 1, rows, size)))
        down = strided((lanes, size, size, numbers), (size**2 * numbers, numbers, size * numbers, 1))
        half = strided((lanes, size, rows, numbers), (lane, apart, size * apart, 1))
        _product(self.c, left, _seen(tiles, down), _seen(other, half))
        across = strided((lanes, rows, size, numbers), (lane, size * apart, apart, 1))
        whole = plain((lanes, rows, rows, numbers))
        bias = row and _seen(row, plain((1, 1, 1, numbers)))
        _product(self.c, left, _seen(other, across), _seen(target, whole), bias, activation=activation)
        return _seen(target, plain((lanes, rows**2, count, channels)))

    def _copy(self, shape: tuple[int, ...], source: tuple[Tensor, _Place], target: tuple[Tensor, _Place]) -> None:
        (reads, there), (writes, here) = source, target
        primitive, read, write = _copying(shape, there.strides, here.strides)
        self.c.execute(primitive, {SRC: _seen(reads, read, there.start), DST: _seen(writes, write, here.start)})
