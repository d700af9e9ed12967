"""Gradients by a function's own arguments, and gradients of gradients, against differences; those
of single operations are among the rows of `test_reference`.
"""

import numpy as np
import pytest
from small_models import RNG

import nbcnn
from nbcnn import layers, ops

X, KERNEL = RNG.normal(size=(2, 4, 4, 2)), RNG.normal(size=(3, 3, 2, 3))
FUNCTIONS = {
    "conv": lambda x: ops.sum(ops.tanh(ops.conv(x, KERNEL, 2, "same"))),
    "max": lambda x: ops.sum(ops.max(x * x, axis=(1, 2)) ** 2),
    "max_pool": lambda x: ops.sum(ops.max_pool(x, 3, 2, "same") ** 3),
    "conv3d": lambda x: ops.sum(ops.conv(x[:, :, :, None], KERNEL[:, :, None], 1, "same") ** 3),
}


@pytest.fixture(autouse=True)
def on_the_cpu():
    with nbcnn.device("cpu"):
        yield


@pytest.mark.parametrize("name", FUNCTIONS)
def test_gradients_of_gradients(name):
    """The slope of |gradient|^2 along a direction."""
    function = FUNCTIONS[name]
    first = nbcnn.value_and_grad(function, 0)

    def penalty(x):
        _, slope = nbcnn.value_and_grad(function, 0)(x)
        return ops.sum(ops.square(slope))

    second = nbcnn.value_and_grad(penalty, 0)
    _, slope = first(X)
    norm, slope_of_norm = second(X)
    assert float(norm) == pytest.approx(float((slope**2).sum()), rel=1e-5)
    way = RNG.normal(size=X.shape)
    ends = [first(X + 1e-6 * way), first(X - 1e-6 * way)]
    expected = float(ends[0][0] - ends[1][0]) / 2e-6
    assert float((slope * way).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-6)
    after, before = (float((s**2).sum()) for _, s in ends)
    expected = (after - before) / 2e-6
    assert float((slope_of_norm * way).sum()) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_variables_and_arguments_together():
    w = nbcnn.Variable(np.array([1.0, 2.0], "float32"))
    x, y = np.array([3.0, 4.0], "float32"), np.array([5.0, 6.0], "float32")
    value, slopes = nbcnn.value_and_grad(lambda x, y: ops.sum(w * x * y**2), [1, w, -2])(x, y)
    assert float(value) == pytest.approx(75 + 288)
    for found, expected in zip(slopes, (2 * y * w.numpy() * x, x * y**2, w.numpy() * y**2)):
        np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_what_is_refused():
    with pytest.raises(TypeError, match="there is no argument 1, 1 were given"):
        nbcnn.value_and_grad(ops.sum, 1)(np.ones(2))
    with pytest.raises(TypeError, match="argument 0 must be of a float type, got int64"):
        nbcnn.value_and_grad(lambda x: ops.sum(x * 1.0), 0)(np.arange(3))
    normalize = layers.LayerNormalization()
    normalize(np.ones((2, 3)))

    def penalty(x):
        return ops.sum(nbcnn.value_and_grad(lambda x: ops.sum(normalize(x) ** 2), 0)(x)[1] ** 2)

    with pytest.raises(NotImplementedError, match="second derivatives end here"):
        nbcnn.value_and_grad(penalty, 0)(np.ones((2, 3), "float32"))


class GradientPenalty(nbcnn.Model):
    """The critic's side of a WGAN-GP."""

    def __init__(self, critic):
        super().__init__()
        self.critic = critic

    def train_step(self, data):
        real, fake = data

        def objective():
            between = 0.5 * (real + fake)
            _, slope = nbcnn.value_and_grad(lambda x: ops.sum(self.critic(x)), 0)(between)
            norm = ops.sqrt(ops.sum(ops.square(slope), axis=(1, 2, 3)))
            cost = ops.mean(self.critic(fake)) - ops.mean(self.critic(real))
            return cost + 10.0 * ops.mean((norm - 1.0) ** 2)

        loss, slopes = nbcnn.value_and_grad(objective, self.critic.trainable_weights)()
        self.optimizer.apply(slopes, self.critic.trainable_weights)
        return {"loss": loss}


def test_a_gradient_penalty_in_a_step():
    """The losses are those of Keras on TensorFlow, with a GradientTape in another."""
    critic = nbcnn.Sequential(
        [
            nbcnn.Input((6, 6, 1)),
            layers.Conv2D(4, 3, strides=2, padding="same"),
            layers.LeakyReLU(0.2),
            layers.Flatten(),
            layers.Dense(1),
        ]
    )
    numbers = np.random.default_rng(0)
    critic.set_weights([numbers.normal(size=w.shape) * 0.3 for w in critic.get_weights()])
    model = GradientPenalty(critic)
    model.compile(nbcnn.optimizers.SGD(0.01))
    real, fake = numbers.random((2, 8, 6, 6, 1)).astype("float32")
    history = model.fit(real, fake, batch_size=8, epochs=3, shuffle=False, verbose=0).history
    np.testing.assert_allclose(history["loss"], PENALTIES, rtol=1e-4)


PENALTIES = [0.0321444795, 0.0229545683, 0.0155334622]
