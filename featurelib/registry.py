"""The classes that configs may name: the project's own, in literal tables, and those that a program registers.

A config holds no more of a class than its name, and nothing is ever imported because a file names it. So a class of
your own must be registered wherever a config that names it is built. The program does that; what goes to other
processes takes the classes along (`WithClasses`), the way Spark ships any function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from featurelib.errors import ConfigError
from kernels.errors import ArgumentError

__all__ = ["WithClasses", "built_in", "check_name", "register_class", "registered", "registered_in"]

C = TypeVar("C", bound=type)

_BUILT_IN: dict[str, type] = {}
_REGISTERED: dict[str, type] = {}


def register_class(cls: C) -> C:
    """Let models, preprocessings and stages hold instances of `cls`, a class of your own; returns it: a decorator.

    For subclasses of `Layer`, `Cell`, `Preprocessing`, `Criterion`, `OptimMethod` and the like that store their
    constructor's arguments under their own names. Training and scoring tasks get the class from the driver, as with
    any function of your own; a saved model keeps its name only, and loading it needs the class to be registered first.
    Registering a class of the same name again replaces the first. Raises `ArgumentError` for a built-in name.

    >>> from featurelib import Preprocessing, from_config, register_class, to_config
    >>> @register_class
    ... class Shifted(Preprocessing):
    ...     def __init__(self, by):
    ...         self.by = by
    ...
    ...     def apply(self, value, rng=None):
    ...         return value + self.by
    >>> from_config(to_config(Shifted(2)), {})(1)
    3
    """
    if not isinstance(cls, type):
        raise ArgumentError(f"register_class must be given a class. Received: {cls!r}. Hint: write @register_class.")
    if cls.__name__ in _BUILT_IN and _BUILT_IN[cls.__name__] is not cls:
        raise ArgumentError(f"A class of your own must have a name of its own. Received: {cls.__name__}, built in.")
    _REGISTERED[cls.__name__] = cls
    return cls


def registered(name: str) -> type | None:
    """Return the class that was registered under a name, None for none."""
    return _REGISTERED.get(name)


def built_in(*tables: Mapping[str, type]) -> None:
    """Note the classes of literal tables, whose names no other class may have."""
    for table in tables:
        _BUILT_IN.update(table)


def check_name(cls: type) -> None:
    """Raise `ConfigError` where a config that names `cls` would be built as another class."""
    for known, how in ((_BUILT_IN, "built in"), (_REGISTERED, "registered")):
        if known.get(cls.__name__, cls) is not cls:
            raise ConfigError(
                f"class '{cls.__name__}' of {cls.__module__} is not the one that is {how} under this name. "
                "Hint: give it another name, or make the object anew after registering its class again."
            )


def registered_in(*configs: Any) -> tuple[type, ...]:
    """Return the registered classes that configs (JSON values) name, each once."""
    names = {name for config in configs for name in _names(config)}
    return tuple(_REGISTERED[name] for name in sorted(names & _REGISTERED.keys()))


def _names(config: Any) -> Iterator[str]:
    if isinstance(config, Mapping) and "array" not in config:
        if isinstance(config.get("class"), str):
            yield config["class"]
        for value in config.values():
            yield from _names(value)
    elif isinstance(config, list):
        for value in config:
            yield from _names(value)


@dataclass(frozen=True)
class WithClasses:
    """A function on its way to another process, with the registered classes of the configs that it will build there.

    >>> class Twice:
    ...     pass
    >>> WithClasses(lambda name: registered(name) is Twice, (Twice,))("Twice")
    True
    """

    function: Callable[..., Any]
    classes: tuple[type, ...] = ()

    def __call__(self, *args: Any) -> Any:
        for cls in self.classes:
            register_class(cls)
        return self.function(*args)
