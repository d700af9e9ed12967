"""From Python functions to machine code for one architecture, without a GPU.

Numba and libNVVM make PTX; nvJitLink makes a cubin of it. A cubin runs with every driver of its
major version of CUDA, which PTX of a newer version than the driver's does not.

This module imports Numba, and is imported when something has to be compiled (`cubins`).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from types import SimpleNamespace
from typing import Any, NamedTuple

from nbcnn.kernels.cuda import jit
from nbcnn.kernels.cuda.packing import Kind, numba_type

ENTRY = re.compile(rb"\.visible \.entry (\w+)\(")
# What decides about machine code, under the names of CUDA 12 and 13.
PACKAGES = (
    "numba",
    "numba-cuda",
    "llvmlite",
    "cuda-bindings",
    "nvidia-nvvm",
    "nvidia-cuda-nvcc-cu12",
    "nvidia-nvjitlink",
    "nvidia-nvjitlink-cu12",
)


class CompilerMissing(RuntimeError):
    """A library that compiling needs cannot be loaded; the text names it."""


class Architecture(NamedTuple):
    """What machine code is made for: `sm_90a`. The letter: instructions that later GPUs will not
    have, as those of Hopper's tensor cores.
    """

    major: int
    minor: int
    letter: str = ""

    def __str__(self) -> str:
        return f"sm_{self.major}{self.minor}{self.letter}"

    @property
    def numba(self) -> tuple:
        return (self.major, self.minor, self.letter) if self.letter else (self.major, self.minor)


def architecture(capability: tuple[int, int]) -> Architecture:
    """Of GPUs with this compute capability."""
    return Architecture(*capability, "a" if capability == (9, 0) else "")


@cache
def versions() -> str:
    """All versions that machine code depends on. Raises `CompilerMissing`."""
    found = [f"NVVM {_nvvm()}", "nvJitLink {}.{}".format(*nvjitlink().version())]
    for package in PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            continue
    return ", ".join(found)


def _nvvm() -> str:
    try:
        from numba.cuda.cudadrv.nvvm import NVVM

        library = NVVM()
        return f"{library.get_version()} {library.get_ir_version()}"
    except Exception as error:  # whichever way Numba and its loader say it
        raise CompilerMissing(f"libNVVM is missing ({_line(error)})") from error


@cache
def nvjitlink() -> Any:
    try:
        from cuda.bindings import nvjitlink

        nvjitlink.version()
        return nvjitlink
    except Exception as error:
        raise CompilerMissing(f"nvJitLink is missing ({_line(error)})") from error


def _line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Code(NamedTuple):
    """Machine code of one kernel: a cubin, the name in it, and what nvJitLink says about it
    (registers, spills).
    """

    entry: str
    cubin: bytes
    log: str = ""

    @property
    def registers(self) -> int:
        """Of a thread."""
        found = re.search(r"Used (\d+) registers", self.log)
        assert found is not None, self.log
        return int(found[1])

    @property
    def spilled(self) -> int:
        """Bytes of registers that are stored to memory, or loaded again, for want of room."""
        return sum(int(n) for n in re.findall(r"(\d+) bytes spill", self.log))


def ptx_of(kernel: jit.Kernel, kinds: tuple[Kind, ...], target: Architecture) -> str:
    from numba import cuda, types

    with compiling_for(target):
        ptx, _ = cuda.compile(
            kernel.py_func,
            types.void(*map(numba_type, kinds)),
            device=False,
            abi="numba",
            cc=target.numba,
            output="ptx",
            launch_bounds=kernel.bounds,
        )
    return ptx


def compiled(kernel: jit.Kernel, kinds: tuple[Kind, ...], target: Architecture) -> Code:
    """The machine code of a kernel for arguments of these types."""
    ptx = ptx_of(kernel, kinds, target).encode()
    (entry,) = ENTRY.findall(ptx)
    return Code(entry.decode(), *assembled(ptx, target))


def assembled(ptx: bytes, target: Architecture) -> tuple[bytes, str]:
    """The cubin of some PTX, and the assembler's messages."""
    link = nvjitlink()
    handle = link.create(2, [f"-arch={target}", "-verbose"])
    try:
        link.add_data(handle, link.InputType.PTX, ptx, len(ptx), "kernel.ptx")
        link.complete(handle)
        cubin = bytearray(link.get_linked_cubin_size(handle))
        link.get_linked_cubin(handle, cubin)
        log = bytearray(link.get_info_log_size(handle))
        link.get_info_log(handle, log)
        return bytes(cubin), log.decode(errors="replace").strip("\0")
    except link.nvJitLinkError as error:
        text = bytearray(link.get_error_log_size(handle))
        link.get_error_log(handle, text)
        reason = text.decode(errors="replace").strip("\0\n")
        raise RuntimeError(f"the assembler refused a kernel: {reason}") from error
    finally:
        link.destroy(handle)


_target: Architecture | None = None  # of the functions that kernels call, as compiled so far


@contextmanager
def compiling_for(target: Architecture) -> Iterator[None]:
    """Functions that kernels call are compiled for the current GPU, unless there is another answer
    to which one that is.
    """
    from numba.cuda import dispatcher
    from numba.cuda.core.compiler_lock import global_compiler_lock

    global _target
    with global_compiler_lock:
        if _target != target:
            for function in jit.DEVICE_FUNCTIONS:
                function.overloads.clear()
            _target = target
        before = dispatcher.get_current_device
        answer = SimpleNamespace(compute_capability=(target.major, target.minor))
        dispatcher.get_current_device = lambda: answer
        try:
            yield
        finally:
            dispatcher.get_current_device = before


@contextmanager
def standing_still() -> Iterator[None]:
    """Nobody else is inside the compiler: its process may be copied."""
    from numba.cuda.core.compiler_lock import global_compiler_lock

    with global_compiler_lock:
        yield
