"""CPU against CUDA: layers and models by nbcnn's own kernels on both, one command.

    python -m bench.devices [--devices cpu,cuda] [--precisions float32,tf32,bfloat16]
                            [--models vgg,resnet20 | none] [--layers 3x3,dw | none]
                            [--seconds 0.3] [--limit 600] [--batch-factor 1] [--tiny]
                            [--json FILE] [--plot FILE.png]

Where there is no GPU the CPU's column is filled, and the table says why it is the only one.

- Limits: multiply-adds and copies by own kernels (`peak.py`, `peak_cuda.py`), in the same run.
- Layers: cases of `op_cases`. Models: `model_set.py`, forward, backward, update and whole step with
  the batch on the device; `fit` and `predict` from host arrays, with all transfers.
- GPUs are timed by their events, CPUs by the host's clock; medians, after runs to warm up.
- Share of the limit: the least time that the machine needs for the multiplications (at its peak in
  this precision) and for the bytes (at its copy bandwidth), kernel by kernel, over the time taken.
  Winograd needs fewer multiplications and caches hold small data: it may exceed 100 %.
- Speed-up: the CPU's time over the GPU's. Without `--batch-factor` the batches are those that keep
  two cores busy, which a large GPU does not feel.

`--tiny`: smallest sizes, to see that all works, also with NUMBA_ENABLE_CUDASIM=1.
"""

import argparse
import json
import time
from pathlib import Path

import machine
from device_figures import (
    PRECISIONS,
    Column,
    layer,
    layers_named,
    limits,
    model,
    rounded,
    tiny_layers,
)
from model_set import MODELS
from tables import devices_tables

from nbcnn.runtime.device import DeviceError, get_device

TINY_EDGE, TINY_SECONDS = 16, 0.0


def chosen_layers(args) -> list:
    if args.layers == "none":
        return []
    cases = tiny_layers() if args.tiny else layers_named()
    wanted = args.layers.split(",") if args.layers else [""]
    return [c for c in cases if any(text in f"{c.what} {c.name}" for text in wanted)]


def chosen_models(args) -> dict:
    names = [] if args.models == "none" else args.models.split(",")
    settings = {name: MODELS[name] for name in names}
    if args.tiny:
        return {name: s._replace(batch=1, steps=1) for name, s in settings.items()}
    factor = args.batch_factor
    return {name: s._replace(batch=s.batch * factor) for name, s in settings.items()}


def opened(args) -> tuple[list[Column], dict[str, str]]:
    """The columns, and why there are no others."""
    columns, missing = [], {}
    for name in args.devices.split(","):
        try:
            device = get_device(name)
        except DeviceError as error:
            missing[name] = str(error)
            continue
        several = device.kind == "cuda" and not device.caps.simulated
        for precision in args.precisions.split(",") if several else ["float32"]:
            columns.append(Column(device, precision))
    return columns, missing


def described(column: Column) -> dict:
    """The device, as far as it is known."""
    known = {"name": column.device.name, "precision": column.precision}
    properties = getattr(column.device, "properties", None)  # of a real GPU
    if properties is not None:
        known |= {"hardware": properties.name, "memory_bytes": properties.memory}
    return known


class Report:
    """What has been measured so far, on file and screen."""

    def __init__(self, args):
        self.args, self.end = args, time.monotonic() + args.limit
        self.result: dict = {"machine": machine.describe(), "devices": {}, "layers": {}}
        self.result |= {"models": {}, "failed": {}, "left_out": []}

    def measure(self, kind: str, name: str, columns: list[Column], call) -> None:
        """`call(column)` on each column; what fails is noted and the others go on."""
        found = self.result[kind].setdefault(name, {})
        for column in columns:
            title = f"{name} ({column.name})"
            if time.monotonic() > self.end:
                self.result["left_out"].append(title)
                continue
            try:
                found[column.name] = call(column)
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".splitlines()[0]
                self.result["failed"][title] = reason
                print(f"{title}: failed: {reason}", flush=True)
        compare(found)
        print(f"{name}: {json.dumps(found)}", flush=True)
        self.save()

    def save(self) -> None:
        if self.args.json:
            self.args.json.write_text(json.dumps(self.result, indent=1) + "\n")


def compare(found: dict) -> None:
    """Adds the speed-up of each GPU's column, where the CPU was measured."""
    cpu = found.get("cpu")
    for name, row in found.items():
        if cpu is None or name == "cpu":
            continue
        if "with_transfers" in row:
            own, other = row["ms"], cpu["ms"]
            row["speed_up"] = {what: rounded(other[what] / own[what]) for what in own}
            for what, speed in row["with_transfers"].items():
                row["speed_up"][what] = rounded(speed / cpu["with_transfers"][what])
        else:
            row["speed_up"] = rounded(cpu["ms"] / row["ms"])


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--devices", default="cpu,cuda", help="names, comma between")
    add("--precisions", default=",".join(PRECISIONS), help="of products on a GPU")
    add("--models", default=",".join(MODELS), help="names, comma between, or none")
    add("--layers", default="", help="parts of names, comma between, or none")
    add("--seconds", type=float, default=0.3, help="for each figure")
    add("--limit", type=float, default=600.0, help="seconds after which nothing new is begun")
    add("--batch-factor", type=int, default=1, help="for models: times their batch")
    add("--tiny", action="store_true", help="smallest sizes")
    add("--json", metavar="FILE", type=Path)
    add("--plot", metavar="FILE", type=Path, help="a chart, PNG")
    args = parser.parse_args()
    for option, known in (("models", {*MODELS, "none"}), ("precisions", PRECISIONS)):
        unknown = set(getattr(args, option).split(",")) - set(known)
        if unknown:
            parser.error(f"--{option}: no {unknown.pop()!r}; there are {', '.join(known)}")
    if args.tiny:
        args.seconds = TINY_SECONDS
    return args


def main() -> None:
    args = parsed()
    report = Report(args)
    columns, missing = opened(args)
    known: dict[str, dict] = {}
    report.result["missing"] = missing
    for name, reason in missing.items():
        print(f"{name}: {reason}", flush=True)
    for column in columns:
        if column.device.name not in known:
            known[column.device.name] = limits(column.device, args.seconds)
        figures = {k: rounded(v * 1e-9) for k, v in known[column.device.name].items()}
        report.result["devices"][column.name] = described(column) | {"limits_giga": figures}
    for case in chosen_layers(args):

        def of_layer(column, case=case):
            return layer(case, column, known[column.device.name], args.seconds)

        report.measure("layers", f"{case.what} {case.name}", columns, of_layer)
    edge = TINY_EDGE if args.tiny else None
    for name, setting in chosen_models(args).items():

        def of_model(column, setting=setting):
            return model(setting, edge, column, known[column.device.name], args.seconds)

        report.measure("models", name, columns, of_model)
    report.save()
    print(devices_tables(report.result))
    if args.plot:
        from plot import devices

        devices(report.result).savefig(args.plot, dpi=120)


if __name__ == "__main__":
    main()
