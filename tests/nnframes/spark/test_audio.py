"""Spoken digits of six speakers: wav files through a chain into a small network, in a stage."""

from __future__ import annotations

import pytest
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.sql import functions as F

from featurelib import ArrayToTensor, ChainedPreprocessing
from featurelib.audio import AudioDecode, AudioPadOrTrim, LogMelSpectrogram
from featurelib.audio.functional import encode_wav
from nnframes import NNClassifier
from nnframes.errors import ColumnError, DataError
from nnframes.nn import (
    ClassNLLCriterion,
    Linear,
    LogSoftMax,
    ReLU,
    Reshape,
    Sequential,
    SpatialBatchNormalization,
    SpatialConvolution,
    SpatialMaxPooling,
)
from nnframes.optim import Adam

RATE, BANDS, FRAMES = 8000, 32, 51
NAME = r"(\d)_([a-z]+)_(\d+)\.wav$"


def spectrogram(samples=RATE):
    return ChainedPreprocessing(
        [
            AudioDecode(RATE),
            AudioPadOrTrim(samples),
            LogMelSpectrogram(RATE, n_fft=256, hop_length=160, n_mels=BANDS),
            ArrayToTensor([1, BANDS, 1 + samples // 160]),
        ]
    )


def network():
    layers = [SpatialBatchNormalization(1)]
    for before, after in ((1, 16), (16, 32)):
        layers += [SpatialConvolution(before, after, 3, 3, 1, 1, 1, 1), ReLU(), SpatialMaxPooling(2, 2, 2, 2)]
    size = 32 * (BANDS // 4) * (FRAMES // 4)
    model = Sequential()
    for layer in [*layers, Reshape([size]), Linear(size, 10), LogSoftMax()]:
        model.add(layer)
    return model


def classifier(model, chain):
    made = NNClassifier(model, ClassNLLCriterion(), chain).setFeaturesCol("content").setSeed(1)
    return made.setOptimMethod(Adam(0.002)).setBatchSize(32).setNumShards(2).setShowProgress(False)


@pytest.mark.slow
def test_spoken_digits(spark, data_dir):
    files = spark.read.format("binaryFile").load(str(data_dir / "free-spoken-digits" / "recordings" / "*.wav"))
    parts = [F.regexp_extract("path", NAME, group).alias(name) for group, name in ((1, "label"), (3, "number"))]
    digits = files.select("content", *parts).withColumn("label", F.col("label").cast("double")).coalesce(2).cache()
    train, test = digits.where("number >= 5"), digits.where("number < 5")  # the split that the data set proposes
    assert (train.count(), test.count()) == (900, 300)

    model = classifier(network(), spectrogram()).setMaxEpoch(8).fit(train)

    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(model.transform(test))
    assert accuracy > 0.85


def tiny(chain):
    model = Sequential().add(Reshape([BANDS * 11])).add(Linear(BANDS * 11, 2)).add(LogSoftMax())
    return classifier(model, chain).setBatchSize(4).setMaxEpoch(1)


def test_a_file_that_is_none_is_named_or_dropped(spark):
    wav = bytearray(encode_wav([0.1, -0.2] * 500, RATE))
    rows = [(wav, float(i % 2)) for i in range(8)] + [(bytearray(b"ID3 not a wav"), 0.0)]
    files = spark.createDataFrame(rows, "content binary, label double").coalesce(1)
    with pytest.raises(DataError, match=r"must be a wav file \(RIFF, WAVE\)\. Received: 13 bytes"):
        tiny(spectrogram(1600)).fit(files)
    model = tiny(spectrogram(1600)).setHandleInvalid("skip").fit(files)
    assert model.setHandleInvalid("skip").transform(files).count() == 8


def test_another_column_is_refused_before_any_job(spark):
    numbers = spark.createDataFrame([([1.0], 0.0)], "content array<double>, label double")
    with pytest.raises(ColumnError, match=r"must be binary \(wav files\) to be opened by AudioDecode"):
        tiny(spectrogram(1600)).fit(numbers)
