"""What the host's processor offers: vector width, registers, caches."""

import platform
from functools import cache
from pathlib import Path

from nbcnn.kernels.cpu import target
from nbcnn.kernels.cpu.call import Caps


@cache
def host_caps(threads: int) -> Caps:
    """Capabilities of the code that Numba makes here."""
    made_for = target.current()
    vector, registers, fma = made_for.vector, made_for.registers, made_for.fma
    streams = platform.machine().lower() in ("x86_64", "amd64")
    return Caps(threads, vector, registers, fma, *_cache_sizes(), streams, made_for.bfloat16)


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
