"""Processes in the environments of other frameworks, kept alive and asked one at a time.

A worker is a script that ends in `serve.serve(...)`. It is idle unless asked, so that workers of
several frameworks can take turns on the same processors for as long as a comparison lasts.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


class WorkerError(RuntimeError):
    """A worker failed; the message ends with what it printed."""


class Worker:
    """One process. `python`: the interpreter of its environment, this one by default."""

    def __init__(self, script, *arguments, python=None, environment=None):
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed in `close`)
        paths = [str(HERE.parent), *filter(None, [os.environ.get("PYTHONPATH")])]
        own = {"PYTHONPATH": os.pathsep.join(paths)} if python is None else {"PYTHONPATH": ""}
        self._process = subprocess.Popen(
            [str(python or sys.executable), str(HERE / script), *map(str, arguments)],
            env={**os.environ, **own, **(environment or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def send(self, do, **arguments):
        """Ask without waiting; `answer` must follow."""
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failed("ended early") from None

    def answer(self):
        line = self._process.stdout.readline()
        if not line:
            raise self._failed("ended early")
        answer = json.loads(line)
        if isinstance(answer, dict) and "error" in answer:
            raise WorkerError(answer["error"].strip())
        return answer

    def ask(self, do, **arguments):
        self.send(do, **arguments)
        return self.answer()

    @property
    def pid(self):
        return self._process.pid

    def close(self):
        if self._process.stdin and not self._process.stdin.closed:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._errors.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def _failed(self, what):
        self._process.wait(timeout=30)
        self._errors.seek(0)
        return WorkerError(f"worker {what}: {self._errors.read()[-2000:].strip()}")


class Watch:
    """While it is open, notes how much of a processor all but certain processes use: 0.1 is a tenth
    of one. Always 0 where the system does not tell (it does on Linux).
    """

    def __init__(self, *pids):
        self.pids, self.others = pids, 0.0

    def __enter__(self):
        self._start, self._used = time.perf_counter(), self._foreign()
        return self

    def __exit__(self, *error):
        seconds = time.perf_counter() - self._start
        self.others = max(self._foreign() - self._used, 0.0) / max(seconds, 1e-9)

    def _foreign(self):
        return busy_seconds() - sum(map(cpu_seconds, self.pids))


def busy_seconds():
    """Time that all processors together have not been idle."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _waiting, interrupts, soft, stolen = map(int, fields)
    return (user + nice + system + interrupts + soft + stolen) / os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """Processor time of one process so far."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0.0
    fields = text.rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def environment(folder, name):
    """The interpreter of a peer's environment, or None if there is none."""
    python = Path(folder) / name / "bin" / "python"
    return python if python.exists() else None
