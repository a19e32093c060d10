"""Notebooks run from top to bottom, and are stored without their outputs."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

SHOWN = {
    "01-digits.ipynb": ["accuracy on unseen digits: 0.9", "image/png", "|       9.0|"],
    "02-features.ipynb": ["image/png", "|      true|    1|", "accuracy on pictures: ", "|card |[", "forecast: "],
    "03-training.ipynb": [
        "best accuracy: 0.9",
        "image/png",
        "killed process",
        "the same weights, to the last bit: True",
        "resumed to the same weights: True",
        "job mode gives the same weights: True",
    ],
}
"""What the notebooks print, among other things."""

NOTEBOOKS = sorted((Path(__file__).parent.parent / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks():
    assert [path.name for path in NOTEBOOKS] == sorted(SHOWN)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_outputs_are_stripped(path):
    cells = json.loads(path.read_text())["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook_runs(path, tmp_path, spawn):
    """In a process of its own: a notebook starts and stops its own Spark session."""
    paths = [str(path.parent.parent), os.environ.get("PYTHONPATH", "")]
    env = {
        "EPOCHS": "3",
        "PYSPARK_PYTHON": sys.executable,
        "IPYTHONDIR": str(tmp_path),
        "JUPYTER_RUNTIME_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    output = spawn(RUN, str(path), env=env, timeout=300)
    assert [text for text in SHOWN[path.name] if text not in output] == []


RUN = """
import asyncio, json, sys
import nbclient, nbformat
notebook = nbformat.read(sys.argv[1], as_version=4)
nbclient.NotebookClient(notebook, timeout=280, kernel_name="python3").execute()
for cell in notebook.cells:
    for output in cell.get("outputs", ()):
        data = output.get("data", {})
        print(output.get("text", ""), json.dumps(list(data)), data.get("text/plain"))
"""
