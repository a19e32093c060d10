"""Memory layouts and primitives: oneDNN's descriptors as Python objects.

Everything is checked when a descriptor is made and nothing when it runs; descriptors are made once, when a program is
compiled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kernels.native.dnnl import (
    ANY,
    QUERY,
    QUERY_EXECUTE_ARGUMENT,
    QUERY_IMPLEMENTATION,
    QUERY_SCRATCHPAD,
    TYPES,
    Handle,
    dims,
    dnnl,
    integers,
    pointers,
)


class Layout(Handle):
    """How a tensor lies in memory (a `dnnl_memory_desc_t`): its logical shape, type and physical order."""

    __slots__ = ("dtype", "shape")

    def __init__(self, value: int, shape: Sequence[int], dtype: str) -> None:
        super().__init__(value, dnnl().symbols.dnnl_memory_desc_destroy)
        self.shape = tuple(shape)
        self.dtype = dtype

    @property
    def size(self) -> int:
        """Bytes from the first to the last element, padding of blocks included."""
        return int(dnnl().symbols.dnnl_memory_desc_get_size(self.value))

    def same(self, other: Layout) -> bool:
        """Do both describe the same shape, type and order?"""
        return bool(dnnl().symbols.dnnl_memory_desc_equal(self.value, other.value))

    def reshape(self, shape: Sequence[int]) -> Layout:
        """The same bytes seen with another shape; oneDNN refuses where that would need a copy."""
        return Layout(dnnl().create("memory_desc_reshape", self.value, len(shape), dims(shape)), shape, self.dtype)

    def permute(self, permutation: Sequence[int]) -> Layout:
        """The same bytes with axes permuted: axis i of the result is axis permutation[i] of this."""
        inverse = integers([list(permutation).index(axis) for axis in range(len(permutation))])
        shape = [self.shape[axis] for axis in permutation]
        return Layout(dnnl().create("memory_desc_permute_axes", self.value, inverse), shape, self.dtype)

    def part(self, shape: Sequence[int], offsets: Sequence[int]) -> Layout:
        """A rectangular part; refused where it would cut through a block."""
        return Layout(
            dnnl().create("memory_desc_create_submemory", self.value, dims(shape), dims(offsets)), shape, self.dtype
        )


def _shape(shape: Sequence[int]) -> tuple[int, ...]:
    """oneDNN has no tensors without dimensions."""
    return tuple(shape) or (1,)


def any_layout(shape: Sequence[int], dtype: str = "float32") -> Layout:
    """Let the primitive choose."""
    shape = _shape(shape)
    handle = dnnl().create("memory_desc_create_with_tag", len(shape), dims(shape), TYPES[dtype], ANY)
    return Layout(handle, shape, dtype)


def strided(shape: Sequence[int], strides: Sequence[int], dtype: str = "float32") -> Layout:
    """Elements `strides` apart (in elements)."""
    handle = dnnl().create("memory_desc_create_with_strides", len(shape), dims(shape), TYPES[dtype], dims(strides))
    return Layout(handle, shape, dtype)


def plain(shape: Sequence[int], dtype: str = "float32") -> Layout:
    """Dense row-major order, numpy's own."""
    shape = _shape(shape)
    strides, step = [], 1
    for size in reversed(shape):
        strides.append(step)
        step *= max(size, 1)
    return strided(shape, strides[::-1], dtype)


def blocked(shape: Sequence[int], block: int, dtype: str = "float32") -> Layout:
    """Pictures (n, c, h, w) with blocks of 8 or 16 channels of a pixel side by side: the order of most convolutions."""
    tag = {8: 102, 16: 78}[block]
    return Layout(
        dnnl().create("memory_desc_create_with_tag", len(shape), dims(shape), TYPES[dtype], tag), shape, dtype
    )


def channels_last(shape: Sequence[int], dtype: str = "float32") -> Layout:
    """Dense, with the channels of a pixel side by side."""
    _, channels, *spatial = shape
    strides, step = [], channels
    for size in reversed(spatial):
        strides.append(step)
        step *= size
    return strided(shape, (step, 1, *strides[::-1]), dtype)


@dataclass(frozen=True)
class Activation:
    """An element-wise function that a primitive applies to its result (a oneDNN post-op)."""

    algorithm: int
    alpha: float
    beta: float


class Primitive:
    """A prepared computation: `<name>_primitive_desc_create(engine, *arguments, attributes)`.

    The scratch memory belongs to the caller: with oneDNN's own, a primitive that two threads share gives wrong results.
    Arguments that are `scaled` are multiplied by a number each, given at execution. To `accumulate` is to add the
    result to what its memory holds.
    """

    def __init__(
        self,
        name: str,
        *arguments: Any,
        activation: Activation | None = None,
        scaled: Sequence[int] = (),
        accumulate: bool = False,
    ) -> None:
        library = dnnl()
        attributes = Handle(library.create("primitive_attr_create"), library.symbols.dnnl_primitive_attr_destroy)
        library.call("primitive_attr_set_scratchpad_mode", attributes.value, 1)
        if accumulate or activation is not None:
            post_ops = Handle(library.create("post_ops_create"), library.symbols.dnnl_post_ops_destroy)
            if accumulate:
                library.call("post_ops_append_sum", post_ops.value, 1.0, 0, 0)
            if activation is not None:
                library.call(
                    "post_ops_append_eltwise", post_ops.value, activation.algorithm, activation.alpha, activation.beta
                )
            library.call("primitive_attr_set_post_ops", attributes.value, post_ops.value)
        for argument in scaled:
            library.call("primitive_attr_set_scales_mask", attributes.value, argument, 0)
        engine = () if name == "reorder" else (library.engine,)
        handle = library.create(f"{name}_primitive_desc_create", *engine, *map(_value, arguments), attributes.value)
        self.descriptor = Handle(handle, library.symbols.dnnl_primitive_desc_destroy)
        self.name = name
        self._primitive: Handle | None = None

    @property
    def handle(self) -> int:
        """The primitive itself, compiled on first use."""
        if self._primitive is None:
            handle = dnnl().create("primitive_create", self.descriptor.value)
            self._primitive = Handle(handle, dnnl().symbols.dnnl_primitive_destroy)
        return self._primitive.value

    def layout(self, kind: str, shape: Sequence[int], dtype: str = "float32") -> Layout:
        """The layout that the primitive chose for an argument: src, dst, weights, workspace, ..."""
        return self._clone(QUERY[kind], 0, shape, dtype)

    def argument_layout(self, argument: int, shape: Sequence[int], dtype: str = "float32") -> Layout:
        """The layout of an execution argument by its number."""
        return self._clone(QUERY_EXECUTE_ARGUMENT, argument, shape, dtype)

    @property
    def scratchpad(self) -> Layout:
        """The scratch memory it needs while it runs."""
        return self._clone(QUERY_SCRATCHPAD, 0, (), "uint8")

    @property
    def implementation(self) -> str:
        """oneDNN's name of the kernel it chose."""
        return dnnl().text(self.descriptor.value, QUERY_IMPLEMENTATION)

    def _clone(self, what: int, index: int, shape: Sequence[int], dtype: str) -> Layout:
        borrowed = dnnl().symbols.dnnl_primitive_desc_query_md(self.descriptor.value, what, index)
        return Layout(dnnl().create("memory_desc_clone", borrowed), shape, dtype)


def _value(argument: Any) -> Any:
    """Handles and primitives as the pointers that C takes."""
    if isinstance(argument, Primitive):
        return argument.descriptor.value
    return argument.value if isinstance(argument, Handle) else argument


def layout_array(layouts: Sequence[Layout]) -> Any:
    """Several layouts as a C array."""
    return pointers([layout.value for layout in layouts])
