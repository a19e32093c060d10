"""The session for programs that bring none."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from pyspark.sql import SparkSession

from nnframes.errors import ArgumentError
from nnframes.spark.functions import COLUMNAR_INPUT

__all__ = ["init_nncontext", "session_of"]

SETTINGS = {
    # A stage with Python tasks takes less than half the time over Unix sockets than over TCP.
    "spark.python.unix.domain.socket.enabled": "true",
    # Python functions get their rows a tenth to a third faster in batches that fit the processor's caches.
    "spark.sql.execution.arrow.maxBytesPerBatch": "4m",
    # Else Spark 4.3 fails on column files with ML vectors.
    COLUMNAR_INPUT: "false",
    # Spark's progress bar and that of a training would write over each other.
    "spark.ui.showConsoleProgress": "false",
}


def init_nncontext(conf: Any = None, app_name: str = "nnframes") -> SparkSession:
    """Return the running Spark session, or start one with the settings that suit nnframes.

    `conf` is a mapping or a `SparkConf` of further settings, which win, or the application's name; a running session
    takes those that may change while it runs. Any Spark session works with nnframes: this is a convenience, not a need.
    """
    if isinstance(conf, str):
        conf, app_name = None, conf
    items = conf if conf is None or isinstance(conf, Mapping) else getattr(conf, "getAll", None)
    if conf is not None and items is None:
        raise ArgumentError(f"conf must be a mapping, a SparkConf or a name. Received: {conf!r}.")
    given = dict(items() if callable(items) else items or {})
    builder = SparkSession.builder
    if SparkSession.getActiveSession() is None:
        builder = builder.appName(given.get("spark.app.name", app_name))
        given = {**SETTINGS, **given}
        # Spark starts its Python workers with the `python3` of the path, which in an environment that is not activated
        # is another one, without this package.
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    for key, value in given.items():
        builder = builder.config(key, str(value))
    return builder.getOrCreate()


def session_of(sc: Any) -> SparkSession:
    """Return the session that is meant: itself, that of a context, the running one for None."""
    if sc is None:
        return init_nncontext()
    if hasattr(sc, "createDataFrame"):  # sessions of Connect are of a class of their own
        return sc
    if not hasattr(sc, "parallelize"):
        raise ArgumentError(f"sc must be a SparkSession or a SparkContext. Received: {type(sc).__name__}.")
    return SparkSession(sc)
