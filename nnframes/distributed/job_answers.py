"""What the jobs beside the iterations ask of a replica: sizes, weights, a validation, a snapshot, histograms.

Each is a `Question` of `nnframes.distributed.job_tasks` once its first arguments are bound.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pyspark import Broadcast, TaskContext

from nnframes.distributed.course import spread_of
from nnframes.distributed.job_tasks import Seed, Work, opened
from nnframes.distributed.samples import SamplePlan
from nnframes.io.background import CheckpointSettings
from nnframes.train import Replica, TrainState, ValidationSettings
from nnframes.train.evaluation import shard_partials

__all__ = ["look", "measure", "validate", "weigh", "write"]


def measure(work: Work, replica: Replica, seed: Seed) -> tuple[int, int]:
    """Return the numbers in a message, and the bytes of the state."""
    return replica.message_size, sum(array.nbytes for array in replica.state().values())


def weigh(work: Work, replica: Replica, seed: Seed) -> dict[str, np.ndarray]:
    """Return the weights."""
    return replica.weights()


def look(work: Work, replica: Replica, seed: Seed) -> dict[str, bytes]:
    """Return how the parameters are spread."""
    return spread_of(replica)


def validate(
    settings: ValidationSettings, plan: SamplePlan, work: Work, replica: Replica, seed: Seed
) -> dict[int, np.ndarray]:
    """Return the partial results of each of the task's shards."""
    held = opened(seed, plan, work.settings.seed)
    shards = work.settings.shards
    evaluate = replica.evaluator(settings.methods, settings.share(shards))
    return shard_partials(evaluate, settings, held, [shard for shard, _ in seed], shards)


def write(
    checkpoint: CheckpointSettings,
    run: int,
    more: Broadcast,
    state: TrainState,
    meta: Mapping[str, Any],
    work: Work,
    replica: Replica,
    seed: Seed,
) -> int:
    """Write the replica's state and the arrays in `more` as a snapshot; returns the number of the run that it has.

    Attempts of one task may run side by side: each writes under a number of its own.
    """
    context = TaskContext.get()
    store = checkpoint.store(run + (0 if context is None else context.attemptNumber()))
    store.write({**replica.state(), **more.value}, state, meta)
    return run if store.run is None else store.run
