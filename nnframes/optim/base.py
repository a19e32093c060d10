"""The contract of an optim method: state arrays beside flat weights, updated in place, any slice on its own."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from kernels.native.memory import Scratch
from kernels.sparse import RowSparse
from nnframes.errors import ArgumentError, ShapeError
from nnframes.optim.schedules import Default, Schedule

__all__ = ["OptimMethod", "Update"]

BLOCK = 1 << 20
"""Weights of a pass: 4 MB, so that scratch memory is bounded and what one pass wrote is in a cache for the next."""

ROWS_BLOCK = 1 << 18
"""Numbers of table rows of a pass: they are copied, with their state, so that all of it must fit."""

DEFAULT = Default()


_SCRATCH = Scratch(2)

State = dict[str, np.ndarray]


@dataclass(slots=True)
class Update:
    """What one call of `OptimMethod._update` needs beside the arrays.

    `t` is the number of updates already made, an int, or for table rows an int32 (n, 1) array of each row's own count.
    `start` is the place of the first weight in the whole flat vector, None for table rows. The gradient counts times
    `scale`, which is 1 unless the method says `takes_sums`.
    """

    t: int | np.ndarray
    rate: float
    start: int | None
    shape: tuple[int, ...]
    scale: float = 1.0

    @property
    def scratch(self) -> tuple[np.ndarray, np.ndarray]:
        """Two float32 arrays of the weights' shape, to be overwritten."""
        first, second = _SCRATCH.arrays(self.shape)
        return first, second


class OptimMethod(ABC):
    """Base of all optim methods.

    A subclass names its state arrays in `_slots` and writes `_update`, which must be elementwise: the same weight gets
    the same bits whatever slice it comes in. An instance holds settings only; weights and state are the caller's.
    """

    learningrate: float
    learningrate_decay: float = 0.0

    @abstractmethod
    def _slots(self) -> tuple[str, ...]:
        """Return the names of the state arrays, each of the weights' shape and zero at the start."""

    @abstractmethod
    def _update(self, weights: np.ndarray, gradient: np.ndarray, slots: Sequence[np.ndarray], update: Update) -> None:
        """Change `weights` and `slots` in place by one update; `gradient` stays as it is."""

    @property
    def schedule(self) -> Schedule:
        """The schedule in force."""
        return getattr(self, "leaningrate_schedule", None) or getattr(self, "learningrate_schedule", None) or DEFAULT

    @property
    def by_slices(self) -> bool:
        """Whether slices of the weights may be updated alone: not where a method looks at more than one weight."""
        return _by_slices(type(self))

    @property
    def takes_sums(self) -> bool:
        """Whether `step` and `step_rows` may get sums of gradients and what makes a mean of them.

        That spares a pass over memory. Never where a class has its own of the two, which may know of no `scale`.
        """
        return False

    def rate(self, t: int) -> float:
        """Return the learning rate of update `t`, counted from 0."""
        return self.schedule.rate(self.learningrate, t, self.learningrate_decay)

    def check(self, size: int) -> None:
        """Raise `ShapeError` where settings that are vectors do not fit a network of `size` dense weights."""
        return None

    def prepare(self, weights: np.ndarray, gradient: np.ndarray, places: Sequence[slice]) -> None:
        """Change the gradient in place before `step`, where a method looks at each parameter as a whole.

        `places` are the parameters in `weights` and `gradient`, whole vectors or the touched rows of a table.
        """
        return None

    def init(self, size: int) -> State:
        """Return the state, zero at the start, of a dense vector (or slice) of `size` weights."""
        return {name: np.zeros(size, np.float32) for name in self._slots()}

    def init_rows(self, rows: int, dim: int) -> State:
        """Return the state of a table (rows, dim); "steps" int32 (rows,) counts the updates that each row has had."""
        state = {name: np.zeros((rows, dim), np.float32) for name in self._slots()}
        return {**state, "steps": np.zeros(rows, np.int32)} if state else {}

    def step(
        self,
        weights: np.ndarray,
        gradient: np.ndarray,
        state: State,
        t: int,
        rate: float | None = None,
        start: int = 0,
        scale: float = 1.0,
    ) -> None:
        """Make update `t` (0 for the first) of `weights` float32 (n,) in place, `state` being of `init(n)`.

        `gradient` float32 (n,) is only read; it counts times `scale`. `rate` replaces `self.rate(t)`. For a slice,
        `start` is its place in the whole vector; updating slices gives the same bits as updating the whole. Raises
        `ShapeError` on a misfit, `ArgumentError` for a scale that the method does not take (see `takes_sums`).
        """
        self._check_scale(scale)
        slots = self._checked(weights, gradient, state, (len(weights),))
        rate = self.rate(t) if rate is None else rate
        if len(weights) <= BLOCK:  # not views of them: native arithmetic knows the arrays themselves again
            self._update(weights, gradient, slots, Update(t, rate, start, weights.shape, scale))
            return
        for low in range(0, len(weights), BLOCK):
            part = slice(low, low + BLOCK)
            chunk = weights[part]
            update = Update(t, rate, start + low, chunk.shape, scale)
            self._update(chunk, gradient[part], [slot[part] for slot in slots], update)

    def step_rows(
        self,
        table: np.ndarray,
        gradient: RowSparse,
        state: State,
        t: int,
        rate: float | None = None,
        scale: float = 1.0,
    ) -> None:
        """Make update `t` of the rows of `table` float32 (rows, dim) that `gradient` holds, in place; lazily.

        Lazy means: a row that has no gradient in this step is not read or written, neither are its state arrays, and
        no momentum, moment or weight decay acts on it. A row's own count of updates takes the place of `t` in
        momentum's first step and in bias correction; the learning rate follows `t`. A table whose every row has a
        gradient in every step therefore moves exactly like a dense vector. The rest is as for `step`.
        """
        self._check_scale(scale)
        rows, values = gradient.rows, gradient.values
        if len(rows) and rows[-1] >= len(table):
            raise ShapeError(f"The table has {len(table)} rows, received a gradient for row {rows[-1]}.")
        slots = self._checked(table[: len(rows)], values, state, table.shape)
        rate = self.rate(t) if rate is None else rate
        chunk = max(1, ROWS_BLOCK // max(1, table.shape[1]))
        for low in range(0, len(rows), chunk):
            some = rows[low : low + chunk]
            weights, parts = table[some], [slot[some] for slot in slots]
            steps = state["steps"][some, None] if slots else t
            update = Update(steps, rate, None, weights.shape, scale)
            self._update(weights, values[low : low + chunk], parts, update)
            table[some] = weights
            for slot, part in zip(slots, parts, strict=True):
                slot[some] = part
        if slots:
            state["steps"][rows] += 1

    def _check_scale(self, scale: float) -> None:
        if scale != 1.0 and not self.takes_sums:
            raise ArgumentError(
                f"{type(self).__name__} takes no scale but 1.0, received {scale}. Hint: scale the gradient."
            )

    def _checked(self, weights: np.ndarray, gradient: np.ndarray, state: State, shape: tuple) -> list[np.ndarray]:
        if weights.shape != gradient.shape or weights.dtype != np.float32 or gradient.dtype != np.float32:
            raise ShapeError(
                f"{type(self).__name__} expects float32 weights and gradient of one shape, "
                f"received {weights.dtype} {weights.shape} and {gradient.dtype} {gradient.shape}."
            )
        slots = []
        for name in self._slots():
            slot = state.get(name)
            if slot is None:
                raise ArgumentError(
                    f"{type(self).__name__} state must hold '{name}'. Received: {sorted(state)}. Hint: use init(size)."
                )
            if slot.shape != shape or slot.dtype != np.float32:
                raise ShapeError(
                    f"{type(self).__name__} expects float32 state of shape {shape}, received {slot.dtype} {slot.shape}."
                )
            slots.append(slot)
        return slots


@functools.cache
def _by_slices(kind: type[OptimMethod]) -> bool:
    return all(getattr(kind, name) is getattr(OptimMethod, name) for name in ("prepare", "step", "init"))
