"""How much of a processor's arithmetic training takes, beside a product of large matrices.

Operations are those of plain products and convolutions. An engine that computes these gets to the product at most;
Winograd's convolutions, which need fewer, get beyond it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kernels import compile_graph, ops
from kernels.graph import Graph
from nnframes.nn import Linear, Sequential, SpatialConvolution
from nnframes.nn.walk import parameters_in
from tests.bench import engine_ours
from tests.bench.clock import rate_of

GIGA = 1e9


def prepare_training(network: str, batch: int, threads: int) -> Callable[[], float]:
    """Thousand millions of additions and multiplications a second in the products and convolutions of a training."""
    make, shape = engine_ours.NETWORKS[network]
    work = operations(make(), (batch, *shape)) / batch
    rate = engine_ours.prepare(network, "train", batch, threads)
    return lambda: rate() * work / GIGA


def operations(network: Sequential, shape: tuple[int, ...]) -> float:
    """Additions and multiplications of one iteration: forward, both gradients, but none for the input."""
    counts = []
    for layer in network.layers:
        shape = layer.output_shape(shape)
        if isinstance(layer, Linear | SpatialConvolution):
            weights = max(parameter.size for _, parameter in parameters_in(layer))
            counts.append(2.0 * weights * shape[0] * math.prod(shape[2:]))
    return 3 * sum(counts) - counts[0]


def prepare_product(size: int, threads: int, gemm: str) -> Callable[[], float]:
    """The same of products of two square matrices."""
    graph, rng = Graph(), np.random.default_rng(0)
    names = ("a", "b")
    product = ops.matmul(*(graph.input(name, (size, size)) for name in names))
    program = compile_graph([product], threads=threads, gemm=gemm)
    feeds = {name: rng.standard_normal((size, size), np.float32) for name in names}
    results = [np.empty((size, size), np.float32)]
    rate = rate_of(lambda: program.run(feeds, results), 1)
    return lambda: rate() * 2.0 * size**3 / GIGA
