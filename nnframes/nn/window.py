"""What convolutions and poolings share: windows that slide over 1, 2 or 3 spatial axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernels import ops
from kernels.graph import Value
from nnframes.errors import ArgumentError
from nnframes.nn.trace import Trace

__all__ = ["Window", "channels_first", "check_format", "in_format"]

_AXES = {1: ("time",), 2: ("height", "width"), 3: ("depth", "height", "width")}
_FORMATS = ("NCHW", "NHWC")


@dataclass(frozen=True)
class Window:
    """A kernel with its strides and padding, one number for each spatial axis; padding -1 is TensorFlow's "same".

    >>> Window("conv", (3, 3), (2, 2), (-1, 1)).padding((28, 28))
    ((0, 1), (1, 1))
    """

    owner: str
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilation: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for name, numbers in (("kernel", self.kernel), ("stride", self.strides), ("dilation", self.dilation or (1,))):
            if min(numbers) < 1:
                raise ArgumentError(f"{self.owner} {name} must be >= 1. Received: {numbers}.")
        if min(self.pads) < -1:
            raise ArgumentError(f"{self.owner} padding must be >= 0, or -1 for 'same'. Received: {self.pads}.")

    def padding(self, spatial: Sequence[int], ceil: bool = False) -> tuple[tuple[int, int], ...]:
        """The (low, high) padding of each axis for an input of these sizes; `ceil` rounds the number of windows up."""
        dilation = self.dilation or (1,) * len(self.kernel)
        return tuple(
            ops.same_padding(size, kernel, stride, step)
            if pad == -1
            else ops.pool_padding(size, kernel, stride, pad, True)
            if ceil
            else (pad, pad)
            for size, kernel, stride, pad, step in zip(
                spatial, self.kernel, self.strides, self.pads, dilation, strict=True
            )
        )


def check_format(owner: object, data_format: str) -> str:
    """NCHW (batch, channels, height, width) or NHWC.

    >>> check_format("conv", "NHWC")
    'NHWC'
    """
    if data_format not in _FORMATS:
        label = owner if isinstance(owner, str) else type(owner).__name__
        raise ArgumentError(f"{label} data_format must be one of {', '.join(_FORMATS)}. Received: {data_format!r}.")
    return data_format


def channels_first(t: Trace, x: Value, rank: int, channels: int | None = None, data_format: str = "NCHW") -> Value:
    """x as (batch, channels, *spatial), after checking that it has `rank` spatial axes and so many channels."""
    last = data_format == "NHWC"
    middle, name = _AXES[rank], str(channels or "channels")
    wanted = ("batch", *middle, name) if last else ("batch", name, *middle)
    fits = len(x.shape) == rank + 2 and channels in (None, x.shape[-1 if last else 1])
    t.expect(fits, f"({', '.join(wanted)})", x)
    return ops.transpose(x, (0, rank + 1, *range(1, rank + 1))) if last else x


def in_format(y: Value, data_format: str) -> Value:
    """(batch, channels, *spatial) in the format asked for."""
    return ops.transpose(y, (0, *range(2, len(y.shape)), 1)) if data_format == "NHWC" else y
