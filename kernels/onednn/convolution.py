"""Convolution by oneDNN: forward (with the activation that follows), gradient of the data, gradient of the weights."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType
from typing import Any

from kernels.graph import Node
from kernels.native.dnnl import (
    BIAS,
    CONVOLUTION_AUTO,
    DIFF_BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
    dims,
)
from kernels.onednn import kn2row, winograd
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Activation, Layout, Primitive, any_layout, channels_last, plain
from kernels.onednn.elementwise import activation_of


def convolution(c: Compiler, node: Node) -> None:
    """y = activation(x * w + b)."""
    x, w, *bias = node.inputs
    if products := by_products(node.attrs, x.shape, w.shape):
        products.convolution(c, node)
        return
    result, activation = c.activation_after(node, activation_of)
    grouped = _grouped(w.shape, node.attrs["groups"])
    primitive = _forward(node.attrs, x.shape, grouped, bool(bias), result.shape, activation)
    c.execute(
        primitive,
        {
            SRC: c.want(x, primitive.layout("src", x.shape)),
            WEIGHTS: _weights(c, node, primitive, grouped),
            BIAS: c.plain(bias[0]) if bias else None,
            DST: c.make(result, primitive.layout("dst", result.shape)),
        },
    )


def backward_data(c: Compiler, node: Node) -> None:
    """Gradient of the input from that of the output."""
    dy, w = node.inputs
    shape = node.attrs["input_shape"]
    if products := by_products(node.attrs, shape, w.shape):
        products.backward_data(c, node)
        return
    grouped = _grouped(w.shape, node.attrs["groups"])
    hint = _forward(node.attrs, shape, grouped, False, dy.shape)
    primitive = Primitive(
        "convolution_backward_data",
        CONVOLUTION_AUTO,
        any_layout(shape),
        any_layout(grouped),
        any_layout(dy.shape),
        *_geometry(node.attrs),
        hint,
    )
    c.execute(
        primitive,
        {
            DIFF_DST: c.want(dy, primitive.layout("diff_dst", dy.shape)),
            WEIGHTS: _weights(c, node, primitive, grouped),
            DIFF_SRC: c.make(node.outputs[0], primitive.layout("diff_src", shape)),
        },
    )


def backward_weights(c: Compiler, node: Node) -> None:
    """Gradients of the weights and, where there is one, the bias."""
    x, dy = node.inputs
    dw, *db = node.outputs
    if products := by_products(node.attrs, x.shape, dw.shape):
        products.backward_weights(c, node)
        return
    grouped = _grouped(dw.shape, node.attrs["groups"])
    hint = _forward(node.attrs, x.shape, grouped, bool(db), dy.shape)
    bias = plain(db[0].shape) if db else None

    def make(data: Layout, gradient: Layout) -> Primitive:
        arguments = (data, any_layout(grouped), bias, gradient, *_geometry(node.attrs), hint)
        return Primitive("convolution_backward_weights", CONVOLUTION_AUTO, *arguments)

    primitive = make(any_layout(x.shape), any_layout(dy.shape))
    if "avx2" in primitive.implementation and hint.implementation.endswith("avx512_core"):
        # For few channels the free choice falls back to AVX2, at less than half the speed of AVX-512 on channels-last
        # data.
        primitive = make(channels_last(x.shape), channels_last(dy.shape))
    chosen = primitive.layout("diff_weights", grouped)
    target = c.make(dw, chosen) if grouped == dw.shape else c.scratch(chosen)
    c.execute(
        primitive,
        {
            SRC: c.want(x, primitive.layout("src", x.shape)),
            DIFF_DST: c.want(dy, primitive.layout("diff_dst", dy.shape)),
            DIFF_WEIGHTS: target,
            DIFF_BIAS: c.make(db[0], plain(db[0].shape)) if db else None,
        },
    )
    if grouped != dw.shape:
        c.make_viewed(dw, target, plain(grouped))


def by_products(attrs: Any, x: Sequence[int], w: Sequence[int]) -> ModuleType | None:
    """The module whose products of matrices are faster than oneDNN's convolution; it follows from the shapes alone."""
    sizes = (*attrs["strides"], *attrs["dilation"], *(side for sides in attrs["padding"] for side in sides))
    if len(x) != 4 or tuple(w[2:]) != (3, 3) or attrs["groups"] != 1 or any(size != 1 for size in sizes):
        return None
    return next((module for module in (kn2row, winograd) if module.suits(x, w)), None)


def _forward(
    attrs: Any,
    x: Sequence[int],
    w: Sequence[int],
    bias: bool,
    y: Sequence[int],
    activation: Activation | None = None,
) -> Primitive:
    return Primitive(
        "convolution_forward",
        FORWARD_TRAINING,
        CONVOLUTION_AUTO,
        any_layout(x),
        any_layout(w),
        plain((y[1],)) if bias else None,
        any_layout(y),
        *_geometry(attrs),
        activation=activation,
    )


def _geometry(attrs: Any) -> tuple[Any, ...]:
    """strides, dilations (oneDNN counts the gaps), padding low, padding high."""
    low, high = zip(*attrs["padding"], strict=True)
    return dims(attrs["strides"]), dims([d - 1 for d in attrs["dilation"]]), dims(low), dims(high)


def _grouped(shape: Sequence[int], groups: int) -> tuple[int, ...]:
    """oneDNN keeps the groups of a weight in a dimension of their own."""
    return tuple(shape) if groups == 1 else (groups, shape[0] // groups, *shape[1:])


def _weights(c: Compiler, node: Node, primitive: Primitive, grouped: tuple[int, ...]) -> Tensor:
    value = node.inputs[1]
    chosen = primitive.layout("weights", grouped)
    return c.want(value, chosen) if grouped == value.shape else c.want_viewed(value, plain(grouped), chosen)
