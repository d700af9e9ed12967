"""Looking into files of weights and changing them."""

import numpy as np
import pytest

import nbcnn
from nbcnn import layers
from nbcnn.saving import FormatError, KerasFileEditor


@pytest.fixture(autouse=True)
def on_the_cpu():
    with nbcnn.device("cpu"):
        yield


def model_of(*units):
    return nbcnn.Sequential([nbcnn.Input((4,)), *[layers.Dense(n) for n in units]])


@pytest.mark.parametrize("ending", ["keras", "weights.h5"])
def test_a_file_is_made_to_fit_another_model(ending, tmp_path, capsys):
    old, new = model_of(3, 2, 2), model_of(3, 5)
    old.compile("adam", "mse")
    old.train_on_batch(np.ones((2, 4)), np.ones((2, 2)))
    path = tmp_path / f"m.{ending}"
    (old.save if ending == "keras" else old.save_weights)(path)
    editor = KerasFileEditor(path)
    assert (editor.config is None) == (ending != "keras")
    editor.summary()
    assert "dense_1 (" in capsys.readouterr().out
    assert editor.compare(old) == {"status": "success", "error_count": 0, "match_count": 6}
    assert editor.compare(new)["error_count"] == 4
    editor.delete_object("layers/dense_2")
    kernel = np.full((3, 5), 0.5, "float32")
    editor.delete_weight("dense_1", "1")
    editor.add_weights("dense_1", {"0": kernel, "1": np.zeros(5, "float32")})
    editor.rename_object("dense_1", "last")
    editor.add_object("layers/extra", {"0": np.ones(3)})
    editor.delete_object("extra")
    editor.rename_object("layers/last", "dense_1")
    editor.delete_object("optimizer")
    assert editor.compare(new)["status"] == "success"
    editor.resave_weights(tmp_path / "new.weights.h5")
    new.load_weights(tmp_path / "new.weights.h5")
    np.testing.assert_array_equal(new.get_weights()[0], old.get_weights()[0])
    np.testing.assert_array_equal(new.get_weights()[2], kernel)


def test_what_is_not_there(tmp_path):
    model_of(3).save_weights(tmp_path / "m.weights.h5")
    editor = KerasFileEditor(tmp_path / "m.weights.h5")
    for act in (
        lambda: editor.delete_object("conv"),
        lambda: editor.rename_object("dense", "a/b"),
        lambda: editor.delete_weight("dense", "7"),
        lambda: editor.add_weights("dense", np.ones(3)),
        lambda: editor.save(tmp_path / "m.npz"),
        lambda: KerasFileEditor(tmp_path / "m.npz"),
    ):
        with pytest.raises(ValueError, match=r"is not there|no path|has no|dictionary|must end in"):
            act()
    (tmp_path / "bad.weights.h5").write_bytes(b"hello")
    with pytest.raises(FormatError, match=r"bad\.weights\.h5"):
        KerasFileEditor(tmp_path / "bad.weights.h5")
