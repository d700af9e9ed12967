"""What code is made for here: the processor as Numba sees it, Numba's settings, all versions.

Only Numba and LLVM can tell. A process whose kernels are all on disk does without them, so the
answer is kept there as well, under a digest of everything that it is drawn from: the processor's
name and features as Linux gives them, Numba's environment variables and its file of settings, the
installed versions. Where Numba is loaded anyway it is asked, and what it says counts: `confirm`
compares when the first kernel has to be compiled.
"""

import hashlib
import json
import os
import sys
from contextlib import suppress
from functools import cache
from importlib import util
from pathlib import Path
from typing import NamedTuple

from nbcnn.kernels import disk
from nbcnn.kernels.cpu import images

SUFFIX = ".target"
# What tells an x86 processor's features, in Linux's words.
PROCESSOR = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
NUMBA_FILE = ".numba_config.yaml"  # in the working directory; Numba takes settings from it
# Numba's settings that change the machine code.
SETTINGS = (
    "OPT", "LOOP_VECTORIZE", "SLP_VECTORIZE", "USING_SVML", "DISABLE_INTEL_SVML", "BOUNDSCHECK",
    "DEBUGINFO_DEFAULT", "LLVM_PASS_TIMINGS",
)  # fmt: skip

# Sums of 16 products: what these become tells the widest vectors, and whether multiply and add are
# fused.
_PROBE = """
declare <16 x float> @llvm.fmuladd.v16f32(<16 x float>, <16 x float>, <16 x float>)
define <16 x float> @probe(<16 x float> %x, <16 x float> %y) {
  %z = call <16 x float> @llvm.fmuladd.v16f32(<16 x float> %x, <16 x float> %y, <16 x float> %x)
  ret <16 x float> %z
}
"""


class Target(NamedTuple):
    """identity: all that machine code depends on beside its source; vector: bytes of the widest
    one; registers: how many of them; fma: whether multiply and add are fused; bfloat16: whether
    there are dot products of pairs of bfloat16.
    """

    identity: str
    vector: int
    registers: int
    fma: bool
    bfloat16: bool


@cache
def current() -> Target:
    """The target of this process: from disk, or Numba's answer."""
    if "numba" in sys.modules:  # somebody may have changed its settings since
        return ask()
    file = _file()
    found = _read(file) if file else None
    if found is None:
        found = ask()
        if file:
            _write(file, found)
    return found


def confirm() -> bool:
    """Whether the target is what Numba says; where not, from now on it is."""
    said = ask()
    if current() == said:
        return True
    _forget(_file())
    current.cache_clear()  # Numba is loaded: it will be asked
    return False


@cache
def ask() -> Target:
    """Numba's answer. The target is what it compiles for: NUMBA_CPU_NAME and NUMBA_CPU_FEATURES
    choose another one (a name alone keeps the host's features), so this looks at compiled code
    rather than at the processor.
    """
    import llvmlite
    import llvmlite.binding as llvm
    import numba
    from numba.core import config
    from numba.core.registry import cpu_target

    codegen = cpu_target.target_context.codegen()
    versions = (sys.version_info[:2], numba.__version__, llvmlite.__version__)
    settings = [(name, str(getattr(config, name, None))) for name in SETTINGS]
    module = llvm.parse_assembly(_PROBE)
    module.triple = codegen._tm.triple
    code = codegen._tm.emit_assembly(module)
    vector = 64 if "zmm" in code else 32 if "ymm" in code else 16
    many = "zmm" in code or llvm.get_process_triple().startswith(("aarch64", "arm64"))
    return Target(
        identity=repr((versions, codegen.magic_tuple(), settings)),
        vector=vector,
        registers=32 if many else 16,
        fma="fmadd" in code or "fmla" in code,
        bfloat16=vector == 64 and "+avx512bf16" in codegen._tm_features,
    )


def _file() -> Path | None:
    """Where the answer is kept; None where it must be asked for."""
    clues = [_processor(), _installed("numba"), _installed("llvmlite")]
    if not images.SUPPORTED or None in clues:
        return None
    environment = sorted(item for item in os.environ.items() if item[0].startswith("NUMBA_"))
    settings = Path(NUMBA_FILE).read_bytes() if os.path.isfile(NUMBA_FILE) else b""
    vector_math = os.path.exists(Path(sys.prefix, "lib", "libsvml.so"))  # Numba uses it if it can
    try:
        source = Path(__file__).read_bytes()
    except OSError:  # only byte code, or a zip
        return None
    text = repr((sys.version, clues, environment, settings, vector_math, source))
    return disk.base() / (hashlib.sha256(text.encode()).hexdigest()[:16] + SUFFIX)


def _processor() -> str | None:
    """What Linux says about the first processor, without what changes from moment to moment."""
    found = {}
    try:
        with open("/proc/cpuinfo") as lines:
            for line in lines:
                name, colon, value = line.partition(":")
                if not colon:  # the next processor
                    break
                found[name.strip()] = value.strip()
    except OSError:
        pass
    return repr([found[name] for name in PROCESSOR]) if set(PROCESSOR) <= set(found) else None


def _installed(package: str) -> tuple[str, bytes] | None:
    """Where a package is, and the file that names its version; it is not imported."""
    spec = util.find_spec(package)
    if spec is None or spec.origin is None:
        return None
    try:
        return spec.origin, Path(spec.origin).with_name("_version.py").read_bytes()
    except OSError:
        return None


def _read(file: Path) -> Target | None:
    try:
        kept = json.loads(file.read_bytes())
        with suppress(OSError):  # somebody else's, or on a disk that is only read
            os.utime(file)  # in use
        if [*map(type, kept)] == [str, int, int, bool, bool]:
            return Target(*kept)
    except (OSError, ValueError, TypeError):
        pass
    return None


def _write(file: Path, target: Target) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        disk.write(file, json.dumps(target).encode())
    except OSError:  # the cache of kernels tells
        pass


def _forget(file: Path | None) -> None:
    try:
        if file:
            file.unlink(missing_ok=True)
    except OSError:
        pass
