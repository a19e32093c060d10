"""Which words get numbers, the file that keeps them, and vectors of words."""

from __future__ import annotations

import json

import numpy as np
import pytest

from featurelib.errors import ConfigError, FeatureError
from featurelib.text import load_word_index, read_glove, save_word_index, word_index
from kernels.errors import ArgumentError

COUNTS = {"the": 9, "be": 4, "to": 4, "or": 2, "not": 1}

CHOICES = {
    "all": ({}, {"the": 1, "be": 2, "to": 3, "or": 4, "not": 5}),
    "without the most frequent": ({"remove_topN": 2}, {"to": 1, "or": 2, "not": 3}),
    "few": ({"max_words_num": 2}, {"the": 1, "be": 2}),
    "few of the others": ({"remove_topN": 1, "max_words_num": 2}, {"be": 1, "to": 2}),
    "frequent": ({"min_freq": 4}, {"the": 1, "be": 2, "to": 3}),
    "none left": ({"remove_topN": 9}, {}),
    "existing": ({"existing_map": {"to": 7}}, {"to": 7, "the": 8, "be": 9, "or": 10, "not": 11}),
    "existing and few": ({"existing_map": {"be": 1}, "max_words_num": 2}, {"be": 1, "the": 2}),
}


@pytest.mark.parametrize("case", CHOICES)
def test_choice_of_words(case):
    arguments, wanted = CHOICES[case]
    assert word_index(COUNTS, **arguments) == wanted
    assert word_index(dict(reversed(COUNTS.items())), **arguments) == wanted


@pytest.mark.parametrize(
    "wrong", [{"remove_topN": -1}, {"max_words_num": 0}, {"min_freq": 0}, {"existing_map": {"a": 0}}]
)
def test_choices_that_are_none(wrong):
    with pytest.raises(ArgumentError):
        word_index(COUNTS, **wrong)


def test_a_saved_index_comes_back(tmp_path):
    path = tmp_path / "words.json"
    for index in ({"a": 1}, {"été": 1, "日本": 2, "\ud800": 3}):
        save_word_index(path, index)
        assert load_word_index(path) == index
    assert list(tmp_path.iterdir()) == [path]


def written(**changes):
    return json.dumps({"format": "nnframes.word_index", "version": 1, "words": {"a": 1}} | changes)


FILES = {
    "no JSON": ("{", "must be a word index in JSON"),
    "deep": ("[" * 100_000, "must be a word index in JSON"),
    "other": ("[]", "must have the format nnframes.word_index"),
    "foreign": (written(format="x"), "must have the format"),
    "newer": (written(version=2), "expected version 1, received 2"),
    "words are a list": (written(words=["a"]), "must be a dict from words to numbers"),
    "numbers are text": (written(words={"a": "1"}), "must give numbers >= 1 to words. Received: 'a': '1'"),
}


@pytest.mark.parametrize("case", FILES)
def test_files_that_are_no_index(case, tmp_path):
    text, message = FILES[case]
    (tmp_path / "words.json").write_text(text)
    with pytest.raises(ConfigError, match=message) as caught:
        load_word_index(tmp_path / "words.json")
    assert "words.json" in str(caught.value)


# ---------------------------------------------------------------- GloVe


def glove(tmp_path, *lines, data=None):
    path = tmp_path / "glove.txt"
    path.write_bytes("\n".join(lines).encode() if data is None else data)
    return path


def test_vectors_of_an_index(tmp_path):
    path = glove(tmp_path, "to 1 2", "be -1 .5", ". . . 3 4", "to 9 9", "é 7 8")
    table = read_glove(path, {"be": 1, "lacking": 2, "to": 3, "é": 4, ". . .": 5})
    assert table.dtype == np.float32
    assert table.tolist() == [[0, 0], [-1, 0.5], [0, 0], [1, 2], [7, 8], [3, 4]]


def test_words_without_a_vector_by_lot(tmp_path):
    path, index = glove(tmp_path, "to 1 2"), {"to": 1, "a": 2, "b": 3}
    table = read_glove(path, index, seed=3)
    assert table[:2].tolist() == [[0, 0], [1, 2]]
    assert np.ptp(table[2:]) > 0
    assert np.abs(table[2:]).max() <= 0.05
    np.testing.assert_array_equal(table, read_glove(path, index, seed=3))
    assert (table[2:] != read_glove(path, index, seed=4)[2:]).all()


LINES = {
    "fewer": (b"to 1 2\nbe 1\n", "line 2: expected a word and 2 numbers. Received: 'be 1'"),
    "no number": (b"to 1 2\nbe 1 x\n", "line 2: expected a word and 2 numbers. Received: could not convert"),
    "word only": (b"to\n", "line 1: expected a word and 1 numbers"),
    "empty line": (b"to 1\n\nbe 2\n", "line 2: expected a word and 1 numbers"),
    "not finite": (b"to 1 nan\n", "line 1: expected finite numbers"),
    "no UTF-8": (b"to 1\n\xff 2\n", "line 2: must be UTF-8"),
    "one endless line": (b"a" * (1 << 21), "line 1: a line must have at most"),
    "empty": (b"", "Received: an empty file"),
}


@pytest.mark.parametrize("case", LINES)
def test_lines_that_are_no_vectors(case, tmp_path):
    data, message = LINES[case]
    with pytest.raises(FeatureError, match=message) as caught:
        read_glove(glove(tmp_path, data=data), {"to": 1})
    assert "glove.txt" in str(caught.value)


def test_the_real_file(data_dir):
    index = {word: number for number, word in enumerate(("king", "man", "woman", "queen", "zzzzz"), 1)}
    table = read_glove(data_dir / "glove-6b-50d-20k" / "glove.6B.50d.20k.txt", index)
    assert table.shape == (6, 50)
    unit = table[1:5] / np.linalg.norm(table[1:5], axis=1, keepdims=True)
    guess = unit[0] - unit[1] + unit[2]
    assert int(np.argmax(unit @ guess)) in (0, 3)
    assert not table[[0, 5]].any()
