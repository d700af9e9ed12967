"""Assembly of compiled kernels, and its loops.

As a script it prints JSON: for each job (operation and type) the assembly of the kernels that it
compiled. `assembly` runs that in a new process with an empty folder of kernels, because those that
come from disk do not show.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from cases.execution import run
from llvmlite import binding as llvm

from nbcnn.ops.conv import Conv2D, Conv2DInputGradient, Conv2DKernelGradient
from nbcnn.ops.dense import Matmul
from nbcnn.ops.elementwise import Binary
from nbcnn.ops.norm import ScaleShift
from nbcnn.ops.optimizer import SGD
from nbcnn.ops.reduce import Reduce
from nbcnn.runtime.cpu import CpuDevice

# A vector register of x86 or ARM; arithmetic on vectors; a multiply-add, a division of vectors.
VECTOR = r"%[xyz]mm\d|\bv\d+\.|\bq\d+\b"
ARITHMETIC = r"^v?(fn?m(add|sub)\w*|add|sub|mul)p[sd]\b|^fm(la|ls|ul)\s+v|^fadd\s+v"
MULTIPLY_ADD = r"^vfn?madd\w*p[sd]\b|^fmla\s+v"
DIVISION = r"^v?divp[sd]\b|^fdiv\s"
STACK = r"\(%rsp\b|\[sp\b"


def loops(text: str) -> list[list[str]]:
    """The instructions of every innermost loop: from a label to the last jump back to it."""
    lines = [line.strip() for line in text.splitlines()]
    labels = {m[1]: i for i, line in enumerate(lines) if (m := re.match(r"([.\w$]+):", line))}
    spans = []
    for i, line in enumerate(lines):
        jump = re.match(r"(?:j\w+|b[.\w]*|cbn?z|tbn?z)\s.*?([.\w$]+)$", line)
        if jump and labels.get(jump[1], i) < i:
            spans.append((labels[jump[1]], i))
    inner = [s for s in spans if not any(t != s and s[0] <= t[0] and t[1] <= s[1] for t in spans)]
    return [lines[first : last + 1] for first, last in inner]


def count(pattern: str, instructions: list[str]) -> int:
    return sum(re.search(pattern, line) is not None for line in instructions)


def spills(instructions: list[str]) -> list[str]:
    """Vectors that are kept on the stack."""
    return [line for line in instructions if re.search(STACK, line) and re.search(VECTOR, line)]


def jobs(dtype: str):
    """(operation, implementation, shapes of inputs)."""
    x, w = (1, 8, 8, 64), (3, 3, 64, 64)
    yield Conv2D(padding="same"), "direct", [x, w]
    yield Conv2DInputGradient(padding="same", shape=x), "direct", [x, w]
    yield Conv2DKernelGradient(padding="same", shape=w), "direct", [x, x]
    yield Matmul(), "gemm", [(64, 64), (64, 64)]
    if dtype == "float32":
        yield Binary("add"), "loop", [(64,), (64,)]
        yield Reduce("sum", 0, 0), "slabs", [(640,)]
        yield ScaleShift(), "sweep", [(64, 8), (8,), (8,)]
        yield SGD(0.9), "loop", [(64,), (64,), (4,), (64,)]


def assembly(folder: Path) -> dict[str, list[str]]:
    """Assembly of the kernels that each job adds to those before it."""
    root = str(Path(__file__).parents[1])
    paths = os.pathsep.join([root, *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, __file__],
        env={**os.environ, "PYTHONPATH": paths, "NBCNN_CACHE_DIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def main() -> None:
    found: dict[str, list[str]] = {}
    texts: list[str] = []
    emit = llvm.TargetMachine.emit_object

    def recording(machine, module):
        texts.append(machine.emit_assembly(module))
        return emit(machine, module)

    llvm.TargetMachine.emit_object = recording
    device = CpuDevice(1)
    for dtype in ("float32", "float64"):
        for op, name, shapes in jobs(dtype):
            arrays = [np.ones(s, "float64" if s == (4,) else dtype) for s in shapes]
            impl = next(impl for impl in device.impls(op) if impl.name == name)
            run(impl, op, arrays, device)
            found[f"{op.name}-{dtype}"], texts[:] = list(texts), []
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
