"""How series are cut in time into training, validation and test."""

from __future__ import annotations

from dataclasses import dataclass

from featurelib import _checks
from kernels.errors import ArgumentError

__all__ = ["Split"]


@dataclass(frozen=True)
class Split:
    """How each series is cut in time: its last rows are for testing, those before for validation, the rest to train.

    `val_ratio` and `test_ratio` say how many. Validation and test begin with the `largest_look_back` rows before them,
    for windows to look back on; no row that is to be predicted in one part is to be predicted in another. (Chronos adds
    largest_horizon - 1 rows more, which training predicts too.) Every part must have a window of `largest_look_back`
    and `largest_horizon` rows.

    >>> Split(0.1, 0.2, largest_look_back=3).slices(10)
    [slice(0, 7, None), slice(4, 8, None), slice(5, 10, None)]
    """

    val_ratio: float = 0
    test_ratio: float = 0.1
    largest_look_back: int = 0
    largest_horizon: int = 1

    def __post_init__(self) -> None:
        for name in ("val_ratio", "test_ratio"):
            _checks.finite(name, getattr(self, name))
        if not (0 <= self.val_ratio < 1 and 0 <= self.test_ratio < 1 and self.val_ratio + self.test_ratio < 1):
            raise ArgumentError(
                "val_ratio and test_ratio must be >= 0 and leave something to train on. "
                f"Received: val_ratio={self.val_ratio!r}, test_ratio={self.test_ratio!r}."
            )
        _checks.whole("largest_look_back", self.largest_look_back, 0)
        _checks.whole("largest_horizon", self.largest_horizon, 1)

    def slices(self, rows: int) -> list[slice | None]:
        """Return the rows of a series for training, validation and test; None for a part of ratio 0."""
        test, val = int(rows * self.test_ratio), int(rows * self.val_ratio)
        first_val, first_test = rows - test - val, rows - test
        return [
            slice(0, first_val),
            slice(max(first_val - self.largest_look_back, 0), first_test) if self.val_ratio else None,
            slice(max(first_test - self.largest_look_back, 0), rows) if self.test_ratio else None,
        ]
