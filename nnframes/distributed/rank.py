"""One rank of a training job: it meets the others, opens its rows, trains; and again, when one of them was lost.

What a rank has (rows, replica, where the run stands) outlives the groups that it trains in. A group ends for all when
one rank is lost: the others come back to the driver with what they have, and go on with whom Spark starts in its place.
Where a slice of the state was lost, they go back to the last state that was whole.
A rank that has finished keeps its state until the driver has the result.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from nnframes.distributed.balance import Piece, ranges
from nnframes.distributed.cache import remove_fit
from nnframes.distributed.collective import GroupSync
from nnframes.distributed.course import CourseTask
from nnframes.distributed.faults import PeerLost, Suspended
from nnframes.distributed.files import ShardFile
from nnframes.distributed.link import Link
from nnframes.distributed.meeting import meet
from nnframes.distributed.mesh import Mesh
from nnframes.distributed.recovery import MESSAGES, HostState, level, position_of
from nnframes.distributed.reports import Recent, Reporter
from nnframes.distributed.result import missing_rows, result_rows
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import ReplicaFactory
from nnframes.distributed.shards import MaterialisedShard, visible
from nnframes.distributed.store import ShardStore
from nnframes.distributed.transfer import fetch, shipped
from nnframes.distributed.wire import Secret
from nnframes.io.checkpoint import Checkpoint
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


SLOWEST = 5 << 20
"""Bytes a second at which rows and state may travel when ranks meet, while the others wait."""


class Rank:
    """The part of one task in a fit; `found` is the state that its host has kept of it, if any."""

    def __init__(self, task: GangTask, partition: int, link: Link, kept: HostState, found: Checkpoint | None) -> None:
        self.task, self.partition, self.link = task, partition, link
        self.rank = -1
        self.course: Course | None = None
        self._reason, self._is_new = "", True
        self._kept, self._found = kept, found
        if not link.can_regroup:
            # The driver hears nothing as it goes: the result brings all.
            kept.recent = Recent(None)
        self._watch = Listener()
        self._meeting: Mapping[str, Any] = {}
        self._data: ShardStore

    def train(self) -> Iterator[pa.RecordBatch]:
        """Train to the end, through as many groups as it takes; yields the result on rank 0."""
        with ExitStack() as opened:
            opened.callback(self._kept.close)
            while True:
                try:
                    yield from self._group(opened)
                    break
                except PeerLost as lost:
                    self._reason = str(lost)
                    if not self.link.can_regroup:
                        raise
                except Suspended:
                    self._keep()
                    raise
        if not self._meeting.get("unreachable"):
            remove_fit(self.task.fit, self.task.folder)

    def _group(self, opened: ExitStack) -> Iterator[pa.RecordBatch]:
        """Train until the end or until a peer is lost, and see the result delivered."""
        rows = self._trained(opened)
        if rows is None:
            return
        if self.rank == 0:
            self.link.delivering()
            yield from rows
        else:
            self.link.hold()

    def _trained(self, opened: ExitStack) -> Iterator[pa.RecordBatch] | None:
        """Train with the others; returns what rank 0 delivers, None when all is done already."""
        task = self.task
        if self.course is not None and not self.course.is_complete:
            self._go_back(self.course)
        met = meet(self.link, self._hello(), task.secret, task.ranks, task.deadline)
        if met is None:
            return None
        answer, mesh = met
        self.rank, self._meeting = mesh.rank, answer
        try:
            if answer["unreachable"]:
                self._keep()
                return missing_rows(answer["unreachable"])
            mesh.deadline = task.deadline + self._moved(answer) / SLOWEST
            self._prepare(answer, mesh, opened)
            return self._run(answer, mesh)
        finally:
            mesh.close()

    def _hello(self) -> dict[str, Any]:
        hello = {"partition": self.partition, "shards": visible(self.task.shards)}
        if self.course is None:
            return {**hello, "position": position_of(self._found)}
        return {**hello, "position": self.course.position, "rank": self.rank, "reason": self._reason}

    def _keep(self) -> None:
        """Keep the state for a group after this one."""
        if self.course is not None:
            self._kept.keep(self.course, self.rank, self._meeting["peers"][0]["token"])

    def _moved(self, answer: Mapping[str, Any]) -> float:
        """About how many bytes of rows travel before this group trains, the same on all ranks."""
        sizes = {shard.shard: shard.bytes / max(1, shard.rows) for shard in self.task.shards}
        return sum((high - low) * sizes[source] for _, _, source, low, high in answer["transfers"])

    def _size(self) -> float:
        """About how many bytes a state has."""
        assert self.course is not None
        return 3.0 * sum(array.nbytes for array in self.course.replica.weights().values())

    def _prepare(self, answer: Mapping[str, Any], mesh: Mesh, opened: ExitStack) -> None:
        """Open rows and state, the first time; whoever has them serves those who have not."""
        task = self.task
        own = [] if self.course is not None else ranges(len(task.pieces), task.ranks)[mesh.rank]
        files, fetched = self._files(answer, own, mesh)
        if self.course is None:
            self._data = self._store(task.plan, own, files, fetched, False)
            held = self._store(task.course.plan, own, files, fetched, True) if task.course.plan is not None else None
            self.course = self._opened(held, opened)
        # Each host's lowest rank keeps its state.
        hosts = [peer["host"] for peer in answer["peers"]]
        if hosts.index(hosts[mesh.rank]) == mesh.rank:
            self._kept.watch(self.course, mesh.rank)

    def _opened(self, held: ShardStore | None, opened: ExitStack) -> Course:
        """Make the course, at the state that is furthest of those known here."""
        task = self.task
        replica = task.factory(shipped(task.payload), task.threads)
        opening = task.course.opened(task.settings, replica, held, writes=self.rank == 0)
        course, self._watch = opened.enter_context(opening)
        if self._found is not None and position_of(self._found) > course.position:
            self._take(self._found, course)
        self._found = None
        return course

    def _take(self, found: Checkpoint, course: Course) -> None:
        """Go on from a state that a host has kept."""
        arrays = dict(found.state)
        self._kept.recent.recall(arrays.pop(MESSAGES))
        course.restore(arrays, found.train_state, found.meta)

    def _go_back(self, course: Course) -> None:
        """Go on from the newest state that this host has whole: a slice of the own one was lost with another rank."""
        found = self._kept.back()
        if found is not None:
            self._take(found, course)
        else:
            self.task.course.begin(course, self.task.factory(shipped(self.task.payload), self.task.threads))

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
        return ShardStore(pieces, tail, task.settings.seed, task.threads)

    def _run(self, answer: Mapping[str, Any], mesh: Mesh) -> Iterator[pa.RecordBatch]:
        task, course, recent = self.task, self.course, self._kept.recent
        assert course is not None
        sync = GroupSync(
            ranges(len(task.pieces), task.ranks),
            mesh.rank,
            mesh,
            task.settings.rounding(course.replica.gradient_size),
            self._kept,
        )
        positions = [tuple(peer["position"]) for peer in answer["peers"]]
        mesh.deadline += self._size() * len(positions) / SLOWEST
        level(course, mesh, positions, recent)
        # Whoever has nothing to fetch waits here, and not in an exchange whose deadline is short.
        sync.barrier("the rows and state that others fetch")
        mesh.deadline = task.deadline
        told: list[Listener] = [recent]
        if mesh.rank == 0:
            # A rank 0 that was lost may not have said all, nor written all.
            for message in recent.messages():
                self.link.report(message)
            if self._is_new and course.state.iteration:
                task.course.write_again(course)
            reporter = Listeners(recent, Reporter(self.link))
            told = [reporter, task.course.spread(course.replica, reporter)]
        # The copy of a state goes with what was said until then.
        listener = Listeners(self._watch, *told, self._kept)
        self._is_new = False
        with closing(sync):
            course.run(self._data, sync, listener)
        # Nobody opens a file, or waits for a peer, after this; files that are still mapped stay readable.
        sync.barrier()
        return result_rows(course, [] if self.link.can_regroup else recent.messages(), hosts_of(answer))


def hosts_of(answer: Mapping[str, Any]) -> list[str]:
    """Return the hosts of a group's ranks."""
    return sorted({peer["host"] for peer in answer["peers"]})
