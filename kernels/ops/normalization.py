"""Normalisations over channels: batch normalisation and local response normalisation. Softmax is in softmax.py."""

from __future__ import annotations

import math

import numpy as np

from kernels.errors import ArgumentError
from kernels.graph import Node, Op, Spec, Value, apply
from kernels.ops.elementwise import add_n, multiply, subtract
from kernels.ops.reduction import broadcast_to, reduce
from kernels.ops.shape import reshape
from kernels.ops.shapes import expect, floats
from kernels.ops.unary import affine, negative, power


def _axes(rank: int) -> tuple[int, ...]:
    return (0, *range(2, rank))


def _spread(per_channel: np.ndarray, rank: int) -> np.ndarray:
    return per_channel.reshape(-1, *(1,) * (rank - 2))


def _check_channels(x: Spec, eps: float, **vectors: Spec) -> None:
    if eps < 0:
        raise ArgumentError(f"eps must be >= 0. Received: eps={eps}.")
    expect(len(x.shape) >= 2, "(batch, channels, *spatial)", x.shape)
    for name, vector in vectors.items():
        expect(vector.shape == x.shape[1:2], f"{name} of shape {x.shape[1:2]}", vector.shape)
    floats(x, *vectors.values())


# batch_norm: training


def _batch_norm_shape(x: Spec, gamma: Spec, beta: Spec, *, eps: float) -> list[Spec]:
    _check_channels(x, eps, gamma=gamma, beta=beta)
    return [x, gamma, gamma]


def _batch_norm(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, *, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    if x.size:
        mean, variance = x.mean(_axes(x.ndim)), x.var(_axes(x.ndim))
    else:  # of nothing: numbers that hurt nobody
        mean, variance = np.zeros_like(gamma), np.zeros_like(gamma)
    return _batch_norm_inference(x, gamma, beta, mean, variance, eps=eps), mean, variance


def _batch_norm_rule(node: Node, dy: Value | None, dmean: Value | None, dvariance: Value | None) -> list[Value | None]:
    x, gamma, _ = node.inputs
    _, mean, variance = node.outputs
    gradients: list[Value | None] = [None, None, None]
    if dy is not None:
        gradients = list(apply(BATCH_NORM_BACKWARD, x, mean, variance, gamma, dy, **node.attrs))
    column, count = (1, -1, *(1,) * (len(x.shape) - 2)), math.prod(x.shape) // x.shape[1]
    parts = [] if gradients[0] is None else [gradients[0]]
    if dmean is not None:
        parts.append(broadcast_to(affine(reshape(dmean, column), 1 / count), x.shape))
    if dvariance is not None:
        centred = subtract(x, reshape(mean, column))
        parts.append(multiply(centred, affine(reshape(dvariance, column), 2 / count)))
    return [add_n(parts), *gradients[1:]]


def _batch_norm_backward_shape(x: Spec, mean: Spec, variance: Spec, gamma: Spec, dy: Spec, *, eps: float) -> list[Spec]:
    _check_channels(x, eps, mean=mean, variance=variance, gamma=gamma)
    expect(dy.shape == x.shape, f"a gradient of shape {x.shape}", dy.shape)
    return [x, gamma, gamma]


def _batch_norm_backward(
    x: np.ndarray, mean: np.ndarray, variance: np.ndarray, gamma: np.ndarray, dy: np.ndarray, *, eps: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    axes, count, deviation = _axes(x.ndim), x.size // x.shape[1], np.sqrt(variance + eps)
    normal = (x - _spread(mean, x.ndim)) / _spread(deviation, x.ndim)
    dbeta, dgamma = dy.sum(axes), (dy * normal).sum(axes)
    inner = dy - _spread(dbeta / count, x.ndim) - normal * _spread(dgamma / count, x.ndim)
    return _spread(gamma / deviation, x.ndim) * inner, dgamma, dbeta


# batch_norm_inference


def _inference_shape(x: Spec, gamma: Spec, beta: Spec, mean: Spec, variance: Spec, *, eps: float) -> Spec:
    _check_channels(x, eps, gamma=gamma, beta=beta, mean=mean, variance=variance)
    return x


def _batch_norm_inference(
    x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: np.ndarray, variance: np.ndarray, *, eps: float
) -> np.ndarray:
    scale = gamma / np.sqrt(variance + eps)
    return (x - _spread(mean, x.ndim)) * _spread(scale, x.ndim) + _spread(beta, x.ndim)


def _inference_rule(node: Node, dy: Value) -> list[Value]:
    x, gamma, _, mean, variance = node.inputs
    axes, column = _axes(len(x.shape)), (1, -1, *(1,) * (len(x.shape) - 2))
    inverse = power(affine(variance, 1.0, node.attrs["eps"]), -0.5)
    scale = multiply(gamma, inverse)
    centred = multiply(dy, subtract(x, reshape(mean, column)))
    dbeta, product = reduce(dy, "sum", axes), reduce(centred, "sum", axes)
    dvariance = affine(multiply(product, multiply(scale, multiply(inverse, inverse))), -0.5)
    dx = multiply(dy, reshape(scale, column))
    return [dx, multiply(product, inverse), dbeta, negative(multiply(dbeta, scale)), dvariance]


BATCH_NORM = Op("batch_norm", _batch_norm_shape, _batch_norm, _batch_norm_rule)
BATCH_NORM_BACKWARD = Op("batch_norm_backward", _batch_norm_backward_shape, _batch_norm_backward)
BATCH_NORM_INFERENCE = Op("batch_norm_inference", _inference_shape, _batch_norm_inference, _inference_rule)


def batch_norm(x: Value, gamma: Value, beta: Value, eps: float = 1e-5) -> tuple[Value, Value, Value]:
    """Training mode: gamma (x - mean) / sqrt(variance + eps) + beta per channel, and the batch's mean and variance.

    x (n, c, *spatial), gamma and beta (c,) -> y like x, mean (c,), variance (c,), which divides by the count (biased).

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> x, gamma, beta = graph.input("x", (8, 3, 5, 5)), graph.parameter("gamma", (3,)), graph.parameter("beta", (3,))
    >>> [value.shape for value in batch_norm(x, gamma, beta)]
    [(8, 3, 5, 5), (3,), (3,)]
    """
    y, mean, variance = apply(BATCH_NORM, x, gamma, beta, eps=float(eps))
    return y, mean, variance


def batch_norm_inference(x: Value, gamma: Value, beta: Value, mean: Value, variance: Value, eps: float = 1e-5) -> Value:
    """Inference mode: gamma (x - mean) / sqrt(variance + eps) + beta with given statistics, all of shape (c,).

    >>> from kernels.graph import Graph
    >>> graph = Graph()
    >>> batch_norm_inference(graph.input("x", (8, 3)), *(graph.input(name, (3,)) for name in "gbmv")).shape
    (8, 3)
    """
    return apply(BATCH_NORM_INFERENCE, x, gamma, beta, mean, variance, eps=float(eps))[0]


# lrn


def _lrn_shape(x: Spec, *, size: int, alpha: float, beta: float, k: float) -> list[Spec]:
    expect(len(x.shape) >= 3, "(batch, channels, *spatial)", x.shape)
    if size < 1 or size % 2 == 0:
        raise ArgumentError(f"size must be odd and >= 1. Received: size={size}.")
    floats(x)
    return [x, x]


def _window_sum(x: np.ndarray, size: int) -> np.ndarray:
    """Sums over `size` neighbouring channels, the own one in the middle."""
    half = size // 2
    padded = np.pad(x, ((0, 0), (half, half), *((0, 0),) * (x.ndim - 2)))
    total = np.zeros_like(x)
    for offset in range(size):
        total += padded[:, offset : offset + x.shape[1]]
    return total


def _lrn(x: np.ndarray, *, size: int, alpha: float, beta: float, k: float) -> tuple[np.ndarray, np.ndarray]:
    scale = k + alpha / size * _window_sum(x * x, size)
    return x * scale**-beta, scale


def _lrn_rule(node: Node, dy: Value, _: Value | None) -> list[Value]:
    return [apply(LRN_BACKWARD, node.inputs[0], node.outputs[1], dy, **node.attrs)[0]]


def _lrn_backward_shape(x: Spec, workspace: Spec, dy: Spec, **attrs: float) -> Spec:
    expect(dy.shape == workspace.shape == x.shape, f"a gradient of shape {x.shape}", dy.shape)
    floats(x, workspace, dy)
    return x


def _lrn_backward(
    x: np.ndarray, workspace: np.ndarray, dy: np.ndarray, *, size: int, alpha: float, beta: float, k: float
) -> np.ndarray:
    direct = dy * workspace**-beta
    return direct - 2 * alpha * beta / size * x * _window_sum(direct * x / workspace, size)


LRN = Op("lrn", _lrn_shape, _lrn, _lrn_rule)
LRN_BACKWARD = Op("lrn_backward", _lrn_backward_shape, _lrn_backward)


def lrn(x: Value, size: int = 5, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Value:
    """Quotient x / (k + alpha / size * sum of x^2 over `size` neighbouring channels)^beta, as Caffe, BigDL and PyTorch.

    x (n, c, *spatial), size odd.

    >>> from kernels.graph import Graph
    >>> lrn(Graph().input("x", (8, 64, 5, 5))).shape
    (8, 64, 5, 5)
    """
    return apply(LRN, x, size=int(size), alpha=float(alpha), beta=float(beta), k=float(k))[0]
