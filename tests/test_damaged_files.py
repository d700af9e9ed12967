"""Nothing comes back from a damaged file, and nothing changes."""

import io
import json
import tempfile
import zipfile

import numpy as np
import pytest
from saved_models import chain, equal, residual, trained

import nbcnn
from nbcnn.io import files, safetensors
from nbcnn.io.files import FormatError


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.set_random_seed(0)
    nbcnn.utils.clear_session()
    with nbcnn.device("cpu"):
        yield


def rewritten(path, change):
    """The archive with `change(name, content)` applied to each member; None drops it."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            content = change(name, content)
            if content is not None:
                new.writestr(name, content)


def edited(**changes):
    def change(name, content):
        if name != "model.json":
            return content
        return json.dumps({**json.loads(content), **changes})

    return change


def safe(arrays):
    buffer = io.BytesIO()
    safetensors.write(buffer, arrays)
    return buffer.getvalue()


def weights(change):
    """Damage of the member that holds the weights, by name."""

    def edit(name, content):
        if name != "weights.safetensors":
            return content
        with tempfile.TemporaryFile() as file:
            file.write(content)
            file.flush()
            held = safetensors.Reader(files.Window.whole(file, "here"))
            return safe(change({n: held.array(n) for n in held.entries}))

    return edit


def without_first(arrays):
    return dict(list(arrays.items())[1:])


def changed_first(arrays):
    name = min(arrays)
    return {**arrays, name: arrays[name] + 1}


def reshaped_first(arrays):
    name = min(arrays)
    return {**arrays, name: arrays[name].reshape(-1)}


DAMAGES = {
    "another format": (edited(format="keras"), r"model\.json: has format 'keras'"),
    "a later version": (edited(format_version=99), r"model\.json: has format version 99"),
    "no model": (edited(model=None), r"model\.json: has no model"),
    "no weights": (edited(weights=None), "has no list of weights"),
    "a missing member": (
        lambda name, old: None if name == "weights.safetensors" else old,
        r"weights\.safetensors: is missing",
    ),
    "a missing array": (weights(without_first), "holds other arrays"),
    "another shape": (weights(reshaped_first), r"has shape \(54,\), expected \(3, 3, 2, 3\)"),
    "other numbers": (weights(changed_first), "its checksum is another"),
    "too few bytes": (
        lambda name, old: old[:-4] if name == "weights.safetensors" else old,
        "bytes of numbers, its header says|needs",
    ),
    "no arrays": (
        lambda name, old: b"hello" if name == "weights.safetensors" else old,
        r"weights\.safetensors: is damaged",
    ),
    "a deep text": (
        lambda name, old: b'{"a":' * 100000 if name == "model.json" else old,
        "nested more than",
    ),
    "a rather deep text": (
        lambda name, old: b'{"a":' * 300 + b"1" + b"}" * 300 if name == "model.json" else old,
        "nested more than",
    ),
    "no JSON": (
        lambda name, old: b"{" if name == "model.json" else old,
        r"model\.json: is damaged",
    ),
    "a list": (lambda name, old: b"[]" if name == "model.json" else old, "expected an object"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_files_are_refused(damage, tmp_path):
    path = tmp_path / "m.nbcnn"
    chain().save(path)
    change, message = DAMAGES[damage]
    rewritten(path, change)
    with pytest.raises(FormatError, match=message) as caught:
        nbcnn.models.load_model(path)
    assert "m.nbcnn" in str(caught.value)


def test_flipped_bits_are_found(tmp_path):
    path = tmp_path / "m.nbcnn"
    model = chain()
    model.save(path)
    data = bytearray(path.read_bytes())
    value = model.get_weights()[0].tobytes()
    data[data.index(value) + 5] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"weights\.safetensors: is damaged: Bad CRC"):
        nbcnn.models.load_model(path)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.999])
def test_cut_off_files_are_refused(part, tmp_path):
    path = tmp_path / "m.nbcnn"
    chain().save(path)
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(FormatError, match="is no zip archive"):
        nbcnn.models.load_model(path)


def test_compressed_members_are_refused(tmp_path):
    path = tmp_path / "m.nbcnn"
    chain().save(path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(FormatError, match="is compressed"):
        nbcnn.models.load_model(path)


def config_with(change):
    config = json.loads(json.dumps(residual().get_config()))
    change(config)
    return config


@pytest.mark.parametrize(
    "change",
    [
        lambda c: c["layers"].pop(2),
        lambda c: c["layers"][2].update(class_name="os.system"),
        lambda c: c["layers"][2].pop("config"),
        lambda c: c.update(output_layers=[["nothing", 0, 0]]),
        lambda c: c["layers"][2]["inbound_nodes"][0].update(
            args=[{"class_name": "__keras_tensor__"}]
        ),
        lambda c: [
            e.update(config={"operation": "assign", "settings": {}}) for e in c["layers"][2:]
        ],
    ],
)
def test_graphs_that_make_no_sense_are_refused(change):
    with pytest.raises(ValueError):
        nbcnn.Model.from_config(config_with(change))


def npy(array):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array)
    return buffer.getvalue()


def in_version_1(path, first=None):
    """The file as it was written before its arrays were in `.safetensors` members."""
    with zipfile.ZipFile(path) as old:
        index = json.loads(old.read("model.json"))
        arrays = {}
        for group in ("weights", "optimizer"):
            with tempfile.TemporaryFile() as file:
                file.write(old.read(f"{group}.safetensors"))
                file.flush()
                held = safetensors.Reader(files.Window.whole(file, "here"))
                arrays.update({f"{group}/{n}.npy": held.array(n) for n in held.entries})
    for entry in index["weights"]:
        entry["member"] = f"weights/{entry['member']}.npy"
    slots = index["optimizer"]["slots"]
    index["optimizer"]["slots"] = {
        slot: [f"optimizer/{name}.npy" for name in names] for slot, names in slots.items()
    }
    index["format_version"] = 1
    del index["digests"], index["optimizer"]["state"]
    with zipfile.ZipFile(path, "w") as new:
        new.writestr("model.json", json.dumps(index))
        for name, array in arrays.items():
            is_first = name == index["weights"][0]["member"]
            new.writestr(name, npy(array) if first is None or not is_first else first)


def test_files_of_version_1(tmp_path):
    model = trained(chain())
    model.save(tmp_path / "m.nbcnn")
    in_version_1(tmp_path / "m.nbcnn")
    loaded = nbcnn.saving.load_model(tmp_path / "m.nbcnn")
    equal(model, loaded)
    assert loaded.optimizer.iterations == 3
    for name, values in model._runners.store.slot_values().items():
        for a, b in zip(values, loaded._runners.store.slot_values()[name], strict=True):
            np.testing.assert_array_equal(a, b)


OLD_DAMAGES = {
    "another shape": (npy(np.zeros((3, 3), "float32")), r"has shape \(3, 3\)"),
    "pickled objects": (npy(np.full((3, 3, 2, 3), None, dtype=object)), "does not describe"),
    "too few bytes": (npy(np.zeros((3, 3, 2, 3), "float32"))[:-4], "its header says"),
    "no array": (b"hello", r"\.npy: is damaged"),
}


@pytest.mark.parametrize("damage", OLD_DAMAGES)
def test_damaged_files_of_version_1_are_refused(damage, tmp_path):
    model = trained(chain())
    model.save(tmp_path / "m.nbcnn")
    content, message = OLD_DAMAGES[damage]
    in_version_1(tmp_path / "m.nbcnn", content)
    with pytest.raises(FormatError, match=message):
        nbcnn.saving.load_model(tmp_path / "m.nbcnn")
