"""What kernels for GPUs are as machine code: registers, spills, instructions. No GPU is needed.

    python bench/offline.py [--cuda sm_90] [--precisions float32,tf32,bfloat16] [--layers 3x3,dw]
                            [--json FILE]

Takes the layers of `devices.py`, chooses implementations as such a GPU would, and compiles their
kernels. Needs the extra cuda12 or cuda13, and the package nvidia-cuda-nvdisasm. The table in
`docs/cuda.md` is that of `results/offline.json`.
"""

import argparse
import json
import re
from pathlib import Path

import machine
from device_figures import PRECISIONS, in_precision, layers_named
from ops_nbcnn import prepare
from tables import offline_table

from nbcnn.kernels.cuda import compiling
from nbcnn.kernels.cuda.disassembly import instructions
from nbcnn.runtime import cuda_offline, cuda_program

# What tells how a kernel works: wide loads, asynchronous copies, fused multiply-adds, tensor cores;
# and registers that went to memory, of which there should be none.
TOLD = ("LDG.E.128", "LDS.128", "LDGSTS", "LDSM", "FFMA", "HMMA", "HGMMA", "LDL", "STL")


def described(kernel) -> dict:
    code = compiling.compiled(*kernel)
    names = instructions(code.cubin)
    told = {t: sum(name.startswith(t) for name in names) for t in TOLD}
    return {
        "kernel": kernel.kernel.name,
        "registers": code.registers,
        "spilled": code.spilled,
        "instructions": len(names),
        "told": {t: n for t, n in told.items() if n},
        "warnings": sorted(set(re.findall(r"\((C\d+)\)", code.log))),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cuda", default="sm_90", help="architecture")
    parser.add_argument("--precisions", default=",".join(PRECISIONS))
    parser.add_argument("--layers", default="", help="parts of names, comma between")
    parser.add_argument("--json", metavar="FILE", type=Path)
    args = parser.parse_args()
    device = cuda_offline.OfflineDevice(args.cuda)
    known: dict = {}
    layers = []
    for case in layers_named():
        title = f"{case.what} {case.name}"
        if not any(text in title for text in args.layers.split(",")):
            continue
        before: set[str] = set()
        for precision in args.precisions.split(","):
            with in_precision(precision):
                made = prepare(case, device, only_chosen=True)
            if made.chosen in before:  # nothing to round
                continue
            before.add(made.chosen)
            calls = made.programs[made.chosen].calls
            target = compiling.architecture(device.caps.compute_capability)
            kernels = list(dict.fromkeys(cuda_program.wanted(calls, target)))
            known |= {kernel: described(kernel) for kernel in kernels if kernel not in known}
            found = [known[kernel] for kernel in kernels]
            layers.append(
                {"layer": title, "precision": precision, "chosen": made.chosen, "kernels": found}
            )
            print(f"{title}, {precision}: {json.dumps(found)}", flush=True)
    result = {"machine": machine.describe(), "cuda": args.cuda, "layers": layers}
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    print(offline_table(result))


if __name__ == "__main__":
    main()
