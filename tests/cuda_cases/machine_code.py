"""Kernels as machine code of a GPU's architecture, and what can be read in it; no GPU is needed."""

import re
import subprocess
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple


class Machine(NamedTuple):
    """Machine code of a kernel. `log`: what the assembler says, at length."""

    cubin: bytes
    log: str

    @property
    def registers(self) -> int:
        return int(re.search(r"Used (\d+) registers", self.log)[1])

    @property
    def spilled(self) -> int:
        """Bytes of registers that are stored to memory and loaded again."""
        return sum(int(n) for n in re.findall(r"(\d+) bytes spill", self.log))

    def instructions(self) -> list[str]:
        """Names of the instructions, in order."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "kernel.cubin"
            path.write_bytes(self.cubin)
            command = [disassembler(), "-c", str(path)]
            text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)", text, re.MULTILINE)


def disassembler() -> str:
    """The program of the package nvidia-cuda-nvdisasm."""
    import nvidia

    found = [f for root in nvidia.__path__ for f in Path(root).glob("*/bin/nvdisasm*")]
    return str(found[0])


def pretend(capability: tuple) -> None:
    """Functions that kernels call are compiled for the current device; without a GPU we name
    one.
    """
    from numba.cuda import dispatcher

    number = capability[:2]
    dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=number)


def assembled(ptx: str, capability: tuple) -> Machine:
    """Raises where the assembler refuses the PTX or a symbol is missing."""
    from cuda.bindings import nvjitlink

    text = ptx.encode()
    handle = nvjitlink.create(2, ["-arch=sm_" + "".join(map(str, capability)), "-verbose"])
    try:
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel.ptx")
        nvjitlink.complete(handle)
    except nvjitlink.nvJitLinkError as error:
        said = bytearray(nvjitlink.get_error_log_size(handle))
        nvjitlink.get_error_log(handle, said)
        raise RuntimeError(said.decode()) from error
    code = bytearray(nvjitlink.get_linked_cubin_size(handle))
    nvjitlink.get_linked_cubin(handle, code)
    log = bytearray(nvjitlink.get_info_log_size(handle))
    nvjitlink.get_info_log(handle, log)
    return Machine(bytes(code), log.decode())


def compiled(kernel: Any, signature: Any, capability: tuple, bounds: int | None = None) -> Machine:
    """`capability`: (9, 0), or (9, 0, "a") for what only this architecture has."""
    from numba import cuda

    pretend(capability)
    options = {} if bounds is None else {"launch_bounds": bounds}
    ptx, _ = cuda.compile(
        kernel.py_func,
        signature,
        device=False,
        abi="numba",
        cc=capability,
        output="ptx",
        **options,
    )
    return assembled(ptx, capability)
