"""Ranks as threads of this process, connected as ranks are: what one must know of the other is at hand; no Spark.

What they train is a network on the real engine, in ways that tests choose (`nnframes.distributed.ways`).
"""

from __future__ import annotations

import hashlib
import itertools
import queue
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from typing import Any

import numpy as np

from nnframes.distributed.balance import ranges
from nnframes.distributed.collective import GroupSync
from nnframes.distributed.mesh import Mesh, Peer
from nnframes.distributed.wire import Deadline, Doorkeeper, Secret, dial, send_frame
from nnframes.io.replica_file import load_replica, replica_bytes
from nnframes.nn import BatchNormalization, ClassNLLCriterion, Dropout, Linear, LogSoftMax, ReLU, Sequential
from nnframes.optim import SGD, L2NormClipping, LarsSGD
from nnframes.train import ArrayData, Listener, MaxIteration, Replica, Sync, TrainSettings, TrainState, train
from nnframes.train.compression import Rounding
from tests.nnframes.distributed.peers import CopiesOf

FEATURES, CLASSES = 6, 3
PATIENCE = 30.0


@contextmanager
def connected(ranks: int, secret: Secret | None = None) -> Iterator[list[Mesh]]:
    """Connect everybody to everybody, encrypted where the secret says so."""
    secret = secret or Secret.fresh()
    sockets: list[dict[int, socket.socket]] = [{} for _ in range(ranks)]
    welcomed: queue.Queue[socket.socket] = queue.Queue()
    with ExitStack() as opened:
        with closing(Doorkeeper("127.0.0.1", secret, lambda sock, hello: welcomed.put(sock))) as door:
            for low, high in itertools.combinations(range(ranks), 2):
                sockets[high][low] = dial(("127.0.0.1", door.port), secret, Deadline(PATIENCE))
                send_frame(sockets[high][low], {}, Deadline(PATIENCE))
                sockets[low][high] = welcomed.get(timeout=PATIENCE)
        peers = [Peer(rank, "here", f"thread:{rank}") for rank in range(ranks)]
        meshes = [Mesh(rank, ends, {each: peers[each] for each in ends}, PATIENCE) for rank, ends in enumerate(sockets)]
        for mesh in meshes:
            opened.enter_context(closing(mesh))
        yield meshes


def run_together(
    ranks: int,
    shards: int,
    work: Callable[[GroupSync], Any],
    rounding: Rounding | None = None,
    secret: Secret | None = None,
) -> list[Any]:
    """Run `work(sync)` in a thread for each rank; return what each gave or raised."""
    found: list[Any] = [None] * ranks

    def run(rank: int, mesh: Mesh) -> None:
        try:
            with closing(GroupSync(ranges(shards, ranks), rank, mesh, rounding)) as sync:
                found[rank] = work(sync)
        except BaseException as error:
            found[rank] = error

    with connected(ranks, secret) as meshes:
        threads = [threading.Thread(target=run, args=each) for each in enumerate(meshes)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    return found


class Steering(Listener):
    """Sends the iterations of a rank in these ways, over and over; None: as it chooses. Notes how they `went`."""

    def __init__(self, sync: Sync, ways: Sequence[int] | None) -> None:
        self._sync, self._ways = sync, ways
        self.went: list[int] = []

    def on_start(self, settings: TrainSettings, state: TrainState) -> None:
        self.on_iteration(state)

    def on_iteration(self, state: TrainState) -> None:
        if isinstance(self._sync, GroupSync):
            self.went.append(self._sync._way)  # of the iteration that now begins
            if self._ways is not None:
                following = self._ways[(state.iteration + 1) % len(self._ways)]
                self._sync._ways.way, self._sync._ways.is_settled = following, True


@cache
def network_bytes(width: int = 100, depth: int = 3, kind: str = "momentum") -> bytes:
    """A dense network with all that a message holds; as bytes, from which every rank makes the same.

    `kind` is of the update: "momentum", "lars" or "clipped" look at single weights, parameters, all weights.
    """
    network = Sequential().add(Linear(FEATURES, width)).add(BatchNormalization(width)).add(ReLU())
    for _ in range(depth):
        network.add(Linear(width, width)).add(ReLU())
    network.add(Dropout(0.3)).add(Linear(width, CLASSES)).add(LogSoftMax())
    method = LarsSGD(learningrate=0.05) if kind == "lars" else SGD(0.05, momentum=0.9, dampening=0.0)
    clippings = [L2NormClipping(0.01)] if kind == "clipped" else []
    return replica_bytes(network, ClassNLLCriterion(), method, clippings, seed=3)


def settings_of(shards: int, iterations: int, rows: int = 64, batch: int = 24) -> TrainSettings:
    return TrainSettings(rows, batch, MaxIteration(iterations), shards, seed=1)


def fitted(sync: Sync, settings: TrainSettings, replica: Replica, ways: Sequence[int] | None = None) -> list[int]:
    """Train to the end and complete the state; returns the ways of all iterations."""
    generator = np.random.default_rng(5)
    x = generator.normal(size=(settings.rows, FEATURES)).astype(np.float32)
    data = ArrayData(x, generator.integers(0, CLASSES, settings.rows), settings.shards)
    steering = Steering(sync, ways)
    train(replica, data, sync, settings, listener=steering)
    sync.complete(replica)
    return steering.went[:-1]


def digest(replica: Replica) -> str:
    """Return a hash of the whole state; of weights, what the method keeps, statistics and counts."""
    return hashlib.sha256(b"".join(array.tobytes() for array in replica.state().values())).hexdigest()


def trained(
    sync: Sync,
    settings: TrainSettings,
    threads: int = 1,
    ways: Sequence[int] | None = None,
    shape: Sequence[Any] = (),
    are_kept: bool = True,
) -> tuple[str, list[int]]:
    """Train the network of this width, depth and kind; returns the digest of its state and how iterations went."""
    replica = load_replica(network_bytes(*shape), threads)
    if isinstance(sync, GroupSync):
        sync._copies = CopiesOf(False, are_kept)  # else nobody may update slices
    went = fitted(sync, settings, replica, ways)
    return digest(replica), went
