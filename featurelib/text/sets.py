"""Sets of texts: the chain from files to samples, each step a new set. What needs Spark is in `nnframes.spark`."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from featurelib import _checks
from featurelib.base import Preprocessing, Transformable
from featurelib.errors import FeatureError
from featurelib.sample import Sample
from featurelib.text import relations as R
from featurelib.text import words
from featurelib.text.feature import TextFeature
from featurelib.text.files import csv_rows, folder_texts, parquet_texts
from featurelib.text.transforms import Normalizer, SequenceShaper, TextFeatureToSample, Tokenizer, WordIndexer
from kernels.errors import ArgumentError

__all__ = ["BaseTextSet", "LocalTextSet", "check_weights", "records"]

T = TypeVar("T", bound="BaseTextSet")


class BaseTextSet(Transformable):
    """Texts on their way to samples (Analytics Zoo's `TextSet`): what local and distributed sets share.

    Sets do not change: every step returns a new set.
    """

    word_index: dict[str, int] | None

    @abstractmethod
    def is_distributed(self) -> bool:
        """Whether the texts are in Spark."""

    @abstractmethod
    def to_local(self) -> LocalTextSet:
        """The set in this process."""

    @abstractmethod
    def transform(self: T, transformer: Preprocessing) -> T:
        """The set with a transform of each `TextFeature`."""

    @abstractmethod
    def random_split(self: T, weights: Sequence[float], seed: int = 0) -> list[T]:
        """Parts of sizes in proportion to `weights`, by lot; the same `seed` gives the same parts."""

    @abstractmethod
    def set_word_index(self: T, word_index: Mapping[str, int]) -> T:
        """The set with an index, {word: number from 1}, which `word2idx` will use as it is."""

    @abstractmethod
    def generate_word_index_map(
        self,
        remove_topN: int = 0,
        max_words_num: int = -1,
        min_freq: int = 1,
        existing_map: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        """Number the words of the set, as `featurelib.text.words.word_index` does."""

    def is_local(self) -> bool:
        """Whether the texts are in this process."""
        return not self.is_distributed()

    def tokenize(self: T) -> T:
        """Split texts into words, see `Tokenizer`."""
        return self.transform(Tokenizer())

    def normalize(self: T) -> T:
        """Words in lower case with nothing but letters, see `Normalizer`."""
        return self.transform(Normalizer())

    def word2idx(
        self: T,
        remove_topN: int = 0,
        max_words_num: int = -1,
        min_freq: int = 1,
        existing_map: Mapping[str, int] | None = None,
    ) -> T:
        """Words to numbers, by the set's index if it has one, else by one that is made of the set.

        Numbers count from 1 by descending frequency (words as frequent as each other in the order of their letters);
        words without a number are dropped. The arguments choose the words, see `generate_word_index_map`.
        """
        index = self.word_index
        if index is None:
            index = self.generate_word_index_map(remove_topN, max_words_num, min_freq, existing_map)
        return self.transform(WordIndexer(index)).set_word_index(index)

    def shape_sequence(self: T, len: int, trunc_mode: str = "pre", pad_element: int = 0) -> T:
        """The same length for all texts, see `SequenceShaper`."""
        return self.transform(SequenceShaper(len, trunc_mode, pad_element))

    def generate_sample(self: T) -> T:
        """Numbers and label as `Sample`, see `TextFeatureToSample`."""
        return self.transform(TextFeatureToSample())

    def get_word_index(self) -> dict[str, int] | None:
        """The index, None where there is none."""
        return self.word_index

    def save_word_index(self, path: str | os.PathLike) -> None:
        """Write the index to a file of this machine, a versioned JSON."""
        if self.word_index is None:
            raise ArgumentError("A set must have a word index to save it. Received: none. Hint: word2idx() makes it.")
        words.save_word_index(path, self.word_index)

    def load_word_index(self: T, path: str | os.PathLike) -> T:
        """The set with an index that was saved, as after training; `word2idx` will use it."""
        return self.set_word_index(words.load_word_index(path))


class LocalTextSet(BaseTextSet):
    """Texts in this process (Analytics Zoo's `LocalTextSet`).

    `texts` are strings or `TextFeature`; `labels` and `uris` are left out or as many.

    >>> texts = LocalTextSet(["To be, or not to be", "to go"], [0, 1]).tokenize().normalize().word2idx()
    >>> texts.get_word_index()
    {'to': 1, 'be': 2, 'go': 3, 'not': 4, 'or': 5}
    >>> texts.shape_sequence(3).generate_sample().get_samples()[1].features
    (array([1, 3, 0], dtype=int32),)
    """

    def __init__(
        self,
        texts: Iterable[str | TextFeature],
        labels: Sequence[int] | None = None,
        uris: Sequence[str] | None = None,
    ) -> None:
        self.features = [text if isinstance(text, TextFeature) else TextFeature(text) for text in texts]
        self.word_index = None
        for key, values in (("label", labels), ("uri", uris)):
            if values is not None and len(values) != len(self.features):
                raise ArgumentError(f"{key}s must be as many as texts, {len(self.features)}. Received: {len(values)}.")
            if values is not None:
                self.features = [one.replace(**{key: value}) for one, value in zip(self.features, values, strict=True)]

    @classmethod
    def read(cls, path: str | os.PathLike, encoding: str = "utf-8") -> LocalTextSet:
        """Read a folder with a folder for each category; labels count from 0 in the order of their names.

        The uri is the file's path. Raises `FeatureError` naming a file that is not in the encoding.
        """
        return cls(folder_texts(path, encoding))

    @classmethod
    def read_csv(cls, path: str | os.PathLike) -> LocalTextSet:
        """Read rows id, text of a CSV file without header, in UTF-8; the id becomes the uri."""
        return cls(TextFeature(text, uri=uri) for _, (uri, text) in csv_rows(path, "id,text"))

    @classmethod
    def read_parquet(cls, path: str | os.PathLike) -> LocalTextSet:
        """Read the columns id and text of a Parquet file or folder; the id becomes the uri."""
        return cls(parquet_texts(path))

    @classmethod
    def from_relation_pairs(
        cls, relations: Iterable[R.Relation], corpus1: LocalTextSet, corpus2: LocalTextSet
    ) -> LocalTextSet:
        """Make a sample of every answer with every text that is none, of shape (2, length 1 + length 2)."""
        return cls(R.pairs(relations, *_corpora(corpus1, corpus2)))

    @classmethod
    def from_relation_lists(
        cls, relations: Iterable[R.Relation], corpus1: LocalTextSet, corpus2: LocalTextSet
    ) -> LocalTextSet:
        """Make a sample of all n relations of a text, of shape (n, length 1 + length 2)."""
        return cls(R.lists(relations, *_corpora(corpus1, corpus2)))

    def is_distributed(self) -> bool:
        return False

    def to_local(self) -> LocalTextSet:
        return self

    def transform(self, transformer: Preprocessing) -> LocalTextSet:
        return self._with(records(transformer.batch(self.features)))

    def random_split(self, weights: Sequence[float], seed: int = 0) -> list[LocalTextSet]:
        ends = np.cumsum(check_weights(weights)) * len(self.features)
        order = np.random.default_rng(seed).permutation(len(self.features))
        parts = np.split(order, np.rint(ends[:-1]).astype(int))
        return [self._with([self.features[row] for row in part]) for part in parts]

    def set_word_index(self, word_index: Mapping[str, int]) -> LocalTextSet:
        copy = self._with(self.features)
        copy.word_index = dict(words.check_word_index(word_index))
        return copy

    def generate_word_index_map(
        self,
        remove_topN: int = 0,
        max_words_num: int = -1,
        min_freq: int = 1,
        existing_map: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        counts: Counter[str] = Counter()
        for feature in self.features:
            counts.update(_tokens(feature))
        return words.word_index(counts, remove_topN, max_words_num, min_freq, existing_map)

    def get_texts(self) -> list[str | None]:
        """The texts."""
        return [feature.get_text() for feature in self.features]

    def get_uris(self) -> list[str | None]:
        """Where the texts came from."""
        return [feature.get_uri() for feature in self.features]

    def get_labels(self) -> list[int]:
        """The labels, -1 where there is none."""
        return [feature.get_label() for feature in self.features]

    def get_samples(self) -> list[Sample | None]:
        """The samples, None before `generate_sample`."""
        return [feature.get_sample() for feature in self.features]

    def get_predicts(self) -> list[tuple[str | None, Any]]:
        """What a network made of each text, with its uri; None before a prediction."""
        return [(feature.get_uri(), feature.get("predict")) for feature in self.features]

    def __len__(self) -> int:
        return len(self.features)

    def _with(self, features: Sequence[TextFeature]) -> LocalTextSet:
        copy = LocalTextSet(features)
        copy.word_index = self.word_index
        return copy


def records(values: Iterable[Any]) -> list[TextFeature]:
    """What a step made of texts, which must be records still; raises `FeatureError` where one is not.

    >>> records([TextFeature("to be")])
    [TextFeature(text='to be')]
    """
    found = list(values)
    for row, value in enumerate(found):
        if not isinstance(value, TextFeature):
            raise FeatureError(
                f"a transform of a set must give a TextFeature. Received: {type(value).__name__}. "
                "Hint: TextFeatureToSample() keeps the record, get_samples() gives what it made."
            ).at_row(row)
    return found


def check_weights(weights: Sequence[float]) -> np.ndarray:
    """Weights as shares of 1; raises `ArgumentError` unless they are finite, >= 0 and not all 0."""
    for weight in weights:
        _checks.finite("a weight", weight)
    shares = np.asarray(weights, np.float64)
    if shares.ndim != 1 or (shares < 0).any() or not shares.sum() > 0:
        raise ArgumentError(f"weights must be numbers >= 0, not all 0. Received: {list(weights)!r}.")
    return shares / shares.sum()


def _tokens(feature: TextFeature) -> list[str]:
    found = feature.get_tokens()
    if found is None:
        raise FeatureError(f"A text must have been split into words. Received only {feature.keys()}. Hint: tokenize().")
    return found


def _corpora(corpus1: LocalTextSet, corpus2: LocalTextSet) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    return R.numbered("corpus1", corpus1.features), R.numbered("corpus2", corpus2.features)
