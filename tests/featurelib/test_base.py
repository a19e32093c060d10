from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest

import featurelib
import featurelib.image
from featurelib import (
    ChainedPreprocessing,
    DecodeError,
    FeatureError,
    Preprocessing,
    RowStreams,
    SeqToMultipleTensors,
    SeqToTensor,
    stack,
)
from featurelib.image import (
    ImageBytesToMat,
    ImageChannelNormalize,
    ImageFeatureToTensor,
    ImageHFlip,
    ImageMatToTensor,
    ImageRandomTranslate,
    ImageResize,
)
from kernels.errors import ArgumentError


class Add(Preprocessing):
    """Row by row, and records the order in which rows pass."""

    def __init__(self, amount: float) -> None:
        self.amount = amount

    def apply(self, value: float, rng: np.random.Generator | None = None) -> float:
        SEEN.append((self.amount, value))
        return value + self.amount


class Noise(Preprocessing):
    random = True

    def apply(self, value: float, rng: np.random.Generator | None = None) -> float:
        assert rng is not None
        return value + rng.random()


SEEN: list[tuple[float, float]] = []


def test_chain_flattens_and_composes() -> None:
    a, b, c = Add(1), Add(2), Add(3)
    for chain in (a >> b >> c, a >> (b >> c), ChainedPreprocessing([a, ChainedPreprocessing([b, c])])):
        assert chain.transformers == [a, b, c]
        assert chain(0) == 6


def test_neighbours_without_batch_form_run_row_by_row() -> None:
    SEEN.clear()
    assert (Add(1) >> Add(10)).batch([0, 100]) == [11, 111]
    assert SEEN == [(1, 0), (10, 1), (1, 100), (10, 101)]


@pytest.mark.parametrize(
    ("transformers", "message"),
    [
        ([Add(1), 3], "transformers[1] must be a Preprocessing. Received: 3."),
        ([ImageHFlip], "Hint: write ImageHFlip(...)."),
        (None, "must be a list of Preprocessing. Received: None"),
        ([SeqToMultipleTensors([1, 1]), Add(1)], "must be the last of its chain"),
    ],
)
def test_chain_refuses(transformers: object, message: str) -> None:
    with pytest.raises(ArgumentError) as caught:
        ChainedPreprocessing(transformers)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_split_at_random() -> None:
    first, noise, last = Add(1), Noise(), Add(2)
    head, tail = (first >> noise >> last).split_at_random()
    assert (head.transformers, tail.transformers) == ([first], [noise, last])
    head, tail = (first >> last).split_at_random()
    assert (head.transformers, tail.transformers) == ([first, last], [])
    assert tail.batch([1, 2]) == [1, 2]
    assert (first >> noise >> last).deterministic().transformers == [first, last]


def test_split_chain_equals_the_whole() -> None:
    chain = (
        ImageResize(9, 9)
        >> ImageRandomTranslate(2, 2)
        >> ImageChannelNormalize(1, 2, 3)
        >> ImageMatToTensor()
        >> ImageFeatureToTensor()
    )
    mats = [np.random.default_rng(i).integers(0, 256, (12, 8, 3)).astype(np.uint8) for i in range(5)]

    def streams() -> RowStreams:
        return RowStreams(lambda row: np.random.default_rng([3, row]), range(5))

    head, tail = chain.split_at_random()
    cached = [np.asarray(feature) for feature in head.batch(mats)]  # what a cache keeps: arrays
    np.testing.assert_array_equal(tail.batch(cached, streams()), chain.batch(mats, streams()))


def test_row_streams_are_made_when_asked_for_and_kept() -> None:
    made: list[int] = []

    def make(row: int) -> np.random.Generator:
        made.append(row)
        return np.random.default_rng(row)

    streams = RowStreams(make, np.array([7, 8, 9]))
    (Add(1) >> SeqToTensor()).batch([1, 2, 3], streams)
    assert made == []
    values = (Noise() >> Noise()).batch([0, 0, 0], streams)
    assert made == [7, 8, 9]
    assert values[0] == sum(np.random.default_rng(7).random(2))


def test_generators_must_match_the_rows() -> None:
    with pytest.raises(ArgumentError, match="expected 2, received 1"):
        Noise().batch([1, 2], [np.random.default_rng(0)])


def test_errors_keep_their_row_when_pickled() -> None:
    error = DecodeError("image is bad.").at_row(4).at_row(9)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.row, str(again)) == (DecodeError, 4, "row 4: image is bad.")


def test_stack() -> None:
    block = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    assert np.shares_memory(stack(list(block)), block)
    assert not np.shares_memory(stack([block[1], block[0], block[2], block[3]]), block)
    assert not np.shares_memory(stack(list(block[:3])), block)
    np.testing.assert_array_equal(stack([block[0], block[2]]), block[[0, 2]])
    assert stack(block) is block
    assert isinstance(stack((block, block)), tuple)
    with pytest.raises(FeatureError, match=r"row 2: .* expected \(3,\), received \(4,\)"):
        stack([np.zeros(3), np.zeros(3), np.zeros(4)])


def test_image_batches_are_written_in_place() -> None:
    chain = ImageBytesToMat() >> ImageChannelNormalize(1, 2, 3) >> ImageMatToTensor() >> ImageFeatureToTensor()
    files = [featurelib.image.functional.encode_png(np.full((4, 5, 3), i, np.uint8)) for i in range(3)]
    block = chain.batch(files)
    assert block.shape == (3, 3, 4, 5)
    assert block.flags.c_contiguous
    np.testing.assert_array_equal(block[2, :, 0, 0], [-1, 0, 1])


@pytest.mark.parametrize("package", [featurelib, featurelib.image], ids=lambda m: m.__name__)
def test_public_names_exist_and_are_sorted(package: object) -> None:
    names = package.__all__  # type: ignore[attr-defined]
    assert all(hasattr(package, name) for name in names)
    assert list(names) == sorted(names)


def test_import_starts_nothing() -> None:
    code = (
        "import sys, featurelib, featurelib.config, featurelib.tensor\n"
        "assert not {'cv2', 'pyspark', 'nnframes'} & set(sys.modules), 'imported too much'\n"
        "import featurelib.image, featurelib.catalog, cv2\n"
        "assert not {'pyspark', 'nnframes'} & set(sys.modules), 'imported too much'\n"
        "import numpy as np\n"
        "featurelib.image.ImageHFlip()(np.zeros((4, 4), np.uint8))\n"
        "assert cv2.getNumThreads() == 1, cv2.getNumThreads()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
