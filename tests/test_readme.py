"""What the README prints is true: its program runs as it stands, its commands exist."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def program():
    (found,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    return found


@pytest.mark.slow
def test_the_program_runs_as_printed(spawn, tmp_path):
    right = "print(model.transform(test).where('name = digit').count())"
    shown = spawn(
        f"import os; os.chdir({str(tmp_path)!r})\n{program()}\n{right}",
        env={"PYSPARK_PYTHON": sys.executable},
        timeout=300,
    )
    assert "| name|digit|" in shown
    assert "digit(image)" in shown
    assert int(shown.split()[-1]) > 900
    assert (tmp_path / "build/digits.model/metadata").is_dir()


def test_the_program_fits_on_a_screen():
    assert len(program().splitlines()) <= 40


def test_the_commands_exist():
    """`make help` lists every target that the README names, and the Makefile has no other."""
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = set(re.findall(r"^\s*make (\w+)", listed, re.MULTILINE))
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    assert targets == set(phony[1].split())
    assert set(re.findall(r"\bmake (demo|test|help|quick|check|format|bench|clean)\b", README)) <= targets
    assert set(re.findall(r"^make (\w+)", README, re.MULTILINE)) <= targets
    assert all(re.search(rf"^{target}:.*## \S", (ROOT / "Makefile").read_text(), re.MULTILINE) for target in targets)


@pytest.mark.parametrize(
    "path", sorted(set(re.findall(r"`((?:kernels|featurelib|nnframes|tests|notebooks)/[\w./]*)`", README)))
)
def test_the_paths_exist(path):
    assert os.path.exists(ROOT / path)  # noqa: PTH110  a path may be a folder or a file
