"""Ops whose results depend on the data in number: padded to a declared maximum, with a count."""

from __future__ import annotations

import numpy as np

from kernels.graph import INT32, Node, Op, Spec, Value, apply
from kernels.ops.shapes import expect, floats


def _nms_shape(
    boxes: Spec, scores: Spec, *, iou_threshold: float, score_threshold: float, max_output: int
) -> list[Spec]:
    expect(len(boxes.shape) == 2 and boxes.shape[1] == 4, "boxes (n, 4)", boxes.shape)
    expect(scores.shape == boxes.shape[:1], f"scores of shape {boxes.shape[:1]}", scores.shape)
    expect(max_output >= 1, "max_output >= 1", max_output)
    floats(boxes, scores)
    return [Spec((max_output,), INT32), Spec((1,), INT32)]


def _overlap(box: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Intersection over union of one box with many; 0 where both are empty."""
    low, high = np.maximum(box[:2], boxes[:, :2]), np.minimum(box[2:], boxes[:, 2:])
    common = np.prod(np.maximum(high - low, 0), axis=1)
    union = np.prod(box[2:] - box[:2]) + np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) - common
    return np.divide(common, union, out=np.zeros_like(common), where=union > 0)


def _nms(
    boxes: np.ndarray, scores: np.ndarray, *, iou_threshold: float, score_threshold: float, max_output: int
) -> tuple[np.ndarray, np.ndarray]:
    kept: list[int] = []
    order = np.argsort(-scores, kind="stable")
    order = order[scores[order] > score_threshold]
    while order.size and len(kept) < max_output:
        best, order = int(order[0]), order[1:]
        kept.append(best)
        order = order[_overlap(boxes[best], boxes[order]) <= iou_threshold]
    indices = np.full(max_output, -1, np.int32)
    indices[: len(kept)] = kept
    return indices, np.array([len(kept)], np.int32)


def _no_gradient(node: Node, *_: Value | None) -> list[None]:
    return [None, None]


NON_MAX_SUPPRESSION = Op("non_max_suppression", _nms_shape, _nms, _no_gradient)


def non_max_suppression(
    boxes: Value, scores: Value, *, iou_threshold: float, score_threshold: float, max_output: int
) -> tuple[Value, Value]:
    """Greedy choice of boxes by score: one that overlaps a chosen one by more than iou_threshold is left out.

    boxes (n, 4) as x1, y1, x2, y2 and scores (n,), of which those above score_threshold count -> int32 indices
    (max_output,) from the best score down, padded with -1, and int32 count (1,). Equal scores: the lower index first.
    No gradient.

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> boxes, scores = graph.input("boxes", (100, 4)), graph.input("scores", (100,))
    >>> chosen, count = non_max_suppression(boxes, scores, iou_threshold=0.5, score_threshold=0.1, max_output=20)
    >>> chosen.shape, count.shape
    ((20,), (1,))
    """
    limits = {"iou_threshold": float(iou_threshold), "score_threshold": float(score_threshold)}
    indices, count = apply(NON_MAX_SUPPRESSION, boxes, scores, max_output=int(max_output), **limits)
    return indices, count
