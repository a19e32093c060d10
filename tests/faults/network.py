"""What the faulty fits train: a real network whose replica does harm to itself at chosen moments.

The harm is done in a task, by the process that it is about, so that the moment is exact: before the exchange
("gradient"), in it ("exchange", when so many bytes have passed between the ranks), after it ("update"), in a validation
("evaluate"), while a rank hands over the result ("result") or waits for that with its state ("hold"), and while a task
writes the samples ("write").
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from threading import Thread

import numpy as np
import pyarrow as pa

from kernels.sparse import RowSparse
from nnframes.distributed import ReplicaSource, SampleBlock, SamplePlan, early, region
from nnframes.distributed.recovery import HostState
from nnframes.distributed.ways import WHOLE, Ways
from nnframes.io.checkpoint import Checkpoint
from nnframes.io.replica_file import load_replica, replica_bytes
from nnframes.nn import BatchNormalization, ClassNLLCriterion, Dropout, Linear, LogSoftMax, ReLU, Sequential
from nnframes.optim import SGD, L2NormClipping
from nnframes.train import MiniBatch, Replica, ValidationMethod
from nnframes.train.share import Share
from tests.faults import harms
from tests.nnframes.distributed import softmax

WIDTH = 6000
MESSAGE_BYTES = 4 * (softmax.FEATURES + 3 + 3) * WIDTH
"""About so much of gradients: more than goes in one round, so each rank sums a slice and sends it on."""

LAG = 1.0
"""Seconds for which an update waits for a harm that is due in the exchange before it."""

PATIENCE = 60.0

NEAR, FAR = 1 << 12, 1 << 40
"""Bytes from which ranks of one host read each other's arrays: all that is long here, or none."""

COPIED = 5
"""With updates by slices: the one iteration whose state hosts copy."""

KEPT = Ways.SIZE, Ways.__init__, early.LEAST, region.SMALL, HostState.is_due, HostState.back


@dataclass(frozen=True)
class Harm:
    """What is done, where: `kind` is a function of `harms`, `at` a moment of the module's docstring.

    It strikes the process that has `shard`, at its iteration `iteration` (zero-based), the first `times` times that it
    comes there, as counted by files under `marks`. `amount` is the kind's own number.
    """

    kind: str
    at: str
    shard: int
    iteration: int = -1
    times: int = 1
    amount: float = 0
    marks: str = ""

    def strike(self) -> None:
        """Do it, unless it was done often enough."""
        if harms.counted(Path(self.marks), self.times):
            getattr(harms, self.kind)(self)


class Harmed:
    """A replica that does what its harms say, and else what the network's own replica does."""

    def __init__(self, replica: Replica, planned: Sequence[Harm]) -> None:
        self.replica, self.planned = replica, planned
        self.message_size, self.gradient_size = replica.message_size, replica.gradient_size
        self.shards: set[int] = set()
        self.iteration = -1
        self.watches: list[Thread] = []

    def gradient(
        self,
        shard: int,
        batch: MiniBatch,
        iteration: int,
        out: np.ndarray,
        reached: Callable[[int], None] | None = None,
    ) -> dict[str, RowSparse]:
        if iteration != self.iteration:
            self.shards, self.iteration = set(), iteration
        self.shards.add(shard)
        for harm in self._due("gradient", shard):
            harm.strike()
        for harm in self._due("exchange", shard):
            self.watches.append(harms.when_moved(harm.amount, harm.strike))
        sparse = self.replica.gradient(shard, batch, iteration, out, reached)
        for harm in self._due("sums", shard):
            harms.spoil(harm, out)
        return sparse

    def mean_loss(self, message: np.ndarray) -> float:
        return self.replica.mean_loss(message)

    def update(self, message: np.ndarray, sparse: dict[str, RowSparse], share: Share | None = None) -> float:
        while self.watches:  # on a busy machine a watch may lag behind its exchange, but not into the next
            self.watches.pop().join(LAG)
        self._strike("update")
        for harm in self._due("hold"):
            harms.when_there(Path(harm.marks).with_name("handing"), harm.strike)
        return self.replica.update(message, sparse, share)

    def vectors(self) -> list[np.ndarray] | None:
        return self.replica.vectors()

    def evaluator(self, methods: Sequence[ValidationMethod], batch_size: int) -> Callable[[MiniBatch], np.ndarray]:
        evaluate = self.replica.evaluator(methods, batch_size)

        def struck(batch: MiniBatch) -> np.ndarray:
            self._strike("evaluate")
            return evaluate(batch)

        return struck

    def weights(self) -> dict[str, np.ndarray]:
        self._strike("result")
        for harm in self.planned:
            if harm.at == "hold" and harm.iteration == self.iteration:  # another rank's, before the result is out
                Path(harm.marks).with_name("handing").touch()
                harms.await_file(Path(harm.marks) / "0", PATIENCE)
        return self.replica.weights()

    def state(self, into: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        return self.replica.state(into)

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.replica.load_state(state)

    def _due(self, at: str, shard: int | None = None) -> list[Harm]:
        own = self.shards if shard is None else {shard}
        return [
            harm
            for harm in self.planned
            if harm.at == at and harm.shard in own and harm.iteration in (-1, self.iteration)
        ]

    def _strike(self, at: str) -> None:
        for harm in self._due(at):
            harm.strike()


@cache
def network_bytes() -> bytes:
    """Batch norm, dropout, momentum and clipping: what would show that an iteration was repeated wrongly."""
    network = Sequential()
    for layer in (
        Linear(softmax.FEATURES, WIDTH),
        BatchNormalization(WIDTH),
        ReLU(),
        Dropout(0.3),
        Linear(WIDTH, softmax.CLASSES),
        LogSoftMax(),
    ):
        network.add(layer)
    method = SGD(0.05, momentum=0.9, dampening=0.0)
    return replica_bytes(network, ClassNLLCriterion(), method, [L2NormClipping(1.0)], seed=3)


def source(planned: Sequence[Harm], way: int, near: bool) -> ReplicaSource:
    """Return the network with its harms, for a fit whose iterations go this way (`nnframes.distributed.ways`)."""
    head = json.dumps({"harms": [asdict(harm) for harm in planned], "way": way, "near": near}).encode()
    return ReplicaSource(load, head + b"\n" + network_bytes())


def load(payload: bytes, threads: int) -> Harmed:
    head, _, network = payload.partition(b"\n")
    told = json.loads(head)
    planned = [Harm(**harm) for harm in told["harms"]]
    as_they_are()
    harms.watch_reads(NEAR if told["near"] else FAR)
    if told["way"] != WHOLE:
        going(told["way"], planned)
    return Harmed(load_replica(network, threads), planned)


def as_they_are() -> None:
    """Undo `going`: processes serve one fit after the other."""
    Ways.SIZE, Ways.__init__, early.LEAST, region.SMALL, HostState.is_due, HostState.back = KEPT


def going(way: int, planned: Sequence[Harm]) -> None:
    """Let iterations go this way from the second one on, small as they are; note how often a rank goes back."""

    def settled(ways: Ways, ranks: int, rank: int) -> None:
        KEPT[1](ways, ranks, rank)
        ways.way, ways.is_settled = way, True

    def is_due(kept: HostState) -> bool:
        return kept._course is not None and kept._course.state.iteration in (COPIED - 1, COPIED)

    def back(kept: HostState) -> Checkpoint | None:
        for harm in planned:
            harms.counted(Path(harm.marks).with_name("harm-back"), 9)
        return KEPT[-1](kept)

    Ways.SIZE, Ways.__init__, early.LEAST, region.SMALL = 0, settled, 1 << 13, 0
    HostState.is_due, HostState.back = is_due, back


def plan(planned: Sequence[Harm]) -> SamplePlan:
    """Return how rows become samples, with the harms of the tasks that write them."""
    settings = json.dumps([asdict(harm) for harm in planned if harm.at == "write"])
    return SamplePlan(("features", "label"), make_head, None, settings)


def make_head(settings: str) -> Callable[[pa.RecordBatch], SampleBlock]:
    planned = [Harm(**harm) for harm in json.loads(settings)]
    plain = softmax.make_head("{}")

    def head(batch: pa.RecordBatch) -> SampleBlock:
        for harm in planned:
            harm.strike()
        return plain(batch)

    return head
