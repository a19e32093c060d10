"""What a fit on Spark is told, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from nnframes.distributed.cache import CacheLevel
from nnframes.distributed.summary import DataSummary
from nnframes.errors import ArgumentError
from nnframes.train import Replica, TrainSettings, TrainState, Trigger, Validation
from nnframes.train.compression import COMPRESSIONS

MODES = ("auto", "group", "job")

__all__ = ["MODES", "FitSettings", "ReplicaFactory", "ReplicaSource", "TrainResult"]

ReplicaFactory = Callable[[bytes, int], Replica]


@dataclass(frozen=True)
class FitSettings:
    """How to train: the first six decide the result, the others only where and how patiently it is computed.

    Gradients travel as `gradient_compression` says: "none" (float32), or half as many bytes in "bf16" or "fp16".
    At most `max_tasks` tasks train (default: as many as shards and free slots). `deadline` is the seconds without a
    byte after which a peer is given up, `arrival_timeout` the seconds after the last rank came within which the next
    must come. Each host keeps a copy of the training's state every `keep_seconds`, or whenever copies have taken less
    than a hundredth of the time: what may be repeated where one is needed. Samples are kept as `cache_level` says
    (`nnframes.distributed.cache`), under `cache_folder` (default: the memory file system if the level allows it
    and there is room, else the temporary folder). `sync_mode` "group" runs one gang of tasks, "job" a short job per
    iteration, "auto" a gang where executors stay. Raises `ArgumentError` for numbers out of range and unknown words.
    """

    batch_size: int
    end_when: Trigger
    shards: int
    seed: int = 0
    threads_per_shard: int = 1
    gradient_compression: str = "none"
    max_tasks: int | None = None
    deadline: float = 60.0
    arrival_timeout: float = 30.0
    keep_seconds: float = 5.0
    cache_folder: str | None = None
    sync_mode: str = "auto"
    cache_level: CacheLevel = field(default_factory=CacheLevel)

    def __post_init__(self) -> None:
        for name in ("batch_size", "shards", "threads_per_shard", "max_tasks"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ArgumentError(f"FitSettings {name} must be >= 1. Received: {value}.")
        for name in ("deadline", "arrival_timeout", "keep_seconds"):
            if getattr(self, name) <= 0:
                raise ArgumentError(f"FitSettings {name} must be > 0 s. Received: {getattr(self, name)}.")
        for name, words in (("sync_mode", MODES), ("gradient_compression", COMPRESSIONS)):
            value = getattr(self, name)
            if value not in words:
                raise ArgumentError(f"FitSettings {name} must be one of {', '.join(words)}. Received: {value!r}.")
        if not isinstance(self.end_when, Trigger):
            raise ArgumentError(f"FitSettings end_when must be a Trigger. Received: {self.end_when!r}.")

    def train(self, rows: int) -> TrainSettings:
        """Return what the training loop is told."""
        return TrainSettings(rows, self.batch_size, self.end_when, self.shards, self.seed, self.gradient_compression)


@dataclass(frozen=True)
class ReplicaSource:
    """Network, criterion and optim method for the tasks: `factory(payload, threads)`, a module-level function."""

    factory: ReplicaFactory
    payload: bytes = field(repr=False)


@dataclass(frozen=True, eq=False)
class TrainResult:
    """The end of a fit: weights and counters, what the data was, how many tasks trained, in which mode and why.

    `history` are the validations, oldest first, those before a resume included.
    """

    weights: dict[str, np.ndarray]
    state: TrainState
    data: DataSummary
    tasks: int
    history: tuple[Validation, ...] = ()
    mode: str = "group"
    reason: str = ""
    hosts: frozenset[str] = frozenset()
    """Where ranks of the last group were: these have removed their files."""
