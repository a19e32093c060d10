"""The contract of every feature transform, and chains of them.

A transform turns one value into another. `apply` does it for one value and `batch` for many; both give the same
numbers. Random transforms take their numbers from a generator that the caller makes for each row from (seed, epoch,
shard, row), so that a repeated task repeats its augmentation. Inputs are never changed; outputs may share their memory.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Union

import numpy as np

from featurelib.errors import FeatureError
from featurelib.sample import inputs_in
from kernels.errors import ArgumentError

__all__ = ["ChainedPreprocessing", "Preprocessing", "RowStreams", "Transformable", "stack"]

Streams = Union[Sequence[np.random.Generator], "RowStreams"]


class Transformable(ABC):
    """A set that transforms itself as a whole: ``preprocessing(image_set)`` or ``preprocessing(text_set)`` does it."""

    @abstractmethod
    def transform(self, transformer: Preprocessing) -> Any:
        """The set with every value transformed; the set itself stays as it is."""


class Preprocessing(ABC):
    """A transform of one value into another (Analytics Zoo's `Preprocessing`).

    A subclass writes `apply`; one that has a faster way for many rows writes `batch` too, with equal results. `random`
    says whether `apply` draws from `rng`. The constructor stores its arguments under their own names, which is what
    `featurelib.config` describes. One of your own needs `@register_class` (`featurelib`) to be used in a stage.

    >>> from featurelib.tensor import SeqToTensor
    >>> SeqToTensor([2, 2])([1, 2, 3, 4]).shape
    (2, 2)
    """

    several_tensors: ClassVar[bool] = False  # whether a value becomes a tuple of tensors

    @property
    def random(self) -> bool:
        """Whether the result depends on a random generator."""
        return False

    @abstractmethod
    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        """Transform one value; `rng` is needed if `random`. Raises `FeatureError` for a value that does not fit."""

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> Any:
        """Transform n values, `rngs[i]` for the i-th; returns n values as a list or an array (n, ...).

        A transform that makes several tensors of a value returns a tuple of arrays, each (n, ...). Raises
        `FeatureError` with the position of the value that does not fit as its `row`.
        """
        return _row_by_row([self], values, rngs)

    def deterministic(self) -> Preprocessing:
        """The transform without its randomness, for scoring: itself, or what stands for it (an empty chain: nothing).

        >>> from featurelib.image import ImageRandomCrop
        >>> ImageRandomCrop(24, 32).deterministic()
        ImageCenterCrop(crop_width=24, crop_height=32)
        """
        return ChainedPreprocessing([]) if self.random else self

    def __call__(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        return value.transform(self) if isinstance(value, Transformable) else self.apply(value, rng)

    def transform(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        """As a call: BigDL's word for it."""
        return self(value, rng)

    def __rshift__(self, other: Preprocessing) -> ChainedPreprocessing:
        return ChainedPreprocessing([self, other])

    def __repr__(self) -> str:
        parameters = inspect.signature(type(self)).parameters.values()
        args = [f"{p.name}={getattr(self, p.name)!r}" for p in parameters if getattr(self, p.name) is not p.default]
        return f"{type(self).__name__}({', '.join(args)})"


class ChainedPreprocessing(Preprocessing):
    """Transforms one after another (Analytics Zoo's `ChainedPreprocessing`); also written ``a >> b``.

    `transformers` is a list of `Preprocessing`; chains inside it are flattened, an empty list changes nothing. Raises
    `ArgumentError` for an element that is not a `Preprocessing`.

    >>> from featurelib.tensor import ArrayToTensor, SeqToTensor
    >>> chain = SeqToTensor() >> ArrayToTensor([2, 2])
    >>> chain([1, 2, 3, 4]).tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    >>> chain.batch([[1, 2, 3, 4], [5, 6, 7, 8]]).shape
    (2, 2, 2)
    """

    def __init__(self, transformers: Sequence[Preprocessing]) -> None:
        self.transformers = list(_flatten(transformers))
        for stage in self.transformers[:-1]:
            if stage.several_tensors:
                raise ArgumentError(f"{type(stage).__name__} makes several tensors and must be the last of its chain.")

    @property
    def random(self) -> bool:
        return any(stage.random for stage in self.transformers)

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> Any:
        for stage in self.transformers:
            value = stage.apply(value, rng)
        return value

    def batch(self, values: Sequence[Any], rngs: Streams | None = None) -> Any:
        """Transform n values stage by stage; neighbouring stages without a batch form run row by row together."""
        together: list[Preprocessing] = []
        for stage in self.transformers:
            if type(stage).batch is Preprocessing.batch:
                together.append(stage)
                continue
            values = _row_by_row(together, values, rngs)
            values = stage.batch(values, rngs)
            together = []
        return _row_by_row(together, values, rngs)

    def deterministic(self) -> ChainedPreprocessing:
        return ChainedPreprocessing([stage.deterministic() for stage in self.transformers])

    def split_at_random(self) -> tuple[ChainedPreprocessing, ChainedPreprocessing]:
        """Cut before the first random transform: (what a cache of samples may hold, what runs every epoch).

        >>> from featurelib.image import ImageBytesToMat, ImageHFlip, ImageMatToTensor, ImageRandomPreprocessing
        >>> chain = ImageBytesToMat() >> ImageRandomPreprocessing(ImageHFlip(), 0.5) >> ImageMatToTensor()
        >>> [len(part.transformers) for part in chain.split_at_random()]
        [1, 2]
        """
        cut = next((i for i, stage in enumerate(self.transformers) if stage.random), len(self.transformers))
        return ChainedPreprocessing(self.transformers[:cut]), ChainedPreprocessing(self.transformers[cut:])


class RowStreams:
    """The random generators of a batch's rows, each made when a transform first asks for it.

    `make(row)` returns the generator of a row, `rows` holds the rows' numbers in the order of the batch. Within a batch
    a row keeps its generator, so that the random transforms of a chain draw on from one stream.

    >>> streams = RowStreams(lambda row: np.random.default_rng([7, row]), [12, 5])
    >>> len(streams), streams[1] is streams[1]
    (2, True)
    """

    def __init__(self, make: Callable[[int], np.random.Generator], rows: Sequence[int] | np.ndarray) -> None:
        self.make = make
        self.rows = rows
        self._made: dict[int, np.random.Generator] = {}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, position: int) -> np.random.Generator:
        stream = self._made.get(position)
        if stream is None:
            stream = self._made[position] = self.make(int(self.rows[position]))
        return stream


def stack(rows: Any) -> np.ndarray | tuple[np.ndarray, ...]:
    """Make the result of `batch` one contiguous array (n, ...), or a tuple of them for several tensors.

    Samples are the inputs that they hold. Rows that already lie one after another in one array are not copied. Raises
    `FeatureError` for rows of unequal shapes.

    >>> stack([np.ones(3), np.zeros(3)]).shape
    (2, 3)
    >>> stack([np.ones(3), np.zeros(2)])
    Traceback (most recent call last):
    featurelib.errors.FeatureError: row 1: rows of a batch must have one shape: expected (3,), received (2,).
    """
    if isinstance(rows, tuple):
        return tuple(np.ascontiguousarray(block) for block in rows)
    if isinstance(rows, np.ndarray):
        return np.ascontiguousarray(rows)
    inputs = inputs_in(rows)
    return _stacked(inputs[0]) if len(inputs) == 1 else tuple(map(_stacked, inputs))


def _stacked(rows: Sequence[Any]) -> np.ndarray:
    arrays = [np.asarray(row) for row in rows]
    for i, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            expected, received = arrays[0].shape, array.shape
            message = f"rows of a batch must have one shape: expected {expected}, received {received}."
            raise FeatureError(message).at_row(i)
    whole = _common_block(arrays)
    return np.stack(arrays) if whole is None else whole


def _common_block(arrays: list[np.ndarray]) -> np.ndarray | None:
    first = arrays[0]
    block = first.base
    if not isinstance(block, np.ndarray) or not block.flags.c_contiguous:
        return None
    if block.dtype != first.dtype or block.size != first.size * len(arrays) or not first.size:
        return None
    start = block.ctypes.data
    for i, array in enumerate(arrays):
        in_place = array.base is block and array.flags.c_contiguous and array.dtype == block.dtype
        if not in_place or array.__array_interface__["data"][0] != start + i * first.nbytes:
            return None
    return block.reshape(len(arrays), *first.shape)


def generator(transform: Preprocessing, rng: np.random.Generator | None) -> np.random.Generator:
    """The generator that a random transform was given; `ArgumentError` if it was given none."""
    if rng is None:
        raise ArgumentError(
            f"{type(transform).__name__} is random and needs a generator: apply(value, rng=...) or "
            "batch(values, rngs=...). Hint: transform.deterministic() is its form for scoring."
        )
    return rng


def _flatten(transformers: Sequence[Preprocessing]) -> Any:
    if not isinstance(transformers, (list, tuple)):
        raise ArgumentError(f"transformers must be a list of Preprocessing. Received: {transformers!r}.")
    for i, stage in enumerate(transformers):
        if isinstance(stage, ChainedPreprocessing):
            yield from stage.transformers
        elif isinstance(stage, Preprocessing):
            yield stage
        else:
            hint = f" Hint: write {stage.__name__}(...)." if isinstance(stage, type) else ""
            raise ArgumentError(f"transformers[{i}] must be a Preprocessing. Received: {stage!r}.{hint}")


def _row_by_row(stages: Sequence[Preprocessing], values: Sequence[Any], rngs: Streams | None) -> Any:
    """All stages on one row before the next row: a decoded picture is still in the processor's cache when resized."""
    if not stages:
        return values
    if rngs is not None and len(rngs) != len(values):
        raise ArgumentError(f"rngs must hold one generator per value: expected {len(values)}, received {len(rngs)}.")
    steps = [(stage.apply, stage.random and rngs is not None) for stage in stages]
    results = []
    for row, value in enumerate(values):
        try:
            for apply, draws in steps:
                value = apply(value, rngs[row]) if draws else apply(value)  # type: ignore[index]
        except FeatureError as error:
            error.at_row(row)
            raise
        results.append(value)
    return results
