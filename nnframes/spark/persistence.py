"""Saving and loading stages through Spark, so that they reach whatever file system the cluster has.

A stage is a folder like any of Spark ML's: ``metadata`` is a line of JSON (class, uid, params, and under "nnframes" the
configs of criterion, preprocessings and the like), ``payload`` holds what the stage has learned, such as the model
file's bytes, as rows of chunks. The metadata is written last and knows the payload's size and hash. Classes come from
literal tables; nothing is executed.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, TypeVar

from py4j.protocol import Py4JJavaError
from pyspark.errors import PySparkException
from pyspark.ml.param import Params
from pyspark.ml.util import MLReadable, MLReader, MLWritable, MLWriter
from pyspark.ml.wrapper import JavaWrapper
from pyspark.sql import SparkSession
from pyspark.sql.utils import is_remote

from featurelib.config import from_config, to_config
from kernels.version import __version__
from nnframes.errors import ArgumentError, ModelFileError, NNFramesError
from nnframes.io import model_bytes, model_from_bytes
from nnframes.nn import Layer
from nnframes.spark.described import check_described, is_plain, known_classes

__all__ = ["NetworkStage", "Persistent"]

P = TypeVar("P", bound="Persistent")
N = TypeVar("N", bound="NetworkStage")

FORMAT, VERSION = "nnframes.stage", 1
CHUNK, WRITE = 4 << 20, 32 << 20
_SHOWN = 300
_EXISTS = "{path} exists already. Hint: stage.write().overwrite().save(path)."
_SCHEMA = "number int, data binary"
_STAGES = ("NNClassifier", "NNClassifierModel", "NNEstimator", "NNModel", "TextIndexer", "TextIndexerModel")


class Persistent(MLWritable, MLReadable):
    """Gives a stage `save`, `write`, `load`, `read`; `saved_objects` are constructor's arguments, kept as configs."""

    saved_objects: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def _payload(self) -> bytes:
        """What the stage has learned, b"" for nothing."""

    @classmethod
    @abstractmethod
    def _of_payload(cls: type[P], data: bytes, source: str, objects: Mapping[str, Any]) -> P:
        """Build a stage of what `_payload` gave (it lies at `source`) and of its saved objects."""

    def write(self) -> MLWriter:
        """Return a writer: ``stage.write().overwrite().save(path)``."""
        return _StageWriter(self)

    @classmethod
    def read(cls) -> MLReader:
        """Return a reader; `load(path)` is short for it.

        Raises `ModelFileError` for a folder that is missing, foreign, damaged, newer, or of another stage.
        """
        return _StageReader(cls)


class NetworkStage(Persistent):
    """A stage with a network: its first constructor's argument, kept as a model file."""

    is_trained: ClassVar[bool] = False  # whether the network is to be used, not to be trained
    model: Layer

    def _payload(self) -> bytes:
        check_described(model=self.model)
        return model_bytes(self.model)

    @classmethod
    def _of_payload(cls: type[N], data: bytes, source: str, objects: Mapping[str, Any]) -> N:
        layer = model_from_bytes(data, source)
        return cls(layer.training(not cls.is_trained), **objects)  # type: ignore[call-arg]


class _StageWriter(MLWriter):
    """Writes a stage; an existing path only with `overwrite()`."""

    def __init__(self, stage: Any) -> None:
        super().__init__()
        self.stage = stage

    def save(self, path: str) -> None:
        """Write to a folder; what cannot be saved is found out before anything there is touched."""
        path = _named(path)
        payload, metadata = self._content()
        if not is_remote():  # a client cannot look: there each file says whether it stands in the way
            self._handleOverwrite(path)
        self._write(path, payload, metadata)

    def _handleOverwrite(self, path: str) -> None:
        files = JavaWrapper(JavaWrapper._new_java_obj("org.apache.spark.ml.util.FileSystemOverwrite"))
        try:
            files._call_java("handleOverwrite", path, self.shouldOverwrite, self.sparkSession._jsparkSession)
        except (PySparkException, Py4JJavaError) as error:
            if "already exists" in str(error):
                raise ModelFileError(_EXISTS.format(path=path)) from None
            raise ModelFileError(f"{path} cannot be written: {_cause(error)}.") from error

    def _content(self) -> tuple[bytes, str]:
        """Payload and metadata."""
        params = {param.name: value for param, value in self.stage._paramMap.items()}
        check_described(**_objects(self.stage), **params)
        payload = self.stage._payload()
        return payload, _metadata(self.stage, payload, self.sparkSession.version)

    def _write(self, path: str, payload: bytes, metadata: str) -> None:
        spark: SparkSession = self.sparkSession
        mode = "overwrite" if self.shouldOverwrite else "error"
        try:
            step = WRITE // CHUNK
            chunks = [(i // CHUNK, payload[i : i + CHUNK]) for i in range(0, len(payload), CHUNK)]
            for low in range(0, len(chunks), step):
                rows = spark.createDataFrame(chunks[low : low + step], _SCHEMA).coalesce(1)
                rows.write.mode("append" if low else mode).parquet(f"{path}/payload")
            line = spark.createDataFrame([(metadata,)], "value string").coalesce(1)
            line.write.mode(mode).text(f"{path}/metadata")
        except (PySparkException, Py4JJavaError) as error:
            if isinstance(error, PySparkException) and "ALREADY_EXISTS" in str(error.getCondition()):
                raise ModelFileError(_EXISTS.format(path=path)) from None
            raise ModelFileError(f"{path} cannot be written: {_cause(error)}.") from error


class _StageReader(MLReader):
    """Reads a stage of one class."""

    def __init__(self, cls: type) -> None:
        super().__init__()
        self.cls: Any = cls

    def load(self, path: str) -> Any:
        """Read metadata and payload, check both, build the stage."""
        spark: SparkSession = self.sparkSession
        path = _named(path)
        metadata = _read_metadata(spark, path, self.cls.__name__)
        own = metadata["nnframes"]
        data = _read_payload(spark, path, own["payload"])
        try:
            classes = known_classes()
            objects = {name: _decoded(own["objects"][name], classes) for name in self.cls.saved_objects}
            stage = self.cls._of_payload(data, f"{path}/payload", objects)
            stage._resetUid(metadata["uid"])
            _set_params(stage, metadata, classes)
        except ModelFileError:
            raise
        except (NNFramesError, KeyError, TypeError, AttributeError) as error:
            raise ModelFileError(f"{path}/metadata: the stage cannot be built: {error}") from error
        return stage


def _named(path: Any) -> str:
    """A path, which Spark would take for the root or a folder 'None' where it is not one."""
    if not isinstance(path, (str, os.PathLike)) or not os.fspath(path):
        raise ArgumentError(f"path must be a folder or an address. Received: {path!r}.")
    return str(os.fspath(path))


def _cause(error: PySparkException | Py4JJavaError) -> str:
    """The line of Spark's report that says why, which is that of the innermost Java error."""
    text = str(error)
    if isinstance(error, Py4JJavaError):
        java = error.java_exception
        while java.getCause() is not None:
            java = java.getCause()
        text = java.toString()
    return (text.strip().splitlines() or [type(error).__name__])[0][:_SHOWN].rstrip(".")


def _metadata(stage: Any, payload: bytes, spark_version: str) -> str:
    objects = {name: _encoded(value) for name, value in _objects(stage).items()}
    own = {
        "format": FORMAT,
        "version": VERSION,
        "written_by": __version__,
        "objects": objects,
        "payload": {"size": len(payload), "sha256": hashlib.sha256(payload).hexdigest()},
    }
    content = {
        # The public name: Spark's PipelineModel.load imports it, and it outlives a move of the module.
        "class": f"nnframes.{type(stage).__name__}",
        "timestamp": int(time.time() * 1000),
        "sparkVersion": spark_version,
        "uid": stage.uid,
        "paramMap": {param.name: _encoded(value) for param, value in stage._paramMap.items()},
        "defaultParamMap": {param.name: _encoded(value) for param, value in stage._defaultParamMap.items()},
        "nnframes": own,
    }
    return json.dumps(content, separators=(",", ":"))


def _objects(stage: Any) -> dict[str, Any]:
    return {name: getattr(stage, name) for name in stage.saved_objects}


def _encoded(value: Any) -> Any:
    return value if is_plain(value) else to_config(value)


def _decoded(value: Any, tables: Mapping[str, type]) -> Any:
    return from_config(value, tables) if isinstance(value, Mapping) else value


def _read_metadata(spark: SparkSession, path: str, name: str) -> dict[str, Any]:
    try:
        row = spark.read.text(f"{path}/metadata").first()
    except (PySparkException, Py4JJavaError) as error:
        text = _cause(error)
        raise ModelFileError(
            f"{path}: expected a saved {name}, received no readable metadata ({text.rstrip('.')}). Hint: it is a "
            "folder that stage.save(path) wrote; one stage of a saved pipeline lies in its folder 'stages'."
        ) from None
    try:
        metadata = json.loads(row[0] if row is not None else "")
    except (ValueError, RecursionError) as error:
        raise ModelFileError(f"{path}/metadata must be JSON. Received: {error}. Hint: save the stage again.") from None
    found = str(metadata.get("class")) if isinstance(metadata, dict) else "no class"
    if found != f"nnframes.{name}":
        simple = found.removeprefix("nnframes.")
        hint = f" Hint: {simple}.load(path)." if simple in _STAGES else " Hint: load it with the class that saved it."
        raise ModelFileError(f"{path}: expected a saved nnframes.{name}, received {found[:80]}.{hint}")
    _check_own(metadata, path)
    return metadata


def _check_own(metadata: dict[str, Any], path: str) -> None:
    own = metadata.get("nnframes")
    if not isinstance(own, dict) or own.get("format") != FORMAT:
        raise ModelFileError(f"{path}/metadata must have the format {FORMAT}. Hint: save the stage again.")
    if own.get("version") != VERSION:
        raise ModelFileError(
            f"{path}: expected version {VERSION}, received {str(own.get('version'))[:40]}, written by nnframes "
            f"{str(own.get('written_by'))[:40]}; this is {__version__}. Hint: update nnframes."
        )
    payload = own["payload"] if isinstance(own.get("payload"), dict) else {}
    good = isinstance(own.get("objects"), dict) and isinstance(metadata.get("uid"), str)
    if not good or type(payload.get("size")) is not int or not isinstance(payload.get("sha256"), str):
        raise ModelFileError(f"{path}/metadata must have uid, objects and payload. Hint: save the stage again.")


def _read_payload(spark: SparkSession, path: str, wanted: Mapping[str, Any]) -> bytes:
    chunks: dict[int, bytes] = {}
    left = wanted["size"]
    if not left:
        return b""
    try:
        for number, data in spark.read.schema(_SCHEMA).parquet(f"{path}/payload").toLocalIterator():
            left -= len(data)
            if left < 0 or number in chunks:
                break
            chunks[number] = bytes(data)
    except (PySparkException, Py4JJavaError) as error:
        text = _cause(error)
        raise ModelFileError(f"{path}/payload cannot be read: {text}. Hint: copy or save the stage again.") from None
    data = b"".join(chunks[number] for number in sorted(chunks))
    received = hashlib.sha256(data).hexdigest()
    if left or received != wanted["sha256"]:
        raise ModelFileError(
            f"{path}/payload: expected {wanted['size']} bytes with SHA-256 {wanted['sha256'][:64]}, received "
            f"{wanted['size'] - left} bytes with {received}. Hint: it was damaged or half overwritten; save it again."
        )
    return data


def _set_params(stage: Params, metadata: Mapping[str, Any], tables: Mapping[str, type]) -> None:
    for name, value in metadata["defaultParamMap"].items():
        stage._setDefault(**{name: _decoded(value, tables)})
    for name, value in metadata["paramMap"].items():
        stage._set(**{name: _decoded(value, tables)})
