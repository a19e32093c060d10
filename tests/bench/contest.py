"""Contests: two or more contenders, each in a process of its own, measured in turn so that noise hits them alike."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = str(Path(__file__).resolve().parents[2])
STOPPED_SECONDS = 60

WORKER = """
import importlib, json, sys
sys.path.insert(0, sys.argv[4])
measure = getattr(importlib.import_module(sys.argv[1]), sys.argv[2])(**json.loads(sys.argv[3]))
replies = sys.stdout
sys.stdout = sys.stderr
print("ready", file=replies, flush=True)
for _ in sys.stdin:
    print(measure(), file=replies, flush=True)
"""


class ContenderError(RuntimeError):
    """A contender ended before it was measured."""


@dataclass(frozen=True)
class Contender:
    """`module.function(**arguments)` returns a function that measures once and returns units per second.

    One that is `fresh` starts its work in new processes each time, so that warming up would change nothing.
    """

    name: str
    module: str
    function: str
    arguments: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)
    fresh: bool = False


@dataclass(frozen=True)
class Row:
    """One line of a suite: ours against the best of the peers; `wanted` is the ratio to reach."""

    name: str
    unit: str
    ours: Contender
    peers: tuple[Contender, ...]
    wanted: float


class Running:
    """A contender's process; it computes only while `measure` waits for it."""

    def __init__(self, contender: Contender) -> None:
        self.contender = contender
        arguments = [contender.module, contender.function, json.dumps(contender.arguments), ROOT]
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER, *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **contender.environment},
        )
        self._reply()

    def measure(self) -> float:
        """Measure once; everybody else waits."""
        self.start()
        return self.result()

    def start(self) -> None:
        """Begin to measure."""
        assert self.process.stdin is not None
        print("go", file=self.process.stdin, flush=True)

    def result(self) -> float:
        """The rate, once it is measured."""
        return float(self._reply())

    def stop(self) -> None:
        """End the process, which ends with its input unless it is stuck."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        try:
            self.process.wait(STOPPED_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()

    def _reply(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.stop()
            raise ContenderError(f"{self.contender.name} stopped with code {self.process.wait()}; its error is above.")
        return line


def measure(row: Row, pairs: int, seconds: float = 0.0) -> dict[str, Any]:
    """Measure ours and each peer in turn, `pairs` times and `seconds` at least; the ratio is the median of all."""
    with ExitStack() as stack:
        running = []
        for contender in (row.ours, *row.peers):
            running.append(Running(contender))
            stack.callback(running[-1].stop)
        for each in running:
            if not each.contender.fresh:
                each.measure()  # the first is warming up
        rates: list[list[float]] = []
        end = time.monotonic() + seconds
        while len(rates) < pairs or time.monotonic() < end:
            rates.append([each.measure() for each in running])
    medians = [statistics.median(column) for column in zip(*rates, strict=True)]
    best = max(range(1, len(medians)), key=lambda number: medians[number])
    return {
        "row": row.name,
        "unit": row.unit,
        "ours": medians[0],
        "peer": medians[best],
        "peer_name": running[best].contender.name,
        "ratio": statistics.median(turn[0] / turn[best] for turn in rates),
        "wanted": row.wanted,
        "pairs": len(rates),
    }
