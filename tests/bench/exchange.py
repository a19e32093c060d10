"""What two or more ranks do with their connections: our all-reduce, or plain sockets with the same bytes.

Also what an update costs behind it: of all weights by everybody, as in group mode, or of a slice by each; and all of a
training: the loop of group mode without Spark around it.
"""

from __future__ import annotations

import socket
import statistics
import threading
import time
from collections.abc import Callable

import numpy as np

from kernels.native.threads import set_threads
from nnframes.distributed.collective import GroupSync
from nnframes.models import LeNet5
from nnframes.nn import ClassNLLCriterion
from nnframes.optim import SGD
from nnframes.train import ArrayData, Listener, MaxEpoch, TrainSettings, TrainState, train
from nnframes.train.replica import NetworkReplica

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


def updates(sync: GroupSync, size: int, repeat: int) -> float:
    """Seconds of an iteration's end in group mode: gradients summed, and all weights updated by every rank."""
    (rank,) = sync.shards
    set_threads(1)  # as the replica of a rank with one thread does
    method = _momentum()
    weights, gradient, state = np.ones(size, np.float32), np.zeros(size, np.float32), method.init(size)

    def once() -> None:
        total, _ = sync.all_reduce({rank: gradient}, {rank: {}})
        method.step(weights, total, state, 1)

    return _median(once, repeat)


def slices(sync: GroupSync, size: int, repeat: int, handed_on: int = 2) -> float:
    """The same of two ranks where each updates its half and hands on the weights and, so that it may die, its state."""
    (rank,) = sync.shards
    set_threads(1)  # as the replica of a rank with one thread does
    method = _momentum()
    weights, gradient, state = np.ones(size, np.float32), np.zeros(size, np.float32), method.init(size)
    halves, other = (slice(size // 2), slice(size // 2, size)), 1 - rank
    told, arriving = [weights, state["velocity"]][:handed_on], np.empty_like(gradient[halves[rank]])

    def once() -> None:
        sync._mesh.exchange({other: [gradient[halves[other]]]}, {other: [arriving]}, "gradients")
        own = halves[rank]
        gradient[own] += arriving
        method.step(weights[own], gradient[own], {"velocity": state["velocity"][own]}, 1)
        outgoing, incoming = ([array[halves[owner]] for array in told] for owner in (rank, other))
        sync._mesh.exchange({other: outgoing}, {other: incoming}, "weights")

    return _median(once, repeat)


def slices_alone(sync: GroupSync, size: int, repeat: int) -> float:
    """The same where each keeps the state of its half to itself."""
    return slices(sync, size, repeat, handed_on=1)


def trains(sync: GroupSync, rows: int, epochs: int) -> float:
    """Seconds of an epoch of LeNet, batch 128, after the first: each of two ranks has half of `rows`."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((rows, 1, 28, 28), np.float32), rng.integers(0, 10, rows)
    replica = NetworkReplica(LeNet5(), ClassNLLCriterion(), _momentum())
    watch = _Watch()
    train(
        replica,
        ArrayData(x, y, shards=2),
        sync,
        TrainSettings(rows, 128, MaxEpoch(1 + epochs), shards=2),
        listener=watch,
    )
    return (watch.ends[-1] - watch.ends[0]) / epochs


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
    "slices_alone": slices_alone,
    "trains": trains,
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
