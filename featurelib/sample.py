"""What training takes of one record: the tensors that go in, and those that should come out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from featurelib.errors import FeatureError

__all__ = ["Sample", "inputs_in", "tensors_of"]


@dataclass(frozen=True, eq=False, repr=False)
class Sample:
    """Input and target tensors of one record (BigDL's `Sample`), numpy arrays of float32 each, or int32 for words.

    `numpy.asarray` gives the input where there is just one, so that samples of a batch can be stacked.

    >>> sample = Sample((np.zeros((1, 4, 4), np.float32),), (np.ones(1, np.float32),))
    >>> sample, np.asarray(sample).shape
    (Sample(features=[(1, 4, 4)], labels=[(1,)]), (1, 4, 4))
    """

    features: tuple[np.ndarray, ...]
    labels: tuple[np.ndarray, ...] = ()

    def __repr__(self) -> str:
        features, labels = ([part.shape for part in parts] for parts in (self.features, self.labels))
        return f"Sample(features={features}, labels={labels})"

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if len(self.features) != 1:
            raise FeatureError(f"a sample is one array where it has one input. Received: {len(self.features)} inputs.")
        return np.array(self.features[0], dtype=dtype) if copy else np.asarray(self.features[0], dtype=dtype)


def tensors_of(value: Any) -> tuple[np.ndarray, ...]:
    """The tensors that a transformed value stands for: a sample's inputs, also of a record that holds one; or itself.

    >>> [part.shape for part in tensors_of(Sample((np.zeros(2), np.zeros(3))))], len(tensors_of(np.zeros(4)))
    ([(2,), (3,)], 1)
    """
    sample = _sample_in(value)
    if sample is not None:
        return sample.features
    return tuple(map(np.asarray, value if isinstance(value, tuple) else (value,)))


def inputs_in(rows: Sequence[Any]) -> tuple[Sequence[Any], ...]:
    """The inputs of a batch's rows, n values each: those of its samples, or the rows themselves, which are one input.

    Raises `FeatureError` with the row that has another number of inputs than the first.

    >>> [len(values) for values in inputs_in([Sample((np.zeros(2), np.zeros(3)))] * 5)]
    [5, 5]
    """
    if isinstance(rows, np.ndarray) or not len(rows) or _sample_in(rows[0]) is None:
        return (rows,)
    parts = [tensors_of(row) for row in rows]
    for row, tensors in enumerate(parts):
        if len(tensors) != len(parts[0]):
            message = f"samples of a batch must have one number of inputs: expected {len(parts[0])}, received"
            raise FeatureError(f"{message} {len(tensors)}.").at_row(row)
    return tuple(map(list, zip(*parts, strict=True)))


def _sample_in(value: Any) -> Sample | None:
    found = value.get("sample") if isinstance(value, dict) else value
    return found if isinstance(found, Sample) else None
