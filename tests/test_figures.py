"""The documentation's pictures: made by docs/figures.py of the net in models/assets/."""

import importlib.util
import re

import numpy as np
import pytest

import nbcnn as keras


@pytest.fixture(scope="module")
def script(root):
    spec = importlib.util.spec_from_file_location("figures", root / "docs" / "figures.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def data():
    return keras.datasets.digits.load_data()


@pytest.fixture(scope="module")
def net(script):
    return keras.models.load_model(script.NET)


def test_maps_are_those_of_the_pictures(script, net, data):
    kept = np.load(script.IMAGES / "maps.npz")
    found = script.maps(net, script.example(data[1]))
    assert set(found) == set(kept.files) == {
        "saliency", "smooth_grad", "grad_cam", "occlusion", "deconvnet",
    }  # fmt: skip
    for name, values in found.items():
        assert values.max() > 0, name
        scale = np.abs(kept[name]).max()
        np.testing.assert_allclose(values, kept[name], rtol=0, atol=1e-4 * scale, err_msg=name)


def test_a_picture_shows_its_map(script, net, data):
    """The colours of the saliency map in its file are those of the array's values."""
    image = pytest.importorskip("PIL.Image")
    colours = pytest.importorskip("matplotlib").colormaps["inferno"]
    pixels = np.asarray(image.open(script.IMAGES / "saliency.png").convert("RGB"), float)
    rows, columns = np.nonzero((pixels < 250).any(-1))
    inner = pixels[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    values = np.load(script.IMAGES / "maps.npz")["saliency"]
    expected = 255 * colours(values / values.max())[..., :3]
    n = len(values)
    places = [((np.arange(n) + 0.5) * size / n).astype(int) for size in inner.shape[:2]]
    difference = np.abs(inner[np.ix_(*places)] - expected).max(-1)
    assert np.median(difference) < 3
    assert (difference < 3).mean() > 0.95


def test_the_net_reads_digits(net, data):
    _, (x_test, y_test) = data
    assert net.count_params() == 6218
    assert (net.predict(x_test, verbose=0).argmax(1) == y_test).mean() > 0.93


def test_pictures_are_small_and_shown(script, root):
    text = (root / "docs" / "course.md").read_text(encoding="utf-8")
    shown = set(re.findall(r"\]\(images/([\w.]+)\)", text))
    files = {path.name for path in script.IMAGES.iterdir()} - {"maps.npz"}
    assert shown == files
    assert sum(path.stat().st_size for path in script.IMAGES.iterdir()) < 600_000
