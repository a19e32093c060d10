"""The native room: how libraries are found or not, threads and forks, memory, and that nothing leaks."""

from __future__ import annotations

import ctypes.util
import json
import os
import resource
import signal
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kernels import Graph, compile_graph, ops, show_config
from kernels.config import default_threads, instruction_set
from kernels.errors import ArgumentError
from kernels.native.loader import LibraryNotFound, open_library
from kernels.native.memory import ARENA, aligned_bytes, aligned_floats

# ---------------------------------------------------------------- in fresh processes


def run_relu() -> dict[str, Any]:
    """What a first use gives, and what it warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(2):
            result = compile_graph([ops.relu(Graph().input("x", (3,)))]).run({"x": np.array([-1, 0, 2], np.float32)})[0]
    opened = "libdnnl" in Path("/proc/self/maps").read_text(encoding="utf-8")
    messages = [f"{type(caution.message).__name__}: {caution.message}" for caution in caught]
    return {"result": result.tolist(), "warnings": messages, "config": show_config(), "opened": opened}


def threads_set_early() -> list[int]:
    """How many threads OpenMP takes in this Python thread, which set them before it opened the library; in another."""
    from kernels.native.dnnl import dnnl
    from kernels.native.threads import set_threads

    set_threads(3)
    found = [dnnl().symbols.omp_get_max_threads()]
    other = threading.Thread(target=lambda: found.append(dnnl().symbols.omp_get_max_threads()))
    other.start()
    other.join()
    return found


def fork_after_use() -> str:
    """The child's error: its OpenMP threads are gone, and a hang would help nobody."""
    run_relu()
    program = compile_graph([ops.relu(Graph().input("x", (3,)))])
    read, write = os.pipe()
    child = os.fork()
    if not child:
        try:
            program.run({"x": np.zeros(3, np.float32)})
            message = "ran"
        except Exception as error:
            message = f"{type(error).__name__}: {error}"
        os.write(write, message.encode())
        os._exit(0)
    os.close(write)
    signal.alarm(60)
    with os.fdopen(read) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    program.run({"x": np.zeros(3, np.float32)})  # the parent goes on
    return text


def fork_before_use() -> list[float]:
    """The child's result: Spark forks its workers from a process that has only imported us."""
    read, write = os.pipe()
    if not os.fork():
        os.write(write, json.dumps(run_relu()["result"]).encode())
        os._exit(0)
    os.close(write)
    signal.alarm(60)
    with os.fdopen(read) as answer:
        result = json.load(answer)
    os.wait()
    return result


def grown_by(programs: int) -> float:
    """Megabytes by which the process grew while it compiled, ran and dropped programs."""

    def one(size: int) -> None:
        graph = Graph()
        y = ops.linear(graph.input("x", (size, 64)), graph.parameter("w", (32, 64)))
        y = ops.batch_norm_inference(y, *(graph.buffer(name, (32,)) for name in ("g", "b", "m", "v")))
        program = compile_graph([ops.tanh(y)], fold=True)
        program.bind({"w": np.ones((32, 64), np.float32)} | {name: np.ones(32, np.float32) for name in "gbmv"})
        program.run({"x": np.ones((size, 64), np.float32)})

    def resident() -> float:
        return int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1]) * resource.getpagesize() / 2**20

    for number in range(1, 1100):  # oneDNN keeps its last 1024 primitives: fill its cache first
        one(number % 7 + 1)
    before = resident()
    for number in range(programs):
        one(number % 7 + 1)
    return resident() - before


@pytest.mark.usefixtures("native")
def test_the_library_is_opened_on_first_use(spawn: Callable[..., Any]) -> None:
    maps = "print('libdnnl' in open('/proc/self/maps').read())"
    assert spawn(f"import kernels\n{maps}").strip() == "False"
    found = spawn(run_relu)
    assert (found["result"], found["warnings"], found["opened"]) == ([0, 0, 2], [], True)
    assert "engine: oneDNN 3." in found["config"]


@pytest.mark.parametrize(
    ("named", "reason"),
    [
        ("/nowhere/libdnnl.so.3", "/nowhere/libdnnl.so.3: cannot open shared object file"),
        (ctypes.util.find_library("m") or "libm.so.6", "is another library, it has no dnnl_version"),
    ],
    ids=["missing", "another"],
)
def test_without_the_library_numpy_stands_in(spawn: Callable[..., Any], named: str, reason: str) -> None:
    found = spawn(run_relu, env={"NNFRAMES_DNNL": named, "NNFRAMES_ENGINE": ""})
    assert found["result"] == [0, 0, 2]
    assert not found["opened"]
    (warning,) = found["warnings"]
    assert warning.startswith("NativeLibraryWarning: The engine runs on numpy, many times slower: oneDNN could not")
    assert reason in warning
    assert "pip install onednn-cpu-gomp" in warning
    assert "engine: numpy reference" in found["config"]


def test_the_reference_can_be_asked_for(spawn: Callable[..., Any]) -> None:
    found = spawn(run_relu, env={"NNFRAMES_ENGINE": "reference"})
    assert (found["result"], found["warnings"], found["opened"]) == ([0, 0, 2], [], False)
    assert "engine: numpy reference" in found["config"]


@pytest.mark.usefixtures("native")
def test_threads_may_be_set_before_the_library_is_opened(spawn: Callable[..., Any]) -> None:
    assert spawn(threads_set_early, env={"OMP_NUM_THREADS": "2"}) == [3, 2]


@pytest.mark.usefixtures("native")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told(spawn: Callable[..., Any]) -> None:
    text = spawn(fork_after_use)
    assert text.startswith("UnsupportedError: This process was forked from one that had already run the engine")
    assert "spawn" in text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_forked_before_the_first_use_runs(spawn: Callable[..., Any]) -> None:
    assert spawn(fork_before_use) == [0, 0, 2]


@pytest.mark.usefixtures("native")
def test_programs_give_their_memory_back(spawn: Callable[..., Any]) -> None:
    assert spawn(grown_by, 400) < 3


# ---------------------------------------------------------------- here


@pytest.mark.parametrize("size", [1, 63, 64, 1000])
def test_memory_is_aligned(size: int) -> None:
    assert aligned_bytes(size).ctypes.data % 64 == 0
    assert aligned_bytes(size).size == size
    floats = aligned_floats(size)
    assert floats.ctypes.data % 64 == 0
    assert floats.tolist() == [0.0] * size


def test_the_arena_grows_and_never_shrinks() -> None:
    first = ARENA.reserve(1000)
    assert ARENA.reserve(10) is first
    larger = ARENA.reserve(first.size + 1)
    assert larger.size > first.size
    assert ARENA.reserve(first.size) is larger


def test_a_library_that_is_nowhere() -> None:
    with pytest.raises(
        LibraryNotFound, match=r"(?s)Nothing could not be loaded.*no file named libnowhere.so.*Do this\."
    ):
        open_library(
            "Nothing",
            sonames=["libnowhere.so"],
            symbol="f",
            variable="NNFRAMES_NOWHERE",
            distribution="nnframes-has-no-such-distribution",
            cure="Do this.",
        )


@pytest.mark.usefixtures("native")
def test_the_instruction_set_has_a_name() -> None:
    assert not instruction_set().startswith("0x")


@pytest.mark.parametrize(("text", "threads"), [("3", 3), ("0", 1), ("-2", 1)])
def test_default_threads_can_be_named(monkeypatch: pytest.MonkeyPatch, text: str, threads: int) -> None:
    monkeypatch.setenv("NNFRAMES_THREADS", text)
    assert default_threads() == threads


def test_a_number_of_threads_that_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NNFRAMES_THREADS", "two")
    with pytest.raises(ArgumentError, match="NNFRAMES_THREADS must be an integer >= 1"):
        default_threads()
