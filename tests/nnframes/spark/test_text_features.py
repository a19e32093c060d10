"""Columns of texts: strings go through the text transforms into an embedding, in training, scoring and SQL."""

from __future__ import annotations

import csv
from collections import Counter

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import StringIndexer
from pyspark.sql import functions as F

from featurelib import ChainedPreprocessing, SeqToTensor
from featurelib.text import Normalizer, SequenceShaper, Tokenizer, WordIndexer
from nnframes import NNClassifier, NNClassifierModel, register
from nnframes.errors import ColumnError, DataError
from nnframes.nn import CrossEntropyCriterion, Linear, LookupTable, Mean, Sequential
from nnframes.optim import Adam

INTENTS = (
    "card_arrival",
    "lost_or_stolen_card",
    "exchange_rate",
    "top_up_failed",
    "change_pin",
    "age_limit",
    "terminate_account",
    "country_support",
)
LENGTH = 24


def questions(path):
    with path.open(newline="", encoding="utf-8") as file:
        return [(row["text"], row["category"]) for row in csv.DictReader(file) if row["category"] in INTENTS]


def index_of(texts):
    words = Counter(word for text in texts for word in (Tokenizer() >> Normalizer())(text).get_tokens())
    return {word: number for number, (word, _) in enumerate(words.most_common(), 1)}


def chain_of(index):
    return ChainedPreprocessing([Tokenizer(), Normalizer(), WordIndexer(index), SequenceShaper(LENGTH)])


def network(words, classes):
    return Sequential().add(LookupTable(words + 1, 24, 0)).add(Mean(1)).add(Linear(24, classes))


def classifier(index, classes):
    made = NNClassifier(network(len(index), classes), CrossEntropyCriterion(), chain_of(index)).setFeaturesCol("text")
    return made.setOptimMethod(Adam(0.02)).setBatchSize(64).setMaxEpoch(8).setNumShards(2).setShowProgress(False)


TEXTS = [("To be, or not", 0.0), ("be be be", 1.0), ("or to", 0.0), ("be not be", 1.0)] * 6
INDEX = {"to": 1, "be": 2, "or": 3, "not": 4}


@pytest.fixture(scope="module")
def lines(spark):
    return spark.createDataFrame(TEXTS, "text string, label double").repartition(2).cache()


@pytest.mark.slow
def test_intents_of_customers(spark, data_dir, tmp_path):
    """Eight classes: chance is an eighth."""
    train, test = (questions(data_dir / "banking77" / f"{part}.csv") for part in ("train", "test"))
    schema = "text string, category string"
    stages = [StringIndexer(inputCol="category", outputCol="label"), classifier(index_of(t for t, _ in train), 8)]
    model = Pipeline(stages=stages).fit(spark.createDataFrame(train, schema))
    scored = model.transform(spark.createDataFrame(test, schema)).select("label", "prediction").toPandas()
    assert np.mean(scored.label == scored.prediction) > 0.85
    model.write().overwrite().save(str(tmp_path / "model"))
    loaded = PipelineModel.load(str(tmp_path / "model")).transform(spark.createDataFrame(test, schema))
    assert loaded.select("prediction").toPandas().prediction.equals(scored.prediction)


@pytest.mark.parametrize("caching", [True, False])
def test_caching_does_not_show_in_the_weights(lines, caching):
    model = classifier(INDEX, 2).setMaxEpoch(2).setCachingSample(caching).fit(lines)
    wanted = classifier(INDEX, 2).setMaxEpoch(2).fit(lines)
    for one, other in zip(model.model.get_weights(), wanted.model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_words_of_another_stage(lines):
    """Spark's own tokenisers make arrays of strings."""
    words = lines.withColumn("words", F.split(F.lower("text"), " "))
    chain = WordIndexer(INDEX) >> SequenceShaper(LENGTH)
    model = classifier(INDEX, 2).setSamplePreprocessing(chain).setFeaturesCol("words").setMaxEpoch(1).fit(words)
    assert model.transform(words).count() == len(TEXTS)


ODD = {
    "empty": "",
    "blank": " \t\u3000\n",
    "unknown words": "das ist unbekannt",
    "emoji": "😀👍🏽❤️",
    "another script": "日本語 हिन्दी",
    "very long": "be " * 200_000,
    "zeros": "\x00\x00",
}


@pytest.mark.parametrize("handle", ["error", "skip", "keep"])
def test_odd_texts_have_a_prediction_and_nulls_follow_the_policy(spark, handle):
    model = NNClassifierModel(network(4, 2), chain_of(INDEX)).setFeaturesCol("text").setHandleInvalid(handle)
    odd = spark.createDataFrame(list(ODD.items()), "name string, text string")
    assert model.transform(odd).where("prediction IS NOT NULL").count() == len(ODD)
    with_null = model.transform(odd.union(spark.createDataFrame([("null", None)], odd.schema)))
    if handle == "error":
        with pytest.raises(
            Exception, match=r"Features of column 'text' must be usable in every row. Received in row .*: null"
        ):
            with_null.collect()
    else:
        assert with_null.where("prediction IS NULL").count() == (handle == "keep")
        assert with_null.count() == len(ODD) + (handle == "keep")


def test_nulls_in_training(spark, lines):
    holed = lines.union(spark.createDataFrame([(None, 1.0)], lines.schema))
    with pytest.raises(DataError, match="null"):
        classifier(INDEX, 2).setMaxEpoch(1).fit(holed)
    model = classifier(INDEX, 2).setMaxEpoch(1).setHandleInvalid("skip").fit(holed)
    assert (model.summary.rows, model.summary.dropped) == (len(TEXTS), 1)


def test_sql(spark, lines):
    register(spark, "said", NNClassifierModel(network(4, 2), chain_of(INDEX)))
    assert spark.sql("SELECT said('to be') AS one, said(array(1.0)) AS two LIMIT 0").columns == ["one", "two"]
    assert spark.sql("SELECT said('to be') AS one").first().one in (0.0, 1.0)
    with pytest.raises(Exception, match="a text must be a str"):
        spark.sql("SELECT said(1.0)").collect()


WRONG = {
    "no preprocessing": (
        None,
        "text",
        r"Column 'text' of texts must have a feature_preprocessing .*Tokenizer",
    ),
    "of numbers": (SeqToTensor([3]), "text", r"Received: SeqToTensor. Hint: a ChainedPreprocessing from Tokenizer\(\)"),
    "words to Tokenizer": (
        chain_of(INDEX),
        "words",
        r"must be string to be opened by Tokenizer. Received: array<string>. Hint: Normalizer\(\)",
    ),
    "texts to WordIndexer": (
        WordIndexer(INDEX),
        "text",
        r"must be array<string> .*WordIndexer. Received: string",
    ),
    "numbers to Tokenizer": (chain_of(INDEX), "label", r"must be string to be opened by Tokenizer. Received: double"),
}


@pytest.mark.parametrize("case", WRONG)
def test_columns_that_do_not_fit(case, lines):
    chain, column, message = WRONG[case]
    model = NNClassifierModel(network(4, 2), chain).setFeaturesCol(column)
    with pytest.raises(ColumnError, match=message):
        model.transform(lines.withColumn("words", F.split("text", " ")))


def test_a_length_that_the_network_does_not_take(lines):
    """The chain says how many numbers a row has: before any job."""
    fixed = Sequential().add(LookupTable(5, 2)).add(Mean(1)).add(Linear(3, 2))
    with pytest.raises(Exception, match=r"Linear .* expects"):
        NNClassifierModel(fixed, chain_of(INDEX)).setFeaturesCol("text").transform(lines)
