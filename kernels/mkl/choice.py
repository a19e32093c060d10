"""Which library multiplies matrices faster here: measured once, remembered in the user's cache folder.

By measurement and not by name: on some processors MKL is far ahead, on others oneDNN.
"""

from __future__ import annotations

import functools
import json
import math
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from kernels.gradient import differentiate
from kernels.graph import Graph, Value
from kernels.native.dnnl import dnnl
from kernels.native.mkl import mkl
from kernels.ops.linear import linear
from kernels.program import Program, compile_graph

SIZES = ((128, 192, 100), (32, 1024, 1000), (256, 784, 512))  # rows, inputs, outputs of fully connected layers
REPEATS = 5
MARGIN = 0.9  # MKL cannot fuse the activation that follows: it must be this much faster


@functools.cache
def faster_provider(threads: int) -> str:
    """The name of the provider for this number of threads: remembered, or measured now."""
    path, key = cache_file(), _machine(threads)
    known = read_choices(path)
    if key not in known:
        known[key] = decide(measure("onednn", threads), measure("mkl", threads))
        write_choices(path, known)
    return known[key]


def decide(onednn: Sequence[float], mkl: Sequence[float]) -> str:
    """The provider with the smaller geometric mean of times; oneDNN unless MKL is clearly faster.

    >>> decide([1.0, 4.0], [0.9, 2.0]), decide([1.0, 4.0], [1.1, 3.5])
    ('mkl', 'onednn')
    """
    ratio = sum(math.log(m / o) for o, m in zip(onednn, mkl, strict=True)) / len(onednn)
    return "mkl" if ratio < math.log(MARGIN) else "onednn"


def measure(provider: str, threads: int) -> list[float]:
    """Seconds of a training step of a fully connected layer, for each of `SIZES`: the best of some."""
    return [min(_seconds(*_layer(size, provider, threads))) for size in SIZES]


def _seconds(program: Program, feeds: Mapping[str, np.ndarray]) -> list[float]:
    results = program.run(feeds)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        program.run(feeds, results)
        times.append(time.perf_counter() - start)
    return times


def _layer(size: tuple[int, int, int], provider: str, threads: int) -> tuple[Program, dict[str, np.ndarray]]:
    rows, inputs, outputs = size
    graph = Graph()
    x, w, b = (
        graph.input("x", (rows, inputs)),
        graph.parameter("w", (outputs, inputs)),
        graph.parameter("b", (outputs,)),
    )
    y, dy = linear(x, w, b), graph.input("dy", (rows, outputs))
    gradients = differentiate({y: dy}, [x, w, b]).values()
    wanted = [y, *(gradient for gradient in gradients if isinstance(gradient, Value))]
    program = compile_graph(wanted, threads=threads, gemm=provider)
    feeds = {leaf.node.attrs["name"]: np.full(leaf.shape, 0.5, np.float32) for leaf in (x, w, b, dy)}
    program.bind(feeds)
    return program, feeds


def cache_file() -> Path | None:
    """Where choices are remembered; None where the user has no home."""
    try:
        folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    return folder / "nnframes" / "gemm.json"


def read_choices(path: Path | None) -> dict[str, str]:
    """What was remembered; nothing if the file is missing, unreadable or not ours."""
    try:
        found = json.loads(path.read_text(encoding="utf-8")) if path else {}
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: choice for key, choice in found.items() if choice in ("onednn", "mkl")}


def write_choices(path: Path | None, choices: Mapping[str, str]) -> None:
    """Remember, if the folder can be written; a reader never sees half a file."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        draft.write_text(json.dumps(dict(choices), indent=1), encoding="utf-8")
        draft.replace(path)
    except OSError:
        return


def _machine(threads: int) -> str:
    return f"{_processor()}; oneDNN {dnnl().version}; MKL {mkl().version}; threads {threads}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()
