"""The suite `sync` as far as tests can hold it: its rows build, its model finds what it should, no namespace stays."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest

from tests.bench import network, simulation, sync
from tests.bench.contest import ROOT, Contender, ContenderError, Row, measure
from tests.bench.model import Case, Model, fit

TRUE = Model(start=2e-4, peer=3e-5, add=2e-10, wire=1.05, wait=0.06)

STEPS = [
    {"hosts": 2, "rate": None, "work": "plain", "sizes": [1000], "repeat": 2},
    {"hosts": 3, "rate": 50e6, "work": "reduces", "sizes": [10, 70_000], "repeat": 2},
]


@pytest.fixture
def simulated(monkeypatch):
    """Skips where this machine cannot simulate a network; gives a function that finds the processes of this test's."""
    reason = network.why_not()
    if reason is not None:
        pytest.skip(reason)
    mark = secrets.token_hex(8)
    monkeypatch.setenv("NNFRAMES_TEST_MARK", mark)
    return lambda: processes_apart(mark)


def processes_apart(mark: str) -> list[Path]:
    """The processes with this mark in their environment that live in network namespaces of their own."""
    here, found = os.readlink("/proc/self/ns/net"), []  # noqa: PTH115
    for process in Path("/proc").glob("[0-9]*"):
        try:
            marked = mark.encode() in (process / "environ").read_bytes()
            if marked and os.readlink(process / "ns/net") != here:  # noqa: PTH115
                found.append(process)
        except OSError:
            continue
    return found


def connections(process: Path) -> int:
    """How many TCP connections the process's namespace has open."""
    try:
        return sum(line.split()[3] == "01" for line in (process / "net/tcp").read_text().splitlines()[1:])
    except OSError:
        return 0


def test_rows_can_be_built():
    rows = [*sync.rows(), *sync.full()]
    names = [row.name for row in rows]
    assert len(set(names)) == len(names)
    for row in rows:
        assert row.wanted > 0
        for contender in (row.ours, *row.peers):
            path = Path(ROOT, *contender.module.split(".")).with_suffix(".py")
            assert f"def {contender.function}(" in path.read_text(encoding="utf-8")
            json.dumps(contender.arguments)


def test_a_contender_that_falls_over_is_named(capfd):
    ill = Contender("the ill one", "tests.bench.clock", "nothing_of_that_name")
    with pytest.raises(ContenderError, match="the ill one stopped with code 1"):
        measure(Row("a row", "rows/s", ill, (), 1.0), 1)
    assert "nothing_of_that_name" in capfd.readouterr().err


def test_the_plan_measures_every_link_and_size():
    steps = simulation.plan()
    assert {step["link"] for step in steps} == {*simulation.RATES, "none"}
    assert max(step["hosts"] for step in steps) == max(simulation.HOSTS)


@pytest.mark.parametrize("true", [TRUE, Model(0.0, 3e-5, 2e-10, 1.05, 0.0)])
def test_the_fit_finds_the_coefficients(true):
    cases = [
        Case(hosts, size, bandwidth, max(1.0, hosts / 2))
        for hosts, size, bandwidth in product((2, 4, 8, 16), (3e5, 7e5, 3e6), (31e6, 3e6))
    ]
    found = fit(cases, [true.seconds(case) for case in cases], true.add)
    for name in ("start", "peer", "add", "wire", "wait"):
        assert getattr(found, name) == pytest.approx(getattr(true, name), rel=1e-6, abs=1e-12)


def test_the_fit_gives_nothing_below_zero():
    cases = [Case(hosts, 1e6, 1e7) for hosts in (2, 4, 8, 16)]
    found = fit(cases, [case.ideal * (1.3 - 0.02 * case.hosts) for case in cases], 0.0)
    assert min(found.start, found.peer, found.wire, found.wait) >= 0


@pytest.mark.slow
def test_hosts_exchange_and_leave_nothing(simulated):
    found = network.simulate({"hosts": 3, "steps": STEPS})
    assert [len(step["seconds"]) for step in found] == [1, 2]
    # 280 KB over three hosts' links of 50 MB/s cannot take less than 7 ms.
    assert found[1]["seconds"][1] > 0.007
    assert not simulated()


@pytest.mark.slow
def test_an_error_leaves_nothing(simulated, capfd):
    with pytest.raises(RuntimeError, match="stopped with code 1"):
        network.simulate({"hosts": 2, "steps": [{**STEPS[0], "work": "nothing that exists"}]})
    assert "nothing that exists" in capfd.readouterr().err
    assert not simulated()


@pytest.mark.slow
def test_a_killed_benchmark_leaves_nothing(simulated):
    order = {"hosts": 2, "steps": [{**STEPS[0], "repeat": 10_000_000}]}
    code = f"from tests.bench import network; network.simulate({order!r})"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.DEVNULL)
    _until(lambda: sum(connections(process) >= 2 for process in simulated()) == 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    _until(lambda: not simulated())


def _until(condition) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
