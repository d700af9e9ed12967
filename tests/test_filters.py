"""Classical filters against SciPy, and by what they are known for."""

import numpy as np
import pytest
from scipy import ndimage, signal

import nbcnn as keras
from nbcnn import filters, layers

RNG = np.random.default_rng(0)
IMAGE = RNG.uniform(size=(12, 15, 3)).astype("float32")
KERNELS = sorted(filters.NAMED)


@pytest.mark.parametrize("name", KERNELS)
@pytest.mark.parametrize("channels", [1, 3])
def test_layers_equal_scipys_correlation(name, channels):
    kernel, image = filters.kernel(name), IMAGE[..., :channels]
    found = filters.layer(name, channels)(image[None])[0]
    for c in range(channels):
        expected = signal.correlate2d(image[..., c].astype(float), kernel, "same")
        np.testing.assert_allclose(found[..., c], expected, rtol=0, atol=1e-5)


def test_kernels_are_those_of_scipy():
    impulse = np.zeros((9, 9))
    impulse[4, 4] = 1
    expected = {
        "box": ndimage.uniform_filter(impulse, 3),
        "gaussian": ndimage.gaussian_filter(impulse, 1.0, truncate=2.0),
        "laplacian": ndimage.laplace(impulse),
        # SciPy's response to an impulse shows a kernel turned around.
        "sobel_x": ndimage.sobel(impulse, 1)[::-1, ::-1],
        "sobel_y": ndimage.sobel(impulse, 0)[::-1, ::-1],
    }
    for name, found in expected.items():
        kernel = filters.kernel(name)
        edge = (9 - len(kernel)) // 2
        np.testing.assert_allclose(
            kernel, found[edge : 9 - edge, edge : 9 - edge], atol=1e-6, err_msg=name
        )


def test_sums_say_what_becomes_of_even_areas():
    for name in KERNELS:
        expected = 0 if name in ("laplacian", "sobel_x", "sobel_y") else 1
        assert filters.kernel(name).sum() == pytest.approx(expected, abs=1e-6), name
    assert filters.laplacian(diagonals=True).sum() == 0
    assert filters.sharpen(0.5)[1, 1] == 3
    assert filters.gaussian(7, 2.0).argmax() == 24


def test_slopes_of_a_ramp():
    rows, columns = np.mgrid[:7, :8].astype("float32")
    ramp = (2 * columns - 3 * rows)[None, ..., None]
    inner = (0, slice(1, -1), slice(1, -1), 0)
    np.testing.assert_allclose(filters.layer("sobel_x")(ramp)[inner], 8 * 2, rtol=1e-5)
    np.testing.assert_allclose(filters.layer("sobel_y")(ramp)[inner], 8 * -3, rtol=1e-5)
    np.testing.assert_allclose(filters.layer("laplacian")(ramp)[inner], 0, atol=1e-4)
    found = filters.sobel_magnitude()(ramp)[inner]
    np.testing.assert_allclose(found, 8 * np.hypot(2, 3), rtol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
def test_a_matched_filter_finds_its_template(channels):
    image = IMAGE[..., :channels]
    template = image[4:9, 6:11]
    kernel = filters.matched(template[..., 0] if channels == 1 else template)
    np.testing.assert_allclose(kernel.mean((0, 1)), 0, atol=1e-6)
    assert np.linalg.norm(kernel) == pytest.approx(1, abs=1e-5)
    found = filters.layer(kernel, channels, padding="valid")(image[None])[0, ..., 0]
    assert np.unravel_index(found.argmax(), found.shape) == (4, 6)
    deviations = template - template.mean((0, 1))
    assert found.max() == pytest.approx(np.linalg.norm(deviations), rel=1e-4)


def test_layers_are_frozen_and_keep_their_kernel_in_files(tmp_path):
    model = keras.Sequential([
        keras.Input((8, 8, 3)), filters.layer("emboss", 3), layers.Flatten(), layers.Dense(1),
    ])  # fmt: skip
    assert len(model.trainable_weights) == 2
    model.compile("sgd", "mse")
    model.fit(IMAGE[None, :8, :8], np.ones((1, 1)), epochs=2, verbose=0)
    model.save(tmp_path / "model.keras")
    for each in (model, keras.models.load_model(tmp_path / "model.keras")):
        for c in range(3):
            np.testing.assert_array_equal(
                each.layers[0].get_weights()[0][..., c, 0], filters.emboss()
            )
        assert not each.layers[0].trainable


def test_images_have_channels_last_whatever_the_setting():
    expected = filters.layer("sobel_x", 3)(IMAGE[None])
    before = keras.config.image_data_format()
    try:
        keras.config.set_image_data_format("channels_first")
        found = filters.layer("sobel_x", 3)(IMAGE[None])
    finally:
        keras.config.set_image_data_format(before)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: filters.kernel("sobel"), "no kernel 'sobel'; there are 'box', 'emboss'"),
        (lambda: filters.kernel(np.ones(3)), r"got shape \(3,\)"),
        (lambda: filters.layer(np.ones((3, 3, 2)), 3), "has 2 channels, the images have 3"),
        (lambda: filters.layer("box", 0), "filters: channels must be a positive integer, got 0"),
        (lambda: filters.box(0), "size must be a positive integer, got 0"),
        (lambda: filters.gaussian(3, 0), "sigma must be positive, got 0"),
        (lambda: filters.matched(np.ones((3, 3))), "even, there is nothing to find"),
        (lambda: filters.matched(np.ones(3)), r"got shape \(3,\)"),
    ],
)
def test_bad_input_is_refused(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_the_photograph_is_small_and_says_where_it_is_from(root):
    folder = root / "models" / "assets"
    told = (folder / "README.md").read_text(encoding="utf-8")
    for path in folder.iterdir():
        assert path.name == "README.md" or f"`{path.name}`" in told
        assert path.stat().st_size < 100_000
    image = pytest.importorskip("PIL.Image").open(folder / "chelsea.jpg")
    assert image.size == (360, 239)
