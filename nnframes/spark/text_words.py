"""Texts in Spark's tasks: their words, how often each comes, and their numbers by an index that is a shipped file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql.types import ArrayType, IntegerType, StringType

from featurelib.text import Normalizer, SequenceShaper, Tokenizer, WordIndexer
from nnframes.distributed.garbage import settle
from nnframes.errors import DataError
from nnframes.spark.shipping import local_path

__all__ = ["IndexSettings", "frequent_words", "index_function", "words_of"]

KEPT_INDICES = 3


@dataclass(frozen=True)
class IndexSettings:
    """All that a task needs to know; `index` names the shipped file of an index, a JSON list of words."""

    index: str
    length: int
    trunc_mode: str
    nulls: bool  # whether null gives null, and does not fail


def words_of(text: Column) -> Column:
    """The words of a column of texts, as `Tokenizer` and `Normalizer` make them; null for null."""

    def make() -> Callable[[Any], Any]:
        chain = Tokenizer() >> Normalizer()
        return lambda text: None if text is None else chain(text).get_tokens()

    return _function(make, ArrayType(StringType()))(text)


def frequent_words(words: DataFrame, removed: int, most: int | None, min_freq: int) -> dict[str, int]:
    """Count the words in a DataFrame's one column of words: without the `removed` most frequent, `most` of them.

    No more than these leave Spark: {word: count} by descending frequency, equally frequent words in the order of their
    letters.
    """
    counted = words.select(F.explode(words.columns[0]).alias("word")).where("word IS NOT NULL").groupBy("word").count()
    ordered = counted.where(F.col("count") >= min_freq).orderBy(F.desc("count"), F.asc("word"))
    if most is not None:
        ordered = ordered.limit(removed + most)
    return {row.word: row["count"] for row in ordered.collect()[removed:]}


def index_function(settings: IndexSettings) -> Any:
    """Return a function of a column of texts or of words that gives the numbers of the words, array<int>."""

    return _function(lambda: _Numbers(settings).of, ArrayType(IntegerType()))


class _Numbers:
    """Values of a column to numbers, in one task."""

    def __init__(self, settings: IndexSettings) -> None:
        self.nulls = settings.nulls
        self.of_words = _indexer(settings.index) >> SequenceShaper(settings.length, settings.trunc_mode)
        self.of_text = Tokenizer() >> Normalizer() >> self.of_words

    def of(self, value: Any) -> np.ndarray | None:
        if isinstance(value, str):
            return np.asarray(self.of_text(value))
        if value is not None:
            return np.asarray(self.of_words([word for word in value if word is not None]))
        if self.nulls:
            return None
        raise DataError(
            "A text must not be null. Received: null. Hint: filter such rows out, or setHandleInvalid('skip') to drop "
            "them, 'keep' for null."
        )


@lru_cache(maxsize=KEPT_INDICES)
def _indexer(name: str) -> WordIndexer:
    words = json.loads(Path(local_path(name)).read_bytes())
    return WordIndexer({word: number for number, word in enumerate(words, 1)})


def _function(make: Callable[[], Callable[[Any], Any]], kind: ArrayType) -> Any:
    """A function of a column; what computes one value is made once in every task."""
    import pandas as pd  # what only scores needs none

    def apply(batches: Iterator[pd.Series]) -> Iterator[pd.Series]:
        one = make()
        settle()
        for batch in batches:
            yield pd.Series([one(value) for value in batch], dtype=object)

    # Spark decides by the annotations, which `from __future__ import annotations` leaves as text.
    apply.__annotations__ = {"batches": Iterator[pd.Series], "return": Iterator[pd.Series]}
    pandas_udf: Any = F.pandas_udf
    return pandas_udf(apply, kind)
