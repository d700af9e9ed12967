"""Keras's files: those that real Keras wrote are read, and what is written is what it reads."""

import importlib.util
import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from cases import files
from test_hdf5 import Opened

import nbcnn
from nbcnn import layers
from nbcnn.io.files import FormatError
from nbcnn.models import keras_tree
from nbcnn.models.keras_config import to_keras
from nbcnn.registry import serialize

HERE = Path(__file__).parent
NAMES = [case.name for case in files.CASES]


@pytest.fixture(autouse=True)
def on_the_cpu():
    nbcnn.utils.clear_session()
    with nbcnn.device("cpu"):
        yield


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """The folder of real Keras's files."""
    folder = tmp_path_factory.mktemp("keras")
    with tarfile.open(HERE / "golden" / "keras_files.tar.xz") as archive:
        for member in archive.getmembers():
            content = archive.extractfile(member)
            assert content is not None
            (folder / Path(member.name).name).write_bytes(content.read())
    return folder


def loaded(path):
    return nbcnn.saving.load_model(path, custom_objects=files.own_classes(nbcnn))


def results(model, case):
    """Predictions, and the weights after another training step."""
    outputs = files.flat(model.predict_on_batch(files.data(case)[0]))
    found = {f"p{i}": array for i, array in enumerate(outputs)}
    files.trained(model, case, 1)
    return {**found, **{f"w{i}": w for i, w in enumerate(model.get_weights())}}


def write_own(folder):
    """Files for `tests/golden/record_files.py` to compare with real Keras."""
    for number, case in enumerate(files.CASES):
        nbcnn.utils.clear_session()
        model = files.made(case, nbcnn)
        files.trained(model, case, 1)
        model.save(folder / f"{number}.keras")
        model.save_weights(folder / f"{number}.weights.h5")
        model.save_weights(folder / f"{number}.weights.json", max_shard_size=1e-5)
        weights = {f"w{i}": w for i, w in enumerate(model.get_weights())}
        np.savez(folder / f"{number}.now.npz", **weights)
        np.savez(folder / f"{number}.npz", **results(model, case))


@pytest.mark.parametrize("number", range(len(files.CASES)), ids=NAMES)
def test_files_of_keras(number, recorded):
    """Predictions, and the next step's weights, are those of Keras."""
    case = files.CASES[number]
    found = results(loaded(recorded / f"{number}.keras"), case)
    with np.load(recorded / f"{number}.npz") as wanted:
        assert set(found) == set(wanted.files)
        for name in wanted.files:
            np.testing.assert_allclose(
                found[name], wanted[name], rtol=1e-5, atol=1e-5, err_msg=name
            )


@pytest.mark.parametrize("number", range(len(files.CASES)), ids=NAMES)
def test_files_of_every_format(number, recorded, tmp_path):
    """Weights and the optimizer's state come back; those of Keras are the start."""
    model = loaded(recorded / f"{number}.keras")
    slots = model._runners.store.slot_values()
    for ending in ("keras", "nbcnn"):
        model.save(tmp_path / f"m.{ending}")
        again = loaded(tmp_path / f"m.{ending}")
        equal(model, again)
        steps = 0 if NAMES[number] in files.UNTRAINED else 1
        assert again.optimizer.step_count == model.optimizer.step_count == steps
        assert rates(again.optimizer) == rates(model.optimizer)
        for name, values in again._runners.store.slot_values().items() if slots else ():
            for a, b in zip(values, slots[name], strict=True):
                assert (a is None) == (b is None)
                if a is not None:
                    np.testing.assert_array_equal(a, b)
    wanted = model.get_weights()
    for ending in ("weights.h5", "weights.json", "safetensors", "npz", "weights.nbcnn"):
        options = {"max_shard_size": 1e-5} if ending == "weights.json" else {}
        model.save_weights(tmp_path / f"w.{ending}", **options)
        model.set_weights([0 * w for w in wanted])
        model.load_weights(tmp_path / f"w.{ending}")
        for a, b in zip(model.get_weights(), wanted, strict=True):
            np.testing.assert_array_equal(a, b)


def rates(optimizer):
    return [float(each.learning_rate) for each in getattr(optimizer, "optimizers", [optimizer])]


# Layers that are newer than the recorded files.
NEWER = "CategoryEncoding Discretization EinsumDense Embedding Masking Pipeline"
NOT_RECORDED = {getattr(layers, name) for name in NEWER.split()}


def test_every_layer_is_in_a_case():
    """Lambda holds code, which is not loaded; Wrapper is for classes of one's own."""
    made = set()
    for case in files.CASES:
        made |= {type(layer) for layer in files.made(case, nbcnn)._flatten_layers()}
    known = {member for name in layers.__all__ if isinstance(member := getattr(layers, name), type)}
    known = {member for member in known if issubclass(member, layers.Layer)}
    known = {member for member in known if not member._beyond_keras}
    assert known - made - NOT_RECORDED == {layers.Layer, layers.Lambda, layers.Wrapper}


OLDER = [NAMES.index(name) for name in files.LEGACY]


@pytest.mark.parametrize("number", OLDER, ids=files.LEGACY)
def test_weights_in_older_files_and_in_parts(number, recorded):
    """Those that Keras has written of the same models."""
    wanted = loaded(recorded / f"{number}.keras").get_weights()
    for ending in ("h5", "weights.json"):
        model = files.made(files.CASES[number], nbcnn)
        model.load_weights(recorded / f"{number}.{ending}")
        for a, b in zip(model.get_weights(), wanted, strict=True):
            np.testing.assert_array_equal(a, b)
    assert model.optimizer.step_count == 1
    assert len(list(recorded.glob("*_00001.weights.h5"))) == 2


def test_older_files_by_name(recorded):
    number = NAMES.index("time distributed")
    whole = loaded(recorded / f"{number}.keras")
    first, last = whole.layers[1], whole.layers[-1]
    other = nbcnn.Sequential(
        [nbcnn.Input(first.output.shape[1:]), layers.Dense(5), layers.Dense(2, name=last.name)]
    )
    with pytest.raises(FormatError, match=rf"{number}\.h5: .*{last.name}: has shape"):
        other.load_weights(recorded / f"{number}.h5", by_name=True)
    before = other.get_weights()
    with pytest.warns(UserWarning, match="left as they were"):
        other.load_weights(recorded / f"{number}.h5", skip_mismatch=True, by_name=True)
    for a, b in zip(other.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(FormatError, match="holds 2 layers with weights, the model has 1"):
        nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(5)]).load_weights(
            recorded / f"{number}.h5"
        )


def test_parts_that_do_not_belong_together(tmp_path):
    model = files.made(files.CASES[OLDER[0]], nbcnn)
    path = tmp_path / "w.weights.json"
    model.save_weights(path, max_shard_size=5e-7)
    parts = sorted(tmp_path.glob("w_*.weights.h5"))
    assert len(parts) > 1
    old = parts[0].read_bytes()
    model.set_weights([w + 1 for w in model.get_weights()])
    model.save_weights(path, max_shard_size=5e-7)
    parts[0].write_bytes(old)
    with pytest.raises(FormatError, match=r"w\.weights\.json: .*checksum"):
        model.load_weights(path)
    index = json.loads(path.read_text())
    for name in ("../w_00000.weights.h5", "v_00000.weights.h5", "w_00009.weights.h5", 3):
        index["weight_map"]["/layers/conv2d/vars"] = name
        path.write_text(json.dumps(index))
        with pytest.raises(FormatError, match="not named after the index"):
            model.load_weights(path)
    with pytest.raises(ValueError, match=r"must end in \.weights\.json"):
        model.save_weights(tmp_path / "w.weights.h5", max_shard_size=1)
    with pytest.raises(ValueError, match="more than max_shard_size"):
        model.save_weights(path, max_shard_size=1e-9)


def equal(first, second):
    for a, b in zip(first.get_weights(), second.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def structure(path):
    with zipfile.ZipFile(path) as archive, Opened(archive.read("model.weights.h5")) as weights:
        arrays = {p: weights.arrays[p].shape for p in weights.arrays}
        return json.loads(archive.read("config.json")), arrays, set(weights.groups)


@pytest.mark.parametrize("number", range(len(files.CASES)), ids=NAMES)
def test_what_is_written_is_as_keras_writes_it(number, recorded, tmp_path):
    """The same places of arrays, and configurations of the same classes and arguments."""
    loaded(recorded / f"{number}.keras").save(tmp_path / "m.keras")
    wanted, arrays, groups = structure(recorded / f"{number}.keras")
    found, own_arrays, own_groups = structure(tmp_path / "m.keras")
    if NAMES[number] in files.UNTRAINED:  # Keras makes an optimizer's state at its first step
        for each in (arrays, own_arrays):
            for path in [path for path in each if path.startswith("optimizer/")]:
                del each[path]
    assert own_arrays == arrays
    assert own_groups == groups
    if NAMES[number] != "operations":  # these are written as what they are made of
        assert differences(found, wanted) == []


# What Keras takes, but does not write.
TAKEN = {"axis", "delta", "thresholds", "from_sorted_ids", "name", "inbound_nodes"}
# What names objects, or may be said in several ways.
FREE = {
    "module", "build_config", "shared_object_id", "registered_name", "build_input_shape", "loss",
    "input_layers", "output_layers", "run_eagerly", "steps_per_execution", "jit_compile", "dtype",
}  # fmt: skip


def differences(found, wanted, path=""):
    """Arguments that Keras does not write, and values other than its own."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        bad = [f"{path}/{key}" for key in set(found) - set(wanted) - TAKEN - FREE]
        for key in set(found) & set(wanted) - FREE - {"inbound_nodes"}:
            bad += differences(found[key], wanted[key], f"{path}/{key}")
        return bad
    if path.endswith("/layers"):
        by_name = {entry["config"]["name"]: entry for entry in wanted}
        pairs = [(entry, by_name.pop(entry["config"]["name"])) for entry in found]
        return [*by_name, *(bad for a, b in pairs for bad in differences(a, b, path + "/layer"))]
    if isinstance(wanted, list) and isinstance(found, list):
        pairs = zip(found, wanted, strict=True)
        return [bad for a, b in pairs for bad in differences(a, b, path)]
    if isinstance(wanted, float):
        return [] if found == pytest.approx(wanted) else [path]
    return [] if found == wanted else [f"{path}: {found!r} is not {wanted!r}"]


@pytest.mark.skipif(importlib.util.find_spec("keras") is None, reason="real Keras is not installed")
def test_real_keras_reads_what_is_written(tmp_path):
    write_own(tmp_path)
    done = subprocess.run(
        [sys.executable, HERE / "golden" / "record_files.py", tmp_path],
        env={**os.environ, "KERAS_BACKEND": os.environ.get("KERAS_BACKEND", "jax")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:]


# -- damage ---------------------------------------------------------------------------------------


def test_changed_numbers_are_found(tmp_path):
    model = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3)])
    path = tmp_path / "w.weights.h5"
    model.save_weights(path)
    content = bytearray(path.read_bytes())
    content[content.index(model.get_weights()[0].tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(FormatError, match="its checksum is another"):
        model.load_weights(path)


def test_skip_mismatch(tmp_path):
    small = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3), layers.Dense(2)])
    large = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3), layers.Dense(5)])
    for a, b in zip(large.weights, small.weights):
        a.path = b.path
    for name in ("w.weights.h5", "w.safetensors"):
        small.save_weights(tmp_path / name)
        last = large.get_weights()[2]
        with pytest.warns(UserWarning, match="left as they were"):
            large.load_weights(tmp_path / name, skip_mismatch=True)
        np.testing.assert_array_equal(large.get_weights()[0], small.get_weights()[0])
        np.testing.assert_array_equal(large.get_weights()[2], last)
        with pytest.raises(ValueError, match="by_name is for Keras 2's files"):
            large.load_weights(tmp_path / name, by_name=True)


# -- hostile configurations -----------------------------------------------------------------------


def with_config(change, tmp_path):
    """A `.keras` file whose configuration was changed."""
    model = nbcnn.Sequential([nbcnn.Input((4,)), layers.Dense(3), layers.Activation("relu")])
    model.compile("adam", "mse", metrics=[nbcnn.metrics.AUC()])
    path = tmp_path / "m.keras"
    model.save(path)
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as new:
        for name, content in members.items():
            new.writestr(name, content)
    return path


def layer(config, number):
    return config["config"]["layers"][number]


CODE = {"class_name": "__lambda__", "config": {"value": {"code": "4wAAAAA="}}}
HOSTILE = {
    "huge layer": lambda c: layer(c, 1)["config"].update(units=10**12),
    "large layer": lambda c: layer(c, 1)["config"].update(units=10**7),
    "negative layer": lambda c: layer(c, 1)["config"].update(units=-1),
    "another class": lambda c: layer(c, 1).update(module="os", class_name="system"),
    "a class by its name": lambda c: layer(c, 1).update(class_name="os.system"),
    "a lambda": lambda c: layer(c, 2).update(class_name="Lambda", config={"function": CODE}),
    "a function": lambda c: layer(c, 2)["config"].update(
        activation={"module": "os", "class_name": "function", "config": "system"}
    ),
    "a loss": lambda c: c["compile_config"].update(
        loss={"module": "subprocess", "class_name": "function", "config": "call"}
    ),
    "thresholds": lambda c: c["compile_config"]["metrics"][0]["config"].update(
        num_thresholds=10**12
    ),
    "no model": lambda c: c.update(class_name="Dense"),
    "nothing": lambda c: c.clear(),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_configurations_are_refused(name, tmp_path):
    path = with_config(HOSTILE[name], tmp_path)
    with pytest.raises(FormatError, match=r"m\.keras: config\.json: "):
        nbcnn.saving.load_model(path)


def doubled(x):
    return x * 2.0


def test_code_runs_only_without_safe_mode(tmp_path):
    function = {"module": __name__, "class_name": "function", "config": "doubled"}

    def change(config):
        layer(config, 2).update(class_name="Lambda", config={"function": function, "name": "f"})

    path = with_config(change, tmp_path)
    with pytest.raises(FormatError, match="custom_objects"):
        nbcnn.saving.load_model(path)
    x = np.ones((2, 4), "f4")
    model = nbcnn.saving.load_model(path, safe_mode=False, compile=False)
    named = nbcnn.saving.load_model(path, custom_objects={"doubled": doubled}, compile=False)
    np.testing.assert_array_equal(model.predict(x, verbose=0), named.predict(x, verbose=0))


ZIPS = {
    "a path outside": ("../../evil", b"x"),
    "an absolute path": ("/tmp/evil", b"x"),
    "a name twice": ("config.json", b"{}"),
}


@pytest.mark.parametrize("kind", ZIPS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_hostile_archives_are_refused(kind, tmp_path):
    path = with_config(lambda config: None, tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(*ZIPS[kind])
    with pytest.raises(FormatError, match=r"named|same name"):
        nbcnn.saving.load_model(path)


def test_operations_without_a_place_in_keras_files(tmp_path):
    x = nbcnn.Input((4, 4, 1))
    y = nbcnn.ops.max_pool(x, 2)
    model = nbcnn.Model(x, layers.Dense(1)(y))
    with pytest.raises(ValueError, match=r"maxpool2d.*save to \.nbcnn"):
        model.save(tmp_path / "m.keras")
    assert list(tmp_path.iterdir()) == []


def test_a_range_about_zero_is_written_as_keras_reads_it():
    written = to_keras(serialize(layers.RandomShear(0.2, (0.1, 0.3))))["config"]
    assert (written["x_factor"], list(written["y_factor"])) == (0.2, [0.1, 0.3])
    assert layers.RandomShear.from_config(written).x_factor == (-0.2, 0.2)


def test_places_are_named_as_keras_names_them():
    model = files.made(files.CASES[NAMES.index("own")], nbcnn)
    found = [place.path for place in keras_tree.places(model) if place.variables]
    assert found == [
        "hidden", "hidden/many/dense", "hidden/many/container/dense",
        "hidden/many/container_1/layer_normalization", "hidden/wide", "hidden/_hidden",
        "layers/dense", "layers/sequential/layers/dense", "layers/dense_1",
    ]  # fmt: skip
