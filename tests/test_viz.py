"""Maps of what networks see, against NumPy from the definitions and numerical differences."""

import numpy as np
import pytest
from references.seeing import Net, numerical_gradient
from seen_models import SHAPE, nested, randomized, sequential

import nbcnn as keras
from nbcnn import layers, viz

RNG = np.random.default_rng(3)
IMAGE = RNG.normal(size=SHAPE).astype("float32")


@pytest.fixture(scope="module")
def model():
    return sequential()


@pytest.fixture(scope="module")
def net(model):
    return Net(model.get_weights())


def close(a, b, rtol=1e-4):
    scale = np.abs(b).max()
    assert scale > 0
    np.testing.assert_allclose(a, b, rtol=0, atol=rtol * scale)


# -- maps ---------------------------------------------------------------------------------------


def test_maps_of_layers(model, net):
    maps = viz.layer_maps(model, IMAGE)
    first, pool, second = maps.values()
    close(first, net.first(IMAGE))
    close(second, net.second(net.first(IMAGE)))
    assert pool.shape == (3, 3, 4)
    name = model.layers[2].name
    assert list(viz.layer_maps(model, IMAGE, [name])) == [name]


def test_input_gradient_equals_numerical_differences(model, net):
    for label in range(3):
        expected = numerical_gradient(
            lambda x, k=label: net.scores(net.second(net.first(x)))[k], IMAGE.astype(float)
        )
        found = viz.input_gradient(model, IMAGE, label)
        close(found, expected)
        np.testing.assert_array_equal(viz.saliency_map(model, IMAGE, label), np.abs(found).max(-1))


@pytest.mark.parametrize("label", range(3))
def test_grad_cam_equals_a_computation_by_hand(model, net, label):
    """The last maps go to the dense layer at once: the gradient by them is its weights."""
    maps = net.second(net.first(IMAGE))
    weights = net.weights[4][:, label].reshape(maps.shape).mean((0, 1))
    expected = np.maximum(maps @ weights, 0)
    found = viz.grad_cam_map(model, IMAGE, label)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * max(expected.max(), 1))
    first = net.first(IMAGE)
    expected = np.maximum(first @ net.by_first(first, label).mean((0, 1)), 0)
    found = viz.grad_cam_map(model, IMAGE, label, model.layers[0])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3 * max(expected.max(), 1))


@pytest.mark.parametrize("relu_apart", [False, True])
@pytest.mark.parametrize("whole", [False, True])
def test_deconvnet_equals_the_steps_of_zeiler_and_fergus(net, relu_apart, whole):
    model = sequential(relu_apart=relu_apart)
    layer = model.layers[4 if relu_apart else 2]
    channels = viz.layer_maps(model, IMAGE, [layer])[layer.name].max((0, 1))
    assert (channels > 0).sum() > 2
    for channel in np.flatnonzero(channels > 0):
        found = viz.deconvnet_projection(model, IMAGE, layer, channel, whole)
        close(found, net.projected(IMAGE.astype(float), channel, whole))
    strongest = viz.deconvnet_projection(model, IMAGE, layer, whole=whole)
    close(strongest, net.projected(IMAGE.astype(float), channels.argmax(), whole))


def test_deconvnet_is_no_gradient(model):
    """Signals that the forward pass would mask go through, negative ones do not."""
    label = 1
    projected = viz.deconvnet_projection(model, IMAGE, model.layers[2], 0)
    assert np.abs(projected - viz.input_gradient(model, IMAGE, label)).max() > 0.01


def test_occlusion_equals_covering_the_image_by_hand(model, net):
    def output(x):
        powers = np.exp(net.scores(net.second(net.first(x))))
        return powers[1] / powers.sum()

    found = viz.occlusion_map(model, IMAGE, 1, window=(3, 2), stride=(2, 3), fill=0.5)
    tops, lefts = (0, 2, 4, 5), (0, 3, 6)
    assert found.shape == (len(tops), len(lefts))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            covered = IMAGE.astype(float)
            covered[top : top + 3, left : left + 2] = 0.5
            np.testing.assert_allclose(found[i, j], output(covered), rtol=1e-4)


def test_smooth_grad_is_the_mean_over_noisy_copies(model):
    alone = viz.smooth_grad_map(model, IMAGE, 2, samples=3, noise=0)
    np.testing.assert_allclose(alone, viz.saliency_map(model, IMAGE, 2), rtol=1e-5)
    found = viz.smooth_grad_map(model, IMAGE, 2, samples=5, noise=0.2, seed=4)
    width = 0.2 * (IMAGE.max() - IMAGE.min())
    noise = np.random.default_rng(4).normal(0, width, (5, *SHAPE))
    slopes = [viz.input_gradient(model, (IMAGE + n).astype("float32"), 2) for n in noise]
    np.testing.assert_allclose(found, np.abs(np.mean(slopes, 0)).max(-1), rtol=1e-4, atol=1e-6)


def test_activation_maximization_of_a_linear_model_goes_along_its_weights():
    linear = randomized(
        keras.Sequential([keras.Input((4, 4, 1)), layers.Flatten(), layers.Dense(2)])
    )
    weights = linear.get_weights()[0][:, 1].reshape(4, 4, 1)
    start = np.zeros((4, 4, 1))
    found = viz.maximal_image(linear, channel=1, steps=3, rate=0.5, l2=0, start=start)
    np.testing.assert_allclose(found, 1.5 * weights / np.sqrt(np.mean(weights**2)), rtol=1e-4)
    # With a penalty, the best image is w / (2 l2).
    found = viz.maximal_image(linear, channel=1, steps=400, rate=0.005, l2=0.5, start=start)
    np.testing.assert_allclose(found, weights, atol=0.02)


def test_activation_maximization_raises_the_response(model):
    responsive = viz.layer_maps(model, IMAGE)[model.layers[2].name].mean((0, 1)).argmax()
    for layer, channel in ((None, 2), (model.layers[2], responsive)):
        few = viz.maximal_image(model, layer, channel, steps=0, seed=5)
        many = viz.maximal_image(model, layer, channel, steps=30, seed=5)
        np.testing.assert_array_equal(
            many, viz.maximal_image(model, layer, channel, steps=30, seed=5)
        )
        if layer is None:
            values = [model(x[None])[0, channel] for x in (few, many)]
        else:
            values = [viz.layer_maps(model, x, [layer])[layer.name][..., channel].mean()
                      for x in (few, many)]  # fmt: skip
        assert values[1] > values[0] + 0.05


MAPS = {
    "saliency": lambda m, names: viz.saliency_map(m, IMAGE, 1),
    "grad_cam": lambda m, names: viz.grad_cam_map(m, IMAGE, 2, names[0]),
    "deconvnet": lambda m, names: viz.deconvnet_projection(m, IMAGE, names[1], 3),
    "maps": lambda m, names: viz.layer_maps(m, IMAGE, names[:1])[names[0]],
    "volumes": lambda m, names: [v[2:] for v in viz.volumes(m)],
}


@pytest.mark.parametrize("kind", MAPS)
def test_nested_models_are_seen_into(model, kind):
    other = nested()
    inner = other.get_layer("front").layers[0]
    expected = MAPS[kind](model, [model.layers[0].name, model.layers[2].name])
    found = MAPS[kind](other, [f"front/{inner.name}", other.layers[2].name])
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_branches_of_a_graph_add_up():
    """Grad-CAM of maps that go two ways, and a projection through both."""
    inputs = keras.Input(SHAPE)
    x = layers.Conv2D(3, 3, padding="same", activation="relu", name="fork")(inputs)
    y = layers.Conv2D(3, 3, padding="same", use_bias=False, name="way")(x)
    y = layers.Add()([x, y])
    y = layers.Dense(2, activation="softmax")(layers.GlobalAveragePooling2D()(y))
    model = randomized(keras.Model(inputs, y))
    maps = viz.layer_maps(model, IMAGE, ["fork"])["fork"].astype(float)
    way, dense = model.get_layer("way").get_weights()[0], model.layers[-1].get_weights()[0]

    def score(a):
        near = np.lib.stride_tricks.sliding_window_view(
            np.pad(a, ((1, 1), (1, 1), (0, 0))), (3, 3), (0, 1)
        )
        y = a + np.einsum("ijcuv,uvcf->ijf", near, way)
        return y.mean((0, 1)) @ dense[:, 1]

    slopes = numerical_gradient(score, maps)
    found = viz.grad_cam_map(model, IMAGE, 1, "fork")
    np.testing.assert_allclose(
        found, np.maximum(maps @ slopes.mean((0, 1)), 0), rtol=0, atol=1e-4 * maps.max()
    )


@pytest.mark.parametrize("kind", ["UpsampleConv2D", "MultiDilatedConv2D", "Conv2DTranspose"])
def test_the_last_convolution_may_be_of_any_kind(kind):
    inputs = keras.Input(SHAPE)
    last = getattr(layers, kind)(4, 3, padding="same", name="last")
    y = layers.GlobalAveragePooling2D()(last(layers.Conv2D(4, 3)(inputs)))
    model = randomized(keras.Model(inputs, layers.Dense(2)(y)))
    found = viz.grad_cam_map(model, IMAGE, 1)
    np.testing.assert_array_equal(found, viz.grad_cam_map(model, IMAGE, 1, "last"))


def test_inference_is_what_is_looked_at():
    """Moving averages count, dropout does not, and nothing is updated."""
    model = keras.Sequential([
        keras.Input(SHAPE), layers.Conv2D(3, 3), layers.BatchNormalization(), layers.ReLU(),
        layers.Dropout(0.5), layers.Flatten(), layers.Dense(2, activation="softmax"),
    ])  # fmt: skip
    rng = np.random.default_rng(0)
    model.set_weights([rng.uniform(0.5, 1, w.shape) for w in model.get_weights()])
    before = model.get_weights()
    once, again = (viz.saliency_map(model, IMAGE, 0) for _ in range(2))
    np.testing.assert_array_equal(once, again)
    viz.grad_cam_map(model, IMAGE, 0)
    for a, b in zip(before, model.get_weights()):
        np.testing.assert_array_equal(a, b)
    slope = numerical_gradient_of_logit(model, IMAGE, (2, 3, 1))
    np.testing.assert_allclose(viz.input_gradient(model, IMAGE, 0)[2, 3, 1], slope, rtol=2e-2)


def numerical_gradient_of_logit(model, image, place, step=1e-2):
    logits = keras.Model(model.inputs, model.layers[-2].output)
    weights, bias = model.layers[-1].get_weights()

    def value(change):
        moved = image.copy()
        moved[place] += change
        return (logits(moved[None]).astype(float) @ weights + bias)[0, 0]

    return (value(step) - value(-step)) / (2 * step)


class Own(keras.Model):
    def __init__(self):
        super().__init__()
        self.flat, self.dense = layers.Flatten(), layers.Dense(3, activation="softmax")

    def call(self, x):
        return self.dense(self.flat(x))


def test_models_with_a_call_of_their_own_have_saliency_but_no_layers():
    model = Own()
    model(IMAGE[None])
    weights = model.dense.get_weights()[0][:, 1].reshape(SHAPE)
    np.testing.assert_allclose(viz.input_gradient(model, IMAGE, 1), weights, rtol=1e-5)
    assert viz.occlusion_map(model, IMAGE).shape == (4, 4)
    with pytest.raises(ValueError, match="call\\(\\) of its own, into which one cannot look"):
        viz.grad_cam_map(model, IMAGE, 1)


class Doubled(keras.Model):
    def call(self, x):
        return 2 * super().call(x)


def test_a_graph_inside_a_call_of_ones_own_is_not_taken_for_the_model():
    inputs = keras.Input(SHAPE)
    y = layers.Dense(3)(layers.GlobalAveragePooling2D()(layers.Conv2D(3, 3)(inputs)))
    model, plain = Doubled(inputs, y), keras.Model(inputs, y)
    found = viz.input_gradient(model, IMAGE, 1)
    np.testing.assert_allclose(found, 2 * viz.input_gradient(plain, IMAGE, 1), rtol=1e-5)
    for look in (viz.grad_cam_map, viz.layer_maps):
        assert len(look(plain, IMAGE))
        with pytest.raises(ValueError, match="call\\(\\) of its own"):
            look(model, IMAGE)


# -- counts ---------------------------------------------------------------------------------------


def test_confusion_counts():
    y_true = RNG.integers(0, 4, 50)
    y_pred = RNG.integers(0, 4, 50)
    found = viz.confusion_counts(y_true, y_pred, 5)
    for i, j in np.ndindex(5, 5):
        assert found[i, j] == ((y_true == i) & (y_pred == j)).sum()
    scores = np.eye(4)[y_pred] + 0.1
    np.testing.assert_array_equal(found[:4, :4], viz.confusion_counts(np.eye(4)[y_true], scores))


def test_mistakes_are_sorted_by_confidence(model):
    x = RNG.normal(size=(40, *SHAPE)).astype("float32")
    y = RNG.integers(0, 3, 40)
    found = viz.mistakes(model, x, y)
    scores = model.predict(x, verbose=0)
    assert set(found.samples) == set(np.flatnonzero(scores.argmax(1) != y))
    assert (np.diff(found.scores) <= 0).all()
    for i, label, guess, score in zip(*found):
        assert (label, guess, score) == (y[i], scores[i].argmax(), scores[i].max())


def test_filters_as_images(model):
    kernel = model.get_weights()[0]
    found = viz.filter_images(model)
    assert found.shape == (4, 3, 3, 2)
    np.testing.assert_array_equal(found[3, ..., 1], kernel[..., 1, 3])
    depthwise = layers.DepthwiseConv2D(3, depth_multiplier=2)
    depthwise(IMAGE[None])
    found = viz.filter_images(depthwise)
    np.testing.assert_array_equal(found[3, ..., 0], depthwise.get_weights()[0][..., 1, 1])


def test_volumes_of_a_network(model):
    found = viz.volumes(model)
    assert [v[1:] for v in found] == [
        ("Input", 8, 8, 2), ("Conv2D", 6, 6, 4), ("MaxPooling2D", 3, 3, 4), ("Conv2D", 2, 2, 5),
        ("Flatten", 1, 1, 20), ("Dense", 1, 1, 3),
    ]  # fmt: skip


# -- bad input ------------------------------------------------------------------------------------


def dense_only():
    return keras.Sequential([keras.Input(SHAPE), layers.Flatten(), layers.Dense(3)])


def shared():
    inputs, layer = keras.Input((6, 6, 2)), layers.Conv2D(2, 1, name="twice")
    y = layers.Flatten()(layer(layer(inputs)))
    return keras.Model(inputs, layers.Dense(2)(y))


def channels_first():
    first = layers.Conv2D(1, 1, data_format="channels_first", name="first")
    return keras.Sequential([keras.Input(SHAPE), first, layers.Flatten(), layers.Dense(3)])


def two_outputs():
    inputs = keras.Input(SHAPE)
    y = layers.Flatten()(inputs)
    return keras.Model(inputs, [layers.Dense(3)(y), layers.Dense(4)(y)])


BAD = [
    (lambda m: viz.saliency_map(channels_first(), IMAGE), ValueError,
     "saliency_map: images must have channels last, layer 'first'"),
    (lambda m: viz.occlusion_map(channels_first(), IMAGE), ValueError, "must have channels last"),
    (lambda m: viz.maximal_image(channels_first()), ValueError, "must have channels last"),
    (lambda m: viz.volumes(channels_first()), ValueError, "volumes: images must have channels"),
    (lambda m: viz.saliency_map(two_outputs(), IMAGE), ValueError,
     r"saliency_map: model .* must have one output, .* it has 2; Model\("),
    (lambda m: viz.mistakes(two_outputs(), IMAGE[None], [0]), ValueError, "must have one output"),
    (lambda m: viz.layer_maps(dense_only(), IMAGE), ValueError, "no layer with maps"),
    (lambda m: viz.feature_maps(m, IMAGE, columns=0), ValueError,
     "feature_maps: columns must be a positive whole number, got 0"),
    (lambda m: viz.filters(randomized(keras.Sequential(
        [keras.Input((8, 8, 1)), layers.Conv2D(1, 3)])), columns=0), ValueError,
     "filters: columns must be a positive whole number, got 0"),
    (lambda m: viz.misclassified(m, IMAGE[None], [0], count=0), ValueError,
     "misclassified: count must be a positive whole number, got 0"),
    (lambda m: viz.misclassified(m, IMAGE[None], [0], columns=-1), ValueError, "columns must be"),
    (lambda m: viz.deconvnet(m, IMAGE, m.layers[2], []), ValueError,
     r"deconvnet: channel must be a number or several, got \[\]"),
    (lambda m: viz.saliency_map("model", IMAGE), TypeError, "must be a Model, got str"),
    (lambda m: viz.saliency_map(keras.Sequential([layers.Flatten()]), IMAGE), ValueError,
     r"not built yet; call model.build\(\(None, height, width, channels\)\)"),
    (lambda m: viz.saliency_map(m, IMAGE[:5]), ValueError,
     r"image must be one image of shape \(8, 8, 2\), got shape \(5, 8, 2\)"),
    (lambda m: viz.saliency_map(m, IMAGE, 3), ValueError,
     "label must be from 0 to 2, there are 3 classes, got 3"),
    (lambda m: viz.saliency_map(m, IMAGE, "cat"), TypeError, "label must be an integer, got 'cat'"),
    (lambda m: viz.grad_cam_map(dense_only(), IMAGE), ValueError, "no convolution of images"),
    (lambda m: viz.grad_cam_map(m, IMAGE, layer="conv9"), ValueError,
     "no layer 'conv9'; there are conv2d"),
    (lambda m: viz.grad_cam_map(m, IMAGE, layer=m.layers[-1]), ValueError, "has no maps"),
    (lambda m: viz.grad_cam_map(shared(), IMAGE[:6, :6], layer="twice"), ValueError,
     "is called 2 times"),
    (lambda m: viz.deconvnet_projection(m, IMAGE, m.layers[2], 5), ValueError,
     "channel must be from 0 to 4"),
    (lambda m: viz.occlusion_map(m, IMAGE, window=9), ValueError,
     r"window \(9, 9\) is larger than the image \(8, 8\)"),
    (lambda m: viz.occlusion_map(m, IMAGE, stride=0), ValueError, "stride must be one or two"),
    (lambda m: viz.smooth_grad_map(m, IMAGE, samples=0), ValueError, "samples must be at least 1"),
    (lambda m: viz.smooth_grad_map(m, IMAGE, noise=-1), ValueError, "noise must not be negative"),
    (lambda m: viz.maximal_image(m, channel=3), ValueError, "there are 3 classes, got 3"),
    (lambda m: viz.maximal_image(m, start=IMAGE[:4]), ValueError, "start must have shape"),
    (lambda m: viz.filter_images(dense_only()), ValueError, "no convolution of images"),
    (lambda m: viz.filter_images(layers.Conv2D(1, 3)), ValueError, "not built yet"),
    (lambda m: viz.volumes(keras.Sequential([keras.Input((None, None, 3)), layers.Conv2D(1, 3)])),
     ValueError, "sizes must be known"),
    (lambda m: viz.confusion_counts([0, 1], [0]), ValueError, "got 2 and 1"),
    (lambda m: viz.confusion_counts([0, 5], [0, 1], 3), ValueError, "class 5 is not below classes"),
    (lambda m: viz.confusion_matrix([0, 1]), TypeError, "give either y_pred, or model and x"),
    (lambda m: viz.mistakes(m, IMAGE[None], [0, 1]), ValueError, "got 1 and 2"),
    (lambda m: viz.training_curves({}), ValueError, "there are nothing"),
    (lambda m: viz.training_curves([1.0]), TypeError, "history must be what fit returned"),
    (lambda m: viz.saliency(m, IMAGE, ax=3), TypeError, "ax must be matplotlib axes, got int"),
    (lambda m: viz.architecture(m, depth_scale=0), ValueError, "depth_scale must be positive"),
]  # fmt: skip


@pytest.mark.parametrize("number", range(len(BAD)))
def test_bad_input_is_refused(model, number):
    call, error, text = BAD[number]
    if "ax must" in text or "curves" in text or "depth_scale" in text or "filters: " in text:
        pytest.importorskip("matplotlib")
    with pytest.raises(error, match=text):
        call(model)


# -- pictures -------------------------------------------------------------------------------------
