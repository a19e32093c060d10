"""BigDL's vision transforms (`bigdl.transform.vision.image`) under their own names.

Most are transforms of `featurelib.image` by another name, and with the argument names there; so is what a saved chain
holds.

>>> import numpy as np
>>> chain = Pipeline([Resize(4, 6), HFlip(), MatToFloats()])
>>> chain(np.zeros((8, 8, 3), np.uint8))["floats"].shape
(3, 4, 6)
"""

from __future__ import annotations

from featurelib.base import Preprocessing
from featurelib.image import (
    ChainedPreprocessing,
    ChannelScaledNormalizer,
    DetectionCrop,
    FixExpand,
    ImageAspectScale,
    ImageBrightness,
    ImageBytesToMat,
    ImageCenterCrop,
    ImageChannelNormalize,
    ImageChannelOrder,
    ImageColorJitter,
    ImageContrast,
    ImageExpand,
    ImageFeature,
    ImageFiller,
    ImageFixedCrop,
    ImageFrameToSample,
    ImageHFlip,
    ImageHue,
    ImagePixelBytesToMat,
    ImagePixelNormalize,
    ImageRandomAspectScale,
    ImageRandomCrop,
    ImageRandomPreprocessing,
    ImageResize,
    ImageSaturation,
    MatToFloats,
    MatToTensor,
    RandomAlterAspect,
    RandomCropper,
    RandomResize,
    RandomSampler,
    RoiHFlip,
    RoiNormalize,
    RoiProject,
    RoiResize,
)

__all__ = [
    "AspectScale",
    "Brightness",
    "BytesToMat",
    "CenterCrop",
    "ChannelNormalize",
    "ChannelOrder",
    "ChannelScaledNormalizer",
    "ColorJitter",
    "Contrast",
    "DetectionCrop",
    "Expand",
    "FeatureTransformer",
    "Filler",
    "FixExpand",
    "FixedCrop",
    "HFlip",
    "Hue",
    "ImageFeature",
    "ImageFrameToSample",
    "MatToFloats",
    "MatToTensor",
    "Pipeline",
    "PixelBytesToMat",
    "PixelNormalize",
    "RandomAlterAspect",
    "RandomAspectScale",
    "RandomCrop",
    "RandomCropper",
    "RandomResize",
    "RandomSampler",
    "RandomTransformer",
    "Resize",
    "RoiHFlip",
    "RoiNormalize",
    "RoiProject",
    "RoiResize",
    "Saturation",
]

AspectScale = ImageAspectScale
Brightness = ImageBrightness
BytesToMat = ImageBytesToMat
CenterCrop = ImageCenterCrop
ChannelNormalize = ImageChannelNormalize
ChannelOrder = ImageChannelOrder
ColorJitter = ImageColorJitter
Contrast = ImageContrast
Expand = ImageExpand
FeatureTransformer = Preprocessing
Filler = ImageFiller
FixedCrop = ImageFixedCrop
HFlip = ImageHFlip
Hue = ImageHue
Pipeline = ChainedPreprocessing
PixelBytesToMat = ImagePixelBytesToMat
PixelNormalize = ImagePixelNormalize
RandomAspectScale = ImageRandomAspectScale
RandomCrop = ImageRandomCrop
RandomTransformer = ImageRandomPreprocessing
Resize = ImageResize
Saturation = ImageSaturation
