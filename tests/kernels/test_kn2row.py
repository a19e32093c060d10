"""3x3 convolutions of 2x2 pixels by a product for each place of the kernel, against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from kernels.config import native_library
from tests.kernels.convolutions import Built, check

pytestmark = pytest.mark.skipif(native_library() is None, reason="oneDNN is not here")

# pictures, channels in, channels out
SHAPES = [(1, 1, 1), (1, 32, 32), (2, 5, 3), (3, 37, 40), (5, 64, 33), (16, 128, 96), (33, 40, 64)]
TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small ones, too."""
    from kernels.onednn import kn2row

    for name in ("CHANNELS", "IMAGES", "WORK"):
        monkeypatch.setattr(kn2row, name, 1)


def test_places_begin_with_the_middle_and_end_with_the_corners() -> None:
    from kernels.onednn.kn2row import PLACES

    assert (PLACES[0].count, PLACES[0].result, PLACES[0].seen) == (4, 0, 0)
    assert [place.count for place in PLACES] == [4, 2, 2, 2, 2, 1, 1, 1, 1]
    assert sorted(place.result for place in PLACES[-4:]) == [0, 1, 2, 3]
    assert all(place.result + place.seen == 3 for place in PLACES[-4:])


def test_a_large_one_agrees() -> None:
    built = Built((16, 512, 544, 2, 2), True, False)
    check(built.run(threads=2), built.reference(), 3e-5)


def test_pictures_have_the_same_bits_in_every_batch() -> None:
    few, many = (Built((count, 64, 48, 2, 2), True, True) for count in (3, 17))
    many.inputs["x"][:3], many.leaves = few.inputs["x"], few.leaves
    np.testing.assert_array_equal(many.result()[:3], few.result())


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("fold", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize(("bias", "relu"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(shape: tuple[int, ...], bias: bool, relu: bool, fold: bool, threads: int) -> None:
    built = Built((*shape, 2, 2), bias, relu)
    check(built.run(threads=threads, fold=fold), built.reference(), TOLERANCE)


def test_each_place_of_the_kernel_sees_what_it_should() -> None:
    built = Built((2, 32, 32, 2, 2), False, False)
    for place in range(9):
        w = built.leaves["w"]
        w[:] = 0
        w[..., place // 3, place % 3] = 1
        check(built.run(), built.reference(), TOLERANCE)


@pytest.mark.parametrize("threads", [1, 2])
def test_a_picture_has_the_same_bits_wherever_it_is(threads: int) -> None:
    built = Built((7, 64, 48, 2, 2), True, True)
    built.inputs["x"][:] = built.inputs["x"][:1]
    built.inputs["dy"][:] = built.inputs["dy"][:1]
    for results in built.run(threads=threads)[:2]:
        np.testing.assert_array_equal(results, np.broadcast_to(results[:1], results.shape))


def test_what_is_no_number_stays_in_its_picture() -> None:
    built = Built((3, 32, 32, 2, 2), True, False)
    whole = built.result()
    built.inputs["x"][1, 5, 0, 1] = np.nan
    lost = built.result()
    np.testing.assert_array_equal(lost[[0, 2]], whole[[0, 2]])
    assert np.isnan(lost[1]).all()
