"""What the tests of all transforms need to know of one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from featurelib import Preprocessing


@dataclass
class Case:
    transform: Preprocessing
    values: list[list[Any]]  # batches it takes
    shape: tuple[int, ...] | None = None  # of every result of the first batch; None: it follows the numbers drawn
    dtype: str = "float32"
    bounds: tuple[float, float] = (-np.inf, np.inf)  # of the results of the first batch
    bad: list[tuple[Any, type[Exception], str]] = field(default_factory=list)  # value, error, part of its message
