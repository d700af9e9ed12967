"""Instructions of a kernel's machine code, by the disassembler of the package
nvidia-cuda-nvdisasm; no GPU is needed.
"""

import re
import subprocess
import tempfile
from pathlib import Path

INSTRUCTION = re.compile(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?\w+\s+)?([A-Z][\w.]*)", re.MULTILINE)


def disassembler() -> str:
    """Its path. Raises RuntimeError without the package."""
    import nvidia

    found = [f for root in nvidia.__path__ for f in Path(root).glob("*/bin/nvdisasm*")]
    if not found:
        raise RuntimeError("the disassembler is missing: pip install nvidia-cuda-nvdisasm")
    return str(found[0])


def instructions(cubin: bytes) -> list[str]:
    """Names of the instructions, in order."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(cubin)
        command = [disassembler(), "-c", str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return INSTRUCTION.findall(text)
