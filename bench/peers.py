"""nbcnn beside PyTorch, Keras on TensorFlow and on JAX, and ONNX Runtime, in alternating rounds.

    python bench/peers.py [--peers bench/.peers] [--set more] [--only lenet5,vgg] [--rounds 5]
                          [--what train,predict,latency,memory] [--engines eager,jax] [--json FILE]

`setup_peers.sh` makes the environments of the peers. Every engine in every setting is a process of
its own that stays alive: it makes the model of `model_set.py`, warms up, and waits. `--set more`
takes those of `model_set_more.py`, and for peers Keras on each of its backends, `--set zoo` those
of `models/` beside PyTorch (`model_set_zoo.py`). Then they take turns, one at a time, each round in
another order. What others, waiting or foreign, use of a processor during a turn is measured, and
disturbed turns are repeated. All get the same images, float32, SGD with momentum 0.9 on the loss of
the set (but for a few the sparse categorical cross-entropy), and the same processors (`--threads`).

- train, predict: images per second of an epoch of `fit` (of a plain loop in PyTorch) and `predict`:
  the median over the rounds. Ratio: nbcnn's over that of the best peer of the model. An engine
  found three times slower than the fastest sits out the rounds after the second.
- latency: `predict_on_batch` of one image, steady state: median and 90th percentile of all calls.
- memory: growth of the largest resident size during two epochs of training over what the process
  had when data and model were ready, in a fresh process each.

An existing FILE is updated: what this run measured replaces what was there.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import machine
from model_sets import SETS
from tables import peers_summary, peers_table
from workers import HERE, Watch, Worker, WorkerError, environment

# engine -> (environment, script, its setting)
ENGINES = {
    "nbcnn": (None, "engine_keras.py", "nbcnn"),
    "eager": ("torch", "engine_torch.py", "eager"),
    "channels_last": ("torch", "engine_torch.py", "channels_last"),
    "compile": ("torch", "engine_torch.py", "compile"),
    "compile_channels_last": ("torch", "engine_torch.py", "compile_channels_last"),
    "onnxruntime": ("torch", "engine_torch.py", "onnxruntime"),
    "tensorflow": ("tf", "engine_keras.py", "tensorflow"),
    "tensorflow_nojit": ("tf", "engine_keras.py", "tensorflow_nojit"),
    "jax": ("jax", "engine_keras.py", "jax"),
    "keras_torch": ("torch", "engine_keras.py", "torch"),
}
# What each set is measured with unless told: plain PyTorch has no builders for the second, and
# Keras none for the third.
DEFAULTS = {
    "first": [engine for engine in ENGINES if engine != "keras_torch"],
    "zoo": ["nbcnn", "eager", "channels_last"],
    "more": ["nbcnn", "tensorflow", "tensorflow_nojit", "jax", "keras_torch"],
}
ONLY_INFERENCE = {"onnxruntime"}
MEMORY_OF = ("nbcnn", "eager", "channels_last")
WHAT = ("train", "predict", "latency", "memory")
SLOW, ROUNDS_OF_SLOW = 3.0, 2
TRIES, DISTURBED = 3, 0.1  # turns in which others use more than a tenth of a core are repeated
PAUSE = 0.05  # seconds between turns, after which the threads of the last one no longer spin


def start(engine, model, args):
    kind, script, setting = ENGINES[engine]
    python = environment(args.peers, kind) if kind else None
    return Worker(script, f"{args.set}.{model}", setting, args.threads, python=python)


class Race:
    """Engines of one model: `workers` that are alive, by name."""

    def __init__(self, model, workers, args):
        self.model, self.args, self.workers = model, args, workers
        self.failed = {}
        counts = {engine: self.ask(engine, "ready") for engine in list(workers)}
        self.check_parameters(counts)
        for what in args.what:
            self.warm_up(what)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for worker in self.workers.values():
            worker.close()

    def ask(self, engine, do):
        """The answer of an engine, or None where it failed; a failed one is out."""
        try:
            return self.workers[engine].ask(do)
        except WorkerError as error:
            self.failed[engine] = str(error)
            self.workers.pop(engine).close()
            print(f"{self.model} {engine}: failed: {str(error).splitlines()[-1]}", flush=True)
            return None

    def check_parameters(self, counts):
        """All that train have the same number of parameters, or it is not the same model."""
        known = {e: c["parameters"] for e, c in counts.items() if c and "parameters" in c}
        if len(set(known.values())) > 1:
            raise SystemExit(f"{self.model}: parameters differ: {known}")

    def engines(self, what):
        return [e for e in self.workers if what != "train" or e not in ONLY_INFERENCE]

    def warm_up(self, what):
        if what != "memory":
            for engine in self.engines(what):
                self.ask(engine, what)

    def rounds(self, what):
        """{engine: [answers]}, and how much of a processor others used on average meanwhile."""
        answers = {engine: [] for engine in self.engines(what)}
        disturbed = []
        for turn in range(self.args.rounds):
            order = [e for e in answers if not self.sits_out(answers, e, turn, what)]
            if not order:
                break
            for engine in order[turn % len(order) :] + order[: turn % len(order)]:
                seconds, others = self.undisturbed(engine, what)
                if seconds is not None:
                    answers[engine].append(seconds)
                    disturbed.append(others)
        answers = {engine: found for engine, found in answers.items() if found}
        return answers, statistics.mean(disturbed) if disturbed else 0.0

    def undisturbed(self, engine, what):
        """(seconds, how much of a processor others used meanwhile) of the quietest of a few tries;
        one is enough where nothing else runs.
        """
        tries = []
        while engine in self.workers and len(tries) < TRIES:
            time.sleep(PAUSE)
            with Watch(self.workers[engine].pid) as watch:
                answer = self.ask(engine, what)
            if answer is not None:
                tries.append((watch.others, answer["seconds"]))
                if watch.others < DISTURBED:
                    break
        others, seconds = min(tries, key=lambda found: found[0], default=(0.0, None))
        return seconds, others

    @staticmethod
    def sits_out(answers, engine, turn, what):
        if turn < ROUNDS_OF_SLOW or engine == "nbcnn":
            return False
        if what == "latency":
            return turn >= ROUNDS_OF_SLOW
        fastest = min(min(seconds) for seconds in answers.values() if seconds)
        return not answers[engine] or min(answers[engine]) > SLOW * fastest


def speeds(setting, answers):
    images = setting.batch * setting.steps
    return {
        engine: {
            "images_per_second": round(images / statistics.median(seconds), 1),
            "best": round(images / min(seconds), 1),
            "rounds": [round(images / s, 1) for s in seconds],
        }
        for engine, seconds in answers.items()
    }


def waits(answers):
    found = {}
    for engine, rounds in answers.items():
        times = sorted(t for times in rounds for t in times)
        found[engine] = {
            "median_us": round(times[len(times) // 2] * 1e6, 1),
            "p90_us": round(times[int(len(times) * 0.9)] * 1e6, 1),
            "least_us": round(times[0] * 1e6, 1),
        }
    return found


def memory(model, args):
    """Of each engine in a fresh process, smallest of two."""
    found = {}
    for engine in [e for e in MEMORY_OF if e in args.engines]:
        kept = []
        for _ in range(2):
            with start(engine, model, args) as worker:
                worker.ask("ready")
                kept.append(worker.ask("memory"))
        found[engine] = min(kept, key=lambda answer: answer["growth"])
    return found


def measure(model, args):
    """All that was asked for about one model."""
    found = {"revision": machine.revision(), "threads": args.threads}
    setting = SETS[args.set].MODELS[model]
    turns = [what for what in args.what if what != "memory"]
    if turns:
        workers = {engine: start(engine, model, args) for engine in args.engines}
        with Race(model, workers, args) as race:
            for what in turns:
                answers, disturbed = race.rounds(what)
                found[what] = waits(answers) if what == "latency" else speeds(setting, answers)
                found.setdefault("used_by_others", {})[what] = round(disturbed, 3)
            if race.failed:
                found["failed"] = {e: m.splitlines()[-1] for e, m in race.failed.items()}
    if "memory" in args.what:
        found["memory"] = memory(model, args)
    return found


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=HERE / ".peers", help="their environments")
    parser.add_argument("--set", default="first", choices=SETS, help="of models")
    parser.add_argument("--only", help="models, comma between")
    parser.add_argument("--engines", help="engines, comma between")
    parser.add_argument("--what", default=",".join(WHAT))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=machine.cores())
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args()
    models = SETS[args.set].MODELS
    args.only = args.only or ",".join(models)
    args.engines = args.engines or ",".join(DEFAULTS[args.set])
    split_names(parser, args, only=models, engines=ENGINES, what=WHAT)
    absent = {kind for kind, _, _ in ENGINES.values() if kind and not environment(args.peers, kind)}
    args.engines = [e for e in args.engines if ENGINES[e][0] not in absent]
    if absent:
        print(f"no environment for {', '.join(sorted(absent))} in {args.peers}: left out")
    return args


def split_names(parser, args, **options):
    """Arguments that are names with commas between become lists of known ones."""
    for option, known in options.items():
        names = getattr(args, option).split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            parser.error(f"--{option}: no {unknown[0]!r}; there are {', '.join(known)}")
        setattr(args, option, names)


def collect(args, measure_one):
    """Measure the models one by one; each is printed and written as soon as it is there."""
    result = {"models": {}}
    if args.json and args.json.exists():
        result = json.loads(args.json.read_text())
    result["machine"] = machine.describe()
    for model in args.only:
        found = measure_one(model)
        result["models"].setdefault(model, {}).update(found)
        if args.json:
            args.json.write_text(json.dumps(result, indent=1) + "\n")
        for what in args.what:
            print(peers_table({"models": {model: found}}, what), flush=True)
    print(peers_summary(result))


def main():
    args = parsed()
    collect(args, lambda model: measure(model, args))


if __name__ == "__main__":
    main()
