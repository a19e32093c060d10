"""The params of what a fit does beside training: validation, early stopping, snapshots, summaries."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from pyspark.sql import DataFrame

from nnframes.errors import ArgumentError
from nnframes.io.background import CheckpointSettings
from nnframes.optim import OptimMethod
from nnframes.spark.columns import check_dataframe
from nnframes.spark.params import StageParams, _param
from nnframes.train import (
    EarlyStopping,
    Listener,
    Listeners,
    Milestones,
    SummaryListener,
    TrainSummary,
    Trigger,
    ValidationMethod,
    ValidationSettings,
    ValidationSummary,
    ValidationSummaryListener,
)

__all__ = ["HasMilestones"]

Self = TypeVar("Self", bound="HasMilestones")


class HasMilestones(StageParams):
    """validation, earlyStopping, checkpoint, resume, trainSummary, validationSummary.

    All are saved with the estimator but the DataFrame to validate on: a loaded one needs `setValidation` again.
    """

    validation = _param("validation")
    earlyStopping = _param("earlyStopping")
    checkpoint = _param("checkpoint")
    resume = _param("resume")
    trainSummary = _param("trainSummary")
    validationSummary = _param("validationSummary")

    _validation_df: DataFrame | None = None

    def setValidation(
        self: Self, trigger: Trigger, val_df: DataFrame, val_methods: Sequence[ValidationMethod], batch_size: int
    ) -> Self:
        """Validate whenever `trigger` fires, on the rows of `val_df`, which has the columns that fit reads.

        The training tasks compute it, in batches of `batch_size` rows over all of them, with the preprocessing of
        training without its randomness. The first method gives the score that `MaxScore` reads. The DataFrame is not
        saved with the estimator. Raises `ArgumentError` for anything else.
        """
        check_dataframe("setValidation", val_df)
        self._put(validation=ValidationSettings(trigger, val_methods, batch_size))
        self._validation_df = val_df
        return self

    def getValidation(self) -> list[Any] | None:
        """Return [trigger, val_df, methods, batch_size]; None without validation. val_df is None after a load."""
        settings = self._value("validation")
        if settings is None:
            return None
        return [settings.trigger, self._validation_df, settings.methods, settings.batch_size]

    def setEarlyStopping(
        self: Self,
        monitor: str | None = "Loss",
        patience: int = 5,
        min_delta: float = 0.0,
        restore_best: bool = True,
        higher_is_better: bool | None = None,
    ) -> Self:
        """End training after `patience` validations without improvement of the method `monitor`; None: never early.

        An improvement is better by more than `min_delta`. With `restore_best` the model gets the weights of the best
        validation, else the last ones. A method of your own needs `higher_is_better`.
        """
        if monitor is None:
            return self._put(earlyStopping=None)
        return self._put(earlyStopping=EarlyStopping(monitor, patience, min_delta, restore_best, higher_is_better))

    def getEarlyStopping(self) -> EarlyStopping | None:
        """Return the early stopping; None without."""
        return self._value("earlyStopping")

    def setCheckpoint(self: Self, path: str | os.PathLike[str], trigger: Trigger, isOverWrite: bool = True) -> Self:
        """Write a snapshot to `path` whenever `trigger` fires: the newest only, or all where `isOverWrite` is False.

        `path` is a folder that driver and executors share, or an address such as hdfs:// or s3://. Snapshots are
        written while training goes on; one that is due while another is being written replaces the one that waits
        (`isOverWrite`), or waits. Resume with `setResume(True)`.
        """
        return self._put(checkpoint=CheckpointSettings(path, trigger, isOverWrite))

    def getCheckpoint(self) -> list[Any] | None:
        """Return [path, trigger, isOverWrite]; None without snapshots."""
        settings = self._value("checkpoint")
        return None if settings is None else [settings.path, settings.trigger, settings.is_overwrite]

    def setResume(self: Self, value: bool) -> Self:
        """Set whether fit continues from the newest snapshot of the checkpoint's path, to the bits of an unbroken run.

        Where there is none, fit starts anew; one of another network, of other data or settings (momentum, clipping,
        class weights) is refused. The end, the triggers, the rates and the early stopping may differ: those of this
        estimator count.
        """
        return self._put(resume=value)

    def getResume(self) -> bool:
        """Return whether fit continues from the newest snapshot."""
        return self._value("resume")

    def setTrainSummary(self: Self, value: TrainSummary | None) -> Self:
        """Set where fit writes Loss, LearningRate and Throughput for TensorBoard, as it goes; None for nowhere."""
        return self._put(trainSummary=value)

    def getTrainSummary(self) -> TrainSummary | None:
        """Return the summary of training, None without."""
        return self._value("trainSummary")

    def setValidationSummary(self: Self, value: ValidationSummary | None) -> Self:
        """Set where fit writes the figures of the validation for TensorBoard; None for nowhere."""
        return self._put(validationSummary=value)

    def getValidationSummary(self) -> ValidationSummary | None:
        """Return the summary of the validation, None without."""
        return self._value("validationSummary")

    def _milestones(self) -> Milestones:
        """When a fit pauses; raises `ArgumentError` for params that do not fit each other."""
        validation: ValidationSettings | None = self._value("validation")
        if validation is not None and self._validation_df is None:
            raise ArgumentError(
                "The validation must have its DataFrame. Received: none. Hint: it is not saved with the estimator; "
                "setValidation(trigger, val_df, methods, batch_size) again, or clear(estimator.validation)."
            )
        if self.getValidationSummary() is not None and validation is None:
            raise ArgumentError("A validationSummary must have a validation. Received: none. Hint: setValidation(...).")
        checkpoint: CheckpointSettings | None = self._value("checkpoint")
        if self.getResume() and checkpoint is None:
            raise ArgumentError("resume must have a checkpoint. Received: none. Hint: setCheckpoint(path, trigger).")
        return Milestones(validation, self.getEarlyStopping(), None if checkpoint is None else checkpoint.trigger)

    def _checkpoint(self) -> CheckpointSettings | None:
        settings: CheckpointSettings | None = self._value("checkpoint")
        return None if settings is None else settings.absolute()

    @contextmanager
    def _listening(self, optim_method: OptimMethod, *others: Listener) -> Iterator[Listener]:
        """Give what writes the summaries beside the other listeners; files are closed however the fit ends."""
        # Fits may run side by side: each writes files of its own, through copies.
        train, validation = copy.deepcopy((self.getTrainSummary(), self.getValidationSummary()))
        listeners: list[Listener] = []
        if train is not None:
            listeners.append(SummaryListener(train, optim_method))
        if validation is not None:
            listeners.append(ValidationSummaryListener(validation))
        try:
            yield Listeners(*others, *listeners)
        finally:
            for summary in (train, validation):
                if summary is not None:
                    summary.close()
