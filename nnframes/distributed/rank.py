"""One rank of a training job: it meets the others, opens its rows, trains; and again, when one of them was lost.

What a rank has (rows, replica, where the run stands) outlives the groups that it trains in. A group ends for all when
one rank is lost: the others come back to the driver with what they have, and go on with whom Spark starts in its place.
A rank that has finished keeps its state until the driver has the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from nnframes.distributed.balance import Piece, ranges
from nnframes.distributed.cache import remove_fit
from nnframes.distributed.collective import GroupSync, Mesh
from nnframes.distributed.course import CourseTask
from nnframes.distributed.faults import PeerLost, Suspended
from nnframes.distributed.files import ShardFile
from nnframes.distributed.link import Link
from nnframes.distributed.meeting import meet
from nnframes.distributed.recovery import MESSAGES, HostState, level, position_of
from nnframes.distributed.reports import Recent, Reporter
from nnframes.distributed.result import missing_rows, result_rows
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import ReplicaFactory
from nnframes.distributed.shards import MaterialisedShard, visible
from nnframes.distributed.store import ShardStore
from nnframes.distributed.transfer import fetch, shipped
from nnframes.distributed.wire import Secret
from nnframes.train import Course, Listener, Listeners, TrainSettings

__all__ = ["GangTask", "Rank"]


@dataclass(frozen=True)
class GangTask:
    """What all training tasks of a job need to know."""

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
    keep_seconds: float
    folder: str | None
    course: CourseTask = field(default_factory=CourseTask)


class Rank:
    """The part of one task in a fit."""

    def __init__(self, task: GangTask, partition: int, link: Link) -> None:
        self.task, self.partition, self.link = task, partition, link
        self.rank: int | None = None
        self.course: Course | None = None
        self._reason = ""
        # Where the driver hears nothing as it goes, the result brings all.
        self._recent = Recent() if link.can_regroup else Recent(None)
        self._kept = HostState(task.fit, task.folder, task.keep_seconds, self._recent)
        self._found = self._kept.newest()
        self._watch = Listener()
        self._data: ShardStore

    def train(self) -> Iterator[pa.RecordBatch]:
        """Train to the end, through as many groups as it takes; yields the result on rank 0."""
        with ExitStack() as opened:
            opened.callback(self._kept.close)
            while True:
                try:
                    rows = self._group(opened)
                    if rows is not None:
                        yield from rows
                        if self.rank != 0:
                            self.link.hold()
                    break
                except PeerLost as lost:
                    self._reason = str(lost)
                    if not self.link.can_regroup:
                        raise
                except Suspended:
                    if self.course is not None:
                        self._kept.keep(self.course, self.rank or 0)
                    raise
        if self.course is not None and self.course.finished():
            remove_fit(self.task.fit, self.task.folder)

    def _group(self, opened: ExitStack) -> Iterator[pa.RecordBatch] | None:
        """Train until the end or until a peer is lost; returns this rank's rows, None when there is nothing to do."""
        task = self.task
        met = meet(self.link, self._hello(), task.secret, task.ranks, task.deadline)
        if met is None:
            return None
        answer, mesh = met
        self.rank = mesh.rank
        try:
            if answer["unreachable"]:
                return self._without(answer["unreachable"])
            self._prepare(answer, mesh, opened)
            return self._run(answer, mesh)
        finally:
            mesh.close()

    def _hello(self) -> dict[str, Any]:
        hello = {"partition": self.partition, "shards": visible(self.task.shards)}
        if self.course is None:
            return {**hello, "position": position_of(self._found)}
        return {**hello, "position": self.course.position, "rank": self.rank, "reason": self._reason}

    def _without(self, missing: Sequence[int]) -> Iterator[pa.RecordBatch]:
        """Give up a group whose rows are nowhere; the next one, when they are there again, goes on from here."""
        if self.course is not None and self.rank is not None:
            self._kept.keep(self.course, self.rank)
        self.course = None
        return missing_rows(missing) if self.rank == 0 else iter(())

    def _prepare(self, answer: Mapping[str, Any], mesh: Mesh, opened: ExitStack) -> None:
        """Open rows and state, the first time; whoever has them serves those who have not."""
        task = self.task
        own = [] if self.course is not None else ranges(len(task.pieces), task.ranks)[mesh.rank]
        files, fetched = self._files(answer, own, mesh)
        if self.course is not None:
            return
        self._data = self._store(task.plan, own, files, fetched, False)
        held = self._store(task.course.plan, own, files, fetched, True) if task.course.plan is not None else None
        replica = task.factory(shipped(task.payload), task.threads)
        course, watch = opened.enter_context(task.course.opened(task.settings, replica, held, writes=mesh.rank == 0))
        if self._found is not None and position_of(self._found) > course.position:
            course.restore(self._found.state, self._found.train_state, self._found.meta)
            self._recent.recall(self._found.meta.get(MESSAGES, ()))
        # Each host's lowest rank keeps its state.
        hosts = [peer["host"] for peer in answer["peers"]]
        keeps = hosts.index(hosts[mesh.rank]) == mesh.rank
        self._watch = Listeners(watch, self._kept.watch(course, mesh.rank)) if keeps else watch
        self.course = course

    def _files(
        self, answer: Mapping[str, Any], own: Sequence[int], mesh: Mesh
    ) -> tuple[dict[int, ShardFile], dict[Piece, ShardFile]]:
        """Return the files of this host that are needed here or elsewhere, and what came from other hosts."""
        task = self.task
        needed = {piece.source for shard in own for piece in task.pieces[shard]}
        needed &= set(visible(task.shards))
        served = {source for sender, _, source, *_ in answer["transfers"] if sender == mesh.rank}
        files = {source: ShardFile(Path(task.shards[source].path or "")) for source in sorted(needed | served)}
        return files, fetch(mesh, answer["transfers"], files, task.fit, task.folder)

    def _store(
        self,
        plan: SamplePlan,
        own: Sequence[int],
        files: Mapping[int, ShardFile],
        fetched: Mapping[Piece, ShardFile],
        held: bool,
    ) -> ShardStore:
        """Return the own rows: those to train on, or those `held` to validate on."""
        task = self.task
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

    def _run(self, answer: Mapping[str, Any], mesh: Mesh) -> Iterator[pa.RecordBatch]:
        task, course = self.task, self.course
        assert course is not None
        source = level(course, mesh, [tuple(peer["position"]) for peer in answer["peers"]])
        if mesh.rank == source:
            # A rank 0 that was lost may not have said all.
            for message in self._recent.messages():
                self.link.report(message)
        rounding = task.settings.rounding(course.replica.gradient_size)
        sync = GroupSync(ranges(len(task.pieces), task.ranks), mesh.rank, mesh, rounding)
        listener: Listener = Listeners(self._watch, self._recent)
        if mesh.rank == 0:
            reporter = Listeners(self._recent, Reporter(self.link))
            listener = Listeners(self._watch, reporter, task.course.spread(course.replica, reporter))
        course.run(self._data, sync, listener)
        # Nobody opens a file, or waits for a peer, after this; files that are still mapped stay readable.
        sync.barrier()
        if mesh.rank != 0:
            return iter(())
        return result_rows(course, [] if self.link.can_regroup else self._recent.messages())
