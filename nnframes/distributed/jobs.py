"""Spark jobs that can be left: run in a thread of their own, cancelled by tag, their errors in one sentence."""

from __future__ import annotations

import queue
import re
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from pyspark import InheritableThread
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from nnframes.errors import NNFramesError, TrainingError

__all__ = [
    "SparkJob",
    "driver_host",
    "free_slots",
    "is_connect",
    "is_dynamic",
    "is_encrypted",
    "is_lasting",
    "translated",
]

CANCEL_SECONDS = 20.0
CANCEL_TICK = 0.5
DETAIL = 600
SLOTS_LIMIT = 1 << 16
RESULT_LIMIT = "spark.driver.maxResultSize"
ENCRYPTED = ("spark.ssl.enabled", "spark.ssl.rpc.enabled", "spark.network.crypto.enabled")


class SparkJob:
    """`action()` in a thread that inherits this one's Spark properties; its end goes to `ends` as (value, error)."""

    def __init__(self, spark: SparkSession, action: Callable[[], Any], ends: queue.Queue | None = None) -> None:
        self.ends: queue.Queue[Any] = queue.Queue() if ends is None else ends
        self._action = action
        self._mark: Callable[[str], object] = spark.addTag
        self._interrupt: Callable[[str], object] = spark.interruptTag
        if not is_connect(spark):
            # A classic session's tag is unknown outside the thread that set it.
            self._mark, self._interrupt = spark.sparkContext.addJobTag, spark.sparkContext.cancelJobsWithTag
        self._tag = f"nnframes-{secrets.token_hex(8)}"
        self.thread = InheritableThread(target=self._run, session=spark, name="nnframes-job", daemon=True)
        self.thread.start()

    def result(self, timeout: float | None = None) -> Any:
        """Wait for the value of `action`, `queue.Empty` after `timeout` seconds; that and interrupts cancel the job."""
        try:
            value, error = self.ends.get(timeout=timeout)
        except BaseException:
            self.cancel()
            raise
        if error is not None:
            raise error
        return value

    def cancel(self) -> None:
        """Interrupt the job and wait, a bounded time, until it has ended."""
        end = time.monotonic() + CANCEL_SECONDS
        while self.thread.is_alive() and time.monotonic() < end:
            with suppress(Exception):  # a context that is gone has no jobs
                self._interrupt(self._tag)
            # Again and again: a job that is still being planned is not there to be interrupted yet.
            self.thread.join(CANCEL_TICK)

    def _run(self) -> None:
        try:
            self._mark(self._tag)
            value, error = self._action(), None
        except BaseException as failure:  # handed to the thread that waits
            value, error = None, failure
        self.ends.put((value, error))


def translated(error: BaseException, doing: str) -> NNFramesError:
    """Return a Spark job's error as one of ours: what a Python task said, else the first line of Spark's cause.

    >>> str(translated(RuntimeError("boom"), "The training job"))
    'The training job failed: RuntimeError: boom'
    """
    if isinstance(error, NNFramesError):
        return error
    text = str(error)
    python = _told_by_python(error)
    if python is None:
        hint = f" Hint: set {RESULT_LIMIT} to a larger size, 0 for none." if RESULT_LIMIT in text else ""
        return TrainingError(f"{doing} failed: {type(error).__name__}: {_first_lines(text)}{hint}")
    hint = ""
    if python.startswith("ModuleNotFoundError"):
        hint = (
            " Hint: executors need the packages that the driver has: install them there, or ship a packed environment "
            "with spark.archives and set spark.pyspark.python."
        )
    return TrainingError(f"{doing} failed in a task: {python}{hint}")


def is_lasting(error: BaseException) -> bool:
    """Whether another attempt would end the same: Python code of a task raised, or the driver takes no such result."""
    return _told_by_python(error) is not None or RESULT_LIMIT in str(error)


def _told_by_python(error: BaseException) -> str | None:
    """Return what Python code of a task raised, None when the job failed for another reason."""
    return _last_of_traceback(str(error))


def _last_of_traceback(text: str) -> str | None:
    """Return the error that ends the first Python traceback in `text`: what follows its last frame."""
    start = text.find("Traceback (most recent call last)")
    if start < 0:
        return None
    for block in re.split(r"\n(?=\S)", text[start:])[1:]:
        said = re.split(r"\n\s*(?:\n|at )", block)[0].strip()
        if re.match(r"[\w.]+(:|$)", said):
            return re.sub(r"^[\w.]*\.(?=\w+(:|$))", "", said)[:DETAIL]
    return None


def _first_lines(text: str) -> str:
    """Return the start of Spark's text without Java frames."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("at ")]
    return " ".join(lines[:4])[:DETAIL]


def is_connect(spark: SparkSession) -> bool:
    """Whether this is a Spark Connect session: no context, no RDDs, and executors cannot call the client."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def is_dynamic(spark: SparkSession) -> bool:
    """Whether executors come and go as they are needed."""
    return str(spark.conf.get("spark.dynamicAllocation.enabled", "false")).lower() == "true"


def is_encrypted(spark: SparkSession) -> bool:
    """Whether Spark was told to encrypt its own connections."""
    return any(str(spark.conf.get(name, "false")).lower() == "true" for name in ENCRYPTED)


def driver_host(spark: SparkSession) -> tuple[str, str]:
    """Return the address that executors call the driver at, and the one to listen on."""
    host = spark.conf.get("spark.driver.host")
    bind = spark.conf.get("spark.driver.bindAddress", None)
    return str(host).strip("[]"), str(bind or host).strip("[]")


def free_slots(spark: SparkSession) -> int:
    """Return how many tasks can run at once on the executors that are there."""
    if is_connect(spark):
        # Without a number of partitions a range is cut into as many as Spark takes for its cores.
        parts = spark.range(SLOTS_LIMIT).select(F.spark_partition_id()).distinct().count()
        return max(1, parts // int(spark.conf.get("spark.task.cpus", "1") or 1))
    context = spark.sparkContext
    try:
        # What Spark itself asks before a barrier stage: counts cores, CPUs per task and other resources.
        scala = context._jsc.sc()
        return int(scala.maxNumConcurrentTasks(scala.resourceProfileManager().defaultResourceProfile()))
    except Exception:  # not public in Java's eyes either: any failure means asking the public, coarser figure
        return context.defaultParallelism
