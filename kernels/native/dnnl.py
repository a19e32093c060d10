"""oneDNN's C API, typed once: constants, handles that free themselves, one place for statuses."""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Callable, Sequence
from ctypes import POINTER, byref, c_char_p, c_float, c_int, c_int64, c_size_t, c_uint, c_void_p
from typing import Any

from kernels.errors import UnsupportedError
from kernels.native.loader import LibraryNotFound, open_library
from kernels.native.threads import steer_threads

CURE = (
    "Install it with: pip install onednn-cpu-gomp (x86-64 Linux; it needs Debian's libgomp1), "
    "or name a libdnnl 3.x in NNFRAMES_DNNL."
)
# oneDNN has no int64; only numpy steps touch such tensors, and f64 has their size.
TYPES = {"float32": 3, "int32": 4, "uint8": 6, "int64": 7}
ANY, FORWARD_TRAINING, FORWARD_INFERENCE, BACKWARD, BACKWARD_DATA = 1, 64, 96, 128, 160
USE_GLOBAL_STATISTICS, USE_SCALE, USE_SHIFT = 1, 2, 4
UNIMPLEMENTED = 3
STATUS = {
    1: "out of memory",
    2: "invalid arguments",
    3: "unimplemented",
    4: "last implementation reached",
    5: "runtime error",
    6: "not required",
}
QUERY = {
    "src": 129,
    "diff_src": 130,
    "weights": 131,
    "diff_weights": 132,
    "dst": 133,
    "diff_dst": 134,
    "workspace": 135,
}
QUERY_IMPLEMENTATION, QUERY_SCRATCHPAD, QUERY_EXECUTE_ARGUMENT = 8, 136, 255
SRC, SRC_1, DST, WEIGHTS, BIAS, MEAN, VARIANCE, SCALE, SHIFT, WORKSPACE, SCRATCHPAD = (
    1, 2, 17, 33, 41, 49, 50, 51, 52, 64, 80,
)  # fmt: skip
DIFF_SRC, DIFF_DST, DIFF_WEIGHTS, DIFF_BIAS, DIFF_SCALE, DIFF_SHIFT, MULTIPLE_SRC = 129, 145, 161, 169, 255, 256, 1024
ATTRIBUTE_SCALES = 4096  # combined with the argument that is scaled
CONVOLUTION_AUTO, LRN_ACROSS_CHANNELS, SOFTMAX_ACCURATE, SOFTMAX_LOG = 3, 0xAFF, 0x30000, 0x30001
POOLING = {"max": 0x1FF, "avg_include": 0x2FF, "avg_exclude": 0x3FF}
BINARY = {
    "add": 0x1FFF0,
    "multiply": 0x1FFF1,
    "maximum": 0x1FFF2,
    "minimum": 0x1FFF3,
    "divide": 0x1FFF4,
    "subtract": 0x1FFF5,
}
REDUCTION = {"max": 0x2FFF2, "min": 0x2FFF3, "sum": 0x2FFF4, "mean": 0x2FFF6}

P, I, F, D, PP = c_void_p, c_int, c_float, c_void_p, POINTER(c_void_p)  # noqa: E741 - one letter a type
_SIGNATURES: dict[str, list[Any]] = {
    "engine_create": [PP, I, c_size_t],
    "stream_create": [PP, P, c_uint],
    "memory_desc_create_with_strides": [PP, I, D, I, D],
    "memory_desc_create_with_tag": [PP, I, D, I, I],
    "memory_desc_create_submemory": [PP, P, D, D],
    "memory_desc_reshape": [PP, P, I, D],
    "memory_desc_permute_axes": [PP, P, D],
    "memory_desc_clone": [PP, P],
    "memory_desc_destroy": [P],
    "memory_create": [PP, P, P, P],
    "memory_set_data_handle": [P, P],
    "memory_destroy": [P],
    "primitive_create": [PP, P],
    "primitive_destroy": [P],
    "primitive_execute": [P, P, I, P],
    "primitive_desc_query": [P, I, I, P],
    "primitive_desc_destroy": [P],
    "primitive_attr_create": [PP],
    "primitive_attr_destroy": [P],
    "primitive_attr_set_scratchpad_mode": [P, I],
    "primitive_attr_set_post_ops": [P, P],
    "primitive_attr_set_scales_mask": [P, I, I],
    "post_ops_create": [PP],
    "post_ops_destroy": [P],
    "post_ops_append_eltwise": [P, I, F, F],
    "post_ops_append_sum": [P, F, I, I],
    "reorder_primitive_desc_create": [PP, P, P, P, P, P],
    "concat_primitive_desc_create": [PP, P, P, I, I, PP, P],
    "sum_primitive_desc_create": [PP, P, P, I, POINTER(F), PP, P],
    "binary_primitive_desc_create": [PP, P, I, P, P, P, P],
    "convolution_forward_primitive_desc_create": [PP, P, I, I, P, P, P, P, D, D, D, D, P],
    "convolution_backward_data_primitive_desc_create": [PP, P, I, P, P, P, D, D, D, D, P, P],
    "convolution_backward_weights_primitive_desc_create": [PP, P, I, P, P, P, P, D, D, D, D, P, P],
    "eltwise_forward_primitive_desc_create": [PP, P, I, I, P, P, F, F, P],
    "eltwise_backward_primitive_desc_create": [PP, P, I, P, P, P, F, F, P, P],
    "softmax_forward_primitive_desc_create": [PP, P, I, I, P, P, I, P],
    "softmax_backward_primitive_desc_create": [PP, P, I, P, P, P, I, P, P],
    "pooling_forward_primitive_desc_create": [PP, P, I, I, P, P, D, D, D, D, D, P],
    "pooling_backward_primitive_desc_create": [PP, P, I, P, P, D, D, D, D, D, P, P],
    "lrn_forward_primitive_desc_create": [PP, P, I, I, P, P, c_int64, F, F, F, P],
    "lrn_backward_primitive_desc_create": [PP, P, I, P, P, P, c_int64, F, F, F, P, P],
    "batch_normalization_forward_primitive_desc_create": [PP, P, I, P, P, F, c_uint, P],
    "batch_normalization_backward_primitive_desc_create": [PP, P, I, P, P, P, F, c_uint, P, P],
    "inner_product_forward_primitive_desc_create": [PP, P, I, P, P, P, P, P],
    "inner_product_backward_data_primitive_desc_create": [PP, P, P, P, P, P, P],
    "inner_product_backward_weights_primitive_desc_create": [PP, P, P, P, P, P, P, P],
    "matmul_primitive_desc_create": [PP, P, P, P, P, P, P],
    "reduction_primitive_desc_create": [PP, P, I, P, P, F, F, P],
    "set_max_cpu_isa": [I],
    "set_primitive_cache_capacity": [I],
}


class DnnlError(RuntimeError):
    """A oneDNN call failed; says which call and why."""


class Version(ctypes.Structure):
    """`dnnl_version_t`."""

    _fields_ = (
        ("major", c_int),
        ("minor", c_int),
        ("patch", c_int),
        ("hash", c_char_p),
        ("cpu_runtime", c_uint),
        ("gpu_runtime", c_uint),
    )


class Argument(ctypes.Structure):
    """One argument of `dnnl_primitive_execute`."""

    _fields_ = (("kind", c_int), ("memory", c_void_p))


class Dnnl:
    """The opened library with one CPU engine and one stream."""

    def __init__(self) -> None:
        self.symbols = open_library(
            "oneDNN",
            sonames=["libdnnl.so.3"],
            symbol="dnnl_version",
            variable="NNFRAMES_DNNL",
            distribution="onednn-cpu-gomp",
            cure=CURE,
        )
        self.version = self._read_version()
        for name, arguments in _SIGNATURES.items():
            function = getattr(self.symbols, f"dnnl_{name}")
            function.argtypes, function.restype = arguments, c_int
        self.symbols.dnnl_primitive_desc_query_md.argtypes = [P, I, I]
        self.symbols.dnnl_primitive_desc_query_md.restype = P
        self.symbols.dnnl_memory_desc_get_size.argtypes = [P]
        self.symbols.dnnl_memory_desc_get_size.restype = c_size_t
        self.symbols.dnnl_memory_desc_equal.argtypes = [P, P]
        self.symbols.dnnl_get_effective_cpu_isa.restype = c_int
        self.symbols.omp_set_num_threads.argtypes, self.symbols.omp_set_num_threads.restype = [c_int], None
        steer_threads(self.symbols.omp_set_num_threads)
        self.engine = self.create("engine_create", 1, 0)
        self.stream = self.create("stream_create", self.engine, 1)

    def create(self, name: str, *arguments: Any) -> int:
        """Call a function whose first argument is the handle that it makes; returns the handle."""
        handle = c_void_p()
        self.call(name, byref(handle), *arguments)
        return int(handle.value or 0)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function and raise on a bad status: `UnsupportedError` where oneDNN has no implementation."""
        status = getattr(self.symbols, f"dnnl_{name}")(*arguments)
        if status == UNIMPLEMENTED:
            raise UnsupportedError(f"dnnl_{name}: no implementation for these shapes.")
        if status:
            raise DnnlError(f"dnnl_{name} failed: {STATUS.get(status, status)}.")

    def text(self, descriptor: int, what: int) -> str:
        """A property of a primitive descriptor that is a text."""
        found = c_char_p()
        self.call("primitive_desc_query", descriptor, what, 0, byref(found))
        return (found.value or b"").decode()

    def prepared(self, primitive: int, arguments: Sequence[tuple[int, int]]) -> Callable[[], int]:
        """The execution of a primitive on (argument, memory object) pairs, as a function that returns the status."""
        packed = (Argument * len(arguments))(*(Argument(*pair) for pair in arguments))
        call = functools.partial(
            self.symbols.dnnl_primitive_execute,
            c_void_p(primitive),
            c_void_p(self.stream),
            len(arguments),
            ctypes.cast(packed, c_void_p),  # keeps the array alive
        )
        return call

    def _read_version(self) -> str:
        self.symbols.dnnl_version.restype = POINTER(Version)
        version = self.symbols.dnnl_version().contents
        if version.major != 3:
            raise LibraryNotFound(
                f"oneDNN 3.x is needed, found {version.major}.{version.minor}.{version.patch}. {CURE}"
            )
        return f"{version.major}.{version.minor}.{version.patch}"


@functools.cache
def dnnl() -> Dnnl:
    """The library, opened on first use. Raises `LibraryNotFound`."""
    return Dnnl()


def dims(values: Sequence[int]) -> ctypes.Array:
    """A `dnnl_dims_t`."""
    return (c_int64 * 12)(*values)


def integers(values: Sequence[int]) -> ctypes.Array:
    """An array of C ints with room for every dimension."""
    return (c_int * 12)(*values)


def floats(values: Sequence[float]) -> ctypes.Array:
    """An array of C floats."""
    return (c_float * len(values))(*values)


def pointers(values: Sequence[int]) -> ctypes.Array:
    """An array of handles."""
    return (c_void_p * len(values))(*values)


class Handle:
    """A oneDNN object that is destroyed with its last reference."""

    __slots__ = ("destroy", "value")

    def __init__(self, value: int, destroy: Callable[[int], Any]) -> None:
        self.value = value
        self.destroy = destroy

    def __del__(self) -> None:
        self.destroy(self.value)
