"""Steps let go of the user's arrays, also where they fail."""

import os
import signal
import threading
import weakref

import numpy as np
import pytest

from nbcnn import layers, models


def test_predict_on_batch_lets_go_of_arrays_when_it_fails(monkeypatch):
    model = models.Sequential([layers.Input((4,)), layers.Dense(2)])
    runner = model._example_step(3, training=False)

    def failing():
        raise MemoryError

    monkeypatch.setattr(runner, "run", failing)
    x = np.ones((3, 4), np.float32)
    with pytest.raises(MemoryError) as caught:
        model.predict_on_batch(x)
    caught.value.__traceback__ = None
    held = weakref.ref(x)
    del x, caught
    assert held() is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_works_in_a_child_forked_while_another_thread_was_in_a_step():
    model = models.Sequential([layers.Input((4,)), layers.Dense(2)])
    x = np.ones((3, 4), np.float32)
    expected = model.predict(x, verbose=0)
    taken, done = threading.Event(), threading.Event()

    def step():
        with model._runners.lock:
            taken.set()
            done.wait()

    thread = threading.Thread(target=step)
    thread.start()
    taken.wait()
    child = os.fork()
    if child == 0:
        signal.alarm(10)  # ends the child where it waits for ever
        os._exit(0 if np.array_equal(model.predict(x, verbose=0), expected) else 1)
    done.set()
    thread.join()
    assert os.waitpid(child, 0)[1] == 0
