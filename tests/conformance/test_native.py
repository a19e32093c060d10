"""Compiled programs against the numpy reference, over the cases of ops_table.py."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import RowGradient, Value, compile_graph, evaluate
from kernels.config import gemm_library
from kernels.graph import INPUT
from tests.conformance.ops_table import CASES, Built, Case, build


def compare(built: Built, outputs: list[Value], case: Case, fold: bool, gemm: str = "onednn") -> None:
    """Run a compiled program twice, the second time with other weights, and hold both runs against the reference."""
    program = compile_graph(outputs, threads=1, fold=fold, gemm=gemm)
    inputs = {name: built.feeds[name] for name in built.graph.leaves(INPUT)}
    for factor in (1.0, 0.5):
        leaves = {name: array * np.float32(factor) for name, array in built.feeds.items() if name not in inputs}
        program.bind(leaves)
        results = program.run(inputs)
        expected = evaluate(outputs, {**inputs, **leaves})
        assert len(results) == len(expected)
        for value, ours, theirs in zip(outputs, results, expected, strict=True):
            assert (ours.shape, str(ours.dtype)) == (value.shape, value.dtype)
            np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=case.atol)


@pytest.mark.parametrize("fold", [False, True], ids=["training", "inference"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_agrees_with_the_reference(case: Case, fold: bool) -> None:
    built = build(case)
    compare(built, list(built.outputs), case, fold)


@pytest.mark.parametrize("case", [case for case in CASES if any(f.gradient for f in case.feeds)], ids=str)
def test_gradients_agree_with_the_reference(case: Case) -> None:
    built = build(case)
    compare(built, everything(built), case, fold=False)


@pytest.mark.parametrize("case", [c for c in CASES if c.function.startswith(("linear", "matmul"))], ids=str)
def test_mkl_agrees_with_the_reference(case: Case) -> None:
    if isinstance(gemm_library(), str):
        pytest.skip("MKL is not here")
    built = build(case)
    compare(built, everything(built), case, fold=False, gemm="mkl")


def everything(built: Built) -> list[Value]:
    """Outputs and gradients."""
    wanted = list(built.outputs)
    for gradient in built.gradients.values():
        if isinstance(gradient, RowGradient):
            wanted.extend(gradient)
        elif gradient is not None:
            wanted.append(gradient)
    return wanted
