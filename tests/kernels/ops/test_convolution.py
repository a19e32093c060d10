from __future__ import annotations

import itertools

import numpy as np
import pytest

from kernels import ops
from kernels.graph import Graph
from kernels.reference import evaluate


def direct(
    x: np.ndarray, w: np.ndarray, strides: tuple[int, int], dilation: tuple[int, int], groups: int
) -> np.ndarray:
    """The definition, one product after another."""
    extents = [(k - 1) * d + 1 for k, d in zip(w.shape[2:], dilation, strict=True)]
    rows, columns = ((s - e) // t + 1 for s, e, t in zip(x.shape[2:], extents, strides, strict=True))
    y = np.zeros((len(x), len(w), rows, columns))
    per_group = len(w) // groups
    for n, o, r, c in np.ndindex(*y.shape):
        for i, a, b in np.ndindex(*w.shape[1:]):
            channel = (o // per_group) * w.shape[1] + i
            y[n, o, r, c] += (
                w[o, i, a, b] * x[n, channel, r * strides[0] + a * dilation[0], c * strides[1] + b * dilation[1]]
            )
    return y


@pytest.mark.parametrize("groups", [1, 2])
def test_reference_is_the_sum_of_products(groups: int) -> None:
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(2, 4, 6, 7)), rng.normal(size=(4, 4 // groups, 2, 3))
    graph = Graph()
    y = ops.convolution(
        graph.input("x", x.shape), graph.input("w", w.shape), strides=(2, 1), dilation=(1, 2), groups=groups
    )
    np.testing.assert_allclose(evaluate([y], {"x": x, "w": w})[0], direct(x, w, (2, 1), (1, 2), groups), rtol=1e-12)


def test_same_padding_gives_the_size_over_the_stride() -> None:
    for size, kernel, stride, dilation in itertools.product(range(1, 9), range(1, 5), range(1, 4), range(1, 3)):
        low, high = ops.same_padding(size, kernel, stride, dilation)
        assert 0 <= low <= high <= low + 1
        graph = Graph()
        y = ops.convolution(
            graph.input("x", (1, 1, size)),
            graph.input("w", (1, 1, kernel)),
            strides=(stride,),
            padding=((low, high),),
            dilation=(dilation,),
        )
        assert y.shape[2] == -(-size // stride)


def test_transposed_convolution_is_the_adjoint() -> None:
    rng = np.random.default_rng(0)
    graph = Graph()
    x, w = graph.input("x", (2, 3, 9, 8)), graph.input("w", (4, 3, 3, 2))
    attrs = {"strides": (2, 3), "padding": ((1, 0), (0, 1))}
    y = ops.convolution(x, w, **attrs)
    back = ops.convolution_backward_data(graph.input("g", y.shape), w, input_shape=x.shape, **attrs)
    feeds = {name: rng.normal(size=shape) for name, shape in [("x", x.shape), ("w", w.shape), ("g", y.shape)]}
    forward, backward = evaluate([y, back], feeds)
    np.testing.assert_allclose(np.sum(forward * feeds["g"]), np.sum(feeds["x"] * backward), rtol=1e-12)
