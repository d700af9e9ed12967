"""Files made to cost much memory or time: each is refused at once, and changes nothing."""

import json
import time
import zipfile

import numpy as np
import pytest

import nbcnn
from nbcnn import callbacks, layers
from nbcnn.io import hdf5, hdf5_write
from nbcnn.io.files import FormatError, Window
from nbcnn.layers import variable

SECONDS = 5.0


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.clear_session()
    start = time.process_time()
    with nbcnn.device("cpu"):
        yield
    assert time.process_time() - start < SECONDS


def model_of():
    model = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3, name="a" * 30)])
    opts = nbcnn.optimizers
    special = {".*bias": opts.Adam()}
    optimizer = opts.MultiOptimizer(opts.OptimizerMap(opts.SGD(0.1), special))
    model.compile(optimizer, "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    return model


# -- HDF5 -----------------------------------------------------------------------------------------


def crafted(path, names, members):
    """A file of one group: texts of names, and for each member where its name starts and its
    header.
    """
    out = bytearray(hdf5_write.SUPERBLOCK)
    append, words = hdf5_write._append, hdf5_write._words
    entries = b"".join(hdf5_write._symbol(start, append(out, header)) for start, header in members)
    leaf = append(out, b"SNOD\1\0" + len(members).to_bytes(2, "little") + entries)
    tree = append(out, b"TREE\0\0\1\0" + words(hdf5.UNDEFINED, hdf5.UNDEFINED, 0, leaf, 0))
    heap = append(out, b"HEAP\0\0\0\0" + words(len(names), 1, len(out) + 32) + names)
    message = [(hdf5.SYMBOL_TABLE, words(tree, heap))]
    root = append(out, hdf5_write._header(message))
    head = hdf5.SIGNATURE + bytes([0, 0, 0, 0, 0, 8, 8, 0, 4, 0, 16, 0, 0, 0, 0, 0])
    head += words(0, hdf5.UNDEFINED, len(out), hdf5.UNDEFINED)
    out[: hdf5_write.SUPERBLOCK] = head + hdf5_write._symbol(0, root, tree, heap)
    path.write_bytes(out)


def array_header(size, address=0):
    return hdf5_write._header(hdf5_write._array_messages(np.zeros(size, "u1"), address))


def many_names(count):
    """Texts of names, and where each starts."""
    texts = [f"{i:06d}\0".encode() for i in range(count)]
    return b"".join(texts), [7 * i for i in range(count)]


def overlapping_names(path):
    members = [(i, array_header(1)) for i in range(30000)]
    crafted(path, b"a" * 60000 + b"\0", members)


def overlapping_arrays(path):
    names, starts = many_names(5000)
    crafted(path, names, [(start, array_header(1 << 18, 96)) for start in starts])


def shared_headers(path):
    """Headers that all go on in the same stretch, which has 100,000 messages."""
    names, starts = many_names(2000)
    header = hdf5_write._header([(hdf5.CONTINUATION, hdf5_write._words(96, 1 << 19))])
    crafted(path, names + bytes(1 << 19), [(start, header) for start in starts])


def endless_names(path):
    """Every name is looked for through all that follows."""
    crafted(path, b"a" * (1 << 20), [(i, array_header(1)) for i in range(60000)])


HDF5 = {
    overlapping_names: "more than the file holds",
    overlapping_arrays: "arrays that overlap",
    shared_headers: "more than the file holds|damaged header",
    endless_names: "without a name",
}


@pytest.mark.parametrize("make", HDF5, ids=lambda make: make.__name__)
def test_hdf5_files_that_say_the_same_many_times(make, tmp_path):
    make(tmp_path / "w.weights.h5")
    with (
        open(tmp_path / "w.weights.h5", "rb") as file,
        pytest.raises(FormatError, match=HDF5[make]),
    ):
        hdf5.Reader(Window.whole(file, "w.weights.h5"))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1, 1e30])
def test_numbers_of_an_optimizer_that_mean_nothing(value, tmp_path):
    model = model_of()
    path = tmp_path / "w.weights.h5"
    model.save_weights(path)
    with open(path, "rb") as file:
        reader = hdf5.Reader(Window.whole(file, "w"))
        arrays = {name: reader.array(name) for name in reader.arrays}
    arrays["optimizer/vars/0"] = np.array(value)
    arrays["layers/dense/vars/0"] = arrays["layers/dense/vars/0"] + 1
    with open(path, "wb") as file:
        hdf5_write.write(file, arrays)
    refused(model, lambda: model.load_weights(path), r"w\.weights\.h5: optimizer/vars: .*iteration")


def refused(model, load, match):
    """The error names the file; weights and the optimizer are as before."""
    before, state = model.get_weights(), model.optimizer.get_state()
    with pytest.raises(FormatError, match=match):
        load()
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    assert model.optimizer.get_state() == state


# -- configurations -------------------------------------------------------------------------------


def rewritten(path, change):
    """The file with another configuration."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    name = "config.json" if path.suffix == ".keras" else "model.json"
    members[name] = change(json.loads(members[name]))
    with zipfile.ZipFile(path, "w") as new:
        for member, content in members.items():
            new.writestr(member, content)
    return name


def with_model(config, change):
    """What `change` makes of the model's own configuration, in files of both kinds."""
    change(config.get("model", config), config["compile_config"])
    return json.dumps(config)


def doubling(model, compiling):
    """Each model holds one that it calls twice: 2**40 calls in a short text."""
    plain = {"name": "x", "batch_shape": [None, 4], "dtype": "float32"}
    first = {"shape": [None, 4], "dtype": "float32", "keras_history": ["x", 0, 0]}
    tensors = [
        {"class_name": "__keras_tensor__", "config": config}
        for config in (first, {**first, "keras_history": ["f", 0, 0]})
    ]
    source = {"module": "keras.layers", "class_name": "InputLayer", "config": plain, "name": "x"}
    source["inbound_nodes"] = []
    inner = {"module": "keras.layers", "class_name": "Activation",
             "config": {"name": "f", "activation": "relu"}}  # fmt: skip
    for _ in range(40):
        nodes = [{"args": [t], "kwargs": {}} for t in tensors]
        entry = {**inner, "name": "f", "inbound_nodes": nodes}
        config = {"name": "f", "trainable": True, "layers": [source, entry],
                  "input_layers": [["x", 0, 0]], "output_layers": [["f", 1, 0]]}  # fmt: skip
        inner = {"module": "keras.layers", "class_name": "Model", "config": config,
                 "registered_name": None}  # fmt: skip
    model.clear()
    model.update(inner)


def slow_pattern(pattern):
    def change(model, compiling):
        found = compiling["optimizer"]["config"]["optimizer_map"]["config"]["optimizer_map"]
        found[pattern] = next(iter(found.values()))

    return change


def layer(model):
    return model["config"]["layers"][1]["config"]


def computing(model, compiling):
    """An operation on numbers: its result would be made at once."""
    repeat = {"module": "keras.src.ops.numpy", "class_name": "Repeat", "name": "r",
              "config": {"repeats": 10**9, "name": "r"},
              "inbound_nodes": [{"args": [1.0], "kwargs": {}}]}  # fmt: skip
    config = {"name": "f", "layers": [repeat], "input_layers": [], "output_layers": [["r", 0, 0]]}
    model.clear()
    model.update(module="keras.layers", class_name="Model", config=config, registered_name=None)


HOSTILE = {
    "what is computed at once": computing,
    "models that double": doubling,
    "a slow pattern": slow_pattern("(a+)+b"),
    "a pattern with many repetitions": slow_pattern("a*" * 30 + "b"),
    "no pattern": slow_pattern("["),
    "a long text as an array": lambda m, c: layer(m).update(
        kernel_initializer={"class_name": "__numpy__",
                            "config": {"value": ["x"], "dtype": "U500000000"}}
    ),
    "a long name": lambda m, c: layer(m).update(activation="y" * (1 << 20)),
    "half a letter": lambda m, c: layer(m).update(activation="\ud800"),
    "a list as a number": lambda m, c: layer(m).update(units=[3]),
    "infinite units": lambda m, c: layer(m).update(units=float("inf")),
    "no number of units": lambda m, c: layer(m).update(units=float("nan")),
    "units of many digits": lambda m, c: layer(m).update(units=10**4000),
    "layers of one name": lambda m, c: m["config"]["layers"].append(m["config"]["layers"][1]),
}  # fmt: skip


@pytest.mark.parametrize("ending", ["keras", "nbcnn"])
@pytest.mark.parametrize("name", HOSTILE)
def test_configurations(name, ending, tmp_path, monkeypatch):
    monkeypatch.setattr(variable.Budget, "OPERATIONS", 5000)
    path = tmp_path / f"m.{ending}"
    model_of().save(path)
    member = rewritten(path, lambda config: with_model(config, HOSTILE[name]))
    with pytest.raises(FormatError, match=rf"m\.{ending}: {member}: ") as caught:
        nbcnn.saving.load_model(path)
    assert len(str(caught.value)) < 5000
    str(caught.value).encode()


def test_a_wide_text(tmp_path, monkeypatch):
    monkeypatch.setattr("nbcnn.io.files.TEXT_LIMIT", 1 << 16)
    path = tmp_path / "m.keras"
    model_of().save(path)
    rewritten(path, lambda config: "[" + "[]," * 50000 + "[]]")
    with pytest.raises(FormatError, match=r"config\.json: is too large"):
        nbcnn.saving.load_model(path)


# -- archives -------------------------------------------------------------------------------------


def members_of(path):
    with zipfile.ZipFile(path) as old:
        return {name: old.read(name) for name in old.namelist()}


def a_link(path, members):
    """Whoever unpacks it gets a link to a file elsewhere."""
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            info = zipfile.ZipInfo(name)
            if name == "config.json":
                info.external_attr, content = 0o120777 << 16, b"/etc/passwd"
            new.writestr(info, content)


def nested(path, members):
    inner = path.read_bytes()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, inner if name.endswith(".h5") else content)


def bomb(path, members):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in members.items():
            new.writestr(name, b" " * (1 << 26) if name == "config.json" else content)


def lying(path, members):
    """The list of members says other sizes than they have."""
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2")
    content[at + 20 : at + 28] = (2**31).to_bytes(4, "little") * 2
    path.write_bytes(content)


ARCHIVES = {
    a_link: r"config\.json: is damaged",
    nested: r"model\.weights\.h5: is no HDF5 file",
    bomb: r"config\.json: is compressed",
    lying: "beyond its end",
}


@pytest.mark.parametrize("make", ARCHIVES, ids=lambda make: make.__name__)
def test_archives(make, tmp_path):
    path = tmp_path / "m.keras"
    model_of().save(path)
    make(path, members_of(path))
    with pytest.raises(FormatError, match=rf"m\.keras: .*{ARCHIVES[make]}"):
        nbcnn.saving.load_model(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_arrays_compressed_in_other_ways(method, tmp_path):
    model = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3)])
    path = tmp_path / "w.npz"
    model.save_weights(path)
    members = members_of(path)
    with zipfile.ZipFile(path, "w", method) as new:
        for name, content in members.items():
            new.writestr(name, content)
    with pytest.raises(FormatError, match=r"w\.npz: dense.*another way"):
        model.load_weights(path)


# -- backups --------------------------------------------------------------------------------------


PROGRESS = {
    "sums that are none": {"totals": ["x", None]},
    "too many sums": {"totals": [0.0] * 99},
    "more batches than there are": {"source": "far"},
    "steps that are none": {"step": -1},
    "no order of the data": {"source": {"given": 1}},
}


@pytest.mark.parametrize("name", PROGRESS)
def test_backups(name, tmp_path):
    x, y = np.ones((8, 4), "f4"), np.ones((8, 3), "f4")
    kept = callbacks.BackupAndRestore(tmp_path, save_freq=1, delete_checkpoint=False)
    model = model_of()
    model.fit(x, y, 2, 1, verbose=0, callbacks=[kept])
    path = tmp_path / "latest.backup"
    members = members_of(path)
    index = json.loads(members["backup.json"])
    change = dict(PROGRESS[name])
    if change.get("source") == "far":
        change["source"] = {**index["progress"]["source"], "given": 2**61}
    index["progress"].update({"epoch": 0, "step": 1, **change})
    with zipfile.ZipFile(path, "w") as new:
        for member, content in {**members, "backup.json": json.dumps(index)}.items():
            new.writestr(member, content)
    other = model_of()
    with pytest.raises(FormatError, match=r"latest\.backup"):
        other.fit(x, y, 2, 2, verbose=0, callbacks=[kept])
