"""Training jobs as one file."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.config import gemm_library
from nnframes.errors import ArgumentError, ModelFileError
from nnframes.io.model_file import model_bytes
from nnframes.io.replica_file import load_replica, replica_bytes, replica_identity
from nnframes.models import MLP
from nnframes.nn import ClassNLLCriterion
from nnframes.optim import SGD, Adam, ConstantClipping, L2NormClipping, Poly
from nnframes.train import MiniBatch


def payload() -> bytes:
    method = SGD(0.1, momentum=0.9, leaningrate_schedule=Poly(2.0, 100))
    clippings = [L2NormClipping(1.0), ConstantClipping(-0.5, 0.5)]
    return replica_bytes(MLP((4, 8, 3)), ClassNLLCriterion(weights=np.ones(3, np.float32)), method, clippings, seed=7)


def test_a_job_comes_back_whole():
    replica = load_replica(payload(), threads=2)
    assert (replica.seed, replica.threads, replica.gemm) == (7, 2, "onednn")
    assert isinstance(replica.optim_method, SGD)
    assert [type(clipping) for clipping in replica.clippings] == [L2NormClipping, ConstantClipping]
    np.testing.assert_array_equal(replica.criterion.weights, np.ones(3))
    assert payload() == payload()


OTHERS = {
    "optim method": (ClassNLLCriterion(), SGD(0.1, momentum=0.5), []),
    "criterion": (ClassNLLCriterion(weights=np.arange(3, dtype=np.float32)), SGD(0.1, momentum=0.9), []),
    "clipping": (ClassNLLCriterion(), SGD(0.1, momentum=0.9), [L2NormClipping(1.0)]),
}


@pytest.mark.parametrize("what", OTHERS)
def test_a_job_of_other_settings_is_another(what):
    job = replica_identity(replica_bytes(MLP((4, 3)), ClassNLLCriterion(), SGD(0.1, momentum=0.9)))
    other = replica_identity(replica_bytes(MLP((4, 3)), *OTHERS[what]))
    assert [name for name in job if job[name] != other[name]] == [what]


def test_a_job_of_other_rates_is_the_same():
    methods = (
        SGD(0.1, momentum=0.9),
        SGD(0.2, 0.01, momentum=0.9, learningrates=np.ones(15)),
        SGD(0.3, momentum=0.9, learningrate_schedule=Poly(2.0, 100)),
    )
    jobs = [replica_identity(replica_bytes(MLP((4, 3)), ClassNLLCriterion(), method)) for method in methods]
    assert jobs[0] == jobs[1] == jobs[2]


def test_many_class_weights_are_told_by_a_hash():
    many = ClassNLLCriterion(weights=np.arange(1000, dtype=np.float32))
    told = replica_identity(replica_bytes(MLP((4, 1000)), many, SGD()))["criterion"]
    assert len(told) < 200
    assert told != replica_identity(replica_bytes(MLP((4, 1000)), ClassNLLCriterion(), SGD()))["criterion"]


def test_the_provider_of_products_is_the_drivers_choice(monkeypatch):
    monkeypatch.setenv("NNFRAMES_GEMM", "mkl")
    job = payload()
    monkeypatch.delenv("NNFRAMES_GEMM")
    replica = load_replica(job, threads=1)
    assert replica.gemm == "mkl"
    if isinstance(gemm_library(), str):
        return
    batch = MiniBatch((np.ones((5, 4), np.float32),), np.zeros(5, np.int32))
    messages = np.zeros((2, replica.message_size), np.float32)
    replica.gradient(0, batch, 0, messages[0])
    load_replica(payload(), threads=1).gradient(0, batch, 0, messages[1])
    np.testing.assert_allclose(*messages, rtol=1e-5, atol=1e-6)


def test_an_unknown_provider_is_refused_on_the_driver(monkeypatch):
    monkeypatch.setenv("NNFRAMES_GEMM", "blas")
    with pytest.raises(ArgumentError, match=r"NNFRAMES_GEMM must be one of onednn, mkl. Received: blas"):
        replica_bytes(MLP((4, 3)), ClassNLLCriterion(), Adam())


@pytest.mark.parametrize("data", [b"", b"\x08\0\0\0\0\0\0\0{}      ", model_bytes(MLP((4, 3)))])
def test_anything_else_is_refused(data):
    with pytest.raises(ModelFileError, match="training job"):
        load_replica(data, threads=1)
