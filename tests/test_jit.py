"""Compiled kernels: what is kept on disk, when it is used, and several processes at once."""

import os
import shutil
import signal
import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pytest

from nbcnn.kernels import building, disk
from nbcnn.kernels.cpu import jit, kernel_cache, linking, program, slabs
from nbcnn.kernels.cpu.call import Call
from nbcnn.runtime.cpu import Program
from nbcnn.runtime.crew import crew

# A prediction; prints how many functions this process has compiled, and the result.
PREDICTION = """
import numpy as np
import nbcnn as keras
from nbcnn.kernels.cpu import linking

built = []
machine_code = linking.machine_code
linking.machine_code = lambda symbol, *rest: built.append(symbol) or machine_code(symbol, *rest)
layers = keras.layers
keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((6, 6, 1)), layers.MaxPooling2D(2), layers.Flatten(),
                          layers.Dense(3, activation="relu"), layers.Softmax(),
                          layers.Activation("sigmoid")])
x = np.arange(72, dtype="float32").reshape(2, 6, 6, 1) / 72
result = model.predict(x, verbose=0)
print(len(built), *result.ravel())
"""

on_linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")


def start(cache, **environment):
    """A process that runs `PREDICTION` with a kernel folder."""
    paths = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    settings = {"PYTHONPATH": paths, "NBCNN_CACHE_DIR": str(cache), **environment}
    command = [sys.executable, "-c", PREDICTION]
    return subprocess.Popen(
        command, env={**os.environ, **settings}, stdout=subprocess.PIPE, text=True
    )


def finish(process):
    """The number of functions that the process itself has compiled, and its result."""
    built, *result = process.communicate(timeout=300)[0].split()
    assert process.returncode == 0
    return int(built), result


def predict(cache, **environment):
    return finish(start(cache, **environment))


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """A kernel folder after a prediction, how many functions that compiled, and the result."""
    cache = tmp_path_factory.mktemp("filled") / "not" / "there"
    built, result = predict(cache, NBCNN_BUILD_PROCESSES="1")
    assert built > 4
    assert len(result) == 6
    return cache, built, result


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for the kernels of this process."""
    crew()  # so that nothing but kernels is compiled from here on
    jit.compile_function(program.LEAD)
    place = tmp_path / "kernels" / "0123456789abcdef"
    monkeypatch.setattr(kernel_cache, "folder", lambda: place)
    forget_kernels(monkeypatch)
    return place


def forget_kernels(monkeypatch):
    """As if this process had not loaded any kernel, only what runs them."""
    kept = {n: a for n, a in jit._addresses.items() if n.startswith(program.__name__)}
    monkeypatch.setattr(jit, "_addresses", kept)


def sums():
    """A program of one of the package's kernels, and what it must give."""
    partials, total = np.arange(12.0), np.empty(4)
    call = Call(slabs.sum_slabs, 1, (3, 4, 0, partials, total))
    return Program([call], 1), total, partials.reshape(3, 4).sum(0)


# -- on disk ------------------------------------------------------------------------------------


def test_a_second_process_compiles_nothing(filled):
    cache, _, result = filled
    assert predict(cache) == (0, result)


def test_files_that_are_not_whole_are_built_again(filled, tmp_path):
    cache, built, result = filled
    cache = shutil.copytree(cache, tmp_path / "cache")
    files = sorted(cache.glob("*/*.kernel"))
    assert len(files) == built
    contents = [file.read_bytes() for file in files]
    files[0].write_bytes(b"")
    files[1].write_bytes(contents[1][:-1])
    files[2].write_bytes(contents[2][:100] + bytes([contents[2][100] ^ 1]) + contents[2][101:])
    files[3].write_bytes(contents[0])  # another kernel's
    assert predict(cache) == (4, result)
    assert predict(cache) == (0, result)


def test_without_a_usable_folder_results_are_right(filled, tmp_path):
    _, built, result = filled
    (tmp_path / "file").write_text("")
    assert predict(tmp_path / "file" / "cache", NBCNN_BUILD_PROCESSES="4") == (built, result)


def test_an_unusable_folder_is_told_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(kernel_cache, "folder", lambda: tmp_path / "file" / "cache")
    monkeypatch.setattr(kernel_cache, "_warned", False)
    with pytest.warns(RuntimeWarning, match="must compile again"):
        kernel_cache.store("a", b"code")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kernel_cache.store("b", b"code")
    assert kernel_cache.load("a") is None


@pytest.mark.parametrize("name", ["n" * 300, "file/cache"])
def test_in_a_folder_that_cannot_be_searched_there_is_nothing(name, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(kernel_cache, "folder", lambda: tmp_path / name)
    assert not kernel_cache.contains("a")
    assert kernel_cache.load("a") is None


@pytest.mark.skipif(os.name != "posix", reason="permissions as in POSIX")
def test_the_umask_tells_who_may_read_kernels(tmp_path):
    for mask in (0o022, 0o077):
        before = os.umask(mask)
        try:
            disk.write(tmp_path / "0.kernel", b"code")
        finally:
            os.umask(before)
        assert (tmp_path / "0.kernel").stat().st_mode & 0o777 == 0o666 & ~mask
    assert [path.name for path in tmp_path.iterdir()] == ["0.kernel"]


def test_two_processes_on_an_empty_folder(filled, tmp_path):
    both = [start(tmp_path / "cache") for _ in range(2)]
    for process in both:
        assert finish(process)[1] == filled[2]


def test_kernels_from_elsewhere_stay_in_memory(folder):
    @jit.kernel
    def fill(task, thread, y):
        y[task] = 3.0

    y = np.zeros(2)
    Program([Call(fill, 2, (y,))], 1).run()
    assert y.tolist() == [3.0, 3.0]
    assert not folder.exists() or not list(folder.iterdir())


def test_stored_kernels_are_loaded_not_built(folder, monkeypatch):
    sum_up, total, expected = sums()
    sum_up.run()
    np.testing.assert_array_equal(total, expected)
    assert len(list(folder.iterdir())) == 1
    forget_kernels(monkeypatch)
    monkeypatch.setattr(linking, "machine_code", None)
    sum_up, total, expected = sums()
    sum_up.run()
    np.testing.assert_array_equal(total, expected)


# -- the folder's name --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("edited", "matters"),
    [("kernels/cpu/pool.py", True), ("kernels/scalar.py", True), ("ops/pool.py", True),
     ("layers/pool.py", False)],
)  # fmt: skip
def test_edited_sources_have_another_folder(edited, matters, tmp_path, monkeypatch):
    shutil.copytree(
        kernel_cache.PACKAGE, tmp_path / "nbcnn", ignore=shutil.ignore_patterns("*.npz")
    )
    monkeypatch.setattr(kernel_cache, "PACKAGE", tmp_path / "nbcnn")
    before = kernel_cache.fingerprint()
    assert kernel_cache.fingerprint() == before
    with (tmp_path / "nbcnn" / edited).open("a") as file:
        file.write("\n# edited\n")
    assert (kernel_cache.fingerprint() != before) == matters


def test_settings_have_another_folder(python, tmp_path):
    script = tmp_path / "fingerprint.py"
    script.write_text("from nbcnn.kernels.cpu import kernel_cache as k\nprint(k.fingerprint())")
    variants = [
        {},
        {"NUMBA_OPT": "1"},
        {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
        {"NUMBA_LOOP_VECTORIZE": "0"},
    ]
    names = [python(script, **variant) for variant in variants]
    assert len(set(names)) == len(variants)
    assert python(script) == names[0]


@pytest.mark.parametrize(
    ("module", "covered"),
    [("nbcnn.kernels.cpu.pool", True), ("nbcnn.kernels.scalar", True), ("nbcnn.layers.pool", False),
     ("nbcnn.kernels.cuda.pool", False), ("tests.test_jit", False), ("__main__", False)],
)  # fmt: skip
def test_covers_what_the_name_depends_on(module, covered):
    assert kernel_cache.covers(module) == covered


def test_a_process_whose_sources_were_updated_or_are_absent_keeps_nothing(monkeypatch):
    loaded = kernel_cache._LOADED
    name, time_of_change, size = loaded[0]
    for other in ([], [(name, time_of_change - 1, size), *loaded[1:]]):
        monkeypatch.setattr(kernel_cache, "_LOADED", other)
        kernel_cache._as_loaded.cache_clear()
        assert not kernel_cache.covers("nbcnn.kernels.cpu.pool")
    monkeypatch.setattr(kernel_cache, "_LOADED", loaded)
    kernel_cache._as_loaded.cache_clear()
    assert kernel_cache.covers("nbcnn.kernels.cpu.pool")


def test_old_folders_go(tmp_path):
    def make(name, days, file="0.kernel"):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("")
        when = time.time() - days * 24 * 3600
        os.utime(tmp_path / name, (when, when))

    recent = [f"{i:016x}" for i in range(12)]
    for age, name in enumerate(recent):
        make(name, age)
    make("f" * 16, 40)
    make("e" * 16, 50, "notes.txt")
    make("models", 400)
    kernel_cache.clean(tmp_path / recent[3])
    left = {path.name for path in tmp_path.iterdir()}
    kept = [*recent[:3], recent[3], *recent[4:9]]
    assert left == {*kept, "e" * 16, "models"}


# -- names --------------------------------------------------------------------------------------


def test_constants_distinguish_kernels():
    def factory(value):
        @jit.kernel(constants=(value,))
        def fill(task, thread, y):
            y[task] = value

        return fill

    y, z = np.zeros(1), np.zeros(1)
    Program([Call(factory(1.0), 1, (y,)), Call(factory(2.0), 1, (z,))], 1).run()
    assert (y[0], z[0]) == (1.0, 2.0)


def test_functions_of_one_name_in_two_kernels_are_two_functions():
    """Helpers are private to their kernels, also where they stay functions of their own."""

    def factory(value):
        @jit.helper
        def slow(x, n):
            if n == 0:
                return x
            for i in range(n):
                x = x * 0.5 + value / (i + x)
            return x

        @jit.kernel(constants=("private", value))
        def apply(task, thread, y):
            y[task] = slow(slow(slow(1.0, task), 2 * task), 3 * task) + value

        return apply

    results = []
    for value in (1.0, 5.0):
        y = np.zeros(1)
        Program([Call(factory(value), 1, (y,))], 1).run()
        results.append(float(y[0]))
    assert results == [2.0, 6.0]


def test_arguments_must_be_contiguous():
    with pytest.raises(ValueError, match=r"kernel arguments must be C-contiguous, got strides"):
        jit.pack((np.zeros((4, 4))[:, ::2],))


def test_packed_words():
    x = np.zeros((2, 3), np.float32)
    kinds, words, pointers = jit.pack((7, 0.5, x))
    assert [str(kind) for kind in kinds] == ["int64", "float64", "array(float32, 2d, C)"]
    assert words[0] == 7
    assert words[1:2].view(np.float64)[0] == 0.5
    assert words[2:].tolist() == [0, 0, 6, 4, x.ctypes.data, 2, 3, 12, 4]
    assert [words[at] for at in pointers] == [x.ctypes.data]


# -- several processes --------------------------------------------------------------------------


@pytest.fixture
def three_processes(monkeypatch):
    monkeypatch.setenv("NBCNN_BUILD_PROCESSES", "3")


def test_how_many_processes(monkeypatch):
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("NBCNN_BUILD_PROCESSES", "4")
    assert [building.process_count(tasks) for tasks in (0, 1, 2, 3, 4, 6, 8, 99)] == [
        1, 1, 1, 1, 2, 3, 4, 4]  # fmt: skip
    monkeypatch.setenv("NBCNN_BUILD_PROCESSES", "many")
    assert 1 <= building.process_count(99) <= building.MOST_PROCESSES
    monkeypatch.setattr(sys, "platform", "darwin")
    assert building.process_count(99) == 1


@on_linux
def test_every_task_is_run_by_one_process(three_processes, tmp_path):
    def task(number):
        def run():
            time.sleep(0.01)
            with (tmp_path / str(number)).open("a") as file:
                file.write(f"{os.getpid()} ")

        return run

    building.build([task(number) for number in range(30)])
    runs = [(tmp_path / str(number)).read_text().split() for number in range(30)]
    assert all(len(processes) == 1 for processes in runs)
    assert len({processes[0] for processes in runs}) == 3


@on_linux
def test_copies_that_die_or_hang_hold_nobody_up(three_processes, monkeypatch, tmp_path):
    monkeypatch.setattr(building, "PATIENCE", 0.3)
    here = os.getpid()

    def die():
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)

    def hang():
        if os.getpid() != here:
            (tmp_path / str(os.getpid())).write_text("")
            time.sleep(600)
        time.sleep(0.05)

    begin = time.monotonic()
    building.build([die] * 8)
    building.build([hang] * 8)
    assert time.monotonic() - begin < 30
    for name in os.listdir(tmp_path):
        assert not Path(f"/proc/{name}").exists()


@on_linux
def test_errors_reach_the_caller(three_processes):
    def wrong():
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        building.build([wrong] * 6)


@on_linux
def test_who_compiles_makes_no_difference(filled, tmp_path):
    cache, _, result = filled
    assert predict(tmp_path, NBCNN_BUILD_PROCESSES="2")[1] == result
    assert predict(tmp_path) == (0, result)
    names = [sorted(p.name for p in folder.glob("*/*.kernel")) for folder in (cache, tmp_path)]
    assert names[0] == names[1]
