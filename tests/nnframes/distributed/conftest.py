"""What tests of sums that begin early share."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from nnframes.distributed import early, region
from nnframes.distributed.ways import Ways


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ranks that are threads of this process treat small messages as large ones, in two rounds."""
    monkeypatch.setattr(Ways, "SIZE", 0)
    monkeypatch.setattr(early, "LEAST", 3000)
    monkeypatch.setattr(region, "SMALL", 0)


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """See that sums which begin early leave no thread behind."""
    yield
    assert "nnframes-early" not in [thread.name for thread in threading.enumerate()]
