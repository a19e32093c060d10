from __future__ import annotations

import numpy as np
import pytest

from kernels import ops
from kernels.graph import Graph
from kernels.reference import evaluate

BOXES = [[0, 0, 10, 10], [1, 1, 10, 10], [20, 20, 30, 30], [0, 0, 10, 5], [20, 20, 30, 30], [5, 5, 5, 5]]
SCORES = [0.8, 0.9, 0.3, 0.7, 0.3, 0.05]


@pytest.mark.parametrize(
    ("iou", "score", "size", "chosen"),
    [
        (0.5, 0.1, 5, [1, 3, 2]),
        (0.9, 0.1, 6, [1, 0, 3, 2]),
        (1.0, 0.1, 6, [1, 0, 3, 2, 4]),
        (0.5, 0.1, 2, [1, 3]),
        (0.5, 0.75, 3, [1]),
        (0.5, 0.95, 3, []),
        (0.5, 0.0, 6, [1, 3, 2, 5]),
    ],
)
def test_greedy_choice(iou: float, score: float, size: int, chosen: list[int]) -> None:
    graph = Graph()
    outputs = ops.non_max_suppression(
        graph.input("boxes", (6, 4)),
        graph.input("scores", (6,)),
        iou_threshold=iou,
        score_threshold=score,
        max_output=size,
    )
    feeds = {"boxes": np.array(BOXES, np.float32), "scores": np.array(SCORES, np.float32)}
    indices, count = evaluate(outputs, feeds)
    assert indices.tolist() == chosen + [-1] * (size - len(chosen))
    assert count.tolist() == [len(chosen)]
