"""Loading what is on disk: without Numba and LLVM, as one block of memory that nobody can write."""

import ctypes
import json
import os
import re
import struct
from pathlib import Path

import numpy as np
import pytest

from nbcnn.kernels import disk
from nbcnn.kernels.cpu import images, jit, kernel_cache, linking, target, types
from nbcnn.kernels.cpu.call import Call
from nbcnn.kernels.cpu.shares import grid
from nbcnn.runtime.cpu import Program

on_linux = pytest.mark.skipif(not images.SUPPORTED, reason="images are for Linux on x86-64")

# LeNet-5, one batch; prints the loss, and which compilers this process has loaded.
FIT = """
import sys
import numpy as np
import nbcnn as keras
layers = keras.layers
keras.utils.set_random_seed(0)
model = keras.Sequential([
    keras.Input((28, 28, 1)),
    layers.Conv2D(6, 5, padding="same", activation="sigmoid"), layers.AveragePooling2D(2),
    layers.Conv2D(16, 5, activation="sigmoid"), layers.AveragePooling2D(2), layers.Flatten(),
    layers.Dense(120, activation="sigmoid"), layers.Dense(84, activation="sigmoid"),
    layers.Dense(10, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
x = np.random.default_rng(0).random((64, 28, 28, 1), "float32")
history = model.fit(x, np.arange(64) % 10, batch_size=32, verbose=0)
loss = model.evaluate(x, np.arange(64) % 10, verbose=0)[0]
print(history.history["loss"][0], loss, model.predict(x, verbose=0).sum(dtype="float64"))
print([name for name in ("numba", "llvmlite.binding", "scipy") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    return tmp_path_factory.mktemp("kernels")


@pytest.fixture
def fit(python, filled):
    """Lines that `FIT` prints, with the kernels that earlier ones left behind."""
    return lambda **environment: python(
        "-c", FIT, **{"NBCNN_CACHE_DIR": str(filled), **environment}
    ).splitlines()


@on_linux
def test_a_warm_process_loads_no_compiler(fit):
    first, second = fit(), fit()
    assert "numba" in first[1]
    assert second == [first[0], "[]"]
    assert fit(NBCNN_NUM_THREADS="1") == second


@on_linux
def test_every_kernel_of_a_model_is_an_image(fit, filled):
    fit()
    files = list(filled.glob("*/*.kernel"))
    assert len(files) > 10
    for file in files:
        assert file.read_bytes()[disk.CHECKSUM :].startswith(images.MAGIC)


@on_linux
def test_a_damaged_record_of_the_target_is_asked_for_again(fit, filled):
    fit()
    (file,) = filled.glob("*.target")
    good = file.read_bytes()
    for bad in (b"", good[:-3], b"[1, 2]", json.dumps(["x", "y", 1, True]).encode()):
        file.write_bytes(bad)
        assert "numba" in fit()[1]
        assert file.read_bytes() == good
    assert fit()[1] == "[]"


@on_linux
def test_a_wrong_record_of_the_target_is_found_out(fit, filled):
    """Kernels that are compiled then go where those of the real target are."""
    fit()
    (file,) = filled.glob("*.target")
    good = file.read_bytes()
    folders = set(filled.glob("*/"))
    file.write_bytes(json.dumps(["another", *json.loads(good)[1:]]).encode())
    assert "numba" in fit()[1]
    assert set(filled.glob("*/")) == folders
    assert not file.exists()
    fit()
    assert file.read_bytes() == good


def test_a_record_of_the_target_that_is_only_read_counts(monkeypatch, tmp_path):
    def refuse(path):
        raise PermissionError

    kept = target.Target("some", 32, 16, True, False)
    target._write(tmp_path / "a.target", kept)
    monkeypatch.setattr(os, "utime", refuse)
    assert target._read(tmp_path / "a.target") == kept


@on_linux
def test_settings_and_processors_have_records_of_their_own(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NBCNN_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("NUMBA_OPT", raising=False)
    seen = [target._file()]
    assert target._file() == seen[0]
    (tmp_path / target.NUMBA_FILE).write_text("opt: 1")
    seen.append(target._file())
    monkeypatch.setenv("NUMBA_OPT", "1")
    seen.append(target._file())
    monkeypatch.setattr(target, "_processor", lambda: "another one")
    seen.append(target._file())
    monkeypatch.setattr(target, "_installed", lambda package: (package, b"2"))
    seen.append(target._file())
    assert len(set(seen)) == len(seen)
    monkeypatch.setattr(target, "_processor", lambda: None)
    assert target._file() is None


def test_without_its_source_the_target_is_asked_for(monkeypatch, tmp_path):
    monkeypatch.setattr(target, "__file__", str(tmp_path / "target.py"))
    assert target._file() is None


def test_a_process_with_numba_asks_it(monkeypatch):
    """Its settings may have been changed by hand: what other processes noted does not count."""
    monkeypatch.setattr(target, "_read", None)
    target.current.cache_clear()
    assert target.current() == target.ask()


def test_without_numba_the_error_names_it(python, tmp_path):
    broken = tmp_path / "broken" / "numba"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise ImportError('Numba needs another NumPy')")
    script = tmp_path / "script.py"
    script.write_text(
        f"import sys; sys.path.insert(0, {str(broken.parent)!r})\n"
        "import nbcnn, numpy as np\n"
        "model = nbcnn.Sequential([nbcnn.Input((3,)), nbcnn.layers.Dense(2)])\n"
        "try:\n    model.predict(np.ones((2, 3)), verbose=0)\n"
        "except ImportError as error:\n    print(error)\n"
    )
    assert "Numba needs another NumPy" in python(script, NBCNN_CACHE_DIR=str(tmp_path / "cache"))


# -- images -------------------------------------------------------------------------------------


def compiled(text: str, machine=None) -> bytes:
    """An object file of some LLVM code."""
    import llvmlite.binding as llvm

    machine = machine or linking.independent()
    module = llvm.parse_assembly(text)
    module.triple = machine.triple
    return machine.emit_object(module)


def call(address, *arguments) -> float:
    kind = ctypes.CFUNCTYPE(ctypes.c_double, *[ctypes.c_double] * len(arguments))
    return kind(address)(*arguments)


MATHS = """
declare double @exp(double)
declare double @tanh(double)
@table = private constant [3 x double] [double 1.5, double 2.5, double 4.0]
define internal double @inner(double %x) noinline {
  %y = call double @exp(double %x)
  %i = fptosi double %x to i64
  %p = getelementptr [3 x double], ptr @table, i64 0, i64 %i
  %z = load double, ptr %p
  %s = fadd double %y, %z
  ret double %s
}
define double @f(double %x) {
  %a = call double @inner(double %x)
  %b = call double @tanh(double %x)
  %c = fmul double %a, %b
  %d = call double @exp(double %c)
  ret double %d
}
"""


@on_linux
def test_an_image_calls_and_refers_to_what_it_holds_and_the_c_library():
    image = images.image(compiled(MATHS), "f")
    address = images.load(image)
    for x, entry in ((0.0, 1.5), (1.0, 2.5), (2.0, 4.0)):
        assert call(address, x) == np.exp((np.exp(x) + entry) * np.tanh(x))


@on_linux
def test_an_image_is_the_same_wherever_it_lies():
    image = images.image(compiled(MATHS), "f")
    addresses = {images.load(image) for _ in range(3)}
    assert len(addresses) == 3
    assert len({call(address, 1.0) for address in addresses}) == 1


@on_linux
def test_code_cannot_be_written_to():
    address = images.load(images.image(compiled(MATHS), "f"))
    for line in Path("/proc/self/maps").read_text().splitlines():
        first, last, rights = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
        if int(first, 16) <= address < int(last, 16):
            assert rights == "r-xp"
            return
    raise AssertionError("the code is nowhere")


UNKNOWN = {
    "a variable": "@v = global i64 1\ndefine i64 @f() {\n %x = load i64, ptr @v\n"
    " store i64 %x, ptr @v\n ret i64 %x\n}",
    "zeros": "@v = global [9 x i64] zeroinitializer\ndefine ptr @f() {\n ret ptr @v\n}",
    "an address": "@v = constant ptr @f\ndefine i64 @f() {\n ret i64 1\n}\n"
    "define ptr @g() {\n %x = load volatile ptr, ptr @v\n ret ptr %x\n}",
    "a foreign variable": "@v = external global i64\ndefine i64 @f() {\n"
    " %x = load i64, ptr @v\n ret i64 %x\n}",
    "a function that there is not": "declare void @nbcnn_no_such_function()\n"
    "define void @f() {\n call void @nbcnn_no_such_function()\n ret void\n}",
    "a variable of each thread": "@v = thread_local global i64 1\ndefine i64 @f() {\n"
    " %x = load i64, ptr @v\n ret i64 %x\n}",
    "another name": "define i64 @g() {\n ret i64 1\n}",
}


@on_linux
@pytest.mark.parametrize("what", UNKNOWN)
def test_what_an_image_cannot_hold_is_left_to_llvm(what):
    assert images.image(compiled(UNKNOWN[what]), "f") is None


@on_linux
def test_other_systems_object_files_are_left_to_llvm():
    good = compiled(MATHS)
    assert images.image(good, "f") is not None
    machine = good[:18] + struct.pack("<H", 183) + good[20:]  # as of AArch64
    for code in (machine, b"MZ" + good[2:], b"\xcf\xfa\xed\xfe" + good[4:]):
        assert images.image(code, "f") is None


@on_linux
def test_an_image_whose_functions_are_missing_here_is_not_loaded():
    image = images.image(compiled(MATHS), "f")
    assert images.load(image.replace(b"tanh", b"tanq")) is None


@pytest.fixture
def one_kernel(tmp_path, monkeypatch):
    """Whether a kernel of the package's gives the right result, in a folder of its own."""
    from nbcnn.kernels.cpu import slabs

    place = tmp_path / "kernels" / "0123456789abcdef"
    monkeypatch.setattr(kernel_cache, "folder", lambda: place)

    def right():
        monkeypatch.setattr(jit, "_addresses", {})
        partials, total = np.arange(12.0), np.empty(4)
        Program([Call(slabs.sum_slabs, 1, (3, 4, 0, partials, total))], 1).run()
        return total.tolist() == partials.reshape(3, 4).sum(0).tolist()

    return right, place


def test_kernels_without_images_are_kept_as_object_files(one_kernel, monkeypatch):
    right, place = one_kernel
    monkeypatch.setattr(images, "SUPPORTED", False)
    assert right()
    contents = {file.read_bytes()[disk.CHECKSUM :] for file in place.iterdir()}
    assert contents
    assert not any(code.startswith(images.MAGIC) for code in contents)
    monkeypatch.setattr(linking, "machine_code", None)
    assert right()


@on_linux
def test_an_image_that_cannot_be_loaded_is_built_again(one_kernel, monkeypatch):
    right, _ = one_kernel
    assert right()
    loaded, load = [], images.load
    monkeypatch.setattr(images, "load", lambda code: loaded.append(code) or None)
    with pytest.raises(AssertionError):
        right()
    assert len(loaded) == 2
    monkeypatch.setattr(images, "load", load)
    assert right()


# -- types --------------------------------------------------------------------------------------


def test_types_are_those_that_numba_sees():
    import numba

    values = (3, 0.5, True, np.int64(1), np.float64(2), (1, 2), (1, 0.5), grid(10, 10))
    for value in values:
        assert types.of(value).made == numba.typeof(value)
    for dtype in ("float32", "float64", "int32", "int64", "uint8", "uint16", "bool"):
        x = np.zeros((2, 3), dtype)
        assert types.array(x.dtype, x.ndim).made == numba.typeof(x)
    for name in ("void", "intp", "uintp", "int32", "uint8", "float32", "float64"):
        assert getattr(types, name).made == getattr(numba.types, name)


@pytest.mark.parametrize("value", [np.float32(1), np.int32(1), "x", None, (1, (2, 3)), 1j])
def test_other_arguments_are_refused(value):
    with pytest.raises(TypeError, match="kernel arguments are arrays, integers, floats"):
        jit.pack((value,))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_kernels_run_in_a_forked_process(one_kernel):
    right, _ = one_kernel
    assert right()
    child = os.fork()
    if not child:
        os._exit(0 if right() else 1)
    assert os.waitpid(child, 0)[1] == 0
