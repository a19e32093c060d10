"""Updates by slices: the bits of an update of all weights, whoever has which part, and one error for all."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import numpy as np
import pytest

from nnframes.nn import (
    BatchNormalization,
    ClassNLLCriterion,
    L1Regularizer,
    L2Regularizer,
    Linear,
    LogSoftMax,
    LookupTable,
    ReLU,
    Reshape,
    Sequential,
)
from nnframes.optim import BLOCK, SGD, Adam, ConstantClipping, L2NormClipping, LarsSGD
from nnframes.train import MiniBatch
from nnframes.train.replica import NetworkReplica
from nnframes.train.share import Share

ROWS, CLASSES = 40, 3
METHODS = [
    SGD(0.1),
    SGD(0.1, momentum=0.9),
    SGD(0.1, momentum=0.9, dampening=0.0, nesterov=True, learningrate_decay=0.1, weightdecay=0.01),
    Adam(0.01),
]
CLIPPINGS = [(), (ConstantClipping(-0.02, 0.02),), (L2NormClipping(0.1), ConstantClipping(-0.02, 0.02))]


def network() -> Sequential:
    """Several blocks of dense weights, whose parameters begin and end within blocks; a table, and statistics."""
    return (
        Sequential()
        .add(LookupTable(20, 4))
        .add(Reshape([20]))
        .add(Linear(20, 500, wRegularizer=L2Regularizer(0.01)))
        .add(BatchNormalization(500))
        .add(ReLU())
        .add(Linear(500, CLASSES, wRegularizer=L1Regularizer(0.001), bRegularizer=L2Regularizer(0.5)))
        .add(LogSoftMax())
    )


class Workers:
    """Replicas that start equal, each with a slice."""

    def __init__(self, count: int, method, clippings) -> None:
        self.whole, *self.replicas = (
            NetworkReplica(network(), ClassNLLCriterion(), method, clippings) for _ in range(count + 1)
        )
        for replica in self.replicas:
            replica.layer.set_weights(self.whole.layer.get_weights())
        size = self.whole.gradient_size
        blocks = -(-size // BLOCK)
        ends = [*(blocks * number // count * BLOCK for number in range(count)), size]
        self.parts = [slice(*ends[number : number + 2]) for number in range(count)]
        self.blocks = max(-(-(part.stop - part.start) // BLOCK) for part in self.parts)
        self._meeting, self._told = Barrier(count, timeout=20), {}

    def message(self, iteration: int) -> tuple[np.ndarray, list[dict]]:
        """The sums of an iteration, and those of the table as each of the replicas names it, `whole` first."""
        rng = np.random.default_rng(iteration)
        batch = MiniBatch((rng.integers(0, 20, (ROWS, 5)),), rng.integers(0, CLASSES, ROWS))
        message = np.zeros(self.whole.message_size, np.float32)
        (table,) = self.whole.gradient(0, batch, iteration, message).values()
        return message, [dict.fromkeys(each._tables, table) for each in (self.whole, *self.replicas)]

    def update(self, message: np.ndarray, tables: list[dict]) -> list[float | str]:
        """Let all update, side by side; returns losses or errors."""

        def one(number: int) -> float | str:
            own, partial = self.parts[number], message.copy()
            partial[: self.whole.gradient_size] = 7e7  # other parts must not be looked at
            partial[own] = message[own]
            share = Share(own, self.blocks, lambda numbers: self._tell(number, numbers))
            try:
                return self.replicas[number].update(partial, tables[number], share)
            except FloatingPointError as error:
                return str(error)

        with ThreadPoolExecutor(len(self.parts)) as pool:
            return list(pool.map(one, range(len(self.parts))))

    def gather(self) -> None:
        """Give everybody what the owners have."""
        for part, owner in zip(self.parts, self.replicas, strict=True):
            for other in self.replicas:
                for to, of in zip(other.vectors(), owner.vectors(), strict=True):
                    to[part] = of[part]

    def _tell(self, number: int, numbers: np.ndarray) -> np.ndarray:
        self._told[number] = numbers
        self._meeting.wait()
        found = np.array([self._told[each] for each in range(len(self.parts))])
        self._meeting.wait()
        return found


def bits(replica: NetworkReplica) -> list[bytes]:
    # Paths of layers count over the process.
    return [array.tobytes() for array in replica.state().values()]


@pytest.mark.parametrize("method", METHODS, ids=["sgd", "momentum", "nesterov", "adam"])
@pytest.mark.parametrize("clippings", CLIPPINGS, ids=["free", "constant", "norm"])
@pytest.mark.parametrize("count", [2, 3])
def test_slices_have_the_bits_of_the_whole(method, clippings, count):
    workers = Workers(count, method, clippings)
    for iteration in range(3):
        message, tables = workers.message(iteration)
        losses = workers.update(message, tables[1:])
        assert losses == [workers.whole.update(message, tables[0])] * count
        for part, replica in zip(workers.parts, workers.replicas, strict=True):
            for own, all_of_it in zip(replica.vectors(), workers.whole.vectors(), strict=True):
                np.testing.assert_array_equal(own[part], all_of_it[part])
        workers.gather()
        assert {tuple(bits(replica)) for replica in workers.replicas} == {tuple(bits(workers.whole))}


@pytest.mark.parametrize("spoiled", [(5, np.nan), (-1, -np.inf)], ids=["first part", "last part"])
@pytest.mark.parametrize("loss", [1.0, np.nan], ids=["finite loss", "lost loss"])
def test_what_is_not_finite_in_one_part_is_said_by_all(spoiled, loss):
    workers = Workers(2, SGD(0.1, momentum=0.9), ())
    message, tables = workers.message(0)
    place, value = spoiled
    message[: workers.whole.gradient_size][place] = value
    message[-3] = loss
    before = [bits(replica) for replica in workers.replicas]
    first, second = workers.update(message, tables[1:])
    assert isinstance(first, str)
    assert first.split("linear_")[0] == second.split("linear_")[0]
    assert ("The loss must stay finite. Received: nan (nor is the gradient of '" in first) == np.isnan(loss)
    assert (".weight'" in first, ".bias'" in first) == (place > 0, place < 0)
    assert [bits(replica) for replica in workers.replicas] == before


def test_methods_that_look_at_whole_parameters_are_not_sliced():
    replica = NetworkReplica(network(), ClassNLLCriterion(), LarsSGD())
    assert replica.vectors() is None
