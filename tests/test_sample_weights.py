"""Weights by sample, pixel and class."""

import numpy as np
import pytest

import nbcnn
from nbcnn import layers

RNG = np.random.default_rng(6)


def test_weights_by_pixel():
    """As when each pixel is a sample; what Keras gives for these is the same."""
    images = RNG.normal(size=(6, 3, 4, 2)).astype("float32")
    labels, weights = RNG.integers(0, 3, (6, 3, 4)), RNG.uniform(0, 2, (6, 3, 4))
    model = nbcnn.Sequential([nbcnn.Input((3, 4, 2)), layers.Conv2D(3, 1, activation="softmax")])
    names = ["accuracy", nbcnn.metrics.MeanIoU(3, sparse_y_pred=False, dtype="float32")]
    model.compile("sgd", "sparse_categorical_crossentropy", weighted_metrics=names)
    p = model.predict(images, verbose=0)
    losses = -np.log(np.take_along_axis(p, labels[..., None], -1)[..., 0])
    right = p.argmax(-1) == labels
    for y, w in ((labels, weights), (labels[..., None], weights[..., None])):
        loss, accuracy, _ = model.evaluate(images, y, sample_weight=w, batch_size=4, verbose=0)
        assert loss == pytest.approx((losses * weights).mean(), rel=1e-5)
        assert accuracy == pytest.approx((right * weights).sum() / weights.sum(), rel=1e-5)
    by_sample = weights[:, 0, 0]
    loss = model.evaluate(images, labels, sample_weight=by_sample, verbose=0)[0]
    assert loss == pytest.approx((losses * by_sample[:, None, None]).mean(), rel=1e-5)
    with pytest.raises(ValueError, match=r"must have shape \(samples,\), or \(samples, 3, 4\)"):
        model.fit(images, labels, sample_weight=weights[:, :2], verbose=0)
    model.compile(nbcnn.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    found = model.fit(images, labels, class_weight={0: 2.0, 2: 0.5}, verbose=0).history["loss"][0]
    assert found == pytest.approx((losses * np.array([2.0, 1.0, 0.5])[labels]).mean(), rel=1e-5)


def test_class_weights_are_for_training_only():
    x, y = RNG.normal(size=(10, 3)), np.arange(10) % 2
    model = nbcnn.Sequential([nbcnn.Input((3,)), layers.Dense(2, activation="softmax")])
    model.compile(nbcnn.optimizers.SGD(0.0), "sparse_categorical_crossentropy")
    weights = {"class_weight": {0: 3.0, 1: 5.0}, "sample_weight": np.arange(10.0)}
    logs = model.fit(x, y, validation_split=0.3, verbose=0, **weights).history
    held_out = model.evaluate(x[7:], y[7:], sample_weight=np.arange(7.0, 10.0), verbose=0)
    assert logs["val_loss"][0] == pytest.approx(held_out, rel=1e-5)
    weighted = np.array([3.0, 5.0])[y[:7]] * np.arange(7.0)
    assert logs["loss"][0] == pytest.approx(
        model.evaluate(x[:7], y[:7], sample_weight=weighted, verbose=0), rel=1e-5
    )
