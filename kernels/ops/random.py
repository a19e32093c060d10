"""Random masks that depend on (seed, iteration, shard) and on which node asks, on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import INT64, UINT8, Node, Op, Spec, Value, apply
from kernels.ops.shapes import broadcast, expect, expect_type
from kernels.random import uniform_mask


def _mask_shape(key: Spec, *, shape: tuple[int, ...], keep: float, stream: int) -> Spec:
    if not 0.0 < keep <= 1.0:
        raise ArgumentError(f"keep must be in (0, 1]. Received: keep={keep}.")
    expect(key.shape == (4,), "a random key of shape (4,)", key.shape)
    expect_type(key, INT64, "a random key")
    return Spec(shape, UINT8)


def _mask(key: np.ndarray, *, shape: tuple[int, ...], **attrs: Any) -> np.ndarray:
    return draw_mask(key, np.empty(shape, np.uint8), **attrs)


def draw_mask(key: np.ndarray, out: np.ndarray, *, keep: float, stream: int) -> np.ndarray:
    """Write a mask to `out` uint8 and return it; see `bernoulli_mask`."""
    seed, *rest = key.tolist()
    return uniform_mask(seed, (*rest, stream), out.shape, keep, out)


def _no_gradient(node: Node, dy: Value) -> list[None]:
    return [None]


def _masked_shape(x: Spec, mask: Spec, *, scale: float) -> Spec:
    expect_type(x)
    expect_type(mask, UINT8, "a mask")
    expect(broadcast(x.shape, mask.shape) == x.shape, f"a mask that broadcasts to {x.shape}", mask.shape)
    return x


def _masked(x: np.ndarray, mask: np.ndarray, *, scale: float) -> np.ndarray:
    return x * mask * x.dtype.type(scale)


def _masked_rule(node: Node, dy: Value) -> list[Value | None]:
    return [masked(dy, node.inputs[1], **node.attrs), None]


BERNOULLI_MASK = Op("bernoulli_mask", _mask_shape, _mask, _no_gradient)
MASKED = Op("masked", _masked_shape, _masked, _masked_rule)


def bernoulli_mask(key: Value, shape: Sequence[int], *, keep: float, stream: int) -> Value:
    """Ones with probability `keep`, else zeros: int64 key (seed, iteration, shard, 0) -> uint8 `shape`.

    Raises `ArgumentError` unless 0 < keep <= 1.

    >>> from kernels.graph import Graph
    >>> bernoulli_mask(Graph().random_key(), (2, 3), keep=0.5, stream=1).shape
    (2, 3)
    """
    attrs = {"shape": tuple(map(int, shape)), "keep": float(keep), "stream": int(stream)}
    return apply(BERNOULLI_MASK, key, **attrs)[0]


def masked(x: Value, mask: Value, scale: float = 1.0) -> Value:
    """The tensor x * mask * scale of a uint8 mask of zeros and ones, which broadcasts to x.

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> masked(graph.input("x", (8, 3)), graph.input("mask", (8, 1), "uint8"), 2.0).shape
    (8, 3)
    """
    return apply(MASKED, x, mask, scale=float(scale))[0]


def dropout(x: Value, keep: float, scale: bool = True, shape: Sequence[int] | None = None) -> Value:
    """Zeros at random in x, by a mask of its own stream; the rest is divided by `keep` if `scale`.

    The `shape` of the mask, if not that of x, must broadcast to it.

    >>> from kernels.graph import Graph
    >>> dropout(Graph().input("x", (8, 3, 5, 5)), 0.8, shape=(8, 3, 1, 1)).shape
    (8, 3, 5, 5)
    """
    graph = x.graph
    mask = bernoulli_mask(
        graph.random_key(), x.shape if shape is None else shape, keep=keep, stream=graph.next_stream()
    )
    return masked(x, mask, 1 / keep if scale else 1.0)
