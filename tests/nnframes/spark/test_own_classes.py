"""Classes of the user's own in every place of a stage: fitted in both modes, scored, saved, loaded, called in SQL."""

from __future__ import annotations

import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel

from featurelib import Preprocessing, SeqToTensor
from featurelib.registry import _REGISTERED
from kernels import ops
from nnframes import NNClassifier, NNClassifierModel, NNEstimator, NNModel, as_udf, register
from nnframes.errors import ArgumentError, ModelFileError
from nnframes.nn import (
    Cell,
    ClassNLLCriterion,
    Layer,
    Linear,
    LogSoftMax,
    MSECriterion,
    Recurrent,
    Reshape,
    Select,
    Sequential,
    register_class,
)
from nnframes.optim import SGD, OptimMethod
from tests.nnframes.spark.conftest import small_network


@register_class
class Scaled(Layer):
    """One parameter of its own beside a built-in layer."""

    def __init__(self, size, factor=1.0):
        self.size = size
        self.factor = factor
        self.inner = Linear(size, size)

    def call(self, t, x):
        return ops.affine(t.run(self.inner, x), self.factor, 0.0)


@register_class
class OwnCell(Cell):
    """A recurrent cell: h' = tanh(A [x, h])."""

    def __init__(self, input_size, hidden_size):
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.inner = Linear(input_size + hidden_size, hidden_size)

    def state_shapes(self, row_shape):
        return [(self.hidden_size,)]

    def call(self, t, x):
        hidden = ops.tanh(t.run(self.inner, ops.concat(list(x), 1)))
        return [hidden, hidden]


@register_class
class Doubled(Preprocessing):
    def __init__(self, times=1):
        self.times = times

    def apply(self, value, rng=None):
        return value * 2.0**self.times


@register_class
class Halves(ClassNLLCriterion):
    """Half of the negative log-likelihood."""

    def terms(self, t, output, target):
        loss, weight = super().terms(t, output, target)
        return ops.affine(loss, 0.5, 0.0), weight


@register_class
class SignDescent(OptimMethod):
    def __init__(self, learningrate=0.01):
        self.learningrate = learningrate

    def _slots(self):
        return ()

    def _update(self, weights, gradient, slots, update):
        weights -= np.float32(update.rate) * np.sign(gradient)


def network():
    """The cell over the two halves of a row, and the layer behind it."""
    return (
        Sequential()
        .add(Reshape([2, 2]))
        .add(Recurrent().add(OwnCell(2, 8)))
        .add(Select(1, -1))
        .add(Scaled(8, 0.5))
        .add(Linear(8, 3))
        .add(LogSoftMax())
    )


def estimator():
    chain = SeqToTensor([4]) >> Doubled(1)
    return (
        NNClassifier(network(), Halves(), chain)
        .setOptimMethod(SignDescent(0.02))
        .setBatchSize(48)
        .setMaxEpoch(6)
        .setNumShards(2)
        .setShowProgress(False)
    )


@pytest.fixture(scope="module")
def trained(points):
    return estimator().fit(points)


@pytest.fixture(scope="module")
def scored(trained, points):
    return {row.id: row.prediction for row in trained.transform(points).collect()}


def test_fit_and_transform(trained, scored, numbers):
    labels = dict(enumerate(numbers[1]))
    assert np.mean([scored[number] == labels[number] for number in scored]) > 0.8
    local = trained.model.forward(np.float32(numbers[0]) * 2).argmax(axis=1)
    assert [scored[number] for number in range(len(local))] == local.tolist()


def test_job_mode_gives_the_same_bits(trained, points):
    again = estimator().setSyncMode("job").fit(points)
    assert (again.summary.mode, again.summary.reason) == ("job", "it was asked for")
    assert trained.summary.mode == "group"
    for ours, theirs in zip(trained.model.get_weights(), again.model.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_without_caching_the_chain_runs_in_the_training_tasks(points):
    assert estimator().setMaxEpoch(1).setCachingSample(False).fit(points).summary.epochs == 1


def test_functions(spark, trained, scored, points):
    register(spark, "own_class", trained)
    points.createOrReplaceTempView("own_points")
    assert {r.id: r.p for r in spark.sql("SELECT id, own_class(features) AS p FROM own_points").collect()} == scored
    assert {r.id: r.p for r in points.select("id", as_udf(trained)("features").alias("p")).collect()} == scored


def test_stages_and_pipelines_are_saved_and_loaded(trained, scored, points, tmp_path):
    trained.save(str(tmp_path / "model"))
    again = NNClassifierModel.load(str(tmp_path / "model"))
    assert {row.id: row.prediction for row in again.transform(points).collect()} == scored
    estimator().save(str(tmp_path / "estimator"))
    loaded = NNClassifier.load(str(tmp_path / "estimator"))
    assert type(loaded.criterion) is Halves
    assert type(loaded.getOptimMethod()) is SignDescent
    Pipeline(stages=[estimator().setMaxEpoch(1)]).fit(points).save(str(tmp_path / "pipeline"))
    assert PipelineModel.load(str(tmp_path / "pipeline")).transform(points).count() == len(scored)


def test_a_file_is_refused_until_its_classes_are_registered(trained, tmp_path, monkeypatch):
    trained.save(str(tmp_path / "model"))
    monkeypatch.delitem(_REGISTERED, "OwnCell")
    with pytest.raises(ModelFileError, match=r"class 'OwnCell' is not known.* Hint: .*register_class"):
        NNClassifierModel.load(str(tmp_path / "model"))


def test_a_class_registered_anew_is_used_by_workers_that_had_the_first(spark, points):
    def tripled(times):
        @register_class
        class Tripled(Layer):
            def call(self, t, x):
                return ops.affine(x, float(times), 0.0)

        return NNModel(Tripled()).setFeaturesCol("array")

    for times in (3, 5):
        row = tripled(times).transform(points).where("id = 1").first()
        np.testing.assert_allclose(row.prediction, np.float32(row.array) * times, rtol=1e-6)


# ---------------------------------------------------------------- refused before any job


class Unknown(Layer):
    def __init__(self, size=3):
        self.size = size

    def call(self, t, x):
        return x


class UnknownOptim(SGD):
    pass


class UnknownLoss(MSECriterion):
    pass


class UnknownStep(Preprocessing):
    def apply(self, value, rng=None):
        return value


@register_class
class ForgetfulLayer(Layer):
    """Does not store its argument."""

    def __init__(self, size):
        self.inner = Linear(4, size)

    def call(self, t, x):
        return t.run(self.inner, x)


@register_class
class Changing(Layer):
    """Stores something else than it was given."""

    def __init__(self, size):
        self.size = size + 1
        self.inner = Linear(4, size)

    def call(self, t, x):
        return t.run(self.inner, x)


@register_class
class Growing(Layer):
    """Has what its arguments do not say."""

    def __init__(self):
        self.inner = Linear(4, 3)

    def call(self, t, x):
        return t.run(self.inner, x)


def grown():
    layer = Growing()
    layer.inner = Linear(4, 5)
    return layer


REFUSED = {
    "a layer that is not registered": (
        lambda: NNEstimator(small_network().add(Unknown()), MSECriterion()),
        r"^model must .*layers\[4\]: class 'Unknown' is not known.*register_class",
    ),
    "a criterion": (lambda: NNEstimator(Linear(4, 1), UnknownLoss()), r"^criterion must .* class 'UnknownLoss' is not"),
    "an optim method": (
        lambda: NNEstimator(Linear(4, 1), MSECriterion()).setOptimMethod(UnknownOptim()),
        r"^optimMethod must .* class 'UnknownOptim' is not known",
    ),
    "a transform of the features": (
        lambda: NNEstimator(Linear(4, 1), MSECriterion(), UnknownStep() >> SeqToTensor([4])),
        r"^feature_preprocessing must .* class 'UnknownStep' is not known",
    ),
    "one set later": (
        lambda: NNEstimator(Linear(4, 1), MSECriterion()).setSamplePreprocessing(UnknownStep()),
        r"^samplePreprocessing must .* class 'UnknownStep' is not known",
    ),
    "a transform of the label": (
        lambda: NNEstimator(Linear(4, 1), MSECriterion(), None, UnknownStep()),
        r"^label_preprocessing must .* class 'UnknownStep' is not known",
    ),
    "an argument that is not stored": (
        lambda: NNEstimator(Sequential().add(ForgetfulLayer(1)), MSECriterion()),
        r"^model must .* ForgetfulLayer must store its argument 'size'",
    ),
    "an argument that is changed": (
        lambda: NNEstimator(Sequential().add(Changing(1)), MSECriterion()),
        r"^model must .* Received: Changing, which comes out different. Hint: a constructor stores",
    ),
    "what no argument says": (lambda: NNEstimator(grown(), MSECriterion()), r"^model must .* Received: Growing with"),
    "a model": (lambda: NNModel(Unknown()), r"^model must .* class 'Unknown' is not known"),
    "a model's preprocessing": (
        lambda: NNModel(Linear(4, 1), UnknownStep()),
        r"^feature_preprocessing must .* class 'UnknownStep' is not known",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_before_any_job(case, points, tmp_path):
    make, message = REFUSED[case]
    stage = make()
    use = stage.fit if hasattr(stage, "fit") else stage.transform
    with pytest.raises(ArgumentError, match=message):
        use(points)
    with pytest.raises(ArgumentError, match=message):
        stage.save(str(tmp_path / "stage"))
    if isinstance(stage, NNModel):
        with pytest.raises(ArgumentError, match=message):
            as_udf(stage)


def test_names_of_built_in_classes_are_refused():
    with pytest.raises(ArgumentError, match=r"must have a name of its own. Received: Linear, built in."):
        register_class(type("Linear", (Layer,), {}))
    with pytest.raises(ArgumentError, match=r"must be given a class"):
        register_class(Linear(2, 2))


def test_an_object_of_a_class_that_was_replaced_is_refused(points):
    replaced = type("Replaced", (Unknown,), {"__init__": lambda self: None})
    stage = NNModel(register_class(replaced)())
    register_class(type("Replaced", (Unknown,), {"__init__": lambda self: None}))
    with pytest.raises(ArgumentError, match=r"class 'Replaced' .* is not the one that is registered"):
        stage.transform(points)


def test_a_homonym_of_a_built_in_class_is_refused(points):
    homonym = type("Linear", (Linear,), {"__init__": lambda self: Linear.__init__(self, 4, 3)})
    with pytest.raises(ArgumentError, match=r"class 'Linear' .* is not the one that is built in"):
        NNModel(homonym()).transform(points)
