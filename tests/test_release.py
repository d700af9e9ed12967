"""Steps let go of the user's arrays, also where they fail."""

import weakref

import numpy as np
import pytest

from nbcnn import layers, models


def test_predict_on_batch_lets_go_of_arrays_when_it_fails(monkeypatch):
    model = models.Sequential([layers.Input((4,)), layers.Dense(2)])
    runner = model.example_step(3, training=False)

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
