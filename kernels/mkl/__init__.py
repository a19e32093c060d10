"""How ops run on MKL where it was chosen: products of matrices. Emitters that take the place of oneDNN's."""

from __future__ import annotations

from kernels.mkl import gemm
from kernels.onednn.compiler import Emitter

EMITTERS: dict[str, Emitter] = {
    "linear": gemm.linear,
    "linear_backward_data": gemm.backward_data,
    "linear_backward_weights": gemm.backward_weights,
    "matmul": gemm.matmul,
}
