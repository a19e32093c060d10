"""Layer-wise adaptive rate scaling: large batches without a layer's step outgrowing its weights."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnframes.optim.checks import number
from nnframes.optim.clipping import block_squares, global_norm
from nnframes.optim.schedules import Schedule
from nnframes.optim.sgd import SGD

__all__ = ["LarsSGD"]


class LarsSGD(SGD):
    """SGD with layer-wise adaptive rates (You, Gitman and Ginsburg 2017), as BigDL's `LarsSGD`.

    With g the gradient and w the weights of one parameter, norms over the whole of it, rate(n) as in `SGD`:

    ``g = trust * |w| / (|g| + weightdecay * |w|) * (g + weightdecay * w)``; ``v = momentum * v + g`` (``v = g`` in the
    first update); ``w -= rate(n) * v``.

    A parameter or gradient of zeros is left to plain SGD. In a table the rows that a step touches count as one
    parameter. Raises `ArgumentError` for numbers out of range.

    >>> weights, gradient = np.array([3.0, 4.0], np.float32), np.array([0.0, 2.0], np.float32)
    >>> method = LarsSGD(trust=0.1, learningrate=1.0, weightdecay=0.0, momentum=0.0)
    >>> method.prepare(weights, gradient, [slice(0, 2)])
    >>> method.step(weights, gradient, method.init(2), 0)
    >>> weights.tolist()
    [3.0, 3.5]
    """

    def __init__(
        self,
        trust: float = 1.0,
        learningrate: float = 1e-3,
        learningrate_decay: float = 0.01,
        weightdecay: float = 0.005,
        momentum: float = 0.5,
        learningrate_schedule: Schedule | None = None,
    ) -> None:
        number(self, "trust", trust, 0.0, above=True)
        super().__init__(
            learningrate,
            learningrate_decay,
            weightdecay,
            momentum,
            dampening=0.0,
            learningrate_schedule=learningrate_schedule,
        )
        self.trust = trust

    def prepare(self, weights: np.ndarray, gradient: np.ndarray, places: Sequence[slice]) -> None:
        """Add the decay to each parameter's gradient, and scale it, in place."""
        for place in places:
            part, values = gradient[place], weights[place]
            size, slope = _norm(values), _norm(part)
            part += np.float32(self.weightdecay) * values
            if size and slope:
                part *= np.float32(self.trust * size / (slope + self.weightdecay * size))

    def _decay(self) -> float:
        return 0.0  # `prepare` has added it


def _norm(values: np.ndarray) -> float:
    """Over fixed blocks, so that it has the same bits everywhere."""
    return global_norm([block_squares(values.reshape(-1))])
