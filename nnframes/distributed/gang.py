"""What one training task does: meet the others, open its shards, train, and (rank 0) hand back the weights.

Group mode: one Spark job over `spark.range(N)` whose tasks exchange gradients directly. Its input is never the data and
never a shuffle, so that Spark does not run live ranks a second time when an executor is lost. Job mode, one stateless
job per iteration, is another caller of the same replica, store and tree; recovery resubmits `GangTask` from a snapshot.

Ranks learn of each other from the driver, or, where it cannot be called (Spark Connect), from a barrier.

A task gives Spark no row before it ends: `spark.python.worker.killOnIdleTimeout` must not be shorter than a training.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame, SparkSession

from nnframes.distributed.balance import Piece, ranges
from nnframes.distributed.barrier import BarrierLink
from nnframes.distributed.cache import remove_fit
from nnframes.distributed.collective import GroupSync, Mesh
from nnframes.distributed.course import CourseTask
from nnframes.distributed.files import ShardFile
from nnframes.distributed.link import DriverLink, Link, Reporter
from nnframes.distributed.meeting import meet
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import ReplicaFactory
from nnframes.distributed.shards import MaterialisedShard, visible
from nnframes.distributed.store import ShardStore
from nnframes.distributed.transfer import fetch, shipped
from nnframes.distributed.wire import Secret
from nnframes.errors import TrainingError
from nnframes.train import Course, Listeners, TrainSettings, TrainState, Validation

__all__ = ["GangTask", "gang_rows", "history_of", "state_of"]

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("chunk", pa.int64()),
        ("data", pa.binary()),
    ]
)
SCHEMA_TEXT = "name string, dtype string, shape array<long>, chunk long, data binary"
CHUNK = 4 << 20
STATE, HISTORY = "train state", "history"
MESSAGES = 1_000
"""Messages in one row."""


@dataclass(frozen=True)
class GangTask:
    """What all training tasks of a group need to know."""

    address: tuple[str, int] | None
    """The driver's; None where it cannot be called."""

    secret: Secret = field(repr=False)
    ranks: int
    fit: str
    plan: SamplePlan
    shards: tuple[MaterialisedShard, ...]
    pieces: tuple[tuple[Piece, ...], ...]
    factory: ReplicaFactory
    payload: bytes | str = field(repr=False)
    """The bytes, or the name of the file that carries them."""

    threads: int
    settings: TrainSettings
    deadline: float
    folder: str | None
    course: CourseTask = field(default_factory=CourseTask)


def gang_rows(spark: SparkSession, task: GangTask) -> DataFrame:
    """Return the DataFrame whose evaluation trains; it holds the final weights in binary chunks."""

    def run(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        return run_task(task, batches)

    return spark.range(0, task.ranks, 1, task.ranks).mapInArrow(run, SCHEMA_TEXT, barrier=task.address is None)


def run_task(task: GangTask, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """Train as one rank of the gang; yields rows on rank 0 only."""
    partitions = [row for batch in batches for row in batch.column(0).to_pylist()]
    for partition in partitions:
        link = _link(task)
        try:
            # Done only once Spark has the result: a process lost before that is one that the driver must hear of.
            yield from _run_rank(task, partition, link)
            link.done()
        except BaseException as error:
            link.failed(error, traceback.format_exc(limit=-8))
            raise
        finally:
            link.close()


def _link(task: GangTask) -> Link:
    if task.address is None:
        return BarrierLink(task.ranks, task.pieces)
    return DriverLink(task.address, task.secret)


def _run_rank(task: GangTask, partition: int, link: Link) -> Iterator[pa.RecordBatch]:
    hello = {"partition": partition, "shards": visible(task.shards)}
    answer, mesh = meet(link, hello, task.secret, task.ranks, task.deadline)
    try:
        _check_reachable(task, answer)
        return _train(task, answer, mesh, link)
    finally:
        mesh.close()


def _check_reachable(task: GangTask, answer: Mapping[str, Any]) -> None:
    missing = answer["unreachable"]
    if missing:
        hosts = sorted({task.shards[source].host for source in missing})
        raise TrainingError(
            f"Every shard must lie where a training task runs. Received: shards {missing} on {', '.join(hosts)}, where "
            "none started. Hint: leave that host free slots, or set cache_folder to a folder that all hosts share."
        )


def _train(task: GangTask, answer: Mapping[str, Any], mesh: Mesh, link: Link) -> Iterator[pa.RecordBatch]:
    rank = mesh.rank
    dealt = ranges(len(task.pieces), task.ranks)
    data, held = _open_shards(task, answer, dealt[rank], mesh)
    replica = task.factory(shipped(task.payload), task.threads)
    sync = GroupSync(dealt, rank, mesh, task.settings.rounding(replica.gradient_size))
    with task.course.opened(task.settings, replica, held, writes=rank == 0) as (course, watch):
        reporter = Reporter(link)
        spread = task.course.spread(replica, reporter)
        course.run(data, sync, Listeners(watch, reporter, spread) if rank == 0 else None)
        # Nobody opens a file, or waits for a peer, after this; files that are still mapped stay readable.
        sync.barrier()
        remove_fit(task.fit, task.folder)
    return _chunks(course, link.recorded) if rank == 0 else iter(())


def _open_shards(
    task: GangTask, answer: Mapping[str, Any], own: Sequence[int], mesh: Mesh
) -> tuple[ShardStore, ShardStore | None]:
    """Return the rows to train on and those to validate on."""
    needed = {piece.source for shard in own for piece in task.pieces[shard]} & set(visible(task.shards))
    served = {source for sender, _, source, *_ in answer["transfers"] if sender == mesh.rank}
    files = {source: ShardFile(Path(task.shards[source].path or "")) for source in sorted(needed | served)}
    fetched = fetch(mesh, answer["transfers"], files, task.fit, task.folder)

    def store(plan: SamplePlan, held: bool) -> ShardStore:
        pieces = {
            shard: [
                (fetched[piece], 0, piece.high - piece.low)
                if piece in fetched
                else (files[piece.source], piece.low, piece.high)
                for piece in task.pieces[shard]
                if held == (piece.source >= len(task.pieces))
            ]
            for shard in own
        }
        tail = plan.make_tail(plan.settings) if plan.make_tail is not None else None
        return ShardStore(pieces, tail, task.settings.seed)

    return store(task.plan, False), store(task.course.plan, True) if task.course.plan is not None else None


def _chunks(course: Course, messages: Sequence[dict[str, Any]] = ()) -> Iterator[pa.RecordBatch]:
    """Yield counters, validations and messages as JSON, and the weights in chunks of at most 4 MB."""
    reached = {"state": course.state.to_json(), "validations": [one.to_json() for one in course.history]}
    yield _row(STATE, "json", [], 0, json.dumps(reached).encode())
    for start in range(0, len(messages), MESSAGES):
        yield _row(HISTORY, "json", [], start, json.dumps(messages[start : start + MESSAGES]).encode())
    for name, array in course.weights().items():
        plain = np.asarray(array, order="C")
        data = plain.reshape(-1).view(np.uint8)
        for number, start in enumerate(range(0, max(1, len(data)), CHUNK)):
            yield _row(name, plain.dtype.str, list(plain.shape), number, data[start : start + CHUNK])


def _row(name: str, dtype: str, shape: list[int], chunk: int, data: Any) -> pa.RecordBatch:
    values = ([name], [dtype], [shape], [chunk], [bytes(data)])
    columns = [pa.array(value, kind) for value, kind in zip(values, SCHEMA.types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def state_of(rows: pa.Table) -> tuple[dict[str, np.ndarray], TrainState, tuple[Validation, ...]]:
    """Put the chunks of rank 0 together; raises `TrainingError` when there are none."""
    progress: dict[str, Any] | None = None
    arrays: dict[str, np.ndarray] = {}
    for row, data in zip(rows.drop_columns("data").to_pylist(), rows["data"], strict=True):
        name = row["name"]
        if row["dtype"] == "json" and name == HISTORY:
            continue
        if row["dtype"] == "json":
            progress = json.loads(data.as_py())
            continue
        if name not in arrays:
            arrays[name] = np.empty(row["shape"], row["dtype"])
        start = row["chunk"] * CHUNK
        # Straight from Arrow's memory into the array: the driver holds the weights twice, not four times.
        arrays[name].reshape(-1).view(np.uint8)[start : start + CHUNK] = np.frombuffer(data.as_buffer(), np.uint8)
    if progress is None:
        raise TrainingError("The training job must return the state of rank 0. Received: nothing.")
    history = tuple(Validation.from_json(one) for one in progress["validations"])
    return arrays, TrainState.from_json(progress["state"]), history


def history_of(rows: pa.Table) -> list[dict[str, Any]]:
    """Return the progress that rank 0 kept because it could not send it, in order."""
    listed = rows.filter((pc.field("dtype") == "json") & (pc.field("name") == HISTORY)).sort_by("chunk")
    return [message for text in listed["data"].to_pylist() for message in json.loads(text)]
