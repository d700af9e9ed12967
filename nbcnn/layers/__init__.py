"""Layers, with Keras's names and arguments.

Common parameters
-----------------
data_format : "channels_last" or "channels_first"; None (default): `config.image_data_format()`.
activation : name or function, default none.
use_bias : whether a number per output is added, default True.
embeddings_initializer, embeddings_regularizer, embeddings_constraint : first values of the table,
    penalty on it and what is applied after every update, as for kernels; default "uniform", none
    and none.
kernel_initializer, depthwise_initializer, pointwise_initializer : first values of the weight: name,
    `Initializer`, its configuration or function (shape, dtype) -> array; default "glorot_uniform".
bias_initializer, beta_initializer, alpha_initializer, moving_mean_initializer : first values of the
    weight: name, `Initializer`, its configuration or function; default "zeros".
gamma_initializer, moving_variance_initializer : first values of the weight: name, `Initializer`,
    its configuration or function; default "ones".
kernel_regularizer, depthwise_regularizer, pointwise_regularizer, bias_regularizer : penalty on the
    weight that is added to the loss: name, `Regularizer`, its configuration or a function; default
    none.
beta_regularizer, gamma_regularizer, alpha_regularizer : penalty on the weight that is added to the
    loss: name, `Regularizer`, its configuration or a function; default none.
activity_regularizer : penalty on the outputs, as a mean over the batch; default none.
kernel_constraint, depthwise_constraint, pointwise_constraint, bias_constraint : applied to the
    weight after every update: name, `Constraint`, its configuration or a function; default none.
beta_constraint, gamma_constraint, alpha_constraint : applied to the weight after every update:
    name, `Constraint`, its configuration or a function; default none.
seed : starts the layer's random numbers; None (default): drawn from the program's, which
    `utils.set_random_seed` starts.
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
"""

from collections.abc import Mapping
from typing import Any

from nbcnn.layers.activation import (
    ELU,
    LeakyReLU,
    PReLU,
    ReLU,
    Softmax,
)
from nbcnn.layers.adaptive_pool import (
    AdaptiveAveragePooling1D,
    AdaptiveAveragePooling2D,
    AdaptiveAveragePooling3D,
    AdaptiveMaxPooling1D,
    AdaptiveMaxPooling2D,
    AdaptiveMaxPooling3D,
)
from nbcnn.layers.augmentation import (
    RandomCrop,
    RandomFlip,
)
from nbcnn.layers.base import (
    Layer,
    family,
)
from nbcnn.layers.categories import (
    CategoryEncoding,
    Discretization,
    Masking,
)
from nbcnn.layers.conv import (
    Conv1D,
    Conv2D,
    Conv3D,
    Convolution1D,
    Convolution2D,
    Convolution3D,
)
from nbcnn.layers.conv_dilated import (
    MultiDilatedConv1D,
    MultiDilatedConv2D,
)
from nbcnn.layers.conv_masked import (
    MaskedConv2D,
    MaskedDepthwiseConv2D,
    PatchMask,
)
from nbcnn.layers.conv_transpose import (
    Conv1DTranspose,
    Conv2DTranspose,
    Conv3DTranspose,
    Convolution1DTranspose,
    Convolution2DTranspose,
    Convolution3DTranspose,
)
from nbcnn.layers.conv_upsampled import (
    UpsampleConv2D,
)
from nbcnn.layers.core import (
    Activation,
    Identity,
    Input,
    InputLayer,
    Lambda,
    Rescaling,
)
from nbcnn.layers.dense import (
    Dense,
)
from nbcnn.layers.depthwise import (
    DepthwiseConv1D,
    DepthwiseConv2D,
    SeparableConv1D,
    SeparableConv2D,
    SeparableConvolution1D,
    SeparableConvolution2D,
)
from nbcnn.layers.einsum_dense import (
    EinsumDense,
)
from nbcnn.layers.embedding import (
    Embedding,
)
from nbcnn.layers.image_color import (
    RandomBrightness,
    RandomColorDegeneration,
    RandomColorJitter,
    RandomContrast,
    RandomErasing,
    RandomGrayscale,
    RandomHue,
    RandomInvert,
    RandomSaturation,
    Solarization,
)
from nbcnn.layers.image_filter import (
    RandomGaussianBlur,
    RandomSharpness,
)
from nbcnn.layers.image_mix import (
    CutMix,
    MixUp,
)
from nbcnn.layers.image_motion import (
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from nbcnn.layers.image_policies import (
    AugMix,
    RandAugment,
)
from nbcnn.layers.image_size import (
    CenterCrop,
    Resizing,
)
from nbcnn.layers.image_tone import (
    AutoContrast,
    ContrastLimitedAdaptiveHistogramEqualization,
    Equalization,
    RandomPosterization,
)
from nbcnn.layers.image_warp import (
    RandomElasticTransform,
    RandomPerspective,
)
from nbcnn.layers.input_spec import (
    InputSpec,
)
from nbcnn.layers.local import LocallyConnected1D, LocallyConnected2D
from nbcnn.layers.merge import (
    Add,
    Average,
    Concatenate,
    Dot,
    Maximum,
    Minimum,
    Multiply,
    Subtract,
    add,
    average,
    concatenate,
    dot,
    maximum,
    minimum,
    multiply,
    subtract,
)
from nbcnn.layers.noise import (
    AlphaDropout,
    GaussianDropout,
    GaussianNoise,
)
from nbcnn.layers.norm import (
    BatchNormalization,
    GroupNormalization,
    LayerNormalization,
    RMSNormalization,
    UnitNormalization,
)
from nbcnn.layers.normalization import (
    Normalization,
)
from nbcnn.layers.padding import Padding1D, Padding2D, Padding3D
from nbcnn.layers.pipeline import Pipeline
from nbcnn.layers.pool import (
    AveragePooling1D,
    AveragePooling2D,
    AveragePooling3D,
    AvgPool1D,
    AvgPool2D,
    AvgPool3D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAveragePooling3D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalAvgPool3D,
    GlobalMaxAveragePooling1D,
    GlobalMaxAveragePooling2D,
    GlobalMaxAveragePooling3D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPool3D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    GlobalMaxPooling3D,
    MaxPool1D,
    MaxPool2D,
    MaxPool3D,
    MaxPooling1D,
    MaxPooling2D,
    MaxPooling3D,
)
from nbcnn.layers.pool_pyramid import (
    SpatialPyramidPooling2D,
)
from nbcnn.layers.regularization import (
    ActivityRegularization,
    Dropout,
    SpatialDropout1D,
    SpatialDropout2D,
    SpatialDropout3D,
)
from nbcnn.layers.reshape import (
    Cropping1D,
    Cropping2D,
    Cropping3D,
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    UpSampling2D,
    UpSampling3D,
    ZeroPadding1D,
    ZeroPadding2D,
    ZeroPadding3D,
)
from nbcnn.layers.response_norm import (
    GlobalResponseNormalization,
    LocalResponseNormalization,
)
from nbcnn.layers.spectral import (
    SpectralNormalization,
)
from nbcnn.layers.unpool import MaxUnpooling2D
from nbcnn.layers.wrapper import (
    TimeDistributed,
    Wrapper,
)
from nbcnn.registry import serialize

__all__ = [
    "ELU", "Activation", "ActivityRegularization", "AdaptiveAveragePooling1D",
    "AdaptiveAveragePooling2D", "AdaptiveAveragePooling3D", "AdaptiveMaxPooling1D",
    "AdaptiveMaxPooling2D", "AdaptiveMaxPooling3D", "Add", "AlphaDropout", "AugMix", "AutoContrast",
    "Average", "AveragePooling1D", "AveragePooling2D", "AveragePooling3D", "AvgPool1D", "AvgPool2D",
    "AvgPool3D", "BatchNormalization", "CategoryEncoding", "CenterCrop", "Concatenate",
    "ContrastLimitedAdaptiveHistogramEqualization", "Conv1D", "Conv1DTranspose", "Conv2D",
    "Conv2DTranspose", "Conv3D", "Conv3DTranspose", "Convolution1D", "Convolution1DTranspose",
    "Convolution2D", "Convolution2DTranspose", "Convolution3D", "Convolution3DTranspose",
    "Cropping1D", "Cropping2D", "Cropping3D", "CutMix", "Dense", "DepthwiseConv1D",
    "DepthwiseConv2D", "Discretization", "Dot", "Dropout", "EinsumDense", "Embedding",
    "Equalization", "Flatten", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D",
    "GlobalAveragePooling2D", "GlobalAveragePooling3D", "GlobalAvgPool1D", "GlobalAvgPool2D",
    "GlobalAvgPool3D", "GlobalMaxAveragePooling1D", "GlobalMaxAveragePooling2D",
    "GlobalMaxAveragePooling3D", "GlobalMaxPool1D", "GlobalMaxPool2D", "GlobalMaxPool3D",
    "GlobalMaxPooling1D", "GlobalMaxPooling2D", "GlobalMaxPooling3D", "GlobalResponseNormalization",
    "GroupNormalization", "Identity", "Input", "InputLayer", "InputSpec", "Lambda", "Layer",
    "LayerNormalization", "LeakyReLU", "LocalResponseNormalization", "LocallyConnected1D",
    "LocallyConnected2D", "MaskedConv2D", "MaskedDepthwiseConv2D", "Masking", "MaxPool1D",
    "MaxPool2D", "MaxPool3D", "MaxPooling1D", "MaxPooling2D", "MaxPooling3D", "MaxUnpooling2D",
    "Maximum", "Minimum", "MixUp", "MultiDilatedConv1D", "MultiDilatedConv2D", "Multiply",
    "Normalization", "PReLU", "Padding1D", "Padding2D", "Padding3D", "PatchMask", "Permute",
    "Pipeline",
    "RMSNormalization", "RandAugment", "RandomBrightness", "RandomColorDegeneration",
    "RandomColorJitter", "RandomContrast", "RandomCrop", "RandomElasticTransform", "RandomErasing",
    "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert",
    "RandomPerspective", "RandomPosterization", "RandomRotation", "RandomSaturation",
    "RandomSharpness", "RandomShear", "RandomTranslation", "RandomZoom", "ReLU", "RepeatVector",
    "Rescaling", "Reshape", "Resizing", "SeparableConv1D", "SeparableConv2D",
    "SeparableConvolution1D", "SeparableConvolution2D", "Softmax", "Solarization",
    "SpatialDropout1D", "SpatialDropout2D", "SpatialDropout3D", "SpatialPyramidPooling2D",
    "SpectralNormalization", "Subtract", "TimeDistributed", "UnitNormalization", "UpSampling1D",
    "UpSampling2D", "UpSampling3D", "UpsampleConv2D", "Wrapper", "ZeroPadding1D", "ZeroPadding2D",
    "ZeroPadding3D", "add", "average", "concatenate", "deserialize", "dot", "maximum", "minimum",
    "multiply", "serialize", "subtract",
]  # fmt: skip


def deserialize(config: Mapping, custom_objects: Mapping | None = None) -> Any:
    """The layer that `serialize` described."""
    return family.get(config, custom_objects)
