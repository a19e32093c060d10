"""LeNet-5 for handwritten digits."""

from __future__ import annotations

from nnframes.nn import Linear, LogSoftMax, Reshape, Sequential, SpatialConvolution, SpatialMaxPooling, Tanh

__all__ = ["LeNet5"]


def LeNet5(class_num: int = 10) -> Sequential:
    """Build BigDL's LeNet-5: rows of 1 x 28 x 28 = 784 numbers, in any shape, to log-probabilities of classes.

    >>> LeNet5(10).output_shape((32, 1, 28, 28))
    (32, 10)
    """
    return (
        Sequential()
        .add(Reshape([1, 28, 28]))
        .add(SpatialConvolution(1, 6, 5, 5).set_name("conv1_5x5"))
        .add(Tanh())
        .add(SpatialMaxPooling(2, 2, 2, 2))
        .add(SpatialConvolution(6, 12, 5, 5).set_name("conv2_5x5"))
        .add(Tanh())
        .add(SpatialMaxPooling(2, 2, 2, 2))
        .add(Reshape([12 * 4 * 4]))
        .add(Linear(12 * 4 * 4, 100).set_name("fc1"))
        .add(Tanh())
        .add(Linear(100, class_num).set_name("fc2"))
        .add(LogSoftMax())
    )
