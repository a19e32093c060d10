"""Image features: from files' bytes to tensors, with the transforms of Analytics Zoo's `zoo.feature.image`.

>>> import numpy as np
>>> from featurelib.image.functional import encode_png
>>> chain = ChainedPreprocessing(
...     [
...         ImageBytesToMat(),
...         ImageResize(28, 28),
...         ImageChannelNormalize(128.0, 128.0, 128.0, 64.0, 64.0, 64.0),
...         ImageMatToTensor(),
...         ImageFeatureToTensor(),
...     ]
... )
>>> chain(encode_png(np.zeros((20, 20), np.uint8))).shape
(1, 28, 28)
"""

from __future__ import annotations

from featurelib.base import ChainedPreprocessing
from featurelib.image.feature import ImageFeature
from featurelib.image.transforms.color import ImageBrightness, ImageChannelNormalize
from featurelib.image.transforms.convert import (
    ImageBytesToMat,
    ImageFeatureToTensor,
    ImageMatToTensor,
    RowToImageFeature,
)
from featurelib.image.transforms.geometry import (
    ImageCenterCrop,
    ImageHFlip,
    ImageRandomCrop,
    ImageRandomTranslate,
    ImageResize,
)
from featurelib.image.transforms.sampling import ImageRandomPreprocessing

__all__ = [
    "ChainedPreprocessing",
    "ImageBrightness",
    "ImageBytesToMat",
    "ImageCenterCrop",
    "ImageChannelNormalize",
    "ImageFeature",
    "ImageFeatureToTensor",
    "ImageHFlip",
    "ImageMatToTensor",
    "ImageRandomCrop",
    "ImageRandomPreprocessing",
    "ImageRandomTranslate",
    "ImageResize",
    "RowToImageFeature",
]
