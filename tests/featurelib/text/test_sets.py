"""Sets of texts in one process: from files to samples, relations, splits."""

from __future__ import annotations

import numpy as np
import pytest

from featurelib import SeqToTensor, TensorToSample
from featurelib.errors import FeatureError
from featurelib.text import LocalTextSet, Relation, Relations, SequenceShaper, TextFeature
from kernels.errors import ArgumentError

TEXTS = ["To be, or not to be!", "to go", "", "😀"]


@pytest.fixture
def folder(tmp_path):
    for name, data in {
        "b/2.txt": b"two",
        "b/10.txt": "zehn \u00e4".encode(),
        "a/x": b"\xef\xbb\xbfmarked",
        "a/.hidden": b"\xff",
        "a/_SUCCESS": b"\xff",
        "aa/.empty": b"",
        ".git/x": b"",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "README").write_text("no category")
    return tmp_path


def test_folders_are_categories(folder):
    texts = LocalTextSet.read(folder)
    assert texts.get_texts() == ["marked", "zehn ä", "two"]
    assert texts.get_labels() == [0, 1, 1]
    assert texts.get_uris() == [str(folder / name) for name in ("a/x", "b/10.txt", "b/2.txt")]


def test_files_of_other_encodings(folder):
    (folder / "a" / "latin").write_bytes(b"caf\xe9")
    with pytest.raises(FeatureError, match=r"a/latin must be utf-8. Received: .* at byte 3. Hint: read\(\.\.\., encod"):
        LocalTextSet.read(folder)
    assert LocalTextSet.read(folder, encoding="latin-1").get_texts()[0] == "café"
    with pytest.raises(FeatureError, match="encoding must be one that Python knows"):
        LocalTextSet.read(folder, encoding="klingon")


def test_a_folder_without_categories(tmp_path):
    with pytest.raises(FeatureError, match="must hold a folder with files for each category"):
        LocalTextSet.read(tmp_path)


def test_csv_and_parquet(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    (tmp_path / "a.csv").write_text('q1,"to be, or not"\n\nq2,\n', encoding="utf-8")
    texts = LocalTextSet.read_csv(tmp_path / "a.csv")
    assert list(zip(texts.get_uris(), texts.get_texts(), strict=True)) == [("q1", "to be, or not"), ("q2", "")]
    parquet.write_table(pa.table({"id": ["q1", "q2"], "text": ["to be, or not", ""]}), tmp_path / "a.parquet")
    assert LocalTextSet.read_parquet(tmp_path / "a.parquet").features == texts.features
    parquet.write_table(pa.table({"id": ["q1"]}), tmp_path / "b.parquet")
    with pytest.raises(FeatureError, match=r"must have the columns id and text. Received: id"):
        LocalTextSet.read_parquet(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"a,b,c\n", "line 1: expected id,text, received 3 values"), (b"a,\xff\n", "must be CSV in UTF-8")],
)
def test_csv_that_does_not_fit(data, message, tmp_path):
    (tmp_path / "a.csv").write_bytes(data)
    with pytest.raises(FeatureError, match=message):
        LocalTextSet.read_csv(tmp_path / "a.csv")


def test_from_texts_to_samples():
    texts = LocalTextSet(TEXTS, [0, 1, 2, 3]).tokenize().normalize().word2idx(max_words_num=3)
    assert texts.get_word_index() == {"to": 1, "be": 2, "go": 3}
    samples = texts.shape_sequence(4).generate_sample().get_samples()
    assert [one.features[0].tolist() for one in samples] == [[1, 2, 1, 2], [1, 3, 0, 0], [0] * 4, [0] * 4]
    assert [one.labels[0].tolist() for one in samples] == [[0], [1], [2], [3]]


def test_sets_do_not_change():
    texts = LocalTextSet(TEXTS)
    texts.tokenize().normalize().word2idx().shape_sequence(2).generate_sample()
    assert texts.features == [TextFeature(text) for text in TEXTS]
    assert texts.get_word_index() is None
    assert (texts.get_labels(), texts.get_samples(), texts.get_predicts()[0]) == ([-1] * 4, [None] * 4, (None, None))
    assert texts.is_local()
    assert not texts.is_distributed()
    assert texts.to_local() is texts


def test_an_index_of_training_is_used_as_it_is(tmp_path):
    trained = LocalTextSet(TEXTS).tokenize().normalize().word2idx()
    trained.save_word_index(tmp_path / "words.json")
    new = LocalTextSet(["go, new be!"]).load_word_index(tmp_path / "words.json").tokenize().normalize().word2idx()
    assert new.get_word_index() == trained.get_word_index()
    assert np.asarray(new.features[0]).tolist() == [3, 2]
    with pytest.raises(ArgumentError, match="must have a word index to save it"):
        LocalTextSet(TEXTS).save_word_index(tmp_path / "words.json")


def test_steps_out_of_order():
    with pytest.raises(FeatureError, match=r"must have been split into words. .*Hint: tokenize\(\)"):
        LocalTextSet(TEXTS).word2idx()
    with pytest.raises(FeatureError, match=r"row 0: SequenceShaper expects indexedTokens"):
        LocalTextSet(TEXTS).tokenize().shape_sequence(2)
    with pytest.raises(ArgumentError, match=r"uris must be as many as texts, 4. Received: 1"):
        LocalTextSet(TEXTS, uris=["x"])


def test_random_split():
    texts = LocalTextSet([str(number) for number in range(100)])
    parts = texts.random_split([8, 1, 1], seed=5)
    assert [len(part) for part in parts] == [80, 10, 10]
    assert sorted(text for part in parts for text in part.get_texts()) == sorted(texts.get_texts())
    assert [part.get_texts() for part in texts.random_split([0.8, 0.1, 0.1], 5)] == [p.get_texts() for p in parts]
    assert texts.random_split([8, 1, 1], 6)[0].get_texts() != parts[0].get_texts()
    for wrong in ([], [0, 0], [-1, 2], [float("nan")], ["1"]):
        with pytest.raises(ArgumentError):
            texts.random_split(wrong)


# ---------------------------------------------------------------- relations

RELATIONS = [Relation("q2", "a", 1), Relation("q1", "b", 0), Relation("q1", "a", 1), Relation("q1", "c", 0)]


def corpus(texts, length):
    index = {word: number for number, word in enumerate("abcdefgh", 1)}
    made = LocalTextSet(texts.values(), uris=list(texts)).set_word_index(index)
    return made.tokenize().word2idx().shape_sequence(length)


@pytest.fixture
def corpora():
    return corpus({"q1": "d e", "q2": "f"}, 2), corpus({"a": "a a a", "b": "b", "c": "c c"}, 3)


def test_pairs_of_right_and_wrong(corpora):
    made = LocalTextSet.from_relation_pairs(RELATIONS, *corpora)
    assert made.get_uris() == ["q1", "q1"]
    first, second = (sample.features[0].tolist() for sample in made.get_samples())
    assert first == [[4, 5, 1, 1, 1], [4, 5, 2, 0, 0]]
    assert second == [[4, 5, 1, 1, 1], [4, 5, 3, 3, 0]]
    assert made.get_samples()[0].labels[0].tolist() == [1, 0]


def test_lists_of_relations(corpora):
    made = LocalTextSet.from_relation_lists(RELATIONS, *corpora)
    assert made.get_uris() == ["q1", "q2"]
    samples = made.get_samples()
    assert [one.features[0].shape for one in samples] == [(3, 5), (1, 5)]
    assert [one.labels[0].tolist() for one in samples] == [[[1], [0], [0]], [[1]]]


def test_corpora_that_do_not_fit(corpora):
    for relations, change, message in (
        ([Relation("q1", "z", 1)], {}, r"corpus2 must hold the text 'z' of Relation\(id1='q1', id2='z', label=1\)"),
        ([Relation("z", "a", 1)], {}, "corpus1 must hold the text 'z'"),
        (RELATIONS, {"corpus1": LocalTextSet(["x"], uris=["q1"])}, "texts of corpus1 must have one length"),
        (RELATIONS, {"corpus2": LocalTextSet(["x", "y"], uris=["a", "a"])}, "texts of corpus2 must have one length"),
    ):
        with pytest.raises(FeatureError, match=message):
            LocalTextSet.from_relation_lists(relations, **({"corpus1": corpora[0], "corpus2": corpora[1]} | change))
    same = LocalTextSet([*corpora[0].features, corpora[0].features[0]])
    with pytest.raises(FeatureError, match=r"must have different uris. Received: 'q1'"):
        LocalTextSet.from_relation_pairs(RELATIONS, same, corpora[1])


def test_relations_from_files(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    (tmp_path / "r.csv").write_text("q2,a,1\nq1,b,0\nq1,a,1\nq1,c,0\n")
    assert Relations.read(tmp_path / "r.csv") == RELATIONS
    columns = {name: [getattr(one, name) for one in RELATIONS] for name in ("label", "id1", "id2")}
    parquet.write_table(pa.table(columns), tmp_path / "r.parquet")
    assert Relations.read_parquet(tmp_path / "r.parquet") == RELATIONS
    (tmp_path / "r.csv").write_text("q2,a,1\nq1,b,yes\n")
    with pytest.raises(FeatureError, match=r"line 2: a label must be a whole number. Received: 'yes'"):
        Relations.read(tmp_path / "r.csv")


def test_a_set_stays_one_of_records():
    words = LocalTextSet(["to be"]).tokenize().word2idx().shape_sequence(2)
    for last in (TensorToSample(), TensorToSample() >> SeqToTensor()):
        with pytest.raises(
            FeatureError, match=r"must give a TextFeature. Received: \w+. Hint: TextFeatureToSample\(\)"
        ):
            words.transform(last)


@pytest.mark.parametrize("number", [1 << 31, (1 << 32) + 5, -(1 << 31) - 1])
def test_numbers_of_words_do_not_wrap(number):
    """A column of array<bigint> may hold anything."""
    with pytest.raises(FeatureError, match=r"must be within 32 bits\. Received: "):
        SequenceShaper(2)(np.array([number, 7] if number < 0 else [7, number]))
