"""Where the shards of a job-mode fit lie, and how one that is missing on a host is written again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pyspark.sql import DataFrame

from nnframes.distributed.again import copies
from nnframes.distributed.course import named
from nnframes.distributed.job_graph import Placed, executor_hosts, spark_names
from nnframes.distributed.job_tasks import Home
from nnframes.distributed.shards import Materialised, ShardTask

__all__ = ["Homes"]

KEPT_HOMES = 8


class Homes:
    """The places of all shards. `write` adds places; the first that a task can open is used.

    `name` says in errors whose rows these are.
    """

    def __init__(self, df: DataFrame, task: ShardTask, data: Materialised, seed: int, name: str = "") -> None:
        self.spark, self._name = df.sparkSession, name
        self._df, self._task, self._data, self._seed = df, task, data, seed
        self._homes = [[self._first(shard)] for shard in range(len(data.shards))]

    def write(self, shards: Sequence[int]) -> None:
        """Evaluate the rows of these shards again and leave their samples on the hosts where that happens.

        Raises `DataError` when the DataFrame gives other rows than the first time.
        """
        with named(self._name):
            self._write(shards)

    def _write(self, shards: Sequence[int]) -> None:
        pieces = self._data.pieces
        wanted = {shard: sorted({piece.source for piece in pieces[shard]}) for shard in shards}
        for shard, written in copies(self._df, self._task, self._data, self._seed, wanted).items():
            parts = tuple((written[piece.source]["path"], piece.low, piece.high) for piece in pieces[shard])
            host = next((report["host"] for report in written.values()), "")
            self._homes[shard] = [Home(host, parts), *self._homes[shard]][:KEPT_HOMES]

    def seeds(self, tasks: int) -> list[Placed]:
        """Deal the shards to tasks, those of one host together; returns with each the hosts that it should run on."""
        known = sorted(set(executor_hosts(self.spark.sparkContext)))
        order = sorted(range(len(self._homes)), key=lambda shard: (self._homes[shard][0].host, shard))
        seeds: list[Placed] = []
        for number in range(tasks):
            own = sorted(order[len(order) * number // tasks : len(order) * (number + 1) // tasks])
            hosts = Counter(home.host for shard in own for home in self._homes[shard] if home.host)
            best = [name for host, _ in hosts.most_common(1) for name in spark_names(host, known)]
            seeds.append((tuple((shard, tuple(self._homes[shard])) for shard in own), best))
        return seeds

    def _first(self, shard: int) -> Home:
        pieces = self._data.pieces[shard]
        files = self._data.shards
        parts = tuple((files[piece.source].path or "", piece.low, piece.high) for piece in pieces)
        host = max(pieces, key=lambda piece: piece.high - piece.low, default=None)
        return Home(files[host.source].host if host else "", parts)
