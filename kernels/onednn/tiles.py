"""Pictures cut into tiles of 4x4 pixels, with or without the pixels around them: which lie where, and how they move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kernels.native.dnnl import dnnl
from kernels.onednn.compiler import Tensor
from kernels.onednn.descriptors import Layout, Primitive, strided

TILE, WINDOW = 4, 6


@dataclass(frozen=True)
class Chunk:
    """Of each lane's pictures all tiles of some, or some rows of tiles of one."""

    picture: int
    pictures: int
    first: int
    last: int
    columns: int

    @property
    def rows(self) -> int:
        """Rows of tiles."""
        return self.pictures * (self.last - self.first)

    @property
    def tiles(self) -> int:
        return self.rows * self.columns

    def parts(self, most: int) -> Iterator[Chunk]:
        """All tiles in order, about `most` at a time."""
        rows, end = self.last - self.first, self.picture + self.pictures
        step, some_rows = max(1, most // (rows * self.columns)), min(rows, max(1, most // self.columns))
        for picture in range(self.picture, end, step):
            for row in range(self.first, self.last, some_rows):
                yield Chunk(picture, min(step, end - picture), row, min(row + some_rows, self.last), self.columns)


def all_tiles(pictures: int, height: int, width: int) -> Chunk:
    """Those at the end of a row or column may reach beyond the picture."""
    return Chunk(0, pictures, 0, -(-height // TILE), -(-width // TILE))


@dataclass(frozen=True)
class Span:
    """Along one axis: `size` pixels from `pixel` on lie at `place` of tile number `tile`, and so on for `tiles`."""

    place: int
    size: int
    tile: int
    tiles: int
    pixel: int
    step: int = 1
    """From one of the tiles to the next."""


def spans(length: int, first: int, last: int, size: int) -> list[Span]:
    """All pixels of the tiles `first` to `last`, or of the windows around them, with few spans."""
    return _inside(length, first, last) if size == TILE else _around(length, first, last)


def _inside(length: int, first: int, last: int) -> list[Span]:
    full = min(last, length // TILE)
    found = [
        Span(0, TILE, 0, full - first, TILE * first),
        Span(0, length % TILE, full - first, last - full, TILE * full),
    ]
    return [span for span in found if span.tiles > 0]


def _around(length: int, first: int, last: int) -> list[Span]:
    low, high = max(first, 1), min(last, (length - 1) // TILE)
    before = Span(0, 1, low - first, last - low, TILE * low - 1)
    after = Span(WINDOW - 1, 1, 0, high - first, TILE * (first + 1))
    own = [replace(span, place=1) for span in _inside(length, first, last)]
    return [*own, *(span for span in (before, after) if span.tiles > 0)]


def separate(length: int, first: int, last: int, size: int) -> list[Span]:
    """Each tile, or the window around it, in one span with others that have no pixels in common with it."""
    border, step = (size - TILE) // 2, -(-size // TILE)
    low, high = max(first, -(-border // TILE)), min(last, (length - border) // TILE)
    starts = range(low, min(low + step, high))
    whole = [Span(0, size, at - first, len(range(at, high, step)), TILE * at - border, step) for at in starts]
    cut = [tile for tile in range(first, last) if not low <= tile < high]
    return [*whole, *(_cut(length, tile, tile - first, border) for tile in cut)]


def _cut(length: int, tile: int, number: int, border: int) -> Span:
    """A tile whose window reaches beyond the picture."""
    before = TILE * tile - border
    start, end = max(0, before), min(length, TILE * (tile + 1) + border)
    return Span(start - before, end - start, number, 1, start)


@dataclass(frozen=True)
class Place:
    """Where numbers lie: the strides of their axes, and the first one."""

    strides: tuple[int, ...]
    start: int


@dataclass(frozen=True)
class Stretch:
    """Pixels that are in the same places of their tiles, in the pictures and in the tiles' own order.

    Axes: lane, row in the tile, column in the tile, picture, row of tiles, column of tiles, channel. The tiles' own
    order is, for each lane, one place of all tiles after the other.
    """

    shape: tuple[int, ...]
    pictures: Place
    tiles: Place


def stretches(pictures: Sequence[int], lanes: int, chunk: Chunk) -> Iterator[Stretch]:
    """All pixels of the chunk's tiles, as few rectangular copies."""
    images, channels, height, width = pictures
    row, tile_row, place = width * channels, chunk.columns * channels, chunk.tiles * channels
    there = (images // lanes * height * row, row, channels, height * row, TILE * row, TILE * channels, 1)
    here = (TILE**2 * place, TILE * place, place, place // chunk.pictures, tile_row, channels, 1)
    for down in _inside(height, chunk.first, chunk.last):
        for across in _inside(width, 0, chunk.columns):
            shape = (lanes, down.size, across.size, chunk.pictures, down.tiles, across.tiles, channels)
            pixel = (chunk.picture * height + down.pixel) * row + across.pixel * channels
            yield Stretch(shape, Place(there, pixel), Place(here, down.tile * tile_row + across.tile * channels))


def copying(shape: tuple[int, ...], read: tuple[int, ...], write: tuple[int, ...]) -> tuple[Primitive, Layout, Layout]:
    """A copy between two ways to lie in memory."""
    source, target, engine = strided(shape, read), strided(shape, write), dnnl().engine
    return Primitive("reorder", source, engine, target, engine), source, target


@dataclass(frozen=True)
class Tiles:
    """Numbers of tiles, (lanes, places, tiles, channels), with `apart` numbers from one place to the next."""

    memory: Tensor
    lanes: int
    tiles: int
    channels: int
    apart: int
    start: int = 0

    def part(self, first: int, tiles: int) -> Tiles:
        """Some of the tiles."""
        return replace(self, tiles=tiles, start=self.start + first * self.channels)

    def matrices(self, start: int = 0, width: int | None = None, turned: bool = False) -> Tensor:
        """For each of the 6x6 places the matrix (tiles, some channels), or (some channels, tiles)."""
        shape, strides = [self.tiles, width or self.channels], [self.channels, 1]
        if turned:
            shape, strides = shape[::-1], strides[::-1]
        stack = (self.lanes, WINDOW**2, *shape), (WINDOW**2 * self.apart, self.apart, *strides)
        return self.memory.seen(strided(*stack), self.start + start)

    def rows(self, size: int) -> Tensor:
        """For each row of `size` x `size` places the matrix (columns, numbers)."""
        return self._lines(size, size * self.apart, self.apart)

    def columns(self, size: int) -> Tensor:
        """For each column of `size` x `size` places the matrix (rows, numbers)."""
        return self._lines(size, self.apart, size * self.apart)

    def _lines(self, size: int, line: int, step: int) -> Tensor:
        shape = (self.lanes, size, size, self.tiles * self.channels)
        return self.memory.seen(strided(shape, (size**2 * self.apart, line, step, 1)), self.start)
