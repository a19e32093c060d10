from __future__ import annotations

import hashlib
import json
import os
import struct
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from nnframes.errors import ArgumentError, ModelFileError
from nnframes.io import load_model, model_bytes, model_from_bytes, open_model, save_model
from nnframes.io.tensors import pack, unpack
from nnframes.nn import (
    BatchNormalization,
    CAddTable,
    ConcatTable,
    Dropout,
    Input,
    L2Regularizer,
    Linear,
    LogSoftMax,
    LookupTable,
    Model,
    MsraFiller,
    ReLU,
    Reshape,
    Sequential,
    SpatialConvolution,
)
from nnframes.nn.walk import parameters_in


def graph():
    x = Input((4,))
    y = Linear(4, 3)(x)
    return Model([x], [CAddTable()([y, ReLU()(y)])])


def shared():
    layer = Linear(4, 4)
    return Sequential().add(layer).add(ReLU()).add(layer)


MODELS = {
    "linear": (lambda: Linear(4, 3, wRegularizer=L2Regularizer(0.1)), (4,)),
    "buffers": (lambda: Sequential().add(Linear(4, 3)).add(BatchNormalization(3)).add(Dropout(0.2)), (4,)),
    "table": (lambda: Sequential().add(LookupTable(10, 3)).add(Reshape([12])), (4,)),
    "branches": (lambda: Sequential().add(ConcatTable().add(Linear(4, 3)).add(Linear(4, 3))).add(CAddTable()), (4,)),
    "graph": (graph, (4,)),
    "shared": (shared, (4,)),
    "init": (lambda: Linear(4, 3).set_init_method(MsraFiller()).set_name("fc"), (4,)),
    "convolution": (lambda: Sequential().add(SpatialConvolution(1, 2, 2, 2)).add(ReLU()), (1, 3, 3)),
}


def forward(layer, shape):
    x = np.random.default_rng(0).random((5, *shape), np.float32)
    return layer.evaluate().forward(np.floor(x * 4) if shape == (4,) else x)


@pytest.mark.parametrize("name", MODELS)
def test_folder_and_file_bring_the_model_back(name, tmp_path):
    make, shape = MODELS[name]
    layer = make().set_seed(7)
    save_model(layer, tmp_path / "model")
    (tmp_path / "file").write_bytes(model_bytes(layer))
    wanted = forward(layer, shape)
    for loaded in (load_model(tmp_path / "model"), model_from_bytes(model_bytes(layer)), open_model(tmp_path / "file")):
        assert [path for path, _ in parameters_in(loaded)] == [path for path, _ in parameters_in(layer)]
        np.testing.assert_array_equal(forward(loaded, shape), wanted)


def test_equal_models_give_equal_bytes():
    assert model_bytes(Linear(4, 3)) == model_bytes(Linear(4, 3))
    assert model_bytes(Linear(4, 3)) != model_bytes(Linear(4, 3).set_seed(1))


def test_an_opened_file_is_mapped_and_a_loaded_model_is_its_own(tmp_path):
    (tmp_path / "file").write_bytes(model_bytes(Linear(4, 3)))
    assert not open_model(tmp_path / "file").weight.value.flags.writeable
    layer = model_from_bytes((tmp_path / "file").read_bytes())
    layer.set_weights([weight + 1 for weight in layer.get_weights()])


def test_the_weights_file_is_plain_safetensors(tmp_path):
    layer = Linear(4, 3)
    save_model(layer, tmp_path / "model")
    tensors = load_file(tmp_path / "model" / "weights.safetensors")
    assert sorted(tensors) == ["linear_1.bias", "linear_1.weight"]
    np.testing.assert_array_equal(tensors["linear_1.weight"], layer.get_weights()[0])


def test_the_exact_bytes_of_a_file():
    header = b'{"__metadata__":{"k":"v"},"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}'
    header += b" " * (-len(header) % 8)
    data = struct.pack("<Q", len(header)) + header + struct.pack("<2f", 1.0, -2.0)
    assert pack({"a": np.array([1, -2], np.float32)}, {"k": "v"}) == data
    tensors, metadata = unpack(data, "file")
    assert tensors["a"].tolist() == [1.0, -2.0]
    assert metadata == {"k": "v"}


def test_large_arrays_that_weights_start_from_are_stored_once():
    """Pretrained embeddings: the tensors hold them, the description does not."""
    start = np.random.default_rng(0).random((3000, 50), np.float32)
    layer = Sequential().add(LookupTable(3000, 50, init_weight=start)).add(Linear(50, 2))
    data = model_bytes(layer)
    assert len(data) < start.nbytes + 10_000
    assert layer.layers[0].init_weight is start
    loaded = model_from_bytes(data)
    np.testing.assert_array_equal(loaded.get_weights()[0], start)
    assert loaded.layers[0].init_weight is None


# ---------------------------------------------------------------- overwriting


def test_an_existing_path_is_kept(tmp_path):
    path = tmp_path / "model"
    save_model(Linear(4, 3), path)
    with pytest.raises(ModelFileError, match="exists already"):
        save_model(Linear(2, 2), path)
    save_model(Linear(2, 2), path, overwrite=True)
    assert load_model(path).output_shape((1, 2)) == (1, 2)
    assert sorted(item.name for item in tmp_path.iterdir()) == ["model"]


def test_overwrite_spares_what_is_no_model(tmp_path):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(ModelFileError, match="is not a saved model and is not overwritten"):
        save_model(Linear(4, 3), tmp_path / "home", overwrite=True)
    assert (tmp_path / "home" / "thesis.txt").exists()


# Of `Path`, because its rename keeps the function of `os` that it found at import in Python 3.10.
@pytest.mark.parametrize(("owner", "call"), [(os, "fsync"), (Path, "rename")], ids=["fsync", "rename"])
def test_a_save_that_fails_leaves_the_old_model_or_none(owner, call, tmp_path, monkeypatch):
    """The disk is full at the n-th call, for every n."""
    path = tmp_path / "model"
    save_model(Linear(4, 3), path)
    real, failures = getattr(owner, call), 0
    for n in range(20):
        left = [n]

        def fail(*args, left=left):
            left[0] -= 1
            if left[0] == -1:
                raise OSError(28, "No space left on device")
            return real(*args)

        monkeypatch.setattr(owner, call, fail)
        try:
            save_model(Linear(2, 2), path, overwrite=True)
            break
        except OSError:
            failures += 1
        finally:
            monkeypatch.setattr(owner, call, real)
        if path.exists():
            load_model(path)
        else:
            with pytest.raises(ModelFileError, match="rename"):
                load_model(path)
            path.with_name("model.replaced").rename(path)
    assert failures
    assert load_model(path).output_shape((1, 2)) == (1, 2)


def test_only_layers_are_saved(tmp_path):
    with pytest.raises(ArgumentError, match=r"model must be a layer of nnframes.nn. Received: dict."):
        save_model({}, tmp_path / "model")
    assert not list(tmp_path.iterdir())


# ---------------------------------------------------------------- folders that are wrong


def seal(path):
    """A manifest that agrees with the files, as an attacker would write it."""
    files = {item.name: item.read_bytes() for item in path.iterdir() if item.name != "manifest.json"}
    entries = {name: {"size": len(data), "sha256": hashlib.sha256(data).hexdigest()} for name, data in files.items()}
    manifest = {"format": "nnframes.manifest", "version": 1, "files": entries}
    (path / "manifest.json").write_text(json.dumps(manifest))


def edit(name, **changes):
    def apply(path):
        content = json.loads((path / name).read_text())
        (path / name).write_text(json.dumps({**content, **changes}))
        if name != "manifest.json":
            seal(path)

    return apply


def flip(path):
    data = bytearray((path / "weights.safetensors").read_bytes())
    data[-1] ^= 1
    (path / "weights.safetensors").write_bytes(data)


def cut(path):
    data = (path / "weights.safetensors").read_bytes()
    (path / "weights.safetensors").write_bytes(data[:-4])


def other_weights(path):
    (path / "weights.safetensors").write_bytes(pack({"linear_1.weight": np.zeros((3, 5), np.float32)}))
    seal(path)


def other_shapes(path):
    tensors = {"linear_1.weight": np.zeros((3, 5), np.float32), "linear_1.bias": np.zeros(3, np.float32)}
    (path / "weights.safetensors").write_bytes(pack(tensors))
    seal(path)


def layer_config(config):
    return edit("model.json", layer=config)


def escape(path):
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["../../secret"] = manifest["files"].pop("model.json")
    (path / "manifest.json").write_text(json.dumps(manifest))


def device(path):
    (path / "weights.safetensors").unlink()
    (path / "weights.safetensors").symlink_to("/dev/zero")


DEEP = "[" * 100_000
FOLDERS = {
    "flipped bit": (flip, r"weights.safetensors: expected SHA-256 [0-9a-f]{64}, received"),
    "cut": (cut, r"weights.safetensors: expected \d+ bytes, received \d+ bytes"),
    "file missing": (lambda path: (path / "model.json").unlink(), "model.json cannot be read: No such file"),
    "no manifest": (lambda path: (path / "manifest.json").unlink(), "received a folder without manifest.json"),
    "extra file": (lambda path: (path / "run.py").write_text("evil()"), "received also run.py"),
    "manifest is no JSON": (lambda path: (path / "manifest.json").write_text("{"), "manifest.json must be JSON"),
    "manifest is deep": (lambda path: (path / "manifest.json").write_text(DEEP), "manifest.json must be JSON"),
    "manifest is a list": (lambda path: (path / "manifest.json").write_text("[]"), "must have the format"),
    "manifest is huge": (lambda path: (path / "manifest.json").write_text(" " * (2 << 20)), "at most 1048576 bytes"),
    "foreign manifest": (edit("manifest.json", format="other"), "another program's folder"),
    "newer manifest": (edit("manifest.json", version=2), "expected version 1, received 2"),
    "manifest without hashes": (edit("manifest.json", files={"model.json": 3}), "must list size and sha256"),
    "path out of the folder": (escape, "expected the files"),
    "endless file": (device, "weights.safetensors: expected .* received no regular file"),
    "foreign description": (edit("model.json", format="keras"), "expected the format nnframes.model, received keras"),
    "newer description": (
        edit("model.json", version=9, written_by="8.0"),
        "by nnframes 8.0; this is .* update",
    ),
    "unknown layer": (layer_config({"class": "os.system", "args": {"command": "true"}}), "'os.system' is not known"),
    "unknown argument": (layer_config({"class": "Linear", "args": {"x": 1}, "state": {}}), "no argument 'x'"),
    "no layer": (layer_config({"class": "Zeros", "args": {}}), "expected a layer, received a Zeros"),
    "layer is a number": (layer_config(3), "the layers cannot be built"),
    "huge layer": (
        layer_config({"class": "Linear", "args": {"input_size": 10**9, "output_size": 10**9}, "state": {}}),
        "expects .1000000000, 1000000000. of float32",
    ),
    "other tensors": (other_weights, r"Missing: \['linear_1.bias'\], unknown: \[\]"),
    "other shapes": (other_shapes, r"'linear_1.weight' expects \(3, 4\) of float32, received \(3, 5\)"),
}


@pytest.mark.parametrize("case", FOLDERS)
def test_wrong_folders(case, tmp_path):
    spoil, message = FOLDERS[case]
    save_model(Linear(4, 3), tmp_path / "model")
    spoil(tmp_path / "model")
    with pytest.raises(ModelFileError, match=message) as caught:
        load_model(tmp_path / "model")
    assert str(tmp_path) in str(caught.value)


def test_missing_folder_and_plain_file(tmp_path):
    with pytest.raises(ModelFileError, match="received nothing"):
        load_model(tmp_path / "model")
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelFileError, match="received a file"):
        load_model(tmp_path / "file")
    with pytest.raises(ModelFileError, match="cannot be read"):
        open_model(tmp_path / "nothing")


def test_files_of_the_system_are_ignored(tmp_path):
    saved = Linear(4, 3)
    save_model(saved, tmp_path / "model")
    (tmp_path / "model" / ".model.json.crc").write_text("x")
    for ours, theirs in zip(load_model(tmp_path / "model").get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


# ---------------------------------------------------------------- single files that are wrong


def container(header, body=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + body


def entry(shape, low, high, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [low, high]}


CONTAINERS = {
    "empty": (b"", "expected a header of 8 bytes"),
    "header longer than the file": (struct.pack("<Q", 1 << 60) + b"{}", "must have at most 2 bytes"),
    "length not aligned": (struct.pack("<Q", 2) + b"{}", "multiple of 8"),
    "no JSON": (container(b"\xff\xfe"), "must be JSON"),
    "deep JSON": (container(DEEP.encode()), "must be JSON"),
    "a list": (container([1]), "must be a JSON object"),
    "the same name twice": (container(b'{"a": 1, "a": 2}'), "a name occurs twice"),
    "metadata are numbers": (container({"__metadata__": {"k": 1}}), "must be text by name"),
    "entry is no object": (container({"a": 1}), "tensor 'a' must have dtype"),
    "unknown dtype": (container({"a": entry([1], 0, 4, "OBJ")}, bytes(4)), "tensor 'a' must be one of"),
    "dtype is a list": (container({"a": entry([1], 0, 4, [])}, bytes(4)), "tensor 'a' must be one of"),
    "negative size": (container({"a": entry([-1], 0, 4)}, bytes(4)), "whole numbers >= 0"),
    "size is true": (container({"a": entry([True], 0, 4)}, bytes(4)), "whole numbers >= 0"),
    "three offsets": (
        container({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4, 8]}}, bytes(8)),
        "whole numbers >= 0",
    ),
    "shape and bytes differ": (container({"a": entry([2], 0, 4)}, bytes(4)), "expects 8 bytes"),
    "shape overflows": (container({"a": entry([1 << 62, 1 << 62], 0, 4)}, bytes(4)), "expects .* bytes within 4"),
    "beyond the end": (container({"a": entry([2], 0, 8)}, bytes(4)), "expects 8 bytes within 4"),
    "overlap": (container({"a": entry([1], 0, 4), "b": entry([1], 0, 4)}, bytes(4)), "follow one another"),
    "gap": (container({"a": entry([1], 4, 8)}, bytes(8)), "follow one another"),
    "hidden bytes": (container({"a": entry([1], 0, 4)}, bytes(8)), "expect 4 bytes, received 8"),
}


@pytest.mark.parametrize("case", CONTAINERS)
def test_wrong_containers(case):
    data, message = CONTAINERS[case]
    with pytest.raises(ModelFileError, match=message) as caught:
        unpack(data, "some/file")
    assert str(caught.value).startswith("some/file: ")


def test_a_container_of_tensors_is_no_model():
    with pytest.raises(ModelFileError, match="tensors without a description"):
        model_from_bytes(pack({"a": np.zeros(2, np.float32)}))


def test_every_truncation_is_noticed():
    data = model_bytes(Sequential().add(Linear(4, 3)).add(LogSoftMax()))
    for size in range(0, len(data), 37):
        with pytest.raises(ModelFileError):
            model_from_bytes(data[:size])
