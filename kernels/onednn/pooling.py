"""Maximum and average pooling by oneDNN."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kernels.graph import Node
from kernels.native.dnnl import (
    DIFF_DST,
    DIFF_SRC,
    DST,
    FORWARD_INFERENCE,
    FORWARD_TRAINING,
    POOLING,
    SRC,
    WORKSPACE,
    dims,
)
from kernels.onednn.compiler import Compiler
from kernels.onednn.descriptors import Activation, Layout, Primitive, any_layout, plain
from kernels.onednn.elementwise import activation_of


def max_pool(c: Compiler, node: Node) -> None:
    """y = activation(maximum of each window); for the gradient the workspace remembers which element it was."""
    x, workspace = node.inputs[0], node.outputs[1]
    y, activation = c.activation_after(node, activation_of)
    keep = c.uses_of(workspace) > 0
    primitive = _forward(POOLING["max"], node.attrs, c.layout(x), y.shape, keep, activation)
    arguments = {SRC: c.tensor(x), DST: c.make(y, primitive.layout("dst", y.shape))}
    if keep:
        arguments[WORKSPACE] = c.make_workspace(workspace, primitive)
    c.execute(primitive, arguments)


def max_pool_backward(c: Compiler, node: Node) -> None:
    """dx from the workspace and dy."""
    workspace, dy = node.inputs
    hint = c.made_by(workspace)
    gradient = c.want(dy, hint.layout("dst", dy.shape))
    arguments = {WORKSPACE: c.tensor(workspace), DIFF_DST: gradient}
    _backward(c, node, POOLING["max"], hint, gradient.layout, arguments)


def avg_pool(c: Compiler, node: Node) -> None:
    """y = activation(mean of each window)."""
    x = node.inputs[0]
    y, activation = c.activation_after(node, activation_of)
    primitive = _forward(_average(node.attrs), node.attrs, c.layout(x), y.shape, False, activation)
    c.execute(primitive, {SRC: c.tensor(x), DST: c.make(y, primitive.layout("dst", y.shape))})


def avg_pool_backward(c: Compiler, node: Node) -> None:
    """dx: each element of dy spread over its window."""
    dy, dx = node.inputs[0], node.outputs[0]
    hint = _forward(_average(node.attrs), node.attrs, plain(dx.shape), dy.shape, True)
    gradient = c.tensor(dy)
    _backward(c, node, _average(node.attrs), hint, gradient.layout, {DIFF_DST: gradient})


def _forward(
    algorithm: int,
    attrs: Any,
    x: Layout,
    y: Sequence[int],
    training: bool,
    activation: Activation | None = None,
) -> Primitive:
    kind = FORWARD_TRAINING if training else FORWARD_INFERENCE
    return Primitive("pooling_forward", kind, algorithm, x, any_layout(y), *_geometry(attrs), activation=activation)


def _backward(
    c: Compiler, node: Node, algorithm: int, hint: Primitive, gradient: Layout, arguments: dict[int, Any]
) -> None:
    dx = node.outputs[0]
    primitive = Primitive("pooling_backward", algorithm, any_layout(dx.shape), gradient, *_geometry(node.attrs), hint)
    c.execute(primitive, {**arguments, DIFF_SRC: c.make(dx, primitive.layout("diff_src", dx.shape))})


def _average(attrs: Any) -> int:
    return POOLING["avg_include" if attrs["include_padding"] else "avg_exclude"]


def _geometry(attrs: Any) -> tuple[Any, ...]:
    """strides, kernel, dilation (none), padding low, padding high."""
    low, high = zip(*attrs["padding"], strict=True)
    return dims(attrs["strides"]), dims(attrs["kernel"]), dims([0] * len(low)), dims(low), dims(high)
