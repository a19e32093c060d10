"""The all-reduce between 2 to 16 simulated hosts, a model fitted to it, and what that predicts for real clusters.

Real ranks with the product's own rendezvous, mesh and exchange run in network namespaces (`network`). One machine
cannot carry 16 links of 10 Gbit/s: rates and sizes are both divided by SCALE, so that a transfer takes as long as in
full size, and what does not depend on size (system calls, waiting for each other) stays what it is. Delay is the
machine's own, tens of microseconds, like that of a rack.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from kernels import default_threads
from nnframes.train.reduce import combine
from tests.bench import network
from tests.bench.clock import rate_of
from tests.bench.contest import Contender, Running
from tests.bench.model import Case, Model, fit

SCALE = 40
GIGABIT = 1e9 / 8
RATES = {"10 GbE": 10 * GIGABIT, "1 GbE": GIGABIT}
HOSTS = (2, 4, 8, 16)
NUMBERS = {"10 GbE": (70_000, 175_000, 640_000), "1 GbE": (70_000, 175_000)}
"""Sizes in float32 numbers: just above what goes in one round; Inception-v1 and ResNet-50 divided by SCALE."""

REPEAT = 5
UNLIMITED = 6_250_000
BATCH = 64
"""Images a node in each iteration."""

WANTED = 0.07
ALLOWED_HOSTS = 32


class Net(NamedTuple):
    """A network to predict for: its parameters, its multiplications relative to Inception-v1's 1.5 G an image."""

    name: str
    parameters: float
    work: float


NETS = (Net("Inception-v1", 7.0e6, 1.0), Net("ResNet-50", 25.6e6, 2.7))

BIGDL = {32: "sync < 7 % of compute", 128: "(96 nodes: 0.88 of 16 nodes' rate each)", 256: "about 0.5 to 0.6"}
"""BigDL's published curve (Dai et al., SoCC 2019), Inception-v1 on Xeon nodes; from memory, not looked up."""


class Measured(NamedTuple):
    """What one simulation gave."""

    cases: list[Case]
    seconds: list[float]
    plain: dict[str, float]
    """Bytes a second each way between two hosts through plain sockets, for each kind of link."""

    unlimited: float
    """Bytes a second that a rank gets through our all-reduce where no link limits it."""


def report() -> list[dict[str, Any]]:
    """Simulate, print the tables, and return their figures; print why not where the machine forbids it."""
    reason = network.why_not()
    if reason is not None:
        print(f"simulation skipped: {reason}")
        return [{"row": "simulation", "skipped": reason}]
    measured = measure()
    model = fit(measured.cases, measured.seconds, adding())
    images = inception_rate()
    return [*_print_measured(measured, model), *_print_predicted(measured, model, images)]


def measure() -> Measured:
    """Run all cases, and plain sockets between two of the hosts over each kind of link."""
    found = network.simulate({"hosts": max(HOSTS), "steps": plan()})
    cases, seconds, plain, unlimited = [], [], {}, 0.0
    for step in found:
        for count, taken in zip(step["sizes"], step["seconds"], strict=True):
            if step["rate"] is None:
                unlimited = 4 * count / taken
            elif step["work"] == "plain":
                plain[step["link"]] = 4 * count / taken
            else:
                cases.append(Case(step["hosts"], 4 * count, step["rate"], max(1.0, step["hosts"] / default_threads())))
                seconds.append(taken)
    return Measured(cases, seconds, plain, unlimited)


def plan() -> list[dict[str, Any]]:
    """The steps of a simulation, as `network` takes them."""
    common = {"repeat": REPEAT}
    steps: list[dict[str, Any]] = [
        {"hosts": 2, "rate": None, "work": "reduces", "sizes": [UNLIMITED], "link": "none", **common}
    ]
    for link, rate in RATES.items():
        to = {"rate": rate / SCALE, "link": link, **common}
        steps.append({"hosts": 2, "work": "plain", "sizes": [NUMBERS[link][-1]], **to})
        steps += [{"hosts": hosts, "work": "reduces", "sizes": list(NUMBERS[link]), **to} for hosts in HOSTS]
    return steps


def adding(ranks: int = 32, count: int = 7_000_000) -> float:
    """Seconds a byte of the sums that one of `ranks` does over its slice: the only arithmetic of an all-reduce."""
    parts = {(rank, rank + 1): np.ones(count // ranks, np.float32) for rank in range(ranks)}
    rate = rate_of(lambda: combine(parts, ranks, lambda a, b: np.add(a, b, out=a)), 4 * count)
    return 1 / rate()


def inception_rate() -> float:
    """Images of Inception-v1 that this machine trains in a second with all its cores."""
    arguments = {"network": "inception", "mode": "train", "batch": 32, "threads": default_threads()}
    running = Running(Contender("nnframes", "tests.bench.engine_ours", "prepare", arguments))
    try:
        return statistics.median(running.measure() for _ in range(3))
    finally:
        running.stop()


def _print_measured(measured: Measured, model: Model) -> Iterable[dict[str, Any]]:
    print(f"\nAll-reduce between simulated hosts; link rates and sizes divided by {SCALE}; {default_threads()} cores")
    for link, rate in measured.plain.items():
        nominal = RATES[link] / SCALE
        print(f"  {link:6}: {nominal / 1e6:.1f} MB/s each way, plain sockets between two hosts {rate / 1e6:.1f} MB/s")
    print(f"  no limit: {measured.unlimited / 1e6:.0f} MB/s of gradients between two hosts")
    print(f"{'hosts':>5} {'link':>7} {'KB':>6} {'ms':>8} {'ideal':>8} {'reached':>7} {'model':>8} {'error':>6}")
    names = {rate / SCALE: link for link, rate in RATES.items()}
    for case, seconds in zip(measured.cases, measured.seconds, strict=True):
        predicted, link = model.seconds(case), names[case.bandwidth]
        print(
            f"{case.hosts:5} {link:>7} {case.size / 1e3:6.0f} {1e3 * seconds:8.2f} {1e3 * case.ideal:8.2f} "
            f"{case.ideal / seconds:7.2f} {1e3 * predicted:8.2f} {predicted / seconds - 1:+6.0%}"
        )
        yield {
            "row": f"simulation {case.hosts} hosts {link} {case.size / 1e3:.0f} KB",
            "seconds": seconds,
            "ideal": case.ideal,
            "model": predicted,
        }
    print(
        f"model: start {1e3 * model.start:.3f} ms, peer {1e3 * model.peer:.3f} ms, add {1e9 * model.add:.2f} ns/byte, "
        f"wire {model.wire:.3f}, wait {model.wait:.3f}; bandwidth is the nominal one"
    )


def _print_predicted(measured: Measured, model: Model, images: float) -> Iterable[dict[str, Any]]:
    print(f"\nPredicted; a node trains {images:.1f} images/s of Inception-v1 (this machine), {BATCH} in each iteration")
    print(f"{'network':12} {'link':>7} {'nodes':>5} {'compute ms':>10} {'sync ms':>8} {'share':>6} {'efficiency':>10}")
    for net, (link, rate), nodes in product(NETS, RATES.items(), (32, 128, 256)):
        # A link is no faster than a rank can feed it.
        sync = model.seconds(Case(nodes, 4 * net.parameters, min(rate, measured.unlimited)))
        compute = BATCH * net.work / images
        note = f"  BigDL: {BIGDL[nodes]}" if (net.name, link) == ("Inception-v1", "10 GbE") else ""
        print(
            f"{net.name:12} {link:>7} {nodes:5} {1e3 * compute:10.0f} {1e3 * sync:8.1f} {sync / compute:6.1%} "
            f"{compute / (compute + sync):10.2f}{note}"
        )
        yield {"row": f"predicted {net.name} {link} {nodes} nodes", "compute": compute, "sync": sync}
    yield _wanted(measured, model, images)


def _wanted(measured: Measured, model: Model, images: float) -> dict[str, Any]:
    rate = min(RATES["10 GbE"], measured.unlimited)
    sync = model.seconds(Case(ALLOWED_HOSTS, 4 * NETS[0].parameters, rate))
    fastest = WANTED * BATCH / sync
    print(
        f"{WANTED:.0%} at {ALLOWED_HOSTS} nodes, Inception-v1, 10 GbE: kept while a node trains at most {fastest:.0f} "
        f"images/s with {BATCH} in each iteration ({4 * fastest:.0f} with {4 * BATCH}); here {images:.1f}: ratio "
        f"{fastest / images:.2f}, wanted 1.00. Stragglers and other traffic are not in the model; ResNet-50's compute "
        "is Inception-v1's by the ratio of multiplications; BigDL's figures are from memory."
    )
    return {"row": "Inception-v1, 32 nodes, 10 GbE", "ratio": fastest / images, "images": images, "sync": sync}
