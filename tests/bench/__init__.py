"""Benchmarks against the peers: `python -m tests.bench SUITE`."""
