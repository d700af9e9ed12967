"""What the host's processor offers: vector width, registers, caches."""

from functools import cache
from pathlib import Path

from nbcnn.kernels.cpu.call import Caps


@cache
def host_caps(threads: int) -> Caps:
    """Capabilities of the target that Numba compiles for, which NUMBA_CPU_NAME / NUMBA_CPU_FEATURES may lower."""
    features = _target_features()
    if features.get("avx512f") and features.get("avx512vl"):
        vector, registers = 64, 32
    elif features.get("avx2"):
        vector, registers = 32, 16
    elif features.get("neon"):
        vector, registers = 16, 32
    else:
        vector, registers = 16, 16
    fma = bool(features.get("fma") or features.get("neon"))
    l1, l2, l3 = _cache_sizes()
    return Caps(threads, vector, registers, fma, l1, l2, l3)


def _target_features() -> dict[str, bool]:
    import llvmlite.binding as llvm
    from numba.core import config
    from numba.core.registry import cpu_target

    name = config.CPU_NAME
    if name is None or name == "host":
        features = dict(llvm.get_host_cpu_features())
        if llvm.get_process_triple().startswith(("aarch64", "arm64")):
            features["neon"] = True
        return features
    machine = cpu_target.target_context.codegen()._tm_features
    names = {item[1:]: True for item in machine.split(",") if item.startswith("+")}
    return {**_implied(name), **names}


def _implied(cpu_name: str) -> dict[str, bool]:
    """Features of the few processor names used to run the narrower variants on a wider machine."""
    avx2 = {"avx2": True, "fma": True}
    return {
        "haswell": avx2,
        "x86-64-v3": avx2,
        "skylake": avx2,
        "znver3": avx2,
        "x86-64-v4": {**avx2, "avx512f": True, "avx512vl": True},
        "skylake-avx512": {**avx2, "avx512f": True, "avx512vl": True},
    }.get(cpu_name, {})


def _cache_sizes() -> tuple[int, int, int]:
    """Data cache sizes in bytes of one core (L1, L2) and of what it shares (L3); common values where unknown."""
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
