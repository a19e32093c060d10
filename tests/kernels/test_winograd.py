"""Winograd's 3x3 convolutions against the reference: all sizes of pictures, many chunks, lanes, dirty memory."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from kernels import compile_graph, evaluate
from kernels.config import native_library
from tests.kernels.convolutions import Built, check

pytestmark = pytest.mark.skipif(native_library() is None, reason="oneDNN is not here")

# pictures, channels in, channels out, height, width
SHAPES = [
    (2, 16, 32, 8, 8),
    (3, 5, 7, 9, 6),
    (1, 1, 1, 1, 1),
    (4, 3, 2, 4, 4),
    (2, 8, 4, 5, 3),
    (1, 32, 32, 3, 2),
    (5, 24, 16, 14, 15),
    (1, 4, 4, 41, 38),
    (2, 6, 5, 29, 20),
    (37, 16, 16, 8, 8),
    (2, 40, 64, 7, 13),
    (6, 8, 37, 8, 8),
]


CUTS = {
    "chunks": {"ROWS": 1, "NUMBERS": 256, "SUMS": 1},
    "blocks": {"ROWS": 1, "NUMBERS": 1 << 10, "BLOCK": 1 << 8},
    "parts": {"ROWS": 1 << 20, "BLOCK": 1 << 30, "KERNELS": 600},
}
"""Tiny chunks of tiles, and one lane for sums of kernels; small chunks, each of some blocks; all tiles at once, and the
kernels in tiny parts."""


@pytest.fixture(params=CUTS)
def always(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Winograd's way for every 3x3 convolution that it can do."""
    from kernels.onednn import transforms, winograd

    for name, value in {"PASS": 0, "GAIN": 0.0, **CUTS[request.param]}.items():
        monkeypatch.setattr(transforms if name == "BLOCK" else winograd, name, value)


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("fold", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize(("bias", "relu"), [(False, False), (True, False), (True, True)])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_agrees_with_the_reference(
    shape: tuple[int, ...], bias: bool, relu: bool, fold: bool, threads: int, always: None
) -> None:
    built = Built(shape, bias, relu)
    ours = built.run(threads=threads, fold=fold)
    check(ours, built.reference())


@pytest.mark.parametrize("threads", [1, 2])
def test_agrees_as_it_is_used(threads: int) -> None:
    built = Built((4, 64, 96, 60, 30), True, True)
    ours = built.run(threads=threads)
    check(ours, built.reference())


def test_pictures_do_not_depend_on_their_neighbours(always: None) -> None:
    built = Built((6, 8, 8, 10, 10), True, True)
    whole = built.run(threads=1)[0]
    built.inputs["x"][3:] = np.nan
    part = built.run(threads=1)[0]
    np.testing.assert_array_equal(part[:3], whole[:3])


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("shape", [(7, 16, 24, 10, 10), (5, 48, 40, 14, 14), (3, 64, 64, 28, 28)], ids=str)
def test_a_picture_has_the_same_bits_wherever_it_is(shape: tuple[int, ...], threads: int, always: None) -> None:
    built = Built(shape, True, True)
    built.inputs["x"][:] = built.inputs["x"][:1]
    built.inputs["dy"][:] = built.inputs["dy"][:1]
    for results in built.run(threads=threads)[:2]:
        np.testing.assert_array_equal(results, np.broadcast_to(results[:1], results.shape))


def test_what_is_no_number_touches_the_results_of_its_tile(always: None) -> None:
    built = Built((1, 4, 4, 12, 12), False, False)
    built.inputs["x"][0, 1, 5, 6] = np.nan
    lost = np.isnan(built.result())
    assert lost[..., 4:8, 4:8].all()
    assert lost.sum() == lost[..., 4:8, 4:8].size


def test_threads_compile_and_run_at_once() -> None:
    built = Built((2, 64, 64, 16, 16), True, False)
    expected = built.result()
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(lambda _: built.result(), range(16)):
            np.testing.assert_array_equal(result, expected)


def test_errors_are_few_times_those_of_a_plain_sum() -> None:
    from kernels.onednn import winograd

    built = Built((2, 128, 128, 28, 28), False, False)
    double = {name: array.astype(np.float64) for name, array in {**built.inputs, **built.leaves}.items()}
    exact = evaluate(built.outputs, double)
    ours = built.run(threads=1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(winograd, "suits", lambda x, w: False)
        plain = compile_graph(built.outputs)
        plain.bind(built.leaves)
        theirs = plain.run(built.inputs)
    for one, other, truth in zip(ours, theirs, exact, strict=True):
        error, usual = (np.sqrt(np.mean(np.square(array - truth))) / np.std(truth) for array in (one, other))
        assert error < 2e-6
        assert error < 8 * usual


@pytest.mark.parametrize("threads", [1, 2])
def test_sums_of_many_pixels_keep_their_digits(threads: int) -> None:
    built = Built((8, 32, 64, 112, 112), True, False)
    built.inputs["dy"] += 1
    exact = built.inputs["dy"].sum((0, 2, 3), dtype=np.float64)
    np.testing.assert_allclose(built.run(threads=threads)[-1], exact, rtol=1e-6)
