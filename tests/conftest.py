"""What all tests share: settings of hypothesis, and running a script as a user would."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parents[1]

# No deadline: the first example may compile a kernel. Derandomized: all see the same failures.
settings.register_profile(
    "nbcnn", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("nbcnn")


@pytest.fixture(scope="session")
def root():
    """The repository's root folder."""
    return ROOT


@pytest.fixture
def python(tmp_path):
    """Run a script in a new process: python("a.py", "-x", NBCNN_DEVICE="cpu"); gives its output.

    It works in a temporary folder and imports this checkout; a failing script fails the test.
    """

    def run(*arguments, timeout=300, **environment):
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        done = subprocess.run(
            [sys.executable, *map(str, arguments)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(paths), **environment},
            capture_output=True,
            text=True,
            timeout=timeout,
        )
        assert done.returncode == 0, f"exit status {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    return run
