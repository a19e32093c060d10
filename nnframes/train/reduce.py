"""Sums over shards along one fixed binary tree, so that any placement of shards on workers gives the same bits.

The tree over shards 0..S-1 is ``tree(lo, hi) = tree(lo, mid) + tree(mid, hi)`` with ``mid = (lo + hi + 1) // 2``.
A worker sums what it can of the tree (`partial_sums`), the parts meet in `combine`. All is elementwise: combining
slices of the messages gives slices of the combined message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import TypeVar

import numpy as np

from kernels import sparse
from kernels.sparse import RowSparse
from nnframes.errors import ArgumentError

__all__ = ["Node", "add_dense", "add_sparse", "combine", "partial_sums", "subtrees", "tree_sum"]

Node = tuple[int, int]
T = TypeVar("T")


def add_dense(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Add `b` to `a` in place and return `a`.

    >>> add_dense(np.array([1.0]), np.array([2.0]))
    array([3.])
    """
    return np.add(a, b, out=a)


def add_sparse(a: Mapping[str, RowSparse], b: Mapping[str, RowSparse]) -> dict[str, RowSparse]:
    """Return the sums of the tables' gradients; a table that one side does not name counts as zero there.

    >>> add_sparse({}, {"words": RowSparse.empty(3)})["words"].dim
    3
    """
    names = list(a) + [name for name in b if name not in a]
    return {
        name: sparse.add(a[name], b[name]) if name in a and name in b else a[name] if name in a else b[name]
        for name in names
    }


def subtrees(held: Iterable[int], shards: int) -> list[Node]:
    """Return the largest nodes (lo, hi) of the tree over `shards` whose shards are all in `held`, in order.

    >>> subtrees([0, 1, 2], 4), subtrees([1, 2, 3], 4), subtrees(range(4), 4)
    ([(0, 2), (2, 3)], [(1, 2), (2, 4)], [(0, 4)])
    """
    return list(_nodes(tuple(sorted(set(held))), shards))


def partial_sums(
    messages: Mapping[int, T],
    shards: int,
    add: Callable[[T, T], T] = add_dense,  # type: ignore[assignment]
) -> dict[Node, T]:
    """Return the sum of each of the nodes `subtrees(messages, shards)`; in place with `add_dense`.

    >>> partial_sums({0: np.ones(1), 1: np.ones(1), 2: np.ones(1)}, 4)
    {(0, 2): array([2.]), (2, 3): array([1.])}
    """
    leaves = {(shard, shard + 1): message for shard, message in messages.items()}
    return {node: _sum(leaves, *node, add) for node in subtrees(messages, shards)}


def combine(
    nodes: Mapping[Node, T],
    shards: int,
    add: Callable[[T, T], T] = add_dense,  # type: ignore[assignment]
) -> T:
    """Return the sum over all shards from the partial sums of tree nodes that cover them.

    With `add_dense` it is computed in place, in the array of the leftmost node. Raises `ArgumentError` naming the
    shards that no node covers.

    >>> combine({(0, 2): np.array([2.0]), (2, 3): np.array([1.0]), (3, 4): np.array([5.0])}, 4)
    array([8.])
    """
    return _sum(nodes, 0, shards, add)


def tree_sum(
    messages: Mapping[int, T],
    shards: int,
    add: Callable[[T, T], T] = add_dense,  # type: ignore[assignment]
) -> T:
    """Return the sum of the messages of shards 0..shards-1; in place in shard 0's array with `add_dense`.

    >>> tree_sum({0: np.array([1.0]), 1: np.array([2.0]), 2: np.array([4.0])}, 3)
    array([7.])
    """
    return combine(partial_sums(messages, shards, add), shards, add)


def _middle(low: int, high: int) -> int:
    return (low + high + 1) // 2


@lru_cache(maxsize=64)  # asked for in every iteration
def _nodes(held: tuple[int, ...], shards: int) -> tuple[Node, ...]:
    if held and not 0 <= held[0] <= held[-1] < shards:
        raise ArgumentError(f"Shards must be in [0, {shards}). Received: {list(held)}.")
    return tuple(_subtrees(set(held), 0, shards))


def _subtrees(held: set[int], low: int, high: int) -> list[Node]:
    count = sum(shard in held for shard in range(low, high))
    if count == high - low:
        return [(low, high)]
    if count == 0:
        return []
    middle = _middle(low, high)
    return _subtrees(held, low, middle) + _subtrees(held, middle, high)


def _sum(nodes: Mapping[Node, T], low: int, high: int, add: Callable[[T, T], T]) -> T:
    if (low, high) in nodes:
        return nodes[low, high]
    if high - low == 1:
        raise ArgumentError(f"Shard {low} is missing from the sum. Received: {sorted(nodes)}.")
    middle = _middle(low, high)
    return add(_sum(nodes, low, middle, add), _sum(nodes, middle, high, add))
