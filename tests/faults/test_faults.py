"""Whatever is lost on the way, a fit ends with the bits of the quiet run or with the right error, never with a hang.

`make faults` runs all cases, `make test` a dozen of them. A case is run again by its id:
`make faults ARGS="-k 'seed 12'"`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import pytest

from tests.faults.cases import all_cases
from tests.faults.fault import CONNECT, Case
from tests.faults.outside import may_mount
from tests.faults.watch import Watched

pytestmark = pytest.mark.slow

LIMIT = 300.0
"""Seconds for a case on a busy machine; the longest takes a tenth on an idle one."""

RESTART = "Training starts again from the last state kept"
FIGURES = ("weights", "state", "history")
CASES = all_cases()


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Watched]]:
    """`watched(master)` gives its processes, one master at a time; a process that hung is replaced by a new one."""
    current: list[Watched] = []

    def get(master: str) -> Watched:
        if current and (current[0].master != master or not current[0].alive):
            end()
        if not current:
            current.append(Watched(master, tmp_path_factory.mktemp("faults")))
        return current[0]

    def end() -> None:
        lives_on = current.pop().close()
        assert lives_on == []

    yield get
    if current:
        end()


def check(case: Case, watched: Callable[[str], Watched]) -> None:
    if case.master == CONNECT:
        pytest.importorskip("grpc", reason="Spark Connect needs the extra 'connect'")
    if case.fault().outside.get("kind") == "disk" and not may_mount():
        pytest.skip("a small disk needs the right to mount one")
    result = watched(case.master).ask(case, LIMIT)
    assert "broken" not in result, result["broken"]
    for found in result["found"]:
        if isinstance(case.outcome, tuple):
            assert_error(found, *case.outcome)
        else:
            assert_same(found, result["quiet"], [*FIGURES, "heard"])
    if case.then:
        assert_same(result["then"], result["quiet"], FIGURES)
    assert not any(result["left"].values()), result["left"]
    assert result["strikes"] >= max(case.strikes, bool(case.fault().harms))
    assert all(result["done"])
    assert result["done"] or case.fault().outside.get("kind") in (None, "disk")
    if case.restarts is not None:
        assert sum(RESTART in line for line in result["said"]) == case.restarts, result["said"]


def assert_error(found: dict, kind: str, *words: str) -> None:
    assert found["error"] is not None
    assert kind in found["error"][0], found["error"]
    assert all(each in found["error"][1] for each in words), found["error"]


def assert_same(found: dict, quiet: dict, names: Sequence[str]) -> None:
    assert found["error"] is None, found["error"]
    assert {name: found[name] for name in names} == {name: quiet[name] for name in names}


@pytest.mark.parametrize("case", [case for case in CASES if case.short], ids=lambda case: case.id)
def test_some_faults(case, watched):
    check(case, watched)


@pytest.mark.faults
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_all_faults(case, watched):
    check(case, watched)


def test_cases_have_ids_of_their_own_and_are_enough():
    assert len({case.id for case in CASES}) == len(CASES) >= 50
