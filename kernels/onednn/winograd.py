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

import sys
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from kernels.graph import Node, Value
from kernels.native.dnnl import DST, SRC
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Activation, channels_last, plain
from kernels.onednn.elementwise import activation_of
from kernels.onednn.linear import product
from kernels.onednn.tiles import TILE, WINDOW, Tiles, copying
from kernels.onednn.transforms import PixelSums, Transforms

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
"""Tiles times channels of a chunk: 36 such numbers go into its products and as many come out, 5 MB."""

ROWS = 128
"""Tiles of a chunk at least: with fewer, products wait for the kernels, which each chunk reads anew."""

KERNELS = 1 << 20
"""Numbers of transformed kernels that one chunk of tiles has at a time, 4 MB, where one chunk is all: they are used
once, and go to memory and back otherwise."""

SUMS = 1 << 25
"""Numbers that the lanes' gradients of transformed kernels take in all, 128 MB; as many lanes as fit."""

VECTOR = 16
"""Numbers that a processor works on at once."""

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
    most = max(1, SUMS // (WINDOW**2 * x.shape[1] * dy.shape[1]))
    work = _transforms(c, x.shape, dy.shape[1], most)
    first, second = work.memory(), work.memory()
    pixels = PixelSums(c, work, dy.shape[1]) if db else None
    sums = _Sums(c, work, dw.shape)
    for chunk in work.chunks:
        windows = work.read(source, chunk, B_TRANSPOSED, first)
        tiles = work.read(gradient, chunk, A, second, pixels)
        for part in sums.parts:
            sums.add(part, tiles, windows, accumulate=chunk is not work.chunks[0])
            if chunk is work.chunks[-1]:
                sums.finish(part, target)
    if pixels is not None:
        pixels.finish(c.make(db[0], plain(db[0].shape)))


def _convolve(
    c: Compiler,
    x: Tensor,
    kernels: _Kernels,
    y: Tensor,
    bias: Value | None = None,
    activation: Activation | None = None,
) -> None:
    outputs = y.layout.shape[1]
    work = _transforms(c, x.layout.shape, outputs)
    first, second = work.memory(), work.memory()
    row = None if bias is None else work.for_each_tile(c.plain(bias), c.is_constant(bias))
    for chunk, parts in zip(work.chunks, kernels.parts(len(work.chunks)), strict=True):
        windows, products = work.read(x, chunk, B_TRANSPOSED, first), work.tiles(chunk, outputs, second)
        for start, part in parts:
            product(c, windows.matrices(), part, products.matrices(start, part.layout.shape[-1]))
        work.write(products, chunk, y, A.T, row, activation)


def _transforms(c: Compiler, pictures: Sequence[int], others: int, most_lanes: int = sys.maxsize) -> Transforms:
    channels = max(pictures[1], others)
    return Transforms(c, pictures, channels, max(ROWS, NUMBERS // channels), most_lanes)


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

    def __init__(self, c: Compiler, work: Transforms, shape: Sequence[int]) -> None:
        outputs, inputs = shape[:2]
        self.c, self.parts = c, _parts(outputs, inputs) if len(work.chunks) == 1 else [(0, outputs)]
        self._total = c.scratch(plain((work.lanes, WINDOW**2, self.parts[0][1], inputs)))
        self._back = c.constant(np.ascontiguousarray(np.kron(G, G).T, np.float32))

    def add(self, part: tuple[int, int], tiles: Tiles, windows: Tiles, accumulate: bool) -> None:
        """The products of all places, summed over tiles."""
        total = self._total.seen(plain((tiles.lanes, WINDOW**2, part[1], windows.channels)))
        product(self.c, tiles.matrices(*part, turned=True), windows.matrices(), total, accumulate=accumulate)

    def finish(self, part: tuple[int, int], dw: Tensor) -> None:
        """dw = G' total G, summed over the lanes."""
        lanes, _, _, inputs = self._total.layout.shape
        start, width = part
        size = width * inputs
        places = self.c.scratch(plain((KERNEL**2, size)))
        for lane in range(lanes):
            total = self._total.seen(plain((WINDOW**2, size)), lane * WINDOW**2 * size)
            product(self.c, self._back, total, places, accumulate=lane > 0)
        turn, source, target = copying((KERNEL**2, size), (size, 1), (1, KERNEL**2))
        self.c.execute(turn, {SRC: places.seen(source), DST: dw.seen(target, start * inputs * KERNEL**2)})
