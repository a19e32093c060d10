"""MKL's C API as far as it is used: products of matrices."""

from __future__ import annotations

import ctypes
import functools
import re
from ctypes import c_char_p, c_float, c_int, c_void_p

import numpy as np

from kernels.errors import ShapeError
from kernels.native.loader import LibraryNotFound, open_library
from kernels.native.threads import steer_threads

CURE = "Install it with: pip install mkl (x86-64 Linux), or name a libmkl_rt.so in NNFRAMES_MKL."
GNU_THREADS, LP64 = 3, 0
# Processor-specific code whose bits depend neither on the alignment of the data nor on the number of threads.
REPRODUCIBLE = 0x10000 | 2
ROW_MAJOR, AS_IT_IS, TRANSPOSED = 101, 111, 112


class Mkl:
    """The opened library; its threads are those of oneDNN."""

    def __init__(self) -> None:
        # MKL ends the process where its threading layer finds no OpenMP.
        try:
            ctypes.CDLL("libgomp.so.1")
        except OSError as error:
            raise LibraryNotFound(f"MKL needs libgomp.so.1, Debian's package libgomp1: {error}") from None
        self.symbols = open_library(
            "MKL",
            sonames=["libmkl_rt.so.3", "libmkl_rt.so.2"],
            symbol="cblas_sgemm_batch_strided",
            variable="NNFRAMES_MKL",
            distribution="mkl",
            cure=CURE,
        )
        self._set_up()
        self.version = self._read_version()

    def gemm(
        self,
        a: np.ndarray,
        b: np.ndarray,
        out: np.ndarray,
        transpose_a: bool = False,
        transpose_b: bool = False,
        add: bool = False,
    ) -> None:
        """Write the product a b, each transposed or not, to `out`, or add it there.

        All are dense float32 of shape (rows, columns) or (batch, rows, columns). Raises `ShapeError`.
        """
        k, m = a.shape[-2:] if transpose_a else a.shape[:-3:-1]
        n, inner = b.shape[-2:] if transpose_b else b.shape[:-3:-1]
        batch = out.shape[:-2]
        if inner != k or out.shape != (*batch, m, n) or not a.shape[:-2] == b.shape[:-2] == batch or len(batch) > 1:
            raise ShapeError(f"gemm expects matrices that fit, received {a.shape}, {b.shape} and {out.shape}.")
        if not m * n * k:  # MKL takes no empty matrices
            if not add:
                out[...] = 0
            return
        left, right, result = a.ctypes.data, b.ctypes.data, out.ctypes.data
        lda, ldb, beta = a.shape[-1], b.shape[-1], 1.0 if add else 0.0
        how = (ROW_MAJOR, TRANSPOSED if transpose_a else AS_IT_IS, TRANSPOSED if transpose_b else AS_IT_IS, m, n, k)
        if batch:
            self.symbols.cblas_sgemm_batch_strided(
                *how, 1.0, left, lda, m * k, right, ldb, k * n, beta, result, n, m * n, *batch
            )
        else:
            self.symbols.cblas_sgemm(*how, 1.0, left, lda, right, ldb, beta, result, n)

    def _set_up(self) -> None:
        """Choose threads and bits: before any other call, or MKL has chosen already."""
        library = self.symbols
        layer = library.MKL_Set_Threading_Layer(GNU_THREADS)
        if layer != GNU_THREADS or library.MKL_Set_Interface_Layer(LP64) != LP64 or library.MKL_CBWR_Set(REPRODUCIBLE):
            raise LibraryNotFound("MKL is in use by another package of this process, with settings of its own.")
        library.MKL_Set_Dynamic(0)
        library.MKL_Set_Num_Threads_Local.argtypes = [c_int]
        steer_threads(library.MKL_Set_Num_Threads_Local)
        i, p, f = c_int, c_void_p, c_float
        library.cblas_sgemm.argtypes = [i, i, i, i, i, i, f, p, i, p, i, f, p, i]
        library.cblas_sgemm_batch_strided.argtypes = [i, i, i, i, i, i, f, p, i, i, p, i, i, f, p, i, i, i]
        library.cblas_sgemm.restype = library.cblas_sgemm_batch_strided.restype = None

    def _read_version(self) -> str:
        text = ctypes.create_string_buffer(200)
        self.symbols.MKL_Get_Version_String.argtypes = [c_char_p, c_int]
        self.symbols.MKL_Get_Version_String.restype = None
        self.symbols.MKL_Get_Version_String(text, len(text))
        found = re.search(r"Version ([\d.]+)", text.value.decode())
        return found.group(1) if found else text.value.decode().strip()


@functools.cache
def mkl() -> Mkl:
    """The library, opened on first use. Raises `LibraryNotFound`."""
    return Mkl()
