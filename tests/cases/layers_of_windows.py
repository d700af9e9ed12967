"""Layers over windows and neighbours that Keras does not have (`LAYERS`), and arguments of its own
layers that it does not know (`OPTIONS`).
"""

from cases.case_of_layer import case
from references import layer_windows as R

CF = "channels_first"
IMAGE, SEQUENCE, VOLUME = (2, 4, 5, 2), (2, 6, 2), (1, 3, 2, 3, 1)


def padded_conv(pairs, mode="constant", value=0.0, **options):
    def reference(x, kernel, bias=0.0):
        return R.correlation(R.padded(x, pairs, mode, value), kernel, bias, **options)

    return reference


def local(window, strides, pairs):
    def reference(x, kernel, bias=0.0):
        return R.local(R.padded(x, pairs), kernel, bias, window, strides)

    return reference


def bordered(pairs, mode="constant", value=0.0):
    return lambda x: R.padded(x, pairs, mode, value)


def response(*settings):
    return lambda x: R.local_response(x, *settings)


LAYERS = [
    case(
        "local",
        lambda L: L.LocallyConnected2D(3, (2, 3), (1, 2)),
        IMAGE,
        reference=local((2, 3), (1, 2), ((0, 0), (0, 0))),
    ),
    case(
        "local first same",
        lambda L: L.LocallyConnected2D(2, 3, (2, 3), "same", CF),
        (1, 2, 3, 4),
        # The bias has the filters last.
        reference=R.first(local((3, 3), (2, 3), ((1, 1), (1, 1)))),
    ),
    case(
        "local uneven",
        lambda L: L.LocallyConnected2D(2, 2, padding=((1, 0), (0, 1)), use_bias=False),
        (2, 2, 3, 1),
        reference=local((2, 2), (1, 1), ((1, 0), (0, 1))),
    ),
    case(
        "local 1d",
        lambda L: L.LocallyConnected1D(3, 2, 2, padding=(1, 0)),
        SEQUENCE,
        reference=local((2,), (2,), ((1, 0),)),
    ),
    case(
        "padding reflect",
        lambda L: L.Padding2D(((1, 0), (2, 3)), "reflect"),
        IMAGE,
        reference=bordered(((1, 0), (2, 3)), "reflect"),
    ),
    case(
        "padding mean first",
        lambda L: L.Padding2D((1, 2), "mean", data_format=CF),
        (2, 2, 3, 2),
        reference=R.first(bordered(((1, 1), (2, 2)), "mean")),
    ),
    case(
        "padding mean below",
        lambda L: L.Padding2D(((0, 1), (0, 0)), "mean"),
        IMAGE,
        reference=bordered(((0, 1), (0, 0)), "mean"),
    ),
    case(
        "padding constant",
        lambda L: L.Padding2D(1, value=0.5),
        (1, 2, 2, 1),
        reference=bordered(((1, 1), (1, 1)), value=0.5),
    ),
    case(
        "padding circular 1d",
        lambda L: L.Padding1D((2, 1), "wrap"),
        SEQUENCE,
        reference=bordered(((2, 1),), "wrap"),
    ),
    case(
        "padding symmetric 1d",
        lambda L: L.Padding1D(2, "symmetric", 0.0, CF),
        (2, 2, 4),
        reference=R.first(bordered(((2, 2),), "symmetric")),
    ),
    case(
        "padding edge 3d",
        lambda L: L.Padding3D(((1, 0), (0, 2), (1, 1)), "replicate"),
        VOLUME,
        reference=bordered(((1, 0), (0, 2), (1, 1)), "edge"),
    ),
    case(
        "padding mean 3d",
        lambda L: L.Padding3D(1, "mean"),
        (2, 2, 1, 2, 2),
        reference=bordered(((1, 1),) * 3, "mean"),
    ),
    case(
        "local response",
        lambda L: L.LocalResponseNormalization(3, 0.5, k=1.0),
        (2, 2, 3, 7),
        reference=response(3, 0.5, 0.75, 1.0),
    ),
    case(
        "local response exponent",
        lambda L: L.LocalResponseNormalization(5, 0.5, 0.6),
        (3, 4),
        reference=response(5, 0.5, 0.6, 2.0),
    ),
    case(
        "local response first",
        lambda L: L.LocalResponseNormalization(alpha=1, beta=0.5, data_format=CF),
        (1, 6, 2, 2),
        reference=R.first(response(5, 1, 0.5, 2.0)),
    ),
    case(
        "unpooling copies",
        lambda L: L.MaxUnpooling2D((2, 3), output_size=(5, 7)),
        (1, 2, 2, 2),
        reference=lambda x: R.padded(x.repeat(2, 1).repeat(3, 2), ((0, 1), (0, 1))),
    ),
    case(
        "unpooling copies first",
        lambda L: L.MaxUnpooling2D(data_format=CF),
        (1, 2, 2, 3),
        reference=lambda x: x.repeat(2, 2).repeat(2, 3),
    ),
]

OPTIONS = [
    case(
        "conv2d reflect",
        lambda L: L.Conv2D(2, 3, padding="same", padding_mode="reflect"),
        IMAGE,
        reference=padded_conv(((1, 1), (1, 1)), "reflect"),
    ),
    case(
        "conv2d constant",
        lambda L: L.Conv2D(
            2, 2, (2, 1), ((1, 0), (2, 1)), padding_mode="constant", padding_value=0.5
        ),
        IMAGE,
        reference=padded_conv(((1, 0), (2, 1)), value=0.5, strides=(2, 1)),
    ),
    case(
        "conv2d mean first",
        lambda L: L.Conv2D(2, 3, 1, "same", CF, padding_mode="mean"),
        (1, 2, 3, 3),
        reference=R.first(padded_conv(((1, 1), (1, 1)), "mean")),
    ),
    case(
        "conv2d valid replicate",
        lambda L: L.Conv2D(2, 2, padding_mode="replicate"),
        (1, 3, 3, 1),
        reference=padded_conv(((0, 0), (0, 0))),
    ),
    case(
        "conv2d flipped",
        lambda L: L.Conv2D(2, (2, 3), flip_filters=True),
        IMAGE,
        reference=padded_conv(((0, 0), (0, 0)), flip=True),
    ),
    case(
        "conv1d circular",
        lambda L: L.Conv1D(2, 3, padding="causal", padding_mode="circular"),
        SEQUENCE,
        reference=padded_conv(((2, 0),), "wrap"),
    ),
    case(
        "conv1d flipped symmetric",
        lambda L: L.Conv1D(2, 2, padding=(2, 1), flip_filters=True, padding_mode="symmetric"),
        SEQUENCE,
        reference=padded_conv(((2, 1),), "symmetric", flip=True),
    ),
    case(
        "conv3d edge flipped",
        lambda L: L.Conv3D(2, 2, padding=1, padding_mode="edge", flip_filters=True),
        (1, 2, 2, 2, 1),
        reference=padded_conv(((1, 1),) * 3, "edge", flip=True),
    ),
    case(
        "depthwise circular",
        lambda L: L.DepthwiseConv2D(3, 1, "same", 2, padding_mode="circular"),
        (1, 3, 4, 2),
        reference=lambda x, kernel, bias: R.depthwise(
            R.padded(x, ((1, 1), (1, 1)), "wrap"), kernel, bias
        ),
    ),
    case(
        "separable mean",
        lambda L: L.SeparableConv2D(2, 2, padding=((1, 0), (0, 1)), padding_mode="mean"),
        (1, 3, 3, 2),
        reference=lambda x, depthwise_kernel, pointwise_kernel, bias: (
            R.depthwise(R.padded(x, ((1, 0), (0, 1)), "mean"), depthwise_kernel)
            @ pointwise_kernel[0, 0]
            + bias
        ),
    ),
]
