"""What a user waits for: the import, the first `fit`, an epoch, a prediction; and how much memory.

    python bench/models.py [--only lenet5,vgg] [--no-first] [--engine keras] [--json FILE]

Every figure comes from a new process.

- import: timed inside the process, files cached, fastest of 9. nbcnn loads its parts when they are
  first used, so the time with all of them, and that of numba alone, stand beside it.
- first fit: from before the import to the end of the first `fit` of one batch, with an empty kernel
  cache (cold, once) and with the cache that this left behind (warm, fastest of 5).
- images per second: through `fit` and `predict`, fastest of 5 epochs after one to warm up.
- memory: the process's largest resident size, and its growth from when data and model were ready.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import machine
from model_set import MODELS

HERE = Path(__file__).resolve().parent
TIMED = "import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
ALL_OF_NBCNN = (
    "import nbcnn as k; k.Model, k.layers, k.losses, k.optimizers, k.callbacks, k.get_device('cpu')"
)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(MODELS), help="names, comma between")
    parser.add_argument("--no-first", action="store_true", help="leave out import and first fit")
    parser.add_argument("--engine", choices=("nbcnn", "keras"), default="nbcnn")
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    names = args.only.split(",")
    unknown = [name for name in names if name not in MODELS]
    if unknown:
        parser.error(f"--only: no model {unknown[0]!r}; there are {', '.join(MODELS)}")

    result = {"engine": args.engine, "machine": machine.describe("keras", "jax", "tensorflow-cpu")}
    if not args.no_first:
        result["import_seconds"] = imports(args.engine)
        result["first_fit_seconds"] = {name: first_fit(name, args.engine) for name in names}
    result["models"] = {name: speed(name, args.engine) for name in names}
    if args.json:
        Path(args.json).write_text(json.dumps(result, indent=1) + "\n")


def imports(engine):
    statements = {engine: f"import {engine}"}
    if engine == "nbcnn":
        statements |= {"nbcnn with all that it loads later": ALL_OF_NBCNN, "numba": "import numba"}
    seconds = {name: fastest(statement) for name, statement in statements.items()}
    print("import: " + ", ".join(f"{name} {s:.3f} s" for name, s in seconds.items()), flush=True)
    return seconds


def fastest(statement):
    code = TIMED.format(statement=statement)
    return round(min(float(run("-c", code)) for _ in range(9)), 4)


def first_fit(name, engine):
    """Cold and warm; an engine without a kernel cache on disk pays the cold price every time."""
    with tempfile.TemporaryDirectory() as cache:
        arguments = (HERE / "one_model.py", "first", name, engine)
        runs = [json.loads(run(*arguments, NBCNN_CACHE_DIR=cache))["seconds"] for _ in range(6)]
    cold, warm = runs[0], min(runs[1:])
    print(f"{name}: first fit cold {cold:.2f} s, warm {warm:.2f} s", flush=True)
    return {"cold": round(cold, 3), "warm": round(warm, 3)}


def speed(name, engine):
    figures = json.loads(run(HERE / "one_model.py", "speed", name, engine))
    print(
        f"{name}: training {figures['train_images_per_second']:,.0f} img/s, "
        f"inference {figures['predict_images_per_second']:,.0f} img/s, "
        f"peak {figures['peak_bytes'] / 2**20:,.0f} MiB",
        flush=True,
    )
    return {key: round(value) for key, value in figures.items()}


def run(*arguments, **environment):
    """What a new Python process with this checkout on its path prints."""
    paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout


if __name__ == "__main__":
    main()
