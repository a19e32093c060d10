"""NNClassifier: trains a network that tells classes apart."""

from __future__ import annotations

from typing import Any

from nnframes.nn import Criterion, Layer
from nnframes.spark.estimator import TrainingStage
from nnframes.spark.model import NNClassifierModel
from nnframes.spark.params import HasProbabilityCols, HasThreshold

__all__ = ["NNClassifier"]


class NNClassifier(TrainingStage, HasProbabilityCols, HasThreshold):
    """Trains a classifier (Analytics Zoo's `NNClassifier`); `fit` returns an `NNClassifierModel`.

    As `NNEstimator`, with labels that are class numbers: 0, 1, ..., as Spark ML's `StringIndexer` makes them (the peers
    count from 1). A network with one output tells 0 from 1 and takes a criterion such as `BCECriterion`. The model
    keeps the names that `StringIndexer` gave the classes (`getLabels`), so that `IndexToString` needs none.

    >>> from nnframes.nn import CrossEntropyCriterion, Linear
    >>> NNClassifier(Linear(4, 3), CrossEntropyCriterion(), [4]).setProbabilityCol("probability").getThreshold()
    0.5
    """

    def __init__(self, model: Layer, criterion: Criterion, feature_preprocessing: Any = None) -> None:
        super().__init__(model, criterion, feature_preprocessing, None)

    saved_objects = ("criterion", "feature_preprocessing")
    _classifier = True

    def _model(self, layer: Layer) -> NNClassifierModel:
        return NNClassifierModel(layer, self.feature_preprocessing)
