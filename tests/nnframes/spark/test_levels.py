"""Data cache levels and caching of samples: where and in which form rows wait does not show in what is learned."""

from __future__ import annotations

import itertools
import logging
from pathlib import Path

import numpy as np
import pytest
from pyspark.sql import functions as F

from featurelib import ChainedPreprocessing, SeqToTensor
from featurelib.image import (
    ImageBytesToMat,
    ImageChannelNormalize,
    ImageHFlip,
    ImageMatToTensor,
    ImageRandomPreprocessing,
    ImageRandomTranslate,
    ImageResize,
)
from featurelib.image.functional import encode_png
from nnframes import NNClassifier
from nnframes.distributed import ReplicaSource, fit_on_spark
from nnframes.distributed.cache import CacheLevel
from nnframes.distributed.forecast import Forecast, planned_bytes
from nnframes.distributed.settings import FitSettings
from nnframes.distributed.shards import Materialised, MaterialisedShard
from nnframes.distributed.summary import BlockStatistics
from nnframes.errors import ArgumentError, DataError, TrainingError
from nnframes.nn import BatchNormalization, ClassNLLCriterion, Dropout, Linear, LogSoftMax, Reshape, Sequential
from nnframes.nn.walk import parameters_in
from nnframes.optim import Adam
from nnframes.train import EveryEpoch, Listener, Loss, MaxEpoch, Top1Accuracy
from tests.nnframes.distributed import softmax

ROWS, WIDTH, SIDE = 160, 1000, 40
LEVELS = {"DRAM": ("DRAM",), "DISK_AND_DRAM": ("disk_and_dram", 3), "DIRECT": ("DIRECT",)}
DECODE, FLIP = ImageBytesToMat(image_codec=0), ImageRandomPreprocessing(ImageHFlip(), 0.5)
LAST = [ImageChannelNormalize(128, 128, 128, 64, 64, 64), ImageMatToTensor()]
CHAINS = {
    "arrays": SeqToTensor([WIDTH]),
    "images": ChainedPreprocessing([DECODE, ImageRandomTranslate(2, 2), *LAST]),
    "ragged": ChainedPreprocessing([DECODE, FLIP, ImageResize(SIDE, SIDE), *LAST]),
}
"""Cached, a sample of "ragged" is a picture of its own size; uncached, one of either kind of image is a file."""


def rows():
    rng = np.random.default_rng(11)
    for number in range(ROWS):
        label = number % 2
        values = rng.normal(label, 1.0, WIDTH).astype(np.float32)
        shapes = ((SIDE, SIDE), tuple(rng.integers(30, 60, 2)))
        pictures = [bytearray(encode_png(rng.integers(90 * label, 160, shape, np.uint8))) for shape in shapes]
        yield values.tolist(), *pictures, float(label)


@pytest.fixture(scope="module")
def frame(spark):
    made = spark.createDataFrame(list(rows()), "arrays array<float>, images binary, ragged binary, label double")
    return made.repartition(3).cache()


def estimator(kind: str) -> NNClassifier:
    width = WIDTH if kind == "arrays" else SIDE * SIDE
    network = Sequential().add(Reshape([width])).add(Linear(width, 8)).add(BatchNormalization(8)).add(Dropout(0.2))
    network.add(Linear(8, 2)).add(LogSoftMax())
    made = NNClassifier(network, ClassNLLCriterion(), CHAINS[kind]).setFeaturesCol(kind).setOptimMethod(Adam(0.01))
    return made.setBatchSize(48).setMaxEpoch(3).setNumShards(2).setSeed(3).setShowProgress(False)


def learned(model) -> list[bytes]:
    return [parameter.value.tobytes() for _, parameter in parameters_in(model.model)]


@pytest.fixture(scope="module")
def expected(frame):
    return {kind: learned(estimator(kind).fit(frame)) for kind in CHAINS}


TABLE = [case for case in itertools.product(CHAINS, LEVELS, (True, False)) if case[1:] != ("DRAM", True)]


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "level", "caching"), TABLE)
def test_neither_level_nor_caching_shows_in_the_bits(frame, expected, tmp_path, kind, level, caching):
    made = estimator(kind).setDataCacheLevel(*LEVELS[level]).setCachingSample(caching).setCacheFolder(str(tmp_path))
    model = made.fit(frame)
    assert model.summary.epochs == 3
    assert learned(model) == expected[kind]
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["group", "job"])
def test_direct_validates_stops_early_and_resumes_like_dram(frame, tmp_path, mode):
    """What goes on over epochs goes on over parts of a fit: optim state, figures, the best weights, snapshots."""

    def trained(level: str, name: str, epochs: int, resume: bool, mode: str = mode):
        made = estimator("arrays").setMaxEpoch(epochs).setDataCacheLevel(level).setCacheFolder(str(tmp_path))
        made.setValidation(EveryEpoch(), frame.limit(40), [Top1Accuracy(), Loss(ClassNLLCriterion())], 16)
        made.setEarlyStopping("Loss", 2, 0.0, True).setResume(resume).setSyncMode(mode)
        (tmp_path / name).mkdir(exist_ok=True)
        model = made.setCheckpoint(str(tmp_path / name), EveryEpoch()).fit(frame)
        return learned(model), model.summary.validations, model.summary.iterations

    whole = trained("DRAM", "dram", 4, False, "group")
    assert trained("DIRECT", "direct", 4, False) == whole
    assert len(whole[1]) == 4
    trained("DIRECT", "parts", 2, False, "group")
    assert trained("DIRECT", "parts", 4, True) == whole


def test_direct_notices_a_dataframe_that_changes(spark, tmp_path):
    """An evaluation that gives other rows than the first would train on something else each epoch."""

    def noisy(batches):
        for batch in batches:
            batch["label"] = (batch["label"] + np.random.default_rng().integers(2, size=len(batch))) % 2
            yield batch

    changing = spark.createDataFrame(
        [([float(i)] * 4, float(i % 2)) for i in range(40)], "x array<float>, label double"
    )
    network = Sequential().add(Linear(4, 2)).add(LogSoftMax())
    made = NNClassifier(network, ClassNLLCriterion()).setFeaturesCol("x").setNumShards(2).setMaxEpoch(2)
    made.setDataCacheLevel("direct").setCacheFolder(str(tmp_path)).setShowProgress(False)
    with pytest.raises(DataError, match="The DataFrame must give the same rows whenever it is evaluated"):
        made.fit(changing.mapInPandas(noisy, changing.schema))
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("level", [("DISK_AND_DRAM", 2), ("DIRECT",)])
def test_job_mode_reads_other_levels_too(frame, expected, tmp_path, level):
    made = estimator("ragged").setDataCacheLevel(*level).setCacheFolder(str(tmp_path)).setSyncMode("job")
    model = made.fit(frame)
    assert learned(model) == expected["ragged"]
    assert (model.summary.epochs, model.summary.mode) == (3, "job")
    assert not list(tmp_path.glob("*/*"))


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["group", "job"])
def test_files_of_an_epoch_go_with_it(spark, tmp_path, mode):
    class Counting(Listener):
        def on_epoch(self, state):
            found.append(len(list(tmp_path.glob("*/*/shard-*"))))

    found: list[int] = []
    frame = spark.createDataFrame(softmax.rows_of(37), "features array<float>, label double").coalesce(1)
    settings = FitSettings(
        8, MaxEpoch(3), 2, cache_folder=str(tmp_path), cache_level=CacheLevel.of("DIRECT"), sync_mode=mode
    )
    result = fit_on_spark(frame, softmax.plan_of(), settings, ReplicaSource(softmax.load, b"{}"), listener=Counting())
    assert result.mode == mode
    # A group has gone on, and may have removed its files, when the driver hears of the epoch.
    assert (found == [2, 2, 2]) if mode == "job" else (len(found) == 3 and max(found) <= 2)


def test_levels_of_estimators():
    made = estimator("arrays")
    assert made.getDataCacheLevel() == "DRAM"
    assert made.setDataCacheLevel("disk_and_dram").getDataCacheLevel() == ("DISK_AND_DRAM", 4)
    assert made.setDataCacheLevel("Disk_And_Dram", 10).copy().getDataCacheLevel() == ("DISK_AND_DRAM", 10)
    assert made.setDataCacheLevel("direct").getDataCacheLevel() == "DIRECT"
    for level in (("PMEM",), ("pmem", 2), ("DISK_AND_DRAM", -1), ("DIRECT", 2)):
        with pytest.raises(ArgumentError):
            made.setDataCacheLevel(*level)


# ---------------------------------------------------------------- full disks, short memory


def test_a_fit_on_a_full_disk_names_it_and_leaves_nothing(frame, tmp_path, tiny):
    with pytest.raises(TrainingError, match=r"DataError: The cache folder \S+tiny must have room for \d+ more bytes"):
        estimator("arrays").setCacheFolder(str(tiny)).fit(frame)
    assert not [path for path in tiny.rglob("*") if path.is_file()]
    assert estimator("arrays").setMaxEpoch(1).setCacheFolder(str(tmp_path)).fit(frame).summary.epochs == 1


def data_of(size: int, path: str, memory: int, room: int) -> Materialised:
    shards = tuple(MaterialisedShard(number, 10, "host", path, size // 2) for number in range(2))
    return Materialised(shards, BlockStatistics().summary((10, 10), size), (), free={"host": (memory, room)})


GB = 1 << 30
FORECASTS = [
    ({}, data_of(GB, "/dev/shm/shard", 20 * GB, 10 * GB), None),
    (
        {},
        data_of(64 * GB, "/dev/shm/shard", 20 * GB, 10 * GB),
        "Training may run out of memory: 2 tasks on an executor",
    ),
    (
        {},
        data_of(GB, "/tmp/shard", 20 * GB, GB // 2),
        "The samples will not stay in memory: 1,024 MB of them on a host",
    ),
    ({}, data_of(GB, "/tmp/shard", 20 * GB, 2 * GB), "The samples of 2 shards lie on disk, not in memory: no room on "),
    ({"cache_folder": "/tmp"}, data_of(GB, "/tmp/shard", 20 * GB, 0), None),
]


@pytest.mark.parametrize(("settings", "data", "words"), FORECASTS)
def test_the_log_tells_what_will_be_short_once(spark, caplog, settings, data, words):
    forecast = Forecast(spark, FitSettings(8, MaxEpoch(1), 2, **settings), 1 << 20)
    with caplog.at_level(logging.WARNING, "nnframes"):
        forecast.after(data)
    assert [record.getMessage().startswith(words or "") for record in caplog.records] == [True] * (words is not None)


def test_a_rough_estimate_comes_before_the_data_is_read(spark, caplog):
    huge = spark.range(10**12)
    assert planned_bytes(huge) == 8 * 10**12
    assert planned_bytes(spark.createDataFrame(spark.sparkContext.range(3).map(lambda i: (i,)), "i int")) is None
    forecast = Forecast(spark, FitSettings(8, MaxEpoch(1), 2), 1 << 20)
    with caplog.at_level(logging.WARNING, "nnframes"):
        forecast.before(huge.select(F.col("id")))
        forecast.after(data_of(64 * GB, "/dev/shm/shard", GB, GB))
    assert len(caplog.records) == 1


def test_a_fit_that_has_all_it_needs_says_nothing(frame, caplog, tmp_path):
    with caplog.at_level(logging.WARNING, "nnframes"):
        estimator("arrays").setMaxEpoch(1).setCacheFolder(str(tmp_path)).fit(frame)
    assert [record.getMessage() for record in caplog.records] == []
    assert not list(Path(tmp_path).glob("*/*"))
