"""The RDDs of job mode: how the parts of one iteration reach the next without passing the driver.

    seeds x parts of iteration i-1  ->  run_shards  ->  shuffle by slice  ->  sum_slice  ->  parts of iteration i (kept)

Every task of the first stage reads all slices: the product of its one seed with all blocks of the iteration before.
Jobs beside the iterations (a validation, a snapshot) are one stage with the same inputs.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from pyspark import RDD, SparkContext, StorageLevel
from pyspark.accumulators import AccumulatorParam
from pyspark.serializers import CartesianDeserializer, CPickleSerializer

from nnframes.distributed.job_tasks import Question, Seed, Turn, Work, answer, run_shards, sum_slice
from nnframes.errors import SyncError
from nnframes.train import TrainState

__all__ = ["ANYWHERE", "Graph", "Placed", "executor_hosts", "spark_names"]

Placed = tuple[Seed, Sequence[str]]
"""What a task is given, and the hosts that it prefers."""

ANYWHERE: Sequence[Placed] = (((), ()),)
"""One task without shards."""

NOWHERE = "nnframes-anywhere"
"""The host that a task without a home prefers: without any, Spark would take the host of the blocks that it reads."""


class _Notes(AccumulatorParam):
    """Notes of tasks, in any order."""

    def zero(self, value: list) -> list:
        return []

    def addInPlace(self, value1: list, value2: list) -> list:
        value1.extend(value2)
        return value1


class Graph:
    """The RDDs of one fit, from iteration to iteration.

    `parts` are the kept ones of the last iteration, None at the start. `close` gives up all that executors hold.
    """

    def __init__(self, context: SparkContext) -> None:
        self.context = context
        self.notes = context.accumulator([], _Notes())
        self._seeds: RDD | None = None
        self._parts: RDD | None = None
        self._sums = 0
        self._kept: list[RDD] = []
        self._shuffled: list[RDD] = []
        self._level = StorageLevel.MEMORY_AND_DISK

    def seed(self, seeds: Sequence[Placed]) -> None:
        """Set the tasks of the first stage."""
        self._seeds = self._placed(seeds)
        several = len(executor_hosts(self.context)) > 1
        self._level = StorageLevel.MEMORY_AND_DISK_2 if several else StorageLevel.MEMORY_AND_DISK

    def iterate(self, work: Work, turn: Turn) -> tuple[RDD, list[dict]]:
        """Run one iteration as one job; returns its parts, to be accepted or dropped, and the tasks' notes."""
        self.notes.value = []
        assert self._seeds is not None
        first = self._inputs(self._seeds).mapPartitionsWithIndex(partial(run_shards, work, turn))
        shuffled = first.partitionBy(turn.slices)
        parts = shuffled.mapPartitionsWithIndex(partial(sum_slice, work, turn, self.notes))
        parts.persist(self._level)
        self._shuffled.append(shuffled)
        self._kept.append(parts)
        # Counted by the JVM: the parts need not travel to Python once more. The tasks' notes come beside.
        parts._jrdd.count()
        return parts, [note for note in self.notes.value if note["attempt"] == turn.attempt]

    def accept(self, parts: RDD) -> None:
        """Go on from these parts; all others are given up."""
        self._parts, self._sums = parts, parts.getNumPartitions()
        for old in [kept for kept in self._kept if kept is not parts]:
            self._drop(old)

    def drop(self) -> None:
        """Give up parts that were not accepted."""
        for failed in [kept for kept in self._kept if kept is not self._parts]:
            self._drop(failed)

    def cut(self, slices: int) -> None:
        """Cut the lineage: the parts go to the driver once, and from there each to one task when they are needed."""
        if self._parts is None:
            return
        found = list(self._parts.toLocalIterator())
        sums = sum(kind == "sum" for _, (kind, _, _) in found)
        if sums < self._sums:
            # Spark computes a lost block again where no sample lies: that gives a remark in place of the sum.
            raise SyncError(f"The sums of all {self._sums} slices must be there. Received: {sums}; blocks were lost.")
        root = self.context.parallelize(found, slices).partitionBy(slices)
        kept, shuffled = self._kept, self._shuffled
        self._parts, self._kept, self._shuffled = root, [], [root]
        self._forget(kept, shuffled)

    def ask(
        self, work: Work, state: TrainState, question: Question, seeds: Sequence[Placed]
    ) -> list[tuple[int, Any, dict | None]]:
        """Let a task for each of `seeds` bring a replica to `state` and answer; returns (task, answer, remark)."""
        source = self._inputs(self._placed(seeds))
        return source.mapPartitionsWithIndex(partial(answer, work, state, question)).collect()

    def close(self) -> None:
        """Give up all blocks and shuffle files."""
        self._forget(self._kept, self._shuffled)
        self._kept, self._shuffled, self._parts, self._seeds = [], [], None, None

    def _inputs(self, seeds: RDD) -> RDD:
        if self._parts is None:
            return seeds
        # A JVM map in between hides where the blocks lie: all tasks would wait for that one host.
        whole = self._parts._jrdd.coalesce(1, False).zipWithUniqueId().keys()
        serializer = CartesianDeserializer(seeds._jrdd_deserializer, self._parts._jrdd_deserializer)
        return RDD(seeds._jrdd.cartesian(whole), self.context, serializer)

    def _placed(self, seeds: Sequence[Placed]) -> RDD:
        jvm, pickled = self.context._jvm, CPickleSerializer()
        assert jvm is not None
        pairs = jvm.java.util.ArrayList()
        for seed, hosts in seeds:
            wanted = jvm.PythonUtils.toSeq(list(hosts) or [NOWHERE])
            pairs.add(jvm.scala.Tuple2(bytearray(pickled.dumps(seed)), wanted))
        kind = jvm.scala.reflect.ClassTag.apply(jvm.java.lang.Class.forName("[B"))
        scala = self.context._jsc.sc().makeRDD(jvm.PythonUtils.toSeq(pairs), kind)
        return RDD(scala.toJavaRDD(), self.context, pickled)

    def _drop(self, parts: RDD) -> None:
        parts.unpersist()
        self._kept.remove(parts)

    def _forget(self, kept: Sequence[RDD], shuffled: Sequence[RDD]) -> None:
        """Remove blocks and shuffle files now: Spark alone would wait until the driver collects garbage."""
        for parts in kept:
            with suppress(Exception):  # best effort: a context that is gone has none
                parts.unpersist()
        with suppress(Exception):
            cleaner = self.context._jsc.sc().cleaner()
            for rdd in shuffled:
                cleaner.get().doCleanupShuffle(_shuffle_number(rdd), False)


def _shuffle_number(rdd: RDD) -> int:
    dependency = rdd._jrdd.rdd().dependencies().head().rdd().dependencies().head()
    return int(dependency.shuffleId())


def executor_hosts(context: SparkContext) -> list[str]:
    """Return the host of each executor, the driver's own left out where there are others."""
    listed = str(context._jsc.sc().getExecutorMemoryStatus().keys().mkString(","))
    hosts = [entry.rpartition(":")[0] for entry in listed.split(",") if entry]
    driver = str(context._conf.get("spark.driver.host", ""))
    if len(hosts) > 1 and driver in hosts:
        hosts.remove(driver)
    return hosts


def spark_names(host: str, known: Sequence[str]) -> Iterator[str]:
    """Yield what Spark calls the host that calls itself `host`."""
    addresses: set[str] = {host}
    with suppress(OSError):
        addresses.update([socket.getfqdn(host), socket.gethostbyname(host)])
    yield from sorted({name for name in known if name in addresses or name.startswith(host + ".")})
