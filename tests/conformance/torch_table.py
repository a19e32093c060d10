"""The functions of kernels.ops written with PyTorch, on tensors: a second opinion on values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch.nn import functional


def _spatial(x: Any) -> int:
    return x.ndim - 2


def _padded(x: Any, padding: Any, value: float = 0.0) -> Any:
    flat = [number for pair in reversed(padding) for number in pair]
    return functional.pad(x, flat, value=value)


def _named(name: str, x: Any) -> Callable[..., Any]:
    return getattr(functional, f"{name}{_spatial(x)}d")


def _torch_convolution(
    x: Any, w: Any, b: Any = None, strides: Any = 1, padding: Any = (), dilation: Any = 1, groups: int = 1
) -> Any:
    return _named("conv", x)(_padded(x, padding), w, b, stride=strides, dilation=dilation, groups=groups)


def _torch_convolution_backward_data(dy: Any, w: Any, input_shape: Any, **attrs: Any) -> Any:
    x = torch.zeros(input_shape, dtype=dy.dtype, requires_grad=True)
    y = _torch_convolution(x, w, **attrs)
    return torch.autograd.grad(y, x, dy, create_graph=True)[0]


def _torch_max_pool(x: Any, kernel: Any, strides: Any = None, padding: Any = ()) -> Any:
    return _named("max_pool", x)(_padded(x, padding, float("-inf")), kernel, strides)


def _torch_avg_pool(x: Any, include_padding: bool, kernel: Any, strides: Any = None, padding: Any = ()) -> Any:
    pool = _named("avg_pool", x)
    mean = pool(_padded(x, padding), kernel, strides)
    return mean if include_padding else mean / pool(_padded(torch.ones_like(x), padding), kernel, strides)


def _torch_batch_norm(x: Any, gamma: Any, beta: Any, eps: float = 1e-5) -> Any:
    axes = [0, *range(2, x.ndim)]
    y = functional.batch_norm(x, None, None, gamma, beta, training=True, eps=eps)
    return y, x.mean(axes), x.var(axes, correction=0)


def _torch_batch_norm_inference(x: Any, gamma: Any, beta: Any, mean: Any, variance: Any) -> Any:
    # torch gives no gradients of the statistics
    spread = [value.reshape(-1, *(1,) * _spatial(x)) for value in (gamma, beta, mean, variance)]
    return spread[0] * (x - spread[2]) / (spread[3] + 1e-5).sqrt() + spread[1]


def _torch_nll(x: Any, target: Any, weights: Any = None, padding: int | None = None) -> Any:
    ignore = -100 if padding is None else padding
    loss = functional.nll_loss(x, target, weights, ignore_index=ignore, reduction="sum")
    kept = target[target != ignore]
    return loss.reshape(1), (torch.ones(len(kept)) if weights is None else weights[kept]).sum().reshape(1)


def _torch_reduce(x: Any, kind: str, axes: Any, keepdims: bool) -> Any:
    reduction = {"max": torch.amax, "mean": torch.mean, "min": torch.amin, "sum": torch.sum}[kind]
    return reduction(x, dim=tuple(range(x.ndim)) if axes is None else axes, keepdim=keepdims)


def _torch_scatter(ids: Any, values: Any, rows: int) -> Any:
    return torch.zeros(rows, values.shape[1], dtype=values.dtype).index_add(0, ids, values)


def _torch_pad(x: Any, padding: Any, value: float = 0.0) -> Any:
    return _padded(x, [(p, p) if isinstance(p, int) else p for p in padding], value)


def _torch_slice(x: Any, starts: Any, stops: Any, steps: Any = ()) -> Any:
    for axis, bounds in enumerate(zip(starts, stops, steps, strict=True)):
        x = x.index_select(axis, torch.tensor(list(range(x.shape[axis]))[slice(*bounds)]))
    return x


def _torch_scan(*tensors: Any, body: Any, counts: Any, length: int | None = None) -> Any:
    if body.__name__ == "elman":
        h, xs, w, u = tensors
        steps = []
        for x in xs:
            h = torch.tanh(x @ w.T + h @ u.T)
            steps.append(h)
        return h, torch.stack(steps)
    a, factor, shift = tensors
    steps = []
    for _ in range(length or 0):
        steps.append((a * factor) ** 2)
        a = a * factor + shift
    return a, factor, torch.stack(steps)


UNARY = ("exp", "log", "negative", "sigmoid", "sign", "sqrt", "square", "tanh")
BINARY = ("add", "subtract", "multiply", "divide", "maximum", "minimum")


def _transposed(x: Any, wanted: bool) -> Any:
    return x.swapaxes(-1, -2) if wanted else x


TORCH: dict[str, Callable[..., Any]] = {
    **{name: getattr(torch, name) for name in (*UNARY, *BINARY)},
    "abs_": torch.abs,
    "add_n": lambda *xs: sum(xs),
    "affine": lambda x, alpha, beta: alpha * x + beta,
    "avg_pool": _torch_avg_pool,
    "batch_norm": _torch_batch_norm,
    "batch_norm_inference": _torch_batch_norm_inference,
    "broadcast_to": lambda x, shape: x.expand(shape),
    "cast": lambda x, dtype: x.trunc() if dtype == "int32" else x.double(),
    "clip": lambda x, minimum, maximum: torch.clip(x, minimum, maximum),
    "concat": lambda *xs, axis: torch.cat(xs, axis),
    "convolution": _torch_convolution,
    "convolution_backward_data": _torch_convolution_backward_data,
    "elu": functional.elu,
    "equal": lambda a, b: (a == b).double(),
    "expand_dims": torch.unsqueeze,
    "gather_rows": lambda table, ids: table[ids],
    "row_ids": lambda ids, rows: ids,
    "gelu_erf": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "greater": lambda a, b: (a > b).double(),
    "hard_shrink": lambda x, alpha: functional.hardshrink(x, alpha),
    "hard_sigmoid": lambda x: torch.clip(0.2 * x + 0.5, 0, 1),
    "less": lambda a, b: (a < b).double(),
    "linear": functional.linear,
    "linear_backward_data": torch.matmul,
    "log_sigmoid": functional.logsigmoid,
    "log_softmax": lambda x, axis: torch.log_softmax(x, axis),
    "lrn": lambda x, size, alpha, beta, k: functional.local_response_norm(x, size, alpha, beta, k),
    "matmul": lambda a, b, transpose_a, transpose_b: _transposed(a, transpose_a) @ _transposed(b, transpose_b),
    "masked": lambda x, mask, scale=1.0: x * mask * scale,
    "max_pool": _torch_max_pool,
    "narrow": lambda x, axis, start, stop: torch.narrow(x, axis, start, stop - start),
    "nll": _torch_nll,
    "pad": _torch_pad,
    "power": lambda x, exponent, scale=1.0: scale * x**exponent,
    "reduce": _torch_reduce,
    "relu": lambda x, negative_slope=0.0: functional.leaky_relu(x, negative_slope),
    "reshape": torch.reshape,
    "scan_flat": _torch_scan,
    "scatter_rows": _torch_scatter,
    "select": lambda x, axis, index: x.select(axis, index),
    "slice_": _torch_slice,
    "soft_shrink": lambda x, alpha: functional.softshrink(x, alpha),
    "soft_sign": functional.softsign,
    "softmax": lambda x, axis: torch.softmax(x, axis),
    "softplus": lambda x, alpha=1.0: functional.softplus(x, beta=alpha),
    "split": lambda x, sizes, axis: torch.split(x, sizes, axis),
    "squeeze": torch.squeeze,
    "stack": lambda *xs, axis: torch.stack(xs, axis),
    "sum_to": lambda x, shape: x.sum_to_size(shape),
    "swish": lambda x, alpha=1.0: x * torch.sigmoid(alpha * x),
    "tanh_shrink": functional.tanhshrink,
    "threshold": lambda x, limit, value: functional.threshold(x, limit, value),
    "transpose": lambda x, permutation: x.permute(permutation),
}
