"""Scripts as users of Keras write them, in `scripts/`: each says `import keras`, trains, and checks
what came out. They run with nbcnn as `keras`, on the CPU and, as small as can be, on a simulated
GPU, and with Keras itself where it is installed.

    python tests/scripts/unet.py                    # nbcnn
    LIBRARY=keras python tests/scripts/unet.py      # Keras, with any of its backends
    NBCNN_SCRIPTS=all python -m pytest tests/test_scripts.py    # all of them in the simulator, too
"""

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from conftest import ROOT

SCRIPTS = sorted(path.stem for path in (ROOT / "tests/scripts").glob("*.py"))
SCRIPTS.remove("library")
# In the simulator each takes half a minute to minutes.
SIMULATED = SCRIPTS if os.environ.get("NBCNN_SCRIPTS") == "all" else ["autoencoder", "gan"]


class Runs:
    """All runs of one kind, two at a time, started when the first is asked for."""

    def __init__(self, names: list[str], **environment: str) -> None:
        self.names, self.environment = names, environment
        self.found: dict[str, Future] = {}

    def check(self, name: str, folder) -> None:
        if not self.found:
            pool = ThreadPoolExecutor(2)
            self.found = {each: pool.submit(self.run, each, folder) for each in self.names}
        done = self.found[name].result()
        assert done.returncode == 0, f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}"

    def run(self, name: str, folder) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(ROOT / "tests/scripts" / f"{name}.py")],
            cwd=folder,
            env={**os.environ, **self.environment},
            capture_output=True,
            text=True,
            timeout=1200,
        )


ON_THE_CPU = Runs(SCRIPTS, LIBRARY="nbcnn", NBCNN_DEVICE="cpu", TINY="0")
IN_THE_SIMULATOR = Runs(
    SIMULATED, LIBRARY="nbcnn", NBCNN_DEVICE="cuda", NUMBA_ENABLE_CUDASIM="1", TINY="1"
)
WITH_KERAS = Runs(SCRIPTS, LIBRARY="keras", TINY="0")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("scripts")


@pytest.mark.parametrize("name", SCRIPTS)
def test_on_the_cpu(name, folder):
    ON_THE_CPU.check(name, folder)


@pytest.mark.parametrize("name", SIMULATED)
def test_in_the_simulator(name, folder):
    IN_THE_SIMULATOR.check(name, folder)


@pytest.mark.skipif(
    importlib.util.find_spec("keras") is None, reason="needs Keras: pip install keras jax"
)
@pytest.mark.parametrize("name", SCRIPTS)
def test_with_keras(name, folder):
    WITH_KERAS.check(name, folder)


def test_there_are_enough():
    assert len(SCRIPTS) >= 20
    for name in SCRIPTS:
        text = (ROOT / "tests/scripts" / f"{name}.py").read_text()
        assert "import keras\n" in text
        assert "nbcnn" not in text
