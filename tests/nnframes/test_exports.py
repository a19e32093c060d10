from __future__ import annotations

import importlib
import sys

import pytest

import nnframes
from nnframes._identity import check_kernels
from nnframes.errors import ArgumentError

LAZY = """
import sys
import nnframes
from nnframes import __version__
import nnframes.nn
assert not [name for name in ("pyspark", "cv2") if name in sys.modules], "import nnframes.nn must need neither"
from nnframes import NNClassifier
assert "pyspark" in sys.modules
print(nnframes.NNClassifier is NNClassifier, "NNModel" in dir(nnframes))
"""


def test_the_stages_are_handed_on_lazily(spawn):
    assert spawn(LAZY).split() == ["True", "True"]


def test_all_names_resolve_and_others_do_not():
    assert all(hasattr(nnframes, name) for name in nnframes.__all__)
    with pytest.raises(AttributeError, match="module 'nnframes' has no attribute 'NNRegressor'"):
        nnframes.NNRegressor  # noqa: B018
    assert nnframes.__version__ == importlib.import_module("kernels.version").__version__


def test_the_other_kernels_is_named(tmp_path, monkeypatch):
    """A distribution with a package of the same name, as pip would install it."""
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("raise SystemExit('must not be run')")
    info = tmp_path / "kernels-0.9.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: kernels\nVersion: 0.9\n")
    (info / "RECORD").write_text("kernels/__init__.py,,\n")
    (info / "top_level.txt").write_text("kernels\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    wanted = r"its own package 'kernels' in .*, received .*kernels/__init__.py of the distribution kernels 0.9. Hint:"
    with pytest.raises(ImportError, match=wanted):
        check_kernels(str(tmp_path / "kernels" / "__init__.py"))
    with pytest.raises(ImportError, match=r"received nothing"):
        check_kernels("nothing")


def test_an_import_with_the_other_kernels_says_so(tmp_path, spawn):
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "__init__.py").write_text("raise SystemExit('must not be run')")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path)!r})
try:
    import nnframes
except ImportError as error:
    print("own package 'kernels'" in str(error))
"""
    assert spawn(code).strip() == "True"


def test_a_running_session_is_used(spark):
    assert nnframes.init_nncontext({"nnframes.test": "1"}) is spark
    assert spark.conf.get("nnframes.test") == "1"
    spark.conf.unset("nnframes.test")
    assert nnframes.init_nncontext("a name") is spark
    with pytest.raises(ArgumentError, match=r"conf must be a mapping, a SparkConf or a name. Received: 3"):
        nnframes.init_nncontext(3)


START = """
from nnframes import init_nncontext
from pyspark import SparkConf
conf = SparkConf().setMaster("local[1]").set("spark.ui.enabled", "false").set("spark.log.level", "OFF")
spark = init_nncontext(conf, app_name="named")
names = ("spark.python.unix.domain.socket.enabled", "spark.app.name", "spark.master")
print(*[spark.conf.get(name) for name in names])
spark.stop()
"""


@pytest.mark.slow
def test_a_session_of_our_own(spawn):
    assert spawn(START, env={"PYSPARK_PYTHON": sys.executable}).split() == ["true", "named", "local[1]"]
