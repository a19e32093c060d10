"""What the tasks of job mode compute: gradients of shards in the first stage, sums of slices in the second.

Parts that travel between tasks are (kind, place, value), sent to a slice by its number:

    ("node", (low, high), Packed)            a slice of the summed messages of the shards low..high-1
    ("state", offset, uint8 (n,))            bytes of the state that the messages were computed with
    ("sum", offset, Packed)                  a slice of the sum over all shards
    ("sparse", (low, high), {name: RowSparse})   row-sparse gradients, of some or of all shards
    ("remark", task, {...})                  what a task could not do; then no sum is made

A worker process keeps its replica, and the number of the iteration it stands at, between tasks. That saves work and is
never needed: every task is handed the whole state. The first state is the payload's, or a broadcast snapshot's.
"""

from __future__ import annotations

import itertools
import socket
import traceback
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pyspark import Accumulator, Broadcast

from kernels.sparse import RowSparse
from nnframes.distributed.files import ShardFile
from nnframes.distributed.garbage import settle
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import ReplicaFactory
from nnframes.distributed.store import FilePiece, ShardStore
from nnframes.errors import DataError
from nnframes.optim import BLOCK
from nnframes.train import Replica, TrainSettings, TrainState
from nnframes.train.loop import diverged, gradients
from nnframes.train.reduce import add_sparse, combine, partial_sums

__all__ = [
    "Home",
    "Missing",
    "Part",
    "Question",
    "Seed",
    "Turn",
    "Work",
    "answer",
    "borders",
    "opened",
    "run_shards",
    "sum_slice",
]

Part = tuple[str, Any, Any]
KEPT_REPLICAS = 2
TRACE_FRAMES = -8
TRANSIENT = (MemoryError, OSError)
"""Errors that may not come again on another attempt or host: left to Spark, which repeats the task."""


class Home(NamedTuple):
    """Files that hold the rows of one shard: where they were written, and (path, low, high) in order."""

    host: str
    parts: tuple[tuple[str, int, int], ...]


class Missing(Exception):
    """No file of these shards is on this host."""

    def __init__(self, shards: Sequence[int]) -> None:
        super().__init__(f"shards {shards}")
        self.shards = list(shards)


Seed = tuple[tuple[int, tuple[Home, ...]], ...]
"""What a task of the first stage is given: its shards, and where each may lie."""


@dataclass(frozen=True)
class Work:
    """What all tasks of a fit need to know; `snapshot` is the state at iteration `start` where a fit resumes."""

    fit: str
    plan: SamplePlan
    factory: ReplicaFactory
    payload: Broadcast
    threads: int
    settings: TrainSettings
    start: int = 0
    snapshot: Broadcast | None = None


Question = Callable[[Work, Replica, Seed], Any]
"""What a job beside the iterations asks of a replica at its state."""


@dataclass(frozen=True)
class Turn:
    """One iteration: the state it starts from, which attempt at it this is, how messages of `size` numbers are cut."""

    state: TrainState
    attempt: int
    size: int
    slices: int


def borders(size: int, slices: int) -> list[int]:
    """Return where slices of `size` numbers begin and end: whole blocks, but for the last, which has one at least.

    >>> borders(10_000, 2), borders(5, 1)
    ([0, 4096, 10000], [0, 5])
    """
    blocks = max(1, size // BLOCK)
    return [*(blocks * number // slices * BLOCK for number in range(slices)), size]


def run_shards(work: Work, turn: Turn, number: int, items: Iterable[Any]) -> Iterator[tuple[int, Part]]:
    """Stage 1: bring the state up to the iteration, compute the task's shards, yield (slice, part)."""
    seed, parts = _read(items, work, turn.state)
    try:
        data = opened(seed, work.plan, work.settings.seed)
        yield from _parts(_standing(work, turn.state, parts), work, turn, data, [shard for shard, _ in seed])
    except TRANSIENT:
        raise
    except Exception as error:  # told as a result: Spark would run it four times
        yield from _to_all(turn, number, _told(error))


def sum_slice(
    work: Work, turn: Turn, notes: Accumulator, number: int, items: Iterable[tuple[int, Part]]
) -> Iterator[tuple[int, Part]]:
    """Stage 2: sum one slice over the shards in the fixed order; the state's slice goes on beside it."""
    found: dict[str, dict[Any, Any]] = {"node": {}, "state": {}, "sparse": {}, "remark": {}}
    for _, (kind, place, value) in items:
        found[kind][place] = value
    note = {"attempt": turn.attempt, "slice": number, "remarks": found["remark"]}
    if found["remark"]:
        notes.add([note])
        return
    shards = work.settings.shards
    # What was rounded of the slice's parts says what must be of its sums.
    rounding = work.settings.rounding(len(next(iter(found["node"].values())).codes))
    total = rounding.combine({node: rounding.unpacked(part) for node, part in found["node"].items()}, shards)
    if number == turn.slices - 1:
        note["loss"] = _kept(work).replica.mean_loss(total)
    yield number, ("sum", borders(turn.size, turn.slices)[number], rounding.pack(total))
    for offset, data in found["state"].items():
        yield number, ("state", offset, data)
    if found["sparse"]:
        # A task whose shards touch no table sends nothing.
        tables = {node: found["sparse"].get(node, {}) for node in found["node"]}
        yield number, ("sparse", (0, shards), combine(tables, shards, add_sparse))
    notes.add([note])


def answer(
    work: Work, state: TrainState, question: Question, number: int, items: Iterable[Any]
) -> Iterator[tuple[int, Any, dict | None]]:
    """Bring the replica up to `state` and yield (task, what it makes of the question, or a remark on what failed)."""
    seed, parts = _read(items, work, state)
    try:
        yield number, question(work, _standing(work, state, parts).replica, seed), None
    except TRANSIENT:
        raise
    except Exception as error:  # told as a result, as above
        yield number, None, _told(error)


def _read(items: Iterable[Any], work: Work, state: TrainState) -> tuple[Seed, list[Part]]:
    """Separate what Spark's cartesian product joined; there are no parts before the first iteration."""
    drawn = list(items)
    if state.iteration == work.start:
        return drawn[0], []
    return drawn[0][0], [part for _, (_, part) in drawn]


def _to_all(turn: Turn, number: int, remark: Mapping[str, Any]) -> Iterator[tuple[int, Part]]:
    for target in range(turn.slices):
        yield target, ("remark", number, dict(remark))


def _told(error: Exception) -> dict[str, Any]:
    host = socket.gethostname()
    if isinstance(error, Missing):
        return {"host": host, "missing": error.shards}
    trace = traceback.format_exc(limit=TRACE_FRAMES)
    return {"host": host, "error": type(error).__name__, "text": str(error), "trace": trace}


# ---------------------------------------------------------------- state


@dataclass
class _Kept:
    """What a worker keeps of a fit between its tasks."""

    replica: Any
    iteration: int | None
    """The iteration whose state the replica has; None while it changes."""

    plan: Any
    messages: list[np.ndarray]


_KEPT: OrderedDict[str, _Kept] = OrderedDict()


def _kept(work: Work) -> _Kept:
    if work.fit not in _KEPT:
        replica = work.factory(work.payload.value, work.threads)
        if work.snapshot is not None:
            replica.load_state(work.snapshot.value)
        _KEPT[work.fit] = _Kept(replica, work.start, work.settings.plan(), [])
        while len(_KEPT) > KEPT_REPLICAS:
            _KEPT.popitem(last=False)
        settle(anew=True)
    _KEPT.move_to_end(work.fit)
    return _KEPT[work.fit]


def _standing(work: Work, state: TrainState, parts: Sequence[Part]) -> _Kept:
    """Return the replica at `state`, made from the state before it and the sums of the iteration between."""
    kept, iteration = _kept(work), state.iteration
    if kept.iteration == iteration:
        return kept
    if iteration == work.start:
        del _KEPT[work.fit]
        return _kept(work)
    stood, kept.iteration = kept.iteration, None
    if stood != iteration - 1:
        kept.replica.load_state(_loaded([part for part in parts if part[0] == "state"], kept.replica.state()))
    rounding = work.settings.rounding(kept.replica.gradient_size)
    sums = {place: rounding.unpacked(value) for kind, place, value in parts if kind == "sum"}
    message = sums[0]
    if len(sums) > 1:
        message = np.concatenate([values for _, values in sorted(sums.items())])
    sparse: dict[str, RowSparse] = next((value for kind, _, value in parts if kind == "sparse"), {})
    before = replace(state, iteration=iteration - 1, epoch=state.epoch - state.epoch_finished)
    try:
        kept.replica.update(message, sparse)
    except FloatingPointError as error:
        raise diverged(str(error), before) from error
    kept.iteration = iteration
    return kept


def _loaded(parts: Sequence[Part], like: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    blob = np.empty(sum(array.nbytes for array in like.values()), np.uint8)
    covered = 0
    for _, offset, data in parts:
        blob[offset : offset + len(data)] = data
        covered += len(data)
    if covered != len(blob):
        raise DataError(f"The state must have {len(blob)} bytes. Received: {covered}.")
    state, place = {}, 0
    for name, array in like.items():
        state[name] = blob[place : place + array.nbytes].view(array.dtype).reshape(array.shape)
        place += array.nbytes
    return state


def _state_parts(replica: Any, turn: Turn, wanted: Sequence[int]) -> Iterator[tuple[int, Part]]:
    """Yield these slices of the state's bytes."""
    if not wanted:
        return
    arrays = [np.ascontiguousarray(array).reshape(-1).view(np.uint8) for array in replica.state().values()]
    blob = np.concatenate([np.empty(0, np.uint8), *arrays])
    for target in wanted:
        low, high = (len(blob) * border // turn.slices for border in (target, target + 1))
        yield target, ("state", low, blob[low:high])


# ---------------------------------------------------------------- gradients


def _parts(kept: _Kept, work: Work, turn: Turn, data: ShardStore, shards: Sequence[int]) -> list[tuple[int, Part]]:
    """Return the messages of a task's shards, summed as far as they go, and its share of the state, by slice."""
    size, total = kept.replica.message_size, work.settings.shards
    while len(kept.messages) < len(shards):
        kept.messages.append(np.zeros(size, np.float32))
    messages = dict(zip(shards, kept.messages, strict=False))
    tables = gradients(kept.replica, data, kept.plan, messages, turn.state)
    ends = borders(size, turn.slices)
    result: list[tuple[int, Part]] = []
    rounding = work.settings.rounding(kept.replica.gradient_size)
    for node, summed in rounding.partial_sums(messages, total).items():
        for target, (low, high) in enumerate(itertools.pairwise(ends)):
            result.append((target, ("node", node, rounding.behind(low).pack(summed[low:high]))))
    # Every task has the whole state; each hands on other slices of it.
    result.extend(_state_parts(kept.replica, turn, [t for t in range(turn.slices) if t % total in shards]))
    if any(tables.values()):
        result.extend((0, ("sparse", node, named)) for node, named in partial_sums(tables, total, add_sparse).items())
    return result


def opened(seed: Seed, plan: SamplePlan, random_seed: int) -> ShardStore:
    """Open the shards' files; raises `Missing` with the shards for which this host has none.

    Anew in every task: a file that a worker kept mapped would keep its memory after the fit.
    """
    pieces: dict[int, list[FilePiece]] = {}
    files: dict[str, ShardFile] = {}
    for shard, homes in seed:
        for home in homes:
            with suppress(DataError):
                pieces[shard] = [(_file(files, path), low, high) for path, low, high in home.parts]
                break
    if len(pieces) < len(seed):
        raise Missing([shard for shard, _ in seed if shard not in pieces])
    tail = plan.make_tail(plan.settings) if plan.make_tail is not None else None
    return ShardStore(pieces, tail, random_seed)


def _file(files: dict[str, ShardFile], path: str) -> ShardFile:
    if path not in files:
        files[path] = ShardFile(Path(path))
    return files[path]
