"""Sets of texts in Spark: what they give is what sets of one process give."""

from __future__ import annotations

import numpy as np
import pytest

from featurelib import register_class
from featurelib.errors import FeatureError
from featurelib.sample import Sample
from featurelib.text import LocalTextSet, Relation, TextFeature
from featurelib.text.transforms import TextTransform
from nnframes import DistributedTextSet, NNClassifier, Relations, TextSet
from nnframes.errors import ArgumentError
from nnframes.nn import CrossEntropyCriterion, Linear, LookupTable, Mean, Sequential

TEXTS = ["To be, or not to be!", "to go", "", "😀", "हिन्दी be", "no end to it"]


@pytest.fixture
def folder(tmp_path):
    for name, data in {
        "b/2.txt": b"two",
        "b/10.txt": "zehn \u00e4".encode(),
        "b/deeper/x": b"too deep",
        "a/x": b"\xef\xbb\xbfmarked",
        "a/.hidden": b"\xff",
        "a/_SUCCESS": b"\xff",
        "aa/.empty": b"",
        ".git/x": b"",
        "_tmp/x": b"",
        "README": b"no category",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    return tmp_path


def same(one, other):
    """Equal features, arrays and samples included."""
    assert type(one) is type(other)
    if isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    elif isinstance(one, (dict, Sample)):
        one, other = (dict(each) if isinstance(each, dict) else vars(each) for each in (one, other))
        assert one.keys() == other.keys()
        for key in one:
            same(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            same(left, right)
    else:
        assert one == other


def by_uri(texts):
    return sorted((dict(feature) for feature in texts.to_local().features), key=lambda one: one["uri"])


def steps(texts):
    chain = texts.tokenize().normalize().word2idx(max_words_num=5)
    return chain.shape_sequence(4, "post").generate_sample()


@pytest.fixture(scope="module")
def local():
    return LocalTextSet(TEXTS, list(range(len(TEXTS))), [f"t{number}" for number in range(len(TEXTS))])


@pytest.fixture(scope="module")
def spread(spark, local):
    return DistributedTextSet.from_local(local, spark, 2)


@pytest.mark.slow
@pytest.mark.parametrize("context", [False, True])
def test_folders(folder, spark, context):
    texts = TextSet.read(folder, spark.sparkContext if context else spark, min_partitions=2)
    assert texts.is_distributed()
    here = TextSet.read(folder)
    assert here.is_local()
    columns = zip(here.get_uris(), here.get_texts(), here.get_labels(), strict=True)
    wanted = [(f"file:{uri}", text, label) for uri, text, label in columns]
    assert [(row.uri, row.text, row.label) for row in texts.to_df().orderBy("uri").collect()] == wanted
    assert here.get_labels() == [0, 1, 1]


def test_folders_that_do_not_fit(folder, spark, tmp_path):
    (folder / "a" / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(Exception, match=r"a/latin must be utf-8. Received: .* at byte 3"):
        TextSet.read(folder, spark).to_local()
    assert "café" in TextSet.read(folder, spark, encoding="latin-1").to_local().get_texts()
    with pytest.raises(Exception, match=r"Path does not exist: .*/aa"):
        TextSet.read(folder / "aa", spark)
    (folder / "aa" / ".git").mkdir()
    (folder / "aa" / ".git" / "x").write_bytes(b"")
    with pytest.raises(FeatureError, match="must hold a folder with files for each category"):
        TextSet.read(folder / "aa", spark)
    with pytest.raises(ArgumentError, match=r"sc must be a SparkSession or a SparkContext. Received: str"):
        TextSet.read(folder, "local")


def test_csv_and_parquet(spark, tmp_path):
    (tmp_path / "a.csv").write_text('q1,"to be, ""or"" not\nto"\nq2,\n', encoding="utf-8")
    here = TextSet.read_csv(tmp_path / "a.csv")
    same(by_uri(TextSet.read_csv(tmp_path / "a.csv", spark)), by_uri(here))
    spark.createDataFrame([("q1", "to be")], "id string, text string").write.parquet(str(tmp_path / "p"))
    same(by_uri(TextSet.read_parquet(tmp_path / "p", spark)), by_uri(TextSet.read_parquet(tmp_path / "p")))
    (tmp_path / "a.csv").write_text("q1,a,b\n")
    with pytest.raises(Exception, match=r"(?i)malformed"):
        TextSet.read_csv(tmp_path / "a.csv", spark).to_local()


@pytest.mark.slow
def test_from_texts_to_samples(local, spread):
    here, there = steps(local), steps(spread)
    assert there.get_word_index() == here.get_word_index()
    same(by_uri(there), by_uri(here))
    assert there.to_local().get_word_index() == here.get_word_index()
    same(by_uri(DistributedTextSet.from_local(here, partition_num=3)), by_uri(here))


def test_getters_are_frames(spread):
    texts = steps(spread)
    assert sorted(row.text for row in texts.get_texts().collect()) == sorted(TEXTS)
    assert texts.get_uris().columns == ["uri"]
    assert {row.uri: row.label for row in texts.get_labels().collect()}["t3"] == 3
    sample = {row.uri: row.sample for row in texts.get_samples().collect()}["t1"]
    assert (sample.features[0].shape, sample.features[0]["values"][2:]) == ([4], [0.0, 0.0])
    assert texts.get_predicts().where("predict IS NULL").count() == len(TEXTS)


def test_sets_do_not_change(spread):
    steps(spread)
    assert spread.get_word_index() is None
    assert spread.to_df().where("tokens IS NOT NULL").count() == 0


CHOICES = [{"remove_topN": 1}, {"min_freq": 2}, {"existing_map": {"go": 7}, "max_words_num": 2}]


@pytest.mark.parametrize("choice", CHOICES)
def test_choice_of_words(local, spread, choice):
    here, there = (texts.tokenize().normalize().generate_word_index_map(**choice) for texts in (local, spread))
    assert here == there
    assert list(here) == list(there)


def test_an_index_of_training_is_used_as_it_is(spread, tmp_path):
    trained = spread.tokenize().normalize().word2idx()
    trained.save_word_index(tmp_path / "words.json")
    again = spread.load_word_index(tmp_path / "words.json").tokenize().normalize().word2idx(max_words_num=1)
    assert again.get_word_index() == trained.get_word_index()


def test_a_frame_of_ones_own(spark):
    frame = spark.createDataFrame([("to be", 1.0, b"x")], "text string, label double, other binary")
    assert DistributedTextSet(frame).to_local().features == [TextFeature("to be", 1)]
    with pytest.raises(ArgumentError, match=r"must have a column text. Received the columns: label, other"):
        DistributedTextSet(frame.drop("text"))


def test_steps_out_of_order(spread):
    with pytest.raises(Exception, match=r"must have been split into words. Hint: tokenize\(\)"):
        spread.word2idx()
    with pytest.raises(Exception, match="SequenceShaper expects indexedTokens"):
        spread.shape_sequence(3).to_local()


@register_class
class Shortened(TextTransform):
    """A step of one's own, which tasks get from the driver."""

    reads = writes = "text"

    def __init__(self, length):
        self.length = length

    def make(self, given, feature):
        return given[: self.length]


@register_class
class Dropping(Shortened):
    random = True


def test_steps_of_ones_own(local, spread):
    same(by_uri(spread.transform(Shortened(3))), by_uri(local.transform(Shortened(3))))
    with pytest.raises(ArgumentError, match=r"must not be random. Received: Dropping"):
        spread.transform(Dropping(3))


@pytest.mark.slow
def test_a_set_trains_a_network(spread):
    texts = spread.tokenize().normalize().word2idx().shape_sequence(6)
    table = LookupTable(len(texts.get_word_index()) + 1, 8, 0)
    network = Sequential().add(table).add(Mean(1)).add(Linear(8, len(TEXTS)))
    classifier = NNClassifier(network, CrossEntropyCriterion()).setFeaturesCol("indexedTokens").setShowProgress(False)
    model = classifier.setMaxEpoch(1).setBatchSize(4).fit(texts.to_df())
    assert model.transform(texts.to_df()).where("prediction >= 0").count() == len(TEXTS)


def test_random_split(spark):
    texts = LocalTextSet([f"{number}" for number in range(400)])
    one, other = (DistributedTextSet.from_local(texts, spark, number) for number in (1, 3))
    parts = one.random_split([3, 1], seed=4)
    found = [sorted(part.to_local().get_texts()) for part in parts]
    assert sorted(found[0] + found[1]) == sorted(texts.get_texts())
    assert 60 < len(found[1]) < 140
    assert [sorted(part.to_local().get_texts()) for part in other.random_split([0.75, 0.25], seed=4)] == found
    assert sorted(one.random_split([3, 1], seed=5)[0].to_local().get_texts()) != found[0]


# ---------------------------------------------------------------- relations

RELATIONS = [Relation("q2", "a", 1), Relation("q1", "b", 0), Relation("q1", "a", 1), Relation("q1", "c", 0)]


def corpus(texts, length):
    index = {word: number for number, word in enumerate("abcdefgh", 1)}
    made = LocalTextSet(texts.values(), uris=list(texts)).set_word_index(index)
    return made.tokenize().word2idx().shape_sequence(length)


@pytest.fixture
def corpora():
    return corpus({"q1": "d e", "q2": "f"}, 2), corpus({"a": "a a a", "b": "b", "c": "c c"}, 3)


def tensors(texts):
    return sorted(
        (uri, sample.features[0].tolist(), sample.labels[0].tolist())
        for uri, sample in zip(texts.get_uris(), texts.get_samples(), strict=True)
    )


@pytest.mark.slow
@pytest.mark.parametrize("make", [TextSet.from_relation_pairs, TextSet.from_relation_lists])
def test_relations(spark, corpora, tmp_path, make):
    wanted = make(RELATIONS, *corpora)
    assert wanted.is_local()
    (tmp_path / "r.csv").write_text("".join(f"{one.id1},{one.id2},{one.label}\n" for one in RELATIONS))
    assert Relations.read(tmp_path / "r.csv") == RELATIONS
    frame = Relations.read(tmp_path / "r.csv", spark)
    frame.write.parquet(str(tmp_path / "r"))
    assert sorted(Relations.read_parquet(tmp_path / "r"), key=str) == sorted(RELATIONS, key=str)
    first, second = (DistributedTextSet.from_local(each, spark) for each in corpora)
    stored = Relations.read_parquet(tmp_path / "r", spark)
    for given in ((frame, first, second), (RELATIONS, first, corpora[1]), (stored, *corpora)):
        made = make(*given)
        assert made.is_distributed()
        assert tensors(made.to_local()) == tensors(wanted)


BAD = {
    "unknown id2": ([Relation("q1", "z", 1)], {}, "corpus2 must hold the text 'z'"),
    "unknown id1": ([Relation("z", "a", 1)], {}, "corpus1 must hold the text 'z'"),
    "no numbers": (RELATIONS, {"corpus2": LocalTextSet(["a"], uris=["a"])}, "corpus2 must have one length"),
    "twice": (
        RELATIONS,
        {"corpus1": corpus({"q1": "d"}, 2)},
        "texts of corpus1 must have different uris. Received: q1",
    ),
    "lengths": (RELATIONS, {"corpus2": corpus({"a": "a"}, 2)}, "must have one length"),
}


@pytest.mark.parametrize("case", BAD)
def test_relations_that_do_not_fit(spark, corpora, case):
    relations, change, message = BAD[case]
    made = {"corpus1": corpora[0], "corpus2": corpora[1]} | change
    if case == "twice":
        made["corpus1"] = LocalTextSet([*corpora[0].features, *change["corpus1"].features])
    if case == "lengths":
        made["corpus2"] = LocalTextSet([*corpora[1].features[1:], *change["corpus2"].features])
    spread = {name: DistributedTextSet.from_local(each, spark) for name, each in made.items()}
    with pytest.raises(Exception, match=message):
        TextSet.from_relation_lists(relations, **spread).to_local()
