"""HDF5 files, read and written, and what h5py makes of them."""

import io

import numpy as np
import pytest

import nbcnn
from nbcnn import layers
from nbcnn.io import hdf5, hdf5_write
from nbcnn.io.files import FormatError, Window


class Opened(hdf5.Reader):
    """HDF5 contents in memory."""

    def __init__(self, content):
        super().__init__(Window(io.BytesIO(content), 0, len(content), "here"))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass


def arrays_of_all_kinds():
    rng = np.random.default_rng(0)
    kinds = ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?"]
    found = {f"a/{kind}/vars/{n}": rng.integers(0, 2, (3,) * n).astype(kind)
             for kind in kinds for n in range(4)}  # fmt: skip
    many = {f"optimizer/vars/{i}": np.array(i) for i in range(700)}
    return {**found, **many, "empty/vars/0": np.zeros((0, 3), "f4")}


def test_hdf5_comes_back_and_is_what_h5py_reads(tmp_path):
    arrays = arrays_of_all_kinds()
    texts = {"": {"sum": "abc"}, "optimizer/vars": {"name": "bär"}, "none/vars": {"name": "x"}}
    with open(tmp_path / "a.h5", "wb") as file:
        hdf5_write.write(file, arrays, texts)
    with Opened((tmp_path / "a.h5").read_bytes()) as reader:
        assert set(reader.arrays) == set(arrays)
        assert reader.attributes[""] == {"sum": ["abc"]}
        assert reader.attributes["optimizer/vars"] == {"name": ["bär"]}
        for path, array in arrays.items():
            np.testing.assert_array_equal(reader.array(path), array)
            assert reader.array(path).dtype == array.dtype
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "a.h5") as file:
        for path, array in arrays.items():
            np.testing.assert_array_equal(file[path][()], array)
            assert file[path].dtype == array.dtype
        assert file["optimizer/vars"].attrs["name"].decode() == "bär"


def hostile(kind, path):
    """A file of weights with something that Keras does not write."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", **({"libver": "latest"} if kind == "a newer layout" else {})) as file:
        file["layers/dense/vars/1"] = np.zeros(3, "f4")
        at = "layers/dense/vars/0"
        if kind == "soft link":
            file[at] = h5py.SoftLink("/layers/dense/vars/1")
        elif kind == "external link":
            file[at] = h5py.ExternalLink("/etc/passwd", "x")
        elif kind == "hard link":
            file[at] = file["layers/dense/vars/1"]
        elif kind == "loop":
            file["layers/dense/again"] = file["layers"]
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4, 3), "f4")
            layout[0] = h5py.VirtualSource("other.h5", "x", shape=(3,))
            file.create_virtual_dataset(at, layout)
        elif kind == "external storage":
            external = [("/etc/passwd", 0, 48)]
            file.create_dataset(at, (4, 3), "f4", external=external)
        elif kind == "compressed":
            file.create_dataset(at, (4, 3), "f4", compression="gzip")
        elif kind == "huge":
            file.create_dataset(at, (2**40, 2**20), "f4")
        elif kind == "texts":
            file[at] = "hello"
        else:
            file[at] = np.zeros((4, 3), "f4")


KINDS = [
    "soft link", "external link", "hard link", "loop", "virtual", "external storage", "compressed",
    "huge", "texts", "a newer layout",
]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_hostile_hdf5_is_refused(kind, tmp_path):
    hostile(kind, tmp_path / "w.weights.h5")
    model = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3)])
    before = model.get_weights()
    with pytest.raises(FormatError, match=r"w\.weights\.h5"):
        model.load_weights(tmp_path / "w.weights.h5")
    for a, b in zip(model.get_weights(), before):
        np.testing.assert_array_equal(a, b)
