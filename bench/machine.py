"""What a figure was measured on: cores, instruction set, versions. Every result file carries it."""

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

PACKAGES = ("nbcnn", "numba", "llvmlite", "numpy", "scipy", "numba-cuda")
LEVELS = {"avx512f": "AVX-512", "avx2": "AVX2", "asimd": "NEON"}


def describe(*more_packages: str) -> dict:
    """The machine and the versions of what runs on it, of `more_packages` too; ready for JSON."""
    versions = {name: version(name) for name in (*PACKAGES, *more_packages)}
    return {
        "cpu": cpu_name(),
        "cores": cores(),
        "instruction_set": instruction_set(),
        "memory_gib": memory_gib(),
        "system": f"{platform.system()} {platform.machine()}",
        "revision": revision(),
        "python": platform.python_version(),
        "versions": {name: found for name, found in versions.items() if found},
    }


def revision() -> str | None:
    """The commit measured, with a + if files differ from it."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    try:
        done = subprocess.run(git, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cores() -> int | None:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def cpu_facts() -> dict[str, str]:
    """The first core's lines of /proc/cpuinfo; empty where there is no such file."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    lines = path.read_text().split("\n\n")[0].splitlines()
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def cpu_name() -> str:
    return cpu_facts().get("model name") or platform.processor() or platform.machine()


def instruction_set() -> str:
    """The widest vector instructions that kernels may use."""
    facts = cpu_facts()
    features = (facts.get("flags") or facts.get("Features") or "").split()
    found = [name for feature, name in LEVELS.items() if feature in features]
    return found[0] if found else "generic"


def memory_gib() -> float | None:
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, OSError, ValueError):
        return None
