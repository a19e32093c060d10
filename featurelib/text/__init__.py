"""Text features: from texts to numbers of words, with the transforms and sets of Analytics Zoo's `zoo.feature.text`.

>>> chain = ChainedPreprocessing([Tokenizer(), Normalizer(), WordIndexer({"to": 1, "be": 2}), SequenceShaper(5)])
>>> stack(chain.batch(["To be, or not to be!", ""])).tolist()
[[1, 2, 1, 2, 0], [0, 0, 0, 0, 0]]
"""

from __future__ import annotations

from featurelib.base import ChainedPreprocessing, stack
from featurelib.text.feature import TextFeature
from featurelib.text.relations import Relation, Relations
from featurelib.text.sets import BaseTextSet, LocalTextSet
from featurelib.text.transforms import Normalizer, SequenceShaper, TextFeatureToSample, Tokenizer, WordIndexer
from featurelib.text.words import load_word_index, read_glove, save_word_index, word_index

__all__ = [
    "BaseTextSet",
    "ChainedPreprocessing",
    "LocalTextSet",
    "Normalizer",
    "Relation",
    "Relations",
    "SequenceShaper",
    "TextFeature",
    "TextFeatureToSample",
    "Tokenizer",
    "WordIndexer",
    "load_word_index",
    "read_glove",
    "save_word_index",
    "stack",
    "word_index",
]
