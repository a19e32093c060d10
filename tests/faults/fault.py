"""What a fault and a case are, and how moments are drawn from a seed.

A case runs once quietly and once with its fault, in a Spark of its master that many cases share. What must come is
`SAME`, the weights, counters and figures of the quiet run to the last bit, or an error of a class with these words.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from nnframes.distributed.ways import WHOLE
from tests.faults.network import MESSAGE_BYTES, Harm

LOCAL, RETRYING, CLUSTER, CONNECT = "local[2]", "local[2,4]", "local-cluster[2,1,1024]", "connect"
TWO_HOSTS, ENCRYPTED = "two hosts that speculate", "local-cluster[2,1,1024], encrypted"
CLASSIC = (LOCAL, RETRYING, CLUSTER)
ITERATIONS = 10
"""Of 37 rows in batches of 8, twice: two epochs of five."""

WHEN = {"first": (0, 0), "middle": (1, 8), "last": (9, 9)}
CHECKPOINT_STEPS = 26
"""Operations of the two snapshots of a fit in `tests.faults.driver`."""

SAME = "the same bits"
DIED = ("SyncError", "Training failed on ", "its process ended without a word. Hint: it was killed, often for memory")

Error = tuple[str, ...]
"""The name of a class and words of its message."""


@dataclass(frozen=True)
class Fault:
    """What is done in one run: harms within tasks, one from outside, what differs in the fit."""

    harms: tuple[Harm, ...] = ()
    outside: dict[str, Any] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)
    way: int = WHOLE
    """How iterations go: updates by slices, whose state is lost with their ranks; sums that begin early."""

    near: bool = False
    """Whether ranks of one host read each other's memory, short as messages are, in place of sending them."""


Draw = Callable[[random.Random], Fault]


@dataclass(frozen=True)
class Case:
    """A fault of a kind on a master; `seed` fixes its moments.

    `restarts` is how often the driver must run the group again (None: either way), `validates` and `snapshots` what
    the fit does beside iterations, `fits` how many run at once, `then` whether another fit must resume from snapshots
    to the same bits. The harms must have struck `strikes` times at least, and once if there are any. `runner` names
    what runs it: "fits" or "driver".
    """

    name: str
    master: str
    seed: int
    draw: Draw
    outcome: str | Error = SAME
    short: bool = False
    restarts: int | None = None
    strikes: int = 0
    validates: bool = False
    snapshots: bool = False
    fits: int = 1
    then: bool = False
    runner: str = "fits"

    @property
    def id(self) -> str:
        return f"{self.master}: {self.name}, seed {self.seed}"

    def fault(self) -> Fault:
        """Return the fault at the moments that the seed gives; ranks read each other's memory in every second one."""
        return replace(self.draw(random.Random(self.seed)), near=self.seed % 2 == 0)


def harmed(kind: str, at: str, when: str = "middle", amount: float | None = None, **settings: Any) -> Draw:
    """One rank is struck; in an exchange, after some of its bytes."""

    def draw(rng: random.Random) -> Fault:
        size = rng.randint(1, MESSAGE_BYTES) if at == "exchange" else 0
        harm = Harm(kind, at, rng.randrange(2), rng.randint(*WHEN[when]), 1, size if amount is None else amount)
        return Fault((harm,), settings=settings)

    return draw


def fixed(*harms: Harm, outside: dict[str, Any] | None = None, **settings: Any) -> Draw:
    """No draw: these harms, this from outside."""
    return lambda rng: Fault(harms, outside or {}, settings)


def narrow(kind: str, at: str, compression: str) -> Draw:
    """One rank is struck while gradients of 16 bits travel."""

    def draw(rng: random.Random) -> Fault:
        harm = Harm(kind, at, rng.randrange(2), rng.randint(*WHEN["middle"]), 1, rng.randint(1, MESSAGE_BYTES // 2))
        return Fault((harm,), settings={"gradient_compression": compression})

    return draw


def going(way: int, kind: str, at: str, iteration: int, amount: float | None = None, **settings: Any) -> Draw:
    """A rank is struck while iterations go this way; copies of the state are as in `tests.faults.network`."""

    def draw(rng: random.Random) -> Fault:
        harm = Harm(
            kind, at, rng.randrange(2), iteration, 1, rng.randint(1, MESSAGE_BYTES // 3) if amount is None else amount
        )
        return Fault((harm,), settings=settings, way=way)

    return draw


def of_each(kind: str, at: str, times: int) -> Draw:
    """A rank, `times` times in a row at one iteration."""

    def draw(rng: random.Random) -> Fault:
        return Fault((Harm(kind, at, rng.randrange(2), rng.randint(*WHEN["middle"]), times),))

    return draw


def both(kind: str, at: str) -> Draw:
    """Two ranks at one iteration."""

    def draw(rng: random.Random) -> Fault:
        iteration = rng.randint(*WHEN["middle"])
        return Fault((Harm(kind, at, 0, iteration), Harm(kind, at, 1, iteration)))

    return draw


def executor(which: int, mode: str) -> Draw:
    """An executor's JVM, after some iteration."""

    def draw(rng: random.Random) -> Fault:
        outside = {"kind": "executor", "which": which, "iteration": rng.randint(2, 7)}
        # Long enough iterations for the driver to hear of one before the next.
        slow = tuple(Harm("hang", "gradient", 0, iteration, 9, 0.3) for iteration in range(ITERATIONS))
        return Fault(slow, outside, {"sync_mode": mode})

    return draw


def validating(kind: str) -> Draw:
    def draw(rng: random.Random) -> Fault:
        return Fault((Harm(kind, "evaluate", rng.randrange(2), rng.choice((4, 9))),))

    return draw
