from __future__ import annotations

import numpy as np
import pytest
from pyspark.errors import PythonException

from featurelib import ChainedPreprocessing
from featurelib.base import Preprocessing
from featurelib.image import (
    ImageCenterCrop,
    ImageFeature,
    ImageMatToTensor,
    ImageRandomCrop,
    ImageResize,
    ImageSetToSample,
    RowToImageFeature,
)
from featurelib.image.functional import encode_png
from featurelib.image.image_set import LocalImageSet
from featurelib.registry import register_class
from nnframes import ImageFrame, ImageSet, NNClassifier, NNImageReader
from nnframes.errors import ArgumentError, ColumnError, DataError
from nnframes.nn import ClassNLLCriterion, Linear, LogSoftMax, Reshape, Sequential
from nnframes.spark.image_set import DistributedImageSet

COUNT = 24


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("classes")
    rng = np.random.default_rng(0)
    for number in range(COUNT):
        place = folder / ("dog", "cat", "cow")[number % 3]
        place.mkdir(exist_ok=True)
        mat = rng.integers(0, 256, (12 + number % 2, 10, 3)).astype(np.uint8)
        (place / f"{number}.png").write_bytes(encode_png(mat))
    return folder


@pytest.fixture(scope="module")
def pair(folder, spark):
    """The same files in memory and distributed."""
    return ImageSet.read(str(folder), with_label=True), ImageSet.read(str(folder), spark, 5, with_label=True)


def rows(frame):
    """{uri: array or None} of a DataFrame of uri, shape and data."""
    found = {row.uri: None if row.data is None else np.reshape(row.data, row.shape) for row in frame.collect()}
    return dict(sorted(found.items()))


def of_local(images, values):
    return dict(sorted(zip(images.get_uri(), values, strict=True)))


def same(distributed, local):
    assert list(distributed) == list(local)
    for one, other in zip(distributed.values(), local.values(), strict=True):
        if other is None:
            assert one is None
        else:
            np.testing.assert_array_equal(one, other)


def test_both_read_the_same(pair):
    local, distributed = pair
    assert (local.is_local(), distributed.is_local(), distributed.is_distributed()) == (True, False, True)
    assert local.label_map == distributed.label_map == {"cat": 1, "cow": 2, "dog": 3}
    same(rows(distributed.get_image()), of_local(local, local.get_image()))
    same(rows(distributed.get_label()), of_local(local, local.get_label()))
    assert sorted(row.uri for row in distributed.get_uri().collect()) == sorted(local.get_uri())
    same(rows(distributed.get_predict()), dict(sorted(local.get_predict())))
    assert set(rows(distributed.get_sample()).values()) == {None}


@pytest.mark.slow
def test_random_transforms_give_the_same_bits(pair):
    """Whatever the partitions, in memory or distributed."""
    crop = ImageRandomCrop(5, 6) >> ImageMatToTensor()
    local, distributed = (images.transform(ImageResize(9, 9)).transform(crop, seed=5, epoch=2) for images in pair)
    same(rows(distributed.get_image()), of_local(local, local.get_image()))
    other = distributed._with(distributed.frame.repartition(2), distributed.steps)
    same(rows(other.get_image()), rows(distributed.get_image()))
    assert {a.shape for a in rows(distributed.get_image(to_chw=False)).values()} == {(6, 5, 3)}


def test_splits_are_the_same(pair):
    local, distributed = (images.random_split([2, 1, 1], seed=9) for images in pair)
    for one, other in zip(distributed, local, strict=True):
        assert sorted(row.uri for row in one.get_uri().collect()) == sorted(other.get_uri())
    assert sum(map(len, local)) == COUNT


@pytest.mark.slow
def test_there_and_back(pair, spark):
    local, distributed = pair
    small = ImageCenterCrop(4, 4)(distributed)
    assert isinstance(small, DistributedImageSet)
    frame = small.to_dataframe()
    assert frame.columns == ["image", "label"]
    again = ImageSet.from_image_frame(ImageFrame.from_dataframe(frame)).to_image_frame()
    cropped = local.transform(ImageCenterCrop(4, 4))
    same(rows(again.get_image()), of_local(cropped, cropped.get_image()))
    back = again.to_local()
    same(of_local(back, back.get_label()), of_local(local, local.get_label()))
    there = DistributedImageSet.from_local(cropped, spark)
    same(rows(there.get_image()), rows(again.get_image()))
    assert there.label_map == local.label_map
    assert distributed.to_dataframe() is distributed.frame


def test_labels(pair):
    local, distributed = pair
    chosen = {uri: 50.0 + number for number, uri in enumerate(local.get_uri()[:3])}
    one, other = distributed.set_label(chosen), local.set_label(chosen)
    same(rows(one.get_label()), of_local(other, other.get_label()))
    unlabelled = ImageSet.from_dataframe(distributed.frame.select("image"))
    assert set(rows(unlabelled.get_label()).values()) == {None}
    assert sum(label is not None for label in rows(unlabelled.set_label(chosen).get_label()).values()) == 3


def test_parquet(folder, pair, spark, tmp_path):
    ImageSet.write_parquet(str(folder), str(tmp_path / "p"), spark, 3)
    same(rows(ImageSet.read_parquet(str(tmp_path / "p"), spark).get_image()), rows(pair[1].get_image()))
    small = ImageSet.read_parquet(str(tmp_path / "p"), spark, 2, 3, 0)
    assert {mat.shape for mat in rows(small.get_image()).values()} == {(1, 2, 3)}


@register_class
class Predicting(Preprocessing):
    """Stands for a network: leaves a result in the record."""

    def __init__(self, scale):
        self.scale = scale

    def apply(self, value, rng=None):
        return value.replace(predict=value["mat"].mean(axis=(0, 1)) * self.scale)


def test_predictions_of_a_class_of_ones_own(pair):
    local, distributed = (images.transform(Predicting(2.0)) for images in pair)
    same(rows(distributed.get_predict()), {u: v.astype(np.float32) for u, v in sorted(local.get_predict())})
    with pytest.raises(Exception, match=r"Image 'file:.*png' must have numbers under 'uri'. Received: str"):
        distributed.get_predict("uri").collect()


def test_samples(pair):
    chain = ImageResize(4, 4) >> ImageMatToTensor() >> ImageSetToSample()
    local, distributed = (images.transform(chain) for images in pair)
    assert local.get_sample()[0].labels[0].tolist() == [local.get_label()[0]]
    same(rows(distributed.get_sample()), of_local(local, map(np.asarray, local.get_sample())))


@pytest.mark.slow
def test_a_classifier_trains_on_files(folder, spark):
    """The same bits, whatever the tasks that read them."""
    chain = RowToImageFeature() >> ImageResize(4, 4) >> ImageMatToTensor()
    weights = []
    for least in (1, 11):
        frame = ImageSet.read(str(folder), spark, least, with_label=True, one_based_label=False).to_dataframe()
        network = Sequential().add(Reshape([48])).add(Linear(48, 3)).add(LogSoftMax())
        estimator = NNClassifier(network, ClassNLLCriterion(), chain).setFeaturesCol("image").setMaxEpoch(2)
        model = estimator.setBatchSize(8).setNumShards(2).setShowProgress(False).fit(frame)
        assert model.summary.rows == COUNT
        weights.append(model.model.get_weights())
    for one, other in zip(*weights, strict=True):
        np.testing.assert_array_equal(one, other)


def test_errors_name_the_image(pair, folder, spark):
    _, distributed = pair
    large = ChainedPreprocessing([ImageCenterCrop(50, 50, is_clip=False)])
    with pytest.raises(
        Exception, match=r"Every image must be one that the transforms take. Received image 'file:.*png"
    ):
        distributed.transform(large).get_image().collect()
    with pytest.raises(ColumnError, match="Column 'image' must exist"):
        ImageSet.from_dataframe(spark.range(1))
    with pytest.raises(ArgumentError, match="must be one folder, of a folder for each class"):
        ImageSet.read(f"{folder},{folder}", spark, with_label=True)
    with pytest.raises(DataError, match="must hold a folder for each class"):
        ImageSet.read(str(folder / "cat"), spark, with_label=True)
    with pytest.raises(ArgumentError, match="must have its picture to become a row"):
        DistributedImageSet.from_local(LocalImageSet([ImageFeature(label=1.0)]), spark)
    with pytest.raises(DataError, match="must have an image to be distributed"):
        DistributedImageSet.from_local(LocalImageSet(), spark)
    unreadable = NNImageReader.readImages(__file__, spark, invalid="null")
    with pytest.raises(Exception, match=r"test_image_set.py' could not be read"):
        ImageSet.from_dataframe(unreadable).get_image().collect()


def test_classes_are_the_folders_right_in_the_path_whoever_lists_them(tmp_path, spark, monkeypatch):
    for name in ("cat/1.png", "dog/2.png", "cat/young/3.png", "4.png", ".git/5.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(encode_png(np.zeros((2, 3), np.uint8)))
    own = ImageSet.read(str(tmp_path), spark, with_label=True)
    monkeypatch.setattr("nnframes.spark.image_reader.is_local", lambda *_: False)
    monkeypatch.setattr("nnframes.spark.image_set.is_local", lambda *_: False)
    other = ImageSet.read(str(tmp_path), spark, with_label=True)
    assert own.label_map == other.label_map == {"cat": 1, "dog": 2}
    same(rows(other.get_label()), {uri: value for uri, value in rows(own.get_label()).items() if ".git" not in uri})


def test_labels_of_a_set_in_memory_keep_their_fractions(spark):
    pictures = [np.zeros((2, 3, 3), np.uint8)] * 3
    there = DistributedImageSet.from_local(LocalImageSet(pictures, [1, 2.5, None]), spark)
    assert [row.data for row in there.get_label().collect()] == [[1.0], [2.5], None]
    with pytest.raises(DataError, match="Labels must be numbers or lists of them, all alike"):
        DistributedImageSet.from_local(LocalImageSet(pictures, [1, "dog", None]), spark)
    with pytest.raises(DataError, match=r"Received number 1: a picture in .* must have 1 to 4 channels"):
        DistributedImageSet.from_local(LocalImageSet([pictures[0], np.zeros((2, 2, 5), np.uint8)]), spark)


def test_sets_of_rdds(pair, spark):
    local, _ = pair
    mats, labels = [feature["mat"] for feature in local], [np.array([label]) for label in local.get_label()]
    context = spark.sparkContext
    made = ImageSet.from_rdds(context.parallelize(mats, 3), context.parallelize(labels, 3)).transform(ImageResize(4, 5))
    assert [row.data for row in made.get_label().collect()] == [label.tolist() for label in labels]
    for row, mat in zip(made.get_image().collect(), local.transform(ImageResize(4, 5)).get_image(), strict=True):
        np.testing.assert_array_equal(np.reshape(row.data, row.shape), mat)
    named = ImageSet.from_rdds(context.parallelize(list(local), 3))
    assert [row.uri for row in named.get_uri().collect()] == local.get_uri()
    same(rows(named.get_label()), of_local(local, local.get_label()))
    with pytest.raises(PythonException, match="Every element must be an image, with a number for a label"):
        ImageSet.from_rdds(context.parallelize(["a.png"], 1)).get_label().collect()
    with pytest.raises(ArgumentError, match=r"Received: RDD. Hint: ImageSet.from_rdds takes RDDs"):
        DistributedImageSet(context.parallelize(mats, 3))


def test_a_set_is_no_dataframe_but_has_one(pair):
    with pytest.raises(ArgumentError, match=r"Received: nnframes.DistributedImageSet. Hint: its to_dataframe\(\)"):
        NNClassifier(Sequential().add(Linear(1, 2)), ClassNLLCriterion()).fit(pair[1])
