"""Ready networks: shapes, sizes, configs, and that a step of training lowers the loss."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from featurelib.config import from_config, to_config
from nnframes import models, nn
from nnframes.errors import ArgumentError
from tests.conformance.layers_table import Run

CLASSES = {**nn.LAYERS, **nn.INITIALIZERS, **nn.REGULARIZERS}

# model, shape of one row, classes, parameters (Inception: as published for GoogLeNet without its auxiliary classifiers)
CASES = [
    (models.LeNet5(10), (1, 28, 28), 10, 22_278),
    (models.LeNet5(3), (784,), 3, 21_571),
    (models.MLP((784, 512, 256, 10)), (784,), 10, 535_818),
    (models.Inception_v1_NoAuxClassifier(1000), (3, 224, 224), 1000, 6_998_552),
    (models.Inception_v1_NoAuxClassifier(7, has_dropout=False), (3, 224, 224), 7, 5_980_727),
    (models.VggForCifar10(10), (3, 32, 32), 10, 14_991_946),
    (models.VggForCifar10(10, has_dropout=False), (3, 32, 32), 10, 14_991_946),
]


@pytest.mark.parametrize(("model", "row", "classes", "parameters"), CASES)
def test_shape_size_and_config(model, row, classes, parameters):
    assert model.output_shape((2, *row)) == (2, classes)
    dense = [own for _, own in nn.parameters_in(model) if own.kind == nn.DENSE]
    assert sum(math.prod(own.shape) for own in dense) == parameters
    config = to_config(model)
    again = from_config(json.loads(json.dumps(config)), CLASSES)
    assert to_config(again) == config
    assert [path for path, _ in nn.parameters_in(again)] == [path for path, _ in nn.parameters_in(model)]


@pytest.mark.parametrize("model", [models.LeNet5(4), models.MLP((784, 32, 4))], ids=["LeNet5", "MLP"])
def test_descent_lowers_the_loss(model):
    rng, criterion = np.random.default_rng(0), nn.ClassNLLCriterion()
    x, y = rng.normal(0, 1, (8, 784)).astype(np.float32), rng.integers(0, 4, 8).astype(np.int32)
    losses = []
    for _ in range(5):
        run = Run.of(model, x, training=True, dtype=np.float32)
        output = run.result()
        np.testing.assert_allclose(np.exp(output).sum(1), 1, rtol=1e-5)
        losses.append(criterion.forward(output, y))
        gradients = run.gradients([criterion.backward(output, y)])
        for path, own in nn.parameters_in(model):
            own.grad = gradients[path].astype(np.float32)
        model.update_parameters(0.1)
    assert losses[0] == pytest.approx(math.log(4), rel=0.3)
    assert losses == sorted(losses, reverse=True)


def test_an_mlp_needs_two_sizes():
    with pytest.raises(ArgumentError, match=r"MLP sizes must be at least the input's and the output's"):
        models.MLP((10,))
