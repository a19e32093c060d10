"""Nested lists of tensors (tables): taken apart and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

__all__ = ["flatten", "map_nested", "unflatten"]


def flatten(nested: Any) -> list[Any]:
    """The leaves of a nested list, left to right; anything that is not a list is a leaf.

    >>> flatten([1, [2, [3]], 4])
    [1, 2, 3, 4]
    """
    return [leaf for part in nested for leaf in flatten(part)] if isinstance(nested, list) else [nested]


def unflatten(like: Any, leaves: Sequence[Any]) -> Any:
    """Leaves in the nesting of `like`.

    >>> unflatten([0, [0, 0]], ["a", "b", "c"])
    ['a', ['b', 'c']]
    """
    remaining: Iterator[Any] = iter(leaves)
    return map_nested(lambda _: next(remaining), like)


def map_nested(function: Callable[[Any], Any], nested: Any) -> Any:
    """The function applied to every leaf.

    >>> map_nested(len, ["ab", ["c"]])
    [2, [1]]
    """
    if isinstance(nested, list):
        return [map_nested(function, part) for part in nested]
    return function(nested)
