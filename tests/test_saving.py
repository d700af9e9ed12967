"""Models in files: what comes back is equal, and nothing comes back from a damaged file."""

import io
import json
import zipfile

import numpy as np
import pytest
from nbcnn.models.archive import FormatError

import nbcnn
from nbcnn import layers, ops, random_state
from nbcnn.models import archive

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


@pytest.mark.parametrize("make", [chain, lambda: Own(5, activation="tanh")], ids=["chain", "own"])
def test_a_loaded_model_predicts_and_trains_on_as_the_saved_one(make, tmp_path):
    model = trained(make())
    model.save(tmp_path / "m.nbcnn")
    loaded = nbcnn.models.load_model(tmp_path / "m.nbcnn", restore_random_state=True)
    assert type(loaded) is type(model)
    assert loaded.optimizer.iterations == model.optimizer.iterations == 3
    np.testing.assert_array_equal(loaded.predict(X, verbose=0), model.predict(X, verbose=0))
    state = random_state.get_state()
    model.fit(X, LABELS, batch_size=5, epochs=2, verbose=0)
    random_state.set_state(state)
    loaded.fit(X, LABELS, batch_size=5, epochs=2, verbose=0)
    equal(model, loaded)


def test_a_graph_comes_back_whole(tmp_path):
    model = residual()
    model.save(tmp_path / "m.nbcnn")
    loaded = nbcnn.saving.load_model(tmp_path / "m.nbcnn")
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


@pytest.mark.parametrize("name", ["w.weights.nbcnn", "w.npz", "w.nbcnn"])
def test_weights_alone(name, tmp_path):
    model, other = trained(chain()), chain()
    save = model.save if name == "w.nbcnn" else model.save_weights
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
    for name in ("w.npz", "w.weights.nbcnn"):
        wide.save_weights(tmp_path / name)
        before = narrow.get_weights()
        with pytest.raises(FormatError, match=r"has shape \(3, 5\), expected \(3, 2\)"):
            narrow.load_weights(tmp_path / name)
        with pytest.raises(FormatError, match=r"holds 4 arrays, the model has 2"):
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
    for name in ("a.nbcnn", "b.nbcnn"):
        model.save(tmp_path / name, include_optimizer=False)
    assert (tmp_path / "a.nbcnn").read_bytes() == (tmp_path / "b.nbcnn").read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "m.nbcnn"
    model = chain()
    model.save(path)
    old = path.read_bytes()

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(archive.os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        model.save(path)
    assert path.read_bytes() == old
    assert [p.name for p in tmp_path.iterdir()] == ["m.nbcnn"]


@pytest.mark.parametrize("name", ["m.h5", "m.keras", "m", "m.npz"])
def test_other_endings_are_refused(name, tmp_path):
    with pytest.raises(ValueError, match=r"must end in \.nbcnn"):
        chain().save(tmp_path / name)
    with pytest.raises(ValueError, match=r"must end in \.nbcnn"):
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


def npy(array, **options):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, **options)
    return buffer.getvalue()


def first_weight(content):
    return lambda name, old: content if name == "weights/00000.npy" else old


DAMAGES = {
    "another format": (edited(format="keras"), r"model\.json: has format 'keras'"),
    "a later version": (edited(format_version=99), r"model\.json: has format version 99"),
    "no model": (edited(model=None), r"model\.json: has no model"),
    "no weights": (edited(weights=None), "has no list of weights"),
    "a missing member": (
        lambda name, old: None if name == "weights/00001.npy" else old,
        r"weights/00001\.npy: is missing",
    ),
    "another shape": (first_weight(npy(np.zeros((3, 3), "float32"))), r"has shape \(3, 3\)"),
    "pickled objects": (
        first_weight(npy(np.full((3, 3, 2, 3), None, dtype=object))),
        r"weights/00000\.npy: has dtype object",
    ),
    "too few bytes": (
        first_weight(npy(np.zeros((3, 3, 2, 3), "float32"))[:-4]),
        "its header says",
    ),
    "no array": (first_weight(b"hello"), r"weights/00000\.npy: is damaged"),
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
    with pytest.raises(FormatError, match=r"weights/00000\.npy: is damaged: Bad CRC"):
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
