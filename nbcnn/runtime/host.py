"""What the host's processor offers: vector width, registers, caches."""

from functools import cache
from pathlib import Path

import llvmlite.binding as llvm
from numba.core.registry import cpu_target

from nbcnn.kernels.cpu.call import Caps

# Sums of 16 products: what these become tells the widest vectors, and whether multiply and add are
# fused.
_PROBE = """
declare <16 x float> @llvm.fmuladd.v16f32(<16 x float>, <16 x float>, <16 x float>)
define <16 x float> @probe(<16 x float> %x, <16 x float> %y) {
  %z = call <16 x float> @llvm.fmuladd.v16f32(<16 x float> %x, <16 x float> %y, <16 x float> %x)
  ret <16 x float> %z
}
"""


@cache
def host_caps(threads: int) -> Caps:
    """Capabilities of the code that Numba makes here.

    NUMBA_CPU_NAME and NUMBA_CPU_FEATURES choose another target (a name alone keeps the host's
    features), so this looks at compiled code rather than at the processor.
    """
    code = _machine_code()
    vector = 64 if "zmm" in code else 32 if "ymm" in code else 16
    registers = (
        32 if "zmm" in code or llvm.get_process_triple().startswith(("aarch64", "arm64")) else 16
    )
    fma = "fmadd" in code or "fmla" in code
    bfloat16 = vector == 64 and "+avx512bf16" in cpu_target.target_context.codegen()._tm_features
    return Caps(threads, vector, registers, fma, *_cache_sizes(), bfloat16)


def _machine_code() -> str:
    """Assembly of `_PROBE` for Numba's target."""
    target = cpu_target.target_context.codegen()._tm
    module = llvm.parse_assembly(_PROBE)
    module.triple = target.triple
    return target.emit_assembly(module)


def _cache_sizes() -> tuple[int, int, int]:
    """Data cache sizes in bytes of one core (L1, L2) and of what it shares (L3); common values
    where unknown.
    """
    sizes = {1: 32 << 10, 2: 512 << 10, 3: 8 << 20}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            level = int((index / "level").read_text())
            kind = (index / "type").read_text().strip()
            text = (index / "size").read_text().strip()
        except (OSError, ValueError):
            continue
        if kind != "Instruction" and level in sizes:
            unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1], 1)
            sizes[level] = int(text.rstrip("KM")) * unit
    return sizes[1], sizes[2], sizes[3]
