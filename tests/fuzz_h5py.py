"""Feeds h5py, which reads HDF5 by the C library, with damaged files of weights, and counts what it
does; `nbcnn.io.hdf5` gets the same ones. It says why this package reads such files itself.

    python tests/fuzz_h5py.py [--inputs 20000] [--seed 0] [--report tests/reports/h5py.md]

Each input is opened and read whole in a process that may die: it is ended after 10 seconds of
computing, and has 4 GiB of memory.
"""

import argparse
import io
import multiprocessing
import os
import platform
import random
import resource
import signal
import tempfile
import time
from collections import Counter
from pathlib import Path

import h5py
import numpy as np
from fuzz_files import mutated

from nbcnn.io import hdf5
from nbcnn.io.files import FormatError, Window

SECONDS = 10
SLOW = 1.0  # seconds
LIMIT = 4 << 30  # bytes
AS_KERAS, NEWER = "as Keras writes", "newer layout, compressed"
GROWTH = 256 << 20  # bytes; the files have some thousands


def files():
    """Valid files by name: as Keras writes them, and in the newer layout, compressed."""
    rng = np.random.default_rng(0)
    found = {}
    for name, options, kept in (
        (AS_KERAS, {}, {}),
        (
            NEWER,
            {"libver": "latest"},
            {"chunks": True, "compression": "gzip", "shuffle": True, "fletcher32": True},
        ),
    ):
        buffer = io.BytesIO()
        with h5py.File(buffer, "w", **options) as file:
            for number in range(3):
                group = file.create_group(f"layers/conv2d_{number}/vars")
                group.attrs["name"] = f"conv2d_{number}"
                group.create_dataset("0", data=rng.normal(size=(3, 3, 2, 4)).astype("f4"), **kept)
                group.create_dataset("1", data=np.zeros(4, "f4"), **kept)
            file.create_dataset("optimizer/vars/0", data=np.int64(3))
        found[name] = buffer.getvalue()
    return found


def read_by_h5py(path):
    """Everything that the file holds."""
    with h5py.File(path, "r") as file:
        pending = [(file, 0)]
        while pending:
            node, depth = pending.pop()
            dict(node.attrs)
            if isinstance(node, h5py.Dataset):
                np.array(node)
            elif depth < 20:
                pending += [(node[name], depth + 1) for name in node]


def read_by_nbcnn(path):
    with open(path, "rb") as file:
        reader = hdf5.Reader(Window.whole(file, str(path)))
        for name in reader.arrays:
            reader.array(name)


READERS = {"h5py": (read_by_h5py, Exception), "nbcnn": (read_by_nbcnn, FormatError)}


def inputs(count, seed):
    """Numbers, names of valid files, and damaged contents."""
    rng = random.Random(seed)
    valid = files()
    names = sorted(valid)
    for number in range(count):
        name = names[number % len(names)]
        yield number, name, mutated(valid[name], rng)


def work(reader, count, seed, first, folder, pipe):
    """Reads the inputs from `first` on; sends each one's number before, its outcome after."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    path = Path(folder, "w.weights.h5")
    for number, name, content in inputs(count, seed):
        if number < first:
            continue
        path.write_bytes(content)
        pipe.send((number, name))
        used = int(time.process_time())
        resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, resource.RLIM_INFINITY))
        pipe.send(_outcome(reader, path))
    pipe.send(None)


def _outcome(reader, path):
    read, refusal = READERS[reader]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.process_time()
    try:
        read(path)
        outcome = "read"
    except MemoryError:
        outcome = "out of memory"
    except refusal as error:
        memory = "allocate" in str(error) or "memory" in str(error)
        outcome = "out of memory" if memory else "refused"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    if grown * 1024 > GROWTH:
        return "much memory"
    return "slow" if time.process_time() - begin > SLOW else outcome


def run(reader, count, seed, folder):
    """Outcomes by file; what ended the process is one, too."""
    context = multiprocessing.get_context("fork")
    counts = {name: Counter() for name in files()}
    notable = []
    first = 0
    while first < count:
        pipe, theirs = context.Pipe(False)
        process = context.Process(target=work, args=(reader, count, seed, first, folder, theirs))
        process.start()
        theirs.close()
        while True:
            try:
                found = pipe.recv()
                if found is None:
                    first = count
                    break
                number, name = found
                outcome = pipe.recv()
            except EOFError:
                process.join()
                ended = signal.Signals(-process.exitcode)
                outcome = "hangs" if ended == signal.SIGXCPU else ended.name
            counts[name][outcome] += 1
            if outcome not in ("read", "refused"):
                notable.append(f"{number}: {outcome}")
            first = number + 1
            if process.exitcode is not None:
                break
        process.join()
        pipe.close()
    return counts, notable


# -- made ones ------------------------------------------------------------------------------------


def made(folder):
    """Small files that are valid HDF5 and no one should read, by name."""
    secret = folder / "secret.txt"
    secret.write_bytes(b"secret" * 8)
    with h5py.File(folder / "other.h5", "w") as file:
        file["x"] = np.ones(3, "f4")
    zeros = {"chunks": (2**20,), "compression": "gzip"}
    layout = h5py.VirtualLayout((3,), "f4")
    layout[:] = h5py.VirtualSource(folder / "other.h5", "x", shape=(3,))
    fill = {
        "numbers of another file": lambda file: file.create_dataset(
            "0", (12,), "f4", external=[(secret, 0, 48)]
        ),
        "a link to another file": lambda file: file.__setitem__(
            "0", h5py.ExternalLink(folder / "other.h5", "x")
        ),
        "an array made of another file's": lambda file: file.create_virtual_dataset("0", layout),
        "32 GiB of which none is there": lambda file: file.create_dataset(
            "0", (2**33,), "f4", **zeros
        ),
    }
    for name, make in fill.items():
        with h5py.File(folder / "w.weights.h5", "w") as file:
            make(file)
        yield name, folder / "w.weights.h5"


def outcome_of(reader, path):
    """In a process of its own, whose memory is limited."""
    context = multiprocessing.get_context("fork")
    pipe, theirs = context.Pipe(False)
    process = context.Process(target=work_on, args=(reader, path, theirs))
    process.start()
    process.join()
    return pipe.recv()


def work_on(reader, path, pipe):
    resource.setrlimit(resource.RLIMIT_AS, (LIMIT, LIMIT))
    pipe.send(_outcome(reader, path))


# -- the report -----------------------------------------------------------------------------------


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inputs", type=int, default=20000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report")
    options = parser.parse_args()
    lines = [
        "# HDF5 files read by h5py and by nbcnn",
        "",
        f"`python tests/fuzz_h5py.py --inputs {options.inputs} --seed {options.seed}`, "
        f"h5py {h5py.version.version} with HDF5 {h5py.version.hdf5_version}, "
        f"Python {platform.python_version()}.",
        "",
        f"Half of the inputs are damaged copies of a file {AS_KERAS}, half of one in the "
        f"{NEWER}. `hangs`: ended after {SECONDS} s of computing.",
        "",
    ]
    with tempfile.TemporaryDirectory() as folder:
        for reader in READERS:
            counts, notable = run(reader, options.inputs, options.seed, folder)
            found = sorted({outcome for each in counts.values() for outcome in each})
            lines += [f"| {reader} | {' | '.join(found)} |", "|---" * (len(found) + 1) + "|"]
            for name, each in counts.items():
                lines.append(f"| {name} | {' | '.join(str(each[o]) for o in found)} |")
            lines.append("")
            print(reader, notable)
        lines += ["| valid files that were made up | h5py | nbcnn |", "|---|---|---|"]
        for name, path in made(Path(folder)):
            found = [outcome_of(reader, path) for reader in READERS]
            lines.append(f"| {name} | {' | '.join(found)} |")
    text = "\n".join(lines) + "\n"
    print(text)
    if options.report:
        Path(options.report).write_text(text)


if __name__ == "__main__":
    main()
