"""Says before training starts, once a fit, that memory will be short or that samples went to disk."""

from __future__ import annotations

import logging
from contextlib import suppress

from pyspark.sql import DataFrame, SparkSession

from nnframes.distributed.cache import MEMORY
from nnframes.distributed.capacity import Demand, free_memory, shortage, supply_of
from nnframes.distributed.job_graph import executor_hosts
from nnframes.distributed.jobs import free_slots, is_connect
from nnframes.distributed.settings import FitSettings
from nnframes.distributed.shards import Materialised

__all__ = ["Forecast", "planned_bytes"]

_LOG = logging.getLogger("nnframes")

SETTINGS = ("master", "executor.memory", "executor.memoryOverhead", "executor.memoryOverheadFactor")
NO_LIMIT = 1 << 62
UNKNOWN = 1 << 60
"""Spark gives a relation of unknown size this many bytes or more."""


class Forecast:
    """What a fit with a network of `network` bytes will need, told in the log when there is less."""

    def __init__(self, spark: SparkSession, settings: FitSettings, network: int) -> None:
        self._spark, self._settings, self._network = spark, settings, network
        self._told = False

    def before(self, df: DataFrame) -> None:
        """Look at what Spark's planner expects of `df`; rough, but it comes before the data is read."""
        size = planned_bytes(df)
        if size is not None:
            is_here = str(self._conf().get("spark.master", "")).startswith("local[")
            self._tell(size, free_memory() if is_here else NO_LIMIT, None)

    def after(self, data: Materialised) -> None:
        """Look at what the first job found: samples, memory and room of the hosts."""
        level, folder = self._settings.cache_level, self._settings.cache_folder
        memory = min((free[0] for free in data.free.values()), default=NO_LIMIT)
        in_memory = not level.on_disk and folder is None
        space = min((free[1] for free in data.free.values()), default=0) if in_memory else None
        self._tell(data.summary.bytes, memory, space)
        away = [shard for shard in data.shards if shard.path and MEMORY.as_posix() not in shard.path]
        if in_memory and away and not self._told:
            hosts = ", ".join(sorted({shard.host for shard in away}))
            _LOG.warning("The samples of %d shards lie on disk, not in memory: no room on %s.", len(away), hosts)

    def _tell(self, samples: int, memory: int, space: int | None) -> None:
        if self._told:
            return
        tasks, executors = self._settings.shards, 1
        if not is_connect(self._spark):
            tasks = max(1, min(tasks, free_slots(self._spark), self._settings.max_tasks or tasks))
            executors = max(1, len(executor_hosts(self._spark.sparkContext)))
        level = self._settings.cache_level
        demand = Demand(samples, self._network, tasks, min(executors, tasks), level.slices if level.on_disk else 0)
        sentence = shortage(demand, supply_of(self._conf(), memory, space))
        if sentence is not None:
            self._told = True
            _LOG.warning("%s", sentence)

    def _conf(self) -> dict[str, str]:
        names = [f"spark.{name}" for name in (*SETTINGS, "executor.pyspark.memory")]
        return {name: value for name in names if (value := self._spark.conf.get(name, None)) is not None}


def planned_bytes(df: DataFrame) -> int | None:
    """Return how many bytes Spark's planner expects `df` to have; None where it does not know, and on Connect."""
    if is_connect(df.sparkSession):
        return None
    with suppress(Exception):  # not public in Spark's eyes
        size = int(str(df._jdf.queryExecution().optimizedPlan().stats().sizeInBytes()))
        return size if size < UNKNOWN else None
    return None
