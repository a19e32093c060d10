"""The faults that are tried: where, when, and what must come of each."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

from nnframes.distributed.cache import CacheLevel
from nnframes.distributed.ways import EARLY, SLICED
from tests.faults.fault import (
    CHECKPOINT_STEPS,
    CLASSIC,
    CLUSTER,
    CONNECT,
    DIED,
    ENCRYPTED,
    ITERATIONS,
    LOCAL,
    RETRYING,
    TWO_HOSTS,
    WHEN,
    Case,
    Fault,
    both,
    executor,
    fixed,
    going,
    harmed,
    narrow,
    of_each,
    validating,
)
from tests.faults.network import Harm


def killed_workers() -> Iterator[Case]:
    """Before, inside and after the exchange; the first, a middle and the last iteration."""
    for number, master in enumerate(CLASSIC):
        restarts = 1 if master == LOCAL else None
        for place, at in enumerate(("gradient", "exchange", "update")):
            for turn, when in enumerate(WHEN):
                short = (master, at, when) in ((LOCAL, "exchange", "middle"), (CLUSTER, "update", "middle"))
                seed = 100 * number + 10 * place + turn
                draw = harmed("kill", at, when)
                yield Case(f"worker killed in {at}, {when}", master, seed, draw, short=short, restarts=restarts)
        yield Case("worker killed twice in a row", master, number, of_each("kill", "gradient", 2), strikes=2)
        yield Case("two workers killed at once", master, number + 1, both("kill", "gradient"), strikes=2)
        yield Case("worker killed in a validation", master, number + 2, validating("kill"), validates=True)
        handing = Harm("kill", "result", 0, -1)
        yield Case("worker killed while it hands over the result", master, number, fixed(handing))
    for master in (RETRYING, CLUSTER):
        held = Harm("kill", "hold", 1, ITERATIONS - 1)
        yield Case("worker killed while it holds", master, 0, fixed(held), short=master == CLUSTER, restarts=0)
        yield Case("worker killed in the first job", master, 0, fixed(Harm("kill", "write", 0)), restarts=0)
    first = ("TrainingError", "Preparing the data failed: ", "Python worker exited unexpectedly")
    yield Case("worker killed in the first job", LOCAL, 0, fixed(Harm("kill", "write", 0)), first)
    for seed, master in enumerate((LOCAL, CLUSTER)):
        for at in ("gradient", "update"):
            name = f"worker killed in {at}, job mode"
            yield Case(name, master, seed, harmed("kill", at, sync_mode="job"), restarts=0)
    yield Case("worker killed in gradient", CONNECT, 1, harmed("kill", "gradient"), restarts=1)
    yield Case("worker killed in exchange", CONNECT, 2, harmed("kill", "exchange"), restarts=1)


def lost_executors() -> Iterator[Case]:
    for mode in ("group", "job"):
        for which in (0, 1):
            for seed in (which, which + 2):
                short = (mode, seed) == ("group", 0)
                yield Case(f"executor {which} killed, {mode} mode", CLUSTER, seed, executor(which, mode), short=short)


def silences() -> Iterator[Case]:
    for seed, master in enumerate(CLASSIC):
        patient = harmed("stop", "gradient", deadline=6.0, arrival_timeout=25.0)
        yield Case("worker stopped", master, seed, patient, restarts=1)
        yield Case("connection cut", master, seed, harmed("cut", "exchange"), restarts=0, short=master == LOCAL)
        yield Case("connection stalled", master, seed, harmed("stall", "gradient", deadline=4.0), restarts=0)
        yield Case("connection to the driver cut", master, seed, harmed("cut_driver", "exchange"))
        yield Case("rank slower than the deadline", master, seed, harmed("hang", "gradient", amount=6, deadline=2.0))
    words = ("SyncError", "Training failed on rank ", "waited 6 s to receive from rank ", "Hint: that task hangs")
    impatient = harmed("stop", "gradient", deadline=6.0, arrival_timeout=8.0)
    yield Case("worker stopped, little patience", LOCAL, 0, impatient, words, restarts=0)
    yield Case("connection cut", CONNECT, 3, harmed("cut", "exchange"), restarts=1)


def strangers() -> Iterator[Case]:
    for master in (LOCAL, CLUSTER):
        for seed, kind in enumerate(("silent", "garbage", "crowd")):
            draw = fixed(outside={"kind": "strangers", "manner": kind})
            yield Case(f"strangers, {kind}", master, seed, draw, short=(master, kind) == (LOCAL, "garbage"), restarts=0)


def full_disks() -> Iterator[Case]:
    small = {"kind": "disk", "size": "1m"}
    draw = fixed(outside=small, cache_folder="disk")
    yield Case(
        "cache on a small disk",
        LOCAL,
        0,
        draw,
        ("TrainingError", "Preparing the data", "The cache folder", "must have room for ", "Received: 0"),
    )
    draw = fixed(Harm("fill", "write", 0), outside={"kind": "disk", "size": "264m"}, cache_folder="disk")
    yield Case(
        "cache on a disk that fills",
        LOCAL,
        0,
        draw,
        ("TrainingError", "Preparing the data", "must have room for", "Received: 0"),
    )
    words = ("TrainingError", "Snapshots must be written to ", "bytes are free, a snapshot needs")
    draw = fixed(outside=small, checkpoint="disk")
    yield Case("checkpoint on a small disk", LOCAL, 0, draw, words, short=True, snapshots=True)

    def filling(rng: random.Random) -> Fault:
        harm = Harm("fill", "update", 0, rng.randint(4, 6))
        return Fault((harm,), {"kind": "disk", "size": "16m"}, {"checkpoint": "disk"})

    words = ("TrainingError", "The snapshot of iteration 8 must be written to ", "Hint: free space")
    yield Case("checkpoint on a disk that fills", LOCAL, 1, filling, words, snapshots=True, then=True)


def dying_drivers() -> Iterator[Case]:
    for step in range(1, CHECKPOINT_STEPS + 2):
        name, draw = f"driver killed at step {step} of its snapshots", fixed(step=step)
        strikes = int(step <= CHECKPOINT_STEPS)
        yield Case(name, LOCAL, 0, draw, short=step == 17, snapshots=True, strikes=strikes, then=True, runner="driver")


def out_of_memory() -> Iterator[Case]:
    limited = Harm("starve", "gradient", 1, 3, 9, 32 << 20)
    always = Harm("kill", "gradient", 1, 3, 99)
    for master in CLASSIC:
        words = ("TrainingError", "Training failed on rank 1 of 2 on ", "MemoryError")
        yield Case("memory limited", master, 0, fixed(limited), words, short=master == LOCAL, restarts=0)
        words = ("SyncError", "Training failed on rank 1 of 2 on ", *DIED[2:])
        yield Case("killed for memory each time", master, 0, fixed(always), words, strikes=2)
    words = ("SyncError", "iteration 4 was tried 4 times", "a worker ended without a word")
    yield Case("killed for memory each time, job mode", LOCAL, 0, fixed(always, sync_mode="job"), words, strikes=2)


def speculation() -> Iterator[Case]:
    """Each rank takes so long that Spark starts a second one on the other host."""
    for seed, shard in enumerate((0, 1, 0, 1)):
        slow = tuple(Harm("hang", "gradient", shard, iteration, 1, 0.8) for iteration in range(ITERATIONS))
        draw = fixed(*slow, outside={"kind": "copies", "ranks": 2})
        yield Case("speculation, group mode", TWO_HOSTS, seed, draw, restarts=0)
    late = Harm("hang", "gradient", 1, 3, 1, 4.0)
    yield Case("speculation, job mode", TWO_HOSTS, 4, fixed(late, sync_mode="job"), restarts=0)


def few_slots() -> Iterator[Case]:
    occupied = {"kind": "occupied", "slots": 1}
    draw = fixed(outside=occupied, arrival_timeout=5.0)
    yield Case("a slot held by another job", LOCAL, 0, draw, short=True)
    draw = fixed(outside={"kind": "occupied", "slots": 2}, arrival_timeout=1.0)
    words = ("SyncError", "training tasks must run at once. Received: 0 of ", "Hint: other jobs hold the slots")
    yield Case("all slots held by another job", LOCAL, 0, draw, words)
    for seed in (0, 1):
        yield Case("two fits at once", LOCAL, seed, fixed(arrival_timeout=5.0), fits=2)


def encrypted() -> Iterator[Case]:
    """Every connection is TLS; a stranger without the secret does not get through its handshake."""
    for seed, (kind, at) in enumerate((("kill", "gradient"), ("kill", "exchange"), ("kill", "update"))):
        yield Case(f"worker killed in {at}", ENCRYPTED, seed, harmed(kind, at))
    yield Case("connection cut", ENCRYPTED, 3, harmed("cut", "exchange"), restarts=0)
    yield Case("connection stalled", ENCRYPTED, 4, harmed("stall", "gradient", deadline=4.0), restarts=0)
    yield Case("executor 1 killed", ENCRYPTED, 5, executor(1, "group"))
    for seed, manner in enumerate(("silent", "garbage")):
        yield Case(f"strangers, {manner}", ENCRYPTED, seed, fixed(outside={"kind": "strangers", "manner": manner}))


def compressed() -> Iterator[Case]:
    for seed, (master, at, compression) in enumerate(
        ((LOCAL, "exchange", "bf16"), (CLUSTER, "exchange", "fp16"), (CLUSTER, "gradient", "bf16"))
    ):
        yield Case(f"worker killed in {at}, {compression}", master, seed, narrow("kill", at, compression))


def by_slices() -> Iterator[Case]:
    """What is lost of a slice comes from the copy of iteration 5, or there is none yet and all begins anew.

    Ranks that live on go back, which counts as another strike; where none does, new ones find the copy.
    """
    moments = (("gradient", 4), ("exchange", 7), ("update", 5), ("update", 8))
    for number, master in enumerate((*CLASSIC, CONNECT)):
        live_on = master in (RETRYING, CLUSTER)
        rules: dict[str, Any] = {"restarts": int(not live_on), "strikes": 1 + live_on}
        for at, iteration in moments:
            short = (master, iteration) == (CLUSTER, 8)
            name = f"worker killed in {at} of {iteration}, slices"
            yield Case(name, master, number, going(SLICED, "kill", at, iteration), short=short, **rules)
    for seed, master in enumerate((RETRYING, CLUSTER)):
        for iteration in (4, 7):
            cut = going(SLICED, "cut", "exchange", iteration)
            yield Case(f"connection cut in {iteration}, slices", master, seed, cut, restarts=0, strikes=3)
        stalled = going(SLICED, "stall", "gradient", 8, deadline=4.0)
        yield Case("connection stalled, slices", master, seed, stalled, restarts=0, strikes=2)
        killed = going(SLICED, "kill", "update", 8)
        yield Case("worker killed, slices and milestones", master, seed, killed, validates=True, restarts=0, strikes=2)
    held = Harm("kill", "hold", 1, ITERATIONS - 1)
    yield Case("worker killed while it holds, slices", CLUSTER, 0, lambda rng: Fault((held,), way=SLICED), restarts=0)
    killed = going(SLICED, "kill", "gradient", 8)
    yield Case("snapshots of slices", CLUSTER, 2, killed, validates=True, snapshots=True, then=True, restarts=0)
    daily = going(SLICED, "kill", "update", 8, cache_level=CacheLevel.of("DIRECT"))
    yield Case("worker killed, slices, DIRECT", RETRYING, 3, daily, restarts=0)
    lost = "The loss must stay finite. Received: nan (all gradients are finite) at iteration 4 (epoch 1)"
    odd = ("TrainingError", "The gradient of '", "' must stay finite. Received: inf at iteration 4 (epoch 1)")
    for kind, words in (("nan", ("TrainingError", lost)), ("inf", odd)):
        yield Case(f"{kind} in the sums, slices", LOCAL, 0, going(SLICED, kind, "sums", 3), words)


def beginning_early() -> Iterator[Case]:
    """Sums are exchanged by a thread while gradients are computed."""
    for number, master in enumerate((LOCAL, CLUSTER, ENCRYPTED, CONNECT)):
        for at, iteration in (("gradient", 4), ("exchange", 7), ("update", 8)):
            short, restarts = (master, at) == (LOCAL, "exchange"), int(master in (LOCAL, CONNECT))
            draw = going(EARLY, "kill", at, iteration)
            yield Case(f"worker killed in {at}, early sums", master, number, draw, short=short, restarts=restarts)
    for seed, master in enumerate((RETRYING, CLUSTER)):
        cut, stalled = going(EARLY, "cut", "exchange", 6), going(EARLY, "stall", "gradient", 6, deadline=4.0)
        yield Case("connection cut, early sums", master, seed, cut, restarts=0)
        yield Case("connection stalled, early sums", master, seed, stalled, restarts=0)
        slow = going(EARLY, "hang", "gradient", 6, 6.0, deadline=2.0)
        yield Case("rank slower than the deadline, early sums", master, seed, slow)
        killed = going(EARLY, "kill", "update", 8)
        yield Case("worker killed, early sums and milestones", master, seed, killed, validates=True, restarts=0)
    killed = going(EARLY, "kill", "gradient", 8)
    yield Case("snapshots, early sums", CLUSTER, 2, killed, validates=True, snapshots=True, then=True, restarts=0)
    daily = going(EARLY, "kill", "gradient", 7, cache_level=CacheLevel.of("DIRECT"))
    yield Case("worker killed, early sums, DIRECT", RETRYING, 3, daily, restarts=0)
    thin = going(EARLY, "kill", "exchange", 7, gradient_compression="bf16")
    yield Case("worker killed, early sums, bf16", CLUSTER, 4, thin, restarts=0)
    raised = ("TrainingError", "Training failed on rank 1 of 2 on ", "ValueError: this network has a fault")
    failing = Fault((Harm("fail", "gradient", 1, 3, 99),), way=EARLY)
    yield Case("user code raises, early sums", CLUSTER, 0, lambda rng: failing, raised, restarts=0)
    lost = "The loss must stay finite. Received: nan (all gradients are finite) at iteration 4 (epoch 1)"
    yield Case("nan in the sums, early", LOCAL, 0, going(EARLY, "nan", "sums", 3), ("TrainingError", lost))


def cached() -> Iterator[Case]:
    """Samples in slices of a file, or written anew for each epoch."""
    for seed, name in enumerate(("DISK_AND_DRAM", "DIRECT")):
        for master in (LOCAL, CLUSTER):
            draw = harmed("kill", "gradient", cache_level=CacheLevel.of(name))
            yield Case(f"worker killed in gradient, {name}", master, seed, draw)


def others() -> Iterator[Case]:
    raised = ("TrainingError", "Training failed on rank 1 of 2 on ", "ValueError: this network has a fault")
    failing = Harm("fail", "gradient", 1, 3, 99)
    for master in (*CLASSIC, CONNECT):
        yield Case("user code raises", master, 0, fixed(failing), raised, restarts=0)
    words = ("TrainingError", "Training failed on task 1 of 2 on ", "in iteration 4: ValueError: this network has a")
    yield Case("user code raises, job mode", LOCAL, 0, fixed(failing, sync_mode="job"), words, short=True, restarts=0)
    lost = "The loss must stay finite. Received: nan (all gradients are finite) at iteration 4 (epoch 1)"
    nan = ("TrainingError", lost)
    inf = ("TrainingError", "The gradient of '", "' must stay finite. Received: inf at iteration 4 (epoch 1)")
    for mode in ("group", "job"):
        for kind, words in (("nan", nan), ("inf", inf)):
            draw = fixed(Harm(kind, "sums", 1, 3), sync_mode=mode)
            yield Case(
                f"{kind} in the sums, {mode} mode", LOCAL, 0, draw, words, short=(kind, mode) == ("inf", "group")
            )


def all_cases() -> list[Case]:
    """Return all cases, those of one master together."""
    makers = (
        killed_workers,
        lost_executors,
        silences,
        strangers,
        full_disks,
        dying_drivers,
        out_of_memory,
        speculation,
        few_slots,
        encrypted,
        compressed,
        by_slices,
        beginning_early,
        cached,
        others,
    )
    order = (LOCAL, RETRYING, CLUSTER, ENCRYPTED, TWO_HOSTS, CONNECT)
    return sorted((case for make in makers for case in make()), key=lambda case: order.index(case.master))
