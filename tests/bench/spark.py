"""Suite `spark`: fit and transform of a LeNet on local[2] against the bare engine, with no Spark and no exchange."""

from __future__ import annotations

from tests.bench.contest import Contender, Row

BATCH, SCORING_BATCH, ROWS, SHARDS = 128, 256, 25_600, 2


def rows() -> list[Row]:
    """Training epochs after the first, and scoring."""
    work = {"rows": ROWS, "shards": SHARDS}
    bare = "tests.bench.spark_bare"
    ours = "tests.bench.spark_ours"
    name = "bare engine, 2 processes"
    return [
        Row(
            f"fit lenet batch {BATCH}",
            "rows/s",
            Contender("NNClassifier.fit", ours, "prepare_fit", {**work, "batch": BATCH}),
            (Contender(name, bare, "prepare", {"mode": "train", "batch": BATCH // SHARDS, "processes": SHARDS}),),
            0.8,
        ),
        Row(
            f"transform lenet batch {SCORING_BATCH}",
            "rows/s",
            Contender("NNClassifierModel.transform", ours, "prepare_transform", {**work, "batch": SCORING_BATCH}),
            (Contender(name, bare, "prepare", {"mode": "infer", "batch": SCORING_BATCH, "processes": SHARDS}),),
            0.7,
        ),
    ]
