"""Suite `spark`: fit and transform of a LeNet on local[2] against the bare engine, with no Spark and no exchange."""

from __future__ import annotations

from tests.bench.contest import Contender, Row

BATCH, SCORING_BATCH, ROWS, SHARDS = 128, 256, 25_600, 2
OURS = "tests.bench.spark_ours"
WORK = {"rows": ROWS, "shards": SHARDS}
ENGINE = {"network": "lenet", "threads": 1}


def rows() -> list[Row]:
    """Training epochs after the first; scoring of numbers and of pictures."""
    return [*_training(), *_scoring()]


def _training() -> list[Row]:
    fit = Contender("NNClassifier.fit", OURS, "prepare_fit", {**WORK, "batch": BATCH})
    bare = {**ENGINE, "mode": "train", "batch": BATCH // SHARDS}
    loop = {"rows": ROWS, "epochs": 10}
    return [
        Row(f"fit lenet batch {BATCH}", "rows/s", fit, (_bare("tests.bench.engine_ours", bare),), 0.8),
        # How much of the row before is Spark's: the same loop, its exchange included, in two processes of their own.
        Row(
            "fit lenet, of the loop",
            "rows/s",
            fit,
            (Contender("the loop, no Spark", "tests.bench.sync_pairs", "prepare_training", loop, fresh=True),),
            0.9,
        ),
    ]


def _scoring() -> list[Row]:
    work = {**WORK, "batch": SCORING_BATCH}
    arrays = Contender("NNClassifierModel.transform", OURS, "prepare_arrays", work)
    bare = {**ENGINE, "mode": "infer", "batch": SCORING_BATCH}
    return [
        Row(
            f"transform lenet images {SCORING_BATCH}",
            "rows/s",
            Contender("NNClassifierModel.transform", OURS, "prepare_images", work),
            (_bare("tests.bench.images", {"batch": SCORING_BATCH, "threads": 1}),),
            0.7,
        ),
        Row(
            f"transform lenet arrays {SCORING_BATCH}",
            "rows/s",
            arrays,
            (_bare("tests.bench.engine_ours", bare),),
            0.7,
        ),
        # How much of the row before is Spark's own: a function that looks at nothing gets its arrays at this rate.
        Row(
            "transform lenet arrays, of Spark",
            "rows/s",
            arrays,
            (Contender("Arrow function that gives 0", OURS, "prepare_nothing", WORK),),
            0.4,
        ),
    ]


def _bare(module: str, arguments: dict[str, object]) -> Contender:
    """The bare engine: as many processes with one thread as there are shards."""
    several = {"module": module, "arguments": arguments, "processes": SHARDS}
    return Contender(f"bare engine, {SHARDS} processes", "tests.bench.spark_bare", "prepare", several)
