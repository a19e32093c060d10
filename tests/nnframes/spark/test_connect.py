"""Spark Connect in a process of its own: the same bits as on a classic session, nothing calls the client."""

from __future__ import annotations

import pytest

pytest.importorskip("grpc", reason="Spark Connect needs the extra 'connect'")

from tests.nnframes.spark import remote

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def classic(spark, tmp_path_factory):
    """What the same cases give on a classic session, and where it saved its model."""
    folder = tmp_path_factory.mktemp("classic")
    return {
        "fits": remote.softmax_cases(spark, str(folder / "cache")),
        "stages": remote.stage_cases(spark, str(folder), ""),
        "pipeline": remote.pipeline_cases(spark, str(folder)),
        "own": remote.own_cases(spark, str(folder)),
        "text": remote.text_cases(spark, str(folder)),
        "model": str(folder / "model"),
    }


@pytest.fixture(scope="module")
def connect(classic, spawn, tmp_path_factory):
    return spawn(remote.on_connect, str(tmp_path_factory.mktemp("connect")), classic["model"], timeout=500)


@pytest.fixture
def case(connect):
    def found(name):
        assert "broken" not in connect[name], connect[name]["broken"]
        return connect[name]

    return found


def test_a_fit_is_encrypted_where_the_server_is(classic, spawn, tmp_path):
    """Ranks with a certificate meet by TLS alone, see test_tls.py."""
    found = spawn(remote.encrypted_fit, str(tmp_path), timeout=180)
    assert found == {"tasks": 2, "weights": classic["fits"]["two"]["weights"], "encrypted": [True]}


@pytest.mark.parametrize("name", ["one", "two", "three, sliced", "two, a group for each epoch"])
def test_a_fit_gives_the_bits_and_the_progress_of_a_classic_one(classic, case, name):
    assert case("watched")["fits"][name] == classic["fits"][name]


def test_the_data_cache_level_does_not_show(case):
    found = case("watched")["fits"]
    assert found["two, a group for each epoch"] == found["two"]


def test_nothing_is_left_where_the_data_lay(case):
    assert [fit["left"] for fit in case("watched")["fits"].values()] == [[]] * 4


def test_the_client_listens_nowhere_and_tasks_get_no_address(case):
    found = case("watched")
    assert found["bound"] == []
    assert found["addresses"] == [None] * 5


def test_a_classifier_trains_and_scores_as_on_a_classic_session(classic, case):
    for name in ("weights", "summary", "curves", "scored", "trainer"):
        assert case("stages")[name] == classic["stages"][name], name


def test_the_summary_says_why_a_gang_trained(classic, case):
    assert case("stages")["reasons"] == ["Spark Connect knows no other"] * 2
    assert classic["stages"]["reasons"] == ["2 task slots stay for the whole training"] * 2


def test_scores_are_the_same_by_transform_sql_and_function(case):
    found = case("stages")
    assert found["sql"] == found["udf"] == [row[:1] for row in found["scored"]]


def test_a_model_travels_once_a_session(case):
    assert case("stages")["shipped"] == 1


def test_models_are_saved_and_loaded_and_kept_from_being_overwritten(case):
    found = case("stages")
    assert found["loaded"] == found["scored"]
    assert found["again"].startswith("ModelFileError: ")
    assert "exists already" in found["again"]


def test_a_classic_session_s_model_loads(classic, case):
    assert case("stages")["of another"] == classic["stages"]["scored"]


def test_a_pipeline_with_a_stage_of_spark_trains_saves_and_loads(classic, case):
    found = case("pipeline")
    assert found == classic["pipeline"]
    assert found["loaded"] == found["scored"]
    assert found["stages"] == ["VectorAssembler", "NNClassifierModel"]


def test_a_layer_of_a_notebook_and_column_files(classic, case):
    found = case("own")
    assert found == classic["own"]
    assert found["sql"] == [row[:1] for row in found["scored"]]


@pytest.mark.parametrize(
    ("name", "error", "said"),
    [
        ("raise", "TrainingError", ["Training failed on rank 1 of 2 on ", ": ValueError: this network has a fault"]),
        ("die", "SyncError", ["Training failed on ", "1 of 2", "Hint: "]),
        ("hang", "SyncError", ["rank 0 of 2 on ", "waited 1 s to receive from rank 1 on ", "gradients of iteration 3"]),
        ("data", "DataError", ["Every row must give a sample.", "label 1 is bad"]),
        ("slots", "SyncError", ["All 3 training tasks must run at once. Received: none of 3 within 2 s.", "Hint: "]),
    ],
)
def test_failures_are_one_sentence_and_leave_nothing(case, name, error, said):
    found = case("faults")[name]
    assert found["said"][0] == error
    assert all(part in found["said"][1] for part in said), found["said"][1]
    assert "\n" not in found["said"][1]
    assert "Traceback" not in found["said"][1]
    assert found["left"] == []


def test_a_session_trains_on_after_failures(case):
    assert case("faults")["after"] == 2


def test_every_fault_is_looked_at(case):
    assert case("faults").keys() - {"after"} == remote.FAULTS.keys()


def test_words_are_numbered_as_on_a_classic_session(classic, case):
    assert case("text") == classic["text"]
    assert case("text")["stage"] == [[4, 2, 3, 1], [2, 0, 0, 0], [0] * 4]
    assert len({str(ids) for ids in case("text").values()}) == 1
