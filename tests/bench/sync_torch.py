"""PyTorch's side of the suite `sync`: TorchDistributor on this machine, DDP over gloo, as its users write it."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from pyspark.ml.torch.distributor import TorchDistributor
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from tests.bench.engine_torch import lenet
from tests.bench.pictures import SHAPES, arrays
from tests.bench.sync_ours import session

BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def vgg() -> nn.Module:
    """VGG-16 with batch normalisation for 32 x 32 images, as `nnframes.models.VggForCifar10`."""
    layers: list[nn.Module] = []
    planes = 3
    for block in BLOCKS:
        for number, outputs in enumerate(block, start=1):
            layers += [nn.Conv2d(planes, outputs, 3, padding=1), nn.BatchNorm2d(outputs, 1e-3), nn.ReLU(inplace=True)]
            if number < len(block):
                layers.append(nn.Dropout(0.3 if outputs == 64 else 0.4))
            planes = outputs
        layers.append(nn.MaxPool2d(2, ceil_mode=True))
    head = [nn.Flatten(), nn.Dropout(0.5), nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, *head, nn.Dropout(0.5), nn.Linear(512, 10), nn.LogSoftmax(1))


NETWORKS = {"lenet": lenet, "vgg": vgg}
LAYOUT = torch.channels_last
"""Nearly half as fast again for LeNet, and all the same for VGG, with one thread."""


def train(folder: str, name: str, batch: int, epochs: int) -> dict[str, Any]:
    """What each process runs: all of its rows in memory, one thread, a new order each epoch; returns the weights."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    rank, world = dist.get_rank(), dist.get_world_size()
    x, y = (torch.from_numpy(np.load(Path(folder, f"{each}.npy"), mmap_mode="r")[rank::world].copy()) for each in "xy")
    x = x.view(-1, *SHAPES[name]).contiguous(memory_format=LAYOUT)
    model = DistributedDataParallel(NETWORKS[name]().to(memory_format=LAYOUT))
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(batch // world):
            _step(model, optimizer, x[rows], y[rows])
    dist.destroy_process_group()
    return {key: value.numpy() for key, value in model.module.state_dict().items()}


def _step(model: nn.Module, optimizer: torch.optim.Optimizer, x: Tensor, y: Tensor) -> None:
    optimizer.zero_grad()
    nn.functional.nll_loss(model(x), y).backward()
    optimizer.step()


def prepare_fit(name: str, shards: int, rows: int, batch: int, epochs: int) -> Callable[[], float]:
    """Rows per second from the call of `run` to its result; the rows lie in files that are read in no time."""
    session(shards)
    folder = tempfile.TemporaryDirectory(prefix="nnframes-bench-")
    for each, array in zip("xy", arrays(name, rows), strict=True):
        np.save(Path(folder.name, each), array)
    distributor = TorchDistributor(num_processes=shards, local_mode=True, use_gpu=False)

    def measure() -> float:
        start = time.perf_counter()
        distributor.run(train, folder.name, name, batch, epochs)
        return epochs * rows / (time.perf_counter() - start)

    return measure
