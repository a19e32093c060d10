"""Image features: from files' bytes to tensors, with the transforms of Analytics Zoo's `zoo.feature.image`.

Those of BigDL's are here too, and under their own names in `featurelib.image.vision`. Boxes follow the picture:

>>> import numpy as np
>>> record = ImageFeature(np.zeros((20, 40), np.uint8)).replace(roi=Roi([[0, 0, 10, 10]], [1]))
>>> (ImageResize(40, 80) >> ImageHFlip())(record)["roi"].boxes.tolist()
[[60.0, 0.0, 80.0, 20.0]]

A chain from a file to a tensor:

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
from featurelib.image.roi import Roi
from featurelib.image.transforms.color import (
    ImageBrightness,
    ImageChannelOrder,
    ImageColorJitter,
    ImageContrast,
    ImageHue,
    ImageSaturation,
)
from featurelib.image.transforms.convert import (
    ImageBytesToMat,
    ImageFeatureToTensor,
    ImageMatToTensor,
    ImagePixelBytesToMat,
    MatToFloats,
    MatToTensor,
    RowToImageFeature,
)
from featurelib.image.transforms.crop import (
    ImageCenterCrop,
    ImageFixedCrop,
    ImageRandomCrop,
    ImageRandomResizedCrop,
    RandomAlterAspect,
    RandomCropper,
)
from featurelib.image.transforms.erase import ImageCutout, ImageFiller, ImageGaussianBlur
from featurelib.image.transforms.geometry import (
    FixExpand,
    ImageAffine,
    ImageExpand,
    ImageHFlip,
    ImageMirror,
    ImageRandomRotate,
    ImageRandomTranslate,
    ImageRotate,
)
from featurelib.image.transforms.normalize import (
    ChannelScaledNormalizer,
    ImageChannelNormalize,
    ImagePixelNormalize,
    PerImageNormalize,
)
from featurelib.image.transforms.resize import ImageAspectScale, ImageRandomAspectScale, ImageResize, RandomResize
from featurelib.image.transforms.roi import DetectionCrop, RandomSampler, RoiHFlip, RoiNormalize, RoiProject, RoiResize
from featurelib.image.transforms.sample import ImageFeatureToSample, ImageFrameToSample, ImageSetToSample
from featurelib.image.transforms.sampling import ImageRandomPreprocessing
from featurelib.sample import Sample

__all__ = [
    "ChainedPreprocessing",
    "ChannelScaledNormalizer",
    "Compose",
    "DetectionCrop",
    "FixExpand",
    "ImageAffine",
    "ImageAspectScale",
    "ImageBrightness",
    "ImageBytesToMat",
    "ImageCenterCrop",
    "ImageChannelNormalize",
    "ImageChannelOrder",
    "ImageColorJitter",
    "ImageContrast",
    "ImageCutout",
    "ImageExpand",
    "ImageFeature",
    "ImageFeatureToSample",
    "ImageFeatureToTensor",
    "ImageFiller",
    "ImageFixedCrop",
    "ImageFrameToSample",
    "ImageGaussianBlur",
    "ImageHFlip",
    "ImageHue",
    "ImageMatToTensor",
    "ImageMirror",
    "ImagePixelBytesToMat",
    "ImagePixelNormalize",
    "ImageRandomAspectScale",
    "ImageRandomCrop",
    "ImageRandomPreprocessing",
    "ImageRandomResizedCrop",
    "ImageRandomRotate",
    "ImageRandomTranslate",
    "ImageResize",
    "ImageRotate",
    "ImageSaturation",
    "ImageSetToSample",
    "MatToFloats",
    "MatToTensor",
    "PerImageNormalize",
    "RandomAlterAspect",
    "RandomCropper",
    "RandomResize",
    "RandomSampler",
    "Roi",
    "RoiHFlip",
    "RoiNormalize",
    "RoiProject",
    "RoiResize",
    "RowToImageFeature",
    "Sample",
]

Compose = ChainedPreprocessing  # BigDL 2's name
