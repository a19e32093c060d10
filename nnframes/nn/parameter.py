"""Parameters: the named tensors that a layer owns."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

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

    def __post_init__(self) -> None:
        self.default_init = self.init
        if not isinstance(self.init, InitMethod):
            self._check(np.asarray(self.init))
        if self.fans == (0, 0):
            window = math.prod(self.shape[2:])
            self.fans = (self.shape[1] * window if len(self.shape) > 1 else self.shape[0], self.shape[0] * window)

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return math.prod(self.shape)

    def draw(self, rng: np.random.Generator) -> None:
        """Start anew from the init method."""
        init = self.init
        self.assign(init.draw(rng, self.shape, *self.fans) if isinstance(init, InitMethod) else init)

    def assign(self, array: np.ndarray) -> None:
        """Set the value, in place where there is one, so that views of it stay views."""
        array = np.asarray(array, np.float32)
        self._check(array)
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
