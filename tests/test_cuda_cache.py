"""Kernels for GPUs on disk: their names, when they are used again, and filling the folder without a
GPU.
"""

import os
import re
import shutil
import time

import numpy as np
import pytest
from processes import needs_numba_cuda

import nbcnn
from nbcnn.__main__ import main
from nbcnn.kernels import disk
from nbcnn.kernels.cuda import compiling, cubins, elementwise, gather, jit, loss, matmul_plain
from nbcnn.kernels.cuda.compiling import Architecture, Code, architecture
from nbcnn.kernels.cuda.identity import identity
from nbcnn.ops.broadcast import FlatSpec
from nbcnn.runtime.device import DeviceError

HOPPER = Architecture(9, 0, "a")
KINDS = ((FlatSpec, "int64"), "float32*")


# -- names --------------------------------------------------------------------------------------


def test_kernels_of_a_factory_have_names_of_their_own():
    kernels = [
        elementwise.unary_kernel("exp", "float32", 1),
        elementwise.unary_kernel("exp", "float64", 1),
        elementwise.unary_kernel("log", "float32", 1),
        elementwise.unary_kernel("gelu", "float32", 1),
        elementwise.unary_kernel("gelu", "float32", 4),
        elementwise.binary_kernel("add", "relu", "float32", 1),
        elementwise.binary_kernel("add", "tanh", "float32", 1),
        *(loss.from_logits_kernel("float32", 32, sparse) for sparse in (True, False)),
        *(loss.softmax_kernel("float32", size, False) for size in (32, 64)),
        gather.gather_kernel("float32"),
        gather.gather_kernel("int32"),
        matmul_plain.matmul_kernel,
    ]
    names = [identity(k.py_func, k.constants) for k in kernels]
    assert len(set(names)) == len(names)


NAMES = """
from nbcnn.kernels.cuda import elementwise, loss
from nbcnn.kernels.cuda.identity import identity
gelu = elementwise.unary_kernel("gelu", "float64", 1)
for kernel in (gelu, loss.softmax_kernel("float32", 32, True)):
    print(identity(kernel.py_func))
"""


def test_names_are_the_same_in_every_process(python):
    seen = {python("-c", NAMES, PYTHONHASHSEED=seed) for seed in ("1", "2")}
    assert len(seen) == 1


def closed_over(value):
    def function(x):
        return value

    return function


def test_constants_and_closures_tell_kernels_apart():
    values = [1, 1.0, True, "1", (1,), (1, 2), None, np.float32, np.float64, np.float32(1), len]
    values += [closed_over(1), closed_over(2)]
    assert len({identity(closed_over(v)) for v in values}) == len(values)
    assert len({identity(closed_over(1), (v,)) for v in values}) == len(values)


class Intrinsic:
    """As Numba's: a function that types it and, inside, one that emits code."""

    def __init__(self, instruction):
        emitter = object()

        def emit(context):
            return emitter, instruction

        def typed(context):
            return emit

        self._defn = typed


def test_intrinsics_are_told_apart_by_their_instructions():
    names = [identity(closed_over(Intrinsic(text))) for text in ("mma", "wgmma", "mma")]
    assert names[0] == names[2] != names[1]


def test_a_function_may_call_itself():
    def function(n):
        return function(n - 1) if n else 0

    assert identity(function) == identity(function)


def test_what_has_no_lasting_name_is_refused():
    with pytest.raises(TypeError, match="which has no name that lasts"):
        identity(closed_over(object()))


def test_architectures():
    assert str(architecture((8, 6))) == "sm_86"
    assert str(architecture((9, 0))) == "sm_90a"


# -- files --------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder for kernels, and a compiler that only counts."""
    place = tmp_path / f"cuda-{'0' * disk.DIGEST}"
    built = []

    def compiled(kernel, kinds, target):
        built.append(kernel)
        return Code(f"entry{len(built)}", f"{target} {len(built)}".encode())

    monkeypatch.setenv("NBCNN_BUILD_PROCESSES", "1")
    monkeypatch.setattr(cubins, "folder", lambda: place)
    monkeypatch.setattr(compiling, "compiled", compiled)
    monkeypatch.setattr(cubins, "_codes", {})
    return place, built


def wanted(dtype="float32", target=HOPPER):
    return cubins.Wanted(elementwise.cast_kernel(dtype, 1), KINDS, target)


def forget(monkeypatch):
    monkeypatch.setattr(cubins, "_codes", {})


def test_a_kernel_is_compiled_once(folder, monkeypatch):
    place, built = folder
    both = [wanted(), wanted("float64"), wanted()]
    first = cubins.get(both)
    assert (first.compiled, len(built)) == (2, 2)
    assert first.codes[0] == first.codes[2] != first.codes[1]
    assert cubins.get(both).compiled == 0
    forget(monkeypatch)
    again = cubins.get(both)
    assert (again.compiled, len(built)) == (0, 2)
    assert [(c.entry, c.cubin) for c in again.codes] == [(c.entry, c.cubin) for c in first.codes]
    assert len(list(place.iterdir())) == 2


def test_what_a_kernel_depends_on(folder, monkeypatch):
    _, built = folder
    cubins.get([wanted()])
    others = [
        wanted(target=Architecture(8, 0)),
        wanted()._replace(kinds=((FlatSpec, "int64"), "float64*")),
        wanted()._replace(kernel=jit.Kernel(wanted().kernel.py_func, 128, ())),
    ]
    for number, other in enumerate(others, 2):
        cubins.get([other])
        assert len(built) == number


def test_half_a_file_is_none(folder, monkeypatch):
    place, built = folder
    cubins.get([wanted()])
    (file,) = place.iterdir()
    whole = file.read_bytes()
    for broken in (b"", whole[:-1], whole + b"x", b"x" + whole[1:]):
        file.write_bytes(broken)
        forget(monkeypatch)
        before = len(built)
        cubins.get([wanted()])
        assert len(built) == before + 1


def test_a_folder_that_cannot_be_made_warns_once(folder, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(cubins, "folder", lambda: tmp_path / "file" / "kernels")
    monkeypatch.setattr(cubins, "_warned", False)
    with pytest.warns(RuntimeWarning, match="the next process must compile again") as said:
        codes = cubins.get([wanted(), wanted("float64")]).codes
    assert len(said) == 1
    assert [code.cubin for code in codes] == [b"sm_90a 1", b"sm_90a 2"]


def test_old_folders_go(tmp_path):
    def make(name, days):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.cubin").write_text("")
        when = time.time() - days * 24 * 3600
        os.utime(tmp_path / name, (when, when))

    make(f"cuda-{'1' * 16}", 40)
    make(f"cuda-{'2' * 16}", 1)
    make("3" * 16, 40)  # of the CPU
    make("cuda-notes", 400)
    disk.clean(tmp_path / f"cuda-{'0' * 16}", cubins.SUFFIX)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {f"cuda-{'2' * 16}", "3" * 16, "cuda-notes"}


@pytest.mark.parametrize(
    "file, matters",
    [
        ("kernels/cuda/pool.py", True),
        ("kernels/scalar.py", True),
        ("ops/conv_spec.py", True),
        ("kernels/cpu/pool.py", False),
        ("layers/pool.py", False),
    ],
)
def test_sources_decide(monkeypatch, tmp_path, file, matters):
    copy = tmp_path / "nbcnn"
    shutil.copytree(cubins.PACKAGE, copy, ignore=shutil.ignore_patterns("*.npz", "__pycache__"))
    monkeypatch.setattr(cubins, "PACKAGE", copy)
    before = cubins.sources_digest()
    with (copy / file).open("a") as source:
        source.write("\n")
    assert (cubins.sources_digest() != before) == matters


def test_versions_decide(monkeypatch, tmp_path):
    monkeypatch.setenv("NBCNN_CACHE_DIR", str(tmp_path))
    folders = set()
    for versions in ("numba 1", "numba 2"):
        monkeypatch.setattr(compiling, "versions", lambda versions=versions: versions)
        folders.add(cubins.folder.__wrapped__())
    assert len(folders) == 2
    assert all(re.fullmatch(r"cuda-[0-9a-f]{16}", folder.name) for folder in folders)


# -- the real compiler --------------------------------------------------------------------------


@needs_numba_cuda
def test_two_architectures_in_one_process():
    """A kernel that calls functions, which are compiled for one architecture at a time."""
    kernel = elementwise.unary_kernel("gelu", "float32", 4)
    kinds = ((FlatSpec, "int64"), "float64", "float64", "float32*", "float32*")
    for target in (Architecture(8, 0), HOPPER, Architecture(8, 0)):
        ptx = compiling.ptx_of(kernel, kinds, target)
        assert f".target {target}\n" in ptx
        parameters = re.findall(r"\.param (\.\w+) \w+_param_\d", ptx.partition(")")[0])
        assert parameters == [".u64", ".f64", ".f64", ".u64", ".u64"]
        code = compiling.compiled(kernel, kinds, target)
        assert code.cubin.startswith(b"\x7fELF")
        assert "0 bytes spill stores" in code.log


@needs_numba_cuda
def test_what_the_assembler_refuses_is_said():
    with pytest.raises(RuntimeError, match="the assembler refused a kernel"):
        compiling.assembled(b".version 8.0\n.target sm_90\n.address_size 64\nnonsense", HOPPER)


@needs_numba_cuda
def test_the_bounds_of_a_kernel_are_in_its_code():
    kernel = jit.Kernel(elementwise.cast_kernel("float32", 1).py_func, 96, ())
    ptx = compiling.ptx_of(kernel, ((FlatSpec, "int64"), "uint8*", "float32*"), HOPPER)
    assert re.search(r"\.maxntid 96\b", ptx)


MODEL = """
import sys, nbcnn
from nbcnn import layers
model = nbcnn.Sequential([nbcnn.Input((6, 6, 1)), layers.MaxPooling2D(2), layers.Flatten(),
                          layers.Dense(3, activation="softmax")])
model.compile("sgd", "sparse_categorical_crossentropy")
model.save(sys.argv[1])
"""


@needs_numba_cuda
def test_a_folder_filled_without_a_gpu_serves_the_next_process(python, tmp_path):
    """Of a plan's kernels the second process compiles none, and after a change all."""
    python("-c", MODEL, tmp_path / "model.nbcnn")

    def warm(**environment):
        command = ("-m", "nbcnn", "warmup", tmp_path / "model.nbcnn", "--cuda", "sm_90")
        text = python(*command, NBCNN_CACHE_DIR=str(tmp_path / "cache"), **environment)
        kernels, compiled = re.match(r"(\d+) kernels for sm_90: (\d+) compiled", text).groups()
        return int(kernels), int(compiled)

    kernels, compiled = warm()
    assert kernels == compiled > 8
    assert warm() == (kernels, 0)
    for file in (tmp_path / "cache").glob("cuda-*/*"):
        assert file.suffix == cubins.SUFFIX
    # Another session's plan on a GPU of that architecture, with the driver's place taken.
    script = tmp_path / "fit.py"
    script.write_text(
        f"import sys\nsys.path.insert(0, {os.path.dirname(__file__)!r})\n"
        + FIT.format(model=str(tmp_path / "model.nbcnn"))
    )
    assert python(script, NBCNN_CACHE_DIR=str(tmp_path / "cache")).split() == ["0", str(kernels)]


FIT = """
import numpy as np
import nbcnn
from cuda_double import Double
from nbcnn.kernels.cuda import cubins
from nbcnn.runtime import device as devices
from nbcnn.runtime.cuda_device import CudaDevice

compiled, asked = 0, set()

def get(wanted):
    global compiled
    found = cubins.get(wanted)
    compiled += found.compiled
    asked.update(wanted)
    return driver.get(wanted)

driver = Double()
devices._opened[("cuda", 0)] = CudaDevice(0, driver, get)
model = nbcnn.saving.load_model({model!r}).to("cuda")
model.fit(np.ones((32, 6, 6, 1), "uint8"), np.zeros(32, "uint8"), batch_size=32, verbose=0)
model.predict(np.ones((32, 6, 6, 1), "uint8"), verbose=0)
print(compiled, len(asked))
"""


# -- the command line ---------------------------------------------------------------------------


def test_devices_are_listed(capsys):
    assert main(["devices"]) == 0
    assert capsys.readouterr().out.startswith("<'cpu': ")


@pytest.mark.parametrize("name", ["sm_91", "9.0", "hopper", "sm_900", ""])
def test_unknown_architectures(name, capsys):
    with pytest.raises(ValueError, match="cuda: expected an architecture, one of sm_75, sm_80"):
        nbcnn.warmup(cuda=name)
    assert main(["warmup", "--cuda", name]) == 1
    assert "nbcnn: cuda: expected an architecture" in capsys.readouterr().err


def test_without_a_compiler_that_is_said(monkeypatch):
    def versions():
        raise compiling.CompilerMissing("libNVVM is missing (not found)")

    monkeypatch.setattr(compiling, "versions", versions)
    with pytest.raises(DeviceError, match=r"for sm_90 cannot .* libNVVM is missing .* pip install"):
        nbcnn.warmup(cuda="sm_90")


def test_a_model_keeps_its_weights_and_its_place(monkeypatch):
    """What is compiled for is a copy."""
    monkeypatch.setattr(compiling, "versions", lambda: "none")
    monkeypatch.setattr(cubins, "get", lambda wanted: cubins.Found([], len(set(wanted))))
    model = nbcnn.Sequential([nbcnn.Input((4,)), nbcnn.layers.Dense(3)])
    model.compile("adam", "mse")
    x = np.ones((2, 4), "float32")
    before = model.predict(x, verbose=0)
    warmed = nbcnn.warmup(model, batch_size=2, cuda="sm_80")
    assert warmed.kernels > 4
    assert np.array_equal(model.predict(x, verbose=0), before)
