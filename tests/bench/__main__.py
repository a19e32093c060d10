"""`python -m tests.bench SUITE [--json FILE] [--pairs N] [--seconds S] [--only TEXT]`: ours and a peer in turn."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from tests.bench import engine, features, footprint, simulation, spark, sync
from tests.bench.contest import ContenderError, Row, measure

SUITES = {
    "engine": engine.rows,
    "features": features.rows,
    "footprint": footprint.rows,
    "full": sync.full,
    "spark": spark.rows,
    "sync": sync.rows,
}

TABLES = {"sync": {"simulation": simulation.report}}
"""What follows the rows of a suite: functions that print a table and return its figures."""


def main() -> int:
    """Run a suite and print a line a row; 1 if a contender fell over."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("suite", choices=sorted(SUITES))
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--pairs", type=int, default=5, help="how often each row is measured in turn, at least")
    parser.add_argument("--seconds", type=float, default=30.0, help="how long each row is measured, at least")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    arguments = parser.parse_args()
    results = []
    print(f"{'row':32} {'ours':>12} {'peer':>12} {'unit':10} {'ratio':>6} {'wanted':>6} {'pairs':>5}  peer", flush=True)
    for row in SUITES[arguments.suite]():
        if arguments.only in row.name:
            results.append(_measured(row, arguments.pairs, arguments.seconds))
    for name, report in TABLES.get(arguments.suite, {}).items():
        if arguments.only in name:
            results += report()
    if arguments.json:
        figures = [{"suite": arguments.suite, **result} for result in results]
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return int(any("failed" in result for result in results))


def _measured(row: Row, pairs: int, seconds: float) -> dict[str, object]:
    try:
        result = measure(row, pairs, seconds)
    except ContenderError as error:
        print(f"{row.name:32} failed: {error}", flush=True)
        return {"row": row.name, "failed": str(error)}
    print(
        f"{row.name:32} {result['ours']:12.2f} {result['peer']:12.2f} {row.unit:10} {result['ratio']:6.2f} "
        f"{row.wanted:6.2f} {result['pairs']:5}  {result['peer_name']}",
        flush=True,
    )
    return result


if __name__ == "__main__":
    sys.exit(main())
