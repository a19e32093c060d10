"""Text features: from texts to numbers of words, with the transforms and sets of Analytics Zoo's `zoo.feature.text`.

>>> chain = ChainedPreprocessing([Tokenizer(), Normalizer(), WordIndexer({"to": 1, "be": 2}), SequenceShaper(5)])
>>> stack(chain.batch(["To be, or not to be!", ""])).tolist()
[[1, 2, 1, 2, 0], [0, 0, 0, 0, 0]]
"""

from __future__ import annotations

from featurelib.base import ChainedPreprocessing, stack
from featurelib.text.feature import TextFeature
from featurelib.text.transforms import Normalizer, SequenceShaper, TextFeatureToSample, Tokenizer, WordIndexer

__all__ = [
    "ChainedPreprocessing",
    "Normalizer",
    "SequenceShaper",
    "TextFeature",
    "TextFeatureToSample",
    "Tokenizer",
    "WordIndexer",
    "stack",
]
