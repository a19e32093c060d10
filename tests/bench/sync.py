"""Suite `sync`: what an iteration costs beside its computing, on local[2]."""

from __future__ import annotations

from tests.bench.contest import Contender, Row

OURS = "tests.bench.sync_ours"


def rows() -> list[Row]:
    """Job mode against an empty iteration of two stages, for a network of next to no size and for 1 MB of gradients."""
    return [
        _job("no weights", 0, 1 / 1.3),
        _job("1 MB", 512, 0.5),
    ]


def _job(name: str, width: int, wanted: float) -> Row:
    ours = Contender("job mode", OURS, "prepare_jobs", {"width": width})
    return Row(f"job mode, {name}", "iter/s", ours, (Contender("empty iteration", OURS, "prepare_empty"),), wanted)
