"""What the suite `features` runs on Spark: a fit whose pictures are decoded in each epoch, and reading files."""

from __future__ import annotations

import shutil
import tempfile
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pyarrow as pa
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from nnframes import NNClassifier, NNImageReader, init_nncontext
from nnframes.nn import ClassNLLCriterion
from nnframes.optim import SGD
from tests.bench.features_ours import BATCH, CLASSES, chain, network
from tests.bench.photos import photos, save

ROWS, EPOCHS, CORES = 640, 3, 2


def prepare_fit(side: int) -> Callable[[], float]:
    """Images per second of the epochs after the first, all preprocessing done in each; one task, one engine thread."""
    spark = init_nncontext({"spark.master": "local[1]", "spark.ui.enabled": "false"}, app_name="nnframes bench")
    files = photos()
    pictures = [files[number % len(files)] for number in range(ROWS)]
    labels = [float(number % CLASSES) for number in range(ROWS)]
    data = spark.createDataFrame(pa.table({"features": pictures, "label": labels})).cache()
    estimator = (
        NNClassifier(network(side), ClassNLLCriterion(), chain(side, flip=True))
        .setBatchSize(BATCH)
        .setOptimMethod(SGD(0.01))
        .setCachingSample(False)
        .setShowProgress(False)
    )

    def seconds(epochs: int) -> float:
        start = time.perf_counter()
        estimator.setMaxEpoch(epochs).fit(data)
        return time.perf_counter() - start

    return lambda: EPOCHS * ROWS / (seconds(1 + EPOCHS) - seconds(1))


def prepare_reader(files: int, side: int) -> Callable[[], float]:
    """Images per second from files to Spark's image rows of `side` pixels, thrown away."""
    folder = _folder(files)
    spark = init_nncontext({"spark.master": f"local[{CORES}]", "spark.ui.enabled": "false"}, app_name="nnframes bench")
    return _writing(lambda: NNImageReader.readImages(folder, spark, resizeH=side, resizeW=side, image_codec=1), files)


def prepare_binary(files: int, side: int) -> Callable[[], float]:
    """The same with Spark's own file source and a pandas function that decodes and resizes."""
    folder = _folder(files)
    spark = init_nncontext({"spark.master": f"local[{CORES}]", "spark.ui.enabled": "false"}, app_name="nnframes bench")

    @F.pandas_udf("origin string, height int, width int, nChannels int, mode int, data binary")  # type: ignore[call-overload]
    def decoded(batches: Iterator[tuple[pd.Series, pd.Series]]) -> Iterator[pd.DataFrame]:
        import cv2
        import numpy as np

        cv2.setNumThreads(1)
        for paths, contents in batches:
            rows = []
            for path, content in zip(paths, contents, strict=True):
                picture = cv2.resize(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), (side, side))
                rows.append((path, side, side, 3, 16, picture.tobytes()))
            yield pd.DataFrame(rows, columns=["origin", "height", "width", "nChannels", "mode", "data"])

    def read() -> DataFrame:
        return spark.read.format("binaryFile").load(folder).select(decoded("path", "content").alias("image"))

    return _writing(read, files)


def _folder(files: int) -> str:
    folder = Path(tempfile.mkdtemp(prefix="nnframes-bench-"))
    weakref.finalize(_folder, shutil.rmtree, folder, True)
    save(folder / "photos", files)
    return str(folder / "photos")


def _writing(read: Callable[[], DataFrame], rows: int) -> Callable[[], float]:
    def measure() -> float:
        start = time.perf_counter()
        read().write.format("noop").mode("overwrite").save()
        return rows / (time.perf_counter() - start)

    return measure
