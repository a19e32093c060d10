from __future__ import annotations

import itertools

import numpy as np

from kernels import ops
from kernels.gradient import differentiate
from kernels.graph import Graph
from kernels.reference import evaluate


def test_ceil_padding_covers_the_input_and_no_window_lies_outside() -> None:
    for size, kernel, stride in itertools.product(range(3, 12), range(1, 4), range(1, 4)):
        for pad in range(kernel // 2 + 1):
            low, high = ops.pool_padding(size, kernel, stride, pad, ceil=True)
            count = (size + low + high - kernel) // stride + 1
            expected = -(-(size + 2 * pad - kernel) // stride) + 1
            expected -= (expected - 1) * stride >= size + pad
            assert (low, count) == (pad, expected)
            if kernel > pad:
                ops.max_pool(
                    Graph().input("x", (1, 1, size)), kernel=(kernel,), strides=(stride,), padding=((low, high),)
                )


def test_floor_padding_is_symmetric() -> None:
    assert ops.pool_padding(8, 3, 2, 1) == (1, 1)


def test_first_of_equal_maxima_gets_the_gradient_and_padding_never_wins() -> None:
    graph = Graph()
    x = graph.input("x", (1, 1, 4))
    y = ops.max_pool(x, kernel=(3,), strides=(2,), padding=((1, 1),))
    dx = differentiate({y: graph.input("dy", y.shape)}, [x])[x]
    feeds = {"x": np.full((1, 1, 4), -5, np.float32), "dy": np.array([[[1, 10]]], np.float32)}
    top, gradient = evaluate([y, dx], feeds)
    assert top.tolist() == [[[-5, -5]]]
    assert gradient.tolist() == [[[1, 10, 0, 0]]]


def test_average_counts_padding_only_if_told() -> None:
    x = np.ones((1, 1, 3), np.float32)
    for include, expected in [(True, [2 / 3, 2 / 3]), (False, [1, 1])]:
        y = ops.avg_pool(
            Graph().input("x", x.shape), kernel=(3,), strides=(2,), padding=((1, 1),), include_padding=include
        )
        np.testing.assert_allclose(evaluate([y], {"x": x})[0][0, 0], expected, rtol=1e-6)
