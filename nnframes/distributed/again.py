"""Rows whose samples are on no host any more: evaluated and written once more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace

from pyspark.sql import DataFrame

from nnframes.distributed.jobs import SparkJob, translated
from nnframes.distributed.shards import Materialised, MaterialisedShard, ShardTask, copied_rows
from nnframes.errors import DataError

__all__ = ["written_again"]


def written_again(
    df: DataFrame, task: ShardTask, data: Materialised, seed: int, missing: Sequence[int]
) -> Materialised:
    """Evaluate the rows of the provisional shards `missing` anew; returns where all are now.

    Raises `DataError` when the DataFrame gives other rows than the first time.
    """
    count = len(data.shards)
    rows = copied_rows(df, task, count, seed, {shard: [shard] for shard in missing})
    try:
        reports = [json.loads(row.report) for row in SparkJob(df.sparkSession, rows.collect).result()]
    except Exception as error:
        raise translated(error, "Preparing the data again") from error
    found = {report["shard"] % count: report for report in reports}
    return replace(data, shards=tuple(_placed(shard, found, missing) for shard in data.shards))


def _placed(shard: MaterialisedShard, found: Mapping[int, Mapping], missing: Sequence[int]) -> MaterialisedShard:
    if shard.shard not in missing:
        return shard
    report = found.get(shard.shard, {"rows": 0})
    if report["rows"] != shard.rows:
        raise DataError(
            "The DataFrame must give the same rows whenever it is evaluated. Received: "
            f"{report['rows']} rows in place of {shard.rows} for shard {shard.shard}. Hint: cache or write it before "
            "fit, or seed what samples it."
        )
    return replace(shard, host=report["host"], path=report["path"], bytes=report["bytes"])
