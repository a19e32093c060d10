"""The wheel that the checkout gives, installed elsewhere: complete, small, and as good as the checkout."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("featurelib", "kernels", "nnframes")
# Isolated: no PYTHONPATH and no working directory, which could lend the packages of the checkout.
ISOLATED = "-I"
PIP = [sys.executable, "-m", "pip", "-qq", "--disable-pip-version-check"]

pytestmark = pytest.mark.slow


def run(*command: object, cwd: Path) -> str:
    done = subprocess.run([str(part) for part in command], cwd=cwd, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    # Built from a copy: setuptools writes beside its sources, and would take up what an earlier build left there.
    source, target = tmp_path_factory.mktemp("source") / "nnframes", tmp_path_factory.mktemp("wheel")
    ignored = shutil.ignore_patterns(".*", "build", "dist", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=ignored)
    run(*PIP, "wheel", "--no-deps", "--no-index", "--no-build-isolation", "--wheel-dir", target, source, cwd=target)
    (built,) = target.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel, tmp_path_factory) -> Path:
    """The Python of a fresh environment that has the wheel; its dependencies are those of the running one."""
    folder = tmp_path_factory.mktemp("elsewhere")
    venv.create(folder, with_pip=False, symlinks=True)
    python = folder / "bin" / "python"
    run(*PIP, "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=folder)
    site = Path(
        run(python, ISOLATED, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    )
    # A path in a .pth file comes after this environment's own and its .pth files are not read: no editable install.
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return python


def test_contents(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    assert names == {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


def test_size(wheel):
    assert wheel.stat().st_size < 2_000_000


def test_metadata(elsewhere):
    facts = "import importlib.metadata as m; d = m.distribution('nnframes'); "
    facts += "print(d.version, d.locate_file(''), *d.requires, sep='\\n')"
    version, location, *requires = run(elsewhere, ISOLATED, "-c", facts, cwd=elsewhere.parent).splitlines()
    assert version == importlib.import_module("kernels.version").__version__
    assert Path(location).is_relative_to(elsewhere.parent.parent)
    required = [requirement.split(";")[0].strip() for requirement in requires if "extra ==" not in requirement]
    assert "pyspark>=4.0" in required
    assert not [requirement for requirement in required if requirement.startswith(("torch", "tensorflow"))]


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_from_the_wheel(package, elsewhere):
    code = f"import {package}; print({package}.__file__)"
    assert Path(run(elsewhere, ISOLATED, "-c", code, cwd=elsewhere.parent).strip()).is_relative_to(
        elsewhere.parent.parent
    )


def test_a_layer_computes_from_the_wheel(elsewhere):
    """Warnings are errors: the native libraries are found from there too."""
    code = """
import numpy as np
from nnframes.nn import Linear

layer = Linear(3, 2)
layer.set_weights([np.array([[1, 2, 3], [4, 5, 6]], np.float32), np.array([0.5, -0.5], np.float32)])
print(layer.forward(np.ones((1, 3), np.float32)).tolist())
"""
    assert run(elsewhere, ISOLATED, "-W", "error", "-c", code, cwd=elsewhere.parent).strip() == "[[6.5, 14.5]]"
