"""What two or more ranks do with their connections: our all-reduce, or plain sockets with the same bytes.

Also what an update costs behind it, of all weights by everybody or of a slice by each; and all of a training: the loop
of group mode without Spark around it.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable

import numpy as np

from kernels.native.threads import set_threads
from kernels.vectors import all_finite, scaled
from nnframes.distributed.collective import GroupSync
from nnframes.distributed.ways import EARLY, SLICED, WHOLE
from nnframes.models import Inception_v1_NoAuxClassifier, LeNet5
from nnframes.nn import ClassNLLCriterion, Layer, Linear, LogSoftMax, ReLU, Sequential
from nnframes.optim import SGD, Adam, OptimMethod
from nnframes.train import ArrayData, Listener, MaxEpoch, TrainSettings, TrainState, train
from nnframes.train.replica import NetworkReplica
from nnframes.train.share import Share

WORD = 4


def reduces(sync: GroupSync, size: int, repeat: int) -> float:
    """Seconds of one all-reduce of `size` float32 numbers, the median of `repeat`."""
    (rank,) = sync.shards
    message = np.ones(size, np.float32)
    total, _ = sync.all_reduce({rank: message}, {rank: {}})
    if total.min() != total.max() or total[0] != len(sync._others) + 1:
        raise AssertionError(f"The sum of ones must be the number of ranks. Received: {total.min()} to {total.max()}.")
    message[:] = 0  # stays zero however often it is summed: nothing need be written between two exchanges
    return _median(lambda: sync.all_reduce({rank: message}, {rank: {}}), repeat)


def plain(sync: GroupSync, size: int, repeat: int) -> float:
    """Seconds in which two ranks send each other `size` float32 numbers, both at once, through plain sockets."""
    sock, message, place = _only_socket(sync), np.ones(size, np.float32).data.cast("B"), bytearray(WORD * size)

    def once() -> None:
        sender = threading.Thread(target=sock.sendall, args=(message,))
        sender.start()
        _fill(sock, memoryview(place))
        sender.join()

    return _median(once, repeat)


def plain_in_turn(sync: GroupSync, size: int, repeat: int) -> float:
    """The same bytes one way after the other: no threads."""
    sock, message, place = _only_socket(sync), np.ones(size, np.float32).data.cast("B"), bytearray(WORD * size)

    def once() -> None:
        for sender in range(2):
            if sender == sync.rank:
                sock.sendall(message)
            else:
                _fill(sock, memoryview(place))

    return _median(once, repeat)


def updates(
    sync: GroupSync, size: int, repeat: int, by_slices: bool = False, method: OptimMethod | None = None
) -> float:
    """Seconds of an iteration's end in group mode: gradients summed, and all weights updated by every rank."""
    (rank,) = sync.shards
    set_threads(1)  # as the replica of a rank with one thread does
    weights, gradient = _Weights(size, method or _momentum()), np.zeros(size, np.float32)
    _go(sync, SLICED if by_slices else WHOLE)
    return _median(lambda: sync.step(weights, {rank: gradient}, {rank: {}}), repeat)


def slices(sync: GroupSync, size: int, repeat: int) -> float:
    """The same where each updates a slice and sends on the weights."""
    return updates(sync, size, repeat, by_slices=True)


def adam_updates(sync: GroupSync, size: int, repeat: int) -> float:
    """As `updates`, by another method."""
    return updates(sync, size, repeat, method=Adam(0.01))


def adam_slices(sync: GroupSync, size: int, repeat: int) -> float:
    """As `slices`, by another method."""
    return updates(sync, size, repeat, True, Adam(0.01))


class _Copies:
    """Kept, but not now."""

    are_kept = True

    def is_due(self) -> bool:
        """Never."""
        return False

    def hasten(self) -> None:
        """Do nothing."""


class _Weights:
    """So much of a replica as an exchange and an update take: weights without a network."""

    def __init__(self, size: int, method: OptimMethod) -> None:
        self.gradient_size = self.message_size = size
        self._weights, self._method, self._state = np.ones(size, np.float32), method, method.init(size)

    def vectors(self) -> list[np.ndarray]:
        """Return them, and what the method keeps."""
        return [self._weights, *self._state.values()]

    def update(self, message: np.ndarray, sparse: dict, share: Share | None = None) -> float:
        """Update the part that `share` names."""
        share = share or Share.whole(self.gradient_size)
        gradient = scaled(0.5, message[share.own])
        if not share.tell(np.array([all_finite(gradient)], np.float64)).all():
            raise FloatingPointError("The gradient must stay finite.")
        state = {name: slot[share.own] for name, slot in self._state.items()}
        self._method.step(self._weights[share.own], gradient, state, 1, start=share.own.start)
        return 0.0


def trains(sync: GroupSync, rows: int, epochs: int) -> float:
    """Seconds of an epoch of LeNet, batch 128, after the first: each of two ranks has half of `rows`."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 1, 28, 28), np.float32), rng.integers(0, 10, rows)
    return _trained(sync, LeNet5(), ArrayData(x, y, shards=2), TrainSettings(rows, 128, MaxEpoch(1 + epochs), shards=2))


def wide_trains(sync: GroupSync, rows: int, epochs: int, way: int | None = WHOLE) -> float:
    """The same of a perceptron of 6 million weights, all of which everybody updates."""
    _go(sync, way)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 784), np.float32), rng.integers(0, 10, rows)
    return _trained(sync, _wide(), ArrayData(x, y, shards=2), TrainSettings(rows, 128, MaxEpoch(1 + epochs), shards=2))


def wide_trains_as_it_chooses(sync: GroupSync, rows: int, epochs: int) -> float:
    """The same in the way that group mode chooses."""
    return wide_trains(sync, rows, epochs, way=None)


def wide_trains_early(sync: GroupSync, rows: int, epochs: int) -> float:
    """The same with sums that begin before the gradients are complete."""
    return wide_trains(sync, rows, epochs, way=EARLY)


def inception_trains(sync: GroupSync, rows: int, epochs: int, way: int = WHOLE) -> float:
    """The same of Inception-v1, 16 images a rank in each iteration; the exchange follows the computing."""
    _go(sync, way)
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 3, 224, 224), np.float32), rng.integers(0, 1000, rows)
    settings = TrainSettings(rows, 32, MaxEpoch(1 + epochs), shards=2)
    return _trained(sync, Inception_v1_NoAuxClassifier(), ArrayData(x, y, shards=2), settings)


def inception_trains_early(sync: GroupSync, rows: int, epochs: int) -> float:
    """The same with sums that begin before the gradients are complete."""
    return inception_trains(sync, rows, epochs, EARLY)


def _go(sync: GroupSync, way: int | None) -> None:
    """Let all iterations but the first go this way; None: as the product chooses."""
    sync._copies = _Copies()
    if way is not None:
        sync._ways.way, sync._ways.is_settled = way, True


def _wide() -> Sequential:
    network = Sequential()
    for layer in (Linear(784, 2048), ReLU(), Linear(2048, 2048), ReLU(), Linear(2048, 10), LogSoftMax()):
        network.add(layer)
    return network


def _trained(sync: GroupSync, network: Layer, data: ArrayData, settings: TrainSettings) -> float:
    """Seconds of an epoch after the first."""
    watch = _Watch()
    train(NetworkReplica(network, ClassNLLCriterion(), _momentum()), data, sync, settings, listener=watch)
    return (watch.ends[-1] - watch.ends[0]) / (len(watch.ends) - 1)


class _Watch(Listener):
    """Notes when epochs end."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_epoch(self, state: TrainState) -> None:
        """Note it."""
        self.ends.append(time.perf_counter())


WORKS: dict[str, Callable[[GroupSync, int, int], float]] = {
    "reduces": reduces,
    "plain": plain,
    "plain_in_turn": plain_in_turn,
    "updates": updates,
    "slices": slices,
    "adam_updates": adam_updates,
    "adam_slices": adam_slices,
    "trains": trains,
    "wide_trains": wide_trains,
    "wide_trains_as_it_chooses": wide_trains_as_it_chooses,
    "wide_trains_early": wide_trains_early,
    "inception_trains": inception_trains,
    "inception_trains_early": inception_trains_early,
}


def _momentum() -> SGD:
    return SGD(0.01, momentum=0.9, dampening=0.0)


def _only_socket(sync: GroupSync) -> socket.socket:
    (sock,) = sync._mesh._sockets.values()
    sock.setblocking(True)
    return sock


def _fill(sock: socket.socket, view: memoryview) -> None:
    while len(view):
        count = sock.recv_into(view)
        if not count:
            raise ConnectionError("the connection was closed")
        view = view[count:]


def _median(once: Callable[[], object], repeat: int) -> float:
    """Time `once` over and over, after two that warm up."""
    times = []
    for _ in range(repeat + 2):
        start = time.perf_counter()
        once()
        times.append(time.perf_counter() - start)
    return statistics.median(times[2:])
