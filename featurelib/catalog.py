"""The table of all transforms by name: what a saved preprocessing may consist of. Importing it imports OpenCV.

>>> from featurelib.config import from_config
>>> from_config({"class": "SeqToTensor", "args": {"size": [2]}}, PREPROCESSING)
SeqToTensor(size=[2])
"""

from __future__ import annotations

from featurelib import adapters, audio, base, image, tensor, text, volume
from featurelib.registry import built_in

__all__ = ["PREPROCESSING"]

PREPROCESSING: dict[str, type[base.Preprocessing]] = {
    "AffineTransform3D": volume.AffineTransform3D,
    "ArrayToTensor": tensor.ArrayToTensor,
    "AudioDecode": audio.AudioDecode,
    "AudioPadOrTrim": audio.AudioPadOrTrim,
    "BigDLAdapter": adapters.BigDLAdapter,
    "CenterCrop3D": volume.CenterCrop3D,
    "ChainedPreprocessing": base.ChainedPreprocessing,
    "ChannelScaledNormalizer": image.ChannelScaledNormalizer,
    "Crop3D": volume.Crop3D,
    "DetectionCrop": image.DetectionCrop,
    "FeatureLabelPreprocessing": adapters.FeatureLabelPreprocessing,
    "FeatureToTupleAdapter": adapters.FeatureToTupleAdapter,
    "FixExpand": image.FixExpand,
    "Framing": audio.Framing,
    "ImageAffine": image.ImageAffine,
    "ImageAspectScale": image.ImageAspectScale,
    "ImageBrightness": image.ImageBrightness,
    "ImageBytesToMat": image.ImageBytesToMat,
    "ImageCenterCrop": image.ImageCenterCrop,
    "ImageChannelNormalize": image.ImageChannelNormalize,
    "ImageChannelOrder": image.ImageChannelOrder,
    "ImageColorJitter": image.ImageColorJitter,
    "ImageContrast": image.ImageContrast,
    "ImageCutout": image.ImageCutout,
    "ImageExpand": image.ImageExpand,
    "ImageFeatureToSample": image.ImageFeatureToSample,
    "ImageFeatureToTensor": image.ImageFeatureToTensor,
    "ImageFiller": image.ImageFiller,
    "ImageFixedCrop": image.ImageFixedCrop,
    "ImageFrameToSample": image.ImageFrameToSample,
    "ImageGaussianBlur": image.ImageGaussianBlur,
    "ImageHFlip": image.ImageHFlip,
    "ImageHue": image.ImageHue,
    "ImageMatToTensor": image.ImageMatToTensor,
    "ImageMirror": image.ImageMirror,
    "ImagePixelBytesToMat": image.ImagePixelBytesToMat,
    "ImagePixelNormalize": image.ImagePixelNormalize,
    "ImageRandomAspectScale": image.ImageRandomAspectScale,
    "ImageRandomCrop": image.ImageRandomCrop,
    "ImageRandomPreprocessing": image.ImageRandomPreprocessing,
    "ImageRandomResizedCrop": image.ImageRandomResizedCrop,
    "ImageRandomRotate": image.ImageRandomRotate,
    "ImageRandomTranslate": image.ImageRandomTranslate,
    "ImageResize": image.ImageResize,
    "ImageRotate": image.ImageRotate,
    "ImageSaturation": image.ImageSaturation,
    "ImageSetToSample": image.ImageSetToSample,
    "LogMelSpectrogram": audio.LogMelSpectrogram,
    "MFCC": audio.MFCC,
    "MatToFloats": image.MatToFloats,
    "MatToTensor": image.MatToTensor,
    "Normalizer": text.Normalizer,
    "PerImageNormalize": image.PerImageNormalize,
    "RandomAlterAspect": image.RandomAlterAspect,
    "RandomCrop3D": volume.RandomCrop3D,
    "RandomCropper": image.RandomCropper,
    "RandomResize": image.RandomResize,
    "RandomSampler": image.RandomSampler,
    "RoiHFlip": image.RoiHFlip,
    "RoiNormalize": image.RoiNormalize,
    "RoiProject": image.RoiProject,
    "RoiResize": image.RoiResize,
    "Rotate3D": volume.Rotate3D,
    "RowToImageFeature": image.RowToImageFeature,
    "ScalarToTensor": tensor.ScalarToTensor,
    "SeqToMultipleTensors": tensor.SeqToMultipleTensors,
    "SeqToTensor": tensor.SeqToTensor,
    "SequenceShaper": text.SequenceShaper,
    "TensorToSample": adapters.TensorToSample,
    "TextFeatureToSample": text.TextFeatureToSample,
    "ToTuple": adapters.ToTuple,
    "Tokenizer": text.Tokenizer,
    "WordIndexer": text.WordIndexer,
}

built_in(PREPROCESSING)
