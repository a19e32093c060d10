"""Digit-like PNG files and the chain that turns them into tensors, for both sides of the Spark suite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from featurelib import ChainedPreprocessing, stack
from featurelib.image import ImageBytesToMat, ImageChannelNormalize, ImageFeatureToTensor, ImageMatToTensor
from featurelib.image.functional import encode_png
from nnframes.models import LeNet5
from nnframes.nn.network import Predictor
from tests.bench.clock import rate_of


def chain() -> ChainedPreprocessing:
    """Decode, normalise, to tensor."""
    steps = [ImageBytesToMat(image_codec=0), ImageChannelNormalize(33.0, 33.0, 33.0, 79.0, 79.0, 79.0)]
    return ChainedPreprocessing([*steps, ImageMatToTensor(), ImageFeatureToTensor()])


def files(rows: int) -> list[bytes]:
    """PNG files of 28 x 28 grey pixels, dark around a bright stroke as digits are."""
    rng = np.random.default_rng(0)
    pictures = np.zeros((256, 28, 28), np.uint8)
    for picture in pictures:
        column, row = rng.integers(6, 18, 2)
        picture[row : row + 8, column : column + 4] = rng.integers(100, 255, (8, 4))
    encoded = [encode_png(picture) for picture in pictures]
    return [encoded[number % len(encoded)] for number in range(rows)]


def prepare(batch: int, threads: int) -> Callable[[], float]:
    """Chain and network on one batch of files, without Spark."""
    data, steps = files(batch), chain()
    predict = Predictor(LeNet5(), batch, (1, 28, 28), threads)
    return rate_of(lambda: predict((stack(steps.batch(data)),)), batch)
