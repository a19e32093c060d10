"""The peers' names and arguments: programs written for them say the same here."""

from __future__ import annotations

import inspect

import pytest

from featurelib import ChainedPreprocessing, Preprocessing
from featurelib import image as I
from featurelib.image import vision as V

JITTER = (
    "brightness_prob=0.5, brightness_delta=32.0, contrast_prob=0.5, contrast_lower=0.5, contrast_upper=1.5, "
    "hue_prob=0.5, hue_delta=18.0, saturation_prob=0.5, saturation_lower=0.5, saturation_upper=1.5, "
    "random_order_prob=0.0, shuffle=False"
)
MEANS = "mean_r, mean_g, mean_b, std_r=1.0, std_g=1.0, std_b=1.0"
SCALE = "min_size, scale_multiple_of=1, max_size=1000, resize_mode=1, use_scale_factor=True, min_scale=-1.0"
EXPAND = "means_r=123, means_g=117, means_b=104, min_expand_ratio=1.0, max_expand_ratio=4.0"
CROP = "crop_width, crop_height, is_clip=True"
FIXED = "x1, y1, x2, y2, normalized=True, is_clip=True"
FILLER = "start_x, start_y, end_x, end_y, value=255"
RESIZE = "resize_h, resize_w, resize_mode=1, use_scale_factor=True"
SCALES = "scales, scale_multiple_of=1, max_size=1000"

ZOO = {
    "ImageBytesToMat": "byte_key='bytes', image_codec=-1",
    "ImagePixelBytesToMat": "byte_key='bytes'",
    "ImageResize": RESIZE,
    "ImageBrightness": "delta_low, delta_high",
    "ImageChannelNormalize": MEANS,
    "PerImageNormalize": "min, max, norm_type=32",
    "ImageMatToTensor": "to_RGB=False, tensor_key='imageTensor', share_buffer=True, format='NCHW'",
    "ImageSetToSample": "input_keys=('imageTensor',), target_keys=('label',), sample_key='sample'",
    "ImageHue": "delta_low, delta_high",
    "ImageSaturation": "delta_low, delta_high",
    "ImageChannelOrder": "",
    "ImageColorJitter": JITTER,
    "ImageAspectScale": SCALE,
    "ImageRandomAspectScale": SCALES,
    "ImagePixelNormalize": "means",
    "ImageRandomCrop": CROP,
    "ImageCenterCrop": CROP,
    "ImageFixedCrop": FIXED,
    "ImageExpand": EXPAND,
    "ImageFiller": FILLER,
    "ImageHFlip": "",
    "ImageMirror": "",
    "ImageFeatureToTensor": "",
    "ImageFeatureToSample": "",
    "RowToImageFeature": "",
    "ImageRandomPreprocessing": "preprocessing, prob",
}
BIGDL = {
    "HFlip": "",
    "Resize": RESIZE,
    "Brightness": "delta_low, delta_high",
    "ChannelOrder": "",
    "Contrast": "delta_low, delta_high",
    "Saturation": "delta_low, delta_high",
    "Hue": "delta_low, delta_high",
    "ChannelNormalize": MEANS,
    "PixelNormalize": "means",
    "RandomCrop": CROP,
    "CenterCrop": CROP,
    "FixedCrop": FIXED,
    "DetectionCrop": "roi_key, normalized=True",
    "Expand": EXPAND,
    "Filler": FILLER,
    "RandomTransformer": "preprocessing, prob",  # transformer in BigDL
    "ColorJitter": JITTER,
    "RandomSampler": "",
    "RoiProject": "need_meet_center_constraint=True",
    "RoiHFlip": "normalized=True",
    "RoiResize": "normalized=False",
    "RoiNormalize": "",
    "MatToFloats": "valid_height=300, valid_width=300, valid_channel=300, out_key='floats', share_buffer=True",
    "MatToTensor": "to_rgb=False, tensor_key='imageTensor'",
    "AspectScale": SCALE,
    "RandomAspectScale": SCALES,
    "BytesToMat": "byte_key='bytes'",
    "ImageFrameToSample": "input_keys=('imageTensor',), target_keys=None, sample_key='sample'",
    "PixelBytesToMat": "byte_key='bytes'",
    "FixExpand": "expand_height, expand_width",
    "ChannelScaledNormalizer": "mean_r, mean_g, mean_b, scale",
    "RandomAlterAspect": (
        "min_area_ratio=0.08, max_area_ratio=1.0, min_aspect_ratio_change=0.75, interp_mode='CUBIC', crop_length=224"
    ),
    "RandomCropper": "crop_w, crop_h, mirror, cropper_method='Random', channels=3",
    "RandomResize": "min_size, max_size",
}


def arguments(cls: type) -> str:
    parameters = inspect.signature(cls).parameters.values()
    return ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters)


@pytest.mark.parametrize("name", ZOO)
def test_arguments_of_analytics_zoo(name: str) -> None:
    assert arguments(getattr(I, name)).startswith(ZOO[name])
    assert name in I.__all__


@pytest.mark.parametrize("name", BIGDL)
def test_arguments_of_bigdl(name: str) -> None:
    assert arguments(getattr(V, name)).startswith(BIGDL[name])


def test_nothing_is_missing() -> None:
    assert (len(ZOO), len(BIGDL)) == (26, 34)
    assert set(V.__all__) == {*BIGDL, "FeatureTransformer", "ImageFeature", "Pipeline"}
    assert V.FeatureTransformer is Preprocessing
    assert V.Pipeline is ChainedPreprocessing
