"""Suite `spark`: fit and transform of a LeNet on local[2] against the bare engine, with no Spark and no exchange."""

from __future__ import annotations

from tests.bench.contest import Contender, Row

BATCH, SCORING_BATCH, ROWS, SHARDS = 128, 256, 25_600, 2
OURS = "tests.bench.spark_ours"


def rows() -> list[Row]:
    """Training epochs after the first; scoring of numbers and of pictures."""
    work = {"rows": ROWS, "shards": SHARDS}
    engine = {"network": "lenet", "threads": 1}
    images = {"batch": SCORING_BATCH, "threads": 1}
    return [
        Row(
            f"fit lenet batch {BATCH}",
            "rows/s",
            Contender("NNClassifier.fit", OURS, "prepare_fit", {**work, "batch": BATCH}),
            (_bare("tests.bench.engine_ours", {**engine, "mode": "train", "batch": BATCH // SHARDS}),),
            0.8,
        ),
        Row(
            f"transform lenet images {SCORING_BATCH}",
            "rows/s",
            Contender("NNClassifierModel.transform", OURS, "prepare_images", {**work, "batch": SCORING_BATCH}),
            (_bare("tests.bench.images", images),),
            0.7,
        ),
        Row(
            f"transform lenet arrays {SCORING_BATCH}",
            "rows/s",
            Contender("NNClassifierModel.transform", OURS, "prepare_arrays", {**work, "batch": SCORING_BATCH}),
            (_bare("tests.bench.engine_ours", {**engine, "mode": "infer", "batch": SCORING_BATCH}),),
            0.7,
        ),
        # How much of the row before is Spark's own: a function that looks at nothing gets its arrays at this rate.
        Row(
            "transform lenet arrays, of Spark",
            "rows/s",
            Contender("NNClassifierModel.transform", OURS, "prepare_arrays", {**work, "batch": SCORING_BATCH}),
            (Contender("Arrow function that gives 0", OURS, "prepare_nothing", work),),
            0.4,
        ),
    ]


def _bare(module: str, arguments: dict[str, object]) -> Contender:
    """The bare engine: as many processes with one thread as there are shards."""
    several = {"module": module, "arguments": arguments, "processes": SHARDS}
    return Contender(f"bare engine, {SHARDS} processes", "tests.bench.spark_bare", "prepare", several)
