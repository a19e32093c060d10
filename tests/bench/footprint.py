"""Suite `footprint`: what nnframes costs before and beside the work: import seconds, memory of a training task.

Less is better, so a figure is given as allowance over what was used: a ratio of 1 or more is within it.
"""

from __future__ import annotations

from tests.bench.contest import Contender, Row

IMPORT_SECONDS = 0.5


def rows() -> list[Row]:
    """Imports a second against two a second; memory of a training task against its allowance."""
    here = "tests.bench.footprint_ours"
    return [
        Row(
            "import nnframes",
            "imports/s",
            Contender("nnframes", here, "prepare_import"),
            (Contender(f"allowed {IMPORT_SECONDS} s", here, "prepare_allowed", {"rate": 1 / IMPORT_SECONDS}),),
            1.0,
        ),
        Row(
            "memory of a training task",
            "1/GB",
            Contender("largest Python worker", here, "prepare_memory"),
            (Contender("data + 4x model + 300 MB", here, "prepare_memory_allowed"),),
            1.0,
        ),
    ]
