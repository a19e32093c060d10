"""Networks on the real engine, one for each thing that job mode must hand on, and the data that they train on."""

from __future__ import annotations

import json

import numpy as np
import pyarrow as pa

from nnframes.distributed import SampleBlock, SamplePlan, column_values
from nnframes.io.replica_file import replica_bytes
from nnframes.nn import (
    BatchNormalization,
    ClassNLLCriterion,
    Dropout,
    Linear,
    LogSoftMax,
    LookupTable,
    MSECriterion,
    ReLU,
    Reshape,
    Sequential,
)
from nnframes.optim import SGD, Adam, ConstantClipping, L2NormClipping
from tests.nnframes.distributed.softmax import FEATURES, make_head, make_padding_tail, make_ragged_head

WORDS = 20


def make_word_head(settings: str):
    """Features as ids of words."""

    def head(batch: pa.RecordBatch) -> SampleBlock:
        features, labels = column_values(batch.column("features")), column_values(batch.column("label"))
        return SampleBlock(((np.abs(features) * 7 % WORDS).astype(np.int32),), labels.astype(np.int32))

    return head


def _normalised() -> bytes:
    layers = [Linear(FEATURES, 8), BatchNormalization(8), ReLU(), Dropout(0.3), Linear(8, 3), LogSoftMax()]
    criterion = ClassNLLCriterion(np.array([1.0, 2.0, 0.5], np.float32))
    return _payload(layers, criterion, Adam(0.05), [L2NormClipping(0.5), ConstantClipping(-0.1, 0.1)])


def _tables() -> bytes:
    layers = [LookupTable(WORDS, 4), Reshape([FEATURES * 4]), Linear(FEATURES * 4, 3), LogSoftMax()]
    return _payload(layers, ClassNLLCriterion(), SGD(0.1, momentum=0.9, dampening=0.0), [L2NormClipping(0.2)])


def _wide() -> bytes:
    """Several slices of gradients."""
    layers = [Linear(FEATURES, 20_000), ReLU(), Linear(20_000, 3), LogSoftMax()]
    return _payload(layers, ClassNLLCriterion(), SGD(0.05, momentum=0.9, dampening=0.0), [L2NormClipping(1.0)])


def _augmented() -> bytes:
    return _payload([Linear(FEATURES, 1)], MSECriterion(), SGD(0.05), [])


def _payload(layers, criterion, method, clippings) -> bytes:
    network = Sequential()
    for layer in layers:
        network.add(layer)
    return replica_bytes(network, criterion, method, clippings, seed=3)


def _plan(head, tail=None) -> SamplePlan:
    return SamplePlan(("features", "label"), head, tail, json.dumps({}))


CASES = {
    "batch norm, dropout, class weights, clipping": (_normalised, _plan(make_head)),
    "embedding": (_tables, _plan(make_word_head)),
    "several slices": (_wide, _plan(make_head)),
    "augmentation": (_augmented, _plan(make_ragged_head, make_padding_tail)),
}
