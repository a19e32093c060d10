"""The small parts: Arrow columns, engine check, translated errors, settings, counts."""

from __future__ import annotations

from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from kernels.errors import NativeLibraryWarning
from nnframes.distributed import FitSettings, SamplePlan, column_values, result
from nnframes.distributed.arrow import null_mask
from nnframes.distributed.engine import check_engines, engine_info
from nnframes.distributed.jobs import translated
from nnframes.distributed.summary import BlockStatistics
from nnframes.errors import ArgumentError, ColumnError, DataError, TrainingError
from nnframes.train import MaxEpoch, TrainState, Validation
from tests.nnframes.distributed import softmax

LISTS = pa.array([[9.0], [1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32()))

COLUMNS = [
    (pa.array([1.5, 2.0]), [1.5, 2.0]),
    (pa.array([True, False]), [True, False]),
    (pa.array([1, 2], pa.decimal128(5, 1)), [1.0, 2.0]),
    (LISTS.slice(1), [[1.0, 2.0], [3.0, 4.0]]),
    (pa.array([[[1, 2]], [[3, 4]]]), [[[1, 2]], [[3, 4]]]),
    (pa.array([[1, 2], [3, 4]], pa.list_(pa.int8(), 2)).slice(1), [[3, 4]]),
    (pa.array([], pa.list_(pa.float32())), []),
]


@pytest.mark.parametrize(("array", "expected"), COLUMNS, ids=lambda value: str(getattr(value, "type", "")))
def test_columns_become_arrays(array, expected):
    values = column_values(array)
    assert np.asarray(values).tolist() == expected


def test_lists_of_one_length_are_not_copied():
    array = pa.array(np.arange(6, dtype=np.float32))
    lists = pa.ListArray.from_arrays(pa.array([0, 3, 6], pa.int32()), array)
    assert np.shares_memory(column_values(lists), array.to_numpy())


def test_uneven_lists_bytes_and_structs():
    assert [row.tolist() for row in column_values(LISTS)] == [[9.0], [1.0, 2.0], [3.0, 4.0]]
    struct = pa.array([{"data": b"ab", "height": 1}, {"data": b"", "height": 2}]).slice(1)
    values = column_values(struct)
    assert (values["data"], values["height"].tolist()) == ([b""], [2])
    with pytest.raises(ColumnError, match="A column must hold numbers"):
        column_values(pa.array([1], pa.timestamp("us")))


def test_nulls_are_found_at_every_depth():
    nested = pa.array([[[1.0]], [[None]], None, [None], [[2.0]]]).slice(1)
    assert null_mask(nested).tolist() == [True, True, True, False]


def test_engines_must_be_alike():
    one = engine_info()
    check_engines(one["nnframes"], [("a", one), ("b", dict(one))])
    with pytest.raises(TrainingError, match=r"Received: 9 on the driver, \S+ on a. Hint"):
        check_engines("9", [("a", one)])
    with pytest.raises(TrainingError, match=r"isa \S+ on a, isa old on b"):
        check_engines(one["nnframes"], [("a", one), ("b", {**one, "isa": "old"})])
    with pytest.warns(NativeLibraryWarning, match="The engine runs on numpy on b, many times slower: no library. Hint"):
        check_engines(one["nnframes"], [("a", one), ("b", {**one, "missing": "no library. Hint: install it."})])


PYTHON = """Job aborted: org.apache.spark.api.python.PythonException: Traceback (most recent call last):
  File "worker.py", line 1, in main
    process()
  File "head.py", line 2, in head
{error}

\tat org.apache.spark.api.python.BasePythonRunner.handlePythonException(PythonRunner.scala:581)
"""

ERRORS = [
    ("nnframes.errors.DataError: Too bad.", "Work failed in a task: DataError: Too bad."),
    ("ValueError", "Work failed in a task: ValueError"),
    (
        "ModuleNotFoundError: No module named 'cv2'",
        "Work failed in a task: ModuleNotFoundError: No module named 'cv2' Hint",
    ),
]


@pytest.mark.parametrize(("error", "expected"), ERRORS)
def test_python_errors_are_told_without_java(error, expected):
    text = str(translated(RuntimeError(PYTHON.format(error=error)), "Work"))
    assert text.startswith(expected)
    assert "scala" not in text


def test_our_own_errors_pass_and_java_errors_lose_their_frames():
    own = DataError("x")
    assert translated(own, "Work") is own
    java = RuntimeError("Job 3 cancelled\n\tat org.apache.Spark.foo(Foo.scala:1)\nCaused by: lost executor")
    assert str(translated(java, "Work")) == "Work failed: RuntimeError: Job 3 cancelled Caused by: lost executor"


BAD = [("batch_size", 0), ("shards", 0), ("threads_per_shard", -1), ("max_tasks", 0), ("deadline", 0), ("end_when", 3)]


@pytest.mark.parametrize(("name", "value"), BAD)
def test_settings_are_checked(name, value):
    with pytest.raises(ArgumentError, match=f"FitSettings {name} must be"):
        FitSettings(**{"batch_size": 1, "end_when": MaxEpoch(1), "shards": 1, name: value})


def test_plans_are_checked():
    with pytest.raises(ArgumentError, match="at least one column"):
        SamplePlan((), softmax.make_head)
    with pytest.raises(ArgumentError, match=r"on_error must be one of fail, drop. Received: 'ignore'"):
        SamplePlan(("a",), softmax.make_head, on_error="ignore")


def test_weights_travel_in_chunks(monkeypatch):
    monkeypatch.setattr(result, "CHUNK", 64)
    arrays = {
        "long": np.arange(50, dtype=np.float32).reshape(5, 10).T,
        "none": np.empty((0, 3), np.float32),
        "one": np.array(3, np.int64),
    }
    state = TrainState().after(0.5, 4, True)
    history = (Validation(1, 1, ()),)
    course = SimpleNamespace(state=state, history=history, weights=lambda: arrays, finished=lambda: True)
    batches = list(result.result_rows(course))
    assert len(batches) == 1 + 4 + 1 + 1
    found, reached, history = result.state_of(pa.Table.from_batches(batches[::-1]))
    assert softmax.equal(found, arrays)
    assert (reached, history) == (state, course.history)
    found["long"] += 1  # not Arrow's read-only memory
    assert result.history_of(pa.Table.from_batches(batches)) == []
    with pytest.raises(TrainingError, match="must return the state of rank 0"):
        result.state_of(pa.Table.from_batches([], result.SCHEMA))


def test_progress_that_nobody_heard_travels_in_order(monkeypatch):
    monkeypatch.setattr(result, "MESSAGES", 2)
    messages = [{"states": [TrainState(iteration=number).to_json()]} for number in range(5)]
    course = SimpleNamespace(state=TrainState(iteration=4), history=(), weights=dict, finished=lambda: True)
    rows = pa.Table.from_batches(list(result.result_rows(course, messages))[::-1])
    assert rows.num_rows == 1 + 3
    assert result.history_of(rows) == messages
    assert result.state_of(rows) == ({}, course.state, ())


def test_counts_of_parts_add_up():
    nan = np.nan
    first, second = BlockStatistics(), BlockStatistics()
    first.add_fields((np.array([[1.0, nan], [2.0, 3.0]]), np.array([0.5, nan])), 1)
    first.nulls, first.dropped = {"a": 2}, 2
    second.add_fields(([np.zeros(3), np.array([np.inf])], np.array([-1.0, 4.0])), 1)
    second.add_error("row 7: bad")
    total = BlockStatistics.merged([first, BlockStatistics(**asdict(second))])
    assert (total.nan_inputs, total.nan_targets, total.fractional_targets) == (2, 1, 1)
    assert (total.target_min, total.target_max, total.nulls, total.errors) == (-1.0, 4.0, {"a": 2}, ["row 7: bad"])
    assert total.summary((2, 2), 10).shapes == (((1,), (2,), (3,)),)
