"""Suite `engine`: training and inference of whole networks against PyTorch in eager mode, with the same threads."""

from __future__ import annotations

from kernels import default_threads
from tests.bench.contest import Contender, Row

# network: (batch, ratio wanted in training, ratio wanted in inference)
NETWORKS = {"lenet": (128, 2.0, 1.8), "mlp": (256, 1.4, 1.8), "inception": (32, 1.8, 1.8)}


# What these nets compute is products and convolutions: 1 is where an engine would be that did nothing else.
BOUND, PRODUCT = {"mlp": (256, 0.7), "vgg": (64, 0.8)}, 2048


def rows() -> list[Row]:
    """Training and inference of each network; how near to the processor's own limit that is."""
    threads = default_threads()
    found = [_bound(network, batch, threads, wanted) for network, (batch, wanted) in BOUND.items()]
    for network, (batch, training, inference) in NETWORKS.items():
        for mode, wanted in (("train", training), ("infer", inference)):
            arguments = {"network": network, "mode": mode, "batch": batch, "threads": threads}
            layouts = ("nchw", "channels_last") if network != "mlp" else ("nchw",)
            ours = Contender("nnframes", "tests.bench.engine_ours", "prepare", arguments)
            peers = tuple(
                Contender(f"torch {layout}", "tests.bench.engine_torch", "prepare", {**arguments, "layout": layout})
                for layout in layouts
            )
            found.append(Row(f"{network} {mode} batch {batch}", "rows/s", ours, peers, wanted))
    return found


def _bound(network: str, batch: int, threads: int, wanted: float) -> Row:
    module = "tests.bench.arithmetic"
    arguments = {"network": network, "batch": batch, "threads": threads}
    peers = tuple(
        Contender(
            f"{gemm} matrix product", module, "prepare_product", {"size": PRODUCT, "threads": threads, "gemm": gemm}
        )
        for gemm in ("onednn", "mkl")
    )
    ours = Contender("nnframes", module, "prepare_training", arguments)
    return Row(f"{network} train, of the processor", "GFLOP/s", ours, peers, wanted)
