"""Two revisions of nbcnn side by side, in alternating processes.

    python bench/compare.py OLD [NEW] [--models lenet5,vgg] [--cases vgg16,7x7] [--json FILE]

OLD, NEW: anything that git names; without NEW, the working tree. Each is checked out beside the
repository (`git worktree`, removed at the end) and measured by the benchmarks of *this* checkout,
as `PYTHONPATH` decides which nbcnn they import. Ratio: time of OLD over that of NEW, minima of all
rounds, so more than 1 means that NEW is faster. Models run planned steps of training and
inference; `--cases` names parts of cases of `ops.py`.
"""

import argparse
import json
import subprocess
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import machine
from model_set import MODELS
from tables import geometric_mean
from workers import HERE, Worker, WorkerError

ROOT = HERE.parent


@contextmanager
def checkout(revision):
    """A folder with the files of a revision; the working tree for None."""
    if revision is None:
        yield ROOT
        return
    with tempfile.TemporaryDirectory() as folder:
        place = str(Path(folder) / "nbcnn")
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--detach", place, revision], check=True, capture_output=True)
        try:
            yield Path(place)
        finally:
            subprocess.run([*git, "remove", "--force", place], check=True, capture_output=True)


def alternate(workers, asks, rounds, seconds):
    """{question: [least seconds of each worker]}; one that a worker cannot answer is left out."""
    best = {}
    for do, arguments in asks:
        key = (do, *arguments.values())
        times = [float("inf")] * len(workers)
        try:
            for turn in range(rounds):
                order = range(len(workers)) if turn % 2 == 0 else reversed(range(len(workers)))
                for index in order:
                    answer = workers[index].ask(do, seconds=seconds, **arguments)
                    times[index] = min(times[index], answer)
        except WorkerError as error:
            print(f"{key}: left out: {str(error).splitlines()[-1]}")
            continue
        best[key] = times
    return best


def compare(trees, script, arguments, asks, args):
    with ExitStack() as stack:
        workers = [
            stack.enter_context(Worker(script, *arguments, environment={"PYTHONPATH": str(tree)}))
            for tree in trees
        ]
        return alternate(workers, asks, args.rounds, args.seconds)


def measure(trees, args):
    found = {}
    threads = machine.cores()
    for name in args.models:
        setting = MODELS[name]
        arguments = (name, threads, setting.batch, setting.shape[0])
        asks = [("train", {}), ("predict", {})]
        times = compare(trees, "engine_steps.py", arguments, asks, args)
        found |= {f"{name} {do}": pair for (do, *_), pair in times.items()}
    if args.cases:
        from ops import matching

        names = {i: f"{case.what} {case.name}" for i, case in matching(args.cases)}
        asks = [("time", {"index": i}) for i in names]
        times = compare(trees, "engine_ops.py", (threads,), asks, args)
        found |= {names[i]: pair for (_, i), pair in times.items()}
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", help="a revision")
    parser.add_argument("new", nargs="?", help="another; the working tree by default")
    parser.add_argument("--models", default="", help="names, comma between, or all")
    parser.add_argument("--cases", help="parts of names of cases of ops.py, comma between")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.2, help="of a burst")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args()
    wanted = args.models or ("" if args.cases else "all")
    args.models = list(MODELS) if wanted == "all" else [m for m in wanted.split(",") if m]
    with checkout(args.old) as old, checkout(args.new) as new:
        found = measure([old, new], args)
    for name, (before, after) in found.items():
        times = f"{before * 1e3:9.3f} ms {after * 1e3:9.3f} ms"
        print(f"{name:56} {times}  ratio {before / after:5.2f}")
    ratios = [before / after for before, after in found.values()]
    print(f"geometric mean of {len(ratios)} ratios: {geometric_mean(ratios):.3f}")
    if args.json:
        result = {"machine": machine.describe(), "old": args.old, "new": args.new, "seconds": found}
        args.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
