"""Random masks that depend on (seed, iteration, shard) and on which node asks, on nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import INT64, Node, Op, Spec, Value, apply
from kernels.ops.elementwise import multiply
from kernels.ops.shapes import expect, expect_type
from kernels.random import uniform_mask


def _mask_shape(key: Spec, *, shape: tuple[int, ...], keep: float, stream: int, scale: bool) -> Spec:
    if not 0.0 < keep <= 1.0:
        raise ArgumentError(f"keep must be in (0, 1]. Received: keep={keep}.")
    expect(key.shape == (4,), "a random key of shape (4,)", key.shape)
    expect_type(key, INT64, "a random key")
    return Spec(shape)


def _mask(key: np.ndarray, *, shape: tuple[int, ...], **attrs: Any) -> np.ndarray:
    return draw_mask(key, np.empty(shape, np.float32), **attrs)


def draw_mask(key: np.ndarray, out: np.ndarray, *, keep: float, stream: int, scale: bool) -> np.ndarray:
    """Write a mask to `out` float32 and return it; see `bernoulli_mask`."""
    seed, *rest = key.tolist()
    return uniform_mask(seed, (*rest, stream), out.shape, keep, out, 1 / keep if scale else 1.0)


def _no_gradient(node: Node, dy: Value) -> list[None]:
    return [None]


BERNOULLI_MASK = Op("bernoulli_mask", _mask_shape, _mask, _no_gradient)


def bernoulli_mask(key: Value, shape: Sequence[int], *, keep: float, stream: int, scale: bool = True) -> Value:
    """Zeros, and with probability `keep` ones, or 1 / keep if `scale`: int64 key (seed, iteration, shard, 0) -> shape.

    Raises `ArgumentError` unless 0 < keep <= 1.

    >>> from kernels.graph import Graph
    >>> bernoulli_mask(Graph().random_key(), (2, 3), keep=0.5, stream=1).shape
    (2, 3)
    """
    attrs = {"shape": tuple(map(int, shape)), "keep": float(keep), "stream": int(stream), "scale": bool(scale)}
    return apply(BERNOULLI_MASK, key, **attrs)[0]


def dropout(x: Value, keep: float, scale: bool = True, shape: Sequence[int] | None = None) -> Value:
    """Product of x and a random mask of its own stream; `shape` of the mask, if not that of x, must broadcast to it.

    >>> from kernels.graph import Graph
    >>> dropout(Graph().input("x", (8, 3, 5, 5)), 0.8, shape=(8, 3, 1, 1)).shape
    (8, 3, 5, 5)
    """
    graph = x.graph
    mask = bernoulli_mask(
        graph.random_key(), x.shape if shape is None else shape, keep=keep, stream=graph.next_stream(), scale=scale
    )
    return multiply(x, mask)
