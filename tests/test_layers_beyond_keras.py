"""Layers that Keras does not have: in files, on unknown sizes, with arguments that do not fit."""

import json
import zipfile

import numpy as np
import pytest
from cases.layer_runs import arrays, built
from cases.layers import CASES
from cases.layers_beyond_keras import BEYOND

import nbcnn as keras
from nbcnn import layers


def test_what_is_not_in_keras_says_so():
    assert all(type(case.make(layers))._beyond_keras for case in BEYOND)
    assert not any(type(case.make(layers))._beyond_keras for case in CASES)


def test_models_are_saved_and_loaded(tmp_path):
    """Every case in one model, each with an input and an output of its own."""
    inputs, outputs, values = [], [], []
    for case in BEYOND:
        own = [keras.Input(shape[1:]) for shape in case.inputs]
        outputs.append(built(case, "float32")(own if len(own) > 1 else own[0]))
        inputs += own
        values += [np.resize(x, (2, *x.shape[1:])) for x in arrays(case, "float32")]
    model = keras.Model(inputs, outputs)
    model.save(tmp_path / "model.keras")
    with zipfile.ZipFile(tmp_path / "model.keras") as file:
        described = json.loads(file.read("config.json"))["config"]["layers"]
    names = {f"nbcnn>{type(case.make(layers)).__name__}" for case in BEYOND}
    assert {d["registered_name"] for d in described} == {None} | names
    again = keras.models.load_model(tmp_path / "model.keras")
    for a, b in zip(model.predict(values), again.predict(values), strict=True):
        np.testing.assert_array_equal(a, b)


ERRORS = [
    (
        lambda: layers.GlobalResponseNormalization(epsilon=0),
        "GlobalResponseNormalization: epsilon must be positive, got 0",
    ),
    (
        lambda: layers.GlobalResponseNormalization()(layers.Input((7,))),
        "expected an input of at least 3 axes, got shape (None, 7)",
    ),
    (
        lambda: layers.GlobalResponseNormalization()(
            [layers.Input((6, 6, 2)), layers.Input((3, 4))]
        ),
        "mask must have shape (None, 6, 6), or sizes of patches that divide these, got "
        "(None, 3, 4) for inputs of shape (None, 6, 6, 2)",
    ),
    (
        lambda: layers.GlobalResponseNormalization()([layers.Input((6, 6, 2))] * 3),
        "expected inputs or [inputs, mask], got shapes",
    ),
]


@pytest.mark.parametrize(("wrong", "text"), ERRORS, ids=[t for _, t in ERRORS])
def test_errors_say_what_came_and_what_was_expected(wrong, text):
    with pytest.raises(ValueError) as error:
        wrong()
    assert text in str(error.value)


def test_a_mask_hides_places_from_a_norm():
    rng = np.random.default_rng(0)
    layer = layers.GlobalResponseNormalization(gamma_initializer="ones")
    x, mask = rng.standard_normal((2, 4, 4, 3)).astype("f4"), np.array([[[1, 0], [0, 1]]] * 2)
    hidden = np.kron(mask, np.ones((2, 2)))[..., None] == 0
    y = layer([x, mask.astype(bool)])
    np.testing.assert_array_equal(y, layer(np.where(hidden, 9.0, x).astype("f4"), mask=mask))
    assert not np.any(np.where(hidden, y, 0))


def test_maps_of_unknown_size():
    layer = layers.GlobalResponseNormalization(beta_initializer="ones")
    model = keras.Sequential([keras.Input((None, None, 2)), layer])
    for size in (3, 5):
        x = np.full((1, size, size + 1, 2), 2.0, "f4")
        np.testing.assert_array_equal(model.predict(x), x + 1)
