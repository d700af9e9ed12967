"""Models in files: what comes back is equal, and nothing comes back from a damaged file."""

import io
import json
import tempfile
import zipfile

import numpy as np
import pytest

import nbcnn
from nbcnn import layers, ops, random_state
from nbcnn.io import files, safetensors
from nbcnn.io.files import FormatError

RNG = np.random.default_rng(1)
X = RNG.normal(size=(12, 6, 6, 2)).astype("float32")
LABELS = RNG.integers(0, 3, 12)


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.set_random_seed(0)
    nbcnn.utils.clear_session()
    with nbcnn.device("cpu"):
        yield


def chain():
    return nbcnn.Sequential(
        [
            nbcnn.Input((6, 6, 2), name="pixels"),
            layers.Conv2D(3, 3, activation="relu", kernel_regularizer=nbcnn.regularizers.L2(1e-3)),
            layers.BatchNormalization(),
            layers.Flatten(),
            layers.Dropout(0.2),
            layers.Dense(3, activation="softmax"),
        ]
    )


def residual():
    """Shared layers, bare operations, several inputs and outputs, a model inside."""
    a, b = nbcnn.Input((6, 6, 2), name="a"), nbcnn.Input((4,), name="b")
    conv = layers.Conv2D(2, 3, padding="same")
    x = ops.relu(conv(conv(a)) + a) * 0.5
    x = layers.Flatten()(x)
    inner = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3)], name="inner")
    y = layers.Concatenate()([x, inner(b)])
    return nbcnn.Model([a, b], {"p": layers.Dense(3, name="p")(y), "q": [y, x]})


@nbcnn.saving.register_keras_serializable("tests")
class Own(nbcnn.Model):
    def __init__(self, units, activation="relu", **kwargs):
        super().__init__(**kwargs)
        self.hidden = layers.Dense(units, activation=activation)
        self.out = layers.Dense(3, activation="softmax")
        self.flat = layers.Flatten()

    def call(self, inputs):
        return self.out(self.hidden(self.flat(inputs)))


def trained(model, **options):
    model.compile("adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"], **options)
    model.fit(X, LABELS, batch_size=5, verbose=0)
    return model


def equal(first, second):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("ending", ["nbcnn", "keras"])
@pytest.mark.parametrize("make", [chain, lambda: Own(5, activation="tanh")], ids=["chain", "own"])
def test_a_loaded_model_predicts_and_trains_on_as_the_saved_one(make, ending, tmp_path):
    model = trained(make())
    model.save(tmp_path / f"m.{ending}")
    loaded = nbcnn.models.load_model(tmp_path / f"m.{ending}", restore_random_state=True)
    assert type(loaded) is type(model)
    assert loaded.optimizer.iterations == model.optimizer.iterations == 3
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    state = random_state.get_state()
    model.fit(X, LABELS, batch_size=5, epochs=2, verbose=0)
    random_state.set_state(state)
    loaded.fit(X, LABELS, batch_size=5, epochs=2, verbose=0)
    equal(model, loaded)


@pytest.mark.parametrize("ending", ["nbcnn", "keras"])
def test_a_graph_comes_back_whole(ending, tmp_path):
    model = residual()
    model.save(tmp_path / f"m.{ending}")
    loaded = nbcnn.saving.load_model(tmp_path / f"m.{ending}")
    assert loaded.input_names == ["a", "b"]
    assert [layer.name for layer in loaded.layers] == [layer.name for layer in model.layers]
    equal(model, loaded)
    data = {"a": X, "b": RNG.normal(size=(12, 4))}
    before, after = model.predict(data, verbose=0), loaded.predict(data, verbose=0)
    np.testing.assert_array_equal(before["p"], after["p"])
    np.testing.assert_array_equal(before["q"][1], after["q"][1])


def test_architecture_alone():
    model = residual()
    again = nbcnn.models.model_from_json(model.to_json())
    assert again.count_params() == model.count_params()
    assert json.loads(again.to_json()) == json.loads(model.to_json())
    copy = nbcnn.models.clone_model(chain())
    assert [type(layer) for layer in copy.layers] == [type(layer) for layer in chain().layers]

    def widen(layer):
        if isinstance(layer, layers.Conv2D):
            return layers.Conv2D.from_config({**layer.get_config(), "filters": 7})
        return type(layer).from_config(layer.get_config())

    assert nbcnn.models.clone_model(chain(), clone_function=widen).weights[0].shape == (3, 3, 2, 7)


def test_loading_does_not_disturb_the_random_generator(tmp_path):
    chain().save(tmp_path / "m.nbcnn")
    before = random_state.get_state()
    nbcnn.models.load_model(tmp_path / "m.nbcnn")
    assert random_state.get_state() == before


ALL_WEIGHTS = ["w.weights.nbcnn", "w.npz", "w.nbcnn", "w.safetensors", "w.weights.h5", "w.keras"]


@pytest.mark.parametrize("name", ALL_WEIGHTS)
def test_weights_alone(name, tmp_path):
    model, other = trained(chain()), chain()
    save = model.save if name in ("w.nbcnn", "w.keras") else model.save_weights
    save(tmp_path / name)
    other.load_weights(tmp_path / name)
    equal(model, other)


def test_npz_files_are_numpys(tmp_path):
    model = chain()
    model.save_weights(tmp_path / "w.npz")
    with np.load(tmp_path / "w.npz") as file:
        assert file["batch_normalization/gamma"].shape == (3,)
        assert len(file.files) == len(model.weights)
    doubled = [w.astype("float64") * 2 for w in model.get_weights()]
    np.savez_compressed(tmp_path / "c.npz", *doubled)
    model.load_weights(tmp_path / "c.npz")
    np.testing.assert_array_equal(model.get_weights()[0], doubled[0].astype("float32"))


def test_weights_that_do_not_fit_change_nothing(tmp_path):
    wide = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3), layers.Dense(5)])
    narrow = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3), layers.Dense(2)])
    for mine, other in zip(narrow.weights, wide.weights):
        mine.path = other.path  # which names them in .safetensors
    for name in ("w.npz", "w.weights.nbcnn", "w.safetensors", "w.weights.h5"):
        wide.save_weights(tmp_path / name)
        before = narrow.get_weights()
        with pytest.raises(FormatError, match=r"has shape \(3, 5\), expected \(3, 2\)"):
            narrow.load_weights(tmp_path / name)
        with pytest.raises(FormatError, match=r"holds 4 arrays|no place for|has no dense"):
            nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3)]).load_weights(tmp_path / name)
        for a, b in zip(before, narrow.get_weights()):
            np.testing.assert_array_equal(a, b)


def test_classes_and_functions_of_ones_own(tmp_path):
    class Twice(layers.Layer):
        def call(self, inputs):
            return inputs * 2.0

    def distance(y_true, y_pred):
        return ops.mean(ops.abs(y_true - y_pred), axis=-1)

    model = nbcnn.Sequential([nbcnn.Input((2,)), Twice(), layers.Dense(1)])
    model.compile("sgd", loss=distance)
    model.save(tmp_path / "m.nbcnn")
    with pytest.raises(ValueError, match="Twice"):
        nbcnn.models.load_model(tmp_path / "m.nbcnn")
    with pytest.raises(ValueError, match=r"distance.*compile=False"):
        nbcnn.models.load_model(tmp_path / "m.nbcnn", custom_objects={"Twice": Twice})
    names = {"Twice": Twice, "distance": distance}
    loaded = nbcnn.models.load_model(tmp_path / "m.nbcnn", custom_objects=names)
    loaded.fit(X[:, 0, 0], LABELS.astype("float32"), verbose=0)
    nbcnn.models.load_model(tmp_path / "m.nbcnn", {"Twice": Twice}, compile=False)


def test_equal_models_make_equal_files(tmp_path):
    model = chain()
    for ending in ("nbcnn", "keras"):
        paths = [tmp_path / f"{name}.{ending}" for name in "ab"]
        for path in paths:
            model.save(path, include_optimizer=False)
        assert paths[0].read_bytes() == paths[1].read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.nbcnn"
    model = chain()
    model.save(path)
    old = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(files.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["m.nbcnn"]


@pytest.mark.parametrize("name", ["m.h5", "m.weights.h5", "m", "m.npz"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.keras or \.nbcnn"):
        chain().save(tmp_path / name)
    with pytest.raises(ValueError, match=r"must end in \.keras or \.nbcnn"):
        nbcnn.models.load_model(tmp_path / name)


def test_paths(tmp_path):
    model = chain()
    with pytest.raises(TypeError, match="filepath must be a path"):
        model.save(3)
    with pytest.raises(FileNotFoundError, match="no such file"):
        nbcnn.models.load_model(tmp_path / "none.nbcnn")
    with pytest.raises(FileNotFoundError, match="no folder"):
        model.save(tmp_path / "none" / "m.nbcnn")
    model.save(str(tmp_path / "m.nbcnn"))
    with pytest.raises(FileExistsError, match="overwrite"):
        model.save(tmp_path / "m.nbcnn", overwrite=False)


def test_models_without_weights_are_not_saved(tmp_path):
    model = nbcnn.Sequential([layers.Dense(2)])
    for act in (
        model.save,
        lambda p: model.save_weights(f"{p}.npz"),
        lambda p: model.load_weights(p),
    ):
        (tmp_path / "m.nbcnn").touch()
        with pytest.raises(ValueError, match="not built yet"):
            act(tmp_path / "m.nbcnn")


# -- damaged files ---------------------------------------------------------------------------------


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
