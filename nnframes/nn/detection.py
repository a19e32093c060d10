"""Layers of object detectors whose results have no fixed number: padded to a declared maximum, with a count."""

from __future__ import annotations

from typing import Any

from kernels import ops
from nnframes.errors import ArgumentError
from nnframes.nn.layer import Layer
from nnframes.nn.parameter import positive
from nnframes.nn.trace import Table, Trace

__all__ = ["NonMaxSuppression"]


class NonMaxSuppression(Layer):
    """The best of overlapping boxes: [boxes (n, 4), scores (n,)] to [indices (max_output,), count (1,)], both int32.

    Boxes are (x1, y1, x2, y2). In the order of falling scores, a box is kept unless its intersection over union with
    one kept before is above `iou_threshold`, or its score is not above `score_threshold`. Unused indices are -1. It has
    no gradient.

    >>> NonMaxSuppression(max_output=100).output_shape([(2000, 4), (2000,)])
    [(100,), (1,)]
    """

    takes = "table"

    def __init__(self, iou_threshold: float = 0.5, score_threshold: float = 0.0, max_output: int = 100) -> None:
        positive(self, max_output=max_output)
        if not 0 <= iou_threshold <= 1:
            raise ArgumentError(f"NonMaxSuppression iou_threshold must be in [0, 1]. Received: {iou_threshold}.")
        self.iou_threshold = iou_threshold
        self.score_threshold = score_threshold
        self.max_output = max_output

    def call(self, t: Trace, x: list[Any]) -> Table:
        t.expect(len(x) == 2, "a table of boxes and scores", x)
        return list(
            ops.non_max_suppression(
                *x,
                iou_threshold=self.iou_threshold,
                score_threshold=self.score_threshold,
                max_output=self.max_output,
            )
        )
