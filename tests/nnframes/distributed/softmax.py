"""A small real network in numpy, its data, and the functions that tests ship to Spark tasks and fresh processes."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa

from kernels.sparse import RowSparse, coalesce
from nnframes.distributed import SampleBlock, SamplePlan, column_values
from nnframes.distributed.course import FitCourse, HeldOut
from nnframes.io.background import CheckpointSettings
from nnframes.train import Loss, Milestones, MiniBatch, SeveralIteration, Top1Accuracy, ValidationSettings
from nnframes.train.share import Share
from nnframes.train.validation import joint_partial

FEATURES, CLASSES = 6, 3


def rows_of(count: int) -> list[tuple[list[float], float]]:
    generator = np.random.default_rng(5)
    features = generator.normal(size=(count, FEATURES)).astype(np.float32)
    labels = (features[:, 0] > 0).astype(int) + (features[:, 1] > 0.5)
    return [(row.tolist(), float(label)) for row, label in zip(features, labels, strict=True)]


def make_head(settings: str):
    wanted = json.loads(settings)

    def head(batch: pa.RecordBatch) -> SampleBlock:
        features = column_values(batch.column("features"))
        labels = column_values(batch.column("label"))
        bad = labels == wanted.get("bad", -1)
        errors = {int(row): f"label {labels[row]:g} is bad" for row in np.flatnonzero(bad)}
        if wanted.get("crash"):
            raise ValueError("this head has a fault")
        return SampleBlock((features[~bad],), labels[~bad].astype(np.int64), errors)

    return head


def make_ragged_head(settings: str):
    """Samples of as many numbers as the label says, plus one."""

    def head(batch: pa.RecordBatch) -> SampleBlock:
        features, labels = column_values(batch.column("features")), column_values(batch.column("label"))
        samples = [row[: int(label) + 1] for row, label in zip(features, labels, strict=True)]
        return SampleBlock((samples,), labels.astype(np.int32))

    return head


def make_padding_tail(settings: str):
    def tail(inputs: tuple, target: np.ndarray, generators) -> MiniBatch:
        whole = np.zeros((len(target), FEATURES), np.float32)
        for number, (sample, generator) in enumerate(zip(inputs[0], generators, strict=True)):
            whole[number, : len(sample)] = sample + generator.normal(size=sample.shape).astype(np.float32)
        return MiniBatch((whole,), target)

    return tail


def plan_of(**settings) -> SamplePlan:
    on_error = settings.pop("on_error", "fail")
    return SamplePlan(("features", "label"), make_head, None, json.dumps(settings), on_error)


def course_of(frame, path, every: int, **changes) -> FitCourse:
    """Validate by loss and accuracy, and write snapshots to `path`, after `every` iterations."""
    checkpoint = CheckpointSettings(path, SeveralIteration(every), changes.pop("is_overwrite", False))
    methods, plan = changes.pop("methods", [Loss(), Top1Accuracy()]), changes.pop("plan", plan_of())
    validation = ValidationSettings(SeveralIteration(changes.pop("validate", every)), methods, 7)
    milestones = Milestones(validation, changes.pop("stopping", None), checkpoint.trigger)
    return FitCourse(milestones, HeldOut(frame, plan), checkpoint, **changes)


RAGGED = SamplePlan(("features", "label"), make_ragged_head, make_padding_tail)


class Softmax:
    """Softmax regression with momentum, a table of one row per class, and `extra` more numbers to make it long."""

    def __init__(self, extra: int = 0, fault: dict | None = None) -> None:
        self.extra, self.fault = extra, fault or {}
        self.size = FEATURES * CLASSES + extra
        self.parameters = np.linspace(-1, 1, self.size, dtype=np.float32)
        self.momentum = np.zeros(self.size, np.float32)
        self.table = np.zeros((CLASSES, 4), np.float32)
        self.gradient_size, self.message_size = self.size, self.size + 2
        self.wave = np.sin(np.arange(extra, dtype=np.float32))

    def gradient(
        self, shard: int, batch: MiniBatch, iteration: int, out: np.ndarray, reached=None
    ) -> dict[str, RowSparse]:
        self._misbehave(shard, iteration)
        x, target = batch.inputs[0], batch.target
        out[FEATURES * CLASSES : self.size] = self.wave * x.sum()
        if reached is not None:
            reached(self.size - self.extra // 2)
            reached(FEATURES * CLASSES)
        logits = x @ self.parameters[: FEATURES * CLASSES].reshape(FEATURES, CLASSES) + self.table[target, :CLASSES]
        chances = np.exp(logits - logits.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        loss = -np.log(chances[np.arange(len(x)), target]).sum()
        chances[np.arange(len(x)), target] -= 1
        out[: FEATURES * CLASSES] = (x.T @ chances).reshape(-1)
        out[-2:] = np.nan if self._is_ill("nan", shard, iteration) else loss, len(x)
        if self._is_ill("inf", shard, iteration):
            out[0] = np.inf
        return {"labels": coalesce(target, np.concatenate([chances, chances[:, :1]], axis=1))}

    def mean_loss(self, message: np.ndarray) -> float:
        return float(message[-2] / message[-1])

    def update(self, message: np.ndarray, sparse: dict[str, RowSparse], share: Share | None = None) -> float:
        share = share or Share.whole(self.size)
        own, count = share.own, message[-1]
        if not np.isfinite(share.tell(message[own].sum(dtype=np.float64, keepdims=True))).all():
            raise FloatingPointError("The gradient must stay finite. Received: inf")
        self.momentum[own] *= np.float32(0.9)
        self.momentum[own] += message[own] / count
        self.parameters[own] -= np.float32(0.1) * self.momentum[own]
        for gradient in sparse.values():
            self.table[gradient.rows] -= np.float32(0.1) * gradient.values / count
        return float(message[-2] / count)

    def vectors(self) -> list[np.ndarray]:
        return [self.parameters, self.momentum]

    def evaluator(self, methods, batch_size: int):
        def evaluate(batch: MiniBatch) -> np.ndarray:
            self._misbehave("validation", None)
            logits = batch.inputs[0] @ self.parameters[: FEATURES * CLASSES].reshape(FEATURES, CLASSES)
            logits -= logits.max(axis=1, keepdims=True)
            return joint_partial(methods, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), batch.target)

        return evaluate

    def state(self, into: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
        return {name: array.copy() for name, array in self.weights().items()}

    def weights(self) -> dict[str, np.ndarray]:
        empty = np.zeros((0, 3), np.float32)
        return {"weights": self.parameters, "momentum": self.momentum, "table": self.table, "empty": empty}

    def load_state(self, state: Mapping[str, np.ndarray]) -> None:
        self.parameters, self.momentum, self.table = (state[name].copy() for name in ("weights", "momentum", "table"))

    def _is_ill(self, kind: str, shard: int, iteration: int) -> bool:
        fault = self.fault
        return (fault.get("kind"), fault.get("shard"), fault.get("iteration")) == (kind, shard, iteration)

    def _misbehave(self, shard: int | str, iteration: int | None) -> None:
        if shard != self.fault.get("shard") or iteration != self.fault.get("iteration"):
            return
        if "once" in self.fault:
            try:
                Path(self.fault["once"]).touch(exist_ok=False)
            except FileExistsError:
                return
        if self.fault["kind"] == "raise":
            raise ValueError("this network has a fault")
        if self.fault["kind"] == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault["kind"] == "hang":
            time.sleep(self.fault["seconds"])


def load(payload: bytes, threads: int) -> Softmax:
    settings = json.loads(payload.rstrip(b" "))
    return Softmax(settings.get("extra", 0), settings.get("fault"))


def equal(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    """Whether two states are the same to the last bit."""
    return a.keys() == b.keys() and all(
        a[k].shape == b[k].shape and a[k].dtype == b[k].dtype and a[k].tobytes() == b[k].tobytes() for k in a
    )
