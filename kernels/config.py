"""What the engine runs on: which native library was found, and why one was not."""

from __future__ import annotations

import functools
import os
import warnings
from typing import TYPE_CHECKING

from kernels.errors import ArgumentError, NativeLibraryWarning

if TYPE_CHECKING:
    from kernels.native.dnnl import Dnnl
    from kernels.native.mkl import Mkl

PROVIDERS = ("onednn", "mkl")


@functools.cache
def native_library() -> Dnnl | None:
    """oneDNN, opened on first use.

    None where it is missing (warned of once) or `NNFRAMES_ENGINE=reference` asks for numpy.
    """
    found = _opened()
    if not isinstance(found, str):
        return found
    if found:
        warnings.warn(
            f"The engine runs on numpy, many times slower: {found}", category=NativeLibraryWarning, stacklevel=2
        )
    return None


def missing_library() -> str:
    """Why there is no oneDNN, and the cure; '' where there is, or where numpy was asked for."""
    found = _opened()
    return found if isinstance(found, str) else ""


@functools.cache
def _opened() -> Dnnl | str:
    if os.environ.get("NNFRAMES_ENGINE") == "reference":
        return ""
    from kernels.native.dnnl import dnnl

    try:
        return dnnl()
    except OSError as error:
        return str(error)


@functools.cache
def gemm_library() -> Mkl | str:
    """MKL, opened on first use, or the reason why there is none: nobody needs it where oneDNN is."""
    from kernels.native.mkl import mkl

    try:
        return mkl()
    except OSError as error:
        return str(error)


def instruction_set() -> str:
    """The instruction set that the engine compiles for; results differ in the last bits between sets."""
    library = native_library()
    if library is None:
        return "numpy"
    code = library.symbols.dnnl_get_effective_cpu_isa()
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
