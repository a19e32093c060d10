"""The network in training: gradients and sums of its message, what stops it, and states that go on to the same bits."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from nnframes.errors import ShapeError, TrainingError
from nnframes.nn import (
    BatchNormalization,
    BCECriterion,
    ClassNLLCriterion,
    CrossEntropyCriterion,
    Dropout,
    L2Regularizer,
    Linear,
    LogSoftMax,
    LookupTable,
    MSECriterion,
    ReLU,
    Reshape,
    Sequential,
)
from nnframes.nn.walk import parameters_in
from nnframes.optim import SGD, Adam, ConstantClipping, L2NormClipping, OptimMethod
from nnframes.train import ArrayData, MaxIteration, MiniBatch, SerialSync, TrainSettings, TrainState, train
from nnframes.train.replica import NetworkReplica

ROWS, CLASSES = 40, 3
CLASS_WEIGHTS = np.array([0.5, 1.0, 2.0], np.float32)


def words() -> Sequential:
    """A network with all that a message and a state can hold: table, dense weights, buffers, regularisers, dropout."""
    return (
        Sequential()
        .add(LookupTable(20, 4))
        .add(Reshape([20]))
        .add(Linear(20, 16, wRegularizer=L2Regularizer(0.01)))
        .add(BatchNormalization(16))
        .add(ReLU())
        .add(Dropout(0.4))
        .add(Linear(16, CLASSES))
        .add(LogSoftMax())
    )


def replica_of(method=None, clippings=(), layer=None, criterion=None) -> NetworkReplica:
    return NetworkReplica(layer or words(), criterion or ClassNLLCriterion(CLASS_WEIGHTS), method or SGD(), clippings)


def data(shards: int = 3) -> ArrayData:
    rng = np.random.default_rng(0)
    return ArrayData(rng.integers(0, 20, (ROWS, 5)), rng.integers(0, CLASSES, ROWS), shards)


def run(replica: NetworkReplica, iterations: int, state: TrainState | None = None) -> TrainState:
    settings = TrainSettings(ROWS, 16, MaxIteration(iterations), 3, seed=1)
    return train(replica, data(), SerialSync(3), settings, state)


def bits(state: dict[str, np.ndarray]) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in state.items()}


METHODS = [SGD(0.1), SGD(0.1, momentum=0.9), SGD(0.1, learningrate_decay=0.1, weightdecay=0.01), Adam(0.01)]


@pytest.mark.parametrize("method", METHODS, ids=["sgd", "momentum", "decay", "adam"])
@pytest.mark.parametrize(
    "clippings", [(), (L2NormClipping(0.1), ConstantClipping(-0.02, 0.02))], ids=["free", "clipped"]
)
def test_a_loaded_state_goes_on_to_the_same_bits(method, clippings):
    whole = replica_of(method, clippings)
    layer = words()
    layer.set_weights(whole.layer.get_weights())
    run(whole, 7)
    half = replica_of(method, clippings, layer)
    reached, kept = run(half, 4), half.state()
    run(half, 5, reached)  # does not show in the copy
    fresh = replica_of(method, clippings)
    fresh.load_state(kept)
    run(fresh, 7, reached)
    # Paths of layers count over the process.
    assert list(bits(fresh.state()).values()) == list(bits(whole.state()).values())


@pytest.mark.parametrize("method", [SGD(0.05, momentum=0.9), Adam(0.01)], ids=["SGD", "Adam"])
def test_a_state_may_take_the_memory_of_an_earlier_one(method):
    replica = replica_of(method)
    reached, first = run(replica, 2), replica.state()
    earlier = bits(first)
    run(replica, 4, reached)
    again = replica.state(first)
    assert all(again[name] is array for name, array in first.items())
    assert bits(again) == bits(replica.state()) != earlier


def test_weights_are_those_of_the_network():
    replica = replica_of(Adam(0.01))
    run(replica, 2)
    weights = replica.weights()
    assert not any(name.startswith("optim/") for name in weights)
    assert all(weights[path] is parameter.value for path, parameter in parameters_in(replica.layer))
    assert weights.keys() < replica.state().keys()


def test_a_state_that_does_not_fit_is_refused():
    replica = replica_of(SGD(momentum=0.9))
    state = replica.state()
    with pytest.raises(TrainingError, match=r"State 'optim/velocity' expects \(\d+,\), received nothing"):
        replica.load_state({name: array for name, array in state.items() if name != "optim/velocity"})
    with pytest.raises(TrainingError, match=r"State 'optim/velocity' expects \(\d+,\), received \(2,\)"):
        replica.load_state({**state, "optim/velocity": np.zeros(2, np.float32)})


def gradient_of(replica: NetworkReplica, x: np.ndarray, target: np.ndarray) -> np.ndarray:
    out = np.full(replica.message_size, 7.0, np.float32)
    replica.gradient(0, MiniBatch((x,), target), 0, out)
    return out


def test_a_message_holds_sums_over_rows():
    """Gradient, loss and weight of two batches add up to those of both; the mean loss is the criterion's own."""
    layer = Sequential().add(Linear(4, CLASSES)).add(LogSoftMax())
    criterion = ClassNLLCriterion(CLASS_WEIGHTS)
    replica = replica_of(SGD(0.5), layer=layer, criterion=criterion)
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(6, 4)).astype(np.float32), np.array([0, 1, 2, 2, -1, 0], np.int32)
    whole = gradient_of(replica, x, y)
    np.testing.assert_allclose(gradient_of(replica, x[:2], y[:2]) + gradient_of(replica, x[2:], y[2:]), whole, 1e-5)
    assert whole[-2:].tolist() == [0.5 + 1 + 2 + 2 + 0.5, 6]
    mean = criterion.forward(layer.forward(x), y)
    assert replica.update(whole, {}) == pytest.approx(mean, rel=1e-5)


def test_gradients_are_told_of_from_their_end_on():
    layer = Sequential().add(Linear(4, 6)).add(BatchNormalization(6)).add(ReLU()).add(Linear(6, CLASSES))
    replica = replica_of(layer=layer.add(LogSoftMax()))
    batch = MiniBatch((np.ones((5, 4), np.float32),), np.arange(5) % CLASSES)
    out, told = np.full(replica.message_size, np.nan, np.float32), []
    replica.gradient(0, batch, 0, out, lambda start: told.append((start, out[start : replica.gradient_size].copy())))
    starts = [start for start, _ in told]
    assert starts == sorted(starts, reverse=True)
    assert starts[0] > starts[-1] == 0
    for start, complete in told:
        np.testing.assert_array_equal(complete, out[start : replica.gradient_size])


def test_regularisers_count_once_however_many_rows():
    layer = Sequential().add(Linear(2, 1, wRegularizer=L2Regularizer(0.5), with_bias=False))
    replica = replica_of(SGD(1.0), layer=layer, criterion=MSECriterion())
    before = layer.get_weights()[0].copy()
    message = gradient_of(replica, np.zeros((10, 2), np.float32), np.zeros(10, np.float32))
    replica.update(message, {})
    np.testing.assert_allclose(layer.get_weights()[0], before / 2)


@pytest.mark.parametrize(
    ("x", "target", "received"),
    [
        (np.zeros((4, 2)), np.zeros((4, 3)), r"\(3,\)"),
        (np.zeros((4, 2)), np.zeros(4), r"\(\)"),
        (np.zeros((4, 2)), (np.zeros((4, 2)), np.zeros((4, 2))), "2 targets"),
    ],
)
def test_a_target_of_another_size_is_named(x, target, received):
    replica = replica_of(layer=Linear(2, 2), criterion=MSECriterion())
    with pytest.raises(
        ShapeError, match=rf"MSECriterion expects a target of shape \(2,\) per row, received {received}"
    ):
        gradient_of(replica, x.astype(np.float32), target)


def test_one_target_in_a_tuple_is_a_target():
    replica = replica_of(layer=Linear(2, 2), criterion=MSECriterion())
    x, y = np.ones((3, 2), np.float32), np.ones((3, 2), np.float32)
    np.testing.assert_array_equal(gradient_of(replica, x, (y,)), gradient_of(replica, x, y))


class Spoiled(NetworkReplica):
    """Puts a number into the sum of iteration 3, which is the last; the loss stays as it is."""

    place, value = 0, np.nan

    def update(self, message, sparse, share=None):
        if self._updates == 2:
            message[self.place] = self.value
        return super().update(message, sparse, share)


SPOILED = [
    (0, np.nan, (), r"The gradient of '\w*.?linear_\d+.weight' must stay finite. Received: nan"),
    (0, np.inf, (), r"The gradient of '\w*.?linear_\d+.weight' must stay finite. Received: inf"),
    (0, np.nan, (L2NormClipping(1.0), ConstantClipping(-1, 1)), "Received: nan"),
    (-3, np.nan, (), r"The loss must stay finite. Received: nan \(all gradients are finite\)"),
    (-5, -np.inf, (), r"The batch statistic of 'batchnormalization_\d+.running_var' must stay finite. Received: -inf"),
]


@pytest.mark.parametrize(("place", "value", "clippings", "message"), SPOILED)
@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_a_gradient_that_is_not_finite_stops_before_it_spoils_weights(place, value, clippings, message):
    layer = Sequential().add(Linear(5, CLASSES)).add(BatchNormalization(CLASSES))
    replica = Spoiled(layer, CrossEntropyCriterion(), SGD(0.1), clippings)
    replica.place, replica.value = place, value
    with pytest.raises(TrainingError, match=rf"{message} at iteration 3 \(epoch 1\). Hint: lower"):
        run(replica, 3)
    assert all(np.isfinite(array).all() for array in replica.state().values())


@pytest.mark.filterwarnings("ignore:invalid value encountered")
def test_outputs_that_a_criterion_is_not_defined_for_are_named():
    replica = replica_of(layer=Linear(2, 2), criterion=BCECriterion())
    replica.layer.set_weights([np.full((2, 2), 2.0, np.float32), np.zeros(2, np.float32)])
    message = np.zeros(replica.message_size, np.float32)
    replica.gradient(0, MiniBatch((np.ones((3, 2), np.float32),), np.ones((3, 2), np.float32)), 0, message)
    with pytest.raises(FloatingPointError, match=r"all gradients are finite; BCECriterion takes outputs in \[0, 1\]"):
        replica.update(message, {})


def test_constant_clipping_cures_infinity():
    replica = Spoiled(Linear(5, CLASSES), CrossEntropyCriterion(), SGD(0.1), [ConstantClipping(-1, 1)])
    replica.value = np.inf
    assert run(replica, 3).iteration == 3


class Plain(OptimMethod):
    """As a user writes it: w -= g, looking at nothing else."""

    learningrate = 1.0

    def _slots(self):
        return ()

    def _update(self, weights, gradient, slots, update):
        np.subtract(weights, update.rate * gradient, out=weights)


def test_an_own_method_gets_the_mean_gradient():
    layer = Linear(2, 1, with_bias=False)
    layer.set_weights([np.ones((1, 2), np.float32)])
    replica = NetworkReplica(layer, MSECriterion(), Plain())
    message = np.zeros(replica.message_size, np.float32)
    replica.gradient(0, MiniBatch((np.ones((8, 2), np.float32),), np.zeros((8, 1), np.float32)), 0, message)
    replica.update(message, {})
    # The mean of 2 (w x - y) x is 4 for both weights.
    np.testing.assert_array_equal(layer.get_weights()[0], [[-3, -3]])


def test_messages_of_earlier_calls_are_let_go():
    """Training in groups gives new messages with every call; a message may be a hundred megabytes."""
    replica = replica_of(layer=Linear(5, CLASSES), criterion=CrossEntropyCriterion())
    batch, kept = MiniBatch((np.zeros((4, 5), np.float32),), np.zeros(4, np.int32)), []
    for _ in range(5):
        message = np.zeros(replica.message_size, np.float32)
        replica.gradient(0, batch, 0, message)
        kept.append(weakref.ref(message))
    gc.collect()
    assert sum(ref() is not None for ref in kept) == 1


@pytest.mark.parametrize(("seed", "same"), [(2**64 - 1, -1), (2**63, -(2**63)), (2**64 + 3, 3)])
def test_any_whole_number_is_a_seed(seed, same):
    layer = Sequential().add(Linear(4, 3)).add(Dropout(0.5))
    x = np.ones((5, 4), np.float32)
    one, other = (
        gradient_of(NetworkReplica(layer, MSECriterion(), SGD(), seed=value), x, x[:, :3]) for value in (seed, same)
    )
    np.testing.assert_array_equal(one, other)
