"""Keras's smaller settings and helpers, random arrays, drawings of models."""

import sys

import numpy as np
import pytest
from small_models import X, Y, compiled, linear

import nbcnn
from nbcnn import config, layers, ops, random, utils


@pytest.fixture
def limits():
    yield
    config.set_max_epochs(None)
    config.set_max_steps_per_epoch(None)
    config.enable_interactive_logging()


def test_limits_of_training(limits):
    model = compiled(linear())
    config.set_max_epochs(2)
    config.set_max_steps_per_epoch(1)
    assert (config.max_epochs(), config.max_steps_per_epoch()) == (2, 1)
    history = model.fit(X, Y, batch_size=8, epochs=5, verbose=0, validation_data=(X, Y))
    assert len(history.epoch) == 2
    assert model.optimizer.iterations == 2
    assert len(model.predict(X, batch_size=8, verbose=0)) == 8
    config.set_max_steps_per_epoch(100)
    model.fit(X, Y, batch_size=8, verbose=0)  # fewer batches: no word of data that ran out
    assert model.optimizer.iterations == 5
    with pytest.raises(ValueError, match="set_max_epochs: expected a positive whole number, got 0"):
        config.set_max_epochs(0)


def test_switches(limits):
    assert utils.is_interactive_logging_enabled()
    utils.disable_interactive_logging()
    assert not config.is_interactive_logging_enabled()
    config.disable_traceback_filtering()
    assert not config.is_traceback_filtering_enabled()
    config.enable_traceback_filtering()
    config.enable_unsafe_deserialization()
    config.set_backend("numba")
    assert config.backend() == "numba"
    assert not config.is_flash_attention_enabled()
    assert not config.is_nnx_enabled()
    with pytest.raises(ValueError, match="the only backend is 'numba', got 'jax'"):
        config.set_backend("jax")
    with pytest.raises(AttributeError, match="no attribute 'max_epoch'"):
        config.max_epoch  # noqa: B018


def test_names_of_types():
    found = [
        utils.standardize_dtype(d) for d in (None, "float32", np.int64, "int", bool, "bfloat16")
    ]
    assert found == ["float32", "float32", "int64", "int64", "bool", "bfloat16"]
    with pytest.raises(ValueError, match=r"standardize_dtype: dtype must be .* got 'real'"):
        utils.standardize_dtype("real")


def test_symbolic_tensors_and_where_they_come_from():
    a, b = nbcnn.Input((3,)), nbcnn.Input((3,))
    c = layers.Dense(2)(a) + ops.relu(layers.Dense(2)(layers.Add()([a, b])))
    assert utils.get_source_inputs(c) == [a, b] or utils.get_source_inputs(c) == [b, a]
    assert utils.is_keras_tensor(c)
    assert not utils.is_keras_tensor(X)
    with pytest.raises(ValueError, match="get_source_inputs: tensor must be symbolic"):
        utils.get_source_inputs(X)


def test_config_of_scripts():
    values = utils.Config(rate=0.1)
    values.epochs = 5
    values["size"] = 8
    assert (values["epochs"], values.size, "rate" in values, len(values)) == (5, 8, True, 3)
    assert values.to_json() == '{"rate": 0.1, "epochs": 5, "size": 8}'
    values.freeze()
    with pytest.raises(ValueError, match="frozen"):
        values.rate = 1
    values.unfreeze()
    assert values.pop("rate") == 0.1
    with pytest.raises(AttributeError, match="no value 'epoch'; did you mean 'epochs'"):
        values.epoch  # noqa: B018


def test_random_arrays():
    seed = 3
    beta = random.beta((4000,), 2.0, 3.0, seed=seed)
    assert beta.mean() == pytest.approx(0.4, abs=0.02)
    assert random.gamma((4000,), 2.0, seed=seed).mean() == pytest.approx(2.0, abs=0.1)
    drawn = random.categorical(np.log([[0.2, 0.8], [1.0, 1e-9]]), 4000, seed=seed)
    assert (drawn.shape, drawn.dtype) == ((2, 4000), "int32")
    np.testing.assert_allclose(drawn.mean(1), [0.8, 0.0], atol=0.03)
    kept = random.dropout(np.ones((100, 40), "float32"), 0.25, (None, 1), seed=seed)
    assert set(np.unique(kept)) == {0.0, np.float32(1 / 0.75)}
    assert (kept == kept[:, :1]).all()
    with pytest.raises(ValueError, match="rate must be between 0 and 1"):
        random.dropout(X, 2.0)
    with pytest.raises(ValueError, match="logits must have 2 axes"):
        random.categorical([1.0], 3)


def test_without_pydot_the_error_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "pydot", None)
    with pytest.raises(ImportError, match=r"needs pydot.* pip install 'nbcnn\[plot\]'"):
        utils.model_to_dot(linear())


def test_drawings(tmp_path):
    pytest.importorskip("pydot")
    inner = nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(3, name="inside")], name="inner")
    a = nbcnn.Input((3,), name="a")
    b = inner(a)
    model = nbcnn.Model(a, layers.Dense(2, activation="relu", name="last")(layers.Add()([a, b])))
    text = utils.model_to_dot(model, show_shapes=True, show_layer_activations=True).to_string()
    assert "last (Dense)" in text
    assert "activation: relu" in text
    assert "(None, 2)" in text
    assert "inside" not in text
    assert text.count("->") == 4
    whole = utils.model_to_dot(model, expand_nested=True).to_string()
    assert "inside" in whole
    utils.plot_model(linear(), tmp_path / "m.dot", show_layer_names=True)
    assert "Dense" in (tmp_path / "m.dot").read_text()
    with pytest.raises(ValueError, match="not built yet"):
        utils.model_to_dot(nbcnn.Sequential([layers.Dense(2)]))


def test_pictures_of_models_need_a_program(tmp_path, monkeypatch):
    pytest.importorskip("pydot")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ImportError, match="need Graphviz"):
        utils.plot_model(linear(), tmp_path / "m.png")
