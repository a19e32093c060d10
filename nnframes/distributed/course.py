"""Validation and snapshots of a fit on Spark: what the driver is told, what the training tasks get, how a run resumes.

Rows to validate on are materialised like those to train on, beside them, and dealt to the same shards. Rank 0 writes
snapshots; the driver reads the newest one to resume, holds it against the fit, and hands it to all ranks.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from pyspark.sql import DataFrame

from nnframes.distributed.engine import MISSING
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import FitSettings
from nnframes.distributed.shards import Materialised
from nnframes.distributed.store import ShardStore
from nnframes.distributed.summary import DataSummary
from nnframes.distributed.transfer import shipped
from nnframes.errors import ArgumentError, ModelFileError, NNFramesError
from nnframes.io.background import BackgroundWriter, CheckpointSettings
from nnframes.io.checkpoint import Checkpoint, CheckpointStore, checkpoint_bytes, checkpoint_from_bytes
from nnframes.train import Course, Listener, Milestones, Replica, TrainSettings, TrainState, Trigger, Validation
from nnframes.train.events import histogram

__all__ = [
    "CourseTask",
    "FitCourse",
    "HeldOut",
    "Save",
    "Spread",
    "Told",
    "identity_of",
    "named",
    "newest",
    "snapshot_bytes",
    "spread_of",
    "with_held",
]

_LOG = logging.getLogger("nnframes")
IDENTITY = "run"
ENGINE = "engine"


@dataclass(frozen=True)
class HeldOut:
    """The rows to validate on: `check(summary)` may raise before training starts."""

    df: DataFrame
    plan: SamplePlan
    check: Callable[[DataSummary], None] | None = None


@dataclass(frozen=True)
class FitCourse:
    """What a fit does beside iterations; `milestones.checkpoint` is the trigger of `checkpoint`.

    `identity` says what is trained, in JSON; data and settings join it. A snapshot needs about `snapshot_size` bytes.
    `histograms` says when the spread of the parameters is reported.
    """

    milestones: Milestones = field(default_factory=Milestones)
    held: HeldOut | None = None
    checkpoint: CheckpointSettings | None = None
    resume: bool = False
    identity: Mapping[str, Any] = field(default_factory=dict)
    histograms: Trigger | None = None
    snapshot_size: int = 0

    def __post_init__(self) -> None:
        if self.resume and self.checkpoint is None:
            raise ArgumentError("A fit that resumes must have a checkpoint. Received: none. Hint: setCheckpoint(...).")

    def check(self) -> None:
        """Raise `TrainingError` where snapshots cannot be written, before anything is computed."""
        if self.checkpoint is not None:
            self.checkpoint.store().check(self.snapshot_size)


@dataclass(frozen=True)
class CourseTask:
    """The same as the training tasks see it; `plan` is that of the rows to validate on, `pause` ends the group."""

    milestones: Milestones = field(default_factory=Milestones)
    plan: SamplePlan | None = None
    checkpoint: CheckpointSettings | None = None
    identity: Mapping[str, Any] = field(default_factory=dict)
    histograms: Trigger | None = None
    snapshot: bytes | str | None = field(default=None, repr=False)
    pause: Trigger | None = None

    @contextmanager
    def opened(
        self, settings: TrainSettings, replica: Replica, held: ShardStore | None, writes: bool
    ) -> Iterator[tuple[Course, Listener]]:
        """Give the course, at the snapshot if there is one, and what watches over the writing of others.

        Leaving waits for the last snapshot and raises what it failed with, unless there is another error.
        """
        writer = BackgroundWriter(self.checkpoint.store()) if writes and self.checkpoint is not None else None
        save = None if writer is None else Save(writer, self.identity)
        course = Course(settings, self.milestones, replica, held, save, self.pause)
        if self.snapshot is not None:
            self.begin(course, replica)
        if writer is None:
            yield course, Listener()
            return
        try:
            yield course, _Watch(writer)
        except BaseException:
            with suppress(NNFramesError):
                writer.close()
            raise
        writer.close()

    def begin(self, course: Course, replica: Replica) -> None:
        """Bring `course` to where the run begins: at the snapshot, else with the state of `replica`, a new one."""
        if self.snapshot is None:
            course.restore(replica.state(), TrainState(), {})
            return
        found = checkpoint_from_bytes(shipped(self.snapshot), "the snapshot")
        course.restore(found.state, found.train_state, found.meta)

    def write_again(self, course: Course) -> None:
        """Write the snapshot that is due where a run goes on, unless it is there: whoever wrote it may be lost."""
        if self.checkpoint is not None and course.state.iteration not in self.checkpoint.store().iterations():
            course.save_again()

    def spread(self, replica: Replica, listener: Listener) -> Listener:
        """Return what tells `listener` how the parameters are spread, whenever that is due."""
        return Listener() if self.histograms is None else Spread(self.histograms, partial(spread_of, replica), listener)


class Writer(Protocol):
    """What snapshots are handed to."""

    def write(self, state: Mapping[str, np.ndarray], train_state: TrainState, meta: Mapping[str, Any]) -> None:
        """Have a snapshot written; raises `TrainingError` where it cannot be."""


class Save:
    """Hands the snapshots of a course to a writer."""

    def __init__(self, writer: Writer, identity: Mapping[str, Any]) -> None:
        self._writer, self._identity = writer, identity

    def __call__(self, course: Course) -> None:
        arrays, notes = course.snapshot()
        self._writer.write(arrays, course.state, {**notes, IDENTITY: dict(self._identity)})


class _Watch(Listener):
    """Raises what a snapshot failed with soon, not at the next one."""

    def __init__(self, writer: BackgroundWriter) -> None:
        self._writer = writer

    def on_iteration(self, state: TrainState) -> None:
        """Look."""
        self._writer.check()


class Spread(Listener):
    """Tells `listener` how the parameters are spread, which `look` finds out."""

    def __init__(self, trigger: Trigger, look: Callable[[], Mapping[str, bytes]], listener: Listener) -> None:
        self._trigger, self._look, self._listener = trigger, look, listener

    def on_iteration(self, state: TrainState) -> None:
        """Look, if it is time."""
        if self._trigger(state):
            self._listener.on_histograms(state, self._look())


def spread_of(replica: Replica) -> dict[str, bytes]:
    """Return the histogram of each parameter."""
    return {path: histogram(array) for path, array in replica.weights().items()}


class Told:
    """Hands a fit's progress to a listener, each thing once: a group that starts again repeats some.

    `state` is the last one that was heard of, also when the listener failed over it.
    """

    def __init__(self, listener: Listener, state: TrainState) -> None:
        self.state = state
        self._listener = listener
        self._last = dict.fromkeys(("iteration", "validation", "histograms"), state.iteration)

    def hear(self, message: Mapping[str, Any]) -> None:
        """Hand on what rank 0 reported."""
        kind = next((name for name in ("validation", "histograms") if name in message), "iteration")
        for state in map(TrainState.from_json, message["states"]):
            if state.iteration <= self._last[kind]:
                continue
            self._last[kind], self.state = state.iteration, state
            if kind == "validation":
                self._listener.on_validation(state, Validation.from_json(message["validation"]))
            elif kind == "histograms":
                spread = {path: bytes.fromhex(data) for path, data in message["histograms"].items()}
                self._listener.on_histograms(state, spread)
            else:
                self._listener.on_iteration(state)
                if state.epoch_finished:
                    self._listener.on_epoch(state)


def identity_of(course: FitCourse, plan: SamplePlan, settings: FitSettings, data: Materialised) -> dict[str, Any]:
    """Return all that a run's bits follow from and that a snapshot must share with a fit that resumes from it."""
    engine = data.engines[0][1] if data.engines else {}
    return {
        **course.identity,
        "preprocessing": hashlib.sha256(plan.settings.encode()).hexdigest()[:16],
        "seed": settings.seed,
        "batch size": settings.batch_size,
        "shards": settings.shards,
        "threads per shard": settings.threads_per_shard,
        "gradient compression": settings.gradient_compression,
        "rows": data.summary.rows,
        "data": data.digest,
        ENGINE: ", ".join(f"{name} {value}" for name, value in sorted(engine.items()) if name != MISSING),
    }


def newest(course: FitCourse, identity: Mapping[str, Any]) -> Checkpoint | None:
    """Return the snapshot to resume from; None to start anew: not asked for, or there is none yet.

    Raises `ModelFileError` naming what differs when it is of another run.
    """
    if course.checkpoint is None:
        return None
    store: CheckpointStore = course.checkpoint.store()
    latest = store.latest()
    if not course.resume:
        if latest is not None and course.checkpoint.is_overwrite:
            _LOG.warning(
                "%s holds a snapshot of an earlier fit (iteration %d), which the first one of this fit replaces. "
                "To keep it: setResume(True), another path, or isOverWrite=False.",
                store.path,
                latest,
            )
        return None
    if latest is None:
        _LOG.warning("No complete snapshot in %s to resume from: training starts anew.", store.path)
        return None
    found = store.read()
    wrote = found.meta.get(IDENTITY)
    if not isinstance(wrote, dict):
        raise ModelFileError(f"{found.path} must be a snapshot of a fit. Received: one of another program.")
    differing = [name for name in {**wrote, **identity} if wrote.get(name) != identity.get(name)]
    if differing == [ENGINE]:
        _LOG.warning("Resuming on another engine: %s was %s. Bits may differ.", identity[ENGINE], wrote.get(ENGINE))
    elif differing:
        names = [name for name in differing if name != ENGINE]
        raise ModelFileError(
            f"A fit can resume only from a snapshot of itself. Received: {found.path} with "
            f"{', '.join(f'{name} {wrote.get(name)}' for name in names)}; this fit has "
            f"{', '.join(f'{name} {identity.get(name)}' for name in names)}. Hint: fit the same network on the same "
            "data with the same settings, or choose another path, or setResume(False)."
        )
    _LOG.info("Resuming from %s: iteration %d.", found.path, found.train_state.iteration)
    return found


def snapshot_bytes(found: Checkpoint | None) -> bytes | None:
    """Return a snapshot as one file for the tasks."""
    return None if found is None else checkpoint_bytes(found.state, found.train_state, found.meta)


@contextmanager
def named(what: str) -> Iterator[None]:
    """Let errors of the project begin with what they are about."""
    try:
        yield
    except NNFramesError as error:
        text = str(error)
        if text.startswith(what):
            raise
        renamed = type(error)(f"{what}: {text}")
        raise renamed from error


def with_held(data: Materialised, held: Materialised | None) -> Materialised:
    """Return the data with the rows to validate on beside them."""
    return data if held is None else replace(data, held=held.shards)
