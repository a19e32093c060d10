"""Text transforms: each reads one key of a `TextFeature` and writes the next; bare texts and words are wrapped."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing
from featurelib.errors import FeatureError
from featurelib.sample import Sample
from featurelib.text import functional as F
from featurelib.text.feature import TextFeature, as_feature
from featurelib.text.words import check_word_index

__all__ = ["Normalizer", "SequenceShaper", "TextFeatureToSample", "TextTransform", "Tokenizer", "WordIndexer"]

_MAKERS = {"tokens": "Tokenizer()", "indexedTokens": "WordIndexer(map)"}
_SHOWN = 3


class TextTransform(Preprocessing):
    """A step from key `reads` to key `writes` of a `TextFeature`; a bare text, or a list of its words, is wrapped.

    A subclass writes `make`, what becomes of the value under `reads`. Raises `FeatureError` where there is none.
    """

    reads: ClassVar[str]
    writes: ClassVar[str]

    def apply(self, value: Any, rng: np.random.Generator | None = None) -> TextFeature:
        feature = as_feature(value)
        given = feature.get(self.reads)
        if given is None:
            hint = f" Hint: {_MAKERS[self.reads]} first." if self.reads in _MAKERS else ""
            raise FeatureError(f"{type(self).__name__} expects {self.reads}, received only {feature.keys()}.{hint}")
        return feature.replace(**{self.writes: self.make(given, feature)})

    @abstractmethod
    def make(self, given: Any, feature: TextFeature) -> Any:
        """The new value, of the value read and its record."""


class Tokenizer(TextTransform):
    """Split a text into words at white space (Analytics Zoo's `Tokenizer`); an empty text has none.

    >>> Tokenizer()("To be,  or not").get_tokens()
    ['To', 'be,', 'or', 'not']
    """

    reads, writes = "text", "tokens"

    def make(self, given: str, feature: TextFeature) -> list[str]:
        return F.tokens(given)


class Normalizer(TextTransform):
    """Words in lower case, with nothing but letters (Analytics Zoo's `Normalizer`, which keeps English ones only).

    Letters of any script count, with the accents and vowel signs that belong to them; forms that look the same become
    the same (NFC). Digits, punctuation and emoji go; words that were nothing else go entirely.

    >>> Normalizer()(["To", "be,", "2", "Ça!"]).get_tokens()
    ['to', 'be', 'ça']
    """

    reads, writes = "tokens", "tokens"

    def make(self, given: list[str], feature: TextFeature) -> list[str]:
        return F.normalized(given)


class WordIndexer(TextTransform):
    """Words to numbers (Analytics Zoo's `WordIndexer`); words that `map` does not have are dropped.

    `map` is {word: number}, numbers from 1; 0 is for padding. It is part of the transform's description, so that a
    saved pipeline needs no other file.

    >>> np.asarray(WordIndexer({"to": 1, "be": 2})("to be or not to be".split()))
    array([1, 2, 1, 2], dtype=int32)
    """

    reads, writes = "tokens", "indexedTokens"

    def __init__(self, map: Mapping[str, int]) -> None:
        self.map = check_word_index(map)

    def make(self, given: list[str], feature: TextFeature) -> np.ndarray:
        return F.indices(given, self.map)

    def __repr__(self) -> str:
        first = ", ".join(f"{word!r}: {number}" for word, number in list(self.map.items())[:_SHOWN])
        return f"WordIndexer(map={{{first}{', ...' if len(self.map) > _SHOWN else ''}}})"


class SequenceShaper(TextTransform):
    """Give all texts `len` numbers (Analytics Zoo's `SequenceShaper`).

    Longer ones lose their beginning (`trunc_mode` "pre") or their end ("post"); shorter ones, also empty ones, are
    followed by `pad_element`.

    >>> np.asarray(SequenceShaper(4)(np.array([5, 6])))
    array([5, 6, 0, 0], dtype=int32)
    """

    reads, writes = "indexedTokens", "indexedTokens"

    def __init__(self, len: int, trunc_mode: str = "pre", pad_element: int = 0) -> None:
        _checks.whole("len", len, 1)
        _checks.one_of("trunc_mode", trunc_mode, ("pre", "post"))
        _checks.whole("pad_element", pad_element, 0)
        _checks.within("pad_element", pad_element, 0, F.MAX_INDEX)
        self.len = len
        self.trunc_mode = trunc_mode
        self.pad_element = pad_element

    def make(self, given: np.ndarray, feature: TextFeature) -> np.ndarray:
        return F.shaped(given, self.len, self.trunc_mode == "pre", self.pad_element)


class TextFeatureToSample(TextTransform):
    """The numbers of the words and the label, if there is one, as a `Sample` (Analytics Zoo's `TextFeatureToSample`).

    Both int32, as tables and class criterions take them.

    >>> feature = TextFeature(label=2).replace(indexedTokens=np.array([1, 2], np.int32))
    >>> TextFeatureToSample()(feature).get_sample()
    Sample(features=[(2,)], labels=[(1,)])
    """

    reads, writes = "indexedTokens", "sample"

    def make(self, given: np.ndarray, feature: TextFeature) -> Sample:
        labels = (np.array([feature["label"]], np.int32),) if feature.has_label() else ()
        return Sample((given,), labels)
