from __future__ import annotations

import cv2
import numpy as np
import pytest

from nnframes import NNImageReader, register_sources

FILES = 20


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(FILES):
        (folder / str(number % 3)).mkdir(exist_ok=True)
        cv2.imwrite(str(folder / str(number % 3) / f"{number}.png"), np.full((9, 7 + number, 3), number, np.uint8))
    return folder


@pytest.fixture(scope="module")
def source(spark):
    register_sources(spark)
    return lambda: spark.read.format("nnimages")


def pictures(frame):
    return sorted(tuple(row.image) for row in frame.collect())


def test_the_same_rows_as_the_reader(folder, source, spark):
    assert pictures(source().load(str(folder))) == pictures(NNImageReader.readImages(str(folder), spark))
    small = source().option("resizeH", 4).option("RESIZEW", "5").option("imageCodec", 0).load(f"{folder}/1/*.png")
    assert pictures(small) == pictures(NNImageReader.readImages(f"{folder}/1", spark, 1, 4, 5, 0))
    assert source().load([f"{folder}/0", f"{folder}/2"]).count() == 13


def test_in_sql(folder, source, spark):
    source().option("resizeH", 4).option("resizeW", 5).load(str(folder)).createOrReplaceTempView("pictures")
    query = "SELECT image.height, image.width, count(*) AS n FROM pictures WHERE image.origin LIKE '%/2/%' GROUP BY ALL"
    assert [tuple(row) for row in spark.sql(query).collect()] == [(4, 5, 6)]


def test_partitions(folder, source):
    assert source().load(str(folder)).rdd.getNumPartitions() == 1  # one task reads a few hundred files
    assert source().option("minPartitions", 7).load(str(folder)).rdd.getNumPartitions() == 7


def test_bad_files(folder, source):
    (folder / "1" / "bad.png").write_bytes(b"no")
    try:
        with pytest.raises(Exception, match=r"1/bad.png: image must be JPEG"):
            source().load(str(folder)).collect()
        assert source().option("invalid", "drop").load(str(folder)).count() == FILES
        assert source().option("invalid", "null").load(str(folder)).where("image.mode = -1").count() == 1
    finally:
        (folder / "1" / "bad.png").unlink()


@pytest.mark.parametrize(
    ("options", "path", "message"),
    [
        ({"resizeH": "wide"}, "/", "Option resizeH of nnimages must be an integer. Received: 'wide'"),
        ({"invalid": "keep"}, "/", "invalid must be one of 'fail', 'drop', 'null'"),
        ({"resizeH": 3}, "/", "must both be >= 1"),
        ({}, "s3a://bucket/x", "paths that the workers can open as files.*Hint: NNImageReader.readImages"),
        ({}, "/nothing/there", "path must be that of a file or a folder"),
    ],
)
def test_options_are_checked_before_any_task(options, path, message, source):
    with pytest.raises(Exception, match=message):
        source().options(**options).load(path).collect()


def test_the_schema_is_the_sources_own(folder, source):
    with pytest.raises(Exception, match=r"schema of nnimages must be the column 'image'. Received: \['other'\]"):
        source().schema("other string").load(str(folder)).collect()
