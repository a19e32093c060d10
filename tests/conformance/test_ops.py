"""Every op over the cases of ops_table.py: shapes, gradients by finite differences, PyTorch, errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from kernels import ops
from kernels.errors import ShapeError
from kernels.graph import FLOAT32, Graph, RowGradient, Value, needed
from kernels.reference import evaluate, run_node
from tests.conformance.ops_table import CASES, Built, Case, build

SAMPLES = 40  # elements of each leaf that are moved one by one


def all_values(built: Built) -> list[Value]:
    found: list[Value] = list(built.outputs)
    for gradient in built.gradients.values():
        found.extend(gradient if isinstance(gradient, RowGradient) else [] if gradient is None else [gradient])
    return found


def in_double(feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {name: array.astype(np.float64) if array.dtype == np.float32 else array for name, array in feeds.items()}


def gradient_arrays(built: Built, feeds: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Dense gradients by leaf name; zeros where there is none."""
    found = {}
    for leaf, gradient in built.gradients.items():
        dense = np.zeros(leaf.shape)
        if isinstance(gradient, RowGradient):
            np.add.at(dense, *evaluate(gradient, feeds))
        elif gradient is not None:
            dense = evaluate([gradient], feeds)[0]
        found[leaf.node.attrs["name"]] = dense
    return found


def seeded_sum(built: Built, feeds: dict[str, np.ndarray]) -> float:
    outputs = evaluate(list(built.seeds), feeds)
    return sum(
        float(np.sum(array * feeds[seed.node.attrs["name"]]))
        for array, seed in zip(outputs, built.seeds.values(), strict=True)
    )


def test_every_op_has_a_case() -> None:
    reached = {node.op.name for case in CASES for node in needed(all_values(build(case)))}
    assert sorted(set(ops.OPS) - reached) == []


def test_every_unary_kind_has_a_case() -> None:
    nodes = [node for case in CASES for node in build(case).graph.nodes]
    assert {node.attrs["kind"] for node in nodes if node.op.name == "unary"} == set(ops.UNARY)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_shape_rule_tells_what_the_reference_gives(case: Case) -> None:
    built = build(case)
    known: dict[Value, np.ndarray] = {}
    for node in needed(all_values(built)):
        results = run_node(node, known, built.feeds)
        assert [(a.shape, str(a.dtype)) for a in results] == [(v.shape, v.dtype) for v in node.outputs], node.op.name
        known.update(zip(node.outputs, results, strict=True))


@pytest.mark.parametrize("case", [case for case in CASES if any(f.gradient for f in case.feeds)], ids=str)
def test_gradient_agrees_with_finite_differences(case: Case) -> None:
    built = build(case)
    feeds = in_double(built.feeds)
    rng = np.random.default_rng(1)
    step = 1e-6
    for name, gradient in gradient_arrays(built, feeds).items():
        assert gradient.dtype == np.float64
        centre = feeds[name]
        moves = [rng.standard_normal(centre.shape)]
        for element in rng.permutation(centre.size)[:SAMPLES]:
            moves.append(np.zeros(centre.shape))
            moves[-1].flat[element] = 1
        for move in moves:
            ends = [seeded_sum(built, {**feeds, name: centre + sign * step * move}) for sign in (1, -1)]
            numeric = (ends[0] - ends[1]) / (2 * step)
            np.testing.assert_allclose(np.sum(gradient * move), numeric, rtol=1e-5, atol=1e-6, err_msg=name)


# ---------------------------------------------------------------- PyTorch


def torch_table() -> dict[str, Callable[..., Any]]:
    """The table of torch_table.py, if PyTorch is here."""
    pytest.importorskip("torch", reason="PyTorch is a yardstick and not a dependency")
    from tests.conformance.torch_table import TORCH

    return TORCH


NOT_IN_TORCH = {
    "dropout": "its random numbers are ours",
    "non_max_suppression": "is in torchvision; checked by hand in tests/kernels/ops/test_host.py",
    "slice_backward": "has no public counterpart; it is the gradient of slice_, which is compared",
}


def test_every_function_is_compared_with_torch_or_says_why_not() -> None:
    assert {case.function for case in CASES} == set(torch_table()) | set(NOT_IN_TORCH)


@pytest.mark.parametrize("case", [case for case in CASES if case.function not in NOT_IN_TORCH], ids=str)
def test_agrees_with_torch(case: Case) -> None:
    torch = pytest.importorskip("torch", reason="PyTorch is a yardstick and not a dependency")
    built = build(case)
    feeds = in_double(built.feeds)
    tensors = {}
    for leaf in built.leaves:
        tensor = torch.from_numpy(feeds[leaf.node.attrs["name"]].copy())
        tensor = tensor if tensor.is_floating_point() else tensor.long()
        tensors[leaf.node.attrs["name"]] = tensor.requires_grad_(leaf in built.gradients)
    result = torch_table()[case.function](*tensors.values(), **case.attrs)
    results = result if isinstance(result, (tuple, list)) else (result,)
    for ours, theirs in zip(evaluate(built.outputs, feeds), results, strict=True):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=1e-9, atol=1e-9)
    gradients = gradient_arrays(built, feeds)
    if not gradients or not any(r.requires_grad for r in results):
        return
    total = sum(
        (torch.from_numpy(feeds[built.seeds[output].node.attrs["name"]]) * theirs).sum()
        for output, theirs in zip(built.outputs, results, strict=True)
    )
    expected = torch.autograd.grad(total, [tensors[name] for name in gradients], allow_unused=True)
    for (name, ours), theirs in zip(gradients.items(), expected, strict=True):
        theirs = np.zeros(ours.shape) if theirs is None else theirs.numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-9, err_msg=name)


# ---------------------------------------------------------------- wrong shapes

WINDOW = {"kernel": (2, 2), "strides": (2, 2)}

# function, shapes (a pair with a type where it is not float32), attributes, what the message says
WRONG: list[tuple[str, list[Any], dict[str, Any], str]] = [
    ("linear", [(32, 10), (10, 784)], {}, "expects (batch, 784), received (32, 10)."),
    ("linear", [(2, 3, 784), (10, 784)], {}, "expects (batch, 784), received (2, 3, 784)."),
    ("linear", [(32, 784), (10, 784), (9,)], {}, "expects a bias of shape (10,), received (9,)."),
    ("linear", [((32, 784), "int32"), (10, 784)], {}, "expects an input of type float32, received int32."),
    ("matmul", [(2, 3), (4, 5)], {}, "expects equal inner sizes, received (2, 3) x (4, 5)."),
    ("matmul", [(3,), (3, 5)], {}, "expects matrices of rank 2 or more, received (3,) and (3, 5)."),
    ("convolution", [(8, 1, 28, 28), (6, 3, 5, 5)], {}, "expects (batch, 3, height, width), received (8, 1, 28, 28)."),
    (
        "convolution",
        [(8, 3), (6, 3)],
        {},
        "expects (batch, channels, *spatial) with 1 to 3 spatial axes, received (8, 3).",
    ),
    (
        "convolution",
        [(8, 3, 4, 4), (6, 3, 5, 5)],
        {},
        "expects a padded size of at least the kernel's extent 5, received 4.",
    ),
    (
        "convolution",
        [(8, 3, 9, 9), (6, 3, 5)],
        {},
        "expects weights (out, in / groups, *kernel) of rank 4, received (6, 3, 5).",
    ),
    ("convolution", [(8, 3, 9, 9), (4, 1, 3, 3)], {"groups": 3}, "output channels divisible by groups=3, received 4."),
    ("convolution", [(8, 3, 9, 9), (4, 3, 3, 3)], {"strides": (0, 1)}, "expects strides >= 1, received (0, 1)."),
    (
        "convolution",
        [(8, 3, 9, 9), (4, 3, 3, 3)],
        {"strides": (1,)},
        "2 numbers of strides for 2 spatial axes, received (1,).",
    ),
    (
        "convolution_backward_data",
        [(2, 6, 4, 4), (6, 3, 3, 3)],
        {"input_shape": (2, 3, 9, 9)},
        "shape (2, 6, 7, 7), received (2, 6, 4, 4).",
    ),
    ("max_pool", [(8, 3)], WINDOW, "expects (batch, channels, *spatial) with 1 to 3 spatial axes, received (8, 3)."),
    ("max_pool", [(8, 3, 9, 9)], {**WINDOW, "padding": (2, 0)}, "expects padding below the kernel size 2, received 2."),
    (
        "avg_pool",
        [(8, 3, 4, 4)],
        {**WINDOW, "padding": ((0, 0), (0, 3))},
        "expects a last window that touches the input",
    ),
    ("batch_norm", [(8, 3, 5, 5), (4,), (3,)], {}, "expects gamma of shape (3,), received (4,)."),
    ("batch_norm_inference", [(8, 3), (3,), (3,), (3,), (1,)], {}, "expects variance of shape (3,), received (1,)."),
    ("lrn", [(8, 3)], {}, "expects (batch, channels, *spatial), received (8, 3)."),
    ("softmax", [(8, 3)], {"axis": 2}, "expects an axis in [-2, 2), received 2."),
    ("nll", [(8, 10), ((7,), "int32")], {}, "expects a target of shape (8,), received (7,)."),
    ("nll", [(8, 10), (8,)], {}, "expects a target of type int32, received float32."),
    ("add", [(2, 3), (4,)], {}, "expects shapes that broadcast to each other, received (2, 3) and (4,)."),
    ("add", [(2, 3), ((2, 3), "int32")], {}, "expects two inputs of one type, received float32 and int32."),
    ("reshape", [(2, 3, 4)], {"shape": (5, -1)}, "received (2, 3, 4)."),
    ("transpose", [(2, 3)], {"permutation": (0, 0)}, "expects a permutation of (0, 1) for (2, 3), received (0, 0)."),
    ("slice_", [(2, 3)], {"starts": (0, 0), "stops": (2, 4)}, "expects bounds inside (2, 3)"),
    ("slice_", [(2, 3)], {"starts": (0, 2), "stops": (2, 1)}, "expects a slice that is not empty and inside (2, 3)"),
    ("split", [(2, 9)], {"sizes": (4, 4), "axis": 1}, "expects sizes that add up to 9, received (4, 4)."),
    ("squeeze", [(2, 3)], {"axis": 1}, "expects size 1 on axis 1, received (2, 3)."),
    ("pad", [(2, 3)], {"padding": ((-1, 0), (0, 0))}, "expects padding >= 0"),
    ("broadcast_to", [(2, 3)], {"shape": (2, 4)}, "received (2, 3) and (2, 4)."),
    ("reduce", [(2, 3)], {"kind": "sum", "axes": 2}, "expects an axis in [-2, 2), received 2."),
    ("reduce", [(2, 3)], {"kind": "sum", "axes": (1, -1)}, "expects different axes of (2, 3), received (1, 1)."),
    ("sum_to", [(2, 3)], {"shape": (4,)}, "received (2, 3) and (4,)."),
    ("gather_rows", [(7, 3), (4,)], {}, "expects ids of type int32, received float32."),
    ("scatter_rows", [((4,), "int32"), (3, 2)], {"rows": 5}, "expects values (4, dim), received (3, 2)."),
    ("unary", [((3,), "int32")], {"kind": "tanh"}, "expects an input of type float32, received int32."),
    (
        "non_max_suppression",
        [(9, 5), (9,)],
        {"iou_threshold": 0.5, "score_threshold": 0, "max_output": 3},
        "expects boxes (n, 4), received (9, 5).",
    ),
]


@pytest.mark.parametrize(("function", "shapes", "attrs", "message"), WRONG)
def test_wrong_shape_is_named(function: str, shapes: list[Any], attrs: dict[str, Any], message: str) -> None:
    graph = Graph()
    specs = [shape if shape and isinstance(shape[0], tuple) else (shape, FLOAT32) for shape in shapes]
    leaves = [graph.input(f"x{i}", *spec) for i, spec in enumerate(specs)]
    with pytest.raises(ShapeError) as error:
        getattr(ops, function)(*leaves, **attrs)
    assert message in str(error.value)
