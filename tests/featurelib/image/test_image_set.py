from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from featurelib import FeatureError
from featurelib.image import (
    ImageCenterCrop,
    ImageFeature,
    ImageFeatureToTensor,
    ImageMatToTensor,
    ImageRandomCrop,
    ImageResize,
)
from featurelib.image.functional import encode_png
from featurelib.image.image_set import LocalImageSet
from kernels.errors import ArgumentError

PICTURES = [np.random.default_rng(seed).integers(0, 256, (12, 10, 3)).astype(np.uint8) for seed in range(40)]
FEATURES = [ImageFeature(mat, float(i), f"{i}.png") for i, mat in enumerate(PICTURES)]


@pytest.fixture
def images() -> LocalImageSet:
    return LocalImageSet(FEATURES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, mat in enumerate(PICTURES[:4]):
        path = tmp_path / ("dog", "cat")[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encode_png(mat))
    return tmp_path


def test_a_set_never_changes(images: LocalImageSet) -> None:
    small = images.transform(ImageResize(3, 4)).transform(ImageMatToTensor())
    assert {mat.shape for mat in small.get_image()} == {(3, 3, 4)}
    assert {mat.shape for mat in small.get_image(to_chw=False)} == {(3, 4, 3)}
    assert {feature["mat"].shape for feature in images} == {(12, 10, 3)}
    labelled = images.set_label({"3.png": 30.0})
    assert (images.get_label()[3], labelled.get_label()[:5]) == (3.0, [0, 1, 2, 30, 4])
    assert images.set_label(range(40)).get_label() == list(range(40))
    assert small.get_uri() == [f"{i}.png" for i in range(40)]
    assert images.get_predict()[0] == ("0.png", None)
    assert images.get_sample() == [None] * 40
    assert (images.is_local(), images.is_distributed(), images.to_image_frame() is images) == (True, False, True)
    assert len(images) == 40


def test_a_preprocessing_is_applied_to_a_set(images: LocalImageSet) -> None:
    cropped = ImageCenterCrop(4, 4)(images)
    assert isinstance(cropped, LocalImageSet)
    assert cropped.get_image()[0].shape == (3, 4, 4)


def test_random_transforms_follow_seed_and_image_alone(images: LocalImageSet) -> None:
    crop = ImageRandomCrop(4, 4)
    first = images.transform(crop, seed=3)
    again = LocalImageSet(FEATURES[::-1]).transform(crop, seed=3)
    for one, other in zip(first, list(again)[::-1], strict=True):
        np.testing.assert_array_equal(one["mat"], other["mat"])
    for changes in ({"seed": 4}, {"seed": 3, "epoch": 1}):
        other = images.transform(crop, **changes)
        assert any(not np.array_equal(a["mat"], b["mat"]) for a, b in zip(first, other, strict=True))
    later = images.transform(ImageResize(12, 10)).transform(crop, seed=3)
    assert any(not np.array_equal(a["mat"], b["mat"]) for a, b in zip(first, later, strict=True))
    unnamed = [LocalImageSet(PICTURES[:n]).transform(crop) for n in (1, 5)]
    np.testing.assert_array_equal(unnamed[0].features[0]["mat"], unnamed[1].features[0]["mat"])


def test_splits_follow_the_seed_and_lose_nothing(images: LocalImageSet) -> None:
    parts = images.random_split([3, 1], seed=1)
    uris = [part.get_uri() for part in parts]
    assert sorted(uris[0] + uris[1]) == sorted(images.get_uri())
    assert 20 < len(uris[0]) < 40
    shuffled = LocalImageSet(FEATURES[::-1]).random_split([3, 1], seed=1)
    assert sorted(shuffled[1].get_uri()) == sorted(uris[1])
    assert sorted(images.random_split([3, 1], seed=2)[1].get_uri()) != sorted(uris[1])
    assert [len(part) for part in images.random_split([0, 1])] == [0, 40]
    for weights in ([], [0], [1, -1], [float("nan")]):
        with pytest.raises(ArgumentError, match="weights must be"):
            images.random_split(weights)


def test_reading_folders(folder: Path) -> None:
    images = LocalImageSet.read(str(folder), with_label=True)
    assert images.label_map == {"cat": 1, "dog": 2}
    assert images.get_label() == [1, 1, 2, 2]
    np.testing.assert_array_equal(images.features[0]["mat"], PICTURES[1])
    assert images.get_uri()[0] == f"file:{folder}/cat/1.png"
    plain = LocalImageSet.read(f"{folder}/dog,{folder}/cat/1.png", 4, 5, 0)
    assert [f["mat"].shape for f in plain] == [(4, 5, 1)] * 3
    assert plain.features[0]["originalSize"] == (12, 10, 1)
    assert plain.get_label() == [None] * 3
    zero_based = LocalImageSet.read(folder, with_label=True, one_based_label=False)
    assert zero_based.label_map == {"cat": 0, "dog": 1}
    assert zero_based.transform(ImageResize(2, 2)).label_map == {"cat": 0, "dog": 1}


def test_errors_name_the_file(folder: Path, images: LocalImageSet) -> None:
    (folder / "cat" / "9.png").write_bytes(b"text")
    with pytest.raises(FeatureError, match=r"cat/9.png: image must be JPEG"):
        LocalImageSet.read(folder)
    with pytest.raises(FeatureError, match="must hold a folder for each class"):
        LocalImageSet.read(folder / "cat", with_label=True)
    with pytest.raises(FeatureError, match=r"image '0.png': .*ImageCenterCrop"):
        images.transform(ImageCenterCrop(50, 50, is_clip=False))
    with pytest.raises(ArgumentError, match=r"one label per image. Received: 1 for 2"):
        LocalImageSet(PICTURES[:2], [1])
    with pytest.raises(ArgumentError, match="transformer must be a Preprocessing"):
        images.transform(len)


def test_a_set_stays_one_of_records(images: LocalImageSet) -> None:
    with pytest.raises(
        FeatureError, match=r"'0.png': .*must give an ImageFeature. Received: ndarray. Hint: end it with"
    ):
        images.transform(ImageMatToTensor() >> ImageFeatureToTensor())


def test_files_that_are_no_images(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "cat" / "zzz.png").write_bytes(b"not a picture")
    good = LocalImageSet.read(folder, with_label=True, invalid="drop")
    assert "1 of 5 files are no images (invalid='drop')" in caplog.text
    assert "zzz.png: image must be JPEG" in caplog.text
    kept = LocalImageSet.read(str(folder), with_label=True, invalid="null")
    assert (len(good), len(kept)) == (4, 5)
    assert [set(image) for image in kept if "mat" not in image] == [{"uri", "label"}]
    assert sorted(set(kept.get_uri()) - set(good.get_uri())) == [f"file:{folder}/cat/zzz.png"]
    assert len(LocalImageSet.read(folder, invalid="drop", max_pixels=1)) == 0
    with pytest.raises(FeatureError, match="must have at most 1 pixels"):
        LocalImageSet.read(folder, max_pixels=1)


def test_bad_arguments_of_reading(folder: Path) -> None:
    assert len(LocalImageSet.read([str(folder)], with_label=True)) == 4
    for arguments, message in (
        ({"resize_height": 5}, "must both be >= 1, or both -1"),
        ({"invalid": "skip"}, "invalid must be one of 'fail', 'drop', 'null'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            LocalImageSet.read(folder, **arguments)
    with pytest.raises(ArgumentError, match="path must be one folder"):
        LocalImageSet.read([str(folder), str(folder)], with_label=True)
