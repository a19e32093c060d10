"""Rows of the table: texts to words to numbers."""

from __future__ import annotations

import numpy as np

from featurelib import ChainedPreprocessing, FeatureError
from featurelib.text import Normalizer, SequenceShaper, TextFeature, TextFeatureToSample, Tokenizer, WordIndexer
from tests.featurelib.cases.case import Case

INDEX = {"to": 1, "be": 2, "or": 3, "été": 4}
TEXTS = ["To be, or not to be!", "to to", ""]
NUMBERS = np.array([3, 1, 2], np.int32)


def with_numbers(**known: int) -> TextFeature:
    return TextFeature("a text", **known).replace(indexedTokens=NUMBERS)


CASES = [
    Case(
        ChainedPreprocessing([Tokenizer(), Normalizer(), WordIndexer(INDEX), SequenceShaper(5)]),
        [TEXTS, [TextFeature(text, label=1, uri="x") for text in TEXTS], []],
        (5,),
        "int32",
        bounds=(0, 4),
        bad=[
            (None, FeatureError, "a text must be a str, a list of words or a TextFeature. Received: null"),
            (3.5, FeatureError, "Received: float"),
            (b"bytes", FeatureError, "Received: bytes"),
            (["to"], FeatureError, "Tokenizer expects text, received only ['tokens']"),
        ],
    ),
    Case(WordIndexer(INDEX), [[["to", "be", "not"], ["be", "or", "?"]], [[]]], (2,), "int32"),
    Case(SequenceShaper(2), [[NUMBERS, with_numbers()]], (2,), "int32", bounds=(1, 2)),
    Case(SequenceShaper(4, "post", 9), [[NUMBERS, NUMBERS[:0]]], (4,), "int32", bounds=(1, 9)),
    Case(
        TextFeatureToSample(),
        [[with_numbers(), with_numbers(label=2)]],
        (3,),
        "int32",
        bad=[("raw", FeatureError, "expects indexedTokens, received only ['text']. Hint: WordIndexer(map) first")],
    ),
    # Words are no array: these records have the numbers already.
    Case(
        Tokenizer(),
        [[with_numbers()], TEXTS],
        (3,),
        "int32",
        bad=[(NUMBERS, FeatureError, "Tokenizer expects text, received only ['indexedTokens']")],
    ),
    Case(
        Normalizer(),
        [[with_numbers().replace(tokens=["A!", "?"])], [["BE,", "7"], []]],
        (3,),
        "int32",
        bad=[("raw", FeatureError, "Normalizer expects tokens, received only ['text']. Hint: Tokenizer() first.")],
    ),
]
