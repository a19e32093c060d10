"""Parameters: the named tensors that a layer owns."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kernels.random import stream
from kernels.sparse import RowSparse
from nnframes.errors import ArgumentError, ShapeError
from nnframes.nn.initialisers import InitMethod, RandomUniform
from nnframes.nn.regularizers import Regularizer

__all__ = ["BUFFER", "DENSE", "TABLE", "Parameter", "positive", "weight_and_bias"]

DENSE, TABLE, BUFFER = "dense", "table", "buffer"


@dataclass(eq=False)
class Parameter:
    """A tensor of a layer: its shape and how it starts; `value` is None until it is first needed.

    `kind` says where it lives: DENSE is part of the flat vector that is trained, TABLE (rows, dim) stands beside it and
    has row-sparse gradients, BUFFER is updated outside the gradient as `(1 - momentum) * old + momentum * statistic`.
    `init` is an init method or the array to start from; `fans` = (fan_in, fan_out) is what init methods scale by, taken
    from the shape (out, in, *kernel) unless given. Raises `ShapeError` for a starting array of another shape.

    >>> from nnframes.nn.initialisers import Zeros
    >>> Parameter("weight", (6, 3, 5, 5), Zeros()).fans
    (75, 150)
    """

    name: str
    shape: tuple[int, ...]
    init: InitMethod | np.ndarray
    regularizer: Regularizer | None = None
    kind: str = DENSE
    momentum: float | None = None
    fans: tuple[int, int] = (0, 0)
    value: np.ndarray | None = field(default=None, repr=False)
    grad: np.ndarray | RowSparse | None = field(default=None, repr=False)
    drawn: tuple[int, ...] | None = field(default=None, repr=False)
    """Name of the random stream that the value was drawn from, if none was assigned since."""

    def __post_init__(self) -> None:
        self.default_init = self.init
        if not isinstance(self.init, InitMethod):
            self._check(np.asarray(self.init))
        if self.regularizer is not None and not isinstance(self.regularizer, Regularizer):
            raise ArgumentError(
                f"Parameter '{self.name}' must have a Regularizer such as L2Regularizer(1e-4). "
                f"Received: {self.regularizer!r}."
            )
        if self.fans == (0, 0):
            window = math.prod(self.shape[2:])
            self.fans = (self.shape[1] * window if len(self.shape) > 1 else self.shape[0], self.shape[0] * window)

    def __deepcopy__(self, memo: dict[int, Any]) -> Parameter:
        """A copy starts with the same value because somebody wanted it to."""
        twin = object.__new__(type(self))
        memo[id(self)] = twin
        vars(twin).update(copy.deepcopy({**vars(self), "drawn": None}, memo))
        return twin

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def draw(self, *key: int) -> None:
        """Start anew from the init method, by the random stream of this name."""
        if isinstance(self.init, InitMethod):
            self.assign(self.init.draw(stream(*key), self.shape, *self.fans))
            self.drawn = key
        else:
            self.assign(self.init)

    def twin_of(self, other: Parameter | None) -> bool:
        """Whether both were drawn from the same random stream and are what was drawn."""
        if other is None or self.drawn is None or self.drawn != other.drawn:
            return False
        return self.value is not None and np.array_equal(self.value, np.asarray(other.value))

    def assign(self, array: np.ndarray) -> None:
        """Set the value, in place where there is one, so that views of it stay views."""
        array = np.asarray(array, np.float32)
        self._check(array)
        self.drawn = None
        if self.value is None:
            self.value = np.array(array, np.float32, order="C")
        else:
            self.value[...] = array

    def zero_grad(self) -> None:
        """Forget the accumulated gradient."""
        if isinstance(self.grad, np.ndarray):
            self.grad.fill(0)
        else:
            self.grad = None

    def descend(self, learning_rate: float) -> None:
        """One step of plain gradient descent: `value -= learning_rate * grad`."""
        if self.value is None or self.grad is None:
            return
        self.drawn = None
        if isinstance(self.grad, RowSparse):
            self.value[self.grad.rows] -= np.float32(learning_rate) * self.grad.values
        else:
            self.value -= np.float32(learning_rate) * self.grad

    def _check(self, array: np.ndarray) -> None:
        if array.shape != self.shape:
            raise ShapeError(f"Parameter '{self.name}' expects {self.shape}, received {array.shape}.")


def positive(owner: object, **sizes: int) -> None:
    """Check constructor arguments that must be whole numbers >= 1.

    >>> positive("Linear", input_size=0)
    Traceback (most recent call last):
    ...
    kernels.errors.ArgumentError: Linear input_size must be an integer >= 1. Received: 0.
    """
    for name, size in sizes.items():
        if not isinstance(size, (int, np.integer)) or isinstance(size, bool) or size < 1:
            label = owner if isinstance(owner, str) else type(owner).__name__
            raise ArgumentError(f"{label} {name} must be an integer >= 1. Received: {size!r}.")


def weight_and_bias(
    shape: tuple[int, ...],
    with_bias: bool = True,
    regularizers: tuple[Regularizer | None, Regularizer | None] = (None, None),
    given: tuple[np.ndarray | None, np.ndarray | None] = (None, None),
) -> tuple[Parameter, Parameter | None]:
    """The parameters of a linear or convolution layer: weight `shape` = (out, in, *kernel) and bias (out,).

    Both start uniform in ±1/sqrt(fan_in of the weight), as in Torch, unless arrays are given.

    >>> [parameter.fans for parameter in weight_and_bias((10, 784))]
    [(784, 10), (784, 10)]
    """
    init_weight, init_bias = given
    weight = Parameter("weight", shape, RandomUniform() if init_weight is None else init_weight, regularizers[0])
    if not with_bias:
        return weight, None
    init = RandomUniform() if init_bias is None else init_bias
    return weight, Parameter("bias", shape[:1], init, regularizers[1], fans=weight.fans)
