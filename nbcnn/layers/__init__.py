"""Layers, with Keras's names and arguments."""

from collections.abc import Mapping
from typing import Any

from nbcnn.layers.activation import (
    ELU,
    LeakyReLU,
    PReLU,
    ReLU,
    Softmax,
)
from nbcnn.layers.augmentation import (
    RandomCrop,
    RandomFlip,
)
from nbcnn.layers.base import (
    Layer,
    family,
)
from nbcnn.layers.conv import (
    Conv1D,
    Conv2D,
    Convolution1D,
    Convolution2D,
)
from nbcnn.layers.conv_transpose import (
    Conv2DTranspose,
    Convolution2DTranspose,
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
    DepthwiseConv2D,
    SeparableConv2D,
    SeparableConvolution2D,
)
from nbcnn.layers.image_color import (
    RandomBrightness,
    RandomContrast,
    RandomErasing,
    RandomGrayscale,
    RandomHue,
    RandomInvert,
    RandomSaturation,
    Solarization,
)
from nbcnn.layers.image_motion import (
    RandomRotation,
    RandomShear,
    RandomTranslation,
    RandomZoom,
)
from nbcnn.layers.image_size import (
    CenterCrop,
    Resizing,
)
from nbcnn.layers.input_spec import (
    InputSpec,
)
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
from nbcnn.layers.pool import (
    AveragePooling1D,
    AveragePooling2D,
    AvgPool1D,
    AvgPool2D,
    GlobalAveragePooling1D,
    GlobalAveragePooling2D,
    GlobalAvgPool1D,
    GlobalAvgPool2D,
    GlobalMaxPool1D,
    GlobalMaxPool2D,
    GlobalMaxPooling1D,
    GlobalMaxPooling2D,
    MaxPool1D,
    MaxPool2D,
    MaxPooling1D,
    MaxPooling2D,
)
from nbcnn.layers.regularization import (
    ActivityRegularization,
    Dropout,
    SpatialDropout1D,
    SpatialDropout2D,
)
from nbcnn.layers.reshape import (
    Cropping1D,
    Cropping2D,
    Flatten,
    Permute,
    RepeatVector,
    Reshape,
    UpSampling1D,
    UpSampling2D,
    ZeroPadding1D,
    ZeroPadding2D,
)
from nbcnn.layers.wrapper import (
    TimeDistributed,
    Wrapper,
)
from nbcnn.registry import serialize

__all__ = [
    "ELU",
    "Activation",
    "ActivityRegularization",
    "Add",
    "AlphaDropout",
    "Average",
    "AveragePooling1D",
    "AveragePooling2D",
    "AvgPool1D",
    "AvgPool2D",
    "BatchNormalization",
    "CenterCrop",
    "Concatenate",
    "Conv1D",
    "Conv2D",
    "Conv2DTranspose",
    "Convolution1D",
    "Convolution2D",
    "Convolution2DTranspose",
    "Cropping1D",
    "Cropping2D",
    "Dense",
    "DepthwiseConv2D",
    "Dot",
    "Dropout",
    "Flatten",
    "GaussianDropout",
    "GaussianNoise",
    "GlobalAveragePooling1D",
    "GlobalAveragePooling2D",
    "GlobalAvgPool1D",
    "GlobalAvgPool2D",
    "GlobalMaxPool1D",
    "GlobalMaxPool2D",
    "GlobalMaxPooling1D",
    "GlobalMaxPooling2D",
    "GroupNormalization",
    "Identity",
    "Input",
    "InputLayer",
    "InputSpec",
    "Lambda",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "MaxPool1D",
    "MaxPool2D",
    "MaxPooling1D",
    "MaxPooling2D",
    "Maximum",
    "Minimum",
    "Multiply",
    "Normalization",
    "PReLU",
    "Permute",
    "RMSNormalization",
    "RandomBrightness",
    "RandomContrast",
    "RandomCrop",
    "RandomErasing",
    "RandomFlip",
    "RandomGrayscale",
    "RandomHue",
    "RandomInvert",
    "RandomRotation",
    "RandomSaturation",
    "RandomShear",
    "RandomTranslation",
    "RandomZoom",
    "ReLU",
    "RepeatVector",
    "Rescaling",
    "Reshape",
    "Resizing",
    "SeparableConv2D",
    "SeparableConvolution2D",
    "Softmax",
    "Solarization",
    "SpatialDropout1D",
    "SpatialDropout2D",
    "Subtract",
    "TimeDistributed",
    "UnitNormalization",
    "UpSampling1D",
    "UpSampling2D",
    "Wrapper",
    "ZeroPadding1D",
    "ZeroPadding2D",
    "add",
    "average",
    "concatenate",
    "deserialize",
    "dot",
    "maximum",
    "minimum",
    "multiply",
    "serialize",
    "subtract",
]


def deserialize(config: Mapping, custom_objects: Mapping | None = None) -> Any:
    """The layer that `serialize` described."""
    return family.get(config, custom_objects)
