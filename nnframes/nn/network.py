"""Layers made to run: traced at the shapes at hand, differentiated, compiled, and kept for the next call."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from kernels import ops
from kernels.config import default_threads
from kernels.gradient import differentiate
from kernels.graph import Graph, RowGradient, Value
from kernels.program import Program, compile_graph
from kernels.sparse import RowSparse, add, coalesce
from nnframes.errors import ArgumentError, ShapeError
from nnframes.nn.nest import flatten, map_nested, unflatten
from nnframes.nn.parameter import DENSE, TABLE, Parameter
from nnframes.nn.trace import Trace, shape_of
from nnframes.nn.walk import parameters_in

if TYPE_CHECKING:
    from nnframes.nn.layer import Layer

__all__ = ["Network", "Predictor", "Segment", "Traced", "segments", "trace"]

KEPT_PROGRAMS = 8


class Segment(NamedTuple):
    """The part of a flat vector that one parameter is."""

    path: str
    offset: int
    parameter: Parameter

    @property
    def place(self) -> slice:
        return slice(self.offset, self.offset + self.parameter.size)

    @property
    def value(self) -> np.ndarray:
        """The parameter's value; raises `ArgumentError` before it was drawn."""
        if self.parameter.value is None:
            raise ArgumentError(f"Parameter '{self.path}' has no value yet: call layer.initialise() first.")
        return self.parameter.value


def segments(layer: Layer, kind: str) -> list[Segment]:
    """The parameters of one kind, one after the other in a flat vector, depth first.

    >>> from nnframes.nn import Linear
    >>> [(segment.path, segment.offset) for segment in segments(Linear(4, 3), DENSE)]
    [('linear_1.weight', 0), ('linear_1.bias', 12)]
    """
    found, offset = [], 0
    for path, parameter in parameters_in(layer):
        if parameter.kind == kind:
            found.append(Segment(path, offset, parameter))
            offset += parameter.size
    return found


@dataclass
class Traced:
    """A layer as a graph at given input shapes."""

    trace: Trace
    inputs: list[Value]
    output: Any

    @property
    def graph(self) -> Graph:
        return self.trace.graph

    @property
    def outputs(self) -> list[Value]:
        return flatten(self.output)

    def values(self, layer: Layer, kind: str) -> dict[str, Value]:
        """The graph values of the parameters of one kind, by path; those that the graph does not use are left out."""
        return {
            path: self.trace(own) for path, own in parameters_in(layer) if own.kind == kind and self.trace.used(own)
        }


def trace(layer: Layer, shapes: Any, training: bool) -> Traced:
    """Build the graph of a layer for inputs of these shapes (nested lists for tables; the batch is dimension 0)."""
    graph = Graph()
    leaves = flatten(shapes)
    inputs = [graph.input(f"input_{number}", shape) for number, shape in enumerate(leaves)]
    walk = Trace(layer, graph, training)
    return Traced(walk, inputs, walk.run(layer, unflatten(shapes, inputs)))


class Network:
    """Runs one layer (with all inside) on arrays; layers make theirs on first use.

    >>> from nnframes.nn import Linear
    >>> layer = Linear(4, 3)
    >>> Network(layer).forward(np.zeros((2, 4), np.float32), training=False).shape
    (2, 3)
    """

    def __init__(self, layer: Layer) -> None:
        self.layer = layer.initialise()
        self._programs: OrderedDict[Hashable, Any] = OrderedDict()
        self._steps = 0

    def forward(self, x: Any, training: bool) -> Any:
        """The output for an array or nested list of arrays; training moves buffers towards the batch statistics."""
        arrays, shapes = _arrays(x)
        program, like, updated = self._kept(("forward", str(shapes), training), lambda: self._forward(shapes, training))
        self._steps += training
        results = program.run(self._feeds(arrays))
        count = len(flatten(like))
        if all(array.size for array in arrays):  # an empty batch says nothing of the data
            for parameter, statistic in zip(updated, results[count:], strict=True):
                parameter.value += np.float32(parameter.momentum) * (statistic - parameter.value)
        return unflatten(like, results[:count])

    def backward(self, x: Any, grad_output: Any) -> Any:
        """Gradient of the input; those of parameters are added to `Parameter.grad`.

        Random choices are those of the last `forward`.
        """
        arrays, shapes = _arrays(x)
        gradients, gradient_shapes = _arrays(grad_output)
        training = self.layer.is_training()
        key = ("backward", str(shapes), str(gradient_shapes), training)
        program, wanted = self._kept(key, lambda: self._backward(shapes, gradient_shapes, training))
        seeds = {f"gradient_{number}": array for number, array in enumerate(gradients)}
        results = iter(program.run({**self._feeds(arrays), **seeds}))
        grads = [
            np.zeros(a.shape, np.float32) if w is None else next(results)
            for a, w in zip(arrays, wanted[0], strict=True)
        ]
        for parameter, gradient in wanted[1]:
            _accumulate(parameter, next(results), next(results) if isinstance(gradient, RowGradient) else None)
        return unflatten(shapes, grads)

    def predictor(self, batch_size: int, shapes: Any, threads: int | None = None) -> Predictor:
        """Prepare inference for batches of up to `batch_size` rows of these shapes (without the batch)."""
        return Predictor(self.layer, batch_size, shapes, threads or default_threads())

    def weights(self) -> dict[str, np.ndarray]:
        """All parameters, buffers and tables by path; views, not copies."""
        return {path: parameter.value for path, parameter in parameters_in(self.layer) if parameter.value is not None}

    def load_weights(self, weights: Mapping[str, np.ndarray]) -> None:
        """Take over what `weights` returned; `ArgumentError` unless exactly the network's parameters are given."""
        parameters = dict(parameters_in(self.layer))
        if parameters.keys() != weights.keys():
            missing, extra = sorted(parameters.keys() - weights.keys()), sorted(weights.keys() - parameters.keys())
            raise ArgumentError(
                f"weights must name every parameter of the network. Missing: {missing}, unknown: {extra}."
            )
        for path, parameter in parameters.items():
            parameter.assign(weights[path])

    def _forward(self, shapes: Any, training: bool) -> tuple[Program, Any, list[Parameter]]:
        traced = trace(self.layer, shapes, training)
        statistics = traced.trace.statistics()
        parameters = dict(parameters_in(self.layer))
        program = compile_graph([*traced.outputs, *statistics.values()], threads=default_threads())
        program.bind(self.weights())
        return program, map_nested(lambda _: None, traced.output), [parameters[path] for path in statistics]

    def _backward(self, shapes: Any, gradient_shapes: Any, training: bool) -> tuple[Program, Any]:
        traced = trace(self.layer, shapes, training)
        if shape_of(traced.output) != gradient_shapes:
            raise ShapeError(
                f"{type(self.layer).__name__} expects an output gradient of shape {shape_of(traced.output)}, "
                f"received {gradient_shapes}."
            )
        seeds: dict[Value, Value] = {}
        for number, y in enumerate(traced.outputs):
            seed = traced.graph.input(f"gradient_{number}", y.shape)
            seeds[y] = ops.add(seeds[y], seed) if y in seeds else seed
        parameters = {**traced.values(self.layer, DENSE), **traced.values(self.layer, TABLE)}
        gradients = differentiate(seeds, [*traced.inputs, *parameters.values()])
        by_path = dict(parameters_in(self.layer))
        wanted = [
            (by_path[path], gradients[value]) for path, value in parameters.items() if gradients[value] is not None
        ]
        of_inputs = [gradients[value] for value in traced.inputs]
        outputs = flatten(
            [[g] if isinstance(g, Value) else list(g or ()) for g in [*of_inputs, *(g for _, g in wanted)]]
        )
        program = compile_graph(outputs, threads=default_threads())
        program.bind(self.weights())
        return program, (of_inputs, wanted)

    def _kept(self, key: Hashable, make: Callable[[], Any]) -> Any:
        if key not in self._programs:
            self._programs[key] = make()
            if len(self._programs) > KEPT_PROGRAMS:
                self._programs.popitem(last=False)
        self._programs.move_to_end(key)
        return self._programs[key]

    def _feeds(self, arrays: Sequence[np.ndarray]) -> dict[str, np.ndarray]:
        key = np.array([self.layer.seed, self._steps, 0, 0], np.int64)
        return {"random_key": key, **{f"input_{number}": array for number, array in enumerate(arrays)}}


class Predictor:
    """A network compiled for inference: weights are put into the kernels' layouts once, the last batch is filled up.

    >>> from nnframes.nn import Linear
    >>> predict = Predictor(Linear(4, 3).initialise(), 32, (4,), threads=1)
    >>> predict((np.zeros((5, 4), np.float32),)).shape
    (5, 3)
    """

    def __init__(self, layer: Layer, batch_size: int, shapes: Any, threads: int) -> None:
        batched = map_nested(lambda shape: (batch_size, *shape), shapes)
        traced = trace(layer.initialise(), batched, training=False)
        self.batch_size = batch_size
        self._like = map_nested(lambda _: None, traced.output)
        self._inputs = traced.inputs
        self._program = compile_graph(traced.outputs, threads=threads, fold=True)
        self._layer = layer
        self._key = np.zeros(4, np.int64)
        self.refresh()

    def refresh(self) -> None:
        """Take over the layer's parameters and buffers as they are now."""
        self._program.bind({path: own.value for path, own in parameters_in(self._layer) if own.value is not None})

    def __call__(self, inputs: Sequence[np.ndarray]) -> Any:
        """Outputs for arrays of 1 to `batch_size` rows, one array per input of the network."""
        if len(inputs) != len(self._inputs):
            raise ArgumentError(f"The network takes {len(self._inputs)} inputs. Received: {len(inputs)}.")
        rows = len(inputs[0])
        if not 1 <= rows <= self.batch_size:
            raise ArgumentError(f"A batch must have 1 to {self.batch_size} rows. Received: {rows}.")
        feeds = {
            value.node.attrs["name"]: self._filled(array) for value, array in zip(self._inputs, inputs, strict=True)
        }
        results = self._program.run({"random_key": self._key, **feeds})
        return unflatten(self._like, [result[:rows] for result in results])

    def _filled(self, array: np.ndarray) -> np.ndarray:
        if len(array) == self.batch_size:
            return array
        filled = np.zeros((self.batch_size, *array.shape[1:]), np.float32)
        filled[: len(array)] = array
        return filled


def _arrays(nested: Any) -> tuple[list[np.ndarray], Any]:
    arrays = map_nested(_floats, nested)
    return flatten(arrays), map_nested(np.shape, arrays)


def _floats(leaf: Any) -> np.ndarray:
    try:
        return np.ascontiguousarray(leaf, np.float32)
    except (TypeError, ValueError):
        received = f"an array of {leaf.dtype}" if isinstance(leaf, np.ndarray) else type(leaf).__name__
        raise ArgumentError(f"A network takes arrays of numbers, or lists of such. Received: {received}.") from None


def _accumulate(parameter: Parameter, gradient: np.ndarray, values: np.ndarray | None) -> None:
    if values is not None:
        rows = coalesce(gradient, values)
        parameter.grad = add(parameter.grad, rows) if isinstance(parameter.grad, RowSparse) else rows
    elif parameter.grad is None:
        parameter.grad = gradient
    else:
        parameter.grad += gradient
