"""How ops run on oneDNN: one emitter an op, in one table. An op that is not here runs its numpy reference."""

from __future__ import annotations

from kernels.onednn import convolution, elementwise, linear, normalization, pooling, random, reduction, shape
from kernels.onednn.compiler import Emitter

EMITTERS: dict[str, Emitter] = {
    "add": elementwise.binary,
    "add_n": elementwise.add_n,
    "avg_pool": pooling.avg_pool,
    "avg_pool_backward": pooling.avg_pool_backward,
    "batch_norm": normalization.batch_norm,
    "batch_norm_backward": normalization.batch_norm_backward,
    "batch_norm_inference": normalization.batch_norm_inference,
    "bernoulli_mask": random.bernoulli_mask,
    "concat": shape.concat,
    "convolution": convolution.convolution,
    "convolution_backward_data": convolution.backward_data,
    "convolution_backward_weights": convolution.backward_weights,
    "divide": elementwise.binary,
    "linear": linear.linear,
    "linear_backward_data": linear.backward_data,
    "linear_backward_weights": linear.backward_weights,
    "log_softmax": normalization.softmax,
    "log_softmax_backward": normalization.softmax_backward,
    "lrn": normalization.lrn,
    "lrn_backward": normalization.lrn_backward,
    "masked": random.masked,
    "matmul": linear.matmul,
    "max_pool": pooling.max_pool,
    "max_pool_backward": pooling.max_pool_backward,
    "maximum": elementwise.binary,
    "minimum": elementwise.binary,
    "multiply": elementwise.binary,
    "reduce": reduction.reduce,
    "reshape": shape.reshape,
    "slice": shape.slice_,
    "softmax": normalization.softmax,
    "softmax_backward": normalization.softmax_backward,
    "subtract": elementwise.binary,
    "transpose": shape.transpose,
    "unary": elementwise.unary,
    "unary_gradient": elementwise.unary_gradient,
}
