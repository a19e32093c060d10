"""The real engine under NNClassifier: bits follow data, seed, batch size and shards, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F

from nnframes.nn.walk import parameters_in
from tests.nnframes.distributed import runs


@pytest.fixture(scope="module")
def frame(spark):
    return runs.frame_of(spark).coalesce(1).cache()


@pytest.fixture(scope="module")
def expected(frame):
    """What two tasks of this process's Spark make of every run."""
    return {name: runs.fitted(name, frame) for name in runs.RUNS}


@pytest.mark.slow
@pytest.mark.parametrize("name", runs.RUNS)
def test_training_changes_everything_and_stays_finite(name, expected):
    network = runs.network_of(runs.RUNS[name].column).initialise()
    for (path, parameter), end in zip(parameters_in(network), expected[name], strict=True):
        assert np.isfinite(end).all(), path
        assert not np.array_equal(parameter.value, end), path


@pytest.mark.slow
@pytest.mark.parametrize("name", runs.RUNS)
def test_a_second_run_gives_the_same_bits(name, frame, expected):
    for again, once in zip(runs.fitted(name, frame), expected[name], strict=True):
        np.testing.assert_array_equal(again, once)


@pytest.mark.slow
@pytest.mark.parametrize("tasks", [1, 3])
def test_any_number_of_tasks_gives_the_same_bits_in_a_fresh_process(tasks, expected, spawn, tmp_path):
    found = spawn(runs.digests, f"local[{tasks}]", str(tmp_path), list(runs.RUNS), timeout=240)
    assert found == {name: runs.digest(arrays) for name, arrays in expected.items()}


@pytest.mark.slow
def test_two_executors_give_the_same_bits(expected, spawn, tmp_path):
    names = ["numbers-4", "words-3", "image-3"]
    found = spawn(runs.digests, "local-cluster[2,1,1024]", str(tmp_path), names, timeout=240)
    assert found == {name: runs.digest(expected[name]) for name in names}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["numbers-3", "words-2", "image-2"])
def test_neither_partitions_nor_order_nor_other_columns_show(name, frame, expected):
    arrangements = [
        frame.repartition(3),
        frame.repartition(7),
        frame.orderBy(F.rand(1)).withColumn("more", F.rand(2)),
        frame.select("label", runs.RUNS[name].column).orderBy("label", ascending=False),
    ]
    for arranged in arrangements:
        for again, once in zip(runs.fitted(name, arranged), expected[name], strict=True):
            np.testing.assert_array_equal(again, once)


@pytest.mark.slow
def test_the_seed_shows(frame, expected):
    other = runs.fitted("numbers-2", frame, seed=6)
    assert not np.array_equal(other[0], expected["numbers-2"][0])
