"""Walks over the tree of layers: their order, their names, the paths of their parameters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterator
from typing import TYPE_CHECKING

from nnframes.errors import ArgumentError
from nnframes.nn.parameter import Parameter

if TYPE_CHECKING:
    from nnframes.nn.layer import Layer

__all__ = ["Structure", "layers_in", "names_in", "parameters_in"]


def layers_in(layer: Layer) -> list[Layer]:
    """The layer and all layers inside it, depth first, one that is shared only once."""
    found: dict[int, Layer] = {}

    def visit(one: Layer) -> None:
        if id(one) not in found:
            found[id(one)] = one
            for child in one.children():
                visit(child)

    visit(layer)
    return list(found.values())


def names_in(layer: Layer) -> dict[Layer, str]:
    """The name of every layer: the one it was given, else `<class>_<k>`, counted from 1 in depth-first order.

    Raises `ArgumentError` when two layers were given the same name.

    >>> from nnframes.nn import Linear, ReLU, Sequential
    >>> list(names_in(Sequential().add(Linear(4, 3).set_name("fc1")).add(ReLU()).add(Linear(3, 2))).values())
    ['sequential_1', 'fc1', 'relu_1', 'linear_1']
    """
    layers = layers_in(layer)
    given = Counter(one.name for one in layers if one.name)
    for name, count in given.items():
        if count > 1:
            raise ArgumentError(f"Layer names must be unique in a model. Received: {count} layers named '{name}'.")
    names: dict[Layer, str] = {}
    numbers = Counter[str]()
    for one in layers:
        names[one] = one.name or _number(type(one).__name__.lower(), numbers, given)
    return names


def _number(kind: str, numbers: Counter[str], taken: Container[str]) -> str:
    while True:
        numbers[kind] += 1
        name = f"{kind}_{numbers[kind]}"
        if name not in taken:
            return name


def parameters_in(layer: Layer) -> list[tuple[str, Parameter]]:
    """Every parameter under its path `<layer name>.<parameter name>`, depth first, shared ones once.

    >>> from nnframes.nn import Linear
    >>> [path for path, _ in parameters_in(Linear(4, 3))]
    ['linear_1.weight', 'linear_1.bias']
    """
    return [(f"{name}.{own.name}", own) for one, name in names_in(layer).items() for own in one.own_parameters()]


class Structure:
    """What a compiled network is valid for: the layers inside, how they are configured, and where their numbers lie.

    >>> from nnframes.nn import Sequential, Tanh
    >>> model = Sequential()
    >>> before = Structure(model)
    >>> before.holds(model), before.holds(model.add(Tanh()))
    (True, False)
    """

    def __init__(self, layer: Layer) -> None:
        self._parts = list(_parts(layer))

    def holds(self, layer: Layer) -> bool:
        """Whether nothing was added, renamed, reconfigured or moved since."""
        parts = list(_parts(layer))
        return len(parts) == len(self._parts) and all(
            new is old and version == before for (new, version), (old, before) in zip(parts, self._parts, strict=True)
        )


def _parts(layer: Layer) -> Iterator[tuple[object, int]]:
    for one in layers_in(layer):
        yield one, one._version
        yield from ((own.value, 0) for own in one.own_parameters())
