from __future__ import annotations

import numpy as np
import pytest

from featurelib import ArrayToTensor, ChainedPreprocessing, SeqToTensor
from featurelib.volume import AffineTransform3D, RandomCrop3D, Rotate3D
from nnframes import NNClassifier
from nnframes.nn import ClassNLLCriterion, Linear, LogSoftMax, Reshape, Sequential
from nnframes.optim import Adam


@pytest.mark.parametrize("column", ["flat", "nested"])
def test_volumes_are_transformed_in_a_stage(column, spark):
    """Bright in the lower (0) or upper (1) half of six slices."""
    rng = np.random.default_rng(2)
    rows = []
    for number in range(48):
        volume = rng.random((6, 5, 5), np.float32)
        volume[3 * (number % 2) :][:3] += 2
        rows.append((volume.ravel().tolist(), volume.tolist(), float(number % 2)))
    frame = spark.createDataFrame(rows, "flat array<float>, nested array<array<array<float>>>, label double")
    chain = ChainedPreprocessing(
        [
            *([SeqToTensor([6, 5, 5])] if column == "flat" else []),
            RandomCrop3D(6, 4, 4),
            Rotate3D([0.0, 0.0, 0.3]),
            AffineTransform3D(np.diag([1.0, 0.9, 0.9])),
            ArrayToTensor([96]),
        ]
    )
    model = Sequential().add(Reshape([96])).add(Linear(96, 2)).add(LogSoftMax())
    classifier = NNClassifier(model, ClassNLLCriterion(), chain).setFeaturesCol(column).setOptimMethod(Adam(0.05))
    fitted = classifier.setBatchSize(16).setMaxEpoch(6).setNumShards(2).setShowProgress(False).fit(frame)
    assert fitted.transform(frame).where("prediction = label").count() == 48
