"""The table OPS and the list of public names against what the modules define."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

from kernels import ops
from kernels.graph import Op

MODULES = [importlib.import_module(f"kernels.ops.{module.name}") for module in pkgutil.iter_modules(ops.__path__)]


def test_table_holds_every_op_under_its_name() -> None:
    defined = {op.name: op for module in MODULES for op in vars(module).values() if isinstance(op, Op)}
    leaves = {"input", "parameter", "table", "buffer", "constant"}
    assert {name: op for name, op in defined.items() if name not in leaves} == ops.OPS
    assert list(ops.OPS) == sorted(ops.OPS)


def test_public_names_are_sorted_and_exist() -> None:
    assert ops.__all__ == sorted(set(ops.__all__))
    assert all(hasattr(ops, name) for name in ops.__all__)


def test_every_function_that_returns_values_is_public() -> None:
    builders = {
        name
        for module in MODULES
        for name, function in vars(module).items()
        if inspect.isfunction(function)
        and not name.startswith("_")
        and function.__module__ == module.__name__
        and "Value" in str(function.__annotations__.get("return"))
    }
    assert builders - set(ops.__all__) == set()
