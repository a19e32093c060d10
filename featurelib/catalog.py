"""The table of all transforms by name: what a saved preprocessing may consist of. Importing it imports OpenCV.

>>> from featurelib.config import from_config
>>> from_config({"class": "SeqToTensor", "args": {"size": [2]}}, PREPROCESSING)
SeqToTensor(size=[2])
"""

from __future__ import annotations

from featurelib import base, image, tensor
from featurelib.registry import built_in

__all__ = ["PREPROCESSING"]

PREPROCESSING: dict[str, type[base.Preprocessing]] = {
    "ArrayToTensor": tensor.ArrayToTensor,
    "ChainedPreprocessing": base.ChainedPreprocessing,
    "ImageBrightness": image.ImageBrightness,
    "ImageBytesToMat": image.ImageBytesToMat,
    "ImageCenterCrop": image.ImageCenterCrop,
    "ImageChannelNormalize": image.ImageChannelNormalize,
    "ImageFeatureToTensor": image.ImageFeatureToTensor,
    "ImageHFlip": image.ImageHFlip,
    "ImageMatToTensor": image.ImageMatToTensor,
    "ImageRandomCrop": image.ImageRandomCrop,
    "ImageRandomPreprocessing": image.ImageRandomPreprocessing,
    "ImageRandomTranslate": image.ImageRandomTranslate,
    "ImageResize": image.ImageResize,
    "RowToImageFeature": image.RowToImageFeature,
    "ScalarToTensor": tensor.ScalarToTensor,
    "SeqToMultipleTensors": tensor.SeqToMultipleTensors,
    "SeqToTensor": tensor.SeqToTensor,
}

built_in(PREPROCESSING)
