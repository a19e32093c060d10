"""What all tests share: real data, one small Spark, fresh processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent

# Functions of test modules reach a fresh process by name.
_CALL = """
import importlib, json, sys
module, name, args = json.loads(sys.argv[1])
print(json.dumps(getattr(importlib.import_module(module), name)(*args)))
"""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Benchmarks and helpers under tests/ hold no doctests, and importing them may need a peer that is missing."""
    if collection_path.suffix != ".py" or ROOT / "tests" not in collection_path.parents:
        return None
    return None if collection_path.name.startswith(("test_", "conftest")) else True


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs a Spark session is slow: hundreds of such tests, each of some seconds, would not be quick."""
    for item in items:
        if "spark" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data sets, which are too large for the repository."""
    folder = Path(os.environ.get("NNFRAMES_TEST_DATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no test data at {folder}: set NNFRAMES_TEST_DATA to the folder that holds mnist/ and the others")
    return folder


@pytest.fixture(scope="session")
def spawn() -> Callable[..., Any]:
    """`spawn(target, *args)` in a fresh Python: a process that ran the engine must not fork, and imports are cached.

    A `target` of code gives what it printed; a function of a test module takes and gives what JSON can hold.
    `env` adds to the environment. A process that fails fails the test with all that it wrote to stderr.
    """

    def run(
        target: str | Callable[..., Any], *args: Any, env: dict[str, str] | None = None, timeout: float = 120
    ) -> Any:
        if isinstance(target, str):
            command = [target, *map(str, args)]
        else:
            command = [_CALL, json.dumps([target.__module__, target.__qualname__, args])]
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        done = subprocess.run(
            [sys.executable, "-c", *command],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths)), **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        if done.returncode != 0:
            pytest.fail(f"the spawned process ended with {done.returncode}:\n{done.stderr}", pytrace=False)
        return done.stdout if isinstance(target, str) else json.loads(done.stdout.splitlines()[-1])

    return run


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """One Spark of two task slots for the whole run."""
    from pyspark.sql import SparkSession

    os.environ["PYSPARK_PYTHON"] = sys.executable  # its default is whatever python3 the PATH has
    scratch = tmp_path_factory.mktemp("spark")
    settings = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.log.level": "ERROR",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": str(scratch / "local"),
        "spark.sql.warehouse.dir": str(scratch / "warehouse"),
        "spark.sql.shuffle.partitions": "2",
        "spark.python.unix.domain.socket.enabled": "true",
        # Functions of test modules reach the Python workers by name.
        "spark.executorEnv.PYTHONPATH": str(ROOT),
    }
    builder = SparkSession.builder.master("local[2]").appName("nnframes tests")
    session = builder.config(map=settings).getOrCreate()
    yield session
    session.stop()


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MB; skips where mounting one is not allowed."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        pytest.skip(f"no small file system can be mounted: {error}")
    if done.returncode:
        pytest.skip(f"no small file system can be mounted: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)
