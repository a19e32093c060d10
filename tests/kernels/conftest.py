"""What tests of the engine need: the native libraries, or a reason to skip."""

from __future__ import annotations

import warnings

import pytest

from kernels import compile_graph
from kernels.config import gemm_library, native_library
from kernels.errors import NativeLibraryWarning
from kernels.native.dnnl import Dnnl
from kernels.native.mkl import Mkl
from kernels.program import ReferenceProgram
from tests.kernels.programs import Compile


@pytest.fixture
def native() -> Dnnl:
    """The opened oneDNN."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NativeLibraryWarning)
        library = native_library()
    if library is None:
        pytest.skip("oneDNN is not here")
    return library


@pytest.fixture
def mkl(native: Dnnl) -> Mkl:
    """The opened MKL."""
    library = gemm_library()
    if isinstance(library, str):
        pytest.skip(library)
    return library


@pytest.fixture(params=["reference", "onednn", "mkl"])
def compiled(request: pytest.FixtureRequest) -> Compile:
    """`compile_graph` for each way to run."""
    if request.param == "reference":
        return lambda outputs, **_: ReferenceProgram(outputs)
    request.getfixturevalue("native" if request.param == "onednn" else "mkl")
    return lambda outputs, **options: compile_graph(outputs, gemm=request.param, **options)
