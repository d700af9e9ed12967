"""Tables of results that modules of `cuda_cases` print as JSON, in processes of their own: Numba's
simulator and its real target cannot live in one.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

TESTS = Path(__file__).resolve().parent
needs_numba_cuda = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("numba_cuda", "nvidia")),
    reason="needs numba-cuda: pip install 'nbcnn[cuda13]'",
)


def outputs(
    *arguments: str, shares: int = 0, running: int = 0, simulated: bool = False, timeout: int = 900
) -> list[str]:
    """What `python ARGUMENTS` prints. With `shares` so many processes run, each with its number and
    theirs as last arguments; with `running` only the first of them.
    """
    paths = (str(TESTS.parent), str(TESTS), os.environ.get("PYTHONPATH", ""))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    environment["NUMBA_ENABLE_CUDASIM"] = str(int(simulated))
    endings = [(str(i), str(shares)) for i in range(running or shares)] or [()]
    processes = [
        subprocess.Popen(
            [sys.executable, *arguments, *ending],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for ending in endings
    ]
    try:
        ended = [process.communicate(timeout=timeout) for process in processes]
    finally:
        for process in processes:
            process.kill()  # what has not ended in time
    assert not any(p.returncode for p in processes), "".join(stderr for _, stderr in ended)
    return [stdout for stdout, _ in ended]


def table(module: str, *arguments: str, **options: Any) -> dict[str, str]:
    """What is wrong with each row of a table, or nothing; `options` of `outputs`."""
    printed = outputs("-m", f"cuda_cases.{module}", *arguments, **options)
    return {name: wrong for text in printed for name, wrong in json.loads(text).items()}


def faults(results: dict[str, str]) -> str:
    """The rows of a table that are wrong, as text."""
    wrong = {name: text for name, text in results.items() if text}
    return "\n".join(f"{name}: {text[-600:]}" for name, text in wrong.items())
