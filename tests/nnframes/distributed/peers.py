"""Ranks in real processes, without Spark, for the tests of the collective."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.random import stream
from kernels.sparse import RowSparse
from nnframes.distributed.balance import Piece, ranges
from nnframes.distributed.collective import GroupSync
from nnframes.distributed.link import BEAT_SECONDS, DriverLink
from nnframes.distributed.meeting import meet
from nnframes.distributed.rendezvous import Rendezvous
from nnframes.distributed.wire import Secret
from nnframes.train import MiniBatch, SerialSync, Sync
from nnframes.train.compression import Rounding
from tests.nnframes.distributed import softmax

JOINED = 60


def message_of(shard: int, iteration: int, size: int) -> np.ndarray:
    return stream(1, shard, iteration).normal(size=size).astype(np.float32)


def tables_of(shard: int, iteration: int) -> dict[str, RowSparse]:
    """Tables that not all shards touch, and one that few do."""
    generator = stream(2, shard, iteration)
    count = int(generator.integers(0, 5))
    rows = np.sort(generator.choice(20, count, replace=False)).astype(np.int32)
    words = RowSparse(rows, generator.normal(size=(count, 3)).astype(np.float32))
    return {"words": words, "rare": words} if shard == 1 else {"words": words} if shard % 3 else {}


def digest(message: np.ndarray, tables: dict[str, RowSparse]) -> str:
    state = hashlib.sha256(message.tobytes())
    for name in sorted(tables):
        state.update(name.encode() + tables[name].rows.tobytes() + tables[name].values.tobytes())
    return state.hexdigest()


def serial(shards: int, size: int, iterations: int, sparse: bool, rounding: Rounding | None = None) -> list[str]:
    sync, result = SerialSync(shards, rounding), []
    for iteration in range(iterations):
        messages = {shard: message_of(shard, iteration, size) for shard in range(shards)}
        tables = {shard: tables_of(shard, iteration) if sparse else {} for shard in range(shards)}
        result.append(digest(*sync.all_reduce(messages, tables)))
    return result


def vector_of(shard: int, iteration: int, size: int) -> np.ndarray:
    """Numbers of many sizes: another order of the sum gives other bits."""
    generator = stream(3, shard, iteration)
    return generator.normal(size=size) * 10.0 ** generator.integers(-8, 8, size)


def merges(sync: Sync, size: int, iterations: int, sparse: bool) -> list[str]:
    """Vectors between two exchanges of gradients."""
    result = []
    for iteration in range(iterations):
        sync.all_reduce(
            {shard: message_of(shard, iteration, 7) for shard in sync.shards}, {shard: {} for shard in sync.shards}
        )
        merged = sync.merge({shard: vector_of(shard, iteration, size) for shard in sync.shards})
        assert merged.dtype == np.float64
        result.append(merged.tobytes().hex())
    return result


def sums(sync: GroupSync, size: int, iterations: int, sparse: bool) -> list[str]:
    result = []
    for iteration in range(iterations):
        messages = {shard: message_of(shard, iteration, size) for shard in sync.shards}
        tables = {shard: tables_of(shard, iteration) if sparse else {} for shard in sync.shards}
        result.append(digest(*sync.all_reduce(messages, tables)))
    sync.barrier()
    return result


@dataclass
class CopiesOf:
    due: bool
    are_kept: bool = True
    hastened: int = 0

    def is_due(self) -> bool:
        return self.due

    def hasten(self) -> None:
        self.hastened += 1


def trained(sync: Sync, extra: int, iterations: int, ways: Sequence[int] = ()) -> tuple[str, list[int]]:
    """Train a replica whose every rank has rows of its own, in these ways; rank 1 wants the state at 5.

    No copies are kept when iteration 9 is told its way.

    Returns the digest of its complete state, and the iterations after which it was not complete.
    """
    replica, partial = softmax.Softmax(extra), []
    messages = {shard: np.zeros(replica.message_size, np.float32) for shard in sync.shards}
    for iteration in range(iterations):
        if isinstance(sync, GroupSync):
            sync._ways.way, sync._ways.is_settled = ways[(iteration + 1) % len(ways)], True
            sync._copies = CopiesOf(sync.rank == 1 and iteration == 5, are_kept=iteration != 8)
        tables, reached = {}, sync.begin(messages, replica.gradient_size)
        for shard, message in messages.items():
            generator = stream(4, shard, iteration)
            x = generator.normal(size=(5, softmax.FEATURES)).astype(np.float32)
            batch = MiniBatch((x,), generator.integers(0, softmax.CLASSES, 5))
            last = shard == max(messages)
            tables[shard] = replica.gradient(shard, batch, iteration, message, reached if last else None)
        sync.step(replica, dict(messages), tables)
        if not sync.is_complete:
            partial.append(iteration)
    sync.complete(replica)
    state = hashlib.sha256()
    for array in replica.state().values():
        state.update(array.tobytes())
    return state.hexdigest(), partial


def traffic(sync: GroupSync, size: int, iterations: int, sparse: bool) -> int:
    """How many bytes this rank hands to the mesh."""
    exchange, sent = sync._mesh.exchange, []

    def counted(outgoing, incoming, what):
        sent.extend(array.nbytes for arrays in outgoing.values() for array in arrays)
        exchange(outgoing, incoming, what)

    sync._mesh.exchange = counted
    sums(sync, size, iterations, sparse)
    return sum(sent)


def dies(sync: GroupSync, size: int, iterations: int, sparse: bool) -> list[str]:
    """Rank 1 ends after one iteration, without a word."""
    if sync.rank == 1:
        iterations = 1
    result = []
    for iteration in range(iterations):
        messages = {shard: message_of(shard, iteration, size) for shard in sync.shards}
        result.append(digest(*sync.all_reduce(messages, {shard: {} for shard in sync.shards})))
    if sync.rank == 1:
        os._exit(9)
    return result


def stalls(sync: GroupSync, size: int, iterations: int, sparse: bool) -> list[str]:
    """Rank 1 never comes to the exchange, but stays connected until the others have gone."""
    if sync.rank == 1:
        sync._mesh.deadline = 30.0
        sync._mesh.exchange({}, {0: [np.empty(size + 4096, np.float32)]}, "nothing that comes")
    return sums(sync, size, iterations, sparse)


def rank_main(
    results: Any,
    address: tuple[str, int],
    secret: Secret,
    shape: tuple[int, int],
    rounding: Rounding,
    work: Callable,
    *args: Any,
) -> None:
    partition, ranks, shards, deadline = *shape, *args[:2]
    try:
        link = DriverLink(address, secret)
        try:
            answer, mesh = meet(link, {"partition": partition, "shards": []}, secret, ranks, deadline)
            try:
                with closing(GroupSync(ranges(shards, ranks), answer["rank"], mesh, rounding)) as sync:
                    results.put((answer["rank"], work(sync, *args[2:])))
                link.done()
            finally:
                mesh.close()
        finally:
            link.close()
    except BaseException as error:
        results.put((partition, f"{type(error).__name__}: {error}\n{traceback.format_exc()}"))
        raise SystemExit(1) from None


def run_ranks(
    ranks: int,
    shards: int,
    work: Callable,
    *args: Any,
    deadline: float = 30.0,
    before: Callable | None = None,
    secret: Secret | None = None,
    rounding: Rounding | None = None,
) -> dict[int, Any]:
    """Run `work(sync, *args)` in `ranks` fresh processes and return what each gave, by rank."""
    secret, rounding = secret or Secret.fresh(), rounding or Rounding()
    pieces: Sequence[Sequence[Piece]] = [[] for _ in range(shards)]
    meeting = Rendezvous("127.0.0.1", secret, ranks, pieces, max(deadline, 4 * BEAT_SECONDS))
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    address = ("127.0.0.1", meeting.port)
    if before is not None:
        before(address)
    processes = [
        context.Process(
            target=rank_main, args=(results, address, secret, (rank, ranks), rounding, work, shards, deadline, *args)
        )
        for rank in range(ranks)
    ]
    try:
        for process in processes:
            process.start()
        for process in processes:
            process.join(JOINED)
        found = {}
        while not results.empty():
            rank, value = results.get()
            found[rank] = value
        return found
    finally:
        for process in processes:
            process.kill()
        meeting.close()
