"""Tiles of pictures brought into stacks of matrices and back, ``m tile m'`` of each on its way.

To read, first the rows: with channels last, the rows of pixels under a row of tiles are a matrix as they lie, and one
product transforms all of its columns, those that two tiles share once. Then the columns, copied to one matrix for all
tiles. To write, both ways on tiles alone, and a copy at the end: read backwards it would take longer, because results
do not overlap. All this a block of tiles at a time, so that what is between the steps stays in a core's own cache;
with a whole chunk at a time it takes half as long again.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from kernels.native.dnnl import DST, SRC
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Activation, Layout, Primitive, plain, strided
from kernels.onednn.linear import product
from kernels.onednn.tiles import TILE, WINDOW, Chunk, Place, Tiles, all_tiles, copying, separate, spans, stretches

BLOCK = 1 << 12
"""Tiles times channels of a block: its half transformed tiles take 400 KB, and as columns 600."""

APART = 16
"""Numbers between the rows of half transformed tiles: a power of two would put them all in the same few places of the
cache."""


def _apart(block: Chunk, line: int) -> int:
    """Numbers between two rows of half transformed tiles.

    One line more than there are: where every other of three is written, oneDNN wants room for twice two.
    """
    return (block.rows + 1) * line + APART


def _zeros(reads: Sequence[np.ndarray], writes: Sequence[np.ndarray]) -> None:
    writes[0].fill(0)


class Transforms:
    """Reads chunks of `most` tiles from pictures, and writes them; `channels` are those of either at most."""

    def __init__(self, c: Compiler, pictures: Sequence[int], channels: int, most: int, most_lanes: int) -> None:
        self.c = c
        count, _, height, width = pictures
        shared = math.gcd(count, c.threads)
        self.lanes = max(lanes for lanes in range(1, shared + 1) if shared % lanes == 0 and lanes <= most_lanes)
        self._numbers = self.lanes * channels
        self._most = max(1, BLOCK // channels)
        self.chunks = list(all_tiles(count // self.lanes, height, width).parts(most))
        blocks = [block for chunk in self.chunks for block in self.blocks(chunk)]
        self._block = max(block.tiles for block in blocks)
        downwards = max(WINDOW * _apart(block, width * channels) for block in blocks)
        self._half = c.scratch(plain((self.lanes * max(downwards, TILE * WINDOW * (self._block * channels + APART)),)))
        self._results = self._memory(self._block, TILE)
        self._columns: dict[tuple[int, int], Tensor] = {}
        # Blocks of one shape share what is prepared; programs do not: they may be compiled by several threads at once.
        self._copies: dict[tuple[tuple[int, ...], ...], tuple[Primitive, Layout, Layout]] = {}

    def memory(self) -> Tensor:
        """Room for 6x6 numbers of each tile and channel of a chunk."""
        return self._memory(max(chunk.tiles for chunk in self.chunks), WINDOW)

    def _memory(self, tiles: int, size: int) -> Tensor:
        return self.c.scratch(plain((size**2 * tiles * self._numbers,)))

    def tiles(self, chunk: Chunk, channels: int, memory: Tensor) -> Tiles:
        """The tiles of a chunk, or of a block, and nothing else."""
        return Tiles(memory, self.lanes, chunk.tiles, channels, apart=chunk.tiles * channels)

    def for_each_tile(self, row: Tensor, constant: bool) -> Tensor:
        """Copies of a row, one for each tile of a block."""
        channels = row.layout.shape[0]
        copies = self.c.scratch(plain((self._block, channels)), constant)
        ones = self.c.constant(np.ones((self._block, 1), np.float32))
        product(self.c, ones, row.seen(plain((1, channels))), copies, constant=constant)
        return copies

    def read(
        self, pictures: Tensor, chunk: Chunk, matrix: np.ndarray, memory: Tensor, sums: PixelSums | None = None
    ) -> Tiles:
        """``matrix tile matrix'`` of a chunk's tiles, or of the windows around them; `sums` adds up all pixels."""
        tiles = self.tiles(chunk, pictures.layout.shape[1], memory)
        for block, part in self._blocks(chunk, tiles):
            self._down(matrix, pictures, block)
            self._across(matrix, pictures.layout.shape, block, part)
            if sums is not None:
                sums.add(pictures, block)
        return tiles

    def write(
        self,
        tiles: Tiles,
        chunk: Chunk,
        pictures: Tensor,
        matrix: np.ndarray,
        row: Tensor | None,
        activation: Activation | None,
    ) -> None:
        """``activation(matrix tile matrix' + row)`` of a chunk's tiles, in the pictures where they belong."""
        for block, part in self._blocks(chunk, tiles):
            results = self.tiles(block, tiles.channels, self._results)
            self._both_ways(matrix, part, results, row, activation)
            for stretch in stretches(pictures.layout.shape, self.lanes, block):
                self._copy(stretch.shape, (results.memory, stretch.tiles), (pictures, stretch.pictures))

    def blocks(self, chunk: Chunk) -> Iterator[Chunk]:
        """The parts of a chunk that are transformed at once."""
        return chunk.parts(self._most)

    def _blocks(self, chunk: Chunk, tiles: Tiles) -> Iterator[tuple[Chunk, Tiles]]:
        done = 0
        for block in self.blocks(chunk):
            yield block, tiles.part(done, block.tiles)
            done += block.tiles

    def _down(self, matrix: np.ndarray, pictures: Tensor, block: Chunk) -> None:
        """``matrix window`` with columns as the pictures have them: (lanes, rows, rows of tiles, numbers of a line)."""
        images, channels, height, width = pictures.layout.shape
        line, rows = width * channels, len(matrix)
        apart = _apart(block, line)
        for span in separate(height, block.first, block.last, matrix.shape[1]):
            some = self.lanes, block.pictures, span.tiles
            there = images // self.lanes * height * line, height * line, TILE * span.step * line, line, 1
            here = rows * apart, block.rows // block.pictures * line, span.step * line, apart, 1
            left = self._part(matrix, span.place, span.size).seen(plain((1, 1, 1, rows, span.size)))
            seen = strided((*some, span.size, line), there)
            source = pictures.seen(seen, (block.picture * height + span.pixel) * line)
            target = self._half.seen(strided((*some, rows, line), here), span.tile * line)
            product(self.c, left, source, target)

    def _across(self, matrix: np.ndarray, pictures: Sequence[int], block: Chunk, target: Tiles) -> None:
        """``half matrix'`` of all windows, with zeros beyond the pictures' sides."""
        _, channels, _, width = pictures
        rows, size = matrix.shape
        line, numbers = width * channels, target.tiles * channels
        apart = _apart(block, line)
        found = spans(width, 0, block.columns, size)
        low, high = min(span.place for span in found), max(span.place + span.size for span in found)
        is_whole = sum(span.size * span.tiles for span in found) == (high - low) * block.columns
        columns = self._room_for_columns(size, size * rows * numbers, zeros=not is_whole)
        there = (rows * apart, channels, apart, line, TILE * channels, 1)
        here = (size * rows * numbers, rows * numbers, numbers, block.columns * channels, channels, 1)
        for span in found:
            shape = (self.lanes, span.size, rows, block.rows, span.tiles, channels)
            start = span.place * rows * numbers + span.tile * channels
            self._copy(shape, (self._half, Place(there, span.pixel * channels)), (columns, Place(here, start)))
        left = self._part(matrix, low, high - low)
        seen = strided((self.lanes, rows, high - low, numbers), (size * rows * numbers, numbers, rows * numbers, 1))
        product(self.c, left, columns.seen(seen, low * rows * numbers), target.rows(rows))

    def _room_for_columns(self, size: int, numbers: int, zeros: bool) -> Tensor:
        """Blocks of one size, whose zeros are in the same places, follow each other in the same memory."""
        if (size, numbers) not in self._columns:
            columns = self._columns[size, numbers] = self.c.scratch(plain((self.lanes * numbers,)))
            if zeros:
                self.c.compute(_zeros, [], [columns], "numpy: zeros")
        return self._columns[size, numbers]

    def _part(self, matrix: np.ndarray, start: int, size: int) -> Tensor:
        part = np.ascontiguousarray(matrix[:, start : start + size])
        return self.c.constant(part).seen(plain((1, 1, *part.shape)))

    def _both_ways(
        self,
        matrix: np.ndarray,
        tiles: Tiles,
        target: Tiles,
        row: Tensor | None,
        activation: Activation | None,
    ) -> None:
        """``activation(matrix tile matrix' + row)`` of all tiles."""
        rows, size = matrix.shape
        numbers = tiles.tiles * tiles.channels
        apart = numbers + APART
        lane = rows * size * apart
        left = self._part(matrix, 0, size)
        half = strided((self.lanes, size, rows, numbers), (lane, apart, size * apart, 1))
        product(self.c, left, tiles.columns(size), self._half.seen(half))
        across = strided((self.lanes, rows, size, numbers), (lane, size * apart, apart, 1))
        bias = row and row.seen(plain((1, 1, 1, numbers)))
        product(self.c, left, self._half.seen(across), target.rows(rows), bias, activation=activation)

    def _copy(self, shape: tuple[int, ...], source: tuple[Tensor, Place], target: tuple[Tensor, Place]) -> None:
        (reads, there), (writes, here) = source, target
        key = shape, there.strides, here.strides
        if key not in self._copies:
            self._copies[key] = copying(*key)
        primitive, read, write = self._copies[key]
        self.c.execute(primitive, {SRC: reads.seen(read, there.start), DST: writes.seen(write, here.start)})


class PixelSums:
    """Sums over all pixels, by channels, of what is read; block by block, or they would lose digits."""

    def __init__(self, c: Compiler, transforms: Transforms, channels: int) -> None:
        self.c, self._lanes = c, transforms.lanes
        self._blocks = sum(1 for chunk in transforms.chunks for _ in transforms.blocks(chunk))
        self._rows = c.scratch(plain((self._lanes, self._blocks, channels)))
        self._done = 0

    def add(self, pictures: Tensor, block: Chunk) -> None:
        """Each lane's sums over the pixels of a block."""
        images, channels, height, width = pictures.layout.shape
        line = width * channels
        rows = min(TILE * block.last, height) - TILE * block.first
        count = block.pictures * rows * width
        seen = strided((self._lanes, count, channels), (images // self._lanes * height * line, channels, 1))
        pixels = pictures.seen(seen, (block.picture * height + TILE * block.first) * line)
        row = strided((self._lanes, 1, channels), (self._blocks * channels, channels, 1))
        ones = self.c.constant(np.ones((1, 1, count), np.float32))
        product(self.c, ones, pixels, self._rows.seen(row, self._done * channels))
        self._done += 1

    def finish(self, target: Tensor) -> None:
        """The sums of all blocks and lanes."""
        count, channels = self._lanes * self._blocks, self._rows.layout.shape[-1]
        ones = self.c.constant(np.ones((1, count), np.float32))
        product(self.c, ones, self._rows.seen(plain((count, channels))), target.seen(plain((1, channels))))
