"""What a worker updates of the dense weights: all of them, or a slice whose sums only it has."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nnframes.optim import BLOCK

__all__ = ["Share"]


def _alone(numbers: np.ndarray) -> np.ndarray:
    return numbers[np.newaxis]


@dataclass(frozen=True)
class Share:
    """One worker's part `own` of the dense weights, in whole blocks of 4096 numbers; of `blocks` at most anybody's.

    What an update must know of the other parts, workers `tell` each other: float64 (n,) in, everybody's (workers, n)
    out, the same on all.

    >>> Share.whole(5000)
    Share(own=slice(0, 5000, None), blocks=2)
    """

    own: slice
    blocks: int
    tell: Callable[[np.ndarray], np.ndarray] = field(default=_alone, repr=False)

    @classmethod
    def whole(cls, size: int) -> Share:
        """Return the part that is all `size` weights."""
        return cls(slice(0, size), -(-size // BLOCK))

    def of(self, place: slice) -> slice:
        """Return what of `place` is in this part; perhaps nothing.

        >>> Share(slice(4096, 8192), 1).of(slice(0, 5000))
        slice(4096, 5000, None)
        """
        low = max(place.start, self.own.start)
        return slice(low, max(low, min(place.stop, self.own.stop)))
