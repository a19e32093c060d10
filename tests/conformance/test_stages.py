"""Checks over all stages, from the table in `stages_table.py`."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pyspark.ml import Estimator, Model, Pipeline, PipelineModel
from pyspark.ml.param import Param
from pyspark.ml.tuning import ParamGridBuilder

import nnframes.spark
from featurelib.config import to_config
from nnframes import NNClassifier, NNEstimator, NNModel
from nnframes.errors import ArgumentError, ModelFileError
from nnframes.nn import Linear, MSECriterion
from nnframes.spark.persistence import Persistent
from nnframes.spark.specs import SPECS
from tests.conformance.stages_table import BAD_VALUES, DEFAULTS, NETWORKS, OTHER_OPTIM, STAGES, VALUES

CASES = [(stage, param.name) for stage, case in STAGES.items() for param in case.make().params]
# Setters that take a param's value in parts: {param: the parts}. That of a validation takes a DataFrame as well.
PARTS = {
    "constantGradientClipping": lambda value: value,
    "earlyStopping": lambda value: (value.monitor, value.patience, value.min_delta, value.restore_best),
    "checkpoint": lambda value: (value.path, value.trigger, value.is_overwrite),
    "dataCacheLevel": lambda value: value,
    "validation": None,
}


def plain(value):
    value = list(value) if isinstance(value, tuple) else value
    return value if isinstance(value, (str, int, float, list, type(None))) else to_config(value)


def setter(stage, name):
    return getattr(stage, f"set{name[0].upper()}{name[1:]}")


def put(stage, name, value):
    if name not in PARTS:
        return setter(stage, name)(value)
    return stage._put(**{name: value}) if PARTS[name] is None else setter(stage, name)(*PARTS[name](value))


def get(stage, name):
    if name in ("checkpoint", "validation"):
        return stage.getOrDefault(name)
    return getattr(stage, f"{'is' if name == 'cachingSample' else 'get'}{name[0].upper()}{name[1:]}")()


def make_full(name):
    stage = STAGES[name].make()
    for param in stage.params:
        put(stage, param.name, VALUES[param.name])
    return stage


# ---------------------------------------------------------------- the table is complete


def test_all_stages_and_params_are_in_the_tables():
    public = (getattr(nnframes.spark, name) for name in nnframes.spark.__all__)
    stages = {one.__name__ for one in public if isinstance(one, type) and issubclass(one, Persistent)}
    assert stages == set(STAGES)
    assert set(DEFAULTS) == set(VALUES) == set(BAD_VALUES) == set(SPECS) == {param for _, param in CASES}
    assert {name for name in VALUES if plain(VALUES[name]) == plain(DEFAULTS[name])} == set()


# ---------------------------------------------------------------- params


@pytest.mark.parametrize(("stage", "param"), CASES)
def test_getters_work_before_and_after_setters(stage, param):
    made = STAGES[stage].make()
    default = STAGES[stage].defaults.get(param, DEFAULTS[param])
    assert plain(get(made, param)) == plain(default)
    assert not made.isSet(param)
    assert put(made, param, VALUES[param]) is made
    assert plain(get(made, param)) == plain(VALUES[param])
    made.clear(made.getParam(param))
    assert plain(get(made, param)) == plain(default)


@pytest.mark.parametrize(("stage", "param"), CASES)
def test_bad_values_are_refused_everywhere(stage, param):
    made = STAGES[stage].make()
    for value, message in BAD_VALUES[param]:
        if param not in PARTS:
            with pytest.raises(ArgumentError) as caught:
                setter(made, param)(value)
            assert message in str(caught.value)
        if value is not None:
            with pytest.raises(ArgumentError):
                made._set(**{param: value})
            with pytest.raises(ArgumentError):
                ParamGridBuilder().addGrid(made.getParam(param), [value]).build()
            with pytest.raises(ArgumentError):
                made.copy({made.getParam(param): value})
    assert not made.isSet(param)


def test_none_in_a_param_map_is_refused_before_any_job(spark):
    estimator = STAGES["NNClassifier"].make()
    with pytest.raises(ArgumentError, match=r"batchSize must be a whole number >= 1. Received: None"):
        estimator.fit(spark.range(1), {estimator.batchSize: None})


@pytest.mark.parametrize("value", [np.int64(4), np.float32(4.0), 4.0])
def test_whole_numbers_of_any_type_are_taken(value):
    made = STAGES["NNModel"].make().setBatchSize(value)
    assert made.getBatchSize() == 4
    assert type(made.getBatchSize()) is int


def test_clipping_is_set_and_cleared_together():
    estimator = STAGES["NNEstimator"].make()
    estimator.setConstantGradientClipping(-1, 1).setGradientClippingByL2Norm(2)
    assert [type(one).__name__ for one in estimator._clippings()] == ["L2NormClipping", "ConstantClipping"]
    assert estimator.clearGradientClipping()._clippings() == []
    with pytest.raises(ArgumentError, match="min must be <= max"):
        estimator.setConstantGradientClipping(1, -1)


@pytest.mark.parametrize("stage", STAGES)
def test_params_explain_themselves(stage):
    made = STAGES[stage].make()
    text = made.explainParams()
    assert all(f"{param.name}: " in text and param.doc for param in made.params)
    assert all(isinstance(param, Param) and param.parent == made.uid for param in made.params)


# ---------------------------------------------------------------- copies


@pytest.mark.parametrize("stage", NETWORKS)
def test_a_copy_has_the_same_uid_and_its_own_params(stage):
    made = make_full(stage)
    copied = made.copy({made.batchSize: 99})
    assert type(copied) is type(made)
    assert copied.uid == made.uid
    assert (copied.getBatchSize(), made.getBatchSize()) == (99, VALUES["batchSize"])
    assert all(plain(get(copied, p.name)) == plain(VALUES[p.name]) for p in made.params if p.name != "batchSize")
    copied.setFeaturesCol("elsewhere")
    assert made.getFeaturesCol() == VALUES["featuresCol"]
    assert copied.model is made.model


@pytest.mark.parametrize("stage", STAGES)
def test_kinds(stage):
    made = STAGES[stage].make()
    assert isinstance(made, Model if stage.endswith("Model") else Estimator)
    assert made.uid.startswith(stage)
    assert made.uid != STAGES[stage].make().uid


# ---------------------------------------------------------------- constructors


@pytest.mark.parametrize("stage", NETWORKS)
def test_constructors_check_their_arguments(stage):
    cls = type(STAGES[stage].make())
    rest = () if stage.endswith("Model") else (MSECriterion(),)
    with pytest.raises(ArgumentError, match=r"model must be a layer of nnframes.nn. Received: str."):
        cls("net", *rest)
    with pytest.raises(ArgumentError, match="feature_preprocessing must be a Preprocessing, a size such as"):
        cls(Linear(4, 1), *rest, "28x28")
    if rest:
        with pytest.raises(
            ArgumentError,
            match=r"criterion must be a criterion of nnframes.nn. Received: the class MSECriterion. Hint: MSE",
        ):
            cls(Linear(4, 1), MSECriterion)


# ---------------------------------------------------------------- persistence


@pytest.mark.parametrize("stage", STAGES)
def test_persistence_brings_everything_back(stage, spark, tmp_path):
    made = make_full(stage)
    path = str(tmp_path / "stage")
    made.save(path)
    loaded = type(made).load(path)
    assert loaded.uid == made.uid
    assert {p.name: plain(v) for p, v in loaded._paramMap.items()} == {
        p.name: plain(v) for p, v in made._paramMap.items()
    }
    for name in STAGES[stage].objects:
        assert plain(getattr(loaded, name)) == plain(getattr(made, name))
    if stage in NETWORKS:
        for one, other in zip(loaded.model.get_weights(), made.model.get_weights(), strict=True):
            np.testing.assert_array_equal(one, other)
    with pytest.raises(ModelFileError, match=r"exists already. Hint: stage.write\(\).overwrite\(\)"):
        made.save(path)
    put(made, "handleInvalid", "keep").write().overwrite().save(path)
    assert type(made).load(path).getHandleInvalid() == "keep"


class Unknown(Linear):
    """Not registered, so that it cannot be saved."""


def test_a_stage_that_cannot_be_saved_leaves_what_is_there(spark, tmp_path):
    path = str(tmp_path / "stage")
    NNModel(Linear(4, 1)).save(path)
    with pytest.raises(ArgumentError, match="class 'Unknown' is not known"):
        NNModel(Unknown(4, 1)).write().overwrite().save(path)
    assert NNModel.load(path).model.get_weights()[0].shape == (1, 4)


def test_a_folder_of_others_is_left_alone(spark, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(ModelFileError, match="exists already"):
        NNModel(Linear(4, 1)).save(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize("path", ["", None, 5])
def test_what_is_no_path_is_refused(path, spark):
    for call in (NNModel(Linear(4, 1)).save, NNModel.load):
        with pytest.raises(ArgumentError, match="path must be a folder or an address"):
            call(path)


def test_defaults_stay_defaults(spark, tmp_path):
    estimator = NNEstimator(Linear(4, 1), MSECriterion()).setOptimMethod(OTHER_OPTIM)
    estimator.save(str(tmp_path / "stage"))
    loaded = NNEstimator.load(str(tmp_path / "stage"))
    assert [param.name for param in loaded._paramMap] == ["optimMethod"]
    assert to_config(loaded.getOptimMethod()) == to_config(OTHER_OPTIM)
    assert loaded.getMaxEpoch() == 50


def test_stages_in_pipelines(spark, tmp_path):
    estimators = [make_full("NNEstimator"), STAGES["NNClassifier"].make()]
    Pipeline(stages=estimators).save(str(tmp_path / "estimators"))
    loaded = Pipeline.load(str(tmp_path / "estimators")).getStages()
    assert [(type(one), one.uid) for one in loaded] == [(type(one), one.uid) for one in estimators]
    models = [make_full("NNModel"), STAGES["NNClassifierModel"].make()]
    PipelineModel(models).write().overwrite().save(str(tmp_path / "models"))
    again = PipelineModel.load(str(tmp_path / "models")).stages
    assert [(type(one), one.uid) for one in again] == [(type(one), one.uid) for one in models]


@pytest.fixture(scope="module")
def saved(spark, tmp_path_factory):
    """The metadata and payload of a saved classifier, and a function that writes changed ones to a new folder."""
    path = tmp_path_factory.mktemp("saved") / "stage"
    STAGES["NNClassifier"].make().save(str(path))
    metadata = json.loads(spark.read.text(f"{path}/metadata").first()[0])
    payload = spark.read.parquet(f"{path}/payload")
    return path, metadata, payload


def rewritten(saved, folder, spark, change):
    """A folder whose metadata `change` has changed; the payload is linked."""
    path, metadata, _ = saved
    content = json.loads(json.dumps(metadata))
    text = change(content)
    folder.mkdir()
    (folder / "metadata").mkdir()
    (folder / "metadata" / "part-0.txt").write_text(json.dumps(content) if text is None else text)
    (folder / "payload").symlink_to(path / "payload")
    return str(folder)


def deep(*path, value):
    def change(content):
        for key in path[:-1]:
            content = content[key]
        content[path[-1]] = value

    return change


SPOILT = {
    "foreign class": (
        deep("class", value="org.apache.spark.ml.feature.Binarizer"),
        "load it with the class that saved",
    ),
    "other stage": (deep("class", value="nnframes.NNModel"), r"Hint: NNModel.load\(path\)"),
    "code as class": (deep("class", value="os.system"), "received os.system"),
    "no JSON": (lambda content: "{", "metadata must be JSON"),
    "no object": (lambda content: "[]", "received no class"),
    "empty": (lambda content: "", "metadata must be JSON"),
    "foreign format": (deep("nnframes", "format", value="x"), "must have the format nnframes.stage"),
    "newer version": (deep("nnframes", "version", value=2), "expected version 1, received 2, written by nnframes"),
    "no payload": (deep("nnframes", "payload", value=None), "must have uid, objects and payload"),
    "no uid": (deep("uid", value=None), "must have uid, objects and payload"),
    "other hash": (deep("nnframes", "payload", "sha256", value="0" * 64), "payload: expected .* with SHA-256 0000"),
    "other size": (deep("nnframes", "payload", "size", value=10), "payload: expected 10 bytes"),
    "unknown criterion": (
        deep("nnframes", "objects", "criterion", value={"class": "Evil", "args": {}}),
        "the stage cannot be built: .*'Evil' is not known",
    ),
    "missing criterion": (deep("nnframes", "objects", value={}), "the stage cannot be built: 'criterion'"),
    "criterion is a number": (deep("nnframes", "objects", "criterion", value=3), "criterion must be a criterion"),
    "unknown param": (deep("paramMap", "cheat", value=1), "the stage cannot be built: .*cheat"),
    "param out of range": (
        deep("paramMap", "batchSize", value=-1),
        "batchSize must be a whole number >= 1. Received: -1",
    ),
}


@pytest.mark.parametrize("case", SPOILT)
def test_folders_that_are_wrong(case, saved, spark, tmp_path):
    change, message = SPOILT[case]
    path = rewritten(saved, tmp_path / "stage", spark, change)
    with pytest.raises(ModelFileError, match=message) as caught:
        NNClassifier.load(path)
    assert path in str(caught.value)


def test_folders_that_are_not_there(saved, spark, tmp_path):
    with pytest.raises(ModelFileError, match="expected a saved NNClassifier, received no readable metadata"):
        NNClassifier.load(str(tmp_path / "nothing"))
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "metadata").symlink_to(saved[0] / "metadata")
    with pytest.raises(ModelFileError, match="payload cannot be read"):
        NNClassifier.load(str(tmp_path / "half"))


def test_places_that_cannot_be_written(spark, tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (f"{tmp_path}/file/stage", "nosuch://host/stage"):
        with pytest.raises(ModelFileError, match=r"stage cannot be written: \S+: ") as caught:
            STAGES["NNModel"].make().save(path)
        assert len(str(caught.value).splitlines()) == 1


def test_a_payload_that_is_no_parquet(saved, spark, tmp_path):
    """Java's reason is given, in one line."""
    path = tmp_path / "stage"
    (path / "payload").mkdir(parents=True)
    (path / "metadata").symlink_to(saved[0] / "metadata")
    (path / "payload" / "part-0.parquet").write_bytes(b"PAR1" + bytes(64) + b"PAR1")
    with pytest.raises(
        ModelFileError, match=r"payload cannot be read: .*corrupted file: the footer .*. Hint: copy or save"
    ) as caught:
        NNClassifier.load(str(path))
    assert "calling o" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_damaged_payload(saved, spark, tmp_path):
    path, _, payload = saved
    rows = payload.collect()
    changed = [(row.number, bytes([row.data[0] ^ 1]) + bytes(row.data[1:])) for row in rows]
    for name, chunks in {"changed": changed, "twice": [tuple(row) for row in rows] * 2, "none": []}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "metadata").symlink_to(path / "metadata")
        spark.createDataFrame(chunks, payload.schema).write.parquet(str(tmp_path / name / "payload"))
        with pytest.raises(ModelFileError, match="payload: expected"):
            NNClassifier.load(str(tmp_path / name))
