"""The training loop: gradients per shard, one exchange, one update, the same on every worker."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from kernels.sparse import RowSparse
from nnframes.errors import DataError, TrainingError
from nnframes.train.ahead import batches_ahead
from nnframes.train.data import ShardData
from nnframes.train.listeners import Listener
from nnframes.train.plan import SamplingPlan
from nnframes.train.protocols import Replica
from nnframes.train.settings import TrainSettings
from nnframes.train.state import TrainState
from nnframes.train.sync import Sync

__all__ = ["advanced", "diverged", "gradients", "train"]


def train(
    replica: Replica,
    data: ShardData,
    sync: Sync,
    settings: TrainSettings,
    state: TrainState | None = None,
    until: Callable[[TrainState], bool] | None = None,
    listener: Listener | None = None,
) -> TrainState:
    """Train `replica` from `state` (default: the start) on and return the state reached.

    `settings.end_when` is asked before every iteration, `until` after every iteration: it ends a group of iterations
    after which the caller validates, writes a checkpoint and calls again with the returned state. Raises `DataError`
    when a shard of `data` has other rows than the plan says, `TrainingError` naming the iteration when loss, gradient
    or batch statistics are not finite, and what `replica`, `data` and `sync` raise.
    """
    state, listener, plan = state or TrainState(), listener or Listener(), settings.plan()
    _check_rows(data, sync, plan)
    messages = {shard: np.zeros(replica.message_size, np.float32) for shard in sync.shards}
    listener.on_start(settings, state)
    try:
        with batches_ahead(data, plan, list(messages), state) as batches:
            while not settings.end_when(state):
                state = _iterate(replica, batches, sync, plan, messages, state)
                listener.on_iteration(state)
                if state.epoch_finished:
                    listener.on_epoch(state)
                if until is not None and until(state):
                    break
    finally:
        listener.on_end(state)
    return state


def _iterate(
    replica: Replica,
    data: ShardData,
    sync: Sync,
    plan: SamplingPlan,
    messages: dict[int, np.ndarray],
    state: TrainState,
) -> TrainState:
    sparse = gradients(replica, data, plan, messages, state, sync.begin(messages, replica.gradient_size))
    try:
        # A copy of the mapping, because a sync may use it as working memory.
        loss = sync.step(replica, dict(messages), sparse)
    except FloatingPointError as error:
        raise diverged(str(error), state) from error
    return advanced(state, plan, loss)


def gradients(
    replica: Replica,
    data: ShardData,
    plan: SamplingPlan,
    messages: dict[int, np.ndarray],
    state: TrainState,
    reached: Callable[[int], None] | None = None,
) -> dict[int, dict[str, RowSparse]]:
    """Fill the message of each shard for the iteration after `state`; return the tables' gradients per shard.

    `reached(start)` is told that all of them are complete from `start` on.
    """
    sparse, last = {}, next(reversed(messages), None)
    for shard, message in messages.items():
        indices = plan.indices(state.epoch, state.step, shard)
        if len(indices):
            batch = data.batch(shard, state.epoch, indices)
            told = reached if shard == last else None
            sparse[shard] = replica.gradient(shard, batch, state.iteration, message, told)
        else:
            message.fill(0.0)
            sparse[shard] = {}
    return sparse


def advanced(state: TrainState, plan: SamplingPlan, loss: float) -> TrainState:
    """Return the state after one more iteration of this mean loss; `TrainingError` when it is not finite."""
    if not math.isfinite(loss):
        raise diverged(f"The loss must stay finite. Received: {loss}", state)
    last = state.step + 1 == plan.iterations_per_epoch
    return state.after(loss, plan.batch_rows(state.step), last)


def diverged(what: str, state: TrainState) -> TrainingError:
    """Return the error that says `what` is not finite in the iteration after `state`."""
    return TrainingError(
        f"{what} at iteration {state.iteration + 1} (epoch {state.epoch + 1}). Hint: lower the learning rate, clip "
        "gradients, or look for extreme values in the features; gradients compressed as fp16 end at "
        "65504, as bf16 they do not."
    )


def _check_rows(data: ShardData, sync: Sync, plan: SamplingPlan) -> None:
    for shard in sync.shards:
        if data.rows(shard) != plan.shard_rows(shard):
            raise DataError(
                f"Shard {shard} of {plan.shards} must hold {plan.shard_rows(shard)} of {plan.rows} rows. "
                f"Received: {data.rows(shard)}."
            )
