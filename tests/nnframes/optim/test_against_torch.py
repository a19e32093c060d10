from __future__ import annotations

import numpy as np
import pytest

from nnframes.optim import SGD, Adam
from tests.nnframes.optim.test_methods import numbers, run


def torch_runs() -> list:
    torch = pytest.importorskip("torch", reason="PyTorch is not installed")
    return [
        (SGD(0.1, weightdecay=0.01, momentum=0.9, dampening=0.0), torch.optim.SGD, {"momentum": 0.9}),
        (SGD(0.1, weightdecay=0.01, momentum=0.9, dampening=0.4), torch.optim.SGD, {"momentum": 0.9, "dampening": 0.4}),
        (
            SGD(0.1, weightdecay=0.01, momentum=0.9, dampening=0.0, nesterov=True),
            torch.optim.SGD,
            {"momentum": 0.9, "nesterov": True},
        ),
        (Adam(0.1), torch.optim.Adam, {}),
    ]


def test_against_pytorch():
    for method, peer, args in torch_runs():
        import torch

        weights, gradients = numbers(6)
        parameter = torch.nn.Parameter(torch.tensor(weights))
        decay = {"weight_decay": 0.01} if isinstance(method, SGD) else {}
        optimizer = peer([parameter], lr=0.1, **decay, **args)
        for gradient in gradients:
            parameter.grad = torch.tensor(gradient)
            optimizer.step()
        np.testing.assert_allclose(run(method, weights, gradients)[0], parameter.detach().numpy(), rtol=1e-4, atol=1e-5)
