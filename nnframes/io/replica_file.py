"""What a training task gets: the model, the criterion, the optim method and the clippings, as one file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from featurelib.config import from_config, to_config
from featurelib.registry import WithClasses, registered_in
from kernels import requested_gemm
from nnframes.errors import ModelFileError
from nnframes.io.model_file import model_bytes, model_from_bytes
from nnframes.io.tensors import pack, unpack
from nnframes.nn.catalog import CRITERIONS
from nnframes.nn.criterion import Criterion
from nnframes.nn.layer import Layer
from nnframes.optim import CLIPPINGS, OPTIM_METHODS, SCHEDULES, Clipping, OptimMethod
from nnframes.train.replica import NetworkReplica

__all__ = ["load_replica", "replica_bytes", "replica_factory", "replica_identity"]

_FORMAT, _VERSION = "nnframes.replica", 1
_NAME = "training job"

_RATES = ("learningrate", "leaningrate")
"""How the arguments begin that say how fast to learn: a run may go on faster or slower."""

_SHOWN = 60


def replica_bytes(
    layer: Layer,
    criterion: Criterion,
    optim_method: OptimMethod,
    clippings: Sequence[Clipping] = (),
    seed: int = 0,
) -> bytes:
    """Write everything that makes a replica; equal content gives equal bytes.

    >>> from nnframes.nn import ClassNLLCriterion, Linear
    >>> from nnframes.optim import SGD
    >>> load_replica(replica_bytes(Linear(4, 3), ClassNLLCriterion(), SGD()), threads=1).message_size
    18
    """
    training = {
        "format": _FORMAT,
        "version": _VERSION,
        "criterion": to_config(criterion),
        "optim_method": to_config(optim_method),
        "clippings": [to_config(clipping) for clipping in clippings],
        "seed": seed,
        # Chosen once, here on the driver: whose products of matrices changes the last bits.
        "gemm": requested_gemm() or "onednn",
    }
    model = np.frombuffer(model_bytes(layer), np.uint8)
    return pack({"model": model}, {"training": json.dumps(training, separators=(",", ":"))})


def replica_identity(payload: bytes) -> dict[str, Any]:
    """Say what a payload of `replica_bytes` trains, its weights and rates left out: JSON to hold a snapshot against.

    >>> from nnframes.nn import ClassNLLCriterion, Linear
    >>> from nnframes.optim import Adam
    >>> identity = replica_identity(replica_bytes(Linear(4, 3), ClassNLLCriterion(), Adam(0.1, beta2=0.99)))
    >>> identity["optim method"], identity["clipping"]
    ('Adam(beta2=0.99)', 'none')
    """
    training, layer, parameters = _described(payload)
    shapes = sorted((path, list(array.shape)) for path, array in parameters.items())
    network = _hash(json.dumps([layer, shapes], sort_keys=True))
    return {
        "network": network,
        "criterion": _told(training["criterion"]),
        "optim method": _told(training["optim_method"]),
        "clipping": ", ".join(map(_told, training["clippings"])) or "none",
        "gemm": training["gemm"],
    }


def replica_factory(payload: bytes) -> WithClasses:
    """Return `load_replica` for the tasks that are to build this payload: with the registered classes that it names."""
    training, layer, _ = _described(payload)
    return WithClasses(load_replica, registered_in(training, layer))


def _described(payload: bytes) -> tuple[dict[str, Any], dict[str, Any], dict[str, np.ndarray]]:
    """What training, layer and parameters are."""
    tensors, metadata = unpack(payload, _NAME)
    parameters, description = unpack(tensors["model"].tobytes(), _NAME)
    return json.loads(metadata["training"]), json.loads(description["model"])["layer"], parameters


def _told(config: Mapping[str, Any]) -> str:
    """A class and its arguments but for rates and defaults; of long ones, such as class weights, a hash."""
    texts = {name: json.dumps(value) for name, value in config["args"].items() if not name.startswith(_RATES)}
    short = {name: text if len(text) <= _SHOWN else _hash(text) for name, text in texts.items()}
    return f"{config['class']}({', '.join(f'{name}={text}' for name, text in short.items())})"


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_replica(payload: bytes, threads: int) -> NetworkReplica:
    """Build the replica that `replica_bytes` described; raises `ModelFileError` for anything else."""
    tensors, metadata = unpack(payload, _NAME)
    training = json.loads(metadata.get("training", "{}"))
    found = (training.get("format"), training.get("version"))
    if found != (_FORMAT, _VERSION) or "model" not in tensors:
        raise ModelFileError(f"{_NAME}: expected {_FORMAT} version {_VERSION}, received {found[0]} version {found[1]}.")
    layer = model_from_bytes(tensors["model"].tobytes(), _NAME)
    return NetworkReplica(
        layer,
        from_config(training["criterion"], CRITERIONS),
        from_config(training["optim_method"], {**OPTIM_METHODS, **SCHEDULES}),
        [from_config(clipping, CLIPPINGS) for clipping in training["clippings"]],
        seed=int(training["seed"]),
        threads=threads,
        gemm=str(training["gemm"]),
    )
