"""Machine code of kernels: from memory, from disk, or compiled and then kept on disk.

The folder is named by the sources of everything that kernels are made of and the versions of the
tools; a file in it by kernel, argument types and architecture. So nothing in it is ever stale, and
it can be filled on a machine without a GPU.
"""

import hashlib
import os
import warnings
from collections.abc import Sequence
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import NamedTuple

from nbcnn.kernels import building, disk
from nbcnn.kernels.cuda import compiling, jit
from nbcnn.kernels.cuda.compiling import Architecture, Code
from nbcnn.kernels.cuda.identity import identity
from nbcnn.kernels.cuda.packing import Kind, shown

SUFFIX = ".cubin"
PACKAGE = Path(__file__).parents[2]
SOURCES = ("kernels", "kernels/cuda", "ops")  # folders of the package


def sources_digest() -> str:
    digest = hashlib.sha256()
    for part in SOURCES:
        for source in sorted((PACKAGE / part).glob("*.py")):
            digest.update(source.name.encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()


_SOURCES = sources_digest()  # those that this process runs, whatever happens to the files later


@cache
def folder() -> Path:
    """Where this version's kernels are: in NBCNN_CACHE_DIR or, by default, ~/.cache/nbcnn."""
    digest = hashlib.sha256(f"{_SOURCES} {compiling.versions()}".encode()).hexdigest()
    found = disk.base() / f"cuda-{digest[: disk.DIGEST]}"
    with suppress(OSError):
        os.utime(found)  # in use
    return found


class Wanted(NamedTuple):
    """A kernel for arguments of some types on some architecture."""

    kernel: jit.Kernel
    kinds: tuple[Kind, ...]
    target: Architecture

    @property
    def name(self) -> str:
        """The same in every process."""
        kinds = ", ".join(map(shown, self.kinds))
        function = identity(self.kernel.py_func, self.kernel.constants)
        return f"{function}({kinds}) bounds {self.kernel.bounds} {self.target}"

    def build(self) -> Code:
        return compiling.compiled(*self)

    def store(self) -> Code:
        """Compile, and keep it on disk if the folder can be written."""
        code = self.build()
        data = b"\0".join((code.entry.encode(), code.cubin))
        try:
            disk.write(_path(self.name), disk.sealed(self.name, data))
        except OSError as error:
            _warn(error)
        return code

    def load(self) -> Code | None:
        """From disk; None where it is not there, or not whole."""
        try:
            data = disk.unsealed(self.name, _path(self.name).read_bytes())
        except OSError:
            return None
        if data is None:
            return None
        entry, _, cubin = data.partition(b"\0")
        return Code(entry.decode(), cubin)


_codes: dict[Wanted, Code] = {}


class Found(NamedTuple):
    """Machine code in the order that was asked for, and how many kernels had to be compiled."""

    codes: list[Code]
    compiled: int


def get(wanted: Sequence[Wanted]) -> Found:
    """Machine code of kernels; missing ones are compiled, several at a time where it pays.

    Raises `CompilerMissing` where that cannot be.
    """
    new = [each for each in dict.fromkeys(wanted) if each not in _codes]
    found = {each: each.load() for each in new}
    missing = [each for each, code in found.items() if code is None]
    if missing and writable():
        building.build([partial(_store, each) for each in missing], compiling.standing_still)
        found.update({each: each.load() for each in missing})
    for each, code in found.items():
        _codes[each] = code if code is not None else each.store()
    return Found([_codes[each] for each in wanted], len(missing))


def _store(wanted: Wanted) -> None:
    wanted.store()


def writable() -> bool:
    """Whether kernels can be kept; makes the folder. Where not, warns once a process."""
    try:
        if not folder().is_dir():
            folder().mkdir(parents=True, exist_ok=True)
            disk.clean(folder(), SUFFIX)
    except OSError as error:
        _warn(error)
        return False
    return os.access(folder(), os.W_OK)


def _path(name: str) -> Path:
    return folder() / (hashlib.sha256(name.encode()).hexdigest()[:32] + SUFFIX)


_warned = False


def _warn(error: OSError) -> None:
    global _warned
    if not _warned:
        _warned = True
        text = f"compiled kernels cannot be kept, the next process must compile again: {error}"
        warnings.warn(text, RuntimeWarning, stacklevel=3)
