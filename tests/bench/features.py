"""Suite `features`: image preprocessing against bare OpenCV, within a training task, read by Spark, and augmented."""

from __future__ import annotations

from tests.bench.contest import Contender, Row

OURS, PEERS, SPARK = "tests.bench.features_ours", "tests.bench.features_peers", "tests.bench.features_spark"
SIDE, FILES = 224, 2_000
AUGMENTATIONS = ("normalize", "resize", "flip", "jitter")
QUIET = {"NO_ALBUMENTATIONS_UPDATE": "1"}  # it would look for a newer version on the network


def rows() -> list[Row]:
    """One thread each, but for the rows of Spark."""
    return [
        Row(
            f"decode, resize {SIDE}, normalise",
            "images/s",
            Contender("featurelib", OURS, "prepare_chain", {"side": SIDE}),
            (Contender("bare cv2 in a loop", PEERS, "prepare_cv2", {"side": SIDE}),),
            0.9,
        ),
        Row(
            "features within a training task",
            "images/s",
            Contender("NNClassifier.fit, local[1]", SPARK, "prepare_fit", {"side": SIDE}),
            (Contender("slower of chain and engine", OURS, "prepare_slower", {"side": SIDE}),),
            0.9,
        ),
        Row(
            f"read {FILES} JPEG files",
            "images/s",
            Contender("NNImageReader", SPARK, "prepare_reader", {"files": FILES, "side": SIDE}),
            (Contender("binaryFile and pandas UDF", SPARK, "prepare_binary", {"files": FILES, "side": SIDE}),),
            1.3,
        ),
        *(
            Row(
                f"{kind} of photos",
                "images/s",
                Contender("featurelib", OURS, "prepare_transform", {"kind": kind, "side": SIDE}),
                (Contender("albumentations", PEERS, "prepare_albumentations", {"kind": kind, "side": SIDE}, QUIET),),
                1.0,
            )
            for kind in AUGMENTATIONS
        ),
    ]
