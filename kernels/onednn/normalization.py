"""Batch normalisation, local response normalisation and softmax by oneDNN."""

from __future__ import annotations

from kernels.graph import Node
from kernels.native.dnnl import (
    BACKWARD,
    DIFF_DST,
    DIFF_SCALE,
    DIFF_SHIFT,
    DIFF_SRC,
    DST,
    FORWARD_INFERENCE,
    FORWARD_TRAINING,
    LRN_ACROSS_CHANNELS,
    MEAN,
    SCALE,
    SHIFT,
    SOFTMAX_ACCURATE,
    SOFTMAX_LOG,
    SRC,
    USE_GLOBAL_STATISTICS,
    USE_SCALE,
    USE_SHIFT,
    VARIANCE,
    WORKSPACE,
)
from kernels.onednn.compiler import Compiler
from kernels.onednn.descriptors import Activation, Layout, Primitive, plain
from kernels.onednn.elementwise import ALGORITHMS, activation_of

RELU = Activation(ALGORITHMS["relu"][0], 0.0, 0.0)


def batch_norm(c: Compiler, node: Node) -> None:
    """Normalise each channel by its mean and variance over the batch, with the ReLU that follows; returns them too."""
    x, gamma, beta = node.inputs
    _, mean, variance = node.outputs
    y, activation = c.activation_after(node, _relu_of)
    source = c.tensor(x)
    primitive = _batch_norm(source.layout, node.attrs["eps"], 0, activation)
    c.execute(
        primitive,
        {
            SRC: source,
            SCALE: c.plain(gamma),
            SHIFT: c.plain(beta),
            DST: c.make(y, source.layout),
            MEAN: c.make(mean, plain(mean.shape)),
            VARIANCE: c.make(variance, plain(variance.shape)),
        },
    )


def batch_norm_backward(c: Compiler, node: Node) -> None:
    """Gradients of the input, the scale and the shift."""
    x, mean, variance, gamma, dy = node.inputs
    dx, dgamma, dbeta = node.outputs
    source = c.tensor(x)
    gradient = c.want(dy, source.layout)
    eps = node.attrs["eps"]
    primitive = Primitive(
        "batch_normalization_backward",
        BACKWARD,
        source.layout,
        source.layout,
        source.layout,
        eps,
        USE_SCALE | USE_SHIFT,
        _batch_norm(source.layout, eps, 0),
    )
    c.execute(
        primitive,
        {
            SRC: source,
            MEAN: c.plain(mean),
            VARIANCE: c.plain(variance),
            SCALE: c.plain(gamma),
            DIFF_DST: gradient,
            DIFF_SRC: c.make_over(dx, dy, gradient),
            DIFF_SCALE: c.make(dgamma, plain(dgamma.shape)),
            DIFF_SHIFT: c.make(dbeta, plain(dbeta.shape)),
        },
    )


def batch_norm_inference(c: Compiler, node: Node) -> None:
    """Normalise each channel by given statistics, with the ReLU that follows."""
    x, gamma, beta, mean, variance = node.inputs
    y, activation = c.activation_after(node, _relu_of)
    source = c.tensor(x)
    primitive = _batch_norm(source.layout, node.attrs["eps"], USE_GLOBAL_STATISTICS, activation)
    c.execute(
        primitive,
        {
            SRC: source,
            SCALE: c.plain(gamma),
            SHIFT: c.plain(beta),
            MEAN: c.plain(mean),
            VARIANCE: c.plain(variance),
            DST: c.make_over(y, x, source),
        },
    )


def _batch_norm(layout: Layout, eps: float, flags: int, activation: Activation | None = None) -> Primitive:
    kind = FORWARD_INFERENCE if flags else FORWARD_TRAINING
    flags |= USE_SCALE | USE_SHIFT
    return Primitive("batch_normalization_forward", kind, layout, layout, eps, flags, activation=activation)


def _relu_of(node: Node) -> Activation | None:
    """The only activation that oneDNN computes together with a batch norm."""
    activation = activation_of(node)
    return activation if activation == RELU else None


def lrn(c: Compiler, node: Node) -> None:
    """Divide by a power of the sum of squares over neighbouring channels."""
    x = node.inputs[0]
    y, workspace = node.outputs
    source = c.tensor(x)
    keep = c.uses_of(workspace) > 0
    primitive = _lrn(node, source.layout, keep)
    arguments = {SRC: source, DST: c.make(y, source.layout)}
    if keep:
        arguments[WORKSPACE] = c.make_workspace(workspace, primitive)
    c.execute(primitive, arguments)


def lrn_backward(c: Compiler, node: Node) -> None:
    """dx from x, the workspace and dy."""
    x, workspace, dy = node.inputs
    source = c.tensor(x)
    gradient = c.want(dy, source.layout)
    attrs = node.attrs
    primitive = Primitive(
        "lrn_backward",
        LRN_ACROSS_CHANNELS,
        source.layout,
        source.layout,
        source.layout,
        attrs["size"],
        attrs["alpha"],
        attrs["beta"],
        attrs["k"],
        c.made_by(workspace),
    )
    c.execute(
        primitive,
        {
            SRC: source,
            WORKSPACE: c.tensor(workspace),
            DIFF_DST: gradient,
            DIFF_SRC: c.make(node.outputs[0], source.layout),
        },
    )


def _lrn(node: Node, layout: Layout, training: bool) -> Primitive:
    kind = FORWARD_TRAINING if training else FORWARD_INFERENCE
    attrs = node.attrs
    return Primitive(
        "lrn_forward",
        kind,
        LRN_ACROSS_CHANNELS,
        layout,
        layout,
        attrs["size"],
        attrs["alpha"],
        attrs["beta"],
        attrs["k"],
    )


def softmax(c: Compiler, node: Node) -> None:
    """exp(x) over its sum along an axis, or the logarithm of that."""
    x, y = node.inputs[0], node.outputs[0]
    source = c.plain(x)
    primitive = _softmax(node, source.layout, x.shape)
    c.execute(primitive, {SRC: source, DST: c.make(y, source.layout)})


def softmax_backward(c: Compiler, node: Node) -> None:
    """dx from y and dy."""
    y, dy = node.inputs
    result, gradient = c.plain(y), c.plain(dy)
    layout = plain(y.shape)
    primitive = Primitive(
        "softmax_backward",
        _softmax_algorithm(node),
        layout,
        layout,
        layout,
        node.attrs["axis"] % len(y.shape),
        _softmax(node, layout, y.shape),
    )
    c.execute(primitive, {DST: result, DIFF_DST: gradient, DIFF_SRC: c.make(node.outputs[0], layout)})


def _softmax(node: Node, layout: Layout, shape: tuple[int, ...]) -> Primitive:
    axis = node.attrs["axis"] % len(shape)
    return Primitive("softmax_forward", FORWARD_TRAINING, _softmax_algorithm(node), layout, layout, axis)


def _softmax_algorithm(node: Node) -> int:
    return SOFTMAX_LOG if node.op.name.startswith("log_") else SOFTMAX_ACCURATE
