"""Compiled kernels on disk: one file each, in a folder named by everything that they depend on.

The folder's name is a digest of all sources that kernels are made of, the versions of Python, Numba
and LLVM, the processor and Numba's settings (`target`), so that nothing in it is ever stale and
none of it needs a time stamp. Files are written in one move and sealed (`disk`). Where the folder
cannot be read or written, kernels are compiled in each process anew.
"""

import hashlib
import os
import time
import warnings
from contextlib import suppress
from functools import cache
from pathlib import Path

from nbcnn.kernels import disk
from nbcnn.kernels.cpu import target

SUFFIX = ".kernel"
PACKAGE = Path(__file__).parents[2]
SOURCES = (
    "kernels",
    "kernels/cpu",
    "ops",
)  # folders of the package that kernels take anything from


def load(name: str) -> bytes | None:
    """The machine code stored under this name, None where there is none that is whole."""
    try:
        data = _path(name).read_bytes()
    except OSError:
        return None
    return disk.unsealed(name, data)


def contains(name: str) -> bool:
    """Whether there is a file of this name, whole or not."""
    return os.path.isfile(_path(name))  # False also where the folder cannot be searched


def store(name: str, code: bytes) -> None:
    """Keep machine code under this name, if the folder can be written."""
    if writable():
        try:
            disk.write(_path(name), disk.sealed(name, code))
        except OSError as error:
            _warn(error)


def writable() -> bool:
    """Whether kernels can be kept; makes the folder. Where not, warns once a process."""
    try:
        if not folder().is_dir():
            folder().mkdir(parents=True, exist_ok=True)
            clean(folder())
    except OSError as error:
        _warn(error)
        return False
    return os.access(folder(), os.W_OK)


def covers(module: str) -> bool:
    """Whether the folder's name depends on the source that this module was loaded from."""
    parts = module.split(".")
    return parts[0] == PACKAGE.name and "/".join(parts[1:-1]) in SOURCES and _as_loaded()


@cache
def _as_loaded() -> bool:
    """Whether the sources are there, and those that this process runs: after an update they tell
    nothing of its kernels.
    """
    return bool(_LOADED) and _state() == _LOADED


def _state() -> list[tuple[str, int, int]]:
    found = [(path, path.stat()) for path in _sources()]
    return [(path.name, stat.st_mtime_ns, stat.st_size) for path, stat in found]


def _sources() -> list[Path]:
    return sorted(path for part in SOURCES for path in (PACKAGE / part).glob("*.py"))


@cache
def folder() -> Path:
    """Where this version's kernels are: in NBCNN_CACHE_DIR or, by default, ~/.cache/nbcnn."""
    found = disk.base() / fingerprint()
    try:
        os.utime(found)  # in use
    except OSError:
        pass
    return found


def fingerprint() -> str:
    """Digest of everything that machine code depends on beside the kernel's own name."""
    digest = hashlib.sha256()
    for source in _sources():
        digest.update(source.name.encode() + source.read_bytes())
    digest.update(target.current().identity.encode())
    return digest.hexdigest()[:16]


def confirm() -> None:
    """Called before anything is compiled, when Numba can tell what it compiles for: had this been
    known wrongly, kernels are in another folder.
    """
    if not target.confirm():
        folder.cache_clear()
        _as_loaded.cache_clear()


def clean(current: Path) -> None:
    """Remove what belongs to other versions or processors and has not been used for long."""
    disk.clean(current, SUFFIX)
    oldest = time.time() - disk.KEPT_SECONDS
    for file in current.parent.glob("*" + target.SUFFIX):
        with suppress(OSError):  # another process may be at it too
            if file.stat().st_mtime < oldest:
                file.unlink()


def _path(name: str) -> Path:
    return folder() / (hashlib.sha256(name.encode()).hexdigest()[:32] + SUFFIX)


def _warn(error: OSError) -> None:
    global _warned
    if not _warned:
        _warned = True
        text = f"compiled kernels cannot be kept, the next process must compile again: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=3)


_warned = False
_LOADED = _state()
