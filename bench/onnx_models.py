"""Networks exported by PyTorch: nbcnn's `predict` beside ONNX Runtime, in alternating rounds.

    python bench/onnx_models.py [--peers bench/.peers] [--only unet,lenet] [--files FOLDER]
                                [--rounds 5] [--what predict,latency] [--json FILE]

The fourteen networks of `onnx_networks.py`: those of `tests/onnx` and two more, at the sizes of the
literature, written by the PyTorch of the peers' environments (to `--files`, where they are kept and
found again). ONNX Runtime has its default settings but for the number of threads, and a file for
each batch size. The rest is as in `peers.py`. Predictions must agree to 1e-4 of their
largest.

An existing FILE is updated: what this run measured replaces what was there.
"""

import argparse
import subprocess
import tempfile
from pathlib import Path

import machine
import numpy as np
from onnx_settings import SETTINGS
from peers import Race, collect, speeds, split_names, waits
from workers import HERE, Worker, environment

WHAT = ("predict", "latency")
AGREED = 1e-4


def exported(python, folder, names):
    """Let PyTorch write the files that are not there."""
    missing = [name for name in names if not (folder / f"{name}.one.onnx").exists()]
    if missing:
        subprocess.run([str(python), str(HERE / "onnx_networks.py"), folder, *missing], check=True)


def difference(workers):
    """How far predictions are apart, as a share of the largest."""
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for engine in ("nbcnn", "onnxruntime"):
            file = str(Path(folder) / f"{engine}.npy")
            workers[engine].ask("save", file=file)
            found.append(np.load(file))
    own, other = found
    return float(np.abs(own - other).max() / np.abs(other).max())


def measure(name, python, args):
    found = {"revision": machine.revision(), "threads": args.threads}
    arguments = ("engine_onnx.py", args.files, name)
    workers = {
        "nbcnn": Worker(*arguments, "nbcnn", args.threads),
        "onnxruntime": Worker(*arguments, "onnxruntime", args.threads, python=python),
    }
    with Race(name, workers, args) as race:
        if race.failed:
            raise SystemExit(str(race.failed))
        found["difference"] = difference(workers)
        if not found["difference"] < AGREED:
            raise SystemExit(f"{name}: predictions differ by {found['difference']:.1e}")
        for what in args.what:
            answers, disturbed = race.rounds(what)
            latency = what == "latency"
            found[what] = waits(answers) if latency else speeds(SETTINGS[name], answers)
            found.setdefault("used_by_others", {})[what] = round(disturbed, 3)
    return found


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=HERE / ".peers", help="their environments")
    parser.add_argument("--files", type=Path, default=HERE / ".peers" / "onnx")
    parser.add_argument("--only", default=",".join(SETTINGS), help="networks, comma between")
    parser.add_argument("--what", default=",".join(WHAT))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args()
    split_names(parser, args, only=SETTINGS, what=WHAT)
    return args


def main():
    args = parsed()
    python = environment(args.peers, "torch")
    if python is None:
        raise SystemExit(f"no environment with PyTorch in {args.peers}: see setup_peers.sh")
    args.files.mkdir(parents=True, exist_ok=True)
    exported(python, args.files, args.only)
    collect(args, lambda name: measure(name, python, args))


if __name__ == "__main__":
    main()
