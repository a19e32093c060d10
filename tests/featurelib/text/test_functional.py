"""Words and letters of many scripts, and what becomes of texts that are hardly any."""

from __future__ import annotations

import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featurelib.text import SequenceShaper, WordIndexer, stack
from featurelib.text import functional as F
from kernels.errors import ArgumentError

LETTERS = {
    "Straße": "straße",
    "don't": "dont",
    "R2-D2": "rd",
    "snake_case": "snakecase",
    "1999": "",
    "!?": "",
    "😀👍🏽": "",
    "❤\ufe0f": "",  # the variation selector behind a heart is a mark without a letter
    "1\ufe0f\u20e3": "",
    "Ελλάδα,": "ελλάδα",
    "МОСКВА": "москва",
    "日本語。": "日本語",
    "हिन्दी": "हिन्दी",  # vowel signs and virama are marks
    "ภาษาไทย": "ภาษาไทย",
    "עִבְרִית": unicodedata.normalize("NFC", "עִבְרִית"),
    "E\u0301te\u0301": "été",  # the composed form
    "İstanbul": "i̇stanbul",
    "ﬁn": "ﬁn",  # NFC, not NFKC: a ligature is a letter
    "x\u0000y\u200dz": "xyz",
    "²": "",
}


@pytest.mark.parametrize("word", LETTERS)
def test_letters(word):
    assert F.letters(word) == LETTERS[word]


@given(st.text())
def test_letters_of_anything(word):
    """Composed and decomposed writing give one word, and a word is not changed twice."""
    found = F.letters(word)
    assert F.letters(found) == found
    assert not any(char.isspace() or char.isdigit() for char in found)
    assert F.letters(unicodedata.normalize("NFD", word)) == F.letters(unicodedata.normalize("NFC", word))


def test_tokens_of_texts_that_are_hardly_any():
    assert F.tokens("") == F.tokens(" \t\r\n\u00a0\u3000") == []
    assert F.tokens("a\u2028b") == ["a", "b"]


@given(st.lists(st.integers(1, 9)), st.integers(1, 12), st.booleans())
def test_shaped(numbers, length, keep_end):
    shaped = F.shaped(numbers, length, keep_end, 0).tolist()
    assert len(shaped) == length
    kept = [number for number in shaped if number]
    assert kept == (numbers[-length:] if keep_end else numbers[:length])
    assert shaped[: len(kept)] == kept


def test_long_texts_are_cut():
    words = F.normalized(F.tokens("to be " * 500_000))
    assert len(words) == 1_000_000
    assert F.shaped(F.indices(words, {"to": 1, "be": 2}), 3, True, 0).tolist() == [2, 1, 2]


def test_batches_are_one_block():
    assert stack(SequenceShaper(2).batch([np.array([1, 2, 3])] * 4)).shape == (4, 2)


@pytest.mark.parametrize("wrong", [None, ["a"], {"a": 0}, {"a": 1.0}, {"a": True}, {1: 1}, {"a": 1 << 31}])
def test_maps_that_are_none(wrong):
    with pytest.raises(ArgumentError, match="A word index must"):
        WordIndexer(wrong)


def test_a_large_map_shows_its_beginning_only():
    large = WordIndexer({f"w{number}": number for number in range(1, 400_001)})
    assert repr(large) == "WordIndexer(map={'w1': 1, 'w2': 2, 'w3': 3, ...})"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "len must be an integer >= 1"),
        ((3, "mid"), "trunc_mode must be one of"),
        ((3, "pre", -1), "pad_element"),
        ((3, "pre", 1 << 31), "pad_element must be"),
    ],
)
def test_shapes_that_are_none(arguments, message):
    with pytest.raises(ArgumentError, match=message):
        SequenceShaper(*arguments)
