"""Stages of Spark ML pipelines: estimators that train networks, models that score DataFrames, streams and SQL.

Reading order: `params`, `milestones` and `specs` (what can be set), `columns` and `checks` (what is checked before a
job), `features` (from column values to arrays), `samples` and `estimator` (training), `scoring`, `outputs`,
`functions` and `model` (scoring), `shipping` and `persistence` (how models travel and last), `text_words` and
`text_stage` (words to numbers), `text_records` and `text_set` (sets of texts), `series` (windows of time series),
`image_rows`, `image_reader`, `image_source` and `image_set` (from files to images; not imported here, for OpenCV comes
with them).
"""

from __future__ import annotations

from nnframes.spark.classifier import NNClassifier
from nnframes.spark.context import init_nncontext
from nnframes.spark.estimator import NNEstimator
from nnframes.spark.model import NNClassifierModel, NNModel, TrainingSummary, as_udf, register
from nnframes.spark.text_set import DistributedTextSet, Relations, TextSet
from nnframes.spark.text_stage import TextIndexer, TextIndexerModel

__all__ = [
    "DistributedTextSet",
    "NNClassifier",
    "NNClassifierModel",
    "NNEstimator",
    "NNModel",
    "Relations",
    "TextIndexer",
    "TextIndexerModel",
    "TextSet",
    "TrainingSummary",
    "as_udf",
    "init_nncontext",
    "register",
]
