"""What the engine runs on: which native library was found, and why one was not."""

from __future__ import annotations

import functools
import os
import platform
import warnings
from typing import TYPE_CHECKING

from kernels.errors import ArgumentError, NativeLibraryWarning
from kernels.version import __version__

if TYPE_CHECKING:
    from kernels.native.dnnl import Dnnl
    from kernels.native.mkl import Mkl

PROVIDERS = ("onednn", "mkl")


@functools.cache
def native_library() -> Dnnl | None:
    """oneDNN, opened on first use.

    None where it is missing (warned of once) or `NNFRAMES_ENGINE=reference` asks for numpy.
    """
    if os.environ.get("NNFRAMES_ENGINE") == "reference":
        return None
    from kernels.native.dnnl import dnnl

    try:
        return dnnl()
    except OSError as error:
        warnings.warn(
            f"The engine runs on numpy, many times slower: {error}", category=NativeLibraryWarning, stacklevel=2
        )
        return None


@functools.cache
def gemm_library() -> Mkl | str:
    """MKL, opened on first use, or the reason why there is none: nobody needs it where oneDNN is."""
    from kernels.native.mkl import mkl

    try:
        return mkl()
    except OSError as error:
        return str(error)


def gemm_provider(threads: int = 1) -> str:
    """Who multiplies matrices faster on this machine: "onednn" or "mkl", for `compile_graph(..., gemm=...)`.

    `NNFRAMES_GEMM` decides, else a measurement of some milliseconds, which is kept in the user's cache folder. The
    choice changes the last bits of results: make it once, and hand it to all processes that must agree.

    >>> gemm_provider() in PROVIDERS
    True
    """
    named = os.environ.get("NNFRAMES_GEMM")
    if named:
        if named not in PROVIDERS:
            raise ArgumentError(f"NNFRAMES_GEMM must be one of {', '.join(PROVIDERS)}. Received: {named}.")
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


def instruction_set() -> str:
    """The instruction set that the engine compiles for; results differ in the last bits between sets."""
    library = native_library()
    if library is None:
        return "numpy"
    code = library.library.dnnl_get_effective_cpu_isa()
    return ISA.get(code, hex(code))


ISA = {
    0x1: "sse41",
    0x3: "avx",
    0x7: "avx2",
    0xF: "avx2_vnni",
    0x1F: "avx2_vnni_2",
    0x27: "avx512_core",
    0x67: "avx512_core_vnni",
    0xE7: "avx512_core_bf16",
    0x1EF: "avx512_core_fp16",
    0xFEF: "avx512_core_amx",
    0x1FEF: "avx512_core_amx_fp16",
}


def default_threads() -> int:
    """Threads of eager calls: `NNFRAMES_THREADS`, else the processors that this process may use.

    >>> default_threads() >= 1
    True
    """
    named = os.environ.get("NNFRAMES_THREADS")
    if named:
        try:
            return max(1, int(named))
        except ValueError:
            raise ArgumentError(f"NNFRAMES_THREADS must be an integer >= 1. Received: {named!r}.") from None
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
