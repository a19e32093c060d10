"""Relations between texts of DataFrames, as samples for ranking: joins, no Python per row.

They come out as those of `featurelib.text.relations`, which says what they are.
"""

from __future__ import annotations

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from nnframes.spark.text_records import tensor

__all__ = ["lists", "pairs"]


def pairs(relations: DataFrame, first: DataFrame, second: DataFrame) -> DataFrame:
    """A record of every answer with every text that is none."""
    joined = _joined(relations, first, second)
    right = joined.where("label > 0").select("id1", F.col("row").alias("right"))
    wrong = joined.where("label <= 0").select("id1", F.col("row").alias("wrong"))
    both = _as_long(F.array("right", "wrong"))
    length = F.size("right")
    labels = tensor([F.lit(2)], F.array(F.lit(1), F.lit(0)))
    return right.join(wrong, "id1").select(_sample(F.lit(2), length, both, labels), F.col("id1").alias("uri"))


def lists(relations: DataFrame, first: DataFrame, second: DataFrame) -> DataFrame:
    """A record of all relations of a text, in the order of id2."""
    items = F.array_sort(F.collect_list(F.struct("id2", "label", "row"))).alias("items")
    grouped = _joined(relations, first, second).groupBy("id1").agg(items)
    count = F.size("items")
    labels = tensor([count, F.lit(1)], F.col("items.label"))
    sample = _sample(count, F.size(F.col("items")[0]["row"]), _as_long(F.col("items.row")), labels)
    return grouped.select(sample, F.col("id1").alias("uri"))


def _sample(count: Column, length: Column, rows: Column, labels: Column) -> Column:
    features = tensor([count, length], F.flatten(rows))
    return F.struct(F.array(features).alias("features"), F.array(labels).alias("labels")).alias("sample")


def _joined(relations: DataFrame, first: DataFrame, second: DataFrame) -> DataFrame:
    """Relations with the numbers of both texts, one after the other."""
    known = relations.select(
        F.col("id1").cast("string").alias("id1"), F.col("id2").cast("string").alias("id2"), F.col("label").cast("int")
    )
    for number, corpus in ((1, first), (2, second)):
        key, name = f"id{number}", f"corpus{number}"
        known = known.join(_numbered(corpus, key, name), key, "left")
        missing = F.concat(F.lit(f"{name} must hold the text '"), F.col(key), F.lit("'. Received: none of that uri."))
        known = known.withColumn(name, F.coalesce(name, F.raise_error(missing)))
    return known.select("id1", "id2", "label", F.concat("corpus1", "corpus2").alias("row"))


def _numbered(corpus: DataFrame, key: str, name: str) -> DataFrame:
    grouped = corpus.groupBy(F.col("uri").alias(key)).agg(
        F.count("*").alias("count"), F.first("indexedTokens").alias("numbers")
    )
    twice = F.concat(F.lit(f"The texts of {name} must have different uris. Received: "), F.col(key), F.lit("."))
    bare = F.lit(f"The texts of {name} must have one length. Hint: word2idx(), then shape_sequence(len).")
    numbers = F.when(F.col("count") > 1, F.raise_error(twice)).otherwise(F.coalesce("numbers", F.raise_error(bare)))
    return grouped.select(key, numbers.alias(name))


def _as_long(rows: Column) -> Column:
    """Rows of numbers, all as long as the first."""
    same = F.forall(rows, lambda row: F.size(row) == F.size(rows[0]))
    message = F.lit("The texts of a corpus must have one length. Hint: word2idx(), then shape_sequence(len).")
    return F.when(same, rows).otherwise(F.raise_error(message))
