"""TextIndexer: words to numbers in pipelines, SQL and streams."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import RegexTokenizer, StringIndexer
from pyspark.ml.linalg import Vectors
from pyspark.sql import functions as F

from featurelib.text import LocalTextSet
from nnframes import NNClassifier, TextIndexer, TextIndexerModel, register
from nnframes.errors import ArgumentError, ColumnError, DataError, ModelFileError
from nnframes.nn import CrossEntropyCriterion, Linear, LookupTable, Mean, Sequential
from nnframes.optim import Adam

TEXTS = ["To be, or not to be!", "to go", "", "😀 42", "हिन्दी be", None]
NUMBERS = {"be": 1, "to": 2, "go": 3, "not": 4, "or": 5, "हिन्दी": 6}


@pytest.fixture(scope="module")
def lines(spark):
    return spark.createDataFrame(list(enumerate(TEXTS)), "id long, text string").repartition(2).cache()


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def ids(frame, column="ids"):
    return {row.id: row[column] for row in frame.collect()}


def test_words_are_numbered_as_in_one_process(lines):
    model = TextIndexer(length=4).fit(lines)
    assert model.getWordIndex() == NUMBERS
    local = LocalTextSet([text for text in TEXTS if text is not None]).tokenize().normalize()
    assert local.generate_word_index_map() == NUMBERS


CHOICES = {
    "most": ({"maxWords": 2}, ["be", "to"]),
    "without the first": ({"removeTop": 1, "maxWords": 2}, ["to", "go"]),
    "frequent": ({"minFreq": 3}, ["be", "to"]),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choice_of_words(case, lines):
    params, words = CHOICES[case]
    assert TextIndexer(**params).fit(lines).words == words


def test_numbers_of_odd_texts(lines):
    model = TextIndexer(length=4, handleInvalid="keep").fit(lines)
    found = ids(model.transform(lines))
    assert found == {0: [5, 4, 2, 1], 1: [2, 3, 0, 0], 2: [0] * 4, 3: [0] * 4, 4: [6, 1, 0, 0], 5: None}
    assert ids(model.setTruncMode("post").transform(lines))[0] == [2, 1, 5, 4]
    assert sorted(ids(model.setHandleInvalid("skip").transform(lines))) == [0, 1, 2, 3, 4]
    with pytest.raises(Exception, match="A text must not be null"):
        model.setHandleInvalid("error").transform(lines).collect()


def test_long_texts_and_unknown_words(spark, lines):
    model = TextIndexer(length=3).fit(lines)
    long = spark.createDataFrame([(0, "to be " * 100_000), (1, "x" * 1_000_000), (2, "völlig neu")], lines.schema)
    assert ids(model.transform(long)) == {0: [1, 2, 1], 1: [0] * 3, 2: [0] * 3}


def test_words_of_sparks_tokenizers(lines):
    words = RegexTokenizer(inputCol="text", outputCol="words", pattern=r"\W+").transform(lines.dropna())
    model = TextIndexer(inputCol="words", length=3).fit(words)
    assert model.getWordIndex()["be"] == 1
    assert "42" in model.words  # taken as they are
    assert ids(model.transform(words))[1] == [2, model.getWordIndex()["go"], 0]
    holed = words.select("id", F.array(F.lit("be"), F.lit(None)).alias("words"))
    assert ids(model.transform(holed))[0] == [1, 0, 0]


def test_vectors_beside_the_texts(spark, tmp_path):
    """Column files with vectors are handed to Python as rows."""
    spark.createDataFrame([(0, "a b", Vectors.dense(1.0))], ["id", "text", "v"]).write.parquet(str(tmp_path / "t"))
    stored = spark.read.parquet(str(tmp_path / "t"))
    assert ids(TextIndexer(length=2).fit(stored).transform(stored)) == {0: [1, 2]}


def test_sql_and_streams(spark, lines, tmp_path):
    model = TextIndexer(length=2).fit(lines)
    register(spark, "numbered", model)
    assert spark.sql("SELECT numbered('to be') AS a, numbered(array('be')) AS b").first() == ([2, 1], [1, 0])
    lines.where("text IS NOT NULL").write.parquet(str(tmp_path / "in"))
    stream = model.transform(spark.readStream.schema(lines.schema).parquet(str(tmp_path / "in")))
    query = stream.writeStream.format("memory").queryName("numbered_lines").trigger(availableNow=True).start()
    assert query.awaitTermination(60)
    assert ids(spark.table("numbered_lines"))[1] == [2, 3]


WRONG = {
    "missing": (TextIndexer(inputCol="x"), r"Column 'x' \(inputCol\) must exist. .* Hint: setInputCol"),
    "number": (TextIndexer(inputCol="id"), r"Column 'id' must be string or array<string>. Received: bigint."),
    "taken": (TextIndexer(outputCol="ID"), "outputCol 'ID' must not exist yet"),
}


@pytest.mark.parametrize("case", WRONG)
def test_columns_that_do_not_fit(case, lines):
    stage, message = WRONG[case]
    with pytest.raises(ColumnError, match=message):
        stage.fit(lines)
    with pytest.raises(ColumnError, match=message):
        TextIndexerModel(["a"], inputCol=stage.getInputCol(), outputCol=stage.getOutputCol()).transform(lines)


def test_arguments_that_do_not_fit(lines):
    with pytest.raises(ArgumentError, match=r"TextIndexer has no param 'len'. Params: .*length"):
        TextIndexer(len=3)
    for wrong in ([], ["a", "a"], "ab", [1]):
        with pytest.raises(ArgumentError, match="words must be a list of different strings"):
            TextIndexerModel(wrong)
    with pytest.raises(DataError, match=r"must hold words to number. Received: none that comes 9 times"):
        TextIndexer(minFreq=9).fit(lines)


def test_a_payload_that_is_no_list_of_words(spark, lines, tmp_path):
    """Hash and size are right, what they are of is not."""
    for number, payload in enumerate((b"{", b"[1]", b'{"a": 1}', b"[" * 100_000)):
        model = TextIndexerModel(["a"])
        model._payload = lambda data=payload: data
        model.save(str(tmp_path / str(number)))
        with pytest.raises(ModelFileError, match=r"must be a list of words in JSON|built: words must be a list"):
            TextIndexerModel.load(str(tmp_path / str(number)))


def test_many_words(spark, tmp_path):
    """They are a file of the session, not part of the function or of the metadata."""
    model = TextIndexerModel([f"w{number}" for number in range(400_000)], inputCol="words", length=2)
    model.save(str(tmp_path / "model"))
    loaded = TextIndexerModel.load(str(tmp_path / "model"))
    assert loaded.words == model.words
    frame = spark.createDataFrame([(0, ["w0", "w399999"])], "id long, words array<string>")
    assert ids(loaded.transform(frame)) == {0: [1, 400_000]}
    metadata = json.loads(spark.read.text(str(tmp_path / "model" / "metadata")).first()[0])
    assert len(json.dumps(metadata)) < 2000


@pytest.mark.slow
def test_intents_of_customers_in_a_pipeline(spark, data_dir, tmp_path):
    """All 77 classes: chance is one in 77."""
    train, test = (spark.createDataFrame(rows_of(data_dir / "banking77" / f"{part}.csv")) for part in ("train", "test"))
    network = Sequential().add(LookupTable(2501, 32, 0)).add(Mean(1)).add(Linear(32, 77))
    classifier = NNClassifier(network, CrossEntropyCriterion()).setFeaturesCol("ids").setShowProgress(False)
    stages = [
        TextIndexer(inputCol="text", outputCol="ids", length=30, maxWords=2500),
        StringIndexer(inputCol="category", outputCol="label"),
        classifier.setOptimMethod(Adam(0.02)).setBatchSize(128).setMaxEpoch(6).setNumShards(2),
    ]
    model = Pipeline(stages=stages).fit(train)
    scored = model.transform(test).select("label", "prediction").toPandas()
    assert np.mean(scored.label == scored.prediction) > 0.7
    model.save(str(tmp_path / "model"))
    again = PipelineModel.load(str(tmp_path / "model")).transform(test).select("prediction").toPandas()
    assert again.prediction.equals(scored.prediction)
