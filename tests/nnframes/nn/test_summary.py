"""Summaries: what is printed is returned, and adds up."""

from __future__ import annotations

import pytest

from nnframes import nn
from nnframes.errors import ArgumentError, ShapeError


def test_a_sequential_with_buffers(capsys):
    model = (
        nn.Sequential().add(nn.SpatialConvolution(3, 4, 3, 3)).add(nn.SpatialBatchNormalization(4)).add(nn.View([-1]))
    )
    text = model.summary((3, 8, 8))
    assert capsys.readouterr().out == text + "\n"
    lines = text.splitlines()
    assert lines[2].split() == ["spatialconvolution_1", "SpatialConvolution", "(batch,", "4,", "6,", "6)", "112"]
    assert lines[4].split() == ["view_1", "View", "(batch,", "144)", "0"]
    assert lines[-1] == "Parameters: 120. Buffers: 8."
    assert len({len(line) for line in lines[:-1]}) == 1


def test_a_graph_model_knows_its_input_shapes():
    a, b = nn.Input((4,)), nn.Input((5,))
    model = nn.Model([a, b], nn.JoinTable(1)([nn.Linear(4, 3)(a), b]))
    assert "jointable_1  JoinTable  (batch, 8)             0" in model.summary()


def test_without_a_shape_layers_and_counts_are_shown():
    inner = nn.Sequential().add(nn.Linear(4, 3)).add(nn.BatchNormalization(3))
    text = nn.Sequential().add(inner).add(nn.ReLU()).summary()
    rows = [line.split() for line in text.splitlines()[2:-2]]
    assert [(name, shape, count) for name, _, shape, count in rows] == [
        ("linear_1", "?", "15"),
        ("batchnormalization_1", "?", "6"),
        ("relu_1", "?", "0"),
    ]
    assert text.endswith("Parameters: 21. Buffers: 6.")


def test_a_shared_layer_counts_once():
    shared = nn.Linear(3, 3)
    text = nn.Sequential().add(shared).add(shared).summary((3,))
    assert [line.split()[-1] for line in text.splitlines()[2:4]] == ["12", "0"]
    assert text.endswith("Parameters: 12. Buffers: 0.")


def test_tables_are_lists_of_shapes():
    assert "[(batch, 3), (batch, 4)]" in nn.FlattenTable().summary([(3,), (4,)])


def test_a_single_layer_and_ids():
    assert "(batch, 7, 2)" in nn.LookupTable(5, 2).summary((7,))


def test_the_shape_must_be_known_and_fit():
    for shape in (4, "x", (None, 4), (2.5,), [(3,), "a"], -1):
        with pytest.raises(ArgumentError, match=r"Linear summary must be told the shape of one row, without the batch"):
            nn.Linear(3, 2).summary(shape)
    with pytest.raises(ShapeError, match=r"Linear 'linear_1' expects \(batch, 3\)"):
        nn.Linear(3, 2).summary((4,))


def test_a_recurrent_shows_what_its_cell_holds():
    text = nn.Sequential().add(nn.Recurrent().add(nn.RnnCell(6, 5))).add(nn.Select(1, -1)).summary((3, 6))
    assert text.splitlines()[2].split() == ["recurrent_1", "Recurrent", "(batch,", "3,", "5)", "65"]
    assert text.endswith("Parameters: 65. Buffers: 0.")
