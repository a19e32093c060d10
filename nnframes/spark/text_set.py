"""Sets of texts in Spark, and `TextSet`, which reads them into Spark or into this process."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as F
from pyspark.sql.types import StringType

from featurelib.base import ChainedPreprocessing, Preprocessing
from featurelib.errors import FeatureError
from featurelib.text import BaseTextSet, LocalTextSet, Relation
from featurelib.text import Relations as LocalRelations
from featurelib.text.files import decoded
from featurelib.text.sets import check_weights
from featurelib.text.words import check_choice, check_word_index, word_index
from nnframes.errors import ArgumentError
from nnframes.spark import text_relations
from nnframes.spark.context import session_of
from nnframes.spark.text_records import RECORD, as_records, feature_of, row_of, transformed
from nnframes.spark.text_words import frequent_words

__all__ = ["DistributedTextSet", "Relations", "TextSet"]

_SPLIT = 1 << 30  # into so many equal parts a random split cuts


class DistributedTextSet(BaseTextSet):
    """Texts in Spark (Analytics Zoo's `DistributedTextSet`, over a DataFrame in place of RDDs).

    `texts` has the columns text and, if they are known, label and uri. Steps are applied when the texts are used; only
    `generate_word_index_map`, and `word2idx` without an index, run a job. What the getters return are DataFrames.
    """

    def __init__(self, texts: DataFrame) -> None:
        self.word_index = None
        self._records = as_records(texts)
        self._steps = ChainedPreprocessing([])

    @classmethod
    def from_local(cls, texts: LocalTextSet, sc: Any = None, partition_num: int = 4) -> DistributedTextSet:
        """Bring a set of this process into Spark, with what has become of its texts."""
        rows = [row_of(feature) for feature in texts.features]
        # Rows of dicts are matched by name, so a tuple keeps the order of the fields.
        values = [tuple(row[name] for name in RECORD.names) for row in rows]
        made = cls(session_of(sc).createDataFrame(values, RECORD).repartition(partition_num))
        return made if texts.word_index is None else made.set_word_index(texts.word_index)

    def to_df(self) -> DataFrame:
        """The texts with all that has become of them: uri, text, label, tokens, indexedTokens, sample, predict."""
        return transformed(self._records, self._steps)

    def is_distributed(self) -> bool:
        return True

    def to_local(self) -> LocalTextSet:
        made = LocalTextSet([feature_of(row.asDict(recursive=True)) for row in self.to_df().collect()])
        return made if self.word_index is None else made.set_word_index(self.word_index)

    def transform(self, transformer: Preprocessing) -> DistributedTextSet:
        if transformer.random:
            raise ArgumentError(
                f"A step of a distributed set must not be random. Received: {transformer!r}. Hint: put it into the "
                "feature_preprocessing of an estimator, which runs it anew in every epoch."
            )
        return self._with(self._records, self._steps >> transformer)

    def random_split(self, weights: Sequence[float], seed: int = 0) -> list[DistributedTextSet]:
        """Parts by the hashes of the texts, so that no partitioning shows; equal texts stay together."""
        ends = np.rint(np.concatenate([[0.0], np.cumsum(check_weights(weights))]) * _SPLIT).astype(int).tolist()
        place = F.pmod(F.xxhash64(F.lit(seed), "uri", "text", "label"), F.lit(_SPLIT))
        within = [(place >= low) & (place < high) for low, high in pairwise(ends)]
        return [self._with(self._records.where(one), self._steps) for one in within]

    def set_word_index(self, word_index: Mapping[str, int]) -> DistributedTextSet:
        copy = self._with(self._records, self._steps)
        copy.word_index = dict(check_word_index(word_index))
        return copy

    def generate_word_index_map(
        self,
        remove_topN: int = 0,
        max_words_num: int = -1,
        min_freq: int = 1,
        existing_map: Mapping[str, int] | None = None,
    ) -> dict[str, int]:
        check_choice(remove_topN, max_words_num, min_freq)
        most = None if max_words_num == -1 else max_words_num
        missing = F.raise_error(F.lit("A text must have been split into words. Hint: tokenize()."))
        words = self.to_df().select(F.coalesce("tokens", missing).alias("words"))
        return word_index(frequent_words(words, remove_topN, most, min_freq), existing_map=existing_map)

    def get_texts(self) -> DataFrame:
        """The columns uri and text."""
        return self.to_df().select("uri", "text")

    def get_uris(self) -> DataFrame:
        """The column uri."""
        return self.to_df().select("uri")

    def get_labels(self) -> DataFrame:
        """The columns uri and label, -1 where there is none."""
        return self.to_df().select("uri", F.coalesce("label", F.lit(-1)).alias("label"))

    def get_samples(self) -> DataFrame:
        """The columns uri and sample, null before `generate_sample`."""
        return self.to_df().select("uri", "sample")

    def get_predicts(self) -> DataFrame:
        """The columns uri and predict, null before a prediction."""
        return self.to_df().select("uri", "predict")

    def _with(self, records: DataFrame, steps: ChainedPreprocessing) -> DistributedTextSet:
        copy = DistributedTextSet(records)
        copy._steps = steps
        copy.word_index = self.word_index
        return copy


class TextSet:
    """Makes sets of texts (Analytics Zoo's `TextSet`): with `sc`, a session or context, in Spark, else in this process.

    >>> from featurelib.text import LocalTextSet
    >>> TextSet.from_relation_pairs([], LocalTextSet([]), LocalTextSet([])).get_samples()
    []
    """

    @staticmethod
    def read(
        path: str | os.PathLike, sc: Any = None, min_partitions: int = 1, encoding: str = "utf-8"
    ) -> LocalTextSet | DistributedTextSet:
        """Read a folder with a folder for each category; labels count from 0 in the order of their names.

        Folders without files do not count, names that begin with a dot or an underscore are left out. The uri is the
        file's path. A file that is not in the encoding fails the read, in Spark the job that reads it.
        """
        if sc is None:
            return LocalTextSet.read(path, encoding)
        files = session_of(sc).read.format("binaryFile").option("recursiveFileLookup", "true").load(f"{path}/*/*")
        parts = F.split("path", "/")
        depth = F.size(parts)
        files = files.withColumns({"depth": depth, "category": parts[depth - 2], "name": parts[depth - 1]})
        files = files.where("NOT (name RLIKE '^[._]' OR category RLIKE '^[._]')")
        return DistributedTextSet(_labelled(files, str(path), min_partitions, encoding))

    @staticmethod
    def read_csv(path: str | os.PathLike, sc: Any = None) -> LocalTextSet | DistributedTextSet:
        """Read rows id, text of CSV without header, in UTF-8; the id becomes the uri."""
        if sc is None:
            return LocalTextSet.read_csv(path)
        rows = _csv(session_of(sc), path, "uri string, text string")
        return DistributedTextSet(rows.withColumn("text", F.coalesce("text", F.lit(""))))

    @staticmethod
    def read_parquet(path: str | os.PathLike, sc: Any = None) -> LocalTextSet | DistributedTextSet:
        """Read the columns id and text of Parquet; the id becomes the uri."""
        if sc is None:
            return LocalTextSet.read_parquet(path)
        return DistributedTextSet(session_of(sc).read.parquet(str(path)).select(F.col("id").alias("uri"), "text"))

    @staticmethod
    def from_relation_pairs(
        relations: Iterable[Relation] | DataFrame, corpus1: BaseTextSet, corpus2: BaseTextSet
    ) -> LocalTextSet | DistributedTextSet:
        """Make a sample of every answer with every text that is none: (2, length 1 + length 2), labels [1, 0]."""
        listed = None if isinstance(relations, DataFrame) else relations
        if listed is not None and isinstance(corpus1, LocalTextSet) and isinstance(corpus2, LocalTextSet):
            return LocalTextSet.from_relation_pairs(listed, corpus1, corpus2)
        return DistributedTextSet(text_relations.pairs(*_frames(relations, corpus1, corpus2)))

    @staticmethod
    def from_relation_lists(
        relations: Iterable[Relation] | DataFrame, corpus1: BaseTextSet, corpus2: BaseTextSet
    ) -> LocalTextSet | DistributedTextSet:
        """Make a sample of all n relations of a text: (n, length 1 + length 2), labels (n, 1), in the order of id2."""
        listed = None if isinstance(relations, DataFrame) else relations
        if listed is not None and isinstance(corpus1, LocalTextSet) and isinstance(corpus2, LocalTextSet):
            return LocalTextSet.from_relation_lists(listed, corpus1, corpus2)
        return DistributedTextSet(text_relations.lists(*_frames(relations, corpus1, corpus2)))


class Relations:
    """Reads relations between texts: with `sc` into a DataFrame, else into a list of `Relation`."""

    @staticmethod
    def read(path: str | os.PathLike, sc: Any = None) -> list[Relation] | DataFrame:
        """Read rows id1, id2, label of CSV or text without header, in UTF-8."""
        if sc is None:
            return LocalRelations.read(path)
        return _csv(session_of(sc), path, "id1 string, id2 string, label int")

    @staticmethod
    def read_parquet(path: str | os.PathLike, sc: Any = None) -> list[Relation] | DataFrame:
        """Read the columns id1, id2 and label of Parquet."""
        if sc is None:
            return LocalRelations.read_parquet(path)
        return session_of(sc).read.parquet(str(path)).select("id1", "id2", F.col("label").cast("int"))


def _labelled(files: DataFrame, path: str, partitions: int, encoding: str) -> DataFrame:
    """The texts of files with the numbers of their categories."""
    # What matches may be a folder, whose files lie deeper.
    found = files.select("depth", "category").distinct().collect()
    depth = min((row.depth for row in found), default=0)
    names = sorted(row.category for row in found if row.depth == depth)
    if not names:
        raise FeatureError(f"{path} must hold a folder with files for each category. Received: none.")
    files = files.where(F.col("depth") == depth)
    files = files.repartition(partitions) if partitions > 1 else files
    label = F.array_position(F.array(*map(F.lit, names)), F.col("category")) - 1
    text = _decoded(encoding)("path", "content")
    return files.select(F.col("path").alias("uri"), text.alias("text"), label.alias("label"))


def _csv(spark: SparkSession, path: str | os.PathLike, schema: str) -> DataFrame:
    # Quotes are doubled and texts have line ends, as other programs write them; a row of other columns fails the job.
    return spark.read.csv(str(path), schema, multiLine=True, quote='"', escape='"', mode="FAILFAST")


def _decoded(encoding: str) -> Any:
    import pandas as pd  # what only scores needs none

    def texts(paths: pd.Series, contents: pd.Series) -> pd.Series:
        pairs = zip(paths, contents, strict=True)
        return pd.Series([decoded(path, bytes(content), encoding) for path, content in pairs], dtype=object)

    # Spark decides by the annotations, which `from __future__ import annotations` leaves as text.
    texts.__annotations__ = {"paths": pd.Series, "contents": pd.Series, "return": pd.Series}
    pandas_udf: Any = F.pandas_udf
    return pandas_udf(texts, StringType())


def _frames(relations: Any, *corpora: Any) -> tuple[DataFrame, DataFrame, DataFrame]:
    """Relations and corpora as DataFrames, whichever of them were local."""
    spread = [each if each.is_distributed() else DistributedTextSet.from_local(each) for each in corpora]
    first, second = (each.to_df() for each in spread)
    if not isinstance(relations, DataFrame):
        rows = [(one.id1, one.id2, one.label) for one in relations]
        relations = first.sparkSession.createDataFrame(rows, "id1 string, id2 string, label int")
    return relations, first, second
