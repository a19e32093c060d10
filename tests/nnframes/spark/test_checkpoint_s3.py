"""Snapshots in a bucket, of a server of S3 on this machine."""

from __future__ import annotations

from collections.abc import Iterator
from http.client import HTTPConnection
from urllib.parse import quote

import numpy as np
import pytest
from moto.server import ThreadedMotoServer

from nnframes import NNClassifier
from nnframes.errors import TrainingError
from nnframes.io.checkpoint import CheckpointStore
from nnframes.nn import ClassNLLCriterion, Linear, LogSoftMax, Sequential
from nnframes.optim import Adam
from nnframes.train import MaxIteration, SeveralIteration, TrainState
from tests.nnframes.io.dying_store import state


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where a bucket is, with the keys to it; what is formatted in is the name of a folder."""
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        place = "{}:{}".format(*server.get_host_and_port())
        connection = HTTPConnection(place, timeout=60)
        connection.request("PUT", "/bucket")
        assert connection.getresponse().status == 200
        connection.close()
        yield f"s3://key:secret@bucket/{{}}?scheme=http&region=us-east-1&endpoint_override={quote(place)}"
    finally:
        server.stop()


@pytest.mark.parametrize("overwrites", [True, False])
def test_snapshots_come_back(address, overwrites):
    store = CheckpointStore(address.format(f"folder-{overwrites}"), overwrites)
    for iteration in (4, 12):
        store.write(state(iteration), TrainState(iteration=iteration), {"n": iteration})
    found = CheckpointStore(address.format(f"folder-{overwrites}")).read()
    assert store.iterations() == ([12] if overwrites else [4, 12])
    assert (found.train_state.iteration, found.meta) == (12, {"n": 12})
    for name, array in state(12).items():
        np.testing.assert_array_equal(found.state[name], array)


def test_no_such_bucket(address):
    store = CheckpointStore(address.replace("@bucket", "@other").format("folder"))
    with pytest.raises(TrainingError, match=r"must be written to s3://other/folder.*Received: ") as refusal:
        store.write(state(1), TrainState(iteration=1))
    assert "secret" not in str(refusal.value)


def test_a_fit_goes_on_to_the_same_bits(spark, address):
    rows = [([float(row % 7), float(row % 3), 1.0], float(row % 2)) for row in range(96)]
    data = spark.createDataFrame(rows, "features array<float>, label double")
    network = Sequential().add(Linear(3, 8)).add(Linear(8, 2)).add(LogSoftMax())

    def weights(end: int, folder: str = "", resumes: bool = False) -> list[np.ndarray]:
        estimator = NNClassifier(network, ClassNLLCriterion(), [3]).setOptimMethod(Adam(0.01)).setNumShards(2)
        estimator.setBatchSize(16).setEndWhen(MaxIteration(end)).setResume(resumes).setShowProgress(False)
        if folder:
            estimator.setCheckpoint(address.format(folder), SeveralIteration(4), True)
        return estimator.fit(data).model.get_weights()

    whole = weights(15)
    weights(10, "fit")
    assert CheckpointStore(address.format("fit")).iterations() == [8]
    for resumed, unbroken in zip(weights(15, "fit", resumes=True), whole, strict=True):
        np.testing.assert_array_equal(resumed, unbroken)
    assert CheckpointStore(address.format("fit")).iterations() == [12]
