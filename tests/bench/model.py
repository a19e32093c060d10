"""How long an all-reduce takes: a model of its parts, and its fit to what was measured.

    seconds = share (start + peer (N - 1) + add bytes) + (wire + wait log2 N) 2 (N - 1) / N bytes / bandwidth

start   what an all-reduce costs however small
peer    what each other rank costs: its two messages
add     the sums, which no transfer hides; measured alone, not fitted
wire    bytes on the wire for each byte of gradients: headers, acknowledgements, retransmissions
wait    a rank waits for the slowest of N - 1 flows that share its link unevenly, which grows with log N
share   hosts for each core of the machine that simulates them: what is arithmetic, they do in turn; 1 on a real cluster
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Case:
    """An all-reduce of `size` bytes between `hosts`, over links of `bandwidth` bytes a second."""

    hosts: int
    size: float
    bandwidth: float
    share: float = 1.0

    @property
    def ideal(self) -> float:
        """Seconds for 2 (N - 1) / N of the bytes."""
        return 2 * (self.hosts - 1) / self.hosts * self.size / self.bandwidth


@dataclass(frozen=True)
class Model:
    """The five coefficients, in seconds, seconds a rank, seconds a byte, and two factors."""

    start: float
    peer: float
    add: float
    wire: float
    wait: float

    def seconds(self, case: Case) -> float:
        """Predict the time of a case."""
        arithmetic = self.start + self.peer * (case.hosts - 1) + self.add * case.size
        return case.share * arithmetic + (self.wire + self.wait * math.log2(case.hosts)) * case.ideal


def fit(cases: Sequence[Case], seconds: Sequence[float], add: float) -> Model:
    """Find the coefficients, none below zero, that make the squares of the relative errors least."""
    left = np.asarray(seconds) - [case.share * add * case.size for case in cases]
    terms = [
        (case.share, case.share * (case.hosts - 1), case.ideal, case.ideal * math.log2(case.hosts)) for case in cases
    ]
    scale = 1 / np.asarray(seconds)
    start, peer, wire, wait = _least_squares(np.array(terms) * scale[:, None], left * scale)
    return Model(start, peer, add, wire, wait)


def _least_squares(matrix: np.ndarray, target: np.ndarray) -> list[float]:
    """Solve without negative numbers: leave out what becomes negative, the worst first."""
    kept = list(range(matrix.shape[1]))
    while True:
        units = np.abs(matrix[:, kept]).max(axis=0)
        found = np.linalg.lstsq(matrix[:, kept] / units, target, rcond=None)[0]
        if found.min() >= 0:
            break
        del kept[int(found.argmin())]
    result = np.zeros(matrix.shape[1])
    result[kept] = found / units
    return result.tolist()
