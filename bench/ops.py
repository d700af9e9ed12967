"""Single operations: time, rate, share of the machine's peak, regret of the choice, and PyTorch
beside them.

    python bench/ops.py [--peers bench/.peers] [--set more] [--only pooling,dense]
                        [--cases vgg16,7x7]
                        [--part 1/4] [--seconds 0.02] [--rounds 6] [--passes 1] [--json FILE]

The implementations of a case, a program of nothing but multiply-adds, and (where `setup_peers.sh`
has made its environment) PyTorch in each of its variants run in turns, in short bursts; the fastest
call of each counts. So the share of the peak is one of the same moments: on shared machines the
peak itself may halve from one second to the next. GFLOP/s of convolutions and matrix products are
those of the direct formula; Winograd may exceed the peak. Products of dense layers also have a
share of their bound (`bounds.py`). Regret is how much longer the chosen implementation takes than
the fastest that accepts: 1.00 is a perfect choice. Ratio: time of the best of PyTorch's variants
over that of the chosen implementation.

A shared machine may be slow for longer than one case takes, by two or three times where memory is
concerned. So the whole list can be measured in several passes, minutes apart, each with a new
process of PyTorch's: where arrays about fill the last cache, it matters which pages a process got.
Again the fastest call of each counts.

An existing FILE is updated: what this run measured replaces what was there.

NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES= in the environment measures the kernels for AVX2 against
the peak of AVX2; PyTorch, if it is there, still uses all that the processor has.
"""

import argparse
import json
import os
from pathlib import Path

import bounds
import machine
from op_cases import CASES, SETS
from ops_nbcnn import prepare
from serve import fastest
from tables import ops_summary
from workers import HERE, Watch, Worker, WorkerError, environment

from nbcnn import config
from nbcnn.analysis.peaks import copy_bandwidth, fma_program, read_bandwidth
from nbcnn.kernels.cpu.blocking import register_tile
from nbcnn.runtime.cpu import CpuDevice

TRIES, DISTURBED = 3, 0.15  # rounds are repeated where other programs use so much of a core
HOPELESS = 3.0  # an implementation so many times slower than the chosen one is timed once


def measure(case, device, worker, args, bandwidth: float) -> dict:
    made = prepare(case, device)
    multiply_adds, work = fma_program(device)
    turns = {name: program.run for name, program in made.programs.items()}
    variants = worker.ask("prepare", case=case) if worker else []
    best = {name: fastest(run, 0.0, least=1) for name, run in turns.items()}
    turns = {n: r for n, r in turns.items() if best[n] <= HOPELESS * best[made.chosen]}
    torch, whole = dict.fromkeys(variants, float("inf")), float("inf")

    def rounds():
        nonlocal whole
        for _ in range(args.rounds):
            for variant in variants:
                seconds = worker.ask("burst", variant=variant, seconds=args.seconds)
                torch[variant] = min(torch[variant], seconds)
            for name, run in turns.items():
                best[name] = min(best[name], fastest(run, args.seconds))
            whole = min(whole, fastest(multiply_adds.run, 0.0))

    pids = [os.getpid(), *([worker.pid] if worker else [])]
    for _ in range(TRIES):
        with Watch(*pids) as watch:
            rounds()
        if watch.others < DISTURBED:
            break
    found = row(case, made, best, torch, work / whole)
    if case.kind == "dense":
        found |= bounded(case, device, best[made.chosen], work / whole, bandwidth)
    return found


def bounded(case, device, seconds: float, peak: float, bandwidth: float) -> dict:
    """A product's share of its bound, and what that is."""
    spec, tile = bounds.product(case.args, case.what), register_tile(device.caps, "float32")
    bound = bounds.product_bound(spec, tile, peak, bandwidth, device.caps.l3)
    return {"bound_share": round(bound.seconds / seconds, 3), "bound_by": bound.by}


def row(case, made, best, torch, peak) -> dict:
    own = best[made.chosen]
    result = {
        "case": case.name,
        "family": case.family,
        "what": case.what,
        "chosen": made.chosen,
        "ms": round(own * 1e3, 4),
        "gflops": round(made.flops / own * 1e-9, 2),
        "gbytes_per_s": round(made.nbytes / own * 1e-9, 2),
        "peak_share": round(made.flops / own / peak, 3),
        "peak_gflops": round(peak * 1e-9, 1),
        "others_ms": {n: round(t * 1e3, 4) for n, t in best.items() if n != made.chosen},
    }
    if torch:
        result["torch_ms"] = {name: round(t * 1e3, 4) for name, t in torch.items()}
    return rated(result)


def rated(result) -> dict:
    """With what follows from the times of one case."""
    own = result["ms"]
    result["regret"] = round(own / min([own, *result["others_ms"].values()]), 2)
    if "torch_ms" in result:
        result["ratio"] = round(min(result["torch_ms"].values()) / own, 3)
    return result


def joined(before, now) -> dict:
    """Two passes over a case: rates are those of the faster one, times the least of each."""
    result = dict(min(before, now, key=lambda r: r["ms"]))
    for key in ("others_ms", "torch_ms"):
        if key in now:
            result[key] = {n: min(t, before[key].get(n, t)) for n, t in now[key].items()}
    return rated(result)


def line(r) -> str:
    ratio = ""
    if "ratio" in r:
        ratio = f"  torch {min(r['torch_ms'].values()):9.3f} ms, ratio {r['ratio']:5.2f}"
    return (
        f"{r['what']:8} {r['case']:48} {r['chosen']:18.18} {r['ms']:9.3f} ms "
        f"{r['gflops']:7.1f} GFLOP/s {r['peak_share']:6.1%} {r['gbytes_per_s']:6.1f} GB/s "
        f"regret {r['regret']:.2f}{ratio}"
    )


def matching(parts, cases=CASES):
    """(number, case) of those whose direction and name contain one of some texts."""
    wanted = parts.split(",") if parts else [""]
    numbered = enumerate(cases)
    return [(i, c) for i, c in numbered if any(part in f"{c.what} {c.name}" for part in wanted)]


def chosen_cases(args):
    families = args.only.split(",") if args.only else [""]
    found = [
        c for _, c in matching(args.cases, SETS[args.set]) if any(f in c.family for f in families)
    ]
    part, parts = map(int, args.part.split("/"))
    return found[part - 1 :: parts]


def parsed():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, default=HERE / ".peers", help="their environments")
    parser.add_argument("--set", default="first", choices=SETS, help="of cases")
    parser.add_argument("--only", help="parts of names of families, comma between")
    parser.add_argument("--cases", help="parts of case names, comma between")
    parser.add_argument("--part", default="1/1", help="I/N: every Nth case, from the Ith on")
    parser.add_argument("--seconds", type=float, default=0.02, help="of a burst")
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--passes", type=int, default=1, help="over the whole list")
    parser.add_argument("--json", metavar="FILE", type=Path)
    return parser.parse_args()


def main() -> None:
    args = parsed()
    device = CpuDevice(config.get_num_threads())
    python = environment(args.peers, "torch")
    if python is None:
        print(f"no environment for PyTorch in {args.peers}: nbcnn alone")
    bandwidth = read_bandwidth(device)
    rows = {}
    if args.json and args.json.exists():
        rows = {(r["what"], r["case"]): r for r in json.loads(args.json.read_text())["results"]}
    measured: set[tuple[str, str]] = set()
    for _ in range(args.passes):
        worker = Worker("ops_torch.py", device.caps.threads, python=python) if python else None
        for case in chosen_cases(args):
            try:
                found = measure(case, device, worker, args, bandwidth)
            except (WorkerError, NotImplementedError) as error:
                print(f"{case.what} {case.name}: failed: {str(error).splitlines()[-1]}", flush=True)
                continue
            key = case.what, case.name
            rows[key] = joined(rows[key], found) if key in measured else found
            measured.add(key)
            print(line(rows[key]), flush=True)
        if worker:
            worker.close()
    results = [rows[key] for c in SETS[args.set] if (key := (c.what, c.name)) in rows]
    result = {
        "machine": machine.describe(),
        "threads": device.caps.threads,
        "vector_bits": 8 * device.caps.vector,
        "fma_peak_gflops": max((r["peak_gflops"] for r in results), default=0.0),
        "copy_gbytes_per_s": round(copy_bandwidth(device) * 1e-9, 1),
        "read_gbytes_per_s": round(bandwidth * 1e-9, 1),
        "results": results,
    }
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(ops_summary(result))


if __name__ == "__main__":
    main()
