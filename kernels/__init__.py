"""The engine: static graphs of tensor operations, their numpy definition, and their compilation to oneDNN.

Reading order: `graph` (values and nodes), `ops` (what each op means), `gradient` (derived backward graphs),
`reference` (the definition, evaluated), `program` (compiled), `folding` (rewritten for inference), `onednn`, `mkl` and
`native` (how); `vectors` is arithmetic outside of graphs.
"""

from kernels.config import default_threads, instruction_set, native_library
from kernels.gradient import differentiate
from kernels.graph import Graph, Op, RowGradient, Spec, Value
from kernels.program import Program, compile_graph
from kernels.providers import gemm_provider, requested_gemm, show_config
from kernels.reference import evaluate
from kernels.version import __version__

__all__ = [
    "Graph",
    "Op",
    "Program",
    "RowGradient",
    "Spec",
    "Value",
    "__version__",
    "compile_graph",
    "default_threads",
    "differentiate",
    "evaluate",
    "gemm_provider",
    "instruction_set",
    "native_library",
    "requested_gemm",
    "show_config",
]
