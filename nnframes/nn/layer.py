"""The base of all layers: what every layer can do once it says how it computes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain, count
from typing import Any, TypeVar

import numpy as np

from kernels.graph import Graph
from kernels.sparse import RowSparse
from nnframes.errors import ArgumentError, ShapeError
from nnframes.nn.initialisers import InitMethod
from nnframes.nn.network import Network
from nnframes.nn.node import Node, applied
from nnframes.nn.parameter import BUFFER, Parameter
from nnframes.nn.summary import summary_of
from nnframes.nn.trace import Table, Trace, shape_of
from nnframes.nn.walk import Structure, layers_in, names_in, parameters_in

__all__ = ["Layer"]

Self = TypeVar("Self", bound="Layer")


class Layer(ABC):
    """A step of a network, from a tensor (or a table: a list of tensors) to a tensor or table.

    A new layer checks its arguments in `__init__`, stores each under its own name, and makes its `Parameter`s; `call`
    builds the arithmetic from `kernels.ops`. Everything else (shapes, gradients, execution, config) follows from these.
    Dimension 0 of every tensor is the batch. `takes` says what `call` gets: a "tensor", a "table", or "any" of them. A
    layer of your own needs `@register_class` (`nnframes.nn`) to be saved, and to be trained or used on Spark.

    >>> from kernels import ops
    >>> class Double(Layer):
    ...     def call(self, t, x):
    ...         return ops.add(x, x)
    >>> Double().output_shape((32, 10))
    (32, 10)
    """

    takes = "tensor"
    _name: str | None = None
    _seed = 0
    _training = True
    _version = 0
    _network: tuple[Structure, Network] | None = None

    @abstractmethod
    def call(self, t: Trace, x: Any) -> Table:
        """Add this layer's nodes to the graph of `t` and return what comes out."""

    # ---------------------------------------------------------------- structure

    def children(self) -> list[Layer]:
        """The layers directly inside: those among the attributes, alone or in a list."""
        found: list[Layer] = []
        for value in vars(self).values():
            found += [one for one in (value if isinstance(value, (list, tuple)) else [value]) if isinstance(one, Layer)]
        return found

    def own_parameters(self) -> list[Parameter]:
        """The parameters of this layer itself, in the order they were made."""
        return [value for value in vars(self).values() if isinstance(value, Parameter)]

    @property
    def name(self) -> str | None:
        """The name given by `set_name`, or None; a network numbers its unnamed layers (`linear_1`)."""
        return self._name

    def set_name(self: Self, name: str) -> Self:
        """Name the layer; names are unique in a network."""
        if not isinstance(name, str) or not name:
            raise ArgumentError(f"{type(self).__name__} name must be a non-empty string. Received: {name!r}.")
        self._name = name
        return self.changed()

    def changed(self: Self) -> Self:
        """Say that this layer was reconfigured, so that what was compiled for it is compiled anew."""
        self._version += 1
        return self

    def __call__(self, nodes: Node | Sequence[Node]) -> Node:
        """Apply the layer to nodes of a graph `Model`."""
        return applied(self, nodes)

    def output_shape(self, input_shape: Sequence[Any]) -> Any:
        """The shape that comes out for this input shape, batch included; tables are lists of shapes.

        Raises `ShapeError` naming the layer that does not take what it would get.
        """
        graph = Graph()
        return shape_of(Trace(self, graph, training=False).run(self, _inputs(graph, input_shape)))

    def summary(self, input_shape: Sequence[Any] | None = None) -> str:
        """Print and return a table of layers, output shapes and parameter counts.

        `input_shape` is that of one row (a list of shapes for several inputs); a graph `Model` knows its own. Without
        it no output shapes are shown.
        """
        return summary_of(self, input_shape)

    # ---------------------------------------------------------------- parameters

    def initialise(self: Self) -> Self:
        """Draw every parameter that has no value yet, each from its own random stream of this layer's seed.

        Parts of a network that were used before it was put together may have drawn from the same streams: of parameters
        that still have one value for this reason, all but the first are drawn anew.
        """
        taken: dict[tuple[int, ...] | None, Parameter] = {}
        missing: list[tuple[int, Parameter]] = []
        for index, (_, parameter) in enumerate(parameters_in(self)):
            if parameter.value is None or parameter.twin_of(taken.get(parameter.drawn)):
                missing.append((index, parameter))
            else:
                taken[parameter.drawn] = parameter
        for index, parameter in missing:
            streams = chain([(self._seed, index)], ((self._seed, index, number) for number in count(1)))
            parameter.draw(*next(key for key in streams if key not in taken))
            taken[parameter.drawn] = parameter
        return self

    def reset(self: Self) -> Self:
        """Draw all parameters anew."""
        for index, (_, parameter) in enumerate(parameters_in(self)):
            parameter.draw(self._seed, index)
        return self

    @property
    def seed(self) -> int:
        """What the random numbers of this layer (first values, dropout in `forward`) follow."""
        return self._seed

    def set_seed(self: Self, seed: int = 123) -> Self:
        """Seed what is drawn from now on; takes effect on the network's outermost layer."""
        self._seed = int(seed)
        return self.changed()

    def set_init_method(
        self: Self, weight_init_method: InitMethod | None = None, bias_init_method: InitMethod | None = None
    ) -> Self:
        """Choose how weight and bias start; raises `ArgumentError` where the layer has none."""
        for name, init in (("weight", weight_init_method), ("bias", bias_init_method)):
            if init is not None:
                self._set_init(name, init)
        return self

    def _set_init(self, name: str, init: InitMethod) -> None:
        parameter = getattr(self, name, None)
        if not isinstance(parameter, Parameter) or not isinstance(init, InitMethod):
            label = f"{type(self).__name__} {name}"
            raise ArgumentError(f"{label} must exist to be given an init method, such as Zeros(). Received: {init!r}.")
        parameter.init, parameter.value = init, None
        self.changed()

    def parameters(self) -> dict[str, dict[str, Any]]:
        """Copies of all parameters and gradients: layer name -> {"weight": ..., "gradWeight": ..., ...}."""
        self.initialise()
        return {
            name: {key: value for own in layer.own_parameters() for key, value in _entries(own)}
            for layer, name in names_in(self).items()
            if layer.own_parameters()
        }

    def is_with_weights(self) -> bool:
        """Whether there is anything to train."""
        return bool(self._trainable())

    def get_weights(self) -> list[np.ndarray]:
        """Copies of all trainable parameters, depth first, weight before bias."""
        self.initialise()
        return [np.array(parameter.value) for parameter in self._trainable()]

    def set_weights(self: Self, weights: Iterable[np.ndarray]) -> Self:
        """Set all trainable parameters, in the order of `get_weights`; raises `ShapeError` before it changes any."""
        if isinstance(weights, str) or not isinstance(weights, Iterable):
            raise ArgumentError(
                f"{type(self).__name__} weights must be a list of arrays. Received: {type(weights).__name__}."
            )
        wanted, given = self._trainable(), [np.asarray(array, np.float32) for array in weights]
        shapes, received = [one.shape for one in wanted], [one.shape for one in given]
        if shapes != received:
            raise ShapeError(f"{type(self).__name__} expects weights of shapes {shapes}, received {received}.")
        for parameter, array in zip(wanted, given, strict=True):
            parameter.assign(array)
        return self

    def zero_grad_parameters(self) -> None:
        """Forget the accumulated gradients."""
        for _, parameter in parameters_in(self):
            parameter.zero_grad()

    def update_parameters(self, learning_rate: float) -> None:
        """One step of plain gradient descent: every weight -= learning_rate * its accumulated gradient."""
        for parameter in self._trainable():
            parameter.descend(learning_rate)

    def _trainable(self) -> list[Parameter]:
        return [parameter for _, parameter in parameters_in(self) if parameter.kind != BUFFER]

    # ---------------------------------------------------------------- execution

    def training(self: Self, is_training: bool = True) -> Self:
        """Switch this layer and all inside to training (dropout drops, batch statistics are taken) or back."""
        for layer in layers_in(self):
            layer._training = bool(is_training)
        return self

    def evaluate(self: Self) -> Self:
        """Switch this layer and all inside to evaluation."""
        return self.training(False)

    def is_training(self) -> bool:
        """Whether the layer is in training, as it is at first."""
        return self._training

    def forward(self, x: Any) -> Any:
        """Compute the output for an array (n, ...) or a nested list of arrays."""
        return self._compiled().forward(x, self._training)

    def backward(self, x: Any, grad_output: Any) -> Any:
        """Gradient with respect to the input; gradients of parameters are added to those accumulated."""
        return self._compiled().backward(x, grad_output)

    def _compiled(self) -> Network:
        if self._network is None or not self._network[0].holds(self):
            self._network = (Structure(self.initialise()), Network(self))
        return self._network[1]

    def __getstate__(self) -> dict[str, Any]:
        # A copy compiles its own network: programs hold native memory.
        return {key: value for key, value in vars(self).items() if key != "_network"}

    # ---------------------------------------------------------------- config

    def config_state(self) -> dict[str, Any]:
        """What a config holds beside the constructor's arguments."""
        inits = {own.name: own.init for own in self.own_parameters() if own.init is not own.default_init}
        state = {"name": self._name, "inits": inits}
        return {key: value for key, value in state.items() if value} | self.structure()

    @classmethod
    def from_config_state(cls: type[Self], args: Mapping[str, Any], state: Mapping[str, Any]) -> Self:
        """The layer that a config describes."""
        layer = cls.from_structure(dict(args), dict(state))
        for name, init in state.get("inits", {}).items():
            layer._set_init(name, init)
        return layer.set_name(state["name"]) if "name" in state else layer

    def structure(self) -> dict[str, Any]:
        """For containers: what `from_structure` needs to rebuild what was added after construction."""
        return {}

    @classmethod
    def from_structure(cls: type[Self], args: dict[str, Any], state: dict[str, Any]) -> Self:
        """The inverse of `structure`."""
        return cls(**args)


def _entries(parameter: Parameter) -> list[tuple[str, Any]]:
    entries: list[tuple[str, Any]] = [(parameter.name, np.array(parameter.value))]
    if parameter.kind == BUFFER:
        return entries
    gradient = parameter.grad
    if gradient is None:
        gradient = np.zeros(parameter.shape, np.float32)
    copied = gradient if isinstance(gradient, RowSparse) else np.array(gradient)
    return [*entries, (f"grad{parameter.name[0].upper()}{parameter.name[1:]}", copied)]


def _inputs(graph: Graph, shape: Sequence[Any], name: str = "input") -> Table:
    if isinstance(shape, list) and any(isinstance(part, (list, tuple)) for part in shape):
        return [_inputs(graph, part, f"{name}_{i}") for i, part in enumerate(shape)]
    return graph.input(name, tuple(shape))
