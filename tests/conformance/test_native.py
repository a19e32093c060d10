"""Compiled programs against the numpy reference, over the cases of ops_table.py."""

from __future__ import annotations

import numpy as np
import pytest

from kernels import compile_graph
from kernels.graph import RowGradient, Value
from kernels.reference import evaluate
from tests.conformance.ops_table import CASES, Case, build


def compare(outputs: list[Value], feeds: dict[str, np.ndarray], case: Case) -> None:
    """Run a compiled program twice (the second run must not see the first) and compare both with the reference."""
    expected = evaluate(outputs, feeds)
    program = compile_graph(outputs, threads=1)
    for _ in range(2):
        results = program.run(feeds)
        assert len(results) == len(expected)
        for value, ours, theirs in zip(outputs, results, expected, strict=True):
            assert (ours.shape, str(ours.dtype)) == (value.shape, value.dtype)
            np.testing.assert_allclose(ours, theirs, rtol=case.rtol, atol=case.atol)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_forward_agrees_with_the_reference(case: Case) -> None:
    built = build(case)
    compare(list(built.outputs), built.feeds, case)


@pytest.mark.parametrize("case", [case for case in CASES if any(f.gradient for f in case.feeds)], ids=str)
def test_gradients_agree_with_the_reference(case: Case) -> None:
    built = build(case)
    wanted = list(built.outputs)
    for gradient in built.gradients.values():
        if isinstance(gradient, RowGradient):
            wanted.extend(gradient)
        elif gradient is not None:
            wanted.append(gradient)
    compare(wanted, built.feeds, case)
