"""Sequence files that Hadoop itself wrote, in all its ways."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest

from featurelib.image.readers import sequence_records
from nnframes import SeqFileFolder
from nnframes.spark.image_sequences import _sequence_rows
from tests.nnframes.spark.test_image_set import rows

TEXT, BYTES = "org.apache.hadoop.io.Text", "org.apache.hadoop.io.BytesWritable"
COUNT = 30


def picture(number):
    return np.random.default_rng(number).integers(0, 256, (5 + number % 3, 7, 3)).astype(np.uint8)


def pixels(number):
    mat = picture(number)
    return struct.pack(">ii", mat.shape[1], mat.shape[0]) + mat.tobytes()


def write(spark, folder, records, kind=None, codec="DefaultCodec"):
    """Write keys of text and values of bytes as Hadoop does; `kind` is how they are compressed."""
    conf = {"mapreduce.output.fileoutputformat.compress": "false"}
    if kind is not None:
        conf = {
            "mapreduce.output.fileoutputformat.compress": "true",
            "mapreduce.output.fileoutputformat.compress.type": kind,
            "mapreduce.output.fileoutputformat.compress.codec": f"org.apache.hadoop.io.compress.{codec}",
        }
    rdd = spark.sparkContext.parallelize([(key, bytearray(value)) for key, value in records], 3)
    form = "org.apache.hadoop.mapreduce.lib.output.SequenceFileOutputFormat"
    rdd.saveAsNewAPIHadoopFile(str(folder), form, TEXT, BYTES, conf=conf)


KINDS = [(None, ""), ("RECORD", "DefaultCodec"), ("BLOCK", "DefaultCodec"), ("BLOCK", "GzipCodec")]


@pytest.mark.parametrize(("kind", "codec"), KINDS)
@pytest.mark.slow
def test_bigdls_imagenet(kind, codec, spark, tmp_path):
    write(spark, tmp_path / "s", [(f"{n}.jpg\n{n + 1}", pixels(n)) for n in range(COUNT)], kind, codec)
    images = SeqFileFolder.files_to_image_frame(str(tmp_path / "s"), spark, class_num=20)
    found = rows(images.get_image())
    assert sorted(found) == sorted(f"{n}.jpg" for n in range(20))  # labels above class_num are left out
    for number in range(20):
        np.testing.assert_array_equal(found[f"{number}.jpg"], picture(number).transpose(2, 0, 1))
    assert {uri: float(label) for uri, label in rows(images.get_label()).items()} == {
        f"{n}.jpg": n + 1 for n in range(20)
    }
    files = spark.read.format("binaryFile").load(str(tmp_path / "s")).select("path", "content")
    through_spark = files.mapInArrow(_sequence_rows, images.frame.schema)
    assert sorted(map(tuple, through_spark.where("label <= 20").collect())) == sorted(
        map(tuple, images.frame.collect())
    )


def test_image_files_as_values_and_keys_of_labels_alone(spark, tmp_path):
    jpegs = [cv2.imencode(".jpg", np.full((20, 30, 3), 8 * n, np.uint8))[1].tobytes() for n in range(6)]
    write(spark, tmp_path / "s", [(str(n), jpeg) for n, jpeg in enumerate(jpegs)])
    images = SeqFileFolder.files_to_image_frame(str(tmp_path / "s"), spark, 1000, 2)
    frame = images.frame.select("image.origin", "image.height", "image.width", "label")
    found = sorted((row.label, row.origin, row.height, row.width) for row in frame.collect())
    assert [(label, *size) for label, _, *size in found] == [(float(n), 20, 30) for n in range(6)]
    assert len({origin for _, origin, *_ in found}) == 6
    assert all(origin.startswith(f"file:{tmp_path}/s/part-r-0000") for _, origin, *_ in found)


def test_long_records_and_other_writers(spark, tmp_path):
    """Spark's own way of writing, and lengths that need several bytes."""
    values = [bytes([n]) * (200_000 * n) for n in range(4)]
    pairs = [("k" * (1 + 300 * n), bytearray(value)) for n, value in enumerate(values)]
    spark.sparkContext.parallelize(pairs, 1).saveAsSequenceFile(str(tmp_path / "s"))
    with (tmp_path / "s" / "part-00000").open("rb") as file:
        assert [(key.decode(), value) for key, value in sequence_records(file)] == [(k, bytes(v)) for k, v in pairs]


def test_damage_is_named(spark, tmp_path):
    write(spark, tmp_path / "s", [(f"{n}.jpg\n1", pixels(n)) for n in range(6)])
    path = tmp_path / "s" / "part-r-00001"
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(Exception, match=r"part-r-00001: .*the file is truncated"):
        SeqFileFolder.files_to_image_frame(str(tmp_path / "s"), spark, 10).frame.collect()
    path.write_bytes(b"text")
    with pytest.raises(Exception, match=r"part-r-00001: .*must begin with b'SEQ"):
        SeqFileFolder.files_to_image_frame(str(tmp_path / "s"), spark, 10).frame.collect()
