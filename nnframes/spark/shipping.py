"""Models on their way to the workers: as a file of the session, named by its content, mapped by all workers of a host.

Closures stay small (Spark Connect's server does not survive a large one), a model travels once per session, and equal
models of different stages are one file.
"""

from __future__ import annotations

import atexit
import hashlib
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from pyspark.sql import SparkSession

from nnframes.io import model_bytes
from nnframes.nn import Layer

__all__ = ["local_path", "ship", "ship_bytes"]

_LOCK = threading.Lock()
_SHIPPED: weakref.WeakKeyDictionary[Any, set[str]] = weakref.WeakKeyDictionary()
_FOLDERS: list[Path] = []


def ship(spark: SparkSession, model: Layer) -> str:
    """Make `model` available to all tasks of a session; returns the name that `local_path` takes."""
    with _LOCK:
        data = model_bytes(model)
    return ship_bytes(spark, data, "model")


def ship_bytes(spark: SparkSession, data: bytes, kind: str) -> str:
    """Make a file of these bytes available to all tasks of a session; returns the name that `local_path` takes."""
    with _LOCK:
        name = f"nnframes-{hashlib.sha256(data).hexdigest()[:32]}.{kind}"
        # Without a JVM's context, as on Connect, the session itself is what files belong to.
        owner = getattr(spark, "_sc", None) or spark
        known = _SHIPPED.setdefault(owner, set())
        if name not in known:
            path = _folder() / name
            path.write_bytes(data)
            spark.addArtifacts(str(path), file=True)
            known.add(name)
    return name


def local_path(name: str) -> str:
    """Return where a shipped model lies on the host of this task."""
    from pyspark import SparkFiles

    return SparkFiles.get(name)


def _folder() -> Path:
    # Spark's driver serves the file from here to executors that start later: it must outlive the call.
    if not _FOLDERS:
        _FOLDERS.append(Path(tempfile.mkdtemp(prefix="nnframes-models-")))
        atexit.register(shutil.rmtree, _FOLDERS[0], ignore_errors=True)
    return _FOLDERS[0]
