"""Pictures cut into tiles of 4x4 pixels, with or without the pixels around them: which lie where, and how they move."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from kernels.native.dnnl import dnnl
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
    def tiles(self) -> int:
        return self.pictures * (self.last - self.first) * self.columns


def chunks(pictures: int, height: int, width: int, most: int) -> Iterator[Chunk]:
    """All tiles, about `most` at a time; those at the end of a row or column may reach beyond the picture."""
    rows, columns = -(-height // TILE), -(-width // TILE)
    step, some_rows = max(1, most // (rows * columns)), min(rows, max(1, most // columns))
    for picture in range(0, pictures, step):
        for row in range(0, rows, some_rows):
            yield Chunk(picture, min(step, pictures - picture), row, min(row + some_rows, rows), columns)


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


def stretches(pictures: Sequence[int], lanes: int, chunk: Chunk, size: int) -> Iterator[Stretch]:
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
            yield Stretch(shape, Place(there, pixel), Place(here, number))


def copying(shape: tuple[int, ...], read: tuple[int, ...], write: tuple[int, ...]) -> tuple[Primitive, Layout, Layout]:
    """A copy between two ways to lie in memory."""
    source, target, engine = strided(shape, read), strided(shape, write), dnnl().engine
    return Primitive("reorder", source, engine, target, engine), source, target
