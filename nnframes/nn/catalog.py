"""What a config may name: the classes of this package, as literal tables."""

from __future__ import annotations

from featurelib.registry import built_in
from nnframes.nn import (
    activation,
    containers,
    convolution,
    initialisers,
    math,
    normalization,
    pooling,
    regularizers,
    shape,
)
from nnframes.nn import criterion as criterions
from nnframes.nn.criterion.base import Criterion
from nnframes.nn.detection import NonMaxSuppression
from nnframes.nn.dropout import Dropout
from nnframes.nn.embedding import LookupTable
from nnframes.nn.graph_model import Model
from nnframes.nn.initialisers import InitMethod
from nnframes.nn.layer import Layer
from nnframes.nn.linear import Linear
from nnframes.nn.recurrent import Recurrent, RnnCell
from nnframes.nn.regularizers import Regularizer

__all__ = ["CRITERIONS", "INITIALIZERS", "LAYERS", "REGULARIZERS"]

LAYERS: dict[str, type[Layer]] = {
    "Abs": math.Abs,
    "Add": math.Add,
    "AddConstant": math.AddConstant,
    "BatchNormalization": normalization.BatchNormalization,
    "CAdd": math.CAdd,
    "CAddTable": containers.CAddTable,
    "CMaxTable": containers.CMaxTable,
    "CMul": math.CMul,
    "CMulTable": containers.CMulTable,
    "CSubTable": containers.CSubTable,
    "Clamp": activation.Clamp,
    "Concat": containers.Concat,
    "ConcatTable": containers.ConcatTable,
    "Contiguous": shape.Contiguous,
    "Dropout": Dropout,
    "ELU": activation.ELU,
    "Exp": math.Exp,
    "FlattenTable": containers.FlattenTable,
    "HardShrink": activation.HardShrink,
    "HardSigmoid": activation.HardSigmoid,
    "HardTanh": activation.HardTanh,
    "Identity": containers.Identity,
    "JoinTable": containers.JoinTable,
    "LeakyReLU": activation.LeakyReLU,
    "Linear": Linear,
    "Log": math.Log,
    "LogSigmoid": activation.LogSigmoid,
    "LogSoftMax": activation.LogSoftMax,
    "LookupTable": LookupTable,
    "MM": math.MM,
    "Max": math.Max,
    "Mean": math.Mean,
    "Min": math.Min,
    "Model": Model,
    "Mul": math.Mul,
    "MulConstant": math.MulConstant,
    "Narrow": shape.Narrow,
    "NonMaxSuppression": NonMaxSuppression,
    "PReLU": activation.PReLU,
    "Padding": shape.Padding,
    "ParallelTable": containers.ParallelTable,
    "Power": math.Power,
    "ReLU": activation.ReLU,
    "ReLU6": activation.ReLU6,
    "Recurrent": Recurrent,
    "Reshape": shape.Reshape,
    "RnnCell": RnnCell,
    "Select": shape.Select,
    "SelectTable": containers.SelectTable,
    "Sequential": containers.Sequential,
    "Sigmoid": activation.Sigmoid,
    "SoftMax": activation.SoftMax,
    "SoftMin": activation.SoftMin,
    "SoftPlus": activation.SoftPlus,
    "SoftShrink": activation.SoftShrink,
    "SoftSign": activation.SoftSign,
    "SpatialAveragePooling": pooling.SpatialAveragePooling,
    "SpatialBatchNormalization": normalization.SpatialBatchNormalization,
    "SpatialConvolution": convolution.SpatialConvolution,
    "SpatialCrossMapLRN": normalization.SpatialCrossMapLRN,
    "SpatialDilatedConvolution": convolution.SpatialDilatedConvolution,
    "SpatialMaxPooling": pooling.SpatialMaxPooling,
    "SpatialZeroPadding": shape.SpatialZeroPadding,
    "Sqrt": math.Sqrt,
    "Square": math.Square,
    "Squeeze": shape.Squeeze,
    "Sum": math.Sum,
    "Tanh": activation.Tanh,
    "TanhShrink": activation.TanhShrink,
    "TemporalConvolution": convolution.TemporalConvolution,
    "TemporalMaxPooling": pooling.TemporalMaxPooling,
    "Threshold": activation.Threshold,
    "Transpose": shape.Transpose,
    "Unsqueeze": shape.Unsqueeze,
    "View": shape.View,
    "VolumetricAveragePooling": pooling.VolumetricAveragePooling,
    "VolumetricConvolution": convolution.VolumetricConvolution,
    "VolumetricMaxPooling": pooling.VolumetricMaxPooling,
}

CRITERIONS: dict[str, type[Criterion]] = {
    "AbsCriterion": criterions.AbsCriterion,
    "BCECriterion": criterions.BCECriterion,
    "ClassNLLCriterion": criterions.ClassNLLCriterion,
    "CrossEntropyCriterion": criterions.CrossEntropyCriterion,
    "MSECriterion": criterions.MSECriterion,
    "SmoothL1Criterion": criterions.SmoothL1Criterion,
}

INITIALIZERS: dict[str, type[InitMethod]] = {
    "BilinearFiller": initialisers.BilinearFiller,
    "ConstInitMethod": initialisers.ConstInitMethod,
    "MsraFiller": initialisers.MsraFiller,
    "Ones": initialisers.Ones,
    "RandomNormal": initialisers.RandomNormal,
    "RandomUniform": initialisers.RandomUniform,
    "Xavier": initialisers.Xavier,
    "Zeros": initialisers.Zeros,
}

REGULARIZERS: dict[str, type[Regularizer]] = {
    "L1L2Regularizer": regularizers.L1L2Regularizer,
    "L1Regularizer": regularizers.L1Regularizer,
    "L2Regularizer": regularizers.L2Regularizer,
}

built_in(LAYERS, CRITERIONS, INITIALIZERS, REGULARIZERS)
