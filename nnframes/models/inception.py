"""GoogLeNet (Inception v1) without its auxiliary classifiers."""

from __future__ import annotations

from nnframes.nn import (
    Concat,
    Dropout,
    Linear,
    LogSoftMax,
    ReLU,
    Sequential,
    SpatialAveragePooling,
    SpatialConvolution,
    SpatialCrossMapLRN,
    SpatialMaxPooling,
    View,
    Xavier,
    Zeros,
)

__all__ = ["Inception_v1_NoAuxClassifier"]

# name: input planes, then output planes of 1x1; 3x3 reduce, 3x3; 5x5 reduce, 5x5; pooling projection.
_MODULES = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def Inception_v1_NoAuxClassifier(class_num: int = 1000, has_dropout: bool = True) -> Sequential:
    """Build the main branch of GoogLeNet: (batch, 3, 224, 224) to log-probabilities of classes.

    Layers are named and initialised (Xavier, zero bias) as in Caffe's and BigDL's.

    >>> Inception_v1_NoAuxClassifier(1000).output_shape((2, 3, 224, 224))
    (2, 1000)
    """
    model = Sequential()
    _convolution(model, "conv1/7x7_s2", 3, 64, 7, stride=2, pad=3)
    model.add(SpatialMaxPooling(3, 3, 2, 2).ceil().set_name("pool1/3x3_s2"))
    model.add(SpatialCrossMapLRN(5, 0.0001, 0.75).set_name("pool1/norm1"))
    _convolution(model, "conv2/3x3_reduce", 64, 64, 1)
    _convolution(model, "conv2/3x3", 64, 192, 3, pad=1)
    model.add(SpatialCrossMapLRN(5, 0.0001, 0.75).set_name("conv2/norm2"))
    model.add(SpatialMaxPooling(3, 3, 2, 2).ceil().set_name("pool2/3x3_s2"))
    for name in _MODULES:
        model.add(_module(name))
        if name in ("3b", "4e"):
            model.add(SpatialMaxPooling(3, 3, 2, 2).ceil().set_name(f"pool{int(name[0])}/3x3_s2"))
    model.add(SpatialAveragePooling(7, 7, 1, 1).set_name("pool5/7x7_s1"))
    if has_dropout:
        model.add(Dropout(0.4).set_name("pool5/drop_7x7_s1"))
    model.add(View([1024], 3))
    model.add(Linear(1024, class_num).set_init_method(Xavier(), Zeros()).set_name("loss3/classifier"))
    return model.add(LogSoftMax().set_name("loss3/loss3"))


def _convolution(
    model: Sequential, name: str, inputs: int, outputs: int, kernel: int, stride: int = 1, pad: int = 0
) -> Sequential:
    convolution = SpatialConvolution(inputs, outputs, kernel, kernel, stride, stride, pad, pad)
    model.add(convolution.set_init_method(Xavier(), Zeros()).set_name(name))
    folder, _, last = name.rpartition("/")
    return model.add(ReLU(True).set_name(f"{folder}/relu_{last}"))


def _module(name: str) -> Concat:
    inputs, one, reduce3, three, reduce5, five, project = _MODULES[name]
    prefix = f"inception_{name}/"
    branch3 = _convolution(Sequential(), f"{prefix}3x3_reduce", inputs, reduce3, 1)
    branch5 = _convolution(Sequential(), f"{prefix}5x5_reduce", inputs, reduce5, 1)
    pooled = Sequential().add(SpatialMaxPooling(3, 3, 1, 1, 1, 1).ceil().set_name(f"{prefix}pool"))
    return (
        Concat(1)
        .add(_convolution(Sequential(), f"{prefix}1x1", inputs, one, 1))
        .add(_convolution(branch3, f"{prefix}3x3", reduce3, three, 3, pad=1))
        .add(_convolution(branch5, f"{prefix}5x5", reduce5, five, 5, pad=2))
        .add(_convolution(pooled, f"{prefix}pool_proj", inputs, project, 1))
        .set_name(f"{prefix}output")
    )
