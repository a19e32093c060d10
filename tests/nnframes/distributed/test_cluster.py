"""Executors of their own: the same bits, the same errors, nothing left behind."""

from __future__ import annotations

import pytest

from tests.nnframes.distributed import cluster


@pytest.mark.slow
def test_two_executors_give_the_bits_of_one_process(spark, spawn, tmp_path):
    expected = cluster.fit(cluster.frame_of(spark), str(tmp_path / "own"))
    found = spawn(cluster.on_two_executors, str(tmp_path), timeout=180)
    assert found["tasks"] == 2
    assert found["weights"] == cluster.digest(expected.weights)
    assert found["error"].startswith("Training failed on rank 0 of 2 on")
    assert "its process ended without a word" in found["error"]
    assert found["left"] == []
