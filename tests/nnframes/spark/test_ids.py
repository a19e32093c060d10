"""Ids of embeddings: what a table does not have is found before training, and in every program."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.sql import functions as F

from nnframes import NNClassifier, NNClassifierModel
from nnframes.errors import ArgumentError, DataError
from nnframes.nn import ClassNLLCriterion, Linear, LogSoftMax, LookupTable, Reshape, Sequential


@pytest.fixture
def embedding():
    """Four ids a row, of 10 words."""
    network = Sequential().add(LookupTable(10, 2)).add(Reshape([8])).add(Linear(8, 3)).add(LogSoftMax())
    return NNClassifier(network, ClassNLLCriterion()).setFeaturesCol("array").setMaxEpoch(1).setShowProgress(False)


IDS = {
    "too large": (lambda x: F.lit(10.0), r"Received: 10 to 10. Hint: ids count from 0"),
    "negative": (lambda x: F.lit(-1.0), r"Received: -1 to -1."),
    "fractional": (lambda x: F.lit(1.5), r"Received: 240 of 240 rows with other numbers, in 1.5 to 1.5."),
    "huge": (lambda x: F.lit(1e20), r"Received: 1e\+20 to 1e\+20."),
}


@pytest.mark.parametrize("case", IDS)
def test_ids_that_a_table_does_not_have(case, embedding, points):
    change, message = IDS[case]
    data = points.withColumn("array", F.transform("array", change))
    wanted = r"Column 'array' must hold whole numbers in \[0, 10\), the ids of LookupTable 'lookuptable_1'. "
    with pytest.raises(DataError, match=wanted + message):
        embedding.fit(data)
    with pytest.raises(Exception, match=r"LookupTable 'lookuptable_1': ids must be whole numbers in \[0, 10\)"):
        NNClassifierModel(embedding.model).setFeaturesCol("array").transform(data).collect()


def test_ids_that_a_table_has(embedding, points):
    data = points.withColumn("array", F.transform("array", lambda x: F.floor(F.abs(x)) % 10))
    assert embedding.fit(data).transform(data).count() == 240


@pytest.mark.parametrize("wrong", [-1, 10, 0.5, np.nan, 1e20])
def test_eager_use_checks_too(wrong):
    """Also a gradient that is asked for without the output."""
    ids, layer = np.float32([[1, wrong]]), LookupTable(10, 2)
    with pytest.raises(ArgumentError, match=r"ids must be whole numbers in \[0, 10\). Received: "):
        layer.forward(ids)
    with pytest.raises(ArgumentError, match=r"ids must be whole numbers in \[0, 10\). Received: "):
        layer.backward(ids, np.ones((1, 2, 2), np.float32))
