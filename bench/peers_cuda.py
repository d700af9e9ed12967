"""nbcnn beside PyTorch (cuDNN) on the same GPU, in alternating rounds, at the same precision.

    python bench/peers_cuda.py [--torch PYTHON] [--device cuda] [--precisions tf32,float32,bfloat16]
                               [--models vgg,resnet20 | none] [--engines channels_last,graph]
                               [--what train,predict,latency] [--rounds 5] [--sweep 3x3 | none]
                               [--limit 600] [--rehearse] [--json FILE]

PyTorch is optional: `--torch` names the interpreter of an environment that has it with CUDA, by
default this one. Without it nothing is measured.

Every engine in every setting is a process of its own that stays alive, and they take turns. Same
images, loss, optimizer (SGD with momentum 0.9) and precision of products:

| | nbcnn | PyTorch |
|---|---|---|
| float32 | default | TF32 off in `torch.backends.cudnn` and `.cuda.matmul` |
| tf32 | `set_matmul_precision("high")` | TF32 on in both |
| bfloat16 | `mixed_bfloat16`: products rounded, maps float32 | `torch.autocast`: maps bfloat16 |

- PyTorch: eager, channels_last, torch.compile, steps as CUDA graphs; `cudnn.benchmark` on; batches
  are views of a tensor on the GPU. nbcnn: `fit` and `predict`, images on the GPU as well;
  `nbcnn_host` sends every batch from the host.
- Batches are four times those of `model_set.py`. Images per second of an epoch: medians.
- Sweep: single convolutions, forward and both gradients, large batches; the GPU's events around
  many in a row; both of PyTorch's layouts, the best counts.

`--limit`: seconds after which nothing new is begun. `--rehearse`: tiny sizes, nbcnn on a simulated
GPU (NUMBA_ENABLE_CUDASIM=1) and PyTorch on the CPU, to see that all works; the figures mean
nothing.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import machine
from gpu_scale import scaled
from model_set import MODELS
from op_cases.case import convolution
from peers import Race, speeds, waits
from tables import peers_cuda_summary, peers_table
from workers import Worker, WorkerError

PRECISIONS = ("tf32", "float32", "bfloat16")
# engine -> (script, its setting)
ENGINES = {
    "nbcnn": ("engine_cuda.py", "gpu"),
    "nbcnn_host": ("engine_cuda.py", "host"),
    "eager": ("engine_torch.py", "eager"),
    "channels_last": ("engine_torch.py", "channels_last"),
    "graph": ("engine_torch.py", "graph"),
    "compile_channels_last": ("engine_torch.py", "compile_channels_last"),
}
WHAT = ("train", "predict", "latency")
# network, input, filters, kernel, options: forward, dx and dw of each
SWEEP = (
    ("vgg", (128, 32, 32, 64), 64, 3, {}),
    ("vgg", (128, 16, 16, 128), 128, 3, {}),
    ("vgg", (128, 8, 8, 256), 256, 3, {}),
    ("resnet50", (64, 56, 56, 64), 64, 3, {}),
    ("resnet50", (64, 28, 28, 128), 128, 3, {}),
    ("resnet50", (64, 14, 14, 256), 256, 3, {}),
    ("resnet50", (64, 7, 7, 512), 512, 3, {}),
    ("resnet50", (64, 56, 56, 64), 256, 1, {}),
    ("resnet50", (64, 14, 14, 1024), 256, 1, {}),
    ("resnet50", (64, 56, 56, 128), 128, 3, {"stride": 2}),
    ("resnet50", (64, 224, 224, 3), 64, 7, {"stride": 2}),
    ("resnet20", (512, 32, 32, 16), 16, 3, {}),
    ("inception", (64, 17, 17, 192), 192, (1, 7), {}),
    ("mobilenet", (64, 56, 56, 144), 144, 3, {"groups": 144}),
    ("resnext", (64, 28, 28, 256), 256, 3, {"groups": 32}),
    ("odd", (64, 31, 31, 33), 35, 3, {}),
)
TINY = (("tiny", (1, 4, 4, 4), 4, 3, {}),)
FIND = "import torch, json, torch_gpu; print(json.dumps(torch_gpu.described()))"


def torch_of(python):
    """What PyTorch an interpreter has; raises SystemExit in words where it has none."""
    here = str(Path(__file__).resolve().parent)
    done = subprocess.run([str(python), "-c", FIND], cwd=here, capture_output=True, text=True)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["it does not run"])[-1]
        raise SystemExit(
            f"peers_cuda.py compares with PyTorch, which {python} does not have ({last}): install "
            "it with CUDA (https://pytorch.org), or name an interpreter that has it with --torch"
        )
    return json.loads(done.stdout)


class Comparison:
    """What is measured, within the time given."""

    def __init__(self, args, found):
        self.args, self.end = args, time.monotonic() + args.limit
        self.scale = "tiny" if args.rehearse else "gpu"
        self.devices = {"nbcnn": args.device, "torch": "cpu" if args.rehearse else args.device}
        switches = "cudnn.benchmark on; see torch_gpu.py for the precisions"
        self.result = {"machine": machine.describe(), "torch": found | {"switches": switches}}
        self.result |= {"rehearsal": args.rehearse, "precisions": {}, "sweep": {}, "left_out": []}

    def late(self, title):
        if time.monotonic() < self.end:
            return False
        self.result["left_out"].append(title)
        print(f"{title}: left out, time is up", flush=True)
        return True

    def save(self):
        if self.args.json:
            self.args.json.write_text(json.dumps(self.result, indent=1) + "\n")

    def worker(self, engine, model, precision):
        script, setting = ENGINES[engine]
        side = "nbcnn" if engine.startswith("nbcnn") else "torch"
        return Worker(
            script,
            model,
            setting,
            self.args.threads,
            self.devices[side],
            precision,
            self.scale,
            python=None if side == "nbcnn" else self.args.torch,
        )

    def model(self, name, precision):
        setting = scaled(MODELS[name], self.scale)
        found = {"batch": setting.batch, "steps": setting.steps}
        workers = {e: self.worker(e, name, precision) for e in self.args.engines}
        with Race(f"{name} {precision}", workers, self.args) as race:
            for what in self.args.what:
                answers, others = race.rounds(what)
                found[what] = waits(answers) if what == "latency" else speeds(setting, answers)
                found.setdefault("used_by_others", {})[what] = round(others, 3)
            if race.failed:
                found["failed"] = {e: text.splitlines()[-1] for e, text in race.failed.items()}
        kept = self.result["precisions"].setdefault(precision, {"models": {}})
        kept["models"][name] = found
        for what in self.args.what:
            print(peers_table({"models": {f"{name} {precision}": found}}, what), flush=True)
        self.save()

    def sweep(self, cases, precision):
        sides = (("nbcnn", "engine_ops_cuda.py", None), ("torch", "ops_torch.py", self.args.torch))
        nbcnn, torch = (
            Worker(script, self.args.threads, self.devices[side], precision, python=python)
            for side, script, python in sides
        )
        rows = self.result["sweep"].setdefault(precision, [])
        with nbcnn, torch:
            for case in cases:
                if self.late(f"{case.what} {case.name} {precision}"):
                    continue
                try:
                    rows.append(turns(case, nbcnn, torch, self.args))
                except WorkerError as error:
                    reason = str(error).splitlines()[-1]
                    print(f"{case.what} {case.name} {precision}: failed: {reason}", flush=True)
        self.save()


def turns(case, nbcnn, torch, args):
    """One operation on both sides, in alternating bursts; the median burst of each counts."""
    made = nbcnn.ask("prepare", case=case)
    variants = torch.ask("prepare", case=case)
    own, others = [], {variant: [] for variant in variants}
    for _ in range(args.rounds):
        own.append(nbcnn.ask("burst", seconds=args.seconds))
        for variant, times in others.items():
            times.append(torch.ask("burst", variant=variant, seconds=args.seconds))
    seconds = middle(own)
    torch_ms = {variant: round(middle(times) * 1e3, 5) for variant, times in others.items()}
    return {
        "case": case.name,
        "what": case.what,
        "chosen": made["chosen"],
        "ms": round(seconds * 1e3, 5),
        "gflops": round(made["flops"] / seconds * 1e-9, 1),
        "gbytes_per_s": round(made["nbytes"] / seconds * 1e-9, 1),
        "torch_ms": torch_ms,
        "ratio": round(min(torch_ms.values()) / (seconds * 1e3), 3),
    }


def middle(times):
    return sorted(times)[len(times) // 2]


def cases_of(args):
    if args.sweep == "none":
        return []
    rows = TINY if args.rehearse else SWEEP
    made = [
        case
        for net, x, filters, kernel, options in rows
        for case in convolution(net, "sweep", "fxw", x, filters, kernel, **options)
    ]
    wanted = args.sweep.split(",") if args.sweep else [""]
    return [c for c in made if any(text in f"{c.what} {c.name}" for text in wanted)]


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--torch", default=sys.executable, metavar="PYTHON", help="interpreter that has PyTorch")
    add("--device", default="cuda")
    add("--precisions", default=",".join(PRECISIONS))
    add("--models", default=",".join(MODELS), help="names, comma between, or none")
    add("--engines", default=",".join(ENGINES))
    add("--what", default=",".join(WHAT))
    add("--rounds", type=int, default=5)
    add("--seconds", type=float, default=0.05, help="of a burst of the sweep")
    add("--sweep", default="", help="parts of names of convolutions, comma between, or none")
    add("--threads", type=int, default=min(4, machine.cores() or 1), help="of the host's processor")
    add("--limit", type=float, default=600.0, help="seconds after which nothing new is begun")
    add("--rehearse", action="store_true")
    add("--json", metavar="FILE", type=Path)
    args = parser.parse_args()
    known_of = {"models": MODELS, "engines": ENGINES, "what": WHAT, "precisions": PRECISIONS}
    for option, known in known_of.items():
        given = getattr(args, option)
        names = [] if given == "none" else given.split(",")
        unknown = [name for name in names if name not in known]
        if unknown:
            parser.error(f"--{option}: no {unknown[0]!r}; there are {', '.join(known)}")
        setattr(args, option, names)
    if args.rehearse:
        args.seconds, args.rounds = 0.0, 1
    return args


def main():
    args = parsed()
    comparison = Comparison(args, torch_of(args.torch))
    cases = cases_of(args)
    for precision in args.precisions:
        for name in args.models:
            if not comparison.late(f"{name} {precision}"):
                comparison.model(name, precision)
        if cases and not comparison.late(f"sweep {precision}"):
            comparison.sweep(cases, precision)
    comparison.save()
    print(peers_cuda_summary(comparison.result))


if __name__ == "__main__":
    main()
