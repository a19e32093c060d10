"""Linear maps and matrix products by oneDNN.

Weights that change with every run are taken, and their gradients made, in numpy's order: the kernels for it are as fast
as those for blocks, or nearly, and to change the order of a matrix costs up to several times its product. Weights that
stay, or are used many times in a run (an unrolled recurrence), are brought into blocks once for the way forward.
`product` is what convolutions are made of that oneDNN's own are slower than.
"""

from __future__ import annotations

from typing import Any

from kernels.graph import Node
from kernels.native.dnnl import (
    BIAS,
    DIFF_BIAS,
    DIFF_DST,
    DIFF_SRC,
    DIFF_WEIGHTS,
    DST,
    FORWARD_TRAINING,
    SRC,
    WEIGHTS,
)
from kernels.onednn.compiler import Compiler, Tensor
from kernels.onednn.descriptors import Activation, Primitive, any_layout, plain
from kernels.onednn.elementwise import activation_of

FEW = 2
"""A training step uses the weights of one layer this often: for its result and for its gradient."""


def linear(c: Compiler, node: Node) -> None:
    """y = activation(x w' + b)."""
    if c.is_constant(node.inputs[1]) or c.uses_of(node.inputs[1]) > FEW:
        _linear_by_blocks(c, node)
    else:
        _linear_in_order(c, node)


def _linear_in_order(c: Compiler, node: Node) -> None:
    x, w, *bias = node.inputs
    result, activation = c.activation_after(node, activation_of)
    row = plain((1, *bias[0].shape)) if bias else None
    transposed = plain(w.shape).permute([1, 0])
    primitive = Primitive("matmul", plain(x.shape), transposed, row, plain(result.shape), activation=activation)
    c.execute(
        primitive,
        {
            SRC: c.plain(x),
            WEIGHTS: c.want_viewed(w, transposed, transposed),
            BIAS: c.want_viewed(bias[0], row, row) if row else None,
            DST: c.make(result, plain(result.shape)),
        },
    )


def _linear_by_blocks(c: Compiler, node: Node) -> None:
    x, w, *bias = node.inputs
    result, activation = c.activation_after(node, activation_of)
    primitive = _forward(x.shape, w.shape, bool(bias), activation)
    c.execute(
        primitive,
        {
            SRC: c.want(x, primitive.layout("src", x.shape)),
            WEIGHTS: c.want(w, primitive.layout("weights", w.shape)),
            BIAS: c.plain(bias[0]) if bias else None,
            DST: c.make(result, primitive.layout("dst", result.shape)),
        },
    )


def backward_data(c: Compiler, node: Node) -> None:
    """dx = dy w."""
    dy, w = node.inputs
    dx = node.outputs[0]
    hint = _forward(dx.shape, w.shape, False)
    primitive = Primitive(
        "inner_product_backward_data", any_layout(dx.shape), plain(w.shape), any_layout(dy.shape), hint
    )
    c.execute(
        primitive,
        {
            DIFF_DST: c.want(dy, primitive.layout("diff_dst", dy.shape)),
            WEIGHTS: c.plain(w),
            DIFF_SRC: c.make(dx, primitive.layout("diff_src", dx.shape)),
        },
    )


def backward_weights(c: Compiler, node: Node) -> None:
    """dw = dy' x and, where there is a bias, db = the sum of dy over the batch."""
    x, dy = node.inputs
    dw, *db = node.outputs
    hint = _forward(x.shape, dw.shape, bool(db))
    primitive = Primitive(
        "inner_product_backward_weights",
        any_layout(x.shape),
        plain(dw.shape),
        plain(db[0].shape) if db else None,
        any_layout(dy.shape),
        hint,
    )
    c.execute(
        primitive,
        {
            SRC: c.want(x, primitive.layout("src", x.shape)),
            DIFF_DST: c.want(dy, primitive.layout("diff_dst", dy.shape)),
            DIFF_WEIGHTS: c.make(dw, plain(dw.shape)),
            DIFF_BIAS: c.make(db[0], plain(db[0].shape)) if db else None,
        },
    )


def matmul(c: Compiler, node: Node) -> None:
    """c = a b, each transposed or not; leading dimensions of one are repeated."""
    result = node.outputs[0]
    rank = len(result.shape)
    swapped = [*range(rank - 2), rank - 1, rank - 2]
    arguments, layouts = [], []
    for value, transposed in zip(node.inputs, (node.attrs["transpose_a"], node.attrs["transpose_b"]), strict=True):
        layout = plain((1,) * (rank - len(value.shape)) + value.shape)
        arguments.append(c.want_viewed(value, layout, layout))
        layouts.append(layout.permute(swapped) if transposed else layout)
    primitive = Primitive("matmul", *layouts, None, plain(result.shape))
    c.execute(primitive, {SRC: arguments[0], WEIGHTS: arguments[1], DST: c.make(result, plain(result.shape))})


def product(
    c: Compiler,
    left: Tensor,
    right: Tensor,
    target: Tensor,
    bias: Tensor | None = None,
    constant: bool | None = None,
    **more: Any,
) -> None:
    """The product of two matrices, or of two stacks of them, plus a row; `more` is for `Primitive`."""
    primitive = Primitive("matmul", left.layout, right.layout, bias and bias.layout, target.layout, **more)
    c.execute(primitive, {SRC: left, WEIGHTS: right, BIAS: bias, DST: target}, constant)


def _forward(x: tuple[int, ...], w: tuple[int, ...], bias: bool, activation: Activation | None = None) -> Primitive:
    return Primitive(
        "inner_product_forward",
        FORWARD_TRAINING,
        any_layout(x),
        any_layout(w),
        plain((w[0],)) if bias else None,
        any_layout((x[0], w[0])),
        activation=activation,
    )
