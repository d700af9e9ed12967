"""Layers that Keras does not have: in files, on unknown sizes, with arguments that do not fit."""

import json
import zipfile

import numpy as np
import pytest
from cases.layer_runs import arrays, built
from cases.layers import CASES
from cases.layers_beyond_keras import BEYOND
from cases.layers_of_windows import OPTIONS

import nbcnn as keras
from nbcnn import layers


def test_what_is_not_in_keras_says_so():
    assert all(type(case.make(layers))._beyond_keras for case in BEYOND)
    assert not any(type(case.make(layers))._beyond_keras for case in CASES)


def test_models_are_saved_and_loaded(tmp_path):
    """Every case in one model, each with an input and an output of its own."""
    inputs, outputs, values = [], [], []
    for case in [*BEYOND, *OPTIONS]:
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
    (
        lambda: layers.MultiDilatedConv2D(2, 3),
        "filters must be at least one for each of the 3 dilation_rates, or a tuple of 3, got "
        "filters=2, dilation_rates=((1, 1), (2, 2), (4, 4))",
    ),
    (
        lambda: layers.MultiDilatedConv2D((2, 3), 3),
        "or a tuple of 3, got filters=(2, 3)",
    ),
    (
        lambda: layers.MultiDilatedConv2D(6, 3, (1, 0)),
        "MultiDilatedConv2D: dilation_rates must be positive, got (1, 0)",
    ),
    (
        lambda: layers.MultiDilatedConv2D(6, 3, 2),
        "dilation_rates must be a tuple of rates, each an integer or a tuple of 2, got 2",
    ),
    (
        lambda: layers.MultiDilatedConv2D(6, 3)(layers.Input((8, 9, 1))),
        "window of 3 (dilated by 4) is larger than its padded input of 8",
    ),
    (lambda: layers.MultiDilatedConv2D(6, 3, padding="full"), "padding must be 'valid' or 'same'"),
    (
        lambda: layers.MaskedConv2D(4, 3)(layers.Input((8, 8, 1))),
        "expected [inputs, mask], got inputs alone",
    ),
    (
        lambda: layers.MaskedConv2D(4, 3)([layers.Input((8, 8, 1)), layers.Input((3, 3))]),
        "mask must have shape (None, 8, 8), or sizes of patches that divide these, got "
        "(None, 3, 3) for inputs of shape (None, 8, 8, 1)",
    ),
    (
        lambda: layers.MaskedConv2D(4, 3, 1, "same", padding_mode="mean", renormalize=True),
        "padding_mode must be 'zeros' or one of 'reflect', 'symmetric', 'edge', 'circular', got "
        "'mean'",
    ),
    (
        lambda: layers.PatchMask(3)(layers.Input((8, 9, 1))),
        "patches of (3, 3) do not tile inputs of shape (None, 8, 9, 1)",
    ),
    (lambda: layers.PatchMask(3, 1.5), "PatchMask: ratio must be between 0 and 1, got 1.5"),
    (
        lambda: layers.UpsampleConv2D(1, 7, padding="valid")(layers.Input((3, 4, 1))),
        "kernel_size (7, 7) does not fit input shape (None, 3, 4, 1): window of 7 is larger than "
        "its padded input of 6",
    ),
    (
        lambda: layers.UpsampleConv2D(1, 3, interpolation="area"),
        "interpolation must be 'bilinear', 'n",
    ),
    (
        lambda: layers.SpatialPyramidPooling2D((1, 0)),
        "SpatialPyramidPooling2D: levels must be positive, got (1, 0)",
    ),
    (
        lambda: layers.SpatialPyramidPooling2D(3),
        "levels must be a tuple of integers, got 3",
    ),
    (
        lambda: layers.GlobalMaxAveragePooling2D("both"),
        "GlobalMaxAveragePooling2D: mode must be 'concat' or 'add', got 'both'",
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


def test_a_pyramid_takes_batches_of_any_size():
    model = keras.Sequential(
        [keras.Input((None, None, 3)), layers.SpatialPyramidPooling2D(), layers.Dense(2)]
    )
    assert model.layers[0].output.shape == (None, 21 * 3)
    model.compile("sgd", "mse")
    for size in (4, 7, 16):
        x = np.full((2, size, size + 3, 3), 0.5, "f4")
        np.testing.assert_array_equal(model.layers[0](x), np.full((2, 63), 0.5))
        assert model.predict(x).shape == (2, 2)
        assert np.isfinite(model.train_on_batch(x, np.ones((2, 2), "f4")))


def test_patches_are_hidden_exactly_and_anew():
    layer, x = layers.PatchMask(4, 0.6, seed=3), np.zeros((64, 16, 20, 3), "f4")
    assert layer(x).all()
    masks = layer(x, training=True)
    assert masks.shape == (64, 4, 5)
    np.testing.assert_array_equal(masks.sum((1, 2)), 20 - round(0.6 * 20))
    assert len(np.unique(masks.reshape(64, -1), axis=0)) > 60
    assert 0.2 < masks.mean(0).min() < masks.mean(0).max() < 0.6


def test_hidden_places_are_never_seen():
    """Whatever stands there, nothing changes, through two convolutions and a norm between them."""
    inputs, mask = keras.Input((8, 8, 2)), keras.Input((4, 4))
    x = layers.MaskedConv2D(3, 3, padding="same")([inputs, mask])
    x = layers.GlobalResponseNormalization(gamma_initializer="ones")([x, mask])
    x = layers.MaskedDepthwiseConv2D(5, padding="same")([x, mask])
    x = layers.MaskedConv2D(2, 2, strides=2)(x, mask=mask)
    model = keras.Model([inputs, mask], x)
    rng = np.random.default_rng(0)
    images, seen = rng.standard_normal((3, 8, 8, 2)).astype("f4"), rng.random((3, 4, 4)) < 0.5
    hidden = ~seen.repeat(2, 1).repeat(2, 2)[..., None]
    y = model.predict([images, seen.astype("f4")])
    other = model.predict([np.where(hidden, 1e3, images), seen.astype("f4")])
    np.testing.assert_array_equal(y, other)
    np.testing.assert_array_equal(np.any(y, -1), seen)


def test_partial_convolutions_return_masks_that_grow():
    layer = layers.MaskedConv2D(1, 3, padding="same", renormalize=True, return_mask=True)
    mask = np.zeros((1, 7, 7), "f4")
    mask[0, 3, 3] = 1
    layer.build((None, 7, 7, 2))
    layer.set_weights([np.full((3, 3, 2, 1), 0.5, "f4"), np.zeros(1, "f4")])
    y, grown = layer([np.ones((1, 7, 7, 2), "f4"), mask])
    wanted = np.zeros((1, 7, 7))
    wanted[0, 2:5, 2:5] = 1
    np.testing.assert_array_equal(grown, wanted)
    np.testing.assert_allclose(y[..., 0], wanted * 9)  # as where all of the window is visible


def coverage(layer, size=6):
    """Outputs for a constant image and constant weights, without the borders."""
    layer.build((None, size, size, 1))
    layer.set_weights([np.ones(w.shape, "f4") for w in layer.get_weights()])
    return layer(np.ones((1, size, size, 1), "f4"))[0, 3:-3, 3:-3, 0]


def test_transposed_convolutions_make_checkerboards_and_upsampling_does_not():
    """A window of 3 at steps of 2 covers every second row and column twice."""
    uneven = coverage(layers.Conv2DTranspose(1, 3, 2, use_bias=False))
    assert set(np.unique(uneven)) == {1.0, 2.0, 4.0}
    assert set(np.unique(coverage(layers.Conv2DTranspose(1, 4, 2, use_bias=False)))) == {4.0}
    for interpolation in ("nearest", "bilinear"):
        even = coverage(layers.UpsampleConv2D(1, 3, 2, interpolation, use_bias=False))
        np.testing.assert_allclose(even, 9.0, rtol=1e-6)
