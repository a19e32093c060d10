"""Our side of the suite `features`, without Spark."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from featurelib import ChainedPreprocessing, Preprocessing, RowStreams, stack
from featurelib.image import (
    ImageBytesToMat,
    ImageChannelNormalize,
    ImageColorJitter,
    ImageFeatureToTensor,
    ImageHFlip,
    ImageMatToTensor,
    ImageRandomPreprocessing,
    ImageResize,
)
from featurelib.image import functional as F
from nnframes.nn import (
    ClassNLLCriterion,
    Layer,
    Linear,
    LogSoftMax,
    ReLU,
    Reshape,
    Sequential,
    SpatialConvolution,
    SpatialMaxPooling,
)
from nnframes.optim import SGD
from nnframes.train import MiniBatch
from nnframes.train.replica import NetworkReplica
from tests.bench.clock import rate_of
from tests.bench.photos import DEVIATIONS, MEANS, photos

BATCH, CLASSES = 32, 10


def chain(side: int, flip: bool = False) -> ChainedPreprocessing:
    """File to tensor; with `flip` half of the pictures mirrored, so that nothing before it but the decoding is kept."""
    steps: list[Preprocessing] = [ImageBytesToMat(image_codec=1), ImageResize(side, side)]
    if flip:
        steps.append(ImageRandomPreprocessing(ImageHFlip(), 0.5))
    steps += [ImageChannelNormalize(*MEANS, *DEVIATIONS), ImageMatToTensor(), ImageFeatureToTensor()]
    return ChainedPreprocessing(steps)


def network(side: int) -> Layer:
    """A net that trains about as fast as its pictures are decoded: the hard case for the two together."""
    rows = side // 32
    return (
        Sequential()
        .add(SpatialConvolution(3, 32, 7, 7, 4, 4, 3, 3))
        .add(ReLU())
        .add(SpatialMaxPooling(2, 2, 2, 2))
        .add(SpatialConvolution(32, 64, 3, 3, 1, 1, 1, 1))
        .add(ReLU())
        .add(SpatialConvolution(64, 64, 3, 3, 1, 1, 1, 1))
        .add(ReLU())
        .add(SpatialMaxPooling(4, 4, 4, 4))
        .add(Reshape([64 * rows * rows]))
        .add(Linear(64 * rows * rows, CLASSES))
        .add(LogSoftMax())
    )


def prepare_chain(side: int) -> Callable[[], float]:
    """The whole chain on batches of photos, into one array."""
    files, steps = photos(), chain(side)
    return rate_of(lambda: stack(steps.batch(files)), len(files))


def prepare_engine(side: int) -> Callable[[], float]:
    """Training steps on ready tensors, one thread."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((BATCH, 3, side, side), np.float32)
    data = MiniBatch((x,), rng.integers(0, CLASSES, BATCH).astype(np.int32))
    replica = NetworkReplica(network(side), ClassNLLCriterion(), SGD(0.01), threads=1)
    message = np.zeros(replica.message_size, np.float32)

    def step() -> None:
        replica.gradient(0, data, 0, message)
        replica.update(message, {})

    return rate_of(step, BATCH)


def prepare_slower(side: int) -> Callable[[], float]:
    """The rate of the chain alone or of the engine alone, whichever is less."""
    files, steps = photos(), chain(side, flip=True)
    streams = [RowStreams(lambda row: np.random.default_rng(row), range(len(files)))]
    features = rate_of(lambda: stack(steps.batch(files, streams[0])), len(files))
    engine = prepare_engine(side)
    return lambda: min(features(), engine())


def prepare_transform(kind: str, side: int) -> Callable[[], float]:
    """One transform on decoded photos of `side` pixels, picture by picture."""
    mats = [F.resize(F.decode(file, 1), side, side) for file in photos()]
    transform = {
        "normalize": ImageChannelNormalize(*MEANS, *DEVIATIONS),
        "resize": ImageResize(160, 160),
        "flip": ImageHFlip(),
        "jitter": ImageColorJitter(1.0, 32.0, 1.0, 0.5, 1.5, 1.0, 18.0, 1.0, 0.5, 1.5),
    }[kind]
    rng = np.random.default_rng(0)
    return rate_of(lambda: [transform.apply(mat, rng) for mat in mats], len(mats))
