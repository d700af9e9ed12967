"""Random layers in training: what they draw, and what they make of it."""

import json

import numpy as np
import pytest

import nbcnn
from nbcnn import layers, ops
from nbcnn.registry import deserialize, serialize

N = 12
IMAGES = np.random.default_rng(0).random((N, 6, 7, 3)).astype("float32")
RANDOM = {
    "noise": lambda **k: layers.GaussianNoise(0.5, **k),
    "gaussian dropout": lambda **k: layers.GaussianDropout(0.5, **k),
    "alpha dropout": lambda **k: layers.AlphaDropout(0.5, **k),
    "flip": lambda **k: layers.RandomFlip("horizontal", **k),
    "crop": lambda **k: layers.RandomCrop(2, 2, **k),
    "translation": lambda **k: layers.RandomTranslation(0.5, 0.5, **k),
    "rotation": lambda **k: layers.RandomRotation(0.5, **k),
    "zoom": lambda **k: layers.RandomZoom(0.5, **k),
    "contrast": lambda **k: layers.RandomContrast(0.9, **k),
    "brightness": lambda **k: layers.RandomBrightness(0.9, (0, 1), **k),
    "erasing": lambda **k: layers.RandomErasing(value_range=(0, 1), **k),
    "shear": lambda **k: layers.RandomShear(0.5, 0.5, **k),
    "hue": lambda **k: layers.RandomHue(0.9, (0, 1), **k),
    "saturation": lambda **k: layers.RandomSaturation((0.2, 0.8), (0, 1), **k),
    "solarization": lambda **k: layers.Solarization(0.5, 0.5, (0, 1), **k),
    "grayscale": lambda **k: layers.RandomGrayscale(**k),
    "invert": lambda **k: layers.RandomInvert(**k),
}
every_random = pytest.mark.parametrize("make", RANDOM.values(), ids=RANDOM)


@every_random
def test_a_seed_gives_the_same_sequence_of_different_draws(make):
    first, second = make(seed=3), make(seed=3)
    a = [first(IMAGES, training=True) for _ in range(3)]
    b = [second(IMAGES, training=True) for _ in range(3)]
    np.testing.assert_array_equal(a, b)
    assert (a[0] != a[1]).any() or (a[0] != a[2]).any()
    different = np.stack([make(seed=4)(IMAGES, training=True) for _ in range(1)])
    assert (different != a[0]).any()


@every_random
def test_without_a_seed_the_program_s_counts(make):
    layer = make()
    draws = []
    for seed in (1, 1, 2):
        nbcnn.utils.set_random_seed(seed)
        draws.append(layer(IMAGES, training=True))
    np.testing.assert_array_equal(draws[0], draws[1])
    assert (draws[0] != draws[2]).any()


@every_random
def test_configurations_and_symbolic_shapes(make):
    layer = make(seed=7)
    again = deserialize(json.loads(json.dumps(serialize(layer))))
    assert again.get_config() == layer.get_config()
    assert layer(layers.Input((6, 7, 3))).shape == (None, 6, 7, 3)


def test_called_by_themselves_augmentations_train_and_noise_does_not():
    assert (layers.RandomFlip(seed=1)(IMAGES) != IMAGES).any()
    np.testing.assert_array_equal(layers.RandomFlip(seed=1)(IMAGES, training=False), IMAGES)
    np.testing.assert_array_equal(layers.GaussianNoise(0.5)(IMAGES), IMAGES)
    model = nbcnn.Sequential([layers.Input((6, 7, 3)), layers.RandomFlip()])
    np.testing.assert_array_equal(model.predict(IMAGES, verbose=0), IMAGES)
    np.testing.assert_array_equal(model(IMAGES, training=False), IMAGES)
    model = nbcnn.Sequential(
        [layers.Input((6, 7, 3)), layers.RandomFlip(seed=1), layers.Dropout(0.5)]
    )
    y = model(IMAGES)  # as in Keras, every layer by its own default
    assert (y != IMAGES).any()
    np.testing.assert_array_equal(np.sort(y.ravel()), np.sort(IMAGES.ravel()))

    class Inner(layers.Layer):
        def __init__(self):
            super().__init__()
            self.flip = layers.RandomFlip(seed=1)

        def call(self, x, training=False):
            return self.flip(x, training=training)

    np.testing.assert_array_equal(Inner()(IMAGES), IMAGES)


def test_normal_numbers_are_normal():
    zeros = np.zeros((100, 200), "float32")
    noise = layers.GaussianNoise(0.5, seed=1)(zeros, training=True) / 0.5
    assert abs(noise.mean()) < 0.03
    assert abs(noise.std() - 1) < 0.02
    assert abs((np.abs(noise) < 1).mean() - 0.6827) < 0.02
    assert 3 < np.abs(noise).max() < 5
    times = layers.GaussianDropout(0.2, seed=1)(zeros + 3, training=True) / 3
    assert abs(times.mean() - 1) < 0.02
    assert abs(times.std() - 0.5) < 0.02


def test_alpha_dropout_keeps_mean_and_variance():
    x = np.random.default_rng(1).uniform(-(3**0.5), 3**0.5, (100, 200)).astype("float32")
    y = layers.AlphaDropout(0.3, seed=1)(x, training=True)
    assert abs(y.mean()) < 0.03
    assert abs(y.std() - 1) < 0.03
    dropped = y == y.min()
    assert abs(dropped.mean() - 0.3) < 0.02
    columns = layers.AlphaDropout(0.3, (1, 200), seed=1)(x, training=True)
    dropped = columns == columns.min()
    assert (dropped == dropped[:1]).all()
    assert dropped.any()


FLIPPED = {
    "horizontal": IMAGES[:, :, ::-1],
    "vertical": IMAGES[:, ::-1],
    "horizontal_and_vertical": IMAGES[:, ::-1, ::-1],
}


@pytest.mark.parametrize("mode", FLIPPED)
def test_flips_give_the_image_or_its_mirror(mode):
    y = layers.RandomFlip(mode, seed=2)(IMAGES, training=True)
    same = (y == IMAGES).all((1, 2, 3))
    mirrored = (y == FLIPPED[mode]).all((1, 2, 3))
    assert (same ^ mirrored).all()
    assert same.any()
    assert mirrored.any()


def test_channels_first_is_the_same_on_moved_axes():
    first = np.moveaxis(IMAGES, -1, 1)
    for make in ("flip", "crop", "translation", "contrast", "grayscale"):
        last = RANDOM[make](seed=5)(IMAGES, training=True)
        y = RANDOM[make](seed=5, data_format="channels_first")(first, training=True)
        np.testing.assert_allclose(y, np.moveaxis(last, -1, 1), 0, 1e-6)


def test_a_crop_is_one_window_of_all_images():
    layer = layers.RandomCrop(3, 4, seed=1)
    found = set()
    for _ in range(20):
        y = layer(IMAGES)
        places = [
            (r, c)
            for r in range(4)
            for c in range(4)
            if (y == IMAGES[:, r : r + 3, c : c + 4]).all()
        ]
        assert len(places) == 1
        found.add(places[0])
    assert {r for r, _ in found} == {c for _, c in found} == {0, 1, 2, 3}


def test_a_crop_of_a_smaller_image_is_resized():
    y = layers.RandomCrop(8, 9)(IMAGES)  # real Keras: the whole image, enlarged
    np.testing.assert_allclose(y, ops.image.resize(IMAGES, (8, 9)), 0, 1e-6)
    assert layers.RandomCrop(3, 9)(IMAGES).shape == (N, 3, 9, 3)


def test_fixed_translations_move_by_pixels():
    y = layers.RandomTranslation((0.5, 0.5), (0, 0), "constant", fill_value=2.0)(IMAGES)
    np.testing.assert_allclose(y[:, 3:], IMAGES[:, :3], 0, 1e-6)
    assert (y[:, :3] == 2).all()
    y = layers.RandomTranslation((0, 0), (-1 / 7, -1 / 7), "wrap", "nearest")(IMAGES)
    np.testing.assert_array_equal(y, np.roll(IMAGES, -1, 2))


def test_a_quarter_turn():
    square = IMAGES[:, :5, :5]
    y = layers.RandomRotation((0.25, 0.25), "nearest")(square)
    np.testing.assert_allclose(y, np.rot90(square, 1, (1, 2)), 0, 1e-5)
    angles = layers.RandomRotation(0.1, seed=1)(square)
    assert len({a.tobytes() for a in angles}) == N  # each image by its own


def test_a_fixed_zoom_is_the_affine_map():
    y = layers.RandomZoom((0.5, 0.5), (-0.25, -0.25), "reflect")(IMAGES)
    table = np.float32([0.75, 0, 3 * 0.25, 0, 1.5, 2.5 * -0.5, 0, 0])
    expected = ops.image.affine_transform(IMAGES, table, fill_mode="reflect")
    np.testing.assert_allclose(y, expected, 0, 1e-5)
    # Without a factor for the width the proportions stay: a symmetric image stays symmetric.
    square = IMAGES[:, :5, :5] + np.swapaxes(IMAGES[:, :5, :5], 1, 2)
    y = layers.RandomZoom(0.4, seed=1)(square)
    np.testing.assert_allclose(y, np.swapaxes(y, 1, 2), 0, 1e-5)


def test_contrast_and_brightness_change_each_image_by_one_number():
    pixels = 100 + 20 * IMAGES
    y = layers.RandomContrast((0.5, 0.8), seed=1)(pixels)
    mean = pixels.mean((1, 2), keepdims=True)
    times = ((y - mean) / (pixels - mean)).reshape(N, -1)
    middle = np.median(times, 1)
    np.testing.assert_allclose(y, (pixels - mean) * middle[:, None, None, None] + mean, 1e-3)
    assert middle.min() > 0.5
    assert middle.max() < 1.8
    assert middle.std() > 0.1
    more = (layers.RandomBrightness((0.1, 0.2), seed=1)(pixels) - pixels).reshape(N, -1)
    assert (np.ptp(more, 1) < 1e-3).all()
    assert np.ptp(more[:, 0]) > 1
    assert more.min() >= 25.4
    assert more.max() <= 51.1
    assert (layers.RandomBrightness((1, 1))(pixels) == 255).all()


def test_erasing_fills_a_rectangle_of_the_right_area():
    images = np.random.default_rng(2).random((8, 20, 30, 3)).astype("float32")
    y = layers.RandomErasing((1, 1), (0.2, 0.3), [4, 5, 6], (0, 255), seed=1)(images)
    for before, after in zip(images, y):
        changed = (before != after).any(-1)
        rows, columns = np.nonzero(changed.any(1))[0], np.nonzero(changed.any(0))[0]
        box = changed[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert box.all()
        assert 0.15 < changed.mean() < 0.35
        assert (after[changed] == [4, 5, 6]).all()
    np.testing.assert_array_equal(layers.RandomErasing(0)(images), images)


def test_grayscale_and_invert_choose_images():
    y = layers.RandomGrayscale(0.5, seed=1)(IMAGES)
    gray = np.ptp(y, -1).max((1, 2)) < 1e-6
    assert gray.any()
    assert (y == IMAGES).all((1, 2, 3))[~gray].all()
    assert not gray.all()
    y = layers.RandomInvert((0.5, 0.5), (0, 1), seed=1)(IMAGES)
    same, inverted = (y == IMAGES).all((1, 2, 3)), (y == 1 - IMAGES).all((1, 2, 3))
    assert (same ^ inverted).all()
    assert same.any()
    assert inverted.any()


def test_a_fixed_shear_moves_rows_either_way():
    y = layers.RandomShear((1, 1), (0, 0), "nearest", "wrap", seed=1)(IMAGES)
    shifts = (1, -1)
    rolled = [np.stack([np.roll(IMAGES[:, r], -s * r, 1) for r in range(6)], 1) for s in shifts]
    found = [(y == r).all((1, 2, 3)) for r in rolled]
    assert (found[0] ^ found[1]).all()
    assert found[0].any()
    assert found[1].any()


def test_colours_turn_and_fade():
    red = np.zeros((8, 2, 2, 3), "float32")
    red[..., 0] = 200.0
    y = layers.RandomHue((2 / 3, 2 / 3), seed=1)(red)  # a third of the circle
    assert {tuple(np.round(p).astype(int)) for p in y[:, 0, 0]} == {(0, 200, 0), (0, 0, 200)}
    y = layers.RandomSaturation((0, 0), (0, 1))(IMAGES)
    np.testing.assert_allclose(y, np.broadcast_to(IMAGES.max(-1, keepdims=True), y.shape), 0, 1e-6)
    np.testing.assert_allclose(layers.RandomSaturation((0.5, 0.5))(IMAGES), IMAGES, 0, 1e-5)


def test_solarization_inverts_bright_pixels():
    # With (255 x 1) as least and greatest, thresholds are all 128 of 255.
    layer = layers.Solarization((0, 0), (128 / 255, 128 / 255), (0, 1), seed=1)
    layer.threshold_factor = (128.0, 128 / 255)
    expected = np.where(IMAGES * 255 < 128, IMAGES, 1 - IMAGES)
    np.testing.assert_allclose(layer(IMAGES), expected, 0, 1e-5)
    np.testing.assert_allclose(layers.Solarization()(IMAGES), 255 - IMAGES, 0, 1e-4)


@pytest.mark.parametrize("make", [layers.Resizing, layers.CenterCrop], ids=["resize", "crop"])
def test_images_of_any_size_are_brought_to_one(make):
    inputs = layers.Input((None, None, 3))
    small = make(3, 4)(inputs)
    assert small.shape == (None, 3, 4, 3)
    model = nbcnn.Model(inputs, layers.Flatten()(small))
    for images in (IMAGES, IMAGES[:, :5, :6]):
        expected = make(3, 4)(images).reshape(N, -1)
        np.testing.assert_allclose(model.predict(images, verbose=0), expected, 0, 1e-6)


def test_single_images_and_pixels():
    image = (255 * IMAGES[0]).astype("uint8")
    y = layers.RandomFlip("vertical", seed=1)(image)
    assert y.dtype == "float32"
    assert y.shape == image.shape
    assert (y == image).all() or (y == image[::-1]).all()
    small = layers.Resizing(3, 4)(image)
    expected = ops.image.resize(image.astype("float32"), (3, 4))
    assert small.dtype == "uint8"
    np.testing.assert_array_equal(small, np.round(expected))


@pytest.mark.filterwarnings("ignore:fit. no weight")
def test_training_draws_anew_at_each_step():
    class Sum(layers.Layer):
        def call(self, x):
            return ops.sum(x, (1, 2, 3), keepdims=False)[:, None]

    model = nbcnn.Sequential(
        [layers.Input((6, 7, 3)), layers.RandomBrightness(0.5, (0, 9), seed=1), Sum()]
    )
    model.compile("sgd", "mse")
    x = np.full((4, 6, 7, 3), 4, "float32")
    batches = [model.train_on_batch(x, np.zeros((4, 1), "float32")) for _ in range(3)]
    assert len(set(map(float, batches))) == 3


ERRORS = [
    (lambda: layers.GaussianNoise(2), "GaussianNoise: stddev must be between 0 and 1, got 2"),
    (lambda: layers.GaussianDropout(1), "rate must be at least 0 and below 1, got 1"),
    (lambda: layers.RandomFlip("both"), "mode must be 'horizontal'"),
    (lambda: layers.RandomRotation(2), "factor must be a number or two numbers in -1.0..1.0"),
    (lambda: layers.RandomZoom(-1), "height_factor must be a number or two numbers in (-1, 1]"),
    (lambda: layers.RandomTranslation(0.1, 2), "width_factor must be a number or two numbers in"),
    (lambda: layers.RandomTranslation(0.1, 0.1, "mirror"), "fill_mode must be 'reflect'"),
    (lambda: layers.RandomBrightness(0.1, 255), "value_range must be two numbers, got 255"),
    (lambda: layers.RandomErasing(fill_value=[1, 2]), "must be None, a number or three numbers"),
    (lambda: layers.RandomFlip()(np.zeros((3, 3))), "at least 3 axes"),
    (lambda: layers.RandomFlip()(np.zeros((1, 1, 1, 3, 3))), "must have 3 or 4 axes"),
    (lambda: layers.Resizing(0, 3), "Resizing: height must be positive, got 0"),
    (lambda: layers.Resizing(3, 3, "cubic"), "interpolation must be 'bilinear'"),
]


@pytest.mark.parametrize(("wrong", "text"), ERRORS, ids=[t for _, t in ERRORS])
def test_errors_say_what_came_and_what_was_expected(wrong, text):
    with pytest.raises(ValueError) as error:
        wrong()
    assert text in str(error.value)


def test_a_pipeline_is_its_layers_in_order(tmp_path):
    change = layers.Pipeline([layers.RandomFlip("vertical", seed=1), layers.Rescaling(2.0)])
    expected = layers.RandomFlip("vertical", seed=1)(IMAGES)
    np.testing.assert_array_equal(change(IMAGES), 2 * expected)
    np.testing.assert_array_equal(change(IMAGES, training=False), 2 * IMAGES)
    found = layers.Pipeline(change.layers[:1])({"images": IMAGES, "labels": np.arange(N)})
    assert found["images"].shape == IMAGES.shape
    scale = layers.Normalization()
    scale.adapt(IMAGES)
    inner = layers.Pipeline([*change.layers, scale])
    model = nbcnn.Sequential([nbcnn.Input((6, 7, 3)), inner, layers.Flatten()])
    model.save(tmp_path / "model.keras")
    again = nbcnn.saving.load_model(tmp_path / "model.keras")
    expected = scale(2 * IMAGES).reshape(N, -1)
    np.testing.assert_allclose(again.predict(IMAGES, verbose=0), expected, 1e-5, 1e-5)
    with pytest.raises(ValueError, match="Pipeline: layers must be a list of layers, got 3"):
        layers.Pipeline(3)
