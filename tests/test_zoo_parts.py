"""What the scripts of `models/` share: finding data, fitting pictures, counting operations."""

import importlib
import pickle
import sys

import numpy as np
import pytest
from cases import zoo as cases

import nbcnn as keras
from nbcnn.analysis import operation_count
from nbcnn.layers.variable import shapes_only

zoo_data = pytest.importorskip("zoo_data")
assert cases.CASES  # which has put `models/` where imports look


def test_digits_are_fitted():
    data = zoo_data.load("digits", (12, 10, 3), batch_size=8, limit=20)
    assert (data.classes, data.images, len(data.train), len(data.test)) == (10, 20, 3, 1)
    x, y = data.train[2]
    assert x.shape == (4, 12, 10, 3)
    assert y.shape == (4,)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[..., 0], x[..., 2])
    np.testing.assert_allclose(x.mean((1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(x.std((1, 2, 3)), 1, rtol=1e-4)


def test_every_sample_comes_once_an_epoch_in_another_order():
    data = zoo_data.load("digits", (8, 8, 1), batch_size=16, limit=40)
    epochs = []
    for _ in range(2):
        epochs.append(np.concatenate([x for x, _ in data.train]).reshape(40, -1))
        data.train.on_epoch_end()
    assert (epochs[0] != epochs[1]).any()
    first, second = (np.sort(epoch @ np.arange(64)) for epoch in epochs)
    np.testing.assert_allclose(first, second, rtol=1e-5)


def test_colours_become_gray():
    x = np.random.default_rng(0).integers(0, 256, (2, 6, 6, 3)).astype("uint8")
    gray = zoo_data.standardized(x.astype("float32").mean(3, keepdims=True))
    np.testing.assert_allclose(zoo_data.fitted(x, (6, 6, 1)), gray, atol=1e-5)


def test_mnist_and_cifar10_are_found_where_the_variable_says(tmp_path, monkeypatch):
    monkeypatch.setenv("NBCNN_DATA", str(tmp_path))
    draw = np.random.default_rng(1).integers
    digits, labels = draw(0, 256, (7, 28, 28), "uint8"), np.arange(7, dtype="uint8")
    np.savez(
        tmp_path / "mnist.npz", x_train=digits, y_train=labels, x_test=digits[:4], y_test=labels[:4]
    )
    data = zoo_data.load("mnist", (28, 28, 1), batch_size=7)
    assert data.images == 7
    x, y = data.test[0]
    np.testing.assert_allclose(x, zoo_data.standardized(digits[:4, ..., None] + 0.0), atol=1e-5)
    np.testing.assert_array_equal(y, labels[:4])

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    rows = draw(0, 256, (2, 3072), "uint8")
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        with (folder / name).open("wb") as file:
            pickle.dump({b"data": rows, b"labels": [3, 9]}, file, protocol=2)
    data = zoo_data.load("cifar10", (32, 32, 3), batch_size=2)
    assert data.images == 10
    pictures = rows.reshape(2, 3, 32, 32).transpose(0, 2, 3, 1).astype("float32")
    np.testing.assert_allclose(data.test[0][0], zoo_data.standardized(pictures), atol=1e-5)


def test_a_pickle_that_runs_something_is_refused(tmp_path):
    path = tmp_path / "data_batch_1"
    path.write_bytes(pickle.dumps({b"data": print}))
    with pytest.raises(pickle.UnpicklingError, match=r"builtins.print"):
        zoo_data._cifar_batch(path)


def test_a_script_trains_writes_and_goes_on(root, python):
    script = root / "models" / "resnet_cifar.py"
    options = ["--device", "cpu", "--limit", "64", "--verbose", "0", "--seed", "3"]
    files = ["--save", "model.keras", "--onnx", "model.onnx"]
    printed = python(script, *options, "--epochs", "1", "--size", "8", *files)
    said = dict(line.split(": ", 1) for line in printed.splitlines())
    assert said["parameters"] == "269,722 and 1,376 that are not trained"
    assert said["multiply-adds"] == "2.54 M a sample"  # a sixteenth of 40.55 M, but the last layer
    assert float(said["training"].removesuffix(" samples/s").replace(",", "")) > 0
    assert 0 <= float(said["test accuracy"]) <= 1
    again = python(script, *options, "--epochs", "0", "--size", "8", "--load", "model.keras")
    assert f"test accuracy: {said['test accuracy']}\n" in again
    assert "training" not in again


def test_a_loaded_model_is_not_trained_without_labels_first(tmp_path, monkeypatch, capsys):
    convnext_v2 = importlib.import_module("convnext_v2")
    path, options = tmp_path / "model.keras", "--epochs 0 --limit 8 --labelled 8 --size 16"
    monkeypatch.setattr(convnext_v2.zoo, "start", lambda args: None)
    monkeypatch.setattr(sys, "argv", ["convnext_v2.py", "--load", str(path), *options.split()])
    monkeypatch.delattr(convnext_v2, "pretrained")
    with keras.device("cpu"):
        convnext_v2.build((16, 16, 1), 10, **convnext_v2.SMALL).save(path)
        convnext_v2.main()
    assert "test accuracy" in capsys.readouterr().out


@pytest.mark.parametrize("limit", [0, -3])
def test_a_number_of_pictures_is_positive(limit):
    with pytest.raises(ValueError, match=f"limit must be a positive number .* got {limit}"):
        zoo_data.load("digits", (8, 8, 1), limit=limit)


def test_a_folder_of_pictures(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    draw = np.random.default_rng(2).integers
    for name in ("cats", "dogs", "fish"):
        (tmp_path / name).mkdir()
        for i in range(5):
            picture = pillow.fromarray(draw(0, 256, (9, 7 + i, 3), "uint8"))
            picture.save(tmp_path / name / f"{i}.png")
    few = zoo_data.load(str(tmp_path), (8, 8, 3), batch_size=4, limit=5)
    assert (few.images, len(few.train), len(few.test)) == (8, 2, 1)
    data = zoo_data.load(str(tmp_path), (8, 8, 3), batch_size=4)
    assert (data.classes, data.images, len(data.train), len(data.test)) == (3, 12, 3, 1)
    x, _ = data.train[0]
    assert x.shape == (4, 8, 8, 3)
    np.testing.assert_allclose(x.std((1, 2, 3)), 1, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "shape", "error", "message"),
    [
        ("mnist", (28, 28, 1), FileNotFoundError, r"mnist.*looked for .*mnist\.npz.*NBCNN_DATA"),
        ("no such", (8, 8, 1), FileNotFoundError, r"digits, mnist, cifar10 or a folder.*'no such'"),
        ("digits", (8, 8, 2), ValueError, r"\(height, width, 1 or 3\).*\(8, 8, 2\)"),
    ],
)
def test_what_is_not_there_is_named(name, shape, error, message, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NBCNN_DATA", raising=False)
    with pytest.raises(error, match=message):
        zoo_data.load(name, shape)


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("textbook", {"input_shape": (15, 40, 3)}, r"textbook: .*16x16 pixels.*\(15, 40, 3\)"),
        ("alexnet", {"input_shape": (66, 67, 3)}, r"67x67 pixels or more, got \(66, 67, 3\)"),
        ("alexnet", {"variant": "zf"}, "variant must be one of 'caffe', 'torchvision', got 'zf'"),
        ("vgg", {"input_shape": (32, 31, 3)}, r"32x32 pixels or more, got \(32, 31, 3\)"),
        ("vgg", {"input_shape": (224, 224)}, r"\(height, width, channels\).*got \(224, 224\)"),
        ("vgg", {"depth": 12}, "depth must be one of 11, 13, 16, 19, got 12"),
        ("inception", {"variant": "v4"}, "variant must be one of 'paper', 'torchvision', got 'v4'"),
        ("resnet", {"depth": 20}, "depth must be one of 18, 34, 50, 101, 152, got 20"),
        ("resnet_cifar", {"depth": 50 + 3}, r"depth must be 6n \+ 2, as 20 or 56, got 53"),
        ("resnet_cifar", {"depth": 2}, r"depth must be 6n \+ 2.*got 2"),
        ("resnet_cifar", {"shortcut": "no"}, "shortcut must be one of 'pad', 'project', got 'no'"),
        ("squeezenet", {"input_shape": (16, 17, 3)}, r"17x17 pixels or more, got \(16, 17, 3\)"),
        ("squeezenet", {"version": "2"}, "version must be one of '1.0', '1.1', got '2'"),
        ("densenet", {"input_shape": (28, 28, 3)}, r"29x29 pixels or more, got \(28, 28, 3\)"),
    ],
)
def test_what_cannot_be_built_is_refused(module, arguments, message):
    with pytest.raises(ValueError, match=message):
        importlib.import_module(module).build(**arguments)


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("textbook", {"input_shape": (16, 16, 3)}),
        ("alexnet", {"input_shape": (67, 67, 3)}),
        ("alexnet", {"input_shape": (63, 63, 1), "variant": "torchvision"}),
        ("vgg", {"input_shape": (32, 32, 1)}),
        ("inception", {"input_shape": (1, 1, 3)}),
        ("resnet", {"input_shape": (1, 1, 3)}),
        ("resnet_cifar", {"input_shape": (1, 1, 3)}),
        ("squeezenet", {"input_shape": (17, 17, 3)}),
        ("squeezenet", {"input_shape": (21, 21, 3), "version": "1.0"}),
        ("densenet", {"input_shape": (29, 29, 3)}),
    ],
)
def test_the_smallest_pictures_give_the_classes(module, arguments):
    with shapes_only():
        model = importlib.import_module(module).build(classes=3, **arguments)
    assert model.output_shape == (None, 3)


def test_operations_are_counted():
    layers = keras.layers
    inputs = keras.Input((10, 8, 4))
    x = layers.Conv2D(6, (3, 2), strides=2, padding="same", groups=2)(inputs)
    y = layers.Conv2DTranspose(5, 3, strides=2)(x)
    z = layers.DepthwiseConv2D(3)(y)
    model = keras.Model(inputs, layers.Dense(7, activation="relu")(layers.Flatten()(z)))
    grouped = 5 * 4 * 6 * 3 * 2 * 2  # pixels, filters, kernel, channels of a group
    transposed = 5 * 4 * 6 * 3 * 3 * 5  # pixels of the input, its channels, kernel, filters
    depthwise = 9 * 7 * 5 * 3 * 3
    dense = 9 * 7 * 5 * 7
    count = operation_count(model, batch=2)
    assert count.multiply_adds == 2 * (grouped + transposed + depthwise + dense)
    biases = 5 * 4 * 6 + 11 * 9 * 5 + 9 * 7 * 5 + 7
    assert count.flops == 2 * count.multiply_adds + 2 * (biases + 7)


def test_operations_of_weights_that_are_not_shared_count():
    inputs = keras.Input((10, 8, 4))
    model = keras.Model(inputs, keras.layers.LocallyConnected2D(3, 3)(inputs))
    assert operation_count(model).multiply_adds == 8 * 6 * 3 * 9 * 4


def test_operations_of_a_model_for_any_size():
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(2, 3)])
    assert operation_count(model, input_shape=(6, 7, 3)).multiply_adds == 4 * 5 * 2 * 27
    with pytest.raises(TypeError, match="operation_count: expected a model, got str"):
        operation_count("model")


def test_operations_cannot_be_counted_before_sizes_are_known():
    model = keras.Sequential([keras.layers.Dense(3)], name="dense")
    with pytest.raises(ValueError, match=r"operation_count: Sequential 'dense' is not built"):
        operation_count(model)
    model = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(3, 3)])
    with pytest.raises(ValueError, match=r"is \(None, None, 3\); give .* input_shape"):
        operation_count(model)
    with pytest.raises(ValueError, match=r"batch must be a positive whole number, got 0"):
        operation_count(model, 0)


def test_a_model_of_shapes_takes_no_memory():
    with shapes_only():
        model = keras.Sequential([keras.Input((10**6,)), keras.layers.Dense(10**6)])
    assert model.count_params() == 10**12 + 10**6  # 4 TB
    assert operation_count(model).multiply_adds == 10**12
    with pytest.raises(ValueError, match="read-only"):
        model.weights[1].assign(np.ones(10**6, "float32"))
    assert keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).get_weights()[0].any()
