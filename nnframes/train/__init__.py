"""The training loop without Spark: sampling plan, data, triggers, fixed-order sums, progress, validation, summaries.

Everything a worker computes here is a pure function of settings and state, so that workers which hold different shards
agree without asking each other, and a resumed run continues to the same bits.
"""

from __future__ import annotations

from featurelib.registry import built_in
from nnframes.train.course import Course, Milestones
from nnframes.train.data import ArrayData, MiniBatch, ShardData
from nnframes.train.early_stopping import EarlyStopping, Validation
from nnframes.train.evaluation import ValidationSettings, check_methods
from nnframes.train.listeners import Listener, Listeners
from nnframes.train.loop import train
from nnframes.train.plan import SamplingPlan
from nnframes.train.progress import Progress
from nnframes.train.protocols import Replica
from nnframes.train.settings import TrainSettings
from nnframes.train.state import TrainState
from nnframes.train.summary import SummaryListener, TrainSummary, ValidationSummary, ValidationSummaryListener
from nnframes.train.sync import SerialSync, Sync
from nnframes.train.triggers import (
    TRIGGERS,
    EveryEpoch,
    MaxEpoch,
    MaxIteration,
    MaxScore,
    MinLoss,
    SeveralIteration,
    Trigger,
    TriggerAnd,
    TriggerOr,
)
from nnframes.train.validation import (
    MAE,
    MSE,
    RMSE,
    VALIDATION_METHODS,
    EvaluatedResult,
    Loss,
    Top1Accuracy,
    Top5Accuracy,
    ValidationMethod,
)

__all__ = [
    "MAE",
    "MSE",
    "RMSE",
    "TRIGGERS",
    "VALIDATION_METHODS",
    "ArrayData",
    "Course",
    "EarlyStopping",
    "EvaluatedResult",
    "EveryEpoch",
    "Listener",
    "Listeners",
    "Loss",
    "MaxEpoch",
    "MaxIteration",
    "MaxScore",
    "Milestones",
    "MinLoss",
    "MiniBatch",
    "Progress",
    "Replica",
    "SamplingPlan",
    "SerialSync",
    "SeveralIteration",
    "ShardData",
    "SummaryListener",
    "Sync",
    "Top1Accuracy",
    "Top5Accuracy",
    "TrainSettings",
    "TrainState",
    "TrainSummary",
    "Trigger",
    "TriggerAnd",
    "TriggerOr",
    "Validation",
    "ValidationMethod",
    "ValidationSettings",
    "ValidationSummary",
    "ValidationSummaryListener",
    "check_methods",
    "train",
]

built_in(TRIGGERS, VALIDATION_METHODS)
