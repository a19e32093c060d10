"""Our side of the engine suite."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nnframes.models import MLP, Inception_v1_NoAuxClassifier, LeNet5, VggForCifar10
from nnframes.nn import ClassNLLCriterion
from nnframes.nn.network import Predictor
from nnframes.optim import SGD
from nnframes.train import MiniBatch
from nnframes.train.replica import NetworkReplica
from tests.bench.clock import rate_of

NETWORKS = {
    "lenet": (LeNet5, (1, 28, 28)),
    "mlp": (MLP, (784,)),
    "vgg": (VggForCifar10, (3, 32, 32)),
    "inception": (Inception_v1_NoAuxClassifier, (3, 224, 224)),
}


def prepare(network: str, mode: str, batch: int, threads: int) -> Callable[[], float]:
    """A training step (gradient and update) or an inference of one batch, from and to plain arrays."""
    make, shape = NETWORKS[network]
    rng = np.random.default_rng(0)
    x = rng.standard_normal((batch, *shape), np.float32)
    if mode == "infer":
        predict = Predictor(make(), batch, shape, threads)
        return rate_of(lambda: predict((x,)), batch)
    replica = NetworkReplica(make(), ClassNLLCriterion(), SGD(0.01, momentum=0.9, dampening=0.0), threads=threads)
    data = MiniBatch((x,), rng.integers(0, 10, batch).astype(np.int32))
    message = np.zeros(replica.message_size, np.float32)

    def step() -> None:
        replica.gradient(0, data, 0, message)
        replica.update(message, {})

    return rate_of(step, batch)
