"""Chains as programs for Analytics Zoo write them: pairs, samples, several inputs."""

from __future__ import annotations

import numpy as np
import pytest

from featurelib import (
    BigDLAdapter,
    ChainedPreprocessing,
    FeatureLabelPreprocessing,
    ScalarToTensor,
    SeqToTensor,
    TensorToSample,
    ToTuple,
)
from featurelib.image import (
    ImageBytesToMat,
    ImageFeatureToSample,
    ImageHFlip,
    ImageMatToTensor,
    ImageRandomPreprocessing,
    ImageResize,
    ImageSetToSample,
    RowToImageFeature,
)
from featurelib.image.functional import encode_png
from featurelib.image.vision import BytesToMat, MatToFloats, MatToTensor, Pipeline, Resize
from featurelib.text import SequenceShaper, Tokenizer, WordIndexer
from nnframes import NNClassifier, NNClassifierModel, NNEstimator
from nnframes.nn import (
    CAddTable,
    ClassNLLCriterion,
    Linear,
    LogSoftMax,
    LookupTable,
    Mean,
    MSECriterion,
    ParallelTable,
    Reshape,
    Sequential,
)
from nnframes.spark.samples import cut
from tests.nnframes.spark.conftest import small_network
from tests.nnframes.spark.test_images import images, structs  # noqa: F401  fixtures


def trained(estimator, frame, column="features"):
    made = estimator.setFeaturesCol(column).setBatchSize(24).setMaxEpoch(2).setNumShards(2).setShowProgress(False)
    return made.fit(frame)


def flat_network():
    return Sequential().add(Reshape([64])).add(Linear(64, 2)).add(LogSoftMax())


def same_weights(one, other):
    for left, right in zip(one.model.get_weights(), other.model.get_weights(), strict=True):
        np.testing.assert_array_equal(left, right)


@pytest.mark.parametrize("tupled", [False, True])
def test_features_and_labels_in_one_preprocessing(tupled, points, tmp_path):
    both = FeatureLabelPreprocessing(SeqToTensor([4]), ScalarToTensor())
    chain = ChainedPreprocessing([ToTuple(), both]) if tupled else both
    network = small_network()
    given = NNClassifier(network, ClassNLLCriterion()).setSamplePreprocessing(chain)
    model = trained(given, points)
    same_weights(model, trained(NNClassifier(network, ClassNLLCriterion(), [4]), points))
    scored = model.transform(points).select("prediction").toPandas()
    model.save(str(tmp_path / "model"))
    loaded = NNClassifierModel.load(str(tmp_path / "model"))
    assert loaded.transform(points).select("prediction").toPandas().equals(scored)


def test_labels_come_from_where_the_features_do(points):
    both = FeatureLabelPreprocessing(SeqToTensor([4]), SeqToTensor([2, 2]))
    model = trained(
        NNEstimator(Linear(4, 4), MSECriterion()).setSamplePreprocessing(both).setLabelCol("nested"), points
    )
    assert model.summary.rows == points.count()


def test_samples_of_texts(spark):
    lines = spark.createDataFrame([("to be", 0.0), ("or not", 1.0)] * 12, "text string, label double")
    chain = [Tokenizer(), WordIndexer({"to": 1, "be": 2, "or": 3}), SequenceShaper(3)]
    network = Sequential().add(LookupTable(4, 4, 0)).add(Mean(1)).add(Linear(4, 2)).add(LogSoftMax())
    models = [
        trained(NNClassifier(network, ClassNLLCriterion(), ChainedPreprocessing([*chain, *last])), lines, "text")
        for last in ([], [TensorToSample()])
    ]
    same_weights(*models)


def test_pictures_of_bigdl(images):  # noqa: F811
    """MatToFloats makes the tensor of MatToTensor under another key; neither is the picture's own order of pixels."""
    network = flat_network()
    chains = ([MatToFloats()], [MatToTensor()], [BigDLAdapter(MatToTensor())])
    models = [
        trained(
            NNClassifier(network, ClassNLLCriterion(), Pipeline([BytesToMat("bytes", 0), Resize(8, 8), *last])),
            images,
            "image",
        )
        for last in chains
    ]
    same_weights(models[0], models[1])
    same_weights(models[0], models[2])


@pytest.mark.parametrize("augmented", [False, True])
def test_samples_of_several_inputs(augmented, structs):  # noqa: F811
    """Detectors take a picture and its size; with the augmentation drawn before, both inputs show one flip."""
    flip = [ImageRandomPreprocessing(ImageHFlip(), 0.5)] if augmented else []
    chain = ChainedPreprocessing(
        [
            RowToImageFeature(),
            ImageResize(8, 8),
            *flip,
            ImageMatToTensor(),
            ImageSetToSample(["imageTensor", "imageTensor"], None),
            ImageFeatureToSample(),
        ]
    )
    part = Sequential().add(Reshape([64])).add(Linear(64, 2))
    network = Sequential().add(ParallelTable().add(part).add(flat_network())).add(CAddTable()).add(LogSoftMax())
    model = trained(NNClassifier(network, ClassNLLCriterion(), chain), structs, "image")
    assert model.transform(structs).where("prediction IS NOT NULL").count() == structs.count()


@pytest.mark.parametrize("caching", [True, False])
@pytest.mark.parametrize("first", [RowToImageFeature(), ImageBytesToMat()], ids=["row", "bytes"])
def test_the_first_size_of_a_picture_outlives_augmentation(first, caching):
    """A stored sample is the picture alone: of a resized one it would say the new size, in scoring the old."""
    to_sample = ImageSetToSample(["imageTensor", "originalSize"], None)
    flip = ImageRandomPreprocessing(ImageHFlip(), 0.5)
    chain = ChainedPreprocessing([first, ImageResize(8, 8), flip, ImageMatToTensor(), to_sample])
    head, tail = cut(chain, caching)
    picture = np.zeros((10, 12, 3), np.uint8)
    row = {"origin": "a", "height": 10, "width": 12, "nChannels": 3, "mode": 16, "data": picture.tobytes()}
    value = row if isinstance(first, RowToImageFeature) else encode_png(picture)
    stored = value if head is None else np.asarray(head(value))
    sample = tail(stored, np.random.default_rng(0))["sample"]
    assert sample.features[1].tolist() == chain.deterministic()(value)["sample"].features[1].tolist() == [10, 12, 3]


def test_what_comes_before_chance_is_stored_where_a_picture_is_all_that_is_asked_for():
    flip = ImageRandomPreprocessing(ImageHFlip(), 0.5)
    chain = ChainedPreprocessing([ImageBytesToMat(), ImageResize(8, 8), flip, ImageMatToTensor(), ImageSetToSample()])
    assert [len(part.transformers) for part in cut(chain, True)] == [2, 3]
