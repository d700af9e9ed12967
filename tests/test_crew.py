"""The helping threads: programs from several threads, changing thread counts, forks, sleep."""

import os
import threading
import time

import numpy as np
import pytest

from nbcnn import layers, ops
from nbcnn.kernels.cpu import jit
from nbcnn.kernels.cpu.call import Call
from nbcnn.runtime.cpu import Program


@jit.kernel
def double(task, thread, x, y):
    for i in range(task * 10, task * 10 + 10):
        y[i] = 2.0 * x[i] + thread * 0.0


@jit.kernel
def total(task, thread, x, y):
    s = 0.0
    for i in range(len(x)):
        s += x[i]
    y[0] = s


def chained(threads: int, seed: int = 0):
    """A program of many dependent calls, and what must come out."""
    x = np.random.default_rng(seed).random(1000)
    y, z, s = np.empty(1000), np.empty(1000), np.empty(1)
    calls = [Call(double, 100, (x, y)), Call(double, 100, (y, z)), Call(total, 1, (z, s))] * 20
    return Program(calls, threads), s, float(np.sum(4.0 * x))


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_every_row_waits_for_the_one_before(threads):
    program, found, expected = chained(threads)
    for _ in range(200):
        found[0] = np.nan
        program.run()
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_sleeping_followers_are_woken():
    program, found, expected = chained(2)
    for pause in (0.0, 0.002, 0.02, 0.2):
        time.sleep(pause)
        found[0] = np.nan
        program.run()
        np.testing.assert_allclose(found[0], expected, rtol=1e-12)


def test_programs_from_many_threads_at_once():
    wrong = []

    def work(seed):
        program, found, expected = chained(1 + seed % 3, seed)
        for _ in range(100):
            found[0] = np.nan
            program.run()
            if not np.isclose(found[0], expected, rtol=1e-12):
                wrong.append((seed, found[0], expected))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not wrong


@pytest.mark.parametrize("function", [ops.exp, layers.Rescaling(3.0)], ids=["op", "layer"])
def test_calls_on_arrays_from_many_threads_at_once(function):
    """All have the same shape, hence the same plan and its memory."""
    wrong = []

    def work(seed):
        x = np.full((64, 1024), seed, "float32")
        right = np.exp(x) if function is ops.exp else 3 * x
        for _ in range(60):
            if not np.allclose(np.asarray(function(x)), right, rtol=1e-5):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
        assert not thread.is_alive()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_has_helpers_of_its_own():
    program, found, expected = chained(2)
    program.run()
    child = os.fork()
    if child == 0:
        found[0] = np.nan
        program.run()
        os._exit(0 if np.isclose(found[0], expected) else 1)
    assert os.waitpid(child, 0)[1] == 0
    program.run()
    np.testing.assert_allclose(found[0], expected, rtol=1e-12)
