"""Recurrence: a cell applied to one time step after the other."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np

from kernels import ops
from kernels.graph import Graph, Value
from nnframes.errors import ArgumentError
from nnframes.nn.activation import activation_layer
from nnframes.nn.containers import Container
from nnframes.nn.layer import Layer
from nnframes.nn.linear import Linear
from nnframes.nn.parameter import positive
from nnframes.nn.regularizers import Regularizer
from nnframes.nn.trace import Table, Trace
from nnframes.nn.walk import parameters_in

__all__ = ["Cell", "Recurrent", "RnnCell"]


class Cell(Layer):
    """One time step: the table [input, state, ...] to the table [output, new state, ...]. Any layers may be inside."""

    takes = "table"

    @abstractmethod
    def state_shapes(self, row_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        """The shapes of the states of one row, for inputs of `row_shape` at each time step; states start as zeros."""


class RnnCell(Cell):
    """h' = activation(W x + b + U h + c): from [(batch, input_size), (batch, hidden_size)] to [h', h'].

    `activation` is a layer or a name ("tanh", "relu", ...); `isInputWithBias` and `isHiddenWithBias` say whether there
    are b and c. The regularisers are for W, U and the biases.

    >>> RnnCell(50, 32).output_shape([(8, 50), (8, 32)])
    [(8, 32), (8, 32)]
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        activation: Layer | str = "tanh",
        isInputWithBias: bool = True,
        isHiddenWithBias: bool = True,
        wRegularizer: Regularizer | None = None,
        uRegularizer: Regularizer | None = None,
        bRegularizer: Regularizer | None = None,
    ) -> None:
        positive(self, input_size=input_size, hidden_size=hidden_size)
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.activation = activation
        self.isInputWithBias = isInputWithBias
        self.isHiddenWithBias = isHiddenWithBias
        self.wRegularizer = wRegularizer
        self.uRegularizer = uRegularizer
        self.bRegularizer = bRegularizer
        self._input = Linear(input_size, hidden_size, isInputWithBias, wRegularizer, bRegularizer)
        self._hidden = Linear(hidden_size, hidden_size, isHiddenWithBias, uRegularizer, bRegularizer)
        self._activation = activation_layer(activation)

    def state_shapes(self, row_shape: tuple[int, ...]) -> list[tuple[int, ...]]:
        return [(self.hidden_size,)]

    def call(self, t: Trace, x: list[Any]) -> Table:
        inputs, hidden = x
        total = ops.add(t.run(self._input, inputs), t.run(self._hidden, hidden))
        hidden = t.run(self._activation, total)
        return [hidden, hidden]


class Recurrent(Container):
    """The cell that was added, run over time: (batch, time, ...) to the output of every step, (batch, time, ...).

    States start as zeros; `Select(1, -1)` behind it takes the last step.

    >>> Recurrent().add(RnnCell(50, 32)).output_shape((8, 20, 50))
    (8, 20, 32)
    """

    takes = "tensor"

    def call(self, t: Trace, x: Value) -> Value:
        cell = self._cell()
        t.expect(len(x.shape) >= 3, "(batch, time, ...)", x)
        parameters = [parameter for _, parameter in parameters_in(cell)]
        row = x.shape[2:]
        states = [t.graph.constant(np.zeros((x.shape[0], *s), np.float32)) for s in cell.state_shapes(row)]

        def step(graph: Graph, states: Any, inputs: Any, constants: Any) -> tuple[list[Value], list[Value]]:
            inner = t.inside(graph, dict(zip(parameters, constants, strict=True)))
            output, *new_states = inner.run(cell, [inputs[0], *states])
            return new_states, [output]

        _, outputs = ops.scan(step, states, [_time_first(x)], [t(parameter) for parameter in parameters])
        return _time_first(outputs[0])

    def _cell(self) -> Cell:
        layers = self.layers
        if len(layers) != 1 or not isinstance(layers[0], Cell):
            names = [type(layer).__name__ for layer in layers]
            raise ArgumentError(f"Recurrent must hold exactly one cell, such as RnnCell. Received: {names}.")
        return layers[0]


def _time_first(x: Value) -> Value:
    return ops.transpose(x, (1, 0, *range(2, len(x.shape))))
