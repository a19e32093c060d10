"""`python -m tests.bench SUITE [--json FILE] [--pairs N] [--only TEXT]`: ours and a peer in turn, row by row."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.bench import engine, footprint, spark, sync
from tests.bench.contest import Row, measure

SUITES = {"engine": engine.rows, "footprint": footprint.rows, "spark": spark.rows, "sync": sync.rows}


def main() -> int:
    """Run a suite and print a line a row."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--pairs", type=int, default=5, help="how often each row is measured in turn")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    arguments = parser.parse_args()
    results = []
    print(f"{'row':32} {'ours':>12} {'peer':>12} {'unit':10} {'ratio':>6} {'wanted':>6}  peer", flush=True)
    for row in SUITES[arguments.suite]():
        if arguments.only in row.name:
            results.append({"suite": arguments.suite, **_measured(row, arguments.pairs)})
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")
    return 0


def _measured(row: Row, pairs: int) -> dict[str, object]:
    result = measure(row, pairs)
    print(
        f"{row.name:32} {result['ours']:12.2f} {result['peer']:12.2f} {row.unit:10} {result['ratio']:6.2f} "
        f"{row.wanted:6.2f}  {result['peer_name']}",
        flush=True,
    )
    return result


if __name__ == "__main__":
    sys.exit(main())
