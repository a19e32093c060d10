"""Images on Spark Connect, in a process of its own: the same pictures as in memory, without a context or an RDD."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("grpc", reason="Spark Connect needs the extra 'connect'")

from tests.nnframes.spark import remote

pytestmark = pytest.mark.slow


def cases(folder: str) -> dict:
    from pyspark.sql import Observation

    from featurelib.image import ImageRandomCrop
    from featurelib.image.functional import encode_png
    from nnframes import ImageSet, NNImageReader, register_sources
    from nnframes.spark.image_set import DistributedImageSet

    for number in range(6):
        place = Path(folder, "files", "ab"[number % 2])
        place.mkdir(parents=True, exist_ok=True)
        mat = np.random.default_rng(number).integers(0, 256, (9, 8, 3)).astype(np.uint8)
        (place / f"{number}.png").write_bytes(encode_png(mat))
    files = f"{folder}/files"
    local = ImageSet.read(files, with_label=True)
    expected = sorted((f["uri"], f["mat"].tobytes().hex()) for f in local.transform(ImageRandomCrop(4, 4), seed=2))

    def pictures(images):
        rows = images.to_dataframe().select("image.origin", "image.data").collect()
        return sorted((row.origin, bytes(row.data).hex()) for row in rows)

    with remote.remote_session(folder) as spark:
        register_sources(spark)
        observation = Observation()
        dropped = NNImageReader.readImages(f"file:{files},{__file__}", spark, invalid="drop", observation=observation)
        of_files = ImageSet.read(f"file:{files}", spark, with_label=True)
        of_spark = ImageSet.read(files, spark, with_label=True)  # a client is not told whose path this is
        return {
            "expected": expected,
            "sets": [pictures(images.transform(ImageRandomCrop(4, 4), seed=2)) for images in (of_files, of_spark)],
            "maps": [local.label_map, of_files.label_map, of_spark.label_map],
            "sent": pictures(DistributedImageSet.from_local(local, spark).transform(ImageRandomCrop(4, 4), seed=2)),
            "sql": spark.read.format("nnimages").load(files).count(),
            "counts": [dropped.count(), observation.get],
        }


def test_images_on_connect(spawn, tmp_path):
    found = spawn(cases, str(tmp_path), timeout=300)
    assert found["sets"] == [found["expected"]] * 2
    assert found["sent"] == found["expected"]
    assert found["maps"] == [{"a": 1, "b": 2}] * 3
    assert found["sql"] == 6
    assert found["counts"] == [6, {"files": 7, "invalid": 1}]
