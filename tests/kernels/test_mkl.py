"""MKL: the product of matrices, and how it is chosen."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels import Graph, compile_graph, gemm_provider, ops, show_config
from kernels.errors import ArgumentError, ShapeError, UnsupportedError
from kernels.mkl import choice
from kernels.native.mkl import Mkl


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty cache folder, and nothing decided yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("NNFRAMES_GEMM", raising=False)
    choice.faster_provider.cache_clear()
    yield tmp_path / "nnframes" / "gemm.json"
    choice.faster_provider.cache_clear()


@pytest.mark.parametrize("add", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize(
    ("batch", "m", "n", "k"),
    [((), 3, 5, 7), ((), 1, 1, 1), ((4,), 3, 17, 2), ((1,), 33, 2, 5), ((), 3, 5, 0), ((), 0, 2, 2)],
)
def test_products(
    mkl: Mkl, batch: tuple[int, ...], m: int, n: int, k: int, transpose_a: bool, transpose_b: bool, add: bool
) -> None:
    rng = np.random.default_rng(1)
    a, b, out = (rng.uniform(-1, 1, (*batch, *shape)).astype(np.float32) for shape in ((m, k), (k, n), (m, n)))
    expected = a @ b + (out if add else 0)
    given_a = np.ascontiguousarray(a.swapaxes(-1, -2)) if transpose_a else a
    given_b = np.ascontiguousarray(b.swapaxes(-1, -2)) if transpose_b else b
    mkl.gemm(given_a, given_b, out, transpose_a, transpose_b, add)
    np.testing.assert_allclose(out, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shapes", [((2, 3), (4, 5), (2, 5)), ((2, 3), (3, 5), (5, 2)), ((2, 2, 3), (3, 5), (2, 2, 5))])
def test_matrices_that_do_not_fit(mkl: Mkl, shapes: tuple[tuple[int, ...], ...]) -> None:
    with pytest.raises(ShapeError, match="gemm expects matrices that fit"):
        mkl.gemm(*(np.zeros(shape, np.float32) for shape in shapes))


@pytest.mark.usefixtures("mkl")
def test_programs_say_who_multiplies() -> None:
    graph = Graph()
    y = ops.relu(ops.linear(graph.input("x", (4, 3)), graph.parameter("w", (5, 3))))
    lines = [line.split()[:2] for line in compile_graph([y], gemm="mkl").describe()]
    assert lines[0] == ["linear", "mkl"]
    assert lines[1][0] == "eltwise_forward"


@pytest.mark.usefixtures("mkl")
def test_one_openmp_serves_both(spawn: Callable[..., Any]) -> None:
    assert spawn(openmp_libraries) == ["libgomp"]


def openmp_libraries() -> list[str]:
    """The OpenMP runtimes in a process that has run both libraries on two threads."""
    graph = Graph()
    y = ops.tanh(ops.linear(graph.input("x", (256, 300)), graph.parameter("w", (500, 300))))
    program = compile_graph([y], threads=2, gemm="mkl")
    program.bind({"w": np.ones((500, 300), np.float32)})
    program.run({"x": np.ones((256, 300), np.float32)})
    maps = Path("/proc/self/maps").read_text(encoding="utf-8")
    return [name for name in ("libgomp", "libiomp5", "libomp.") if name in maps]


def without_mkl() -> list[str]:
    """What happens where MKL is missing: the choice, and the error of who wants it all the same."""
    try:
        compile_graph([ops.relu(Graph().input("x", (3,)))], gemm="mkl")
        error = ""
    except UnsupportedError as raised:
        error = str(raised)
    return [gemm_provider(), error, show_config()]


@pytest.mark.usefixtures("native")
def test_without_mkl(spawn: Callable[..., Any]) -> None:
    provider, error, config = spawn(without_mkl, env={"NNFRAMES_MKL": "/nowhere/libmkl_rt.so.3", "NNFRAMES_GEMM": ""})
    assert provider == "onednn"
    assert error.startswith("gemm='mkl' needs MKL. MKL could not be loaded.")
    assert "/nowhere/libmkl_rt.so.3" in error
    assert "pip install mkl" in error
    assert "MKL: none. MKL could not be loaded." in config


# ---------------------------------------------------------------- the choice


def test_the_choice_is_measured_once_and_kept(mkl: Mkl, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = gemm_provider()
    kept = json.loads(cache.read_text(encoding="utf-8"))
    assert list(kept.values()) == [chosen]
    assert mkl.version in next(iter(kept))
    other = "mkl" if chosen == "onednn" else "onednn"
    cache.write_text(json.dumps(dict.fromkeys(kept, other)), encoding="utf-8")
    assert gemm_provider() == chosen  # this process has decided
    choice.faster_provider.cache_clear()
    assert gemm_provider() == other  # the next one believes the file
    assert f"faster in products of matrices: {other}" in show_config()
    monkeypatch.setenv("NNFRAMES_GEMM", chosen)
    assert gemm_provider() == chosen


@pytest.mark.usefixtures("mkl")
@pytest.mark.parametrize("content", ["", "{", "[1, 2]", '{"a": 7, "b": [], "c": "blas"}'])
def test_a_broken_cache_is_written_anew(cache: Path, content: str) -> None:
    cache.parent.mkdir()
    cache.write_text(content, encoding="utf-8")
    assert choice.read_choices(cache) == {}
    assert gemm_provider() in json.loads(cache.read_text(encoding="utf-8")).values()


@pytest.mark.usefixtures("mkl")
def test_a_cache_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.parent.parent.joinpath("nnframes").write_text("a file where the folder should be", encoding="utf-8")
    assert gemm_provider() in ("onednn", "mkl")


def test_a_provider_must_be_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNFRAMES_GEMM", "blas")
    with pytest.raises(ArgumentError, match=r"NNFRAMES_GEMM must be one of onednn, mkl\. Received: blas"):
        gemm_provider()


@pytest.mark.parametrize(
    ("onednn", "mkl_seconds", "expected"),
    [([1.0], [0.5], "mkl"), ([1.0], [0.95], "onednn"), ([1.0, 1.0], [0.5, 2.1], "onednn"), ([1.0], [3.0], "onednn")],
)
def test_mkl_must_be_clearly_faster(onednn: list[float], mkl_seconds: list[float], expected: str) -> None:
    assert choice.decide(onednn, mkl_seconds) == expected
