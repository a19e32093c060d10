"""PyTorch's side of the engine suite: the same networks, written as its users write them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from tests.bench.clock import rate_of

INCEPTION = {
    "3a": (192, 64, 96, 128, 16, 32, 32),
    "3b": (256, 128, 128, 192, 32, 96, 64),
    "4a": (480, 192, 96, 208, 16, 48, 64),
    "4b": (512, 160, 112, 224, 24, 64, 64),
    "4c": (512, 128, 128, 256, 24, 64, 64),
    "4d": (512, 112, 144, 288, 32, 64, 64),
    "4e": (528, 256, 160, 320, 32, 128, 128),
    "5a": (832, 256, 160, 320, 32, 128, 128),
    "5b": (832, 384, 192, 384, 48, 128, 128),
}


def lenet() -> nn.Module:
    """LeNet-5 with the head 192-100-10."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 12, 5),
        nn.Tanh(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(192, 100),
        nn.Tanh(),
        nn.Linear(100, 10),
        nn.LogSoftmax(1),
    )


def mlp() -> nn.Module:
    """784-512-256-10."""
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 256), nn.ReLU(), nn.Linear(256, 10), nn.LogSoftmax(1)
    )


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0) -> nn.Module:
    """A convolution and ReLU in place."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding), nn.ReLU(inplace=True))


class Inception(nn.Module):
    """One module of GoogLeNet."""

    def __init__(self, inputs: int, one: int, r3: int, three: int, r5: int, five: int, pool: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [
                convolution(inputs, one, 1),
                nn.Sequential(convolution(inputs, r3, 1), convolution(r3, three, 3, padding=1)),
                nn.Sequential(convolution(inputs, r5, 1), convolution(r5, five, 5, padding=2)),
                nn.Sequential(nn.MaxPool2d(3, 1, 1), convolution(inputs, pool, 1)),
            ]
        )

    def forward(self, x: Tensor) -> Tensor:
        """Branches side by side."""
        return torch.cat([branch(x) for branch in self.branches], 1)


def inception() -> nn.Module:
    """GoogLeNet without its auxiliary classifiers."""
    pool = lambda: nn.MaxPool2d(3, 2, ceil_mode=True)  # noqa: E731
    blocks: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=convolution(3, 64, 7, 2, 3),
        pool1=pool(),
        norm1=nn.LocalResponseNorm(5),
        reduce2=convolution(64, 64, 1),
        conv2=convolution(64, 192, 3, padding=1),
        norm2=nn.LocalResponseNorm(5),
        pool2=pool(),
    )
    for name, sizes in INCEPTION.items():
        blocks[name] = Inception(*sizes)
        if name in ("3b", "4e"):
            blocks[f"pool{name}"] = pool()
    blocks["head"] = nn.Sequential(
        nn.AvgPool2d(7, 1), nn.Dropout(0.4), nn.Flatten(), nn.Linear(1024, 1000), nn.LogSoftmax(1)
    )
    return nn.Sequential(blocks)


NETWORKS = {"lenet": (lenet, (1, 28, 28)), "mlp": (mlp, (784,)), "inception": (inception, (3, 224, 224))}


def prepare(network: str, mode: str, batch: int, threads: int, layout: str) -> Callable[[], float]:
    """A training step or an inference of one batch in eager mode."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    make, shape = NETWORKS[network]
    model = make()
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.standard_normal((batch, *shape), np.float32))
    y = torch.from_numpy(rng.integers(0, 10, batch))
    if layout == "channels_last":
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    if mode == "infer":
        model.eval()

        def infer() -> None:
            with torch.inference_mode():
                model(x)

        return rate_of(infer, batch)
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    criterion = nn.NLLLoss()

    def step() -> None:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()

    return rate_of(step, batch)
