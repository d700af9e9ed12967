"""Models in files: what comes back is equal."""

import json

import numpy as np
import pytest
from saved_models import LABELS, RNG, Own, X, chain, equal, residual, trained

import nbcnn
from nbcnn import layers, ops, random_state
from nbcnn.io import files
from nbcnn.io.files import FormatError


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.set_random_seed(0)
    nbcnn.utils.clear_session()
    with nbcnn.device("cpu"):
        yield


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

    model = trained(chain())
    wider = nbcnn.models.clone_model(model, clone_function=widen)
    assert wider.weights[0].shape == (3, 3, 2, 7)
    for clone in (wider, nbcnn.models.clone_model(model)):
        assert clone.get_compile_config() == model.get_compile_config()
        assert clone.optimizer is not model.optimizer


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
