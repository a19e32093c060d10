"""What defines a training run beside network and data; equal on all workers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from featurelib.config import from_config, to_config
from nnframes.errors import ArgumentError
from nnframes.optim.checks import whole
from nnframes.train.compression import Rounding
from nnframes.train.plan import SamplingPlan
from nnframes.train.triggers import TRIGGERS, Trigger

__all__ = ["TrainSettings"]


@dataclass(frozen=True)
class TrainSettings:
    """Settings of a run: `rows` of the whole data set, `batch_size` rows an iteration, the end, shards, seed.

    `rows` counts the rows of all shards, those of other workers included; `gradient_compression` is "none", "bf16" or
    "fp16". Raises `ArgumentError` for sizes < 1, an unknown compression and an `end_when` that is no trigger.

    >>> from nnframes.train.triggers import MaxEpoch
    >>> settings = TrainSettings(rows=100, batch_size=32, end_when=MaxEpoch(5), shards=2)
    >>> settings.plan().iterations_per_epoch, TrainSettings.from_json(settings.to_json()).end_when.n
    (4, 5)
    """

    rows: int
    batch_size: int
    end_when: Trigger
    shards: int = 1
    seed: int = 0
    gradient_compression: str = "none"

    def __post_init__(self) -> None:
        for name in ("rows", "batch_size", "shards"):
            whole(self, name, getattr(self, name), 1)
        if not isinstance(self.end_when, Trigger):
            raise ArgumentError(f"TrainSettings end_when must be a Trigger. Received: {self.end_when!r}.")
        self.rounding(0)

    def plan(self) -> SamplingPlan:
        """Return the sampling plan of the run."""
        return SamplingPlan(self.rows, self.batch_size, self.shards, self.seed)

    def rounding(self, gradients: int) -> Rounding:
        """Return how messages with this many gradients in front are rounded."""
        return Rounding(self.gradient_compression, gradients)

    def to_json(self) -> dict:
        """Return the settings as JSON values."""
        numbers = {name: int(getattr(self, name)) for name in ("rows", "batch_size", "shards", "seed")}
        return {**numbers, "gradient_compression": self.gradient_compression, "end_when": to_config(self.end_when)}

    @classmethod
    def from_json(cls, values: Mapping, triggers: Mapping[str, type] = TRIGGERS) -> TrainSettings:
        """Return the settings that `to_json` described, with the trigger classes of a literal table."""
        known = {"rows", "batch_size", "shards", "seed", "gradient_compression", "end_when"}
        if set(values) != known:
            raise ArgumentError(f"TrainSettings must have the fields {sorted(known)}. Received: {sorted(values)}.")
        return cls(**{**values, "end_when": from_config(values["end_when"], triggers)})
