from __future__ import annotations

import re

import numpy as np
import pytest
from pyspark.sql import functions as F

from featurelib import ChainedPreprocessing
from featurelib.image import (
    ImageBytesToMat,
    ImageChannelNormalize,
    ImageHFlip,
    ImageMatToTensor,
    ImageRandomPreprocessing,
    ImageResize,
    RowToImageFeature,
)
from featurelib.image.functional import encode_png
from nnframes import NNClassifier, NNClassifierModel
from nnframes.errors import DataError, ShapeError
from nnframes.nn import ClassNLLCriterion, Linear, LogSoftMax, Reshape, Sequential, SpatialConvolution
from nnframes.optim import Adam

ROWS = 64


def pictures():
    """Grey pictures of two sizes, bright in the upper (0) or lower (1) half."""
    rng = np.random.default_rng(5)
    for number in range(ROWS):
        size = 8 if number % 2 else 12
        picture = rng.integers(0, 60, (size, size), np.uint8)
        half = slice(0, size // 2) if number % 4 < 2 else slice(size // 2, size)
        picture[half] += 180
        yield picture, float(number % 4 >= 2)


@pytest.fixture(scope="module")
def images(spark):
    rows = [(i, encode_png(picture), label) for i, (picture, label) in enumerate(pictures())]
    return spark.createDataFrame(rows, "id long, image binary, label double").repartition(2).cache()


@pytest.fixture(scope="module")
def structs(spark):
    rows = [
        (i, (f"{i}.png", *picture.shape, 1, 0, bytearray(picture.tobytes())), label)
        for i, (picture, label) in enumerate(pictures())
    ]
    image = "struct<origin:string,height:int,width:int,nChannels:int,mode:int,data:binary>"
    return spark.createDataFrame(rows, f"id long, image {image}, label double").repartition(2).cache()


def chain(first=None, random=True):
    stages = [first or ImageBytesToMat(image_codec=0), ImageResize(8, 8)]
    stages += [ImageRandomPreprocessing(ImageHFlip(), 0.5)] if random else []
    return ChainedPreprocessing([*stages, ImageChannelNormalize(128, 128, 128, 64, 64, 64), ImageMatToTensor()])


def estimator(preprocessing, size=8):
    last = (size - 2) ** 2 * 2
    network = (
        Sequential().add(SpatialConvolution(1, 2, 3, 3)).add(Reshape([last])).add(Linear(last, 2)).add(LogSoftMax())
    )
    made = NNClassifier(network, ClassNLLCriterion(), preprocessing).setFeaturesCol("image").setMaxEpoch(6)
    return made.setOptimMethod(Adam(0.02)).setBatchSize(16).setNumShards(2).setShowProgress(False)


def correct(model, frame):
    return model.transform(frame).where("prediction = label").count()


@pytest.mark.parametrize("caching", [True, False])
def test_encoded_images(caching, images, tmp_path):
    model = estimator(chain()).setCachingSample(caching).fit(images)
    assert correct(model, images) == ROWS
    model.save(str(tmp_path / "model"))
    assert correct(NNClassifierModel.load(str(tmp_path / "model")), images) == ROWS


def test_a_chain_without_chance_gives_the_same_bits_cached_or_not(images):
    """What is computed once or anew in every epoch is the same."""
    models = [estimator(chain(random=False)).setMaxEpoch(2).setCachingSample(on).fit(images) for on in (True, False)]
    for one, other in zip(*(model.model.get_weights() for model in models), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("caching", [True, False])
def test_image_structs(caching, structs):
    model = estimator(chain(RowToImageFeature())).setCachingSample(caching).fit(structs)
    assert correct(model, structs) == ROWS


def test_sizes_are_checked_before_any_job(images, structs, spark):
    """The chain is run on two made-up images: a size that both have is that of all; the data tell the channels else."""
    with pytest.raises(ShapeError, match=r"Reshape 'reshape_1' expects .*128"):
        estimator(chain(), size=10).fit(images.where("1 = 0"))
    with pytest.raises(ShapeError, match="Reshape"):
        estimator(chain(RowToImageFeature()), size=10).fit(structs)


def test_channels_are_left_to_the_data_and_sizes_are_not(images):
    """Without image_codec a file may have one, three or four channels: a size that fits none of them is refused."""
    raw = ChainedPreprocessing([ImageBytesToMat(), ImageResize(8, 8), ImageMatToTensor()])
    for channels in (1, 3, 4):
        network = Sequential().add(SpatialConvolution(channels, 2, 3, 3)).add(Reshape([72])).add(Linear(72, 2))
        NNClassifierModel(network, raw).setFeaturesCol("image").transform(images)
    with pytest.raises(ShapeError, match="Reshape"):
        estimator(raw, size=10).fit(images)
    untransposed = ChainedPreprocessing([ImageBytesToMat(), ImageResize(8, 8)])
    with pytest.raises(ShapeError, match=r"SpatialConvolution .* received \(256, 8, 8, 3\)"):
        NNClassifierModel(estimator(raw).model, untransposed).setFeaturesCol("image").transform(images)


def test_sizes_that_only_the_data_tell(images):
    """Without a resize the two sizes of the pictures are found by the first job."""
    raw = ChainedPreprocessing([ImageBytesToMat(image_codec=0), ImageMatToTensor()])
    with pytest.raises(DataError, match=r"one shape. Received: \(1, 8, 8\), \(1, 12, 12\). Hint: resize, crop or pad"):
        estimator(raw).fit(images)
    with pytest.raises(ShapeError, match="Reshape"):
        estimator(raw).fit(images.where("id % 2 = 0"))
    late = ChainedPreprocessing(
        [ImageBytesToMat(image_codec=0), ImageRandomPreprocessing(ImageHFlip(), 0.5), ImageMatToTensor()]
    )
    with pytest.raises(DataError, match=r"one shape after preprocessing. Received: \(\(1, 8, 8\),\), \(\(1, 12, 12\)"):
        estimator(late).fit(images)


@pytest.fixture(scope="module")
def broken(images):
    return images.withColumn("image", F.when(F.col("id") % 16 == 3, F.lit(b"no picture")).otherwise(F.col("image")))


@pytest.mark.parametrize("caching", [True, False])
def test_undecodable_images_when_fitting(caching, broken):
    made = estimator(chain()).setCachingSample(caching).setMaxEpoch(1).setSeed(3)
    wanted = r"Every row must give a sample. Received: 4 that do not: row with label=.*hash=.*: image must be"
    with pytest.raises(DataError, match=wanted) as caught:
        made.fit(broken)
    query = str(caught.value).split("To see them: ")[1]
    assert sorted(row.id for row in eval(query, {"df": broken}).collect()) == [3, 19, 35, 51]
    model = made.setHandleInvalid("skip").fit(broken)
    assert (model.summary.rows, model.summary.dropped) == (60, 4)


def test_cut_off_images_are_found_before_training(images):
    """Their headers are whole: only decoding tells."""
    half = F.expr("substring(image, 1, cast(length(image) / 2 as int))")
    tail = F.expr("substring(image, length(image) - 11, 12)")
    cut = images.withColumn("image", F.when(F.col("id") == 5, F.concat(half, tail)).otherwise(F.col("image")))
    with pytest.raises(DataError, match=r"Received: 1 that do not: row with label=0.0, hash=\S*: PNG image of"):
        estimator(chain()).setCachingSample(False).fit(cut)


def test_undecodable_images_when_scoring(images, broken):
    model = estimator(chain()).setMaxEpoch(1).fit(images)
    with pytest.raises(
        Exception, match=r"Features of column 'image' must be usable in every row. Received in"
    ) as caught:
        model.transform(broken).collect()
    (digest,) = set(re.findall(r"row \d+ of partition \d+ \(md5 (\w+)\)", str(caught.value)))
    assert broken.where(F.md5("image") == digest).first().id in {3, 19, 35, 51}
    kept = model.setHandleInvalid("keep").transform(broken).collect()
    assert [row.id for row in sorted(kept) if row.prediction is None] == [3, 19, 35, 51]
    assert model.setHandleInvalid("skip").transform(broken).count() == 60
