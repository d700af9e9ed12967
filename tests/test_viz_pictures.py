"""Pictures of networks: all are figures, and show what was computed."""

import importlib
import sys

import numpy as np
import pytest
from seen_models import SHAPE, sequential

from nbcnn import viz

RNG = np.random.default_rng(4)
IMAGE = RNG.normal(size=SHAPE).astype("float32")


@pytest.fixture(scope="module")
def model():
    return sequential()


HISTORY = {"loss": [2.0, 1.0], "val_loss": [2.1, 1.2], "accuracy": [0.1, 0.6]}
BATCH = RNG.normal(size=(20, *SHAPE)).astype("float32")
LABELS = RNG.integers(0, 3, 20)
PICTURES = {
    "filters": lambda m, **o: viz.filters(m, **o),
    "feature_maps": lambda m, **o: viz.feature_maps(m, IMAGE, **o),
    "training_curves": lambda m, **o: viz.training_curves(HISTORY, **o),
    "confusion_matrix": lambda m, **o: viz.confusion_matrix(LABELS, model=m, x=BATCH, **o),
    "misclassified": lambda m, **o: viz.misclassified(m, BATCH, LABELS, **o),
    "occlusion": lambda m, **o: viz.occlusion(m, IMAGE, **o),
    "saliency": lambda m, **o: viz.saliency(m, IMAGE, **o),
    "smooth_grad": lambda m, **o: viz.smooth_grad(m, IMAGE, samples=2, **o),
    "grad_cam": lambda m, **o: viz.grad_cam(m, IMAGE, **o),
    "deconvnet": lambda m, **o: viz.deconvnet(m, IMAGE, m.layers[2], range(3), **o),
    "activation_maximization": lambda m, **o: viz.activation_maximization(m, steps=2, **o),
    "architecture": lambda m, **o: viz.architecture(m, **o),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_figures_that_can_be_saved_or_drawn_into_axes(model, name, tmp_path):
    figure = pytest.importorskip("matplotlib.figure")
    path = tmp_path / f"{name}.png"
    made = PICTURES[name](model, save=path, title="a title")
    assert isinstance(made, figure.Figure)
    assert made.axes[0].get_title() == "a title"
    assert path.read_bytes().startswith(b"\x89PNG")
    left, right = figure.Figure().subplots(1, 2)
    assert PICTURES[name](model, ax=right) is right.figure
    drawn = right.images or right.lines or right.patches
    assert drawn
    assert not left.images
    assert not left.lines
    assert not left.patches


def test_every_picture_is_tested():
    maps = {"Volume", "volumes", "mistakes", "input_gradient", "maximal_image"}
    numbers = {n for n in viz.__all__ if n.endswith(("_map", "_maps", "_counts", "_images"))}
    others = {"deconvnet_projection", *maps, *numbers} - {"feature_maps"}
    assert set(viz.__all__) - others == set(PICTURES)
    assert sorted(viz.__all__) == sorted(viz.HOMES) == dir(viz)


def test_what_is_drawn_is_what_was_computed(model):
    figure = pytest.importorskip("matplotlib.figure")
    ax = figure.Figure().add_subplot()
    viz.saliency(model, IMAGE, 1, ax=ax)
    np.testing.assert_array_equal(ax.images[0].get_array(), viz.saliency_map(model, IMAGE, 1))


def test_axes_in_a_part_of_a_figure(model, tmp_path):
    figure = pytest.importorskip("matplotlib.figure").Figure()
    left, _ = figure.subfigures(1, 2)
    path = tmp_path / "left.png"
    assert viz.saliency(model, IMAGE, ax=left.add_subplot(), save=path) is figure
    assert path.exists()


def test_what_a_confusion_matrix_takes():
    """Columns of class numbers, as label files have them, and numbers of NumPy."""
    figure = pytest.importorskip("matplotlib.figure")
    y_true, y_pred = np.array([[0], [2], [1]]), np.array([[0], [1], [1]])
    for classes in (None, np.int64(3), ["a", "b", "c"]):
        ax = figure.Figure().add_subplot()
        viz.confusion_matrix(y_true, y_pred, classes, ax=ax)
        expected = [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
        np.testing.assert_array_equal(ax.images[0].get_array(), expected)


def test_without_matplotlib_pictures_say_what_to_install_and_maps_work(model, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert viz.saliency_map(model, IMAGE).shape == (8, 8)
    with pytest.raises(ImportError, match=r"saliency needs matplotlib.*pip install 'nbcnn\[viz\]'"):
        viz.saliency(model, IMAGE)


def test_looking_draws_no_matplotlib_in(python, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "import sys\nfrom nbcnn import viz\n"
        "[getattr(viz, name) for name in viz.__all__]\n"
        "assert not any(name.startswith('matplotlib') for name in sys.modules)\n"
    )
    python(script)


def test_names_are_found_where_they_are_said_to_be():
    assert not set(viz.HOMES) & set(viz.HOMES.values())  # a module would hide what it defines
    for name, home in viz.HOMES.items():
        value = getattr(importlib.import_module(f"nbcnn.viz.{home}"), name)
        assert value.__module__ == f"nbcnn.viz.{home}"
        assert getattr(viz, name) is value
    with pytest.raises(AttributeError, match="no attribute 'salience'"):
        _ = viz.salience
