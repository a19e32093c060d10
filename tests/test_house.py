"""The rules of the house that are programs: sizes, imports, what an import may cost, what a package shows.

The linter holds what it can (`make check`); the direction of imports is stated in pyproject.toml and checked here too.
"""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("kernels", "featurelib", "nnframes")

FILE_LINES = 400
FUNCTION_LINES = 40
PARAMETERS = 8

# What may be larger, with the reason: {"path" or "path:function": reason}.
EXEMPT: dict[str, str] = {}

SOURCES = sorted(path.relative_to(ROOT).as_posix() for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "tests").rglob("*.py"))


@functools.cache
def tree(source: str) -> ast.Module:
    return ast.parse((ROOT / source).read_text(encoding="utf-8"), source)


def functions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            if not isinstance(child, ast.ClassDef):
                yield prefix + child.name, child
            yield from functions(child, f"{prefix}{child.name}.")
        else:
            yield from functions(child, prefix)


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    lines = (function.end_lineno or function.lineno) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is not None:
        lines -= (first.end_lineno or first.lineno) - first.lineno + 1
    return lines


def calls(source: str) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(source)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def test_the_packages_have_sources():
    assert {source.split("/")[0] for source in SOURCES} == set(PACKAGES)


def too_large(source: str) -> dict[str, str]:
    """Every excess of a file over the limits, by its key in EXEMPT."""
    found = {}
    lines = len((ROOT / source).read_text(encoding="utf-8").splitlines())
    if lines > FILE_LINES:
        found[source] = f"{lines} lines, allowed are {FILE_LINES}"
    for name, function in functions(tree(source)):
        if length(function) > FUNCTION_LINES:
            found[f"{source}:{name}"] = f"{length(function)} lines, allowed are {FUNCTION_LINES}"
        elif (
            function.name != "__init__" and parameters(function) > PARAMETERS
        ):  # constructors carry the peers' signatures
            found[f"{source}:{name}"] = f"{parameters(function)} parameters, allowed are {PARAMETERS}: use a dataclass"
    return found


def parameters(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    names = [each.arg for each in function.args.posonlyargs + function.args.args + function.args.kwonlyargs]
    return len(names) - (names[:1] in (["self"], ["cls"]))


@pytest.mark.parametrize("source", SOURCES + TESTS)
def test_sizes(source):
    assert not {key: excess for key, excess in too_large(source).items() if key not in EXEMPT}


def test_exemptions_are_needed():
    needed = {key for source in SOURCES + TESTS for key in too_large(source)}
    assert set(EXEMPT) <= needed
    assert all(EXEMPT.values())


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_is_left_undone_or_swallowed(source):
    text = (ROOT / source).read_text(encoding="utf-8")
    assert not re.search(r"\b(TODO|FIXME|XXX|HACK)\b|NotImplementedError", text)
    bare = [node.lineno for node in ast.walk(tree(source)) if isinstance(node, ast.ExceptHandler) and node.type is None]
    assert not bare, f"{source}: bare except in line {bare}"


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_is_evaluated(source):
    forbidden = {"eval", "exec", "__import__", "builtins.eval", "builtins.exec"}
    found = [f"line {call.lineno}: {name}" for name, call in calls(source) if name in forbidden]
    loads = [call.lineno for name, call in calls(source) if name in ("np.load", "numpy.load") and _allows_pickle(call)]
    assert not found + loads, f"{source}: {found + loads}"


def _allows_pickle(call: ast.Call) -> bool:
    return any(key.arg == "allow_pickle" and getattr(key.value, "value", True) for key in call.keywords)


@pytest.mark.parametrize("source", SOURCES)
def test_nothing_foreign_is_imported_by_name(source):
    """The import rules see statements; a name handed to importlib passes them."""
    found = []
    for name, call in calls(source):
        literals = [argument.value for argument in call.args[:1] if isinstance(argument, ast.Constant)]
        if name.endswith("import_module") and any(str(literal).split(".")[0] not in PACKAGES for literal in literals):
            found.append(f"line {call.lineno}: {ast.unparse(call)}")
    assert not found, f"{source}: {found}"


LINT = """
import sys
from importlinter.cli import lint_imports
sys.exit(lint_imports(config_filename=sys.argv[1], no_cache=True, no_logo=True))
"""


def test_import_rules(spawn):
    """The contracts of pyproject.toml: direction, rooms of pyspark, cv2 and ctypes, no framework, no pickle.

    In a process of its own: the linter switches off all loggers that it finds.
    """
    assert "0 broken" in spawn(LINT, ROOT / "pyproject.toml")


def test_no_paths_of_a_machine_and_no_registries():
    parts = ["/home" + "/[a-z]", "/root" + "/", "/work" + "/", "files" + r"\.pythonhosted", "pypi" + r"\.org"]
    for source in [*SOURCES, *TESTS, "README.md", "Makefile", "setup.cfg", "pyproject.toml", ".ci/run", ".ci/system"]:
        found = re.findall("|".join(parts), (ROOT / source).read_text(encoding="utf-8"))
        assert not found, f"{source}: {found}"


def public_modules() -> list[str]:
    """The packages that users import from."""
    folders = [source.removesuffix("/__init__.py") for source in SOURCES if source.endswith("/__init__.py")]
    return [folder.replace("/", ".") for folder in folders if "/_" not in folder]


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_say_what_is_public(package):
    assert importlib.import_module(package).__all__


@pytest.mark.parametrize("module", public_modules())
def test_public_names_resolve(module):
    """Their order is the linter's (RUF022)."""
    imported = importlib.import_module(module)
    names = getattr(imported, "__all__", [])
    assert len(names) == len(set(names))
    missing = [name for name in names if not hasattr(imported, name)]
    assert not missing, f"{module}.__all__ names what is not there: {missing}"


IMPORT_AND_REPORT = """
import sys, threading
import {module}
heavy = ["cv2", "pyspark", "pandas", "pyarrow", "scipy", "torch", "tensorflow", "mlxtend"]
print("modules:", *[name for name in heavy if name in sys.modules])
print("threads:", threading.active_count())
try:
    maps = open("/proc/self/maps").read()
except OSError:
    maps = ""
print("libraries:", *[name for name in ["libdnnl", "libmkl", "libgomp", "libiomp", "libjvm"] if name in maps])
"""


@pytest.mark.parametrize("module", PACKAGES)
def test_an_import_is_cheap_and_opens_nothing(module, spawn):
    """Spark forks its Python workers: an import that starts OpenMP would hang them, a heavy one slows each of them."""
    assert spawn(IMPORT_AND_REPORT.format(module=module)).splitlines() == ["modules:", "threads: 1", "libraries:"]


def test_versions_agree():
    try:
        installed = importlib.metadata.version("nnframes")
    except importlib.metadata.PackageNotFoundError:
        pytest.skip("nnframes is imported from the checkout, it is not installed")
    assert installed == importlib.import_module("kernels.version").__version__
