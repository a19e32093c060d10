"""Who computes what on this machine: the choice between oneDNN and MKL, and a report of all choices."""

from __future__ import annotations

import os
import platform

from kernels.config import PROVIDERS, gemm_library, instruction_set, native_library
from kernels.errors import ArgumentError
from kernels.version import __version__


def requested_gemm() -> str | None:
    """The provider of matrix products that `NNFRAMES_GEMM` names; None where it names none.

    Training takes oneDNN unless one is named: a choice by stop-watch would make its bits depend on the watch.

    >>> requested_gemm() in (None, *PROVIDERS)
    True
    """
    named = os.environ.get("NNFRAMES_GEMM") or None
    if named is not None and named not in PROVIDERS:
        raise ArgumentError(f"NNFRAMES_GEMM must be one of {', '.join(PROVIDERS)}. Received: {named}.")
    return named


def gemm_provider(threads: int = 1) -> str:
    """Who multiplies matrices faster on this machine: "onednn" or "mkl", for `compile_graph(..., gemm=...)`.

    `NNFRAMES_GEMM` decides, else a measurement of some milliseconds, which is kept in the user's cache folder. The
    choice changes the last bits of results: make it once, and hand it to all processes that must agree.

    >>> gemm_provider() in PROVIDERS
    True
    """
    named = requested_gemm()
    if named is not None:
        return named
    if native_library() is None or isinstance(gemm_library(), str):
        return "onednn"
    from kernels.mkl.choice import faster_provider

    return faster_provider(threads)


def show_config() -> str:
    """What the engine uses on this machine, one fact a line.

    >>> show_config().splitlines()[0].startswith("nnframes kernels")
    True
    """
    library, gemm = native_library(), gemm_library()
    engine = "numpy reference" if library is None else f"oneDNN {library.version}, {instruction_set()}"
    provider = "numpy" if library is None else gemm_provider()
    return "\n".join(
        [
            f"nnframes kernels {__version__}",
            f"engine: {engine}",
            f"MKL: {f'none. {gemm.splitlines()[0]}' if isinstance(gemm, str) else gemm.version}",
            f"faster in products of matrices: {provider}",
            f"machine: {platform.machine()}, {os.cpu_count()} processors",
        ]
    )
