"""The first job: every row once through the deterministic part of preprocessing, into files.

No file split, partition count or cluster shows: rows are ordered by xxhash64 of seed and columns, rows of equal hash by
the columns themselves, and dealt to provisional shards by the hash. Shuffle and sort are Spark's, so that a task
streams and spills. Counts alone then decide which surplus rows complete which short shards (`balance`).
"""

from __future__ import annotations

import hashlib
import json
import socket
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from kernels.random import signed
from nnframes.distributed.arrow import null_mask
from nnframes.distributed.balance import Piece, balance
from nnframes.distributed.cache import MEMORY, CacheLevel, room, sweep
from nnframes.distributed.capacity import free_memory
from nnframes.distributed.engine import engine_info
from nnframes.distributed.files import ShardWriter
from nnframes.distributed.garbage import settle
from nnframes.distributed.samples import SampleBlock, SamplePlan
from nnframes.distributed.summary import BlockStatistics, DataSummary
from nnframes.errors import ColumnError, DataError

__all__ = ["Materialised", "MaterialisedShard", "collect_shards", "copied_rows", "shard_rows"]

HASH, SHARD = "__nnframes_hash", "__nnframes_shard"
SCHEMA = pa.schema([("report", pa.string())])
FIRST_ROWS, MOST_ROWS = 16, 8192
BLOCK_BYTES = 16 << 20
"""Bytes of samples that a task holds at once: blocks follow from the size of the samples seen so far."""

SHOWN_TEXT = 80


@dataclass(frozen=True)
class MaterialisedShard:
    """One provisional shard as its task reported it; `path` is None where a shard is empty."""

    shard: int
    rows: int
    host: str = ""
    path: str | None = None
    bytes: int = 0


@dataclass(frozen=True)
class Materialised:
    """All shards, what they hold, and the pieces that make the balanced ones.

    `digest` follows from the rows and the seed. `held` are the provisional shards of the rows to validate on; among
    the sources of pieces they come behind the others. `free` says of each host how many bytes of memory, and of room in
    its memory file system, there were before the samples were written.
    """

    shards: tuple[MaterialisedShard, ...]
    summary: DataSummary
    engines: tuple[tuple[str, dict[str, str]], ...]
    digest: str = ""
    held: tuple[MaterialisedShard, ...] = ()
    free: Mapping[str, tuple[int, int]] = field(default_factory=dict)

    @property
    def sources(self) -> tuple[MaterialisedShard, ...]:
        """All provisional shards, numbered as in `pieces`."""
        first = len(self.shards)
        return (*self.shards, *(replace(shard, shard=first + shard.shard) for shard in self.held))

    @property
    def pieces(self) -> list[list[Piece]]:
        """Per balanced shard the pieces of provisional shards that make it, those to validate on last."""
        pieces = balance([shard.rows for shard in self.shards])
        if not self.held:
            return pieces
        first, held = len(self.shards), balance([shard.rows for shard in self.held])
        return [
            [*own, *(Piece(first + source, low, high) for source, low, high in others)]
            for own, others in zip(pieces, held, strict=True)
        ]


@dataclass(frozen=True)
class ShardTask:
    """What a task of the first job needs to know."""

    fit: str
    plan: SamplePlan
    folder: str | None
    level: CacheLevel = field(default_factory=CacheLevel)


def shard_rows(df: DataFrame, task: ShardTask, shards: int, seed: int) -> DataFrame:
    """Return the DataFrame whose evaluation materialises `df`: one report per shard that has rows."""
    return _written(_keyed(df, task, shards, seed), task, F.col(SHARD), shards)


def copied_rows(
    df: DataFrame, task: ShardTask, shards: int, seed: int, sources: Mapping[int, Sequence[int]]
) -> DataFrame:
    """Return the DataFrame whose evaluation writes, for each wanted shard, the provisional `sources` that make it.

    All that makes one shard comes to one host; a report's "shard" is `number * shards + source`, where `number` counts
    the wanted shards in the order of `sources`.
    """
    users: dict[int, list[int]] = {}
    for number, parts in enumerate(sources.values()):
        for source in parts:
            users.setdefault(source, []).append(number * shards + source)
    keyed = _keyed(df, task, shards, seed).filter(F.col(SHARD).isin(list(users)))
    chosen = F.lit(None)
    for source, numbers in users.items():
        chosen = F.when(F.col(SHARD) == source, F.array(*map(F.lit, numbers))).otherwise(chosen)
    copied = keyed.withColumn(SHARD, F.explode(chosen))
    return _written(copied, task, F.floor(F.col(SHARD) / shards).cast("int"), len(sources))


def _keyed(df: DataFrame, task: ShardTask, shards: int, seed: int) -> DataFrame:
    columns = task.plan.columns
    selected = df.select(*[_plain_column(df, name) for name in columns])
    keyed = selected.withColumn(
        HASH, F.xxhash64(F.lit(signed(seed)).cast("long"), *[F.col(_quoted(name)) for name in columns])
    )
    return keyed.withColumn(SHARD, F.pmod(F.col(HASH), F.lit(shards).cast("long")).cast("int"))


def _written(keyed: DataFrame, task: ShardTask, partition: Column, partitions: int) -> DataFrame:
    """Sort the rows of each partition into their shards and write these."""
    if hasattr(keyed, "repartitionById"):
        dealt = keyed.repartitionById(partitions, partition)
    else:  # before Spark 4.1 a partition may hold several shards, or none
        dealt = keyed.repartition(partitions, partition)
    ordered = dealt.sortWithinPartitions(SHARD, HASH, *[F.col(_quoted(name)) for name in task.plan.columns])

    def write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return _write_shards(task, batches)

    return ordered.mapInArrow(write, "report string")


def collect_shards(reports: Sequence[str], shards: int, plan: SamplePlan) -> Materialised:
    """Put the tasks' reports together. Raises `DataError` for rows without samples, or when there are none."""
    parsed = sorted((json.loads(report) for report in reports), key=lambda report: report["shard"])
    statistics = BlockStatistics.merged(BlockStatistics(**report["statistics"]) for report in parsed)
    if plan.on_error == "fail":
        _raise_errors(statistics, plan.finding)
    found = {report["shard"]: report for report in parsed if report["rows"]}
    names = ("shard", "rows", "host", "path", "bytes")
    kept = tuple(
        MaterialisedShard(**{name: found[shard][name] for name in names})
        if shard in found
        else MaterialisedShard(shard, 0)
        for shard in range(shards)
    )
    pieces = balance([shard.rows for shard in kept])
    rows = tuple(sum(piece.high - piece.low for piece in parts) for parts in pieces)
    if not sum(rows):
        dropped = f" ({statistics.dropped} rows were dropped)" if statistics.dropped else ""
        raise DataError(f"The DataFrame must have at least one row. Received: none{dropped}.")
    summary = statistics.summary(rows, sum(shard.bytes for shard in kept))
    engines = tuple((report["host"], report["engine"]) for report in parsed)
    hashes = json.dumps([[report["shard"], report["hashes"]] for report in parsed])
    digest = hashlib.sha256(hashes.encode()).hexdigest()[:16]
    free: dict[str, tuple[int, int]] = {}
    for report in parsed:
        memory, space = free.get(report["host"], (0, 0))
        free[report["host"]] = (max(memory, report["free"]["memory"]), max(space, report["free"]["room"]))
    return Materialised(kept, summary, engines, digest, free=free)


def _raise_errors(statistics: BlockStatistics, finding: str) -> None:
    if statistics.nulls:
        counts = ", ".join(f"{count} in '{column}'" for column, count in sorted(statistics.nulls.items()))
        raise DataError(
            f"Columns to train on must not hold nulls. Received: rows with nulls: {counts}. "
            "Hint: df.na.drop(...) or df.na.fill(...) before fit, or setHandleInvalid('skip')."
        )
    if statistics.error_rows:
        shown = "; ".join(text.rstrip(".") for text in statistics.errors)
        more = " and others" if statistics.error_rows > len(statistics.errors) else ""
        query = finding.replace("{hashes}", ", ".join(map(str, statistics.error_hashes)))
        raise DataError(
            f"Every row must give a sample. Received: {statistics.error_rows} that do not: {shown}{more}. "
            f"Hint: filter these rows out, or setHandleInvalid('skip').{f' To see them: {query}' if query else ''}"
        )


def _quoted(name: str) -> str:
    return "`" + name.replace("`", "``") + "`"


def _plain_column(df: DataFrame, name: str) -> Any:
    if name not in df.columns:
        raise ColumnError(f"Column '{name}' must exist. Received: {', '.join(df.columns)}.")
    # Imported here because tasks import this module too, and the whole of pyspark.ml comes with it.
    from pyspark.ml.functions import vector_to_array
    from pyspark.ml.linalg import VectorUDT

    kind = df.schema[name].dataType
    if isinstance(kind, VectorUDT):
        return vector_to_array(F.col(_quoted(name)), "float32").alias(name)
    if any(word in kind.simpleString() for word in ("map<", "variant", "interval")):
        raise ColumnError(f"Column '{name}' must hold numbers, arrays, vectors, binary or structs. Received: {kind}.")
    return F.col(_quoted(name))


def _write_shards(task: ShardTask, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    sweep(task.folder)
    head = task.plan.make_head(task.plan.settings)
    settle()
    writer: _Shard | None = None
    for batch in batches:
        numbers = batch.column(SHARD).to_numpy()
        borders = np.flatnonzero(np.diff(numbers)) + 1
        for low, high in zip([0, *borders], [*borders, len(numbers)], strict=True):
            if low == high:
                continue
            if writer is None or writer.shard != numbers[low]:
                if writer is not None:
                    yield writer.close()
                writer = _Shard(task, head, int(numbers[low]))
            writer.add(batch.slice(low, high - low))
    if writer is not None:
        yield writer.close()


class _Shard:
    """One provisional shard on its way into its file."""

    def __init__(self, task: ShardTask, head: Any, shard: int) -> None:
        self.task, self.head, self.shard = task, head, shard
        self.statistics = BlockStatistics()
        self.free = {"memory": free_memory(), "room": room(MEMORY) if MEMORY.is_dir() else 0}
        self.file = ShardWriter(task.fit, shard, task.folder, task.level)
        self._last: np.int64 | None = None
        self._hashes = hashlib.sha256()

    def add(self, batch: pa.RecordBatch) -> None:
        try:
            low = 0
            while low < batch.num_rows:
                rows = self._block_rows()
                self._add(batch.slice(low, rows))
                low += rows
        except BaseException:
            self.file.abort()
            raise

    def close(self) -> pa.RecordBatch:
        path = self.file.close()
        report = {
            "shard": self.shard,
            "rows": self.file.rows,
            "host": socket.gethostname(),
            "path": str(path),
            "bytes": self.file.bytes,
            "statistics": asdict(self.statistics),
            "engine": engine_info(),
            "free": self.free,
            "hashes": self._hashes.hexdigest(),
        }
        return pa.RecordBatch.from_arrays([pa.array([json.dumps(report)])], schema=SCHEMA)

    def _block_rows(self) -> int:
        if not self.file.bytes:
            return FIRST_ROWS
        return min(MOST_ROWS, max(1, BLOCK_BYTES * self.file.rows // self.file.bytes))

    def _add(self, batch: pa.RecordBatch) -> None:
        self._check_order(batch.column(HASH).to_numpy())
        rows = self._without_nulls(batch)
        if not rows.num_rows:
            return
        block = self.head(rows.select(list(self.task.plan.columns)))
        self._check_block(block, rows)
        if block.rows:
            inputs = len(block.inputs)
            self.file.add(block.fields, inputs, isinstance(block.target, tuple))
            self.statistics.add_fields(block.fields, inputs)
            if self.task.plan.ranges:
                self.statistics.add_ranges(block.inputs)

    def _without_nulls(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        masks = {name: null_mask(batch.column(name)) for name in self.task.plan.columns}
        bad = np.logical_or.reduce(list(masks.values()))
        if not bad.any():
            return batch
        for name, mask in masks.items():
            if mask.any():
                self.statistics.nulls[name] = self.statistics.nulls.get(name, 0) + int(mask.sum())
        self.statistics.dropped += int(bad.sum())
        return batch.filter(pa.array(~bad))

    def _check_block(self, block: SampleBlock, rows: pa.RecordBatch) -> None:
        for row, reason in sorted(block.errors.items()):
            row_hash = rows.column(HASH)[row].as_py()
            self.statistics.add_error(f"{_identity(rows, row)}: {reason}", row_hash)
        self.statistics.dropped += len(block.errors)
        if block.rows + len(block.errors) != rows.num_rows:
            raise DataError(
                f"The preprocessing must give one sample or one error per row. Received: {block.rows} samples and "
                f"{len(block.errors)} errors for {rows.num_rows} rows."
            )

    def _check_order(self, hashes: np.ndarray) -> None:
        ordered = bool((hashes[1:] >= hashes[:-1]).all()) and (self._last is None or hashes[0] >= self._last)
        if not ordered:
            raise DataError("Rows must arrive sorted by their hash. Hint: report this; the result would not repeat.")
        self._last = hashes[-1]
        self._hashes.update(hashes.astype("<i8").tobytes())


def _identity(rows: pa.RecordBatch, row: int) -> str:
    """Say which row it is: its short columns, an image's origin, and its hash."""
    parts = []
    for name in rows.schema.names:
        value = rows.column(name)[row].as_py()
        if isinstance(value, dict) and value.get("origin"):
            parts.append(f"{name}.origin={value['origin']}")
        elif name not in (HASH, SHARD) and isinstance(value, int | float | str):
            parts.append(f"{name}={str(value)[:SHOWN_TEXT]}")
    return f"row with {', '.join([*parts, f'hash={rows.column(HASH)[row].as_py()}'])}"


def visible(shards: Sequence[MaterialisedShard]) -> list[int]:
    """Return the shards whose files this host can open."""
    return [shard.shard for shard in shards if shard.path is not None and Path(shard.path, "header.json").is_file()]
