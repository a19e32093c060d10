"""Gradients that a replica tells of while it computes the rest: whole from there on, and its own no more."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from kernels.sparse import RowSparse
from nnframes.nn import (
    BatchNormalization,
    ClassNLLCriterion,
    ConcatTable,
    Dropout,
    Input,
    Layer,
    Linear,
    LogSoftMax,
    LookupTable,
    Model,
    ReLU,
    Reshape,
    SelectTable,
    Sequential,
    SpatialBatchNormalization,
    SpatialConvolution,
    SpatialMaxPooling,
    Tanh,
)
from nnframes.optim import SGD
from nnframes.train import MiniBatch
from nnframes.train.replica import NetworkReplica

FEATURES, CLASSES, WORDS = 8, 3, 20


def stack(*layers: Layer) -> Sequential:
    network = Sequential()
    for layer in layers:
        network.add(layer)
    return network


def beside(idle: Layer, used: Layer) -> Sequential:
    """Both see the input; nobody looks at what the first makes of it."""
    return stack(ConcatTable().add(idle).add(used), SelectTable(1))


def idle() -> Layer:
    """Parameters without gradient at the front of a message, in its middle and at the end; of batch norm too."""
    return stack(
        beside(Linear(FEATURES, 5), Linear(FEATURES, 16)),
        beside(stack(Linear(16, 6), BatchNormalization(6)), stack(BatchNormalization(16), Tanh(), Linear(16, 9))),
        Linear(9, CLASSES),
        ConcatTable().add(LogSoftMax()).add(Linear(CLASSES, 4)),
        SelectTable(0),
    )


def tied() -> Layer:
    """The first layer of the message is also the last that is applied: its gradient is a sum."""
    shared, x = Linear(FEATURES, FEATURES), Input((FEATURES,))
    inner = Linear(FEATURES, FEATURES)
    y = Tanh()(shared(x))
    y = ReLU()(inner(Tanh()(inner(y))))
    return Model(x, LogSoftMax()(Linear(FEATURES, CLASSES)(Tanh()(shared(y)))))


def words() -> Layer:
    """Two tables, one of them without gradient, beside dense layers."""
    table = LookupTable(WORDS, 4)
    looks = ConcatTable().add(stack(LookupTable(WORDS, 2), Reshape([2 * FEATURES]), Linear(2 * FEATURES, 3))).add(table)
    inside = stack(Reshape([4 * FEATURES]), Linear(4 * FEATURES, 12), BatchNormalization(12), ReLU(), Dropout(0.4))
    return stack(looks, SelectTable(1), inside, Linear(12, CLASSES), LogSoftMax())


def pictures() -> Layer:
    """Weights that the engine keeps in an order of its own are copied into the message."""
    layers = [SpatialConvolution(1, 16, 3, 3), SpatialBatchNormalization(16), ReLU(), SpatialMaxPooling(2, 2, 2, 2)]
    layers += [SpatialConvolution(16, 16, 3, 3), SpatialBatchNormalization(16), ReLU(), Dropout(0.3)]
    return stack(Reshape([1, 12, 12]), *layers, Reshape([16 * 9]), Linear(16 * 9, CLASSES), LogSoftMax())


def batch_of(rows: int, kind: str) -> MiniBatch:
    rng = np.random.default_rng(rows)
    x = {
        "numbers": lambda: rng.normal(size=(rows, FEATURES)).astype(np.float32),
        "words": lambda: rng.integers(0, WORDS, (rows, FEATURES)).astype(np.int32),
        "pictures": lambda: rng.normal(size=(rows, 144)).astype(np.float32),
    }[kind]()
    return MiniBatch((x,), rng.integers(0, CLASSES, rows).astype(np.int32))


def spoilt(
    replica: NetworkReplica, batch: MiniBatch, out: np.ndarray
) -> tuple[list[int], np.ndarray, dict[str, RowSparse]]:
    """Spoil what is told of at once; return the starts, the gradients as they were, and those of tables."""
    starts, gradients = [replica.gradient_size], np.zeros(replica.gradient_size, np.float32)

    def reached(start: int) -> None:
        part = slice(start, starts[-1])
        starts.append(start)
        gradients[part] = out[part]
        out[part] = np.nan

    sparse = replica.gradient(1, batch, 4, out, reached)
    return starts[1:], gradients, sparse


def same_rows(ours: dict[str, RowSparse], theirs: dict[str, RowSparse]) -> None:
    assert ours.keys() == theirs.keys()
    for path, part in ours.items():
        np.testing.assert_array_equal(part.rows, theirs[path].rows)
        np.testing.assert_array_equal(part.values, theirs[path].values)


CASES = [(idle, "numbers"), (tied, "numbers"), (words, "words"), (pictures, "pictures")]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("network", "kind"), CASES, ids=["idle", "tied", "words", "pictures"])
def test_what_was_told_of_may_be_spoilt_and_nothing_else_changes(
    network: Callable[[], Layer], kind: str, threads: int
) -> None:
    replica = NetworkReplica(network(), ClassNLLCriterion(), SGD(), threads=threads)
    size, out = replica.gradient_size, np.full(replica.message_size, np.nan, np.float32)
    for rows in (7, 2, 7):
        batch = batch_of(rows, kind)
        expected = np.full(replica.message_size, 7.0, np.float32)
        tables = replica.gradient(1, batch, 4, expected)
        for _ in range(2):  # into the same message, as training does
            starts, gradients, sparse = spoilt(replica, batch, out)
            assert starts == sorted(starts, reverse=True)
            assert starts[0] > starts[-1] == 0
            np.testing.assert_array_equal(gradients, expected[:size])
            assert np.isnan(out[:size]).all()
            np.testing.assert_array_equal(out[size:], expected[size:])
            same_rows(sparse, tables)
        same_rows(replica.gradient(1, batch, 4, out), tables)
        np.testing.assert_array_equal(out, expected)


def test_the_networks_have_what_they_are_here_for() -> None:
    """Idle parameters, whose zeros are told of too, and dense weights beside tables."""
    replica = NetworkReplica(idle(), ClassNLLCriterion(), SGD())
    out = np.full(replica.message_size, np.nan, np.float32)
    replica.gradient(0, batch_of(7, "numbers"), 0, out)
    gradients = out[: replica.gradient_size]
    for zeros in (gradients[: FEATURES * 5 + 5], gradients[-(4 * CLASSES + 4) :]):
        assert not zeros.any()
    assert np.flatnonzero(gradients).size > 0.3 * len(gradients)
    replica = NetworkReplica(words(), ClassNLLCriterion(), SGD())
    out = np.full(replica.message_size, np.nan, np.float32)
    assert len(replica.gradient(0, batch_of(7, "words"), 0, out)) == 1
    assert len(replica.weights()) > 2


def test_a_network_of_tables_alone_tells_nothing() -> None:
    network = stack(LookupTable(WORDS, CLASSES), Reshape([FEATURES * CLASSES]), LogSoftMax())
    replica = NetworkReplica(network, ClassNLLCriterion(), SGD())
    told: list[int] = []
    replica.gradient(0, batch_of(5, "words"), 0, np.zeros(replica.message_size, np.float32), told.append)
    assert replica.gradient_size == 0
    assert not told
