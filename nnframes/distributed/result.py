"""The rows that a group gives back to the driver: counters, validations and weights, or what keeps it from training."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from nnframes.errors import TrainingError
from nnframes.train import Course, TrainState, Validation

__all__ = ["SCHEMA_TEXT", "history_of", "hosts_of", "missing_of", "missing_rows", "result_rows", "state_of"]

SCHEMA = pa.schema(
    [
        ("name", pa.string()),
        ("dtype", pa.string()),
        ("shape", pa.list_(pa.int64())),
        ("chunk", pa.int64()),
        ("data", pa.binary()),
    ]
)
SCHEMA_TEXT = "name string, dtype string, shape array<long>, chunk long, data binary"
CHUNK = 4 << 20
STATE, HISTORY, MISSING = "train state", "history", "missing shards"
MESSAGES = 1_000
"""Messages in one row."""


def result_rows(
    course: Course, messages: Sequence[dict[str, Any]] = (), hosts: Sequence[str] = ()
) -> Iterator[pa.RecordBatch]:
    """Yield counters, validations and messages as JSON, and the weights in chunks of at most 4 MB.

    A course that only pauses gives all of its state in place of the weights. `hosts` are those of the ranks.
    """
    reached = {"state": course.state.to_json(), "validations": [one.to_json() for one in course.history]}
    yield _row(STATE, "json", [], 0, json.dumps({**reached, "hosts": list(hosts)}).encode())
    for start in range(0, len(messages), MESSAGES):
        yield _row(HISTORY, "json", [], start, json.dumps(messages[start : start + MESSAGES]).encode())
    for name, array in (course.weights() if course.finished() else course.snapshot()[0]).items():
        plain = np.asarray(array, order="C")
        data = plain.reshape(-1).view(np.uint8)
        for number, start in enumerate(range(0, max(1, len(data)), CHUNK)):
            yield _row(name, plain.dtype.str, list(plain.shape), number, data[start : start + CHUNK])


def missing_rows(sources: Sequence[int]) -> Iterator[pa.RecordBatch]:
    """Yield the provisional shards that no rank can open."""
    yield _row(MISSING, "json", [], 0, json.dumps(list(sources)).encode())


def _row(name: str, dtype: str, shape: list[int], chunk: int, data: Any) -> pa.RecordBatch:
    values = ([name], [dtype], [shape], [chunk], [bytes(data)])
    columns = [pa.array(value, kind) for value, kind in zip(values, SCHEMA.types, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def state_of(rows: pa.Table) -> tuple[dict[str, np.ndarray], TrainState, tuple[Validation, ...]]:
    """Put the chunks of rank 0 together; raises `TrainingError` when there are none."""
    progress: dict[str, Any] | None = None
    arrays: dict[str, np.ndarray] = {}
    for row, data in zip(rows.drop_columns("data").to_pylist(), rows["data"], strict=True):
        name = row["name"]
        if row["dtype"] == "json":
            progress = json.loads(data.as_py()) if name == STATE else progress
            continue
        if name not in arrays:
            arrays[name] = np.empty(row["shape"], row["dtype"])
        start = row["chunk"] * CHUNK
        # Straight from Arrow's memory into the array: the driver holds the weights twice, not four times.
        arrays[name].reshape(-1).view(np.uint8)[start : start + CHUNK] = np.frombuffer(data.as_buffer(), np.uint8)
    if progress is None:
        raise TrainingError("The training job must return the state of rank 0. Received: nothing.")
    history = tuple(Validation.from_json(one) for one in progress["validations"])
    return arrays, TrainState.from_json(progress["state"]), history


def history_of(rows: pa.Table) -> list[dict[str, Any]]:
    """Return the progress that rank 0 kept because it could not send it, in order."""
    return [message for part in _jsons(rows.sort_by("chunk"), HISTORY) for message in part]


def hosts_of(rows: pa.Table) -> frozenset[str]:
    """Return the hosts whose ranks have trained, and removed what was theirs."""
    return frozenset(host for part in _jsons(rows, STATE) for host in part["hosts"])


def missing_of(rows: pa.Table) -> list[int]:
    """Return the provisional shards that no rank could open; none when the group has trained."""
    return sorted({source for part in _jsons(rows, MISSING) for source in part})


def _jsons(rows: pa.Table, name: str) -> list[Any]:
    listed = rows.filter((pc.field("dtype") == "json") & (pc.field("name") == name))
    return [json.loads(text) for text in listed["data"].to_pylist()]
