"""Rows whose samples are missing on a host, or on all: evaluated and written once more."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from pyspark.sql import DataFrame

from nnframes.distributed.jobs import SparkJob, translated
from nnframes.distributed.shards import Materialised, ShardTask, copied_rows
from nnframes.errors import DataError

__all__ = ["copies", "written_again"]

Copies = dict[int, dict[int, Mapping[str, Any]]]
"""For each wanted shard the reports of the provisional shards that make it: rows, host, path, bytes."""


def copies(
    df: DataFrame, task: ShardTask, data: Materialised, seed: int, wanted: Mapping[int, Sequence[int]]
) -> Copies:
    """Evaluate the rows of `wanted` (shard: its sources) anew, those of one shard on one host.

    Raises `DataError` when the DataFrame gives other rows than the first time.
    """
    count = len(data.shards)
    rows = copied_rows(df, task, count, seed, wanted)
    try:
        reports = [json.loads(row.report) for row in SparkJob(df.sparkSession, rows.collect).result()]
    except Exception as error:
        raise translated(error, "Preparing the data again") from error
    found = {report["shard"]: report for report in reports}
    written: Copies = {}
    for number, (shard, sources) in enumerate(wanted.items()):
        written[shard] = {source: found.get(number * count + source, {"rows": 0}) for source in sources}
        for source, report in written[shard].items():
            _check(source, report["rows"], data.shards[source].rows)
    return written


def written_again(
    df: DataFrame, task: ShardTask, data: Materialised, seed: int, missing: Sequence[int]
) -> Materialised:
    """Write the provisional shards `missing` anew; returns where all are now. Raises `DataError` as `copies`."""
    written = copies(df, task, data, seed, {shard: [shard] for shard in missing})
    shards = list(data.shards)
    for shard, reports in written.items():
        new = {name: reports[shard][name] for name in ("host", "path", "bytes")}
        shards[shard] = replace(shards[shard], **new)
    return replace(data, shards=tuple(shards))


def _check(source: int, rows: int, before: int) -> None:
    if rows != before:
        raise DataError(
            "The DataFrame must give the same rows whenever it is evaluated. Received: "
            f"{rows} rows in place of {before} for shard {source}. Hint: cache or write it before fit, or seed what "
            "samples it."
        )
