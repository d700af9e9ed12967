"""Layers with small inputs, for the checks that every layer must pass.

A case is a function of the module `layers`, so that the same table makes real Keras's layers: see
`tests/golden/record_layers.py`.
"""

from cases.case_of_layer import case
from cases.layer_variants import VARIANTS
from cases.layers_beyond_keras import BEYOND
from cases.layers_of_windows import OPTIONS

IMAGE, SEQUENCE, ROW = (2, 6, 7, 4), (2, 8, 3), (3, 5)
VOLUME = (2, 4, 5, 3, 2)

CONVOLUTIONS = [
    case("conv2d", lambda L: L.Conv2D(3, 3), IMAGE),
    case("conv2d relu", lambda L: L.Conv2D(5, (2, 3), activation="relu"), IMAGE),
    case("conv2d same", lambda L: L.Conv2D(3, 4, padding="same", activation="tanh"), IMAGE),
    case("conv2d strides", lambda L: L.Conv2D(3, 3, (2, 3), "same", use_bias=False), IMAGE),
    case("conv2d dilated", lambda L: L.Conv2D(3, 2, dilation_rate=(2, 3)), IMAGE),
    case("conv2d groups", lambda L: L.Conv2D(6, 3, groups=2, activation="sigmoid"), IMAGE),
    case(
        "conv2d channels first",
        lambda L: L.Conv2D(3, 3, data_format="channels_first", activation="softmax"),
        (2, 4, 6, 7),
    ),
    case("conv1d", lambda L: L.Conv1D(4, 3, activation="relu"), SEQUENCE),
    case("conv1d causal", lambda L: L.Conv1D(4, 3, padding="causal", dilation_rate=2), SEQUENCE),
    case("conv1d strides", lambda L: L.Conv1D(4, 2, 3, "same", use_bias=False), SEQUENCE),
    case("conv1d groups", lambda L: L.Conv1D(4, 2, groups=2), (2, 8, 4)),
    case("depthwise", lambda L: L.DepthwiseConv2D(3, activation="relu"), IMAGE),
    case("depthwise same", lambda L: L.DepthwiseConv2D(3, 2, "same", use_bias=False), IMAGE),
    case("depthwise multiplier", lambda L: L.DepthwiseConv2D(2, depth_multiplier=3), IMAGE),
    case("separable", lambda L: L.SeparableConv2D(5, 3, activation="relu"), IMAGE),
    case(
        "separable same",
        lambda L: L.SeparableConv2D(5, (3, 2), 2, "same", depth_multiplier=2, use_bias=False),
        IMAGE,
    ),
    case("transpose", lambda L: L.Conv2DTranspose(3, 3, activation="relu"), IMAGE),
    case("transpose same", lambda L: L.Conv2DTranspose(3, 4, 2, "same"), IMAGE),
    case("transpose odd same", lambda L: L.Conv2DTranspose(3, 3, (2, 3), "same"), IMAGE),
    case("transpose wide stride", lambda L: L.Conv2DTranspose(3, 2, 3), IMAGE),
    case("transpose output padding", lambda L: L.Conv2DTranspose(3, 3, 2, "same", 0), IMAGE),
    case("transpose dilated", lambda L: L.Conv2DTranspose(3, 3, dilation_rate=2), IMAGE),
]

POOLS = [
    case("max pool", lambda L: L.MaxPooling2D(), IMAGE),
    case("max pool overlapping", lambda L: L.MaxPooling2D((3, 2), 1), IMAGE),
    case("max pool same", lambda L: L.MaxPooling2D(3, 2, "same"), IMAGE),
    case(
        "max pool channels first", lambda L: L.MaxPool2D(data_format="channels_first"), (2, 4, 6, 7)
    ),
    case("average pool", lambda L: L.AveragePooling2D(2), IMAGE),
    case("average pool same", lambda L: L.AveragePooling2D(3, 2, "same"), IMAGE),
    case("max pool 1d", lambda L: L.MaxPooling1D(3, 2, "same"), SEQUENCE),
    case("average pool 1d", lambda L: L.AveragePooling1D(2), SEQUENCE),
    case("global average", lambda L: L.GlobalAveragePooling2D(), IMAGE),
    case("global average kept", lambda L: L.GlobalAveragePooling2D(keepdims=True), IMAGE),
    case(
        "global average channels first", lambda L: L.GlobalAveragePooling2D("channels_first"), IMAGE
    ),
    case("global max", lambda L: L.GlobalMaxPooling2D(), IMAGE),
    case("global average 1d", lambda L: L.GlobalAveragePooling1D(), SEQUENCE),
    case("global max 1d", lambda L: L.GlobalMaxPooling1D(keepdims=True), SEQUENCE),
]

NORMALIZATIONS = [
    case("batch norm", lambda L: L.BatchNormalization(), IMAGE),
    case("batch norm training", lambda L: L.BatchNormalization(), IMAGE, training=True),
    case(
        "batch norm plain training",
        lambda L: L.BatchNormalization(momentum=0.5, epsilon=0.1, center=False, scale=False),
        IMAGE,
        training=True,
    ),
    case("batch norm axis", lambda L: L.BatchNormalization(axis=1), IMAGE),
    case("batch norm axis training", lambda L: L.BatchNormalization(axis=1), IMAGE, training=True),
    case("batch norm rows", lambda L: L.BatchNormalization(), ROW, training=True),
    case(
        "batch norm frozen", lambda L: L.BatchNormalization(trainable=False), IMAGE, training=True
    ),
    case("layer norm", lambda L: L.LayerNormalization(), IMAGE),
    case("layer norm axes", lambda L: L.LayerNormalization(axis=[1, 3], scale=False), IMAGE),
    case("group norm", lambda L: L.GroupNormalization(groups=2), IMAGE),
    case("instance norm", lambda L: L.GroupNormalization(groups=-1, axis=1), IMAGE),
    case("unit norm", lambda L: L.UnitNormalization(), IMAGE),
]

RESHAPES = [
    case("flatten", lambda L: L.Flatten(), IMAGE),
    case("flatten channels first", lambda L: L.Flatten("channels_first"), IMAGE),
    case("flatten row", lambda L: L.Flatten(), (4,)),
    case("reshape", lambda L: L.Reshape((4, -1, 2)), IMAGE),
    case("permute", lambda L: L.Permute((3, 1, 2)), IMAGE),
    case("repeat", lambda L: L.RepeatVector(3), ROW),
    case("zero padding", lambda L: L.ZeroPadding2D(((1, 0), (2, 3))), IMAGE),
    case(
        "zero padding channels first",
        lambda L: L.ZeroPadding2D((1, 2), data_format="channels_first"),
        IMAGE,
    ),
    case("zero padding 1d", lambda L: L.ZeroPadding1D((1, 2)), SEQUENCE),
    case("cropping", lambda L: L.Cropping2D(((1, 0), (2, 3))), IMAGE),
    case("cropping channels first", lambda L: L.Cropping2D(1, "channels_first"), IMAGE),
    case("cropping 1d", lambda L: L.Cropping1D((1, 2)), SEQUENCE),
    case("upsampling", lambda L: L.UpSampling2D((2, 3)), IMAGE),
    case("upsampling channels first", lambda L: L.UpSampling2D(2, "channels_first"), IMAGE),
    case("upsampling 1d", lambda L: L.UpSampling1D(3), SEQUENCE),
]

ELEMENTWISE = [
    case("activation", lambda L: L.Activation("tanh"), IMAGE),
    case("activation linear", lambda L: L.Activation("linear"), ROW),
    case("relu", lambda L: L.ReLU(), IMAGE),
    case("relu bounds", lambda L: L.ReLU(1.5, 0.1, 0.25), IMAGE),
    case("leaky relu", lambda L: L.LeakyReLU(), IMAGE),
    case("elu", lambda L: L.ELU(0.7), IMAGE),
    case("prelu", lambda L: L.PReLU(), ROW),
    case("prelu shared", lambda L: L.PReLU(shared_axes=(1, 2)), IMAGE),
    case("softmax", lambda L: L.Softmax(), ROW),
    case("softmax axis", lambda L: L.Softmax(axis=1), IMAGE),
    case("softmax axes", lambda L: L.Softmax(axis=[1, 2]), IMAGE),
    case("rescaling", lambda L: L.Rescaling(1 / 127.5, -1), IMAGE, integers=True),
    case("rescaling channels", lambda L: L.Rescaling([1.0, 2.0, 3.0, 4.0], 0.5), IMAGE),
    case("identity", lambda L: L.Identity(), IMAGE),
    case("dropout", lambda L: L.Dropout(0.5), IMAGE),
    case("dropout nothing", lambda L: L.Dropout(0), IMAGE, training=True),
    case("dropout everything", lambda L: L.Dropout(1), IMAGE, training=True),
    case("spatial dropout", lambda L: L.SpatialDropout2D(0.5), IMAGE),
    case("spatial dropout 1d", lambda L: L.SpatialDropout1D(0.5), SEQUENCE),
    case("activity regularization", lambda L: L.ActivityRegularization(0.1, 0.2), ROW),
]

DENSE = [
    case("dense", lambda L: L.Dense(4, activation="relu"), ROW),
    case("dense softmax", lambda L: L.Dense(4, "softmax", use_bias=False), ROW),
    case("dense on images", lambda L: L.Dense(3, activation="sigmoid"), IMAGE),
    case("einsum dense", lambda L: L.EinsumDense("abc,cd->abd", (None, 4), "tanh", "d"), SEQUENCE),
    case("einsum dense dots", lambda L: L.EinsumDense("...c,cde->...de", (2, 3)), SEQUENCE),
    case("category encoding", lambda L: L.CategoryEncoding(256), (2, 5), integers=True),
    case("category counts", lambda L: L.CategoryEncoding(256, "count"), (2, 5), integers=True),
    case("category rows", lambda L: L.CategoryEncoding(256, "one_hot"), (2, 1), integers=True),
    case("discretization rows", lambda L: L.Discretization([0.0], output_mode="one_hot"), ROW),
    case("masking", lambda L: L.Masking(), SEQUENCE),
    case("embedding", lambda L: L.Embedding(256, 3), (2, 5), integers=True),
]

MERGES = [
    case("add", lambda L: L.Add(), IMAGE, IMAGE, IMAGE),
    case("add broadcast", lambda L: L.Add(), IMAGE, (2, 4)),
    case("subtract", lambda L: L.Subtract(), ROW, ROW),
    case("multiply", lambda L: L.Multiply(), IMAGE, (2, 1, 1, 4)),
    case("average", lambda L: L.Average(), ROW, ROW, ROW),
    case("maximum", lambda L: L.Maximum(), ROW, ROW, ROW),
    case("minimum", lambda L: L.Minimum(), ROW, ROW),
    case("concatenate", lambda L: L.Concatenate(), IMAGE, (2, 6, 7, 1), (2, 6, 7, 3)),
    case("concatenate axis", lambda L: L.Concatenate(axis=1), IMAGE, (2, 2, 7, 4)),
    case("dot rows", lambda L: L.Dot(axes=1), ROW, ROW),
    case("dot", lambda L: L.Dot(axes=(1, 2)), (2, 3, 4), (2, 5, 3)),
    case("dot cosine", lambda L: L.Dot(axes=-1, normalize=True), (2, 3, 4), (2, 5, 4)),
]

# Random layers outside training; `test_augmentation.py` has what they do in it.
AT_REST = [
    case("gaussian noise", lambda L: L.GaussianNoise(0.5), ROW),
    case("gaussian dropout", lambda L: L.GaussianDropout(0.5), ROW),
    case("alpha dropout", lambda L: L.AlphaDropout(0.5), ROW),
    case("random flip", lambda L: L.RandomFlip(), IMAGE),
    case("random crop", lambda L: L.RandomCrop(3, 4, 5), IMAGE),
    case("random translation", lambda L: L.RandomTranslation(0.1, (-0.2, 0.3)), IMAGE),
    case("random rotation", lambda L: L.RandomRotation(0.2), IMAGE),
    case("random zoom", lambda L: L.RandomZoom((-0.2, 0.1), fill_mode="wrap"), IMAGE),
    case("random contrast", lambda L: L.RandomContrast(0.2), IMAGE),
    case("random brightness", lambda L: L.RandomBrightness(0.2, (0, 1)), IMAGE),
    case("random erasing", lambda L: L.RandomErasing(0.5), IMAGE),
    case("random grayscale", lambda L: L.RandomGrayscale(), IMAGE),
    case("random hue", lambda L: L.RandomHue(0.2), IMAGE),
    case("random saturation", lambda L: L.RandomSaturation(0.2), IMAGE),
    case("random shear", lambda L: L.RandomShear(0.2, 0.3), IMAGE),
    case("solarization", lambda L: L.Solarization(0.2, 0.3, (0, 1)), IMAGE),
    case("random invert", lambda L: L.RandomInvert(), IMAGE),
    case("equalization", lambda L: L.Equalization((0, 1), 64), IMAGE),
    case("posterization", lambda L: L.RandomPosterization(3, (0, 1)), IMAGE),
    case("color degeneration", lambda L: L.RandomColorDegeneration(0.5), IMAGE),
    case("color jitter", lambda L: L.RandomColorJitter((0, 1), 0.1, (0.2, 0.3)), IMAGE),
    case("sharpness", lambda L: L.RandomSharpness((0.2, 0.5)), IMAGE),
    case("gaussian blur", lambda L: L.RandomGaussianBlur(0.5, (3, 5), 0.4), IMAGE),
    case("perspective", lambda L: L.RandomPerspective(0.5, 0.3, "nearest", 1.0), IMAGE),
    case("elastic", lambda L: L.RandomElasticTransform(0.5, 0.3, fill_mode="wrap"), IMAGE),
    case("mix up", lambda L: L.MixUp(0.3), IMAGE),
    case("cut mix", lambda L: L.CutMix(0.5), IMAGE),
    case("rand augment", lambda L: L.RandAugment((0, 1), 3, 0.2, "nearest"), IMAGE),
    case("aug mix", lambda L: L.AugMix((0, 1), 2, 4, (0.1, 0.2), 0.5, False), IMAGE),
]

# Random layers whose range is one number.
FIXED = [
    case(
        "translation",
        lambda L: L.RandomTranslation((0.25, 0.25), (-0.5, -0.5)),
        (2, 6, 8, 2),
        training=True,
    ),
    case("rotation", lambda L: L.RandomRotation((0.125, 0.125)), IMAGE, training=True),
    case("zoom", lambda L: L.RandomZoom((-0.5, -0.5), (0.25, 0.25)), IMAGE, training=True),
    case(
        "zoom constant", lambda L: L.RandomZoom((0.5, 0.5), None, "constant"), IMAGE, training=True
    ),
    case("brightness", lambda L: L.RandomBrightness((0.25, 0.25), (-1, 1)), IMAGE, training=True),
    case(
        "saturation",
        lambda L: L.RandomSaturation((0.25, 0.25)),
        (2, 3, 4, 3),
        training=True,
    ),
    case("solarization of all", lambda L: L.Solarization(), IMAGE, training=True),
    case("sharpened", lambda L: L.RandomSharpness((0.9, 0.9), (-9, 9)), IMAGE, training=True),
    case(
        "colors fading",
        lambda L: L.RandomColorDegeneration((0.7, 0.7), (-2, 2)),
        (2, 3, 4, 3),
        training=True,
    ),
]

PREPROCESSING = [
    case("rms norm", lambda L: L.RMSNormalization(), IMAGE),
    case("rms norm axes", lambda L: L.RMSNormalization(axis=[2, 3], epsilon=0.1), IMAGE),
    case("resizing", lambda L: L.Resizing(4, 9), IMAGE),
    case("resizing bicubic", lambda L: L.Resizing(3, 4, "bicubic", antialias=True), IMAGE),
    case("resizing nearest", lambda L: L.Resizing(4, 9, interpolation="nearest"), IMAGE),
    case("resizing cropped", lambda L: L.Resizing(4, 2, crop_to_aspect_ratio=True), IMAGE),
    case(
        "resizing padded",
        lambda L: L.Resizing(4, 8, pad_to_aspect_ratio=True, fill_value=0.5),
        IMAGE,
    ),
    case(
        "resizing channels first", lambda L: L.Resizing(4, 5, data_format="channels_first"), IMAGE
    ),
    case("center crop", lambda L: L.CenterCrop(3, 4), IMAGE),
    case("center crop of pixels", lambda L: L.CenterCrop(4, 4), IMAGE, integers=True),
    case("center crop larger", lambda L: L.CenterCrop(8, 5), IMAGE),
    case(
        "normalization",
        lambda L: L.Normalization(mean=[1.0, 2, 3, 4], variance=[4, 3, 2, 1]),
        IMAGE,
    ),
    case("normalization inverted", lambda L: L.Normalization(-1, 2.0, 3.0, True), IMAGE),
    case(
        "normalization axes",
        lambda L: L.Normalization((1, -1), [0.5, 1, 2, 0], [1.0, 2, 0, 3]),
        IMAGE,
    ),
    case("auto contrast", lambda L: L.AutoContrast(), IMAGE),
    case("auto contrast of a range", lambda L: L.AutoContrast((-2, 3)), IMAGE),
    case(
        "clahe",
        lambda L: L.ContrastLimitedAdaptiveHistogramEqualization((0, 255), 2.0, (2, 4)),
        (2, 8, 8, 3),
    ),
    case("spectral norm", lambda L: L.SpectralNormalization(L.Dense(4, name="inner"), 2), ROW),
    case(
        "time distributed", lambda L: L.TimeDistributed(L.Dense(3, "tanh", name="step")), (2, 4, 5)
    ),
]

# Over one and three axes.
RANKS = [
    case("conv3d", lambda L: L.Conv3D(3, (2, 3, 2), activation="relu"), VOLUME),
    case("conv3d same", lambda L: L.Conv3D(3, 3, (2, 1, 2), "same", use_bias=False), VOLUME),
    case(
        "conv3d groups",
        lambda L: L.Conv3D(4, 2, data_format="channels_first", dilation_rate=(2, 1, 1), groups=2),
        (2, 2, 4, 3, 5),
    ),
    case("transpose 1d", lambda L: L.Conv1DTranspose(4, 3, 2, activation="relu"), SEQUENCE),
    case("transpose 1d same", lambda L: L.Conv1DTranspose(2, 3, 2, "same", 1), SEQUENCE),
    case(
        "transpose 1d dilated",
        lambda L: L.Conv1DTranspose(
            2, 2, dilation_rate=3, data_format="channels_first", use_bias=False
        ),
        (2, 3, 8),
    ),
    case("transpose 3d", lambda L: L.Conv3DTranspose(3, 2, (3, 1, 2)), (2, 3, 2, 3, 2)),
    case(
        "transpose 3d same",
        lambda L: L.Conv3DTranspose(3, (3, 2, 3), (2, 2, 1), "same", "channels_first"),
        (2, 2, 3, 2, 3),
    ),
    case(
        "transpose 3d output padding",
        lambda L: L.Conv3DTranspose(2, 3, 2, "same", output_padding=1, activation="tanh"),
        (2, 3, 2, 2, 2),
    ),
    case(
        "transpose 3d dilated",
        lambda L: L.Conv3DTranspose(2, 2, dilation_rate=2, use_bias=False),
        (2, 3, 2, 2, 2),
    ),
    case("depthwise 1d", lambda L: L.DepthwiseConv1D(3, 2, "same", 2, activation="relu"), SEQUENCE),
    case(
        "depthwise 1d channels first",
        lambda L: L.DepthwiseConv1D(2, data_format="channels_first", dilation_rate=2),
        (2, 3, 8),
    ),
    case("separable 1d", lambda L: L.SeparableConv1D(5, 3, activation="relu"), SEQUENCE),
    case(
        "separable 1d same",
        lambda L: L.SeparableConv1D(
            2, 2, 2, "same", "channels_first", depth_multiplier=2, use_bias=False
        ),
        (2, 3, 8),
    ),
    case("max pool 3d", lambda L: L.MaxPooling3D(), VOLUME),
    case("max pool 3d same", lambda L: L.MaxPooling3D((3, 2, 2), (1, 2, 2), "same"), VOLUME),
    case("average pool 3d", lambda L: L.AveragePooling3D(2, data_format="channels_first"), VOLUME),
    case("average pool 3d same", lambda L: L.AveragePooling3D((2, 3, 2), 2, "same"), VOLUME),
    case("global average 3d", lambda L: L.GlobalAveragePooling3D(keepdims=True), VOLUME),
    case("global max 3d", lambda L: L.GlobalMaxPooling3D("channels_first"), VOLUME),
    case("adaptive average 1d", lambda L: L.AdaptiveAveragePooling1D(3), SEQUENCE),
    case("adaptive average", lambda L: L.AdaptiveAveragePooling2D((4, 2)), IMAGE),
    case("adaptive average 3d", lambda L: L.AdaptiveAveragePooling3D((3, 2, 1)), VOLUME),
    case("adaptive max 1d", lambda L: L.AdaptiveMaxPooling1D(5, "channels_first"), (2, 3, 8)),
    case("adaptive max", lambda L: L.AdaptiveMaxPooling2D(3, "channels_first"), (2, 4, 6, 7)),
    case("adaptive max 3d", lambda L: L.AdaptiveMaxPooling3D((2, 4, 2)), VOLUME),
    case("zero padding 3d", lambda L: L.ZeroPadding3D(((1, 0), (2, 1), (0, 3))), VOLUME),
    case("cropping 3d", lambda L: L.Cropping3D(((1, 0), (2, 1), (0, 1))), VOLUME),
    case(
        "cropping 3d channels first", lambda L: L.Cropping3D(1, "channels_first"), (2, 1, 3, 4, 5)
    ),
    case("upsampling 3d", lambda L: L.UpSampling3D((2, 1, 3)), VOLUME),
    case("upsampling 3d channels first", lambda L: L.UpSampling3D(2, "channels_first"), VOLUME),
    case("spatial dropout 3d", lambda L: L.SpatialDropout3D(0.5), VOLUME),
]

CASES = [
    *CONVOLUTIONS, *POOLS, *NORMALIZATIONS, *RESHAPES, *ELEMENTWISE, *DENSE, *MERGES, *RANKS,
    *AT_REST, *FIXED, *PREPROCESSING, *VARIANTS,
]  # fmt: skip
EVERY_CASE = [*CASES, *BEYOND, *OPTIONS]
