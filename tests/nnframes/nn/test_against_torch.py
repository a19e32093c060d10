"""Layers and criterions against PyTorch, where it is installed: outputs and gradients of inputs and parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nnframes import nn
from nnframes.nn.nest import flatten
from tests.conformance.layers_table import Run

torch = pytest.importorskip("torch")
F = torch.nn.functional

SEQUENCE, FLAT, IMAGE, VOLUME = (2, 9, 5), (4, 6), (2, 4, 9, 8), (1, 2, 5, 6, 7)
_avg = {"kernel_size": 3, "stride": 2, "padding": 1}


def _bn(x: Any, w: Any, b: Any) -> Any:
    return F.batch_norm(x, None, None, w, b, training=True, eps=1e-5)


def _rnn(x: Any, w: Any, b: Any, u: Any, c: Any) -> Any:
    return torch.rnn_tanh(
        x, torch.zeros(1, x.shape[0], 3, dtype=x.dtype), [w, u, b, c], True, 1, 0.0, False, False, True
    )[0]


# our layer, the shapes of its inputs, the same in PyTorch: function of the inputs, then the weights of get_weights()
CASES: list[tuple[nn.Layer, list[tuple[int, ...]], Callable[..., Any]]] = [
    (nn.Linear(6, 5), [FLAT], F.linear),
    (nn.SpatialConvolution(4, 6, 3, 2, 2, 1, 1, 2), [IMAGE], lambda x, w, b: F.conv2d(x, w, b, (1, 2), (2, 1))),
    (nn.SpatialConvolution(4, 6, 3, 3, n_group=2), [IMAGE], lambda x, w, b: F.conv2d(x, w, b, groups=2)),
    (nn.SpatialConvolution(4, 6, 3, 3, 1, 1, -1, -1), [IMAGE], lambda x, w, b: F.conv2d(x, w, b, padding="same")),
    (
        nn.SpatialConvolution(8, 6, 3, 2, data_format="NHWC"),
        [IMAGE],
        lambda x, w, b: F.conv2d(x.permute(0, 3, 1, 2), w, b).permute(0, 2, 3, 1),
    ),
    (
        nn.SpatialDilatedConvolution(4, 3, 3, 3, pad_w=2, dilation_w=2),
        [IMAGE],
        lambda x, w, b: F.conv2d(x, w, b, padding=(0, 2), dilation=(1, 2)),
    ),
    (nn.TemporalConvolution(5, 7, 3, 2), [SEQUENCE], lambda x, w, b: F.conv1d(x.mT, w, b, 2).mT),
    (nn.VolumetricConvolution(2, 3, 2, 4, 3, 2), [VOLUME], lambda x, w, b: F.conv3d(x, w, b, (2, 1, 1))),
    (nn.SpatialMaxPooling(3, 2, 2, 1, 1, 1), [IMAGE], lambda x: F.max_pool2d(x, (2, 3), (1, 2), (1, 1))),
    (nn.SpatialMaxPooling(3, 3, 2, 2).ceil(), [IMAGE], lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)),
    (nn.SpatialAveragePooling(3, 3, 2, 2, 1, 1), [IMAGE], lambda x: F.avg_pool2d(x, 3, 2, 1)),
    (
        nn.SpatialAveragePooling(3, 3, 2, 2, 1, 1, ceil_mode=True),
        [IMAGE],
        lambda x: F.avg_pool2d(x, **_avg, ceil_mode=True),
    ),
    (
        nn.SpatialAveragePooling(3, 3, 2, 2, 1, 1, ceil_mode=True, count_include_pad=False),
        [IMAGE],
        lambda x: F.avg_pool2d(x, **_avg, ceil_mode=True, count_include_pad=False),
    ),
    (nn.SpatialAveragePooling(2, 2, divide=False), [IMAGE], lambda x: F.avg_pool2d(x, 2, 1, divisor_override=1)),
    (
        nn.VolumetricAveragePooling(2, 3, 2, 2, 2, 2, 1, 0, 1, ceil_mode=True),
        [VOLUME],
        lambda x: F.avg_pool3d(x, (2, 2, 3), 2, (1, 1, 0), ceil_mode=True),
    ),
    (nn.SpatialAveragePooling(1, 1, global_pooling=True), [IMAGE], lambda x: F.adaptive_avg_pool2d(x, 1)),
    (nn.TemporalMaxPooling(3, 2), [SEQUENCE], lambda x: F.max_pool1d(x.mT, 3, 2).mT),
    (nn.VolumetricMaxPooling(2, 3, 2, 1, 2, 2), [VOLUME], lambda x: F.max_pool3d(x, (2, 2, 3), (1, 2, 2))),
    (nn.VolumetricAveragePooling(2, 3, 2, 1, 2, 2), [VOLUME], lambda x: F.avg_pool3d(x, (2, 2, 3), (1, 2, 2))),
    (nn.BatchNormalization(6), [FLAT], _bn),
    (nn.SpatialBatchNormalization(4), [IMAGE], _bn),
    (nn.SpatialCrossMapLRN(3, 0.5, 0.6, 2.0), [IMAGE], lambda x: F.local_response_norm(x, 3, 0.5, 0.6, 2.0)),
    (nn.ReLU(), [FLAT], F.relu),
    (nn.ReLU6(), [FLAT], F.relu6),
    (nn.LeakyReLU(0.1), [FLAT], lambda x: F.leaky_relu(x, 0.1)),
    (nn.PReLU(4), [IMAGE], F.prelu),
    (nn.ELU(0.7), [FLAT], lambda x: F.elu(x, 0.7)),
    (nn.Tanh(), [FLAT], torch.tanh),
    (nn.TanhShrink(), [FLAT], F.tanhshrink),
    (nn.Sigmoid(), [FLAT], torch.sigmoid),
    (nn.LogSigmoid(), [FLAT], F.logsigmoid),
    (nn.HardTanh(-0.5, 0.8), [FLAT], lambda x: F.hardtanh(x, -0.5, 0.8)),
    (nn.HardShrink(0.4), [FLAT], lambda x: F.hardshrink(x, 0.4)),
    (nn.SoftShrink(0.4), [FLAT], lambda x: F.softshrink(x, 0.4)),
    (nn.SoftPlus(2.0), [FLAT], lambda x: F.softplus(x, 2.0)),
    (nn.SoftSign(), [FLAT], F.softsign),
    (nn.SoftMax(), [IMAGE], lambda x: F.softmax(x, 1)),
    (nn.SoftMin(), [FLAT], lambda x: F.softmin(x, 1)),
    (nn.LogSoftMax(), [FLAT], lambda x: F.log_softmax(x, 1)),
    (nn.Threshold(0.2, -1.0), [FLAT], lambda x: F.threshold(x, 0.2, -1.0)),
    (nn.Clamp(-0.5, 0.5), [FLAT], lambda x: x.clamp(-0.5, 0.5)),
    (nn.Transpose([(1, 2), (2, 3)]), [IMAGE], lambda x: x.transpose(1, 2).transpose(2, 3)),
    (nn.Select(1, -1), [IMAGE], lambda x: x[:, -1]),
    (nn.Narrow(2, 1, 3), [IMAGE], lambda x: x[:, :, 1:4]),
    (nn.SpatialZeroPadding(1, -2, 3, 0), [IMAGE], lambda x: F.pad(x, (1, -2, 3, 0))),
    (nn.Max(1), [IMAGE], lambda x: x.amax(1)),
    (nn.Mean(2), [IMAGE], lambda x: x.mean(2)),
    (nn.MM(trans_a=True), [(3, 4, 2), (3, 4, 5)], lambda a, b: a.mT @ b),
    (nn.Recurrent().add(nn.RnnCell(5, 3)), [SEQUENCE], _rnn),
]


def _tensor(array: np.ndarray) -> Any:
    return torch.tensor(np.asarray(array, np.float64), requires_grad=True)


@pytest.mark.parametrize(("layer", "shapes", "theirs"), CASES, ids=lambda x: type(x).__name__)
def test_layers(layer, shapes, theirs):
    rng = np.random.default_rng(2)
    inputs = [rng.normal(0, 1, shape) for shape in shapes]
    run = Run.of(layer, inputs if len(inputs) > 1 else inputs[0], training=True)
    leaves = [_tensor(array) for array in [*inputs, *layer.get_weights()]]
    expected = theirs(*leaves)
    result = flatten(run.result())[0]
    np.testing.assert_allclose(result, expected.detach(), rtol=1e-6, atol=1e-8)
    seed = rng.normal(0, 1, result.shape)
    expected.backward(torch.tensor(seed))
    gradients = run.gradients([seed])
    for (name, ours), leaf in zip(gradients.items(), leaves, strict=True):
        np.testing.assert_allclose(ours, leaf.grad, rtol=1e-6, atol=1e-8, err_msg=name)


_weights = np.array([1.0, 2.0, 0.5, 3.0, 1.0, 0.1], np.float32)
CRITERIONS = [
    (nn.ClassNLLCriterion(), lambda x, y: F.nll_loss(x, y, ignore_index=-1)),
    (
        nn.ClassNLLCriterion(_weights, False),
        lambda x, y: F.nll_loss(x, y, torch.tensor(_weights), ignore_index=-1, reduction="sum"),
    ),
    (nn.CrossEntropyCriterion(_weights), lambda x, y: F.cross_entropy(x, y, torch.tensor(_weights), ignore_index=-1)),
    (nn.MSECriterion(), F.mse_loss),
    (nn.AbsCriterion(), F.l1_loss),
    (nn.SmoothL1Criterion(), F.smooth_l1_loss),
    (nn.BCECriterion(), F.binary_cross_entropy),
    (
        nn.BCECriterion(_weights, False),
        lambda x, y: F.binary_cross_entropy(x, y, torch.tensor(_weights), reduction="sum"),
    ),
]


@pytest.mark.parametrize(("criterion", "theirs"), CRITERIONS, ids=lambda x: type(x).__name__)
def test_criterions(criterion, theirs):
    rng = np.random.default_rng(2)
    x = rng.uniform(0.05, 0.95, FLAT).astype(np.float32)
    labels = "Class" in type(criterion).__name__ or "Cross" in type(criterion).__name__
    y = np.array([0, -1, 5, 3], np.int32) if labels else rng.uniform(0, 1, FLAT).astype(np.float32)
    leaf = torch.tensor(x, requires_grad=True)
    expected = theirs(leaf, torch.tensor(y.astype(np.int64) if labels else y))
    expected.backward()
    assert criterion.forward(x, y) == pytest.approx(expected.item(), rel=1e-5)
    np.testing.assert_allclose(criterion.backward(x, y), leaf.grad, rtol=1e-4, atol=1e-6)
