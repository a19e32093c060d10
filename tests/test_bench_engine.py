"""The suite `engine` as far as tests can hold it: its rows build, and the work of a network is counted right."""

from __future__ import annotations

from nnframes.models import MLP
from nnframes.nn import Linear, ReLU, Reshape, Sequential, SpatialConvolution
from nnframes.nn.walk import layers_in
from tests.bench import engine, engine_ours
from tests.bench.arithmetic import operations

MODES = ("train", "infer")


def test_a_row_a_network_and_mode_beside_the_bounds():
    assert [row.name for row in engine.rows()] == [
        *(f"{network} train, of the processor" for network in engine.BOUND),
        *(f"{network} {mode} batch {batch}" for network, (batch, _, _) in engine.NETWORKS.items() for mode in MODES),
    ]


def test_operations_of_products():
    """Per number of a weight an addition and a multiplication, thrice, but for the first layer twice."""
    assert operations(MLP((784, 512, 256, 10)), (8, 784)) == 8 * 2 * (2 * 784 * 512 + 3 * (512 * 256 + 256 * 10))


def test_operations_of_convolutions():
    network = Sequential().add(SpatialConvolution(4, 6, 3, 3, 2, 2, 1, 1)).add(ReLU())
    network.add(SpatialConvolution(6, 8, 1, 1, n_group=2)).add(Reshape([8 * 25])).add(Linear(200, 5))
    first, second, third = 25 * 6 * 4 * 9, 25 * 8 * 3, 200 * 5
    assert operations(network, (2, 4, 9, 9)) == 2 * 2 * (2 * first + 3 * (second + third))


def test_no_layer_that_counts_is_hidden_in_another():
    for name in engine.BOUND:
        make, _ = engine_ours.NETWORKS[name]
        network = make()
        hidden = [layer for layer in layers_in(network) if isinstance(layer, Linear | SpatialConvolution)]
        assert all(layer in network.layers for layer in hidden)
