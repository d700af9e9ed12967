"""Pictures, datasets from folders and series, padding, resampling on the host."""

import sys

import numpy as np
import pytest

import nbcnn
from nbcnn import layers, resampling, utils
from nbcnn.preprocessing import image

RNG = np.random.default_rng(1)


@pytest.fixture
def pillow():
    return pytest.importorskip("PIL.Image")


def test_without_pillow_the_error_says_what_to_do(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    for call in (
        lambda: utils.load_img("x.png"),
        lambda: utils.array_to_img(np.zeros((2, 2, 1))),
        lambda: utils.image_dataset_from_directory(tmp_path),
    ):
        with pytest.raises(ImportError, match=r"needs Pillow.* pip install 'nbcnn\[images\]'"):
            call()


def test_pictures_come_back(pillow, tmp_path):
    pixels = RNG.integers(0, 256, (5, 7, 3)).astype("float32")
    utils.save_img(tmp_path / "a.png", pixels, scale=False)
    found = utils.img_to_array(utils.load_img(tmp_path / "a.png"))
    np.testing.assert_array_equal(found, pixels)
    assert found.dtype == "float32"
    first = utils.img_to_array(utils.load_img(tmp_path / "a.png"), "channels_first")
    np.testing.assert_array_equal(first, pixels.transpose(2, 0, 1))
    gray = utils.img_to_array(utils.load_img(str(tmp_path / "a.png"), "grayscale", (4, 3)))
    assert gray.shape == (4, 3, 1)
    kept = utils.load_img(tmp_path / "a.png", target_size=(5, 5), keep_aspect_ratio=True)
    np.testing.assert_array_equal(utils.img_to_array(kept), pixels[:, 1:6])
    stretched = utils.img_to_array(utils.array_to_img(np.array([[[-1.0], [1.0]]])))
    np.testing.assert_array_equal(stretched, [[[0.0], [255.0]]])


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: utils.load_img("x.png", color_mode="red"), "load_img: color_mode must be one of"),
        (lambda: utils.load_img("x.png", interpolation="no"), "load_img: interpolation must be"),
        (lambda: utils.array_to_img(np.zeros((2, 2))), "array_to_img: x must have 3 axes"),
        (lambda: utils.array_to_img(np.zeros((2, 2, 2))), "array_to_img: x must have 1, 3 or 4"),
        (lambda: utils.img_to_array(np.zeros(3)), "img_to_array: img must have 2 or 3 axes"),
        (lambda: utils.save_img("x.png", np.zeros((2, 2, 1)), "no"), "array_to_img: data_format"),
    ],
)
def test_wrong_arguments(pillow, call, message):
    with pytest.raises(ValueError, match=message):
        call()


# -- sizes ----------------------------------------------------------------------------------------


def test_resampling_by_hand():
    row = np.array([0.0, 4.0, 8.0, 12.0]).reshape(1, 4, 1)
    for method, wanted in (
        ("bilinear", [2.0, 10.0]), ("nearest", [4.0, 12.0]), ("area", [2.0, 10.0]),
    ):  # fmt: skip
        np.testing.assert_allclose(resampling.resized(row, (1, 2), method).ravel(), wanted)
    wider = resampling.resized(row[:, :2], (1, 4), "bilinear").ravel()
    np.testing.assert_allclose(wider, [0.0, 1.0, 3.0, 4.0])


@pytest.mark.parametrize("method", resampling.METHODS)
def test_resampling_keeps_a_level_and_a_size(method):
    np.testing.assert_allclose(
        resampling.resized(np.full((5, 6, 2), 3.0), (7, 4), method), np.full((7, 4, 2), 3.0), 1e-6
    )
    same = RNG.normal(size=(2, 3, 3, 1)).astype("float32")
    np.testing.assert_array_equal(resampling.resized(same, (3, 3), method), same)


def test_smart_resize_cuts_off_and_padding_fills_up():
    wide = np.broadcast_to(np.arange(8.0)[None, :, None], (4, 8, 1))
    cut = image.smart_resize(wide, (4, 4))
    np.testing.assert_array_equal(cut[0, :, 0], [2.0, 3.0, 4.0, 5.0])
    batch = image.smart_resize(wide.transpose(2, 0, 1)[None], (2, 2), data_format="channels_first")
    assert batch.shape == (1, 1, 2, 2)
    whole = resampling.padded(wide, (4, 4), "nearest")
    np.testing.assert_array_equal(whole[:, :, 0].any(1), [False, True, True, False])
    with pytest.raises(ValueError, match="smart_resize: interpolation must be one of"):
        image.smart_resize(wide, (2, 2), "cubic")


# -- folders --------------------------------------------------------------------------------------


@pytest.fixture
def folder(pillow, tmp_path):
    for name, level in (("cat", 10), ("dog", 200)):
        (tmp_path / name).mkdir()
        for i in range(5):
            pixels = np.full((6, 8, 3), level + i, "float32")
            utils.save_img(tmp_path / name / f"{i}.png", pixels, scale=False)
    (tmp_path / "cat" / "notes.txt").write_text("no picture")
    return tmp_path


def dataset(folder, **options):
    return utils.image_dataset_from_directory(
        folder, image_size=(4, 4), verbose=False, **{"batch_size": 4, **options}
    )


def test_folders_are_classes(folder, capsys):
    found = dataset(folder, shuffle=False)
    assert (len(found), found.class_names) == (3, ["cat", "dog"])
    batches = list(found)
    x, y = (np.concatenate(part) for part in zip(*batches))
    assert (x.shape, x.dtype, y.dtype) == ((10, 4, 4, 3), "float32", "int32")
    np.testing.assert_array_equal(y, [0] * 5 + [1] * 5)
    np.testing.assert_array_equal(x[:, 0, 0, 0], [*range(10, 15), *range(200, 205)])
    utils.image_dataset_from_directory(folder)
    assert "Found 10 files of 2 classes." in capsys.readouterr().out


def test_kinds_of_labels(folder):
    hot = dataset(folder, label_mode="categorical", class_names=["dog", "cat"], shuffle=False)[0][1]
    np.testing.assert_array_equal(hot, [[1, 0]] * 4)
    binary = dataset(folder, label_mode="binary", shuffle=False)[2][1]
    np.testing.assert_array_equal(binary, [[1.0], [1.0]])
    assert dataset(folder, labels=None, color_mode="grayscale")[0].shape == (4, 4, 4, 1)
    own = dataset(folder, labels=list(range(10)), shuffle=False, batch_size=None)
    assert own[7][1] == 7
    assert own.class_names == [str(i) for i in range(10)]


def test_subsets_do_not_overlap_and_every_epoch_has_its_order(folder):
    train, test = dataset(folder, validation_split=0.3, subset="both", seed=5)
    assert (len(train.file_paths), len(test.file_paths)) == (7, 3)
    assert len({*train.file_paths, *test.file_paths}) == 10
    again = dataset(folder, validation_split=0.3, subset="validation", seed=5)
    assert again.file_paths == test.file_paths
    before = np.concatenate([x for x, _ in train])
    train.on_epoch_end()
    after = np.concatenate([x for x, _ in train])
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(np.sort(before[:, 0, 0, 0]), np.sort(after[:, 0, 0, 0]))


def test_a_model_learns_from_a_folder(folder):
    model = nbcnn.Sequential(
        [nbcnn.Input((4, 4, 3)), layers.Rescaling(1 / 255), layers.Flatten(), layers.Dense(2)]
    )
    loss = nbcnn.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(nbcnn.optimizers.Adam(0.1), loss, metrics=["accuracy"])
    history = model.fit(dataset(folder), epochs=8, verbose=0).history
    assert history["accuracy"][-1] == 1.0


@pytest.mark.parametrize(
    "options, message",
    [
        ({"label_mode": "text"}, "label_mode must be one of"),
        ({"validation_split": 0.5}, "give validation_split and subset"),
        ({"validation_split": 0.5, "subset": "both"}, "seed is missing"),
        ({"validation_split": 2, "subset": "both", "seed": 1}, "validation_split must be between"),
        ({"labels": [1, 2]}, "labels must be 'inferred', None or a list of 10 integers"),
        ({"class_names": ["cow"]}, r"class_names has \['cow'\], the folders are"),
        ({"class_names": ["cat"], "label_mode": "binary"}, "needs two classes"),
        ({"image_size": (4,)}, "image_size must be two positive integers"),
        ({"crop_to_aspect_ratio": True, "pad_to_aspect_ratio": True}, "not both"),
    ],
)
def test_wrong_arguments_of_datasets(folder, options, message):
    with pytest.raises(ValueError, match=message):
        utils.image_dataset_from_directory(folder, **options)


# -- series and sequences -------------------------------------------------------------------------


def test_windows_of_a_series():
    data = np.arange(20)
    found = utils.timeseries_dataset_from_array(
        data, 10 * data, 3, sequence_stride=4, sampling_rate=2, batch_size=2
    )
    x, y = (np.concatenate(part) for part in zip(*found))
    np.testing.assert_array_equal(x, [[i, i + 2, i + 4] for i in (0, 4, 8, 12)])
    np.testing.assert_array_equal(y, [0, 40, 80, 120])
    parts = found.skip(1).map(lambda x, y: (x, y + 1), num_parallel_calls=4).prefetch(1).cache()
    assert [y.tolist() for _, y in parts] == [[81, 121]]
    assert [x.numpy().shape for x, _ in found.take(1)] == [(2, 3)]
    assert (len(found.take(-1)), len(found.take(9)), len(found.skip(9))) == (2, 2, 0)
    seen: list[float] = []
    model = nbcnn.Sequential([nbcnn.Input((3,)), nbcnn.layers.Dense(1)])
    model.compile("sgd", "mse")
    watched = found.map(lambda x, y: seen.append(float(y[0])) or (x / 20, y / 200))
    model.fit(watched, epochs=3, verbose=0)
    assert seen[-6:] == [0, 80] * 3  # as Keras, fit keeps the order of such datasets
    single = utils.timeseries_dataset_from_array(data, None, 2, batch_size=None, start_index=5,
                                                 end_index=8)  # fmt: skip
    np.testing.assert_array_equal(list(single), [[5, 6], [6, 7]])
    mixed = utils.timeseries_dataset_from_array(data, None, 2, batch_size=32, shuffle=True, seed=3)
    assert not np.array_equal(mixed[0], np.sort(mixed[0], 0))
    with pytest.raises(ValueError, match="sampling_rate must be positive and below 20, got 0"):
        utils.timeseries_dataset_from_array(data, None, 2, sampling_rate=0)
    with pytest.raises(ValueError, match="shorter than a window"):
        utils.timeseries_dataset_from_array(data, None, 15, sampling_rate=2)


@pytest.mark.parametrize(
    "options, wanted",
    [
        ({}, [[0, 0, 1], [2, 3, 4]]),
        ({"padding": "post"}, [[1, 0, 0], [2, 3, 4]]),
        ({"maxlen": 2}, [[0, 1], [3, 4]]),
        ({"maxlen": 2, "truncating": "post", "value": 7}, [[7, 1], [2, 3]]),
    ],
)
def test_padding_of_sequences(options, wanted):
    found = utils.pad_sequences([[1], [2, 3, 4]], **options)
    np.testing.assert_array_equal(found, wanted)
    assert found.dtype == "int32"


def test_wrong_sequences():
    with pytest.raises(ValueError, match="padding must be 'pre' or 'post'"):
        utils.pad_sequences([[1]], padding="both")
    with pytest.raises(ValueError, match="sequences must be a list of sequences"):
        utils.pad_sequences([1, 2])
