"""Every implementation of every listed operation: time, rate, share of the machine's peak, and
regret.

    python bench/ops.py [--only conv2d,maxpool2d] [--cases bar,lenet] [--seconds 0.2] [--json FILE]

The implementations of a case and a program of nothing but multiply-adds run in turns, one call
each, for a while; the fastest call of each counts. So the share of the peak is one of the same
moments: on shared machines the peak itself may halve from one second to the next. GFLOP/s of
convolutions and matrix products are those of the direct formula; Winograd may exceed the peak.
Regret is how much longer the implementation that the list chooses takes than the fastest that
accepts: 1.00 is a perfect choice.
"""

import argparse
import json
import time
from pathlib import Path

import machine
import numpy as np
from ops_cases import CASES
from peak import copy_bandwidth, fma_program

from nbcnn import config
from nbcnn.kernels.impl import Impl
from nbcnn.ops.op import Op
from nbcnn.runtime.cpu import CpuDevice


def arrays(op: Op, shapes, rng):
    """Inputs of a case in the dtypes that the op takes: floats, and small whole numbers for labels
    and indices.
    """
    return [
        rng.integers(0, 4, shape).astype(dtype)
        if np.dtype(dtype).kind in "iu"
        else np.abs(rng.standard_normal(shape)).astype(dtype)
        for shape, dtype in shapes
    ]


def programs(op: Op, inputs, device: CpuDevice):
    """(implementation, its program) of all that accept, in the list's order."""
    from nbcnn.ops.tensor import TensorSpec

    specs = [TensorSpec(a.shape, a.dtype.name) for a in inputs]
    spec = op.spec(*specs)
    found: list[tuple[Impl, object]] = []
    for impl in device.impls(op):
        if impl.accepts(spec, "float32", device.caps) is not None:
            continue
        outputs = [
            device.view(device.empty(s.nbytes), 0, s.shape, s.dtype) for s in op.infer(*specs)
        ]
        wanted = impl.scratch(spec, "float32", device.caps)
        scratch = {
            name: device.view(
                device.empty(TensorSpec(s.shape, s.dtype).nbytes), 0, s.shape, s.dtype
            )
            for name, s in wanted.items()
        }
        found.append((impl, device.program(impl.bind(spec, device.caps, inputs, outputs, scratch))))
    nbytes = sum(s.nbytes for s in (*specs, *op.infer(*specs)))
    return found, op.flops(*specs), nbytes


def fastest(programs, seconds: float) -> list[float]:
    """Least seconds of each program, run in turns."""
    for program in programs:
        program.run()
    best = [float("inf")] * len(programs)
    end = time.perf_counter() + seconds * len(programs)
    rounds = 0
    while time.perf_counter() < end or rounds < 3:
        for i, program in enumerate(programs):
            start = time.perf_counter()
            program.run()
            best[i] = min(best[i], time.perf_counter() - start)
        rounds += 1
    return best


def measure(name: str, op: Op, shapes, device: CpuDevice, seconds: float) -> dict:
    found, flops, nbytes = programs(op, arrays(op, shapes, np.random.default_rng(0)), device)
    multiply_adds, work = fma_program(device)
    *times, whole = fastest([*(program for _, program in found), multiply_adds], seconds)
    peak = work / whole
    rows = {
        impl.name: {
            "ms": round(t * 1e3, 4),
            "gflops": round(flops / t * 1e-9, 2),
            "gbytes_per_s": round(nbytes / t * 1e-9, 2),
            "peak_share": round(flops / t / peak, 3),
        }
        for (impl, _), t in zip(found, times)
    }
    return {
        "case": name,
        "op": op.name,
        "chosen": found[0][0].name,
        "regret": round(times[0] / min(times), 2),
        "peak_gflops": round(peak * 1e-9, 1),
        "impls": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", help="operations, comma between")
    parser.add_argument("--cases", help="parts of case names, comma between")
    parser.add_argument(
        "--seconds", type=float, default=0.2, help="for each implementation of a case"
    )
    parser.add_argument("--json", metavar="FILE")
    args = parser.parse_args()
    device = CpuDevice(config.get_num_threads())
    results = []
    for name, op, shapes in CASES:
        if args.only and op.name not in args.only.split(","):
            continue
        if args.cases and not any(part in name for part in args.cases.split(",")):
            continue
        row = measure(name, op, shapes, device, args.seconds)
        results.append(row)
        for impl, r in row["impls"].items():
            chosen = "*" if impl == row["chosen"] else " "
            print(
                f"{row['op']:24} {name:34} {chosen}{impl:10} {r['ms']:9.3f} ms "
                f"{r['gflops']:8.1f} GFLOP/s "
                f"{r['peak_share']:6.1%} {r['gbytes_per_s']:7.1f} GB/s  regret {row['regret']:.2f}",
                flush=True,
            )
    peak = max((row["peak_gflops"] for row in results), default=0.0)
    bandwidth = copy_bandwidth(device)
    print(
        f"FMA peak {peak:.1f} GFLOP/s, copy {bandwidth * 1e-9:.1f} GB/s, "
        f"{device.caps.threads} threads"
    )
    if args.json:
        head = {"machine": machine.describe(), "threads": device.caps.threads}
        head |= {
            "fma_peak_gflops": peak,
            "copy_gbytes_per_s": round(bandwidth * 1e-9, 1),
        }
        Path(args.json).write_text(json.dumps({**head, "results": results}, indent=1) + "\n")


if __name__ == "__main__":
    main()
