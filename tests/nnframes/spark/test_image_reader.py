"""Folders as users have them: every kind of picture, and every kind of file that is none."""

from __future__ import annotations

import os
import struct
import zlib

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pyspark.sql import Observation
from pyspark.sql import functions as F

from featurelib import ChainedPreprocessing
from featurelib.image import ImageMatToTensor, ImageResize, RowToImageFeature
from featurelib.image.files import find_files
from featurelib.image.functional import decode, encode_png, resize
from nnframes import ImageSet, NNClassifierModel, NNImageReader, register_sources, with_origin_column
from nnframes.errors import ArgumentError, ColumnError, DataError
from nnframes.nn import Linear, Reshape, Sequential
from nnframes.spark.image_reader import binary_files, decoded, is_local
from nnframes.spark.image_rows import BATCH_BYTES, IMAGE_TYPE, ImageFile, ReadSettings, image_batches
from tests.featurelib.image.test_decode import RED_CMYK_JPEG

COLOURS = np.random.default_rng(3).integers(0, 256, (40, 64, 3)).astype(np.uint8)


def chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def png(width, height, bits, kind, rows):
    """A PNG of any kind; `rows` is what its picture holds, which may be less than it announces."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def animation():
    moving = cv2.Animation()
    moving.frames = [np.full((8, 8, 4), value, np.uint8) for value in (40, 200)]
    moving.durations = np.array([100, 100])
    return cv2.imencodeanimation(".webp", moving)[1].tobytes()


JPEG = cv2.imencode(".jpg", COLOURS)[1].tobytes()
GOOD = {  # name: (content, mode, shape as stored)
    "a.jpg": (JPEG, 16, (40, 64, 3)),
    "b c.png": (encode_png(COLOURS[..., :1]), 0, (40, 64, 1)),
    "cmyk.jpg": (RED_CMYK_JPEG, 16, (8, 8, 3)),
    "deep.png": (encode_png(np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000), 2, (3, 4, 1)),
    "deep_colour.png": (encode_png(COLOURS.astype(np.uint16) * 256), 18, (40, 64, 3)),
    "float.tiff": (cv2.imencode(".tiff", COLOURS[..., 0].astype(np.float32) / 9)[1].tobytes(), 5, (40, 64, 1)),
    "grey_alpha.png": (png(2, 1, 8, 4, bytes([0, 50, 255, 60, 128])), 24, (1, 2, 4)),
    "sub/moving.webp": (animation(), 24, (8, 8, 4)),
    "sub/wrong.txt": (encode_png(COLOURS), 16, (40, 64, 3)),
}
BAD = {  # name: (content, what the message says)
    "bomb.png": (png(60000, 60000, 8, 2, bytes(9)), "must have at most 134217728 pixels. Received: 60000x60000"),
    "empty.jpg": (b"", "0 bytes"),
    "half.jpg": (JPEG[: len(JPEG) // 2], "JPEG image is truncated"),
    "notes.md": (b"# Notes", "must be JPEG, PNG"),
}


def written(folder, files):
    for name, (content, *_) in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return written(tmp_path_factory.mktemp("good"), {**GOOD, "_SUCCESS": (b"",), ".hidden": (b"",)})


@pytest.fixture(scope="module")
def messy(tmp_path_factory):
    """Good files, bad ones, and a link to nothing and a pipe, which only a reader of files sees."""
    folder = written(tmp_path_factory.mktemp("messy"), {**GOOD, **BAD})
    (folder / "lost.png").symlink_to(folder / "gone.png")
    os.mkfifo(folder / "pipe")
    return folder


def direct(spark, folder, settings):
    codec = {"image_codec": settings.image_codec, "invalid": settings.invalid}
    return NNImageReader.readImages(str(folder), spark, 1, settings.resize_h, settings.resize_w, **codec)


def through_spark(spark, folder, settings):
    """As files of a file system are read that only the JVM knows."""
    return decoded(binary_files(spark, [str(folder)], 1), settings)


ROUTES = pytest.mark.parametrize("route", [direct, through_spark])


def rows_of(frame):
    rows = [row.image for row in frame.collect()]
    return dict(sorted((row.origin, row) for row in rows))


@ROUTES
def test_every_kind_of_picture(route, good, spark):
    rows = rows_of(route(spark, good, ReadSettings()))
    assert list(rows) == sorted(f"file:{good}/{name}" for name in GOOD)
    for name, (content, mode, shape) in GOOD.items():
        row = rows[f"file:{good}/{name}"]
        assert (row.mode, row.height, row.width, row.nChannels) == (mode, *shape)
        feature = RowToImageFeature()(row)
        np.testing.assert_array_equal(feature["mat"], decode(content))
        assert feature["uri"] == row.origin


@ROUTES
@pytest.mark.parametrize(("codec", "channels"), [(0, 1), (1, 3)])
def test_resized_in_the_same_pass(route, codec, channels, good, spark):
    rows = rows_of(route(spark, good / "{*.jpg,*.png,sub}", ReadSettings(6, 5, codec)))
    readable = {name: content for name, (content, *_) in GOOD.items() if name != "float.tiff"}
    assert len(rows) == len(readable)
    for name, content in readable.items():
        row = rows[f"file:{good}/{name}"]
        assert (row.height, row.width, row.nChannels) == (6, 5, channels)
        np.testing.assert_array_equal(RowToImageFeature()(row)["mat"], resize(decode(content, codec), 6, 5))


def test_the_schema_is_sparks_own(good, spark):
    frame = NNImageReader.readImages(str(good), spark)
    assert frame.schema["image"].dataType.simpleString() == IMAGE_TYPE
    assert frame.schema == spark.read.format("image").load(str(good)).schema


@pytest.mark.slow
def test_paths_and_partitions(good, spark):
    whole = NNImageReader.readImages(str(good), spark.sparkContext, minPartitions=13)
    assert whole.rdd.getNumPartitions() >= 13
    assert whole.count() == len(GOOD)
    for path, count in [
        (f"{good}/a.jpg", 1),
        (f"file://{good}/b c.png", 1),
        (f"{good}/*.png,{good}/sub", 6),
        ([f"{good}/sub/moving.webp", good / "a.jpg"], 2),
        (f"{good}/{{a,cmyk}}.jpg", 2),
    ]:
        assert NNImageReader.readImages(path).count() == count
    assert binary_files(spark, [str(good)], 5).rdd.getNumPartitions() == 5


def test_which_files_workers_open_themselves(spark):
    assert [is_local(spark, path) for path in ("/a", "a:b/c", "file:/a", "file:///a")] == [True, False, True, True]
    assert not any(is_local(spark, path) for path in ("hdfs:///a", "s3a://bucket/a", "abfss://x@y/z"))


@ROUTES
@pytest.mark.parametrize(("name", "bad"), [(name, text) for name, (_, text) in BAD.items()], ids=list(BAD))
def test_a_bad_file_fails_the_query_and_is_named(route, name, bad, messy, spark):
    frame = route(spark, messy / name, ReadSettings())
    if (route, name) == (through_spark, "empty.jpg"):  # Spark's own source leaves it out
        assert frame.collect() == []
        return
    with pytest.raises(Exception, match=rf"Every file must be an image.*{name}: .*{bad}.*Hint: invalid='drop'"):
        frame.collect()


def test_files_that_cannot_be_opened(messy, spark):
    for name, text in (("lost.png", "cannot be read: No such file"), ("pipe", "must be a regular one")):
        with pytest.raises(Exception, match=rf"{name}: .*{text}"):
            NNImageReader.readImages(str(messy / name), spark).collect()


def test_bad_files_are_dropped_or_kept_as_null_and_counted(messy, spark):
    missing = len(BAD) + 2
    seen = {}
    for invalid in ("drop", "null"):
        observation = Observation()
        frame = NNImageReader.readImages(str(messy), spark, invalid=invalid, observation=observation)
        seen[invalid] = rows_of(frame)
        assert observation.get == {"files": len(GOOD) + missing, "invalid": missing}
        assert rows_of(NNImageReader.readImages(str(messy), spark, invalid=invalid)) == seen[invalid]
    assert list(seen["drop"]) == sorted(f"file:{messy}/{name}" for name in GOOD)
    empty = {origin: row for origin, row in seen["null"].items() if origin not in seen["drop"]}
    assert {tuple(row)[1:] for row in empty.values()} == {(-1, -1, -1, -1, None)}
    assert sorted(empty) == sorted(f"file:{messy}/{name}" for name in (*BAD, "lost.png", "pipe"))
    of_spark = rows_of(through_spark(spark, messy / "*.*", ReadSettings(invalid="drop")))
    assert set(of_spark) < set(seen["drop"])


def test_rows_without_pixels_are_skipped_when_scoring(messy, spark):
    frame = NNImageReader.readImages(f"{messy}/*.{{jpg,png}}", spark, image_codec=1, invalid="null")
    assert frame.where("image.mode = -1").count() == 4
    chain = ChainedPreprocessing([RowToImageFeature(), ImageResize(2, 2), ImageMatToTensor()])
    network = Sequential().add(Reshape([12])).add(Linear(12, 2))
    model = NNClassifierModel(network, chain).setFeaturesCol("image").setHandleInvalid("skip")
    assert model.transform(frame).count() == sum(name.endswith((".jpg", ".png")) for name in GOOD)


def test_the_log_of_the_tasks_counts(caplog):
    files = [ImageFile(f"{i}.png", lambda i=i: b"no" if i % 2 else encode_png(COLOURS)) for i in range(12)]
    for invalid, rows in (("drop", 6), ("null", 12)):
        caplog.clear()
        assert sum(batch.num_rows for batch in image_batches(files, ReadSettings(invalid=invalid))) == rows
        (record,) = caplog.records
        assert record.getMessage().startswith(f"6 of 12 files are no images (invalid='{invalid}'): 1.png: image must")
        assert record.getMessage().count(".png: ") == 3


def test_batches_are_bounded_by_bytes():
    sizes = [300, 1500, 20, 20, 900, 900, 900, 10]
    mats = [np.full((size, 1000, 3), number, np.uint8) for number, size in enumerate(sizes)]
    files = [ImageFile(str(number), lambda mat=mat: mat, float(number)) for number, mat in enumerate(mats)]
    batches = list(image_batches(files, ReadSettings(), pa.float64()))
    assert [batch.num_rows for batch in batches] == [1, 1, 3, 1, 2]
    assert all(batch.num_rows == 1 or batch.nbytes < BATCH_BYTES + 1000 for batch in batches)
    rows = [row for batch in batches for row in batch.to_pylist()]
    assert [row["image"]["data"] == mat.tobytes() for row, mat in zip(rows, mats, strict=True)] == [True] * len(mats)
    assert [row["label"] for row in rows] == list(map(float, range(8)))


def test_no_files(tmp_path, spark):
    assert NNImageReader.readImages(str(tmp_path), spark).collect() == []
    with pytest.raises(DataError, match=r"path must be that of a file or a folder, or match one. Received: '.*\*.jpg'"):
        NNImageReader.readImages(f"{tmp_path}/*.jpg", spark)
    with pytest.raises(Exception, match="PATH_NOT_FOUND"):
        binary_files(spark, [f"{tmp_path}/none"], 1).collect()


def test_arguments(good, spark):
    with pytest.raises(ArgumentError, match=r"resizeH and resizeW must both be >= 1.* Received: 5 and -1"):
        NNImageReader.readImages(str(good), spark, resizeH=5)
    with pytest.raises(ArgumentError, match=r"invalid must be one of 'fail', 'drop', 'null'. Received: 'keep'"):
        NNImageReader.readImages(str(good), spark, invalid="keep")


def test_the_origin_as_a_column(good, spark):
    frame = NNImageReader.readImages(f"{good}/a.jpg", spark)
    assert with_origin_column(frame).select("origin").first().origin == f"file:{good}/a.jpg"
    named = with_origin_column(frame.select(F.col("image").alias("a.b")), "a.b", "from")
    assert named.columns == ["a.b", "from"]
    with pytest.raises(ColumnError, match=r"Column 'picture' must exist. Received: image"):
        with_origin_column(frame, "picture")
    with pytest.raises(ColumnError, match="originColumn 'image' must not exist"):
        with_origin_column(frame, originColumn="image")


def test_sessions_and_contexts(spark, good):
    assert NNImageReader.readImages(str(good), spark.sparkContext).count() == len(GOOD)
    with pytest.raises(ArgumentError, match=r"sc must be a SparkSession or a SparkContext. Received: str"):
        NNImageReader.readImages(str(good), "local[2]")


def test_how_many_pixels_a_file_may_have_is_the_user_s_choice(spark, good):
    few = NNImageReader.readImages(str(good), spark, invalid="drop", max_pixels=64)
    names = sorted(row.origin.rsplit("/", 1)[1] for row in few.select("image.origin").collect())
    assert names == ["cmyk.jpg", "deep.png", "grey_alpha.png", "moving.webp"]
    images = ImageSet.read(str(good), spark, invalid="drop", max_pixels=64)
    assert images.get_uri().count() == len(names) == len(ImageSet.read(str(good), invalid="drop", max_pixels=64))
    register_sources(spark)
    source = spark.read.format("nnimages").option("invalid", "drop").option("maxPixels", 64).load(str(good))
    assert source.count() == len(names)


@pytest.mark.parametrize("arguments", [{"resizeH": "5", "resizeW": "5"}, {"image_codec": None}, {"max_pixels": 0}])
def test_numbers_are_checked_before_anything_is_read(arguments, spark, good):
    with pytest.raises(ArgumentError, match="must be an integer"):
        NNImageReader.readImages(str(good), spark, **arguments)


@pytest.mark.parametrize("path", ["a.jpg", "sub", "*.jpg", "{a,none}.j?g"])
def test_paths_begin_where_the_program_works_not_where_the_tasks_do(path, spark, good, tmp_path, monkeypatch):
    odd = tmp_path / "odd [0]"
    odd.symlink_to(good)
    monkeypatch.chdir(odd)
    here = sorted(row.origin for row in NNImageReader.readImages(path, spark).select("image.origin").collect())
    assert [origin.rsplit("/", 1)[1] for origin in here] == [found.split("/")[-1] for found in find_files([path])]
