"""Layers of images in training: against values of real Keras with all draws given, and what they
draw.
"""

from pathlib import Path

import numpy as np
import pytest
from cases.image_layers import ROWS, SPECTRAL
from golden.layer_values import slopes, spectral_values

import nbcnn
from nbcnn import layers, ops
from nbcnn.layers import augmentation
from nbcnn.layers.draws import Draws

RECORDED = dict(np.load(Path(__file__).parent / "golden" / "keras_image_layers.npz"))
N = 12
PIXELS = np.random.default_rng(0).integers(0, 256, (N, 8, 9, 3)).astype("float32")
LABELS = np.eye(N, dtype="float32")


class Given:
    """Draws that give these values, in their order."""

    def __init__(self, values):
        self.values, self.place = values, 0

    def next(self, *args):
        self.place += 1
        return ops.convert_to_tensor(self.values[self.place - 1])

    uniform = normal = integers = beta = permutation = next

    def again(self):
        twin = Given(self.values)
        twin.size = self.size
        return twin


@pytest.mark.parametrize("row", ROWS, ids=lambda r: r.name.replace(" ", "-"))
def test_values_are_those_of_keras(row, monkeypatch):
    if row.drawn:
        monkeypatch.setattr(augmentation, "Draws", lambda seed, dtype: Given(row.drawn))
    layer, x = row.make(layers), row.images()
    expected = RECORDED[f"row/{row.name}/y"]
    found = layer({"images": x, "labels": row.classes()}) if row.labels else {"images": layer(x)}
    assert found["images"].dtype == expected.dtype
    np.testing.assert_allclose(found["images"], expected, 1e-5, 1e-4)
    if row.labels:
        labels = RECORDED[f"row/{row.name}/labels"]
        np.testing.assert_allclose(found["labels"], labels, 1e-5, 1e-6)


@pytest.mark.parametrize("case", SPECTRAL, ids=lambda c: c.name)
def test_spectral_normalization_is_that_of_keras(case):
    layer = layers.SpectralNormalization(case.make(layers), case.power_iterations)
    x, kernel, u = spectral_values(case)
    layer.build(x.shape)
    if case.name != "zeros":
        layer.kernel.assign(kernel.reshape(layer.kernel.shape))
    layer.vector_u.assign(u)

    def check(name, value):
        expected = RECORDED[f"spectral/{case.name}/{name}"]
        np.testing.assert_allclose(value, expected, 1e-4, 1e-5, err_msg=name)

    for i, training in enumerate((True, True, False)):
        check(f"y{i}", layer(x, training=training))
        check(f"kernel{i}", layer.kernel.numpy())
        check(f"u{i}", layer.vector_u.numpy())
    # One step of gradient descent on the sum of outputs times what `slopes` gives.
    model = nbcnn.Sequential([layers.Input(x.shape[1:], batch_size=x.shape[0]), layer])
    factors = slopes(case, layer(x).shape).astype("float32")
    model.compile(nbcnn.optimizers.SGD(0.5), lambda y, p: ops.reshape(ops.sum(p * factors), (1,)))
    layer.kernel.assign(2.0 * layer.kernel)
    model.train_on_batch(x, np.zeros(factors.shape, "float32"))
    check("slope", (RECORDED[f"spectral/{case.name}/slope at"] - layer.kernel.numpy()) / 0.5)


def test_spectral_normalization_survives_a_file(tmp_path):
    nbcnn.utils.set_random_seed(2)
    inner = layers.Conv2D(4, 3, name="inner")
    layer = layers.SpectralNormalization(inner, 2, name="outer")
    model = nbcnn.Sequential([layers.Input((6, 5, 3)), layer])
    assert [v.name for v in layer.weights] == ["kernel", "vector_u", "bias"]  # Keras's order
    assert [v.name for v in layer.non_trainable_weights] == ["vector_u"]
    x = np.random.default_rng(2).random((2, 6, 5, 3)).astype("float32")
    layer(x, training=True)
    expected = model.predict(x, verbose=0)
    model.save(tmp_path / "model.nbcnn")
    again = nbcnn.models.load_model(tmp_path / "model.nbcnn")
    np.testing.assert_array_equal(again.predict(x, verbose=0), expected)
    for a, b in zip(again.get_weights(), model.get_weights()):
        np.testing.assert_array_equal(a, b)
    assert again.layers[-1].layer.kernel is again.layers[-1].kernel
    before = layer.get_weights()
    model.predict(x, verbose=0)
    for a, b in zip(layer.get_weights(), before):
        np.testing.assert_array_equal(a, b)
    norm = np.linalg.norm(layer.kernel.numpy().reshape(-1, 4), 2)
    for _ in range(20):
        layer(x, training=True)
    assert abs(norm - 1) > 1e-3
    assert abs(np.linalg.norm(layer.kernel.numpy().reshape(-1, 4), 2) - 1) < 1e-3


class Drawn(layers.Layer):
    """What a function of `Draws` gives."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, x):
        return self.function(Draws(5, "float32"))


def drawn(function):
    return Drawn(function)(np.zeros((1, 1), "float32"))


QUANTILES = np.arange(0.05, 1, 0.05)


@pytest.mark.parametrize("alpha", [0.2, 1.0, 3.0])
def test_beta_and_gamma_distributions(alpha):
    def same(found, expected):
        below = (found.ravel() < np.quantile(expected, QUANTILES)[:, None]).mean(1)
        np.testing.assert_allclose(below, QUANTILES, 0, 0.03)

    rng = np.random.default_rng(0)
    gamma = np.exp(drawn(lambda d: d.log_gamma((4000,), alpha)))
    same(gamma, rng.gamma(alpha, size=100_000))
    beta = drawn(lambda d: d.beta((4000, 1), alpha))
    same(beta, rng.beta(alpha, alpha, 100_000))
    assert np.isfinite(beta).all()
    assert abs(np.corrcoef(beta[:-1, 0], beta[1:, 0])[0, 1]) < 0.06


def test_small_parameters_give_all_or_nothing():
    beta = drawn(lambda d: d.beta((500, 1), 1e-6))
    assert ((beta == 0) | (beta == 1)).all()
    assert 0.4 < beta.mean() < 0.6
    shares = drawn(lambda d: d.dirichlet(3, 0.5))
    assert shares.shape == (1, 3)
    assert abs(shares.sum() - 1) < 1e-6


def test_permutations_and_integers():
    order = drawn(lambda d: d.permutation(50))
    assert sorted(order) == list(range(50))
    assert list(order) != list(range(50))
    numbers = drawn(lambda d: d.integers((500,), 2, 5))
    assert set(numbers) == {2, 3, 4}


def test_repeated_draws_are_the_same():
    def function(draws):
        first = draws.uniform((4,)), draws.uniform((4,))
        part = draws.part()
        other = part.uniform((4,)), part.again().uniform((4,))
        again = draws.again()
        return ops.stack([*first, *other, again.uniform((4,)), again.uniform((4,))])

    a, b, c, d, e, f = drawn(function)
    np.testing.assert_array_equal(np.stack([a, b, c]), np.stack([e, f, d]))
    assert len({tuple(v) for v in (a, b, c)}) == 3


@pytest.mark.parametrize("kind", [layers.MixUp, layers.CutMix], ids=lambda k: k.__name__)
def test_labels_say_what_images_are_made_of(kind):
    # Images of one value each: what is in the mixture tells whose it is.
    images = np.broadcast_to(np.arange(N).reshape(N, 1, 1, 1), (N, 16, 16, 1)).astype("float32")
    layer = kind(1.0 if kind is layers.MixUp else (1.0, 1.0), seed=3)
    data = {"images": images, "labels": LABELS, "segmentation_masks": images, "names": images}
    found = layer(data)
    assert data["images"] is images
    np.testing.assert_allclose(found["labels"].sum(1), 1, 1e-5)
    assert ((found["labels"] > 0).sum(1) <= 2).all()
    mean = found["images"].mean((1, 2, 3))
    edge = 0 if kind is layers.MixUp else 0.16  # a rectangle covers whole pixels
    np.testing.assert_allclose(mean, found["labels"] @ np.arange(N), 0, 1e-4 + edge * N)
    np.testing.assert_array_equal(found["segmentation_masks"], found["images"])
    np.testing.assert_array_equal(found["names"], images)
    own = np.diag(found["labels"])
    assert own.std() > 0.1
    assert (found["images"] != layer(data)["images"]).any()
    still = layer(data, training=False)
    np.testing.assert_array_equal(still["images"], images)
    np.testing.assert_array_equal(still["labels"], LABELS)


def test_one_image_with_its_label():
    data = {"images": PIXELS[0], "labels": LABELS[0]}
    for layer in (layers.MixUp(), layers.CutMix(), layers.RandomFlip()):
        found = layer(data)
        assert found["images"].shape == PIXELS[0].shape
        np.testing.assert_allclose(found["labels"], LABELS[0], 1e-6)


MOVING = {
    "flip": lambda: layers.RandomFlip(seed=1),
    "crop": lambda: layers.RandomCrop(4, 5, seed=1),
    "rotation": lambda: layers.RandomRotation(0.4, interpolation="nearest", seed=1),
    "perspective": lambda: layers.RandomPerspective(interpolation="nearest", seed=1),
    "elastic": lambda: layers.RandomElasticTransform(
        interpolation="nearest", value_range=(0, 255), seed=1
    ),
}


@pytest.mark.parametrize("make", MOVING.values(), ids=MOVING)
def test_masks_move_with_images(make):
    found = make()({"images": PIXELS, "segmentation_masks": PIXELS, "labels": LABELS})
    np.testing.assert_array_equal(found["images"], found["segmentation_masks"])
    np.testing.assert_array_equal(found["labels"], LABELS)
    assert found["images"].shape != PIXELS.shape or (found["images"] != PIXELS).any()


def test_layers_of_colours_leave_masks_alone():
    masks = (PIXELS[..., :1] > 99).astype("int32")
    found = layers.RandomBrightness((0.5, 0.5))({"images": PIXELS, "segmentation_masks": masks})
    np.testing.assert_array_equal(found["segmentation_masks"], masks)
    assert found["segmentation_masks"].dtype == "int32"
    assert (found["images"] > PIXELS).any()


def test_posterization_draws_bits_for_each_image():
    y = layers.RandomPosterization((2, 5), seed=1)(PIXELS)
    found = set()
    for before, after in zip(PIXELS, y):
        bits = [b for b in (2, 3, 4) if (after == before // 2 ** (8 - b) * 2 ** (8 - b)).all()]
        assert len(bits) == 1
        found.update(bits)
    assert found == {2, 3, 4}


def test_blur_chooses_images_and_shares_its_widths():
    spots = np.zeros((N, 7, 7, 2), "float32")
    spots[:, 3, 3] = 100
    y = layers.RandomGaussianBlur((0.5, 0.5), 3, (0.4, 1.0), seed=4)(spots)
    same = (y == spots).all((1, 2, 3))
    assert same.any()
    assert not same.all()
    blurred = y[~same]
    np.testing.assert_array_equal(blurred, np.broadcast_to(blurred[:1], blurred.shape))
    np.testing.assert_allclose(blurred.sum((1, 2)), 100, 1e-5)


def test_perspective_moves_each_image_by_itself():
    same = np.broadcast_to(PIXELS[:1], PIXELS.shape)
    y = layers.RandomPerspective((1, 1), 0.5, seed=1)(same)
    assert len({image.tobytes() for image in y}) == N
    np.testing.assert_allclose(y[:, 0, 0], same[:, 0, 0], 1e-5)  # where all corners start
    still = layers.RandomPerspective(scale=0.0)(PIXELS)
    np.testing.assert_allclose(still, PIXELS, 0, 1e-2)
    y = layers.RandomPerspective((0.5, 0.5), seed=2)(PIXELS)
    kept = (y == PIXELS).all((1, 2, 3))
    assert kept.any()
    assert not kept.all()


def test_elastic_distortion_is_that_of_the_function(monkeypatch):
    images = np.random.default_rng(3).random((2, 50, 44, 2)).astype("float32")
    noise = np.random.default_rng(4).standard_normal((2, 50, 44, 2)).astype("float32")
    strength = 0.9
    sigma = 0.05 * 44 * strength  # 1.98: windows of 2 * 3 * 1 + 1
    form = (2, 1, 1, 1)
    values = np.ones(form, "float32"), np.zeros(form, "float32"), np.float32([[strength]]), noise
    monkeypatch.setattr(augmentation, "Draws", lambda seed, dtype: Given(values))
    y = layers.RandomElasticTransform(value_range=(0, 1))(images)
    bell = np.exp(-0.5 * (np.arange(-3, 4) / sigma) ** 2)
    bell /= bell.sum()
    padded = np.pad(noise * sigma, ((0, 0), (3, 3), (3, 3), (0, 0)))
    smooth = sum(b * padded[:, i : i + 50] for i, b in enumerate(bell))
    smooth = sum(b * smooth[:, :, i : i + 44] for i, b in enumerate(bell))
    rows, columns = np.indices((50, 44))
    at = smooth * 0.1 * 50 * strength
    for n in range(2):
        places = np.stack([rows + at[n, ..., 0], columns + at[n, ..., 1]]).astype("float32")
        for c in range(2):
            right = ops.image.map_coordinates(images[n, ..., c], places, 1, "reflect")
            np.testing.assert_allclose(y[n, ..., c], right, 0, 1e-4)


class Adding(layers.RandomFlip):
    """Adds a number, or, to masks, nothing."""

    def __init__(self, number, **kwargs):
        super().__init__(**kwargs)
        self.number = number

    def transform(self, x, draws):
        return x + self.number

    def transform_masks(self, masks, draws):
        return masks


def test_rand_augment_applies_as_many_changes_as_asked_for():
    layer = layers.RandAugment(num_ops=2, seed=1)
    kinds = [type(part).__name__ for part in layer._layers]
    assert len(set(kinds)) == 11
    layer._layers = [Adding(1.0), Adding(10.0), Adding(100.0)]
    zeros = np.zeros((3, 2, 2, 1), "float32")
    found = set()
    for _ in range(30):
        y = layer({"images": zeros, "segmentation_masks": zeros})
        assert (y["segmentation_masks"] == 0).all()
        (value,) = set(y["images"].ravel())
        found.add(float(value))
    assert found == {2.0, 11.0, 20.0, 101.0, 110.0, 200.0}


def test_aug_mix_mixes_chains_of_changes():
    layer = layers.AugMix((0, 30), num_chains=2, chain_depth=3, seed=1)
    assert len({type(part) for part in layer._layers}) == 11
    assert len(layers.AugMix(all_ops=False)._layers) == 7
    layer._layers = [Adding(10.0)]  # or none, as often: at most 30 in a chain
    zeros = np.zeros((3, 2, 2, 1), "float32")
    found = []
    for _ in range(30):
        (value,) = set(layer(zeros).ravel())
        found.append(float(value))
    assert min(found) >= 0
    assert max(found) < 30
    assert len(set(found)) > 25
    assert 4 < np.mean(found) < 11  # 30 / 2 changes / 2 images


def test_policies_with_their_own_changes():
    for layer in (layers.RandAugment((0, 1), seed=1), layers.AugMix((0, 1), 1, 2, seed=1)):
        images = PIXELS / 255
        y = layer(images)
        assert y.shape == images.shape
        assert y.min() >= 0
        assert y.max() <= 1.001
        assert (y != layer(images)).any()
        np.testing.assert_array_equal(layer(images, training=False), images)


def test_dictionaries_in_models():
    inputs = {"images": layers.Input((8, 9, 3)), "labels": layers.Input((N,))}
    mixed = layers.CutMix(seed=1)(inputs, training=True)
    assert mixed["images"].shape == (None, 8, 9, 3)
    assert mixed["labels"].shape == (None, N)
    model = nbcnn.Model(inputs, mixed)
    data = {"images": PIXELS, "labels": LABELS}
    found = model(data, training=True)
    np.testing.assert_allclose(found["labels"].sum(1), 1, 1e-5)
    assert (found["labels"] != LABELS).any()
    np.testing.assert_array_equal(model.predict(data, verbose=0)["labels"], LABELS)


@pytest.mark.parametrize("make", [layers.MixUp, layers.CutMix, layers.RandAugment])
def test_images_alone_in_models(make):
    image = layers.Input((8, 9, 3))
    assert make()(image, training=True).shape == (None, 8, 9, 3)


ERRORS = [
    (lambda: layers.MixUp(0), "MixUp: alpha must be positive, got 0"),
    (lambda: layers.CutMix(2), "factor must be a number or two numbers in 0..1, got 2"),
    (lambda: layers.MixUp()({"images": PIXELS, "labels": LABELS[0]}), "labels must be (n, classe"),
    (lambda: layers.MixUp()({"labels": LABELS}), "must have 'images', got ['labels']"),
    (lambda: layers.RandomFlip()({"images": PIXELS, "bounding_boxes": LABELS}), "'bounding_boxes'"),
    (lambda: layers.RandomPosterization(9), "factor must be an integer or two integers in 1..8"),
    (lambda: layers.RandomPosterization(2.5), "RandomPosterization: factor must be an integer or"),
    (lambda: layers.RandomGaussianBlur(kernel_size=4), "kernel_size must be a positive odd"),
    (lambda: layers.RandomGaussianBlur(sigma=2), "sigma must be a number or two numbers in 0..1"),
    (lambda: layers.RandomSharpness(1.5), "RandomSharpness: factor must be a number or two"),
    (lambda: layers.RandomPerspective(scale=2), "RandomPerspective: scale must be between 0 and 1"),
    (lambda: layers.RandomElasticTransform(fill_mode="no"), "fill_mode must be 'constant'"),
    (lambda: layers.RandomColorJitter(hue_factor=2), "RandomColorJitter: hue_factor must be a num"),
    (lambda: layers.RandomColorJitter(1), "RandomColorJitter: value_range must be two numbers"),
    (lambda: layers.Equalization(bins=0), "Equalization: bins must be positive, got 0"),
    (lambda: layers.AutoContrast(3), "AutoContrast: value_range must be two numbers, got 3"),
    (lambda: layers.RandAugment(num_ops=0), "RandAugment: num_ops must be positive, got 0"),
    (lambda: layers.AugMix(interpolation="bicubic"), "interpolation must be 'nearest' or 'bil"),
    (
        lambda: layers.ContrastLimitedAdaptiveHistogramEqualization(tile_grid_size=0),
        "tile_grid_size must be positive",
    ),
    (
        lambda: layers.SpectralNormalization(layers.Dense(2), 0),
        "SpectralNormalization: power_iterations must be positive, got 0",
    ),
    (
        lambda: layers.SpectralNormalization(layers.ReLU())(LABELS),
        "layer must have a kernel, got ReLU(",
    ),
]


@pytest.mark.parametrize(("wrong", "text"), ERRORS, ids=[t for _, t in ERRORS])
def test_errors_say_what_came_and_what_was_expected(wrong, text):
    with pytest.raises(ValueError) as error:
        wrong()
    assert text in str(error.value)
