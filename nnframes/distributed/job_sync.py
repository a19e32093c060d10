"""The driver of job mode as the training loop sees it: a worker without shards, whose replica is wherever tasks run.

So `nnframes.train.Course` runs on the driver as it does in every rank of a group, and what it asks of sync and replica
becomes a Spark job: an exchange is an iteration, a merge a validation, weights come from a task. Of the state the
driver holds the blocks of the last cut, and the weights of the best validation where early stopping asks for them.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, TypeVar

import numpy as np
from pyspark import Broadcast

from kernels.sparse import RowSparse
from nnframes.distributed.homes import Homes
from nnframes.distributed.job_answers import look, measure, validate, weigh, write
from nnframes.distributed.job_graph import ANYWHERE, Graph
from nnframes.distributed.job_tasks import Question, Turn, Work
from nnframes.distributed.jobs import free_slots, is_dynamic, is_lasting, translated
from nnframes.distributed.samples import SamplePlan
from nnframes.distributed.settings import FitSettings
from nnframes.errors import SyncError, TrainingError
from nnframes.io.background import CheckpointSettings
from nnframes.optim import BLOCK
from nnframes.train import MiniBatch, Replica, TrainState, ValidationMethod, ValidationSettings
from nnframes.train.loop import advanced
from nnframes.train.share import Share
from nnframes.train.validation import merge

__all__ = ["CUT", "JobSync", "JobValidation", "Places", "Stopped", "capital"]

_LOG = logging.getLogger("nnframes")
T = TypeVar("T")

CUT = 32
"""Iterations after which the lineage is cut: cutting costs about an iteration, each link a little in every job."""

RETRIES = 3
WRITES = 8
SLICE_BYTES = 512 << 10
"""Bytes of messages per slice below which another task costs more than it saves."""

MOST_SLICE_BYTES = 64 << 20


class Stopped(Exception):
    """The fit was given up by the thread that waits for it."""


@dataclass(frozen=True)
class JobValidation:
    """How to validate, how rows become samples for it, and where they lie."""

    settings: ValidationSettings
    plan: SamplePlan
    homes: Homes


Places = tuple[Homes, JobValidation | None]
"""Where the rows to train on lie, and those to validate on."""


class JobSync:
    """`Sync` and `Replica` at once, from `start` on, for a thread whose Spark jobs can be cancelled together.

    Between two such threads `move` may be called from another.

    `reached` is where the lineage stands, `doing` what is under way; `stopped` ends it at the next job.
    """

    shards: Sequence[int] = ()
    is_complete = True
    message_size = gradient_size = 0

    def __init__(
        self,
        graph: Graph,
        places: Places,
        work: Work,
        settings: FitSettings,
        start: TrainState,
        checkpoint: CheckpointSettings | None = None,
    ) -> None:
        self.reached, self.stopped, self.doing, self.tasks = start, False, "the start", 0
        self._graph, self._work, self._settings, self._checkpoint = graph, work, settings, checkpoint
        self._spark, self._plan = places[0].spark, work.settings.plan()
        self._attempts, self._cut_at = 0, start.iteration
        self._run: int | None = None
        self.move(places)

    def move(self, places: Places) -> None:
        """Take the same rows from other files from now on."""
        self._homes, self._validation = places
        self._deal()

    def cut(self) -> None:
        """Cut the lineage: nothing is computed again from what was read so far."""
        self._again("cutting the lineage", lambda: self._graph.cut(self._slices()))
        self._cut_at = self.reached.iteration

    def close(self) -> None:
        """Give up all that executors hold."""
        self._graph.close()
        for sent in (self._work.payload, self._work.snapshot):
            if sent is not None:
                _destroy(sent)

    # ---------------------------------------------------------------- sync

    def begin(self, messages: dict[int, np.ndarray], gradients: int) -> None:
        """Exchange nothing."""

    def step(self, replica: Replica, messages: dict[int, np.ndarray], sparse: dict[int, dict[str, RowSparse]]) -> float:
        """Run one iteration and return its mean loss; sums stay with tasks, which update when they must."""
        size, _ = self._sizes
        if self.reached.iteration - self._cut_at >= CUT:
            self.cut()
            self._deal()
        what = f"iteration {self.reached.iteration + 1}"
        parts, losses = self._complete(what, lambda: self._attempt(size), self._homes)
        self._graph.accept(parts)
        if not math.isfinite(losses[-1]):
            self._look_closer(losses[-1])
        self.reached = advanced(self.reached, self._plan, losses[-1])
        return losses[-1]

    def complete(self, replica: Replica) -> None:
        """Do nothing: a task that writes has all of the state."""

    def _look_closer(self, loss: float) -> None:
        """Have a task make the update of an iteration whose loss is not finite: it raises, and names the layers."""
        before = self.reached
        last = before.step + 1 == self._plan.iterations_per_epoch
        self.reached = before.after(loss, self._plan.batch_rows(before.step), last)
        try:
            self.weights()
        finally:
            self.reached = before

    def merge(self, partials: dict[int, np.ndarray]) -> np.ndarray:
        """Validate, each shard in one of the tasks; returns the sum of the partial results along the tree."""
        assert self._validation is not None
        settings, plan, homes = self._validation.settings, self._validation.plan, self._validation.homes
        what = f"the validation after iteration {self.reached.iteration}"
        found = self._ask(what, partial(validate, settings, plan), homes)
        return merge({shard: one for own in found for shard, one in own.items()}, self._settings.shards)

    # ---------------------------------------------------------------- replica

    def gradient(
        self,
        shard: int,
        batch: MiniBatch,
        iteration: int,
        out: np.ndarray,
        reached: Callable[[int], None] | None = None,
    ) -> dict[str, RowSparse]:
        """Never called: there are no shards here."""
        raise AssertionError("unreachable: the driver has no shards")

    def mean_loss(self, message: np.ndarray) -> float:
        """Never called: there are no sums here."""
        raise AssertionError("unreachable: the driver has no sums")

    def update(self, message: np.ndarray, sparse: dict[str, RowSparse], share: Share | None = None) -> float:
        """Never called: tasks make the updates."""
        raise AssertionError("unreachable: the driver has no sums")

    def vectors(self) -> list[np.ndarray] | None:
        """Return None: the driver has no weights."""
        return None

    def evaluator(self, methods: Sequence[ValidationMethod], batch_size: int) -> Callable[[MiniBatch], np.ndarray]:
        """Return what is never called: there are no rows here."""

        def evaluate(batch: MiniBatch) -> np.ndarray:
            raise AssertionError("unreachable: the driver has no shards")

        return evaluate

    def weights(self) -> dict[str, np.ndarray]:
        """Fetch the weights from a task."""
        (found,) = self._ask("handing back the weights", weigh)
        return found

    def state(self, into: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        """Return what the driver has of the state: nothing. The task that writes a snapshot adds its own."""
        return {}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        """Let tasks begin with this state; before any job."""
        snapshot = self._graph.context.broadcast(dict(state))
        self._work = replace(self._work, start=self.reached.iteration, snapshot=snapshot)

    # ---------------------------------------------------------------- beside the iterations

    def histograms(self) -> dict[str, bytes]:
        """Let a task say how the parameters are spread."""
        (found,) = self._ask(f"the histograms after iteration {self.reached.iteration}", look)
        return found

    def write(self, state: Mapping[str, np.ndarray], train_state: TrainState, meta: Mapping[str, Any]) -> None:
        """Let a task write a snapshot of its replica's state and these arrays; raises as `CheckpointStore.write`."""
        assert self._checkpoint is not None
        run = self._checkpoint.store().next_run() if self._run is None else self._run
        more = self._graph.context.broadcast(dict(state))
        try:
            question = partial(write, self._checkpoint, run, more, train_state, meta)
            (self._run,) = self._ask(f"the snapshot of iteration {train_state.iteration}", question)
        finally:
            _destroy(more)

    # ---------------------------------------------------------------- jobs

    def _attempt(self, size: int) -> tuple[tuple[Any, list[float]], dict[int, dict]]:
        self._attempts += 1
        turn = Turn(self.reached, self._attempts, size, self._slices())
        parts, notes = self._graph.iterate(self._work, turn)
        if len({note["slice"] for note in notes}) != turn.slices:
            raise SyncError(f"Each of {turn.slices} tasks must say what came of it. Received: {len(notes)}.")
        remarks = {task: remark for note in notes for task, remark in note["remarks"].items()}
        return (parts, [note["loss"] for note in notes if "loss" in note]), remarks

    def _ask(self, what: str, question: Question, homes: Homes | None = None) -> list[Any]:
        """Return the answers of one task, or of tasks that have all shards of `homes`."""

        def attempt() -> tuple[list[Any], dict[int, dict]]:
            seeds = ANYWHERE if homes is None else homes.seeds(self.tasks)
            answers = self._graph.ask(self._work, self.reached, question, seeds)
            remarks = {task: remark for task, _, remark in answers if remark is not None}
            return [answer for _, answer, _ in answers], remarks

        return self._complete(what, attempt, homes)

    def _complete(self, what: str, attempt: Callable[[], tuple[T, dict[int, dict]]], homes: Homes | None) -> T:
        """Run a job until no task lacks a shard: what is missing is written again."""
        missing: list[int] = []
        for _ in range(WRITES):
            value, remarks = self._again(what, attempt)
            if not remarks:
                return value
            self._graph.drop()
            self._raise(remarks, what)
            assert homes is not None
            missing = sorted({shard for remark in remarks.values() for shard in remark["missing"]})
            _LOG.warning(
                "Shards %s are missing on %s: writing them again.",
                missing,
                ", ".join(sorted({remark["host"] for remark in remarks.values()})),
            )
            homes.write(missing)
            self._deal()
        raise TrainingError(
            f"Every shard must lie where its task runs. Received: shards {missing} missing after they were written "
            f"{WRITES} times. Hint: set cache_folder to a folder that all hosts share."
        )

    def _again(self, what: str, action: Callable[[], T]) -> T:
        """Run Spark jobs; again when they failed for what may have passed: a worker that died, an executor lost."""
        attempt, self.doing = 0, what
        while True:
            attempt += 1
            if self.stopped:
                raise Stopped
            try:
                return action()
            except Exception as error:
                if self.stopped:
                    raise Stopped from error
                self._graph.drop()
                if is_lasting(error) or "cancelled" in str(error):
                    raise translated(error, "Training") from error
                if attempt > RETRIES:
                    raise SyncError(
                        f"Training failed: {what} was tried {attempt} times, and each time a worker ended without a "
                        f"word or its executor was lost. {translated(error, 'The last job')} Hint: it was killed, "
                        "often for memory: raise spark.executor.memoryOverhead; its executor's log says more."
                    ) from error
                _LOG.warning("%s failed, trying again (%d of %d).", capital(what), attempt, RETRIES)
                self._deal()

    def _raise(self, remarks: dict[int, dict], what: str) -> None:
        """Tell the first error of a task's user code."""
        for task, remark in sorted(remarks.items()):
            if "error" in remark:
                cause = RuntimeError(remark["trace"])
                if remark["error"] == TrainingError.__name__:
                    raise TrainingError(remark["text"]) from cause
                raise TrainingError(
                    f"Training failed on task {task} of {self.tasks} on {remark['host']} in {what}: "
                    f"{remark['error']}: {remark['text']}"
                ) from cause

    def _deal(self) -> None:
        """Deal the shards to as many tasks as run at once now."""
        limit = min(self._settings.shards, self._settings.max_tasks or self._settings.shards)
        self.tasks = limit if is_dynamic(self._spark) else max(1, min(limit, free_slots(self._spark)))
        self._graph.seed(self._homes.seeds(self.tasks))

    @cached_property
    def _sizes(self) -> tuple[int, int]:
        (found,) = self._ask("the start", measure)
        return found

    def _slices(self) -> int:
        size, total = self._sizes
        wanted = min(self.tasks, -(-4 * size // SLICE_BYTES), size // BLOCK)
        return max(1, wanted, -(-max(4 * size, total) // MOST_SLICE_BYTES))


def _destroy(sent: Broadcast) -> None:
    """Remove it from executors and disk now: Spark would keep its file as long as the application runs."""
    with suppress(Exception):  # a context that is gone holds none
        sent.destroy()


def capital(what: str) -> str:
    """Return `what` as the beginning of a sentence."""
    return what[:1].upper() + what[1:]
