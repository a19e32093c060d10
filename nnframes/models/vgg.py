"""VGG for small colour images."""

from __future__ import annotations

from nnframes.nn import (
    BatchNormalization,
    Dropout,
    Linear,
    LogSoftMax,
    ReLU,
    Sequential,
    SpatialBatchNormalization,
    SpatialConvolution,
    SpatialMaxPooling,
    View,
)

__all__ = ["VggForCifar10"]

# Output planes of the 3x3 convolutions of each block; a block ends with a 2x2 pooling.
_BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
_DROPOUT = {64: 0.3}


def VggForCifar10(class_num: int = 10, has_dropout: bool = True) -> Sequential:
    """Build VGG-16 with batch normalisation for 32 x 32 images: (batch, 3, 32, 32) to log-probabilities of classes.

    >>> VggForCifar10().output_shape((2, 3, 32, 32))
    (2, 10)
    """
    model, planes = Sequential(), 3
    for block in _BLOCKS:
        for number, outputs in enumerate(block, start=1):
            model.add(SpatialConvolution(planes, outputs, 3, 3, pad_w=1, pad_h=1))
            model.add(SpatialBatchNormalization(outputs, 1e-3)).add(ReLU(True))
            if has_dropout and number < len(block):
                model.add(Dropout(_DROPOUT.get(outputs, 0.4)))
            planes = outputs
        model.add(SpatialMaxPooling(2, 2, 2, 2).ceil())
    model.add(View([512]))
    if has_dropout:
        model.add(Dropout(0.5))
    model.add(Linear(512, 512)).add(BatchNormalization(512)).add(ReLU(True))
    if has_dropout:
        model.add(Dropout(0.5))
    return model.add(Linear(512, class_num)).add(LogSoftMax())
