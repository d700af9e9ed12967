"""Naming, choosing and refusing devices. `tests/test_cuda.py` runs a simulated one."""

import threading

import numpy as np
import pytest

from nbcnn import config
from nbcnn.runtime import cuda, device


@pytest.fixture(autouse=True)
def restored(monkeypatch):
    """No device chosen, none announced, and no simulator, whatever the environment says."""
    before = config.settings()
    monkeypatch.setattr(cuda, "simulated", lambda: False)
    monkeypatch.setattr(device, "_announced", set())
    config.choose_device(None)
    yield
    config._set(**vars(before))


class Driver:
    """Stands for the NVIDIA driver's library on a machine with some GPUs."""

    def __init__(self, gpus, version=13000, status=0):
        self.gpus, self.version, self.status = gpus, version, status

    def cuDriverGetVersion(self, version):
        version._obj.value = self.version
        return 0

    def cuInit(self, flags):
        return self.status or (0 if self.gpus else 100)

    def cuGetErrorString(self, status, text):
        text._obj.value = {3: b"initialization error", 802: b"system not yet initialized"}[status]
        return 0

    def cuDeviceGetCount(self, count):
        count._obj.value = self.gpus
        return 0

    def cuDeviceGet(self, handle, number):
        handle._obj.value = number

    def cuDeviceGetName(self, text, length, handle):
        text.value = b"NVIDIA Double"

    def cuDeviceTotalMem_v2(self, memory, handle):
        memory._obj.value = 80 << 30

    def cuDeviceGetAttribute(self, value, attribute, handle):
        value._obj.value = {75: 9, 76: 0}[attribute]


@pytest.mark.parametrize(
    "name, expected",
    [("auto", ("auto", 0)), ("cpu", ("cpu", 0)), ("cuda", ("cuda", 0)), ("cuda:12", ("cuda", 12))],
)
def test_parse(name, expected):
    assert device.parse(name) == expected


@pytest.mark.parametrize(
    "name", ["gpu", "cuda:", "cuda:-1", "cuda:x", "cpu:1", "auto:0", "CPU", "", 0, ["cpu"]]
)
@pytest.mark.parametrize(
    "function", [device.get_device, device.set_device, lambda n: device.device(n).__enter__()]
)
def test_unknown_names(name, function):
    with pytest.raises(ValueError) as error:
        function(name)
    assert f"expected 'auto', 'cpu', 'cuda' or 'cuda:<number>', got {name!r}" in str(error.value)


def test_devices_are_opened_once():
    cpu = device.get_device("cpu")
    assert device.get_device("cpu") is cpu
    assert device.get_device(cpu) is cpu
    assert (cpu.kind, cpu.name, cpu.caps.simulated) == ("cpu", "cpu", False)


def test_cpu_has_the_chosen_threads():
    config.set_num_threads(3)
    assert device.get_device("cpu").caps.threads == 3
    config.set_num_threads(1)
    assert device.get_device("cpu").caps.threads == 1


def test_cpu_memory():
    cpu = device.get_device("cpu")
    buffer = cpu.empty(64)
    x = cpu.view(buffer, 16, (2, 3), "float32")
    cpu.upload(x, np.arange(6).reshape(2, 3))
    assert np.array_equal(cpu.download(x), np.arange(6, dtype="float32").reshape(2, 3))
    assert cpu.view(buffer, 16, (), "float32") == 0


def test_set_device_and_blocks(monkeypatch):
    monkeypatch.setattr(cuda, "missing", lambda: "there is none")
    device.set_device("cpu")
    assert device.current_device().name == "cpu"
    with device.device("cpu") as inner:
        assert device.current_device() is inner
    assert device.get_device() is device.current_device()


def test_a_block_is_of_one_thread(monkeypatch):
    monkeypatch.setattr(cuda, "missing", lambda: "there is none")
    seen = []
    with device.device("cpu"):
        thread = threading.Thread(target=lambda: seen.append(device._chosen.get()))
        thread.start()
        thread.join()
        assert device._chosen.get() == "cpu"
    assert seen == [None]
    assert device._chosen.get() is None


def test_a_refused_device_changes_nothing(monkeypatch):
    monkeypatch.setattr(cuda, "driver_library", lambda: None)
    device.set_device("cpu")
    with pytest.raises(device.DeviceError):
        device.set_device("cuda")
    with pytest.raises(device.DeviceError), device.device("cuda"):
        pass
    assert device.current_device().name == "cpu"


def test_the_environment_names_a_device(monkeypatch):
    config.choose_device("gpu")  # as from NBCNN_DEVICE
    with pytest.raises(ValueError, match="got 'gpu'"):
        device.current_device()


def test_auto_says_once_that_it_is_the_cpu(monkeypatch, capfd):
    monkeypatch.setattr(cuda, "driver_library", lambda: None)
    assert device.get_device("auto").name == "cpu"
    device.set_device("auto")
    assert device.current_device().name == "cpu"
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith("nbcnn: device 'auto' is the CPU here: no NVIDIA driver")


def test_the_default_is_silent(monkeypatch, capfd):
    monkeypatch.setattr(cuda, "driver_library", lambda: None)
    assert device.current_device().name == "cpu"
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "driver, installed, libraries, expected",
    [
        (None, True, (13, 0), "no NVIDIA driver was found"),
        (Driver(0), True, (13, 0), "offers no GPU"),
        (
            Driver(8, status=802),
            True,
            (13, 0),
            "the NVIDIA driver does not start: system not yet initialized (error 802)",
        ),
        (
            Driver(1, status=3),
            True,
            (13, 0),
            "initialization error (error 3); CUDA does not work in a process that was forked",
        ),
        (Driver(1), False, (13, 0), "numba-cuda is not installed: pip install 'nbcnn[cuda13]'"),
        (Driver(1), True, None, "without CUDA's libraries (cuda-bindings): pip install"),
        (
            Driver(1, 12040),
            True,
            (13, 5),
            "too old: it knows CUDA up to 12.4, the libraries that are installed are CUDA 13.5; "
            "install driver 580 or later from https://www.nvidia.com/drivers, or pip install "
            "'nbcnn[cuda12]'",
        ),
        (
            Driver(1, 11080),
            True,
            (12, 9),
            "knows CUDA up to 11.8, the libraries that are installed are CUDA 12.9; install "
            "driver 525 or later from https://www.nvidia.com/drivers",
        ),
    ],
)
def test_what_is_missing(monkeypatch, driver, installed, libraries, expected):
    monkeypatch.setattr(cuda, "bindings_version", lambda: libraries)
    monkeypatch.setattr(cuda, "driver_library", lambda: driver)
    monkeypatch.setattr(
        cuda.importlib.util, "find_spec", lambda name: object() if installed else None
    )
    with pytest.raises(device.DeviceError) as error:
        cuda.open_device(1)
    assert str(error.value).startswith("device 'cuda:1' cannot be used: ")
    assert expected in str(error.value)


def test_hidden_gpus_are_named(monkeypatch):
    monkeypatch.setattr(cuda, "driver_library", lambda: Driver(0))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES is ''" in cuda.missing()


def gpus(monkeypatch, count):
    """A machine with so many GPUs and all that is needed."""
    monkeypatch.setattr(cuda, "driver_library", lambda: Driver(count))
    monkeypatch.setattr(cuda, "bindings_version", lambda: (13, 0))
    monkeypatch.setattr(cuda.importlib.util, "find_spec", lambda name: object())


@pytest.mark.parametrize("library", ["libNVVM", "nvJitLink"])
def test_a_missing_compiler_is_named(monkeypatch, library):
    from nbcnn.kernels.cuda import compiling

    def versions():
        raise compiling.CompilerMissing(f"{library} is missing (not found)")

    gpus(monkeypatch, 1)
    monkeypatch.setattr(compiling, "versions", versions)
    with pytest.raises(device.DeviceError, match=f"a GPU and a driver, but {library} is missing"):
        cuda.open_device(0)


def test_a_number_too_large(monkeypatch):
    gpus(monkeypatch, 2)
    with pytest.raises(device.DeviceError, match="the last one here is 'cuda:1'"):
        cuda.open_device(2)


def test_auto_is_the_cpu_where_a_gpu_cannot_be_opened(monkeypatch, capfd):
    def refuse(number):
        raise device.DeviceError("cannot be used: nvJitLink is missing")

    monkeypatch.setattr(cuda, "missing", lambda: None)
    monkeypatch.setattr(cuda, "open_device", refuse)
    monkeypatch.setattr(device, "_opened", {})
    assert device.get_device("auto").name == "cpu"
    assert "nvJitLink is missing" in capfd.readouterr().err


def test_nothing_missing(monkeypatch):
    gpus(monkeypatch, 2)
    assert cuda.missing() is None
    monkeypatch.setattr(cuda, "simulated", lambda: True)
    assert "simulated" in cuda.missing()


def test_choosing_the_cpu_imports_no_cuda(python, tmp_path):
    script = tmp_path / "s.py"
    script.write_text(
        "import sys\n"
        "from nbcnn.runtime.device import current_device, get_device\n"
        "assert get_device('cpu').name == 'cpu' and get_device('auto') is current_device()\n"
        "assert not any(m.startswith('numba.cuda') for m in sys.modules), 'CUDA was imported'\n"
    )
    python(script, CUDA_VISIBLE_DEVICES="")
