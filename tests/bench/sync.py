"""Suite `sync`: what an iteration costs beside its computing, how training scales on this machine, what a kill costs.

After the rows, `simulation` shows the all-reduce between 2 to 16 simulated hosts and what follows for real clusters.
"""

from __future__ import annotations

from typing import Any

from tests.bench import network
from tests.bench.contest import ROOT, Contender, Row

OURS, PAIRS, PEER = "tests.bench.sync_ours", "tests.bench.sync_pairs", "tests.bench.sync_torch"
MEGABYTE = 250_000
"""In float32 numbers."""

ITERATION_MS, RECOVERY_SECONDS = 0.3, 5.0
EPOCHS = 5

# Spark's Python workers and torchrun's processes import functions of these modules by name.
IMPORTS = {"PYTHONPATH": ROOT, "GLOO_SOCKET_IFNAME": "lo"}


def rows() -> list[Row]:
    """Exchange, the cost of iterations in both modes, scaling, the peer, recovery."""
    return [
        _reduce("88 KB", 22_000, 400, 0.5),
        _reduce("25 MB", 25 * MEGABYTE, 20, 0.8),
        _reduce("100 MB", 100 * MEGABYTE, 8, 0.8),
        _update("momentum", "slices", "updates"),
        _update("Adam", "adam_slices", "adam_updates"),
        _wide(),
        *_hosts(),
        _group(),
        _job("no weights", 0, 1 / 1.3),
        _job("88 KB", 148, 1 / 1.3),
        _job("1 MB", 512, 0.5),
        _scaling("lenet", {"rows": 12_800, "batch": 256, "epochs": 8}),
        _scaling("vgg", {"rows": 256, "batch": 256, "epochs": 4}),
        _fit("lenet", {"rows": 25_600, "batch": 256}),
        # Few rows flatter us: a peer's fit takes longer to start. With all of them see `full`.
        _fit("vgg", {"rows": 512, "batch": 128}),
        _recovery(),
    ]


def full() -> list[Row]:
    """What takes too long for every day: all rows of VGG, for which the peer needs half an hour."""
    return [_fit("vgg", {"rows": 25_600, "batch": 128}, warms=False)]


def _reduce(name: str, size: int, repeat: int, wanted: float) -> Row:
    ours, *peers = (
        Contender(title, PAIRS, "prepare", {"work": work, "size": size, "repeat": repeat}, fresh=True)
        for title, work in (
            ("all-reduce", "reduces"),
            ("plain sockets, both ways at once", "plain"),
            ("plain sockets, in turn", "plain_in_turn"),
        )
    )
    return Row(f"all-reduce of {name}", "MB/s", ours, tuple(peers), wanted)


def _update(method: str, sliced: str, whole: str) -> Row:
    """The end of an iteration: a slice updated by each rank, or all weights by everybody."""
    ours, peer = (
        Contender(name, PAIRS, "prepare", {"work": work, "size": 25 * MEGABYTE, "repeat": 20}, fresh=True)
        for name, work in (("a slice each", sliced), ("everybody updates all", whole))
    )
    return Row(f"update of 25 MB by slices, {method}", "MB/s", ours, (peer,), 1.1)


def _wide() -> Row:
    """The whole loop of a network whose updates take a good part of it."""
    ours, peer = (
        Contender(name, PAIRS, "prepare_training", {"rows": 2560, "epochs": 3, "work": work}, fresh=True)
        for name, work in (
            ("as group mode chooses", "wide_trains_as_it_chooses"),
            ("everybody updates all", "wide_trains"),
        )
    )
    return Row("train 6 million weights, batch 128", "rows/s", ours, (peer,), 1.0)


def _hosts() -> list[Row]:
    """Sums that begin while gradients are computed, where links are slow; none where networks cannot be simulated."""
    if network.why_not() is not None:
        return []
    ours, peer = (
        Contender(
            name,
            "tests.bench.sync_hosts",
            "prepare",
            {"work": work, "gigabits": 1.0, "rows": 96, "epochs": 2},
            fresh=True,
        )
        for name, work in (("sums begin early", "inception_trains_early"), ("sums follow", "inception_trains"))
    )
    return [Row("train inception, 2 hosts on 1 GbE", "rows/s", ours, (peer,), 1.1)]


def _group() -> Row:
    ours = Contender("group mode", OURS, "prepare_group", environment=IMPORTS)
    arguments = {"milliseconds": ITERATION_MS, "size": 4, "repeat": 1000}
    allowed = Contender(
        f"allowed {ITERATION_MS} ms and a bare exchange", PAIRS, "prepare_allowed", arguments, fresh=True
    )
    return Row("group mode beside computing", "1/ms", ours, (allowed,), 1.0)


def _job(name: str, width: int, wanted: float) -> Row:
    ours = Contender("job mode", OURS, "prepare_jobs", {"width": width}, IMPORTS)
    return Row(f"job mode, {name}", "iter/s", ours, (Contender("empty iteration", OURS, "prepare_empty"),), wanted)


def _scaling(name: str, work: dict[str, Any]) -> Row:
    ours, peer = (
        Contender(f"local[{shards}]", OURS, "prepare_rate", {"name": name, "shards": shards, **work}, IMPORTS)
        for shards in (2, 1)
    )
    return Row(f"scaling, {name} batch {work['batch']}", "rows/s", ours, (peer,), 1.8)


def _fit(name: str, work: dict[str, Any], warms: bool = True) -> Row:
    arguments = {"name": name, "shards": 2, "epochs": EPOCHS, **work}
    ours, peer = (
        Contender(title, module, "prepare_fit", arguments, IMPORTS, fresh=module == PEER or not warms)
        for title, module in (("NNClassifier.fit", OURS), ("TorchDistributor", PEER))
    )
    return Row(f"fit {name}, {EPOCHS} x {work['rows']} rows", "rows/s", ours, (peer,), 2.5)


def _recovery() -> Row:
    ours = Contender("a worker killed", "tests.bench.sync_recovery", "prepare", environment=IMPORTS)
    arguments = {"rate": 1 / RECOVERY_SECONDS}
    allowed = Contender(
        f"allowed {RECOVERY_SECONDS:g} s beyond a restart", "tests.bench.footprint_ours", "prepare_allowed", arguments
    )
    return Row("recovery", "1/s", ours, (allowed,), 1.0)
