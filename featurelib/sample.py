"""What training takes of one record: the tensors that go in, and those that should come out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from featurelib.errors import FeatureError

__all__ = ["Sample"]


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
