"""How speed grows with threads, batch size and image size.

    python bench/scaling.py [--only lenet5,vgg] [--what threads,batch,image] [--json FILE]

- threads: 1, 2, 4, ... up to the cores, at the model's batch size. Efficiency: images per second
  over those of one thread, per thread.
- batch: 1, 4, 16, ... 256. Efficiency: images per second over the best of the row.
- image: the edge of the model's images halved, kept and doubled. Efficiency: pixels per second over
  the best of the row.

Training is a planned step (forward, backward, update), inference a planned prediction, both without
the data path of `fit`; the fastest of repeated runs counts. Each figure comes from a process of its
own, since the number of threads is fixed when a process starts.
"""

import argparse
import json
from pathlib import Path

import machine
from model_set import MODELS
from tables import scaling_table
from workers import Worker

BATCHES = (1, 4, 16, 64, 256)
LIMIT = 2 << 30  # bytes of activations, roughly, beyond which a point is left out


def powers(limit):
    found = [1]
    while 2 * found[-1] <= limit:
        found.append(2 * found[-1])
    return found if found[-1] == limit else [*found, limit]


def points(what, setting):
    """(what varies, threads, batch, edge of the image) of one row."""
    threads, edge = machine.cores(), setting.shape[0]
    if what == "threads":
        return [(n, n, setting.batch, edge) for n in powers(threads)]
    if what == "batch":
        most = LIMIT // (edge * edge * 64 * 4 * 4)
        return [(n, threads, n, edge) for n in BATCHES if n <= max(most, setting.batch)]
    return [(size, threads, setting.batch, size) for size in (edge // 2, edge, edge * 2)]


def measure(name, point, seconds):
    _, threads, batch, edge = point
    with Worker("engine_steps.py", name, threads, batch, edge) as worker:
        return {kind: worker.ask(kind, seconds=seconds) for kind in ("train", "predict")}


def row(name, what, seconds):
    """{point: figures} with efficiencies."""
    setting = MODELS[name]
    found = {}
    for point in points(what, setting):
        made = measure(name, point, seconds)
        found[point[0]] = {kind: round(point[2] / s, 1) for kind, s in made.items()}
    for kind in ("train", "predict"):
        work = {
            size: figures[kind] * (size * size if what == "image" else 1)
            for size, figures in found.items()
        }
        for size, rate in work.items():
            best = work[1] * size if what == "threads" else max(work.values())
            found[size][f"{kind}_efficiency"] = round(rate / best, 3)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default=",".join(MODELS), help="models, comma between")
    parser.add_argument("--what", default="threads,batch,image")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each figure")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args()
    result = {"machine": machine.describe(), "rows": {}}
    if args.json and args.json.exists():
        result["rows"] = json.loads(args.json.read_text())["rows"]
    for name in args.only.split(","):
        for what in args.what.split(","):
            found = {str(size): figures for size, figures in row(name, what, args.seconds).items()}
            result["rows"].setdefault(name, {})[what] = found
            print(scaling_table({name: {what: found}}), flush=True)
            if args.json:
                args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
