"""Models as folders and as single files.

The description is JSON: ``{"format": "nnframes.model", "version": 1, "written_by": "0.1.0", "layer": config}``, the
config being `featurelib.config`'s with the classes of `nnframes.nn.catalog`. A folder holds it as ``model.json`` beside
``weights.safetensors`` and ``manifest.json``; a single file is a safetensors file with the description as metadata.
Everything is checked before it is used: sizes, hashes, format, version, classes, the name and shape of every tensor.
"""

from __future__ import annotations

import json
import mmap
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from featurelib.config import from_config, to_config
from featurelib.registry import registered_in
from kernels.version import __version__
from nnframes.errors import ArgumentError, ModelFileError, NNFramesError
from nnframes.io.folder import read_folder, write_folder
from nnframes.io.tensors import pack, unpack
from nnframes.nn.catalog import INITIALIZERS, LAYERS, REGULARIZERS
from nnframes.nn.layer import Layer
from nnframes.nn.parameter import Parameter
from nnframes.nn.walk import layers_in, parameters_in

__all__ = [
    "load_model",
    "model_bytes",
    "model_classes",
    "model_from_bytes",
    "open_model",
    "rebuilt",
    "save_model",
]

DESCRIPTION, WEIGHTS = "model.json", "weights.safetensors"
FORMAT, VERSION = "nnframes.model", 1
_CLASSES: dict[str, type] = {**LAYERS, **INITIALIZERS, **REGULARIZERS}
_KEY = "model"
LARGE = 1 << 12
_DESCRIBING = threading.RLock()


def save_model(layer: Layer, path: str | os.PathLike[str], overwrite: bool = False) -> None:
    """Save a layer with everything inside and all weights to the folder `path`, whole or not at all.

    Arrays given as `init_weight` that are large are not kept beside the weights they became: a loaded layer's `reset`
    draws at random. Raises `ModelFileError` if `path` exists; with `overwrite` only if it is no saved model.

    >>> import tempfile
    >>> from nnframes.nn import Linear
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_model(Linear(4, 3), f"{folder}/model")
    ...     load_model(f"{folder}/model").output_shape((2, 4))
    (2, 3)
    """
    write_folder(Path(path), {DESCRIPTION: _description(layer).encode(), WEIGHTS: pack(_weights(layer))}, overwrite)


def load_model(path: str | os.PathLike[str]) -> Layer:
    """Load what `save_model` saved.

    Raises `ModelFileError` naming the file, what was expected and what came: a folder that is foreign, incomplete,
    changed, damaged, of a newer version, or whose tensors do not fit its layers.
    """
    files = read_folder(Path(path), (DESCRIPTION, WEIGHTS))
    tensors, _ = unpack(files[WEIGHTS], str(Path(path) / WEIGHTS))
    return _build(files[DESCRIPTION], tensors, str(Path(path) / DESCRIPTION), shared=False)


def model_bytes(layer: Layer) -> bytes:
    """Return a layer with everything inside and all weights as one file; equal layers give equal bytes.

    >>> from nnframes.nn import Linear
    >>> model_from_bytes(model_bytes(Linear(4, 3))).output_shape((2, 4))
    (2, 3)
    """
    return pack(_weights(layer), {_KEY: _description(layer)})


def model_from_bytes(data: bytes, name: str = "model") -> Layer:
    """Build the layer that `model_bytes` wrote; `name` stands for the bytes in errors (`ModelFileError`)."""
    return _from_file(data, name, shared=False)


def open_model(path: str | os.PathLike[str]) -> Layer:
    """Build the layer of a file that holds `model_bytes`; its weights are read-only views of the mapped file.

    All processes of a host that open the file share its memory. For inference: training such a layer fails. Raises
    `ModelFileError` as `model_from_bytes` does.
    """
    try:
        with Path(path).open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise ModelFileError(f"{path} cannot be read: {error}.") from None
    return _from_file(mapped, str(path), shared=True)


def model_classes(layer: Layer) -> tuple[type, ...]:
    """Return the registered classes that a layer's description names: a process that builds it needs them."""
    return registered_in(json.loads(_description(layer)))


def rebuilt(layer: Layer) -> tuple[Layer, dict[str, Any], dict[str, Any]]:
    """Build a layer, without its weights, from its description: (the new layer, the description, that of the new one).

    Raises `ConfigError`, or what a constructor raises, where that is not possible.
    """
    config = json.loads(_description(layer))["layer"]
    again = from_config(config, _CLASSES)
    return again, config, json.loads(_description(again))["layer"]


def _from_file(data: Any, name: str, shared: bool) -> Layer:
    tensors, metadata = unpack(data, name)
    if _KEY not in metadata:
        raise ModelFileError(f"{name}: expected a model that nnframes wrote, received tensors without a description.")
    return _build(metadata[_KEY].encode(), tensors, name, shared)


def _description(layer: Layer) -> str:
    if not isinstance(layer, Layer):
        raise ArgumentError(f"model must be a layer of nnframes.nn. Received: {type(layer).__name__}.")
    with _without_large_starts(layer):
        described = to_config(layer)
    config = {"format": FORMAT, "version": VERSION, "written_by": __version__, "layer": described}
    return json.dumps(config, separators=(",", ":"), allow_nan=False)


@contextmanager
def _without_large_starts(layer: Layer) -> Iterator[None]:
    """Leave out large arrays that parameters start from: among the tensors is what has become of them."""
    with _DESCRIBING:
        large = []
        for one in layers_in(layer):
            starts = [own.init for own in one.own_parameters()]
            arrays = [(name, value) for name, value in vars(one).items() if any(value is start for start in starts)]
            large += [(one, name, value) for name, value in arrays if np.size(value) > LARGE]
        try:
            for one, name, _ in large:
                setattr(one, name, None)
            yield
        finally:
            for one, name, value in large:
                setattr(one, name, value)


def _weights(layer: Layer) -> dict[str, np.ndarray]:
    layer.initialise()
    return {path: _value(parameter) for path, parameter in parameters_in(layer)}


def _value(parameter: Parameter) -> np.ndarray:
    return np.asarray(parameter.value, "<f4")


def _build(description: bytes, tensors: Mapping[str, np.ndarray], name: str, shared: bool) -> Layer:
    try:
        layer = from_config(_checked(description, name), _CLASSES)
        parameters = dict(parameters_in(layer)) if isinstance(layer, Layer) else None
    except NNFramesError as error:
        if isinstance(error, ModelFileError):
            raise
        raise ModelFileError(f"{name}: the layers cannot be built: {error}") from error
    if parameters is None:
        raise ModelFileError(f"{name}: expected a layer, received a {type(layer).__name__}.")
    _check_tensors(parameters, tensors, name)
    for path, parameter in parameters.items():
        if shared:
            parameter.value = tensors[path]
        else:
            parameter.assign(tensors[path])
    return layer


def _checked(description: bytes, name: str) -> Any:
    try:
        content = json.loads(description)
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{name} must be JSON. Received: {error}. Hint: save the model again.") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        received = content.get("format") if isinstance(content, dict) else type(content).__name__
        raise ModelFileError(f"{name}: expected the format {FORMAT}, received {str(received)[:40]}.")
    if content.get("version") != VERSION:
        raise ModelFileError(
            f"{name}: expected version {VERSION}, received {str(content.get('version'))[:40]}, written by nnframes "
            f"{str(content.get('written_by'))[:40]}; this is {__version__}. Hint: update nnframes."
        )
    return content.get("layer")


def _check_tensors(parameters: Mapping[str, Parameter], tensors: Mapping[str, np.ndarray], name: str) -> None:
    missing, unknown = sorted(parameters.keys() - tensors.keys()), sorted(tensors.keys() - parameters.keys())
    if missing or unknown:
        raise ModelFileError(f"{name}: expected the layers' tensors. Missing: {missing[:5]}, unknown: {unknown[:5]}.")
    for path, parameter in parameters.items():
        array = tensors[path]
        if array.shape != tuple(parameter.shape) or array.dtype != np.float32:
            raise ModelFileError(
                f"{name}: '{path}' expects {parameter.shape} of float32, received {array.shape} of {array.dtype}."
            )
