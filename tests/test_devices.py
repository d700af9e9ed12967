"""The list of devices: `nbcnn.devices()`."""

import pytest
from test_device import gpus

import nbcnn
from nbcnn.runtime import cuda, listing


def test_the_cpu_is_listed_first(monkeypatch):
    monkeypatch.setattr(cuda, "driver_library", lambda: None)
    (cpu,) = nbcnn.devices()
    assert cpu == cpu.name == "cpu"
    assert cpu.hardware
    assert cpu.compute_capability is None
    assert cpu.memory_bytes is None or cpu.memory_bytes > 2**20
    assert repr(cpu).startswith("<'cpu': ")


def test_gpus_are_listed_with_name_memory_and_compute_capability(monkeypatch):
    monkeypatch.setattr(cuda, "simulated", lambda: False)
    gpus(monkeypatch, 2)
    _, first, second = nbcnn.devices()
    assert (first, second) == ("cuda:0", "cuda:1")
    assert second.hardware == "NVIDIA Double"
    assert second.memory_bytes == 80 << 30
    assert second.compute_capability == (9, 0)
    assert repr(first) == "<'cuda:0': NVIDIA Double, 80.0 GiB, compute capability 9.0>"


def test_a_listed_device_can_be_chosen(monkeypatch):
    monkeypatch.setattr(cuda, "driver_library", lambda: None)
    with nbcnn.device(nbcnn.devices()[0]) as chosen:
        assert chosen.name == "cpu"


@pytest.mark.parametrize("where", ["sysconf", "read_text"])
def test_what_a_system_does_not_tell_is_left_out(monkeypatch, where):
    def refuse(*arguments):
        raise OSError

    if where == "sysconf":
        monkeypatch.setattr(listing.os, "sysconf", refuse)
        assert listing._host_memory() is None
    else:
        monkeypatch.setattr(listing.Path, "read_text", refuse)
        assert listing._processor()
