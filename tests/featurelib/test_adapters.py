"""Analytics Zoo's names for chains in stages: programs written for it say the same here."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

import featurelib
from featurelib import (
    ArrayToTensor,
    BigDLAdapter,
    ChainedPreprocessing,
    FeatureError,
    FeatureLabelPreprocessing,
    Preprocessing,
    ScalarToTensor,
    SeqToTensor,
    TensorToSample,
    ToTuple,
    stack,
)
from featurelib import image as I
from featurelib.sample import Sample, inputs_in, tensors_of
from featurelib.text import LocalTextSet, Normalizer, Tokenizer
from kernels.errors import ArgumentError
from nnframes.spark.features import feature_part, label_part

ZOO = {
    "ChainedPreprocessing": "transformers",
    "ScalarToTensor": "",
    "SeqToTensor": "size=()",
    "SeqToMultipleTensors": "size",
    "ArrayToTensor": "size",
    "MLlibVectorToTensor": "size",
    "FeatureLabelPreprocessing": "feature_transformer, label_transformer",
    "TensorToSample": "",
    "FeatureToTupleAdapter": "sample_transformer",
    "ToTuple": "",
    "BigDLAdapter": "bigdl_transformer",
}


@pytest.mark.parametrize("name", ZOO)
def test_arguments_of_analytics_zoo(name):
    parameters = inspect.signature(getattr(featurelib, name)).parameters.values()
    assert ", ".join(p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters) == ZOO[name]
    assert name in featurelib.__all__


def test_other_names_of_the_same():
    assert I.Compose is ChainedPreprocessing
    assert featurelib.MLlibVectorToTensor is ArrayToTensor


@pytest.mark.parametrize("make", [BigDLAdapter, lambda one: FeatureLabelPreprocessing(SeqToTensor(), one)])
def test_what_is_no_transform(make):
    with pytest.raises(ArgumentError, match=r"_transformer must be a Preprocessing\. Received: 3"):
        make(3)


def test_labels_are_never_augmented():
    with pytest.raises(ArgumentError, match=r"label_transformer must not be random. Received: ImageRandomCrop\("):
        FeatureLabelPreprocessing(SeqToTensor(), I.ImageRandomCrop(2, 2))


def test_a_stage_looks_inside():
    images = ChainedPreprocessing([I.RowToImageFeature(), BigDLAdapter(I.ImageResize(2, 2))])
    both = FeatureLabelPreprocessing(images, ScalarToTensor())
    inside = [type(stage).__name__ for stage in feature_part(ToTuple() >> both).transformers]
    assert inside == ["RowToImageFeature", "ImageResize"]
    assert isinstance(label_part(ToTuple() >> both), ScalarToTensor)
    assert feature_part(TensorToSample()) is None
    assert label_part(images) is label_part(None) is feature_part(None) is None
    for plain in (SeqToTensor([2]), ChainedPreprocessing([]), ToTuple() >> SeqToTensor()):
        assert feature_part(plain) is plain


def test_samples_are_as_many_inputs_as_they_hold():
    two = Sample((np.zeros(2), np.zeros(3)))
    assert [part.shape for part in tensors_of(I.ImageFeature().replace(sample=two))] == [(2,), (3,)]
    assert [len(part) for part in inputs_in([two, two, two])] == [3, 3]
    assert [part.shape for part in stack([two, two])] == [(2, 2), (2, 3)]
    assert stack([Sample((np.zeros(2),))]).shape == (1, 2)
    assert inputs_in([]) == ([],)
    with pytest.raises(FeatureError, match="row 1: samples of a batch must have one number of inputs: expected 2, rec"):
        inputs_in([two, Sample((np.zeros(2),))])


def test_a_record_is_the_tensor_that_was_made_last():
    picture = np.zeros((4, 5, 3), np.uint8)
    for last in (I.MatToFloats(), I.MatToTensor(), I.ImageMatToTensor()):
        assert np.asarray(last(picture)).shape == (3, 4, 5)
        assert np.asarray(last.transform(I.ImageFeature(picture))).dtype == np.float32


def test_a_transform_of_a_set_of_texts():
    chain: Preprocessing = Tokenizer() >> Normalizer()
    assert [one.get_tokens() for one in chain(LocalTextSet(["To be,", "or"])).features] == [["to", "be"], ["or"]]
