"""3x3 convolutions by Winograd's minimal filtering F(4x4, 3x3), made of products of matrices alone.

    y = A' [(G g G') . (B' d B)] A        Lavin and Gray, 2016, https://arxiv.org/abs/1509.09308

for each tile of 4x4 results, d being the 6x6 pixels under it: 36 multiplications where the plain sum has 144. With all
tiles and channels at once the element-wise products become 36 products of matrices, and so do the transforms, of a
small matrix with the rows (or columns) of all tiles. Pictures lie channels last. A chunk of tiles goes through all
steps at once, so that it stays in the cache. Lanes, the outermost axis of everything, are pictures that threads have to
themselves, as far as their number can be divided: no core then waits for numbers that another one has just made.

Results are within some 1e-5 of their deviation, those of a plain sum within a third of that. What is large, infinite or
no number in a window of 6x6 pixels touches all 4x4 results of its tile, not only those that see it.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from kernels.graph import Node, Value
from kernels.native.dnnl import DST, SRC
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Activation, Layout, Primitive, channels_last, plain, strided
from kernels.onednn.elementwise import activation_of
from kernels.onednn.linear import product
from kernels.onednn.tiles import TILE, WINDOW, Chunk, Place, chunks, copying, stretches

KERNEL = 3

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

ROWS = 128
"""Tiles of a chunk at least: with fewer, products wait for the kernels, which each chunk reads anew."""

KERNELS = 1 << 20
"""Numbers of transformed kernels that one chunk of tiles has at a time, 4 MB, where one chunk is all: they are used
once, and go to memory and back otherwise."""

SUMS = 1 << 25
"""Numbers that the lanes' gradients of transformed kernels take in all, 128 MB; as many lanes as fit."""

VECTOR = 16
"""Numbers that a processor works on at once."""

APART = 16
"""Numbers between the rows of a half transformed tile: a power of two would put them all in the same few places of the
cache."""

PASS = 30
"""What it takes to transform a number, in multiplications of a product of matrices; measured."""

GAIN = 1.2
"""Fewer multiplications than the plain sum's by this factor, or the plain sum it is: bringing the pictures into another
order must pay, too."""


def suits(x: Sequence[int], w: Sequence[int]) -> bool:
    """Whether this is faster than the plain sum for a 3x3 convolution of stride 1 with a border of one pixel."""
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
    kernels = _Kernels(c, node.inputs[1], [2, 1, 0], G)
    source = c.want(x, channels_last(x.shape))
    target = c.make(result, channels_last(result.shape))
    _convolve(c, source, kernels, target, bias[0] if bias else None, activation)


def backward_data(c: Compiler, node: Node) -> None:
    """Gradient of the input: the gradient of the output convolved with the kernels turned around."""
    dy, dx = node.inputs[0], node.outputs[0]
    kernels = _Kernels(c, node.inputs[1], [2, 0, 1], G[:, ::-1])
    source = c.want(dy, channels_last(dy.shape))
    _convolve(c, source, kernels, c.make(dx, channels_last(dx.shape)))


def backward_weights(c: Compiler, node: Node) -> None:
    """Gradients of the weights, G' [sum of (A dy A') . (B' d B) over all tiles] G, and of the bias."""
    x, dy = node.inputs
    dw, *db = node.outputs
    source, gradient = c.want(x, channels_last(x.shape)), c.want(dy, channels_last(dy.shape))
    target = c.make(dw, plain(dw.shape))
    bias = c.make(db[0], plain(db[0].shape)).seen(plain((1, dy.shape[1]))) if db else None
    most = max(1, SUMS // (WINDOW**2 * x.shape[1] * dy.shape[1]))
    work = _Work(c, x.shape, max(x.shape[1], dy.shape[1]), most)
    first, second, third = work.memory(), work.memory(), work.memory()
    sums = _Sums(c, work, dw.shape)
    for chunk in work.chunks:
        windows = work.both_ways(B_TRANSPOSED, work.pixels(source, chunk, WINDOW), second, first)
        pixels = work.pixels(gradient, chunk, TILE)
        tiles = work.both_ways(A, pixels, second, third)
        if bias is not None:
            count = work.lanes * TILE**2 * chunk.tiles
            ones, flat = c.constant(np.ones((1, count), np.float32)), plain((count, dy.shape[1]))
            product(c, ones, pixels.seen(flat), bias, accumulate=chunk is not work.chunks[0])
        for part in sums.parts:
            sums.add(part, tiles, windows, accumulate=chunk is not work.chunks[0])
            if chunk is work.chunks[-1]:
                sums.finish(part, target)


def _convolve(
    c: Compiler,
    x: Tensor,
    kernels: _Kernels,
    y: Tensor,
    bias: Value | None = None,
    activation: Activation | None = None,
) -> None:
    outputs = y.layout.shape[1]
    work = _Work(c, x.layout.shape, max(x.layout.shape[1], outputs))
    first, second = work.memory(), work.memory()
    row = None if bias is None else work.for_each_tile(c.plain(bias), c.is_constant(bias))
    for chunk, parts in zip(work.chunks, kernels.parts(len(work.chunks)), strict=True):
        windows = work.both_ways(B_TRANSPOSED, work.pixels(x, chunk, WINDOW), second, first)
        shape = (work.lanes, WINDOW**2, chunk.tiles, outputs)
        for start, part in parts:
            width = part.layout.shape[-1]
            place = chunk.tiles * outputs
            columns = strided((*shape[:-1], width), (WINDOW**2 * place, place, outputs, 1))
            product(c, windows, part, second.seen(columns, start))
        results = work.both_ways(A.T, second.seen(plain(shape)), first, second, row, activation)
        work.write(results, y, chunk)


def _parts(channels: int, others: int) -> list[tuple[int, int]]:
    """Start and number of the channels of each part of kernels, such that a part stays in the cache."""
    width = max(VECTOR, KERNELS // (WINDOW**2 * others) // VECTOR * VECTOR)
    return [(start, min(width, channels - start)) for start in range(0, channels, width)]


class _Kernels:
    """The kernels, transformed: (1, 36, from, to), in parts of `to`; whole where they stay, or are used many times."""

    def __init__(self, c: Compiler, w: Value, order: Sequence[int], g: np.ndarray) -> None:
        self.c, self._w = c, w
        self._constant = c.is_constant(w)
        self._view = plain((*w.shape[:2], KERNEL**2)).permute(order)
        self._matrix = c.constant(np.kron(g, g).astype(np.float32))

    def parts(self, times: int) -> Iterator[Iterable[tuple[int, Tensor]]]:
        """For each of so many uses the parts and where they start."""
        _, inputs, outputs = self._view.shape
        if self._constant or times > 1:
            whole = [(0, self._transformed(0, outputs))]
            for _ in range(times):
                yield whole
        else:
            yield ((start, self._transformed(start, width)) for start, width in _parts(outputs, inputs))

    def _transformed(self, start: int, width: int) -> Tensor:
        inputs = self._view.shape[1]
        view = self._view.part((KERNEL**2, inputs, width), (0, 0, start))
        kernels = self.c.want_viewed(self._w, view, plain(view.shape))
        result = self.c.scratch(plain((1, WINDOW**2, inputs, width)), self._constant)
        flat = [plain((places, inputs * width)) for places in (KERNEL**2, WINDOW**2)]
        product(self.c, self._matrix, kernels.seen(flat[0]), result.seen(flat[1]), constant=self._constant)
        return result


class _Sums:
    """The gradients of the transformed kernels, (lanes, 36, to, from), in parts of `to`; whole where chunks add up."""

    def __init__(self, c: Compiler, work: _Work, shape: Sequence[int]) -> None:
        outputs, inputs = shape[:2]
        self.c, self.parts = c, _parts(outputs, inputs) if len(work.chunks) == 1 else [(0, outputs)]
        self._total = c.scratch(plain((work.lanes, WINDOW**2, self.parts[0][1], inputs)))
        self._back = c.constant(np.kron(G, G).astype(np.float32))

    def add(self, part: tuple[int, int], tiles: Tensor, windows: Tensor, accumulate: bool) -> None:
        """The products of all places, summed over tiles."""
        lanes, places, count, outputs = tiles.layout.shape
        start, width = part
        turned = strided((lanes, places, width, count), (places * count * outputs, count * outputs, 1, outputs))
        total = self._total.seen(plain((lanes, places, width, windows.layout.shape[-1])))
        product(self.c, tiles.seen(turned, start), windows, total, accumulate=accumulate)

    def finish(self, part: tuple[int, int], dw: Tensor) -> None:
        """dw = G' total G, summed over the lanes."""
        lanes, _, _, inputs = self._total.layout.shape
        start, width = part
        size = width * inputs
        target = dw.seen(plain((size, KERNEL**2)), start * inputs * KERNEL**2)
        for lane in range(lanes):
            total = self._total.seen(strided((size, WINDOW**2), (1, size)), lane * WINDOW**2 * size)
            product(self.c, total, self._back, target, accumulate=lane > 0)


def _zeros(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray]) -> None:
    writes[0].fill(0)


class _Work:
    """The memory that chunks go through, and how they do."""

    def __init__(self, c: Compiler, pictures: Sequence[int], channels: int, most_lanes: int = sys.maxsize) -> None:
        self.c = c
        count, _, height, width = pictures
        shared = math.gcd(count, c.threads)
        self.lanes = max(lanes for lanes in range(1, shared + 1) if shared % lanes == 0 and lanes <= most_lanes)
        self.chunks = list(chunks(count // self.lanes, height, width, max(ROWS, NUMBERS // channels)))
        self._size = self.lanes * max(chunk.tiles for chunk in self.chunks) * channels
        self._pixels: dict[tuple[Any, ...], Tensor] = {}
        # Chunks of one shape share what is prepared; programs do not: they may be compiled by several threads at once.
        self._copies: dict[tuple[tuple[int, ...], ...], tuple[Primitive, Layout, Layout]] = {}

    def memory(self, size: int = WINDOW) -> Tensor:
        """Room for `size` x `size` numbers of each tile and channel."""
        return self.c.scratch(plain((size**2 * (self._size + self.lanes * APART),)))

    def for_each_tile(self, row: Tensor, constant: bool) -> Tensor:
        """Copies of a row, one for each tile of a chunk."""
        channels = row.layout.shape[0]
        tiles = max(chunk.tiles for chunk in self.chunks)
        copies = self.c.scratch(plain((tiles, channels)), constant)
        ones = self.c.constant(np.ones((tiles, 1), np.float32))
        product(self.c, ones, row.seen(plain((1, channels))), copies, constant=constant)
        return copies

    def pixels(self, pictures: Tensor, chunk: Chunk, size: int) -> Tensor:
        """The tiles of a chunk, or the windows around them, with zeros beyond the pictures."""
        channels = pictures.layout.shape[1]
        shape = (self.lanes, size**2, chunk.tiles, channels)
        found = list(stretches(pictures.layout.shape, self.lanes, chunk, size))
        # Chunks whose zeros are in the same places follow each other in the same memory.
        places = (shape, *((stretch.shape, stretch.tiles) for stretch in found))
        if places not in self._pixels:
            tiles = self._pixels[places] = self.memory(size).seen(plain(shape))
            if sum(math.prod(stretch.shape) for stretch in found) < math.prod(shape):
                self.c.compute(_zeros, [], [tiles], "numpy: zeros")
        tiles = self._pixels[places]
        for stretch in found:
            self._copy(stretch.shape, (pictures, stretch.pictures), (tiles, stretch.tiles))
        return tiles

    def write(self, results: Tensor, pictures: Tensor, chunk: Chunk) -> None:
        """Bring the results of a chunk, tiles of 4x4 pixels, to where they belong in the pictures."""
        for stretch in stretches(pictures.layout.shape, self.lanes, chunk, TILE):
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
        left = self.c.constant(np.ascontiguousarray(matrix)).seen(plain((1, 1, rows, size)))
        down = strided((lanes, size, size, numbers), (size**2 * numbers, numbers, size * numbers, 1))
        half = strided((lanes, size, rows, numbers), (lane, apart, size * apart, 1))
        product(self.c, left, tiles.seen(down), other.seen(half))
        across = strided((lanes, rows, size, numbers), (lane, size * apart, apart, 1))
        whole = plain((lanes, rows, rows, numbers))
        bias = row and row.seen(plain((1, 1, 1, numbers)))
        product(self.c, left, other.seen(across), target.seen(whole), bias, activation=activation)
        return target.seen(plain((lanes, rows**2, count, channels)))

    def _copy(self, shape: tuple[int, ...], source: tuple[Tensor, Place], target: tuple[Tensor, Place]) -> None:
        (reads, there), (writes, here) = source, target
        key = shape, there.strides, here.strides
        if key not in self._copies:
            self._copies[key] = copying(*key)
        primitive, read, write = self._copies[key]
        self.c.execute(primitive, {SRC: reads.seen(read, there.start), DST: writes.seen(write, here.start)})
