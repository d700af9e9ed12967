"""Feeds every reader of files with damaged ones.

    python tests/fuzz_files.py [--inputs 20000] [--seed 0] [--report tests/reports/fuzz.md]
        [--formats .onnx]

Each input is a valid file of one format, mutated: bits, bytes, numbers and stretches of it; members
of archives, with checksums that are right again; values of JSON texts; operators, names and sizes
of ONNX graphs (`fuzz_onnx.py`; without the package onnx these are left out). Loading has to
succeed, or to raise `FormatError` that names the file. After a refusal weights are as before, no
other file has been touched, and no input takes long or much memory.
"""

import argparse
import copy
import io
import json
import os
import platform
import random
import resource
import shutil
import tarfile
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from pathlib import Path

import fuzz_onnx
import numpy as np
from cases.files import CASES, made, own_classes

import nbcnn
from nbcnn import callbacks, layers
from nbcnn.models import backup
from nbcnn.saving import FormatError

SECONDS = 5.0  # for one input
GROWTH = 512  # MiB that all inputs together may add to the process's memory
NUMBERS = [0, 1, 2, 7, 255, 2**16, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, 2**64 - 1]
VALUES = [
    None, True, 0, -1, 1.5, 1e308, float("nan"), float("inf"), 10**6, 10**9, 10**12, 2**63, 10**30,
    10**400, "", "x", "\ud800", "\0", "../x", "y" * 10**5, "__keras_tensor__",
    "Conv2D", "Lambda", "os.system", [], [[]], {}, {"class_name": "Dense", "config": {}},
    {"class_name": "__lambda__", "config": {"value": "4w=="}}, [1] * 100,
    {"module": "os", "class_name": "function", "config": "system"},
]  # fmt: skip


def model_of():
    inputs = nbcnn.Input((4, 4, 1), name="image")
    x = layers.Conv2D(2, 3, activation="relu", kernel_regularizer="l2")(inputs)
    x = layers.BatchNormalization()(nbcnn.ops.relu(x) * 2.0)
    inner = nbcnn.Sequential([nbcnn.Input((8,)), layers.Dense(3), layers.Dropout(0.2)])
    model = nbcnn.Model(inputs, layers.Dense(1)(inner(layers.Flatten()(x))))
    schedule = nbcnn.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)
    metrics = ["mae", nbcnn.metrics.AUC(num_thresholds=5)]
    model.compile(nbcnn.optimizers.SGD(schedule, momentum=0.9), "mse", metrics=metrics)
    return model


class Targets:
    """Valid files by name, and what loads each: `load(path)`."""

    def __init__(self, folder):
        nbcnn.utils.set_random_seed(0)
        nbcnn.utils.clear_session()
        self.model = model = model_of()
        x, y = np.ones((4, 4, 4, 1), "float32"), np.ones((4, 1), "float32")
        kept = callbacks.BackupAndRestore(folder, save_freq=1, delete_checkpoint=False)
        model.fit(x, y, 2, 1, verbose=0, callbacks=[kept])
        self.files = {}
        for name in ("m.keras", "m.nbcnn"):
            model.save(folder / name)
            self._take(folder / name, nbcnn.saving.load_model)
        for name in ("w.weights.h5", "w.safetensors", "w.npz", "w.weights.nbcnn"):
            model.save_weights(folder / name)
            self._take(folder / name, model.load_weights)
        np.savez_compressed(folder / "c.npz", *model.get_weights())
        self._take(folder / "c.npz", model.load_weights)
        self._take(folder / "latest.backup", lambda path: backup.read(model, path))
        if fuzz_onnx.AVAILABLE:
            model.export(folder / "own.onnx")
            for name in fuzz_onnx.NETWORKS:
                shutil.copy(fuzz_onnx.FOLDER / name, folder)
            for name in ("own.onnx", *fuzz_onnx.NETWORKS):
                self._take(folder / name, nbcnn.onnx.load)
        self.files["any.keras"] = list(recorded(".keras").values()), load_with_own_classes
        self.files["older.h5"] = recorded(".h5")[OLDER], Older().load
        self.weights = [w.copy() for w in model.get_weights()]

    def _take(self, path, load):
        self.files[path.name] = path.read_bytes(), load
        path.unlink()


OLDER = next(i for i, case in enumerate(CASES) if case.name == "nested")


def recorded(ending):
    """Files that real Keras wrote of models with layers of all kinds, by number."""
    with tarfile.open(Path(__file__).parent / "golden" / "keras_files.tar.xz") as archive:
        members = [m for m in archive.getmembers() if m.name.partition(".")[2] == ending[1:]]
        return {int(m.name.partition(".")[0]): archive.extractfile(m).read() for m in members}


class Older:
    """A model for weights in Keras 2's files."""

    def __init__(self):
        self.model = made(CASES[OLDER], nbcnn)
        self.weights = self.model.get_weights()

    def load(self, path):
        try:
            self.model.load_weights(path)
        except FormatError:
            for a, b in zip(self.model.get_weights(), self.weights, strict=True):
                np.testing.assert_array_equal(a, b)
            raise
        self.model.set_weights(self.weights)


def load_with_own_classes(path):
    return nbcnn.saving.load_model(path, custom_objects=own_classes(nbcnn))


# -- mutations ------------------------------------------------------------------------------------


def mutated(content, rng):
    """The bytes, damaged at one to four places."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 4])):
        if not data:
            break
        at = rng.randrange(len(data))
        kind = rng.randrange(8)
        if kind == 0:
            data[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            data[at] = rng.randrange(256)
        elif kind == 2:  # a number of 2, 4 or 8 bytes
            size = rng.choice([2, 4, 8])
            number = rng.choice(NUMBERS) % 256**size
            data[at : at + size] = number.to_bytes(size, "little")
        elif kind == 3:
            del data[at:]
        elif kind == 4:
            del data[at : at + rng.randrange(1, 64)]
        elif kind == 5:
            data[at:at] = rng.randbytes(rng.randrange(1, 64))
        elif kind == 6:  # a stretch of it in another place
            start = rng.randrange(len(data))
            data[at : at + 40] = data[start : start + 40]
        else:
            data[at : at + 16] = bytes(16)
    return bytes(data)


def mutated_json(text, rng):
    """The same text with a few values exchanged."""
    tree = json.loads(text)
    for _ in range(rng.choice([1, 1, 2, 3])):
        places = list(_places(tree))
        if not places:
            break
        holder, key = rng.choice(places)
        kind = rng.randrange(4)
        if kind == 0:
            del holder[key]
        elif kind == 1:  # a value from elsewhere in it
            other, name = rng.choice(places)
            holder[key] = json.loads(json.dumps(other[name]))
        elif kind == 2 and isinstance(holder, list):
            holder.insert(key, json.loads(json.dumps(holder[key])))
        else:
            holder[key] = copy.deepcopy(rng.choice(VALUES))
    return json.dumps(tree).encode()


def _places(tree):
    pending = [tree]
    while pending:
        node = pending.pop()
        keys = list(node) if isinstance(node, dict) else list(range(len(node)))
        for key in keys:
            yield node, key
            if isinstance(node[key], (dict, list)):
                pending.append(node[key])


def mutated_archive(content, rng):
    """One member damaged, or missing, or twice; all checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as old:
        members = [(name, old.read(name)) for name in old.namelist()]
    number = rng.randrange(len(members))
    name, member = members[number]
    kind = rng.randrange(10)
    if kind == 0:
        del members[number]
    elif kind == 1:
        members.append((rng.choice([name, "../x", "/x", "x"]), member))
    elif name.endswith(".json") and kind < 9:
        members[number] = name, mutated_json(member, rng)
    else:
        members[number] = name, mutated(member, rng)
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as new, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, member in members:
            new.writestr(name, member)
    return out.getvalue()


# -- the run --------------------------------------------------------------------------------------


def run(inputs, seed, folder, budget=None, formats=""):
    """Counts of what happened; AssertionError with the input's number where a promise was broken.

    budget : seconds after which no further input is made.
    formats : the end of the names of the files that are tried.
    """
    rng = random.Random(seed)
    folder = Path(folder)
    targets = Targets(folder)
    names = sorted(name for name in targets.files if name.endswith(formats))
    counts = {name: Counter() for name in names}
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.monotonic()
    warnings.simplefilter("ignore")
    for number in range(inputs):
        if budget and time.monotonic() - begin > budget:
            break
        name = names[number % len(names)]
        content, load = targets.files[name]
        content = rng.choice(content) if isinstance(content, list) else content
        change = mutated
        if content[:2] == b"PK" or name.endswith(".onnx"):  # most of them below the outer bytes
            inside = fuzz_onnx.mutated_graph if name.endswith(".onnx") else mutated_archive
            change = inside if rng.random() < 0.7 else mutated
        damaged = change(content, rng)
        counts[name][_outcome(folder / name, damaged, load, targets, number)] += 1
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < GROWTH, f"memory has grown by {grown:.0f} MiB"
    return counts, time.monotonic() - begin, grown


def _outcome(path, content, load, targets, number):
    path.write_bytes(content)
    start = time.process_time()  # waiting for others is no one's fault
    try:
        load(path)
        outcome = "loaded"
    except FormatError as error:
        assert path.name in str(error), f"input {number}: {error}"  # noqa: PT017
        outcome = "refused"
    except Exception as error:
        keep = os.environ.get("NBCNN_FUZZ_KEEP")
        if keep:
            Path(keep, f"{number}-{path.name}").write_bytes(content)
        raise AssertionError(f"input {number}, {path.name}: {error!r}") from error
    seconds = time.process_time() - start
    assert seconds < SECONDS, f"input {number}, {path.name}: {seconds:.1f} s"
    now = targets.model.get_weights()
    if outcome == "refused":
        for a, b in zip(now, targets.weights, strict=True):
            np.testing.assert_array_equal(a, b, err_msg=f"input {number}, {path.name}")
    elif any(not np.array_equal(a, b) for a, b in zip(now, targets.weights, strict=True)):
        targets.model.set_weights(targets.weights)
    path.unlink()
    left = [p.name for p in path.parent.iterdir()]
    assert not left, f"input {number}, {path.name}: it left {left}"
    return outcome


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report")
    parser.add_argument("--formats", default="")
    options = parser.parse_args()
    nbcnn.set_device("cpu")
    with tempfile.TemporaryDirectory() as folder:
        counts, seconds, grown = run(options.inputs, options.seed, folder, formats=options.formats)
    chosen = f" --formats {options.formats}" if options.formats else ""
    rows = [f"| `{n}` | {sum(c.values())} | {c['refused']} | {c['loaded']} |"
            for n, c in counts.items()]  # fmt: skip
    lines = [
        "# Damaged files",
        "",
        f"`python tests/fuzz_files.py --inputs {options.inputs} --seed {options.seed}{chosen}`, "
        f"nbcnn {nbcnn.__version__}, Python {platform.python_version()}, {seconds:.0f} s, "
        f"{grown:.0f} MiB more memory at most.",
        "",
        "Every input was loaded, or refused by a `FormatError` that names the file; refused ones "
        "changed no weight, none left a file or took longer than "
        f"{SECONDS:.0f} s. Those that loaded were changed where it means nothing, or make another "
        "valid model.",
        "",
        "| format | inputs | refused | loaded |",
        "|---|---|---|---|",
        *rows,
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.report:
        Path(options.report).write_text(text)


if __name__ == "__main__":
    main()
