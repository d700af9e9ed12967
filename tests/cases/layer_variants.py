"""Further layers: arguments in company, odd sizes, one sample, axes in all places."""

from cases.case_of_layer import case

IMAGE, FIRST = (1, 7, 5, 4), (2, 4, 5, 7)
SEQUENCE, SEQUENCE_FIRST = (1, 9, 4), (2, 4, 9)
VOLUME, VOLUME_FIRST = (1, 3, 5, 4, 2), (2, 2, 3, 5, 4)
ROW, ONE = (1, 5), (2, 1, 1, 3)
CF = "channels_first"

CONVOLUTIONS = [
    case("conv2d even same", lambda L: L.Conv2D(3, (2, 4), (3, 2), "same"), IMAGE),
    case("conv2d same dilated", lambda L: L.Conv2D(3, 3, 1, "same", dilation_rate=2), IMAGE),
    case("conv2d first same", lambda L: L.Conv2D(3, (3, 2), (2, 1), "same", CF), FIRST),
    case(
        "conv2d first groups",
        lambda L: L.Conv2D(4, 2, 1, "same", CF, (1, 2), 2, "elu"),
        FIRST,
    ),
    case("conv2d groups strides", lambda L: L.Conv2D(8, 3, 2, "same", groups=4), IMAGE),
    case("conv2d one by one", lambda L: L.Conv2D(6, 1, 2, activation="gelu"), IMAGE),
    case("conv2d of a pixel", lambda L: L.Conv2D(2, 3, padding="same"), ONE),
    case("conv2d of the whole", lambda L: L.Conv2D(2, (7, 5), activation="softplus"), IMAGE),
    case("conv2d wide strides", lambda L: L.Conv2D(2, 2, (4, 3), use_bias=False), IMAGE),
    case("conv1d first same", lambda L: L.Conv1D(3, 4, 2, "same", CF), SEQUENCE_FIRST),
    case("conv1d dilated", lambda L: L.Conv1D(3, 2, 1, "same", dilation_rate=3), SEQUENCE),
    case("conv1d causal groups", lambda L: L.Conv1D(4, 3, 2, "causal", groups=2), SEQUENCE),
    case("conv3d strides", lambda L: L.Conv3D(2, 2, (1, 2, 3)), VOLUME),
    case("conv3d first same", lambda L: L.Conv3D(2, (2, 3, 1), 2, "same", CF), VOLUME_FIRST),
    case("conv3d dilated", lambda L: L.Conv3D(2, 2, 1, "same", dilation_rate=2), VOLUME),
    case("conv3d groups last", lambda L: L.Conv3D(4, 2, groups=2, use_bias=False), VOLUME),
    case("depthwise first", lambda L: L.DepthwiseConv2D(3, 1, "same", 2, CF), FIRST),
    case("depthwise dilated", lambda L: L.DepthwiseConv2D(2, dilation_rate=(2, 1)), IMAGE),
    case("depthwise even", lambda L: L.DepthwiseConv2D((4, 2), 2, "same"), IMAGE),
    case("depthwise 1d valid", lambda L: L.DepthwiseConv1D(4, 3, depth_multiplier=2), SEQUENCE),
    case("separable first", lambda L: L.SeparableConv2D(3, 2, 2, "valid", CF), FIRST),
    case("separable dilated", lambda L: L.SeparableConv2D(3, 2, dilation_rate=2), IMAGE),
    case("separable 1d dilated", lambda L: L.SeparableConv1D(3, 3, 1, "same", None, 2), SEQUENCE),
    case("transpose first", lambda L: L.Conv2DTranspose(3, 3, 2, "same", None, CF), (1, 2, 3, 5)),
    case("transpose narrow", lambda L: L.Conv2DTranspose(2, (1, 2), 3, "same"), (2, 3, 2, 2)),
    case("transpose of a pixel", lambda L: L.Conv2DTranspose(2, (4, 3), (2, 1)), ONE),
    case(
        "transpose first output padding",
        lambda L: L.Conv2DTranspose(2, 3, (3, 2), "valid", (1, 0), CF, use_bias=False),
        (1, 3, 2, 3),
    ),
    case("transpose 1d first", lambda L: L.Conv1DTranspose(2, 4, 3, "valid", None, CF), (1, 3, 5)),
    case(
        "transpose 3d first",
        lambda L: L.Conv3DTranspose(2, (1, 3, 2), (1, 2, 2), "valid", CF),
        (1, 2, 2, 3, 2),
    ),
]

POOLS = [
    case("max pool strides", lambda L: L.MaxPooling2D(2, (3, 1)), IMAGE),
    case("max pool first same", lambda L: L.MaxPooling2D((3, 2), 2, "same", CF), FIRST),
    case("max pool 1d first", lambda L: L.MaxPooling1D(2, None, "same", CF), SEQUENCE_FIRST),
    case("max pool 3d first", lambda L: L.MaxPooling3D(2, 1, "same", CF), VOLUME_FIRST),
    case("average pool strides", lambda L: L.AveragePooling2D((3, 2), (1, 2)), IMAGE),
    case("average pool first same", lambda L: L.AveragePooling2D(2, 2, "same", CF), FIRST),
    case("average pool 1d same", lambda L: L.AveragePooling1D(3, 2, "same"), SEQUENCE),
    case("average pool 1d first", lambda L: L.AveragePooling1D(4, 3, "valid", CF), SEQUENCE_FIRST),
    case("average pool 3d strides", lambda L: L.AveragePooling3D((2, 3, 1), (1, 2, 3)), VOLUME),
    case("global average first kept", lambda L: L.GlobalAveragePooling2D(CF, True), FIRST),
    case("global max first", lambda L: L.GlobalMaxPooling2D(CF), FIRST),
    case("global max kept", lambda L: L.GlobalMaxPooling2D(keepdims=True), IMAGE),
    case("global average 1d first", lambda L: L.GlobalAveragePooling1D(CF, True), SEQUENCE_FIRST),
    case("global max 1d first", lambda L: L.GlobalMaxPooling1D(CF), SEQUENCE_FIRST),
    case("global average 3d first", lambda L: L.GlobalAveragePooling3D(CF), VOLUME_FIRST),
    case("global max 3d kept", lambda L: L.GlobalMaxPooling3D(keepdims=True), VOLUME),
    case("adaptive average first", lambda L: L.AdaptiveAveragePooling2D((3, 4), CF), FIRST),
    case("adaptive average 3d first", lambda L: L.AdaptiveAveragePooling3D(2, CF), VOLUME_FIRST),
    case("adaptive max larger", lambda L: L.AdaptiveMaxPooling2D((9, 3)), IMAGE),
]

NORMALIZATIONS = [
    case(
        "batch norm volumes",
        lambda L: L.BatchNormalization(axis=1, momentum=0.7),
        VOLUME_FIRST,
        training=True,
    ),
    case("batch norm sequences", lambda L: L.BatchNormalization(scale=False), SEQUENCE),
    case(
        "batch norm one value",
        lambda L: L.BatchNormalization(epsilon=0.01),
        (3, 1),
        training=True,
    ),
    case("layer norm first", lambda L: L.LayerNormalization(axis=1, epsilon=0.1), FIRST),
    case("layer norm rows", lambda L: L.LayerNormalization(center=False), ROW),
    case("layer norm all", lambda L: L.LayerNormalization(axis=[1, 2, 3]), IMAGE),
    case("group norm first", lambda L: L.GroupNormalization(2, 1, 0.1), VOLUME_FIRST),
    case("group norm sequences", lambda L: L.GroupNormalization(1, scale=False), SEQUENCE),
    case("group norm rows", lambda L: L.GroupNormalization(2, center=False), (2, 10)),
    case("unit norm axes", lambda L: L.UnitNormalization(axis=[1, 2]), IMAGE),
    case("rms norm volumes", lambda L: L.RMSNormalization(epsilon=0.1), VOLUME),
    case(
        "normalization first",
        lambda L: L.Normalization(1, [1.0, 2, 3, 4], [4, 3, 2, 1]),
        FIRST,
    ),
]

RESHAPES = [
    case("flatten volume", lambda L: L.Flatten(CF), VOLUME),
    case("reshape to one", lambda L: L.Reshape((-1,)), IMAGE),
    case("permute volume", lambda L: L.Permute((4, 2, 1, 3)), VOLUME),
    case("zero padding number", lambda L: L.ZeroPadding2D(2), ONE),
    case("zero padding 1d first", lambda L: L.ZeroPadding1D((0, 3), CF), SEQUENCE_FIRST),
    case("zero padding 3d first", lambda L: L.ZeroPadding3D((1, 0, 2), CF), VOLUME_FIRST),
    case("cropping uneven", lambda L: L.Cropping2D(((0, 3), (2, 0)), CF), FIRST),
    case("upsampling bilinear", lambda L: L.UpSampling2D((2, 3), None, "bilinear"), IMAGE),
    case("upsampling bicubic", lambda L: L.UpSampling2D(2, CF, "bicubic"), (1, 2, 4, 3)),
    case("upsampling lanczos", lambda L: L.UpSampling2D((3, 1), None, "lanczos3"), IMAGE),
    case("resizing nearest first", lambda L: L.Resizing(3, 8, "nearest", data_format=CF), FIRST),
    case("resizing lanczos", lambda L: L.Resizing(9, 4, "lanczos5"), IMAGE),
    case("resizing smooth", lambda L: L.Resizing(3, 2, antialias=True), IMAGE),
    case("center crop first", lambda L: L.CenterCrop(2, 3, CF), FIRST),
]

ELEMENTWISE = [
    *(
        case(f"activation {name}", lambda L, name=name: L.Activation(name), (2, 3, 3))
        for name in (
            "elu", "selu", "celu", "gelu", "silu", "mish", "softsign", "softplus", "log_softmax",
            "hard_sigmoid", "hard_silu", "relu6", "exponential", "log_sigmoid", "tanh_shrink",
            "squareplus", "sparse_plus", "sparsemax", "hard_tanh", "sparse_sigmoid",
        )
    ),
    case("relu clipped", lambda L: L.ReLU(max_value=0.5), ROW),
    case("relu slope", lambda L: L.ReLU(negative_slope=0.25), IMAGE),
    case("leaky relu slope", lambda L: L.LeakyReLU(negative_slope=0.05), SEQUENCE),
    case("elu volume", lambda L: L.ELU(1.5), VOLUME),
    case("prelu axis", lambda L: L.PReLU(shared_axes=[1]), IMAGE),
    case("softmax inner", lambda L: L.Softmax(axis=-2), VOLUME),
    case("rescaling offset", lambda L: L.Rescaling(2.0, offset=[1.0, -1.0]), VOLUME),
    case("dense one", lambda L: L.Dense(1), ROW),
    case("dense on sequences", lambda L: L.Dense(3, use_bias=False), SEQUENCE),
    case("dense on volumes", lambda L: L.Dense(2, "softmax"), VOLUME),
    case(
        "time distributed conv",
        lambda L: L.TimeDistributed(L.Conv2D(2, 2, 2, "same", name="step")),
        (2, 2, 3, 5, 2),
    ),
    case(
        "time distributed pool",
        lambda L: L.TimeDistributed(L.MaxPooling1D(2, name="step")),
        (1, 3, 5, 2),
    ),
]  # fmt: skip

MERGES = [
    case("add one", lambda L: L.Add(), ROW, (1, 1)),
    case("multiply three", lambda L: L.Multiply(), VOLUME, VOLUME, (1, 1, 1, 1, 2)),
    case("average broadcast", lambda L: L.Average(), SEQUENCE, (1, 1, 4)),
    case("maximum broadcast", lambda L: L.Maximum(), SEQUENCE, (1, 9, 1)),
    case("minimum three", lambda L: L.Minimum(), ROW, ROW, ROW),
    case("subtract broadcast", lambda L: L.Subtract(), IMAGE, (1, 1, 1, 4)),
    case("concatenate last but one", lambda L: L.Concatenate(-2), SEQUENCE, (1, 2, 4), (1, 1, 4)),
    case("concatenate volumes", lambda L: L.Concatenate(1), VOLUME, (1, 2, 5, 4, 2)),
    case("dot cosine rows", lambda L: L.Dot(1, normalize=True), ROW, ROW),
    case("dot last", lambda L: L.Dot((2, 1)), (2, 3, 4), (2, 4, 2)),
]

VARIANTS = [*CONVOLUTIONS, *POOLS, *NORMALIZATIONS, *RESHAPES, *ELEMENTWISE, *MERGES]
