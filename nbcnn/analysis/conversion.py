"""Dense layers as convolutions and convolutions as dense layers."""

import math
from typing import Any

import numpy as np

from nbcnn.analysis.matrices import linear_steps, matrix_of
from nbcnn.analysis.tracing import require_built, require_built_layer, sample_shape
from nbcnn.layers.conv import Conv1D, Conv2D, Conv3D
from nbcnn.layers.core import Input
from nbcnn.layers.dense import Dense
from nbcnn.layers.reshape import Flatten
from nbcnn.models.sequential import Sequential

LARGEST = 2**28  # entries of a dense layer's kernel, 1 GiB


def dense_to_conv(layer: Any, input_shape: Any) -> Any:
    """The convolution that equals a dense layer on a flattened map.

    Its kernel covers the whole map, so that its output is one place; on a larger map it computes
    the dense layer at every place at once (Sermanet et al., "OverFeat", 2014; Long, Shelhamer and
    Darrell, "Fully convolutional networks", 2015).

    Parameters
    ----------
    layer : a built `Dense`.
    input_shape : of the map before flattening: (h, w, c), or (length, c), or (d, h, w, c).
        (1, 1, c) gives a 1x1 convolution, for dense layers that follow.

    Returns
    -------
    A new, built Conv1D, Conv2D or Conv3D with copies of the weights: (h, w, c) -> (1, 1, units).

    Raises
    ------
    TypeError
        For a layer that is no `Dense`.
    ValueError
        For a layer that is not built, and where the map has another number of elements than the
        layer has inputs.
    """
    shape = sample_shape("dense_to_conv", input_shape)
    if not isinstance(layer, Dense):
        raise TypeError(f"dense_to_conv: expected a Dense layer, got {type(layer).__name__}")
    require_built_layer("dense_to_conv", layer, (math.prod(shape),))
    kernel = layer.kernel.numpy()
    size = math.prod(shape)
    if kernel.shape[0] != size or not 2 <= len(shape) <= 4:
        product = " * ".join(map(str, shape))
        raise ValueError(
            f"dense_to_conv: Dense {layer.name!r} has {kernel.shape[0]} inputs, a map of "
            f"{shape} has {product} = {size} elements"
            + ("" if 2 <= len(shape) <= 4 else "; it must have 1 to 3 spatial axes and channels")
        )
    kind = {2: Conv1D, 3: Conv2D, 4: Conv3D}[len(shape)]
    found = kind(
        layer.units, shape[:-1], data_format="channels_last", activation=layer.activation,
        use_bias=layer.use_bias, trainable=layer.trainable, dtype=layer.dtype_policy,
    )  # fmt: skip
    found.build((None, *shape))
    found.kernel.assign(kernel.reshape(*shape, layer.units))
    if layer.bias is not None:
        found.bias.assign(layer.bias.numpy())
    return found


def conv_to_dense(layer: Any, input_shape: Any) -> Any:
    """The dense layer that equals a convolution on inputs of one shape: its kernel is the transpose
    of `conv_as_matrix`.

    Parameters
    ----------
    layer : a built convolution, with an activation that works number by number.
    input_shape : of a sample: (h, w, c).

    Returns
    -------
    A new, built `Dense` from flattened samples to flattened outputs.

    Raises
    ------
    ValueError
        For a layer that is not built or does not fit the shape, and where the kernel would have
        more than 2**28 entries, or the activation joins channels.
    """
    shape = sample_shape("conv_to_dense", input_shape)
    steps = linear_steps("conv_to_dense", layer, shape)
    inputs, outputs = math.prod(shape), math.prod(layer.compute_output_shape((None, *shape))[1:])
    if inputs * outputs > LARGEST:
        raise ValueError(
            f"conv_to_dense: {inputs:,} inputs and {outputs:,} outputs make a kernel of "
            f"{inputs * outputs:,} entries, more than {LARGEST:,}; conv_as_matrix is sparse"
        )
    activation = getattr(layer, "activation", None)
    last = steps[-1]
    channels = last.channels if last.transposed else last.filters
    name = getattr(activation, "__name__", "")
    if "softmax" in name and channels != outputs:
        raise ValueError(
            f"conv_to_dense: {name} is over {channels} channels at each of {outputs // channels} "
            "places, a dense layer's would be over all"
        )
    matrix: Any = np.eye(inputs)
    for step in steps:
        matrix = matrix_of(step) @ matrix
    bias = getattr(layer, "bias", None)
    found = Dense(outputs, activation=activation, use_bias=bias is not None,
                  trainable=layer.trainable, dtype=layer.dtype_policy)  # fmt: skip
    found.build((None, inputs))
    found.kernel.assign(np.asarray(matrix, found.kernel.dtype).T)
    if bias is not None:
        places = outputs // channels
        values = bias.numpy()
        found.bias.assign(np.repeat(values, places) if last.first else np.tile(values, places))
    return found


def fully_convolutional(model: Any) -> Any:
    """A classifier that also takes larger images: its dense layers as convolutions.

    Parameters
    ----------
    model : a built `Sequential` of convolutions, pools and the like, then `Flatten`, then `Dense`
        layers and what works number by number.

    Returns
    -------
    A new `Sequential` with copies of the weights. On images of the old size its output is that of
    the model as a map of one place, (n, 1, 1, classes); on larger ones there are more places, at
    distances of the model's total stride.

    Raises
    ------
    TypeError
        For other models.
    ValueError
        For a model that is not built, has no `Flatten` before its first `Dense`, or images with
        channels first.
    """
    require_built("fully_convolutional", model)
    if not isinstance(model, Sequential):
        raise TypeError(f"fully_convolutional: expected a Sequential, got {type(model).__name__}")
    kinds = [type(layer) for layer in model.layers]
    if Flatten not in kinds or Dense in kinds[: kinds.index(Flatten)]:
        raise ValueError(
            "fully_convolutional: the model must have a Flatten before its first Dense, it has "
            + ", ".join(kind.__name__ for kind in kinds)
        )
    swapped = [e for e in model.layers if getattr(e, "data_format", "") == "channels_first"]
    if swapped:
        raise ValueError(
            f"fully_convolutional: images must have channels last, layer {swapped[0].name!r} "
            "has data_format 'channels_first'"
        )
    source = model.layers[kinds.index(Flatten)].input
    shape: tuple[int, ...] | None = tuple(source.shape[1:])
    first = model.layers[0].input
    found = Sequential([Input((*(None,) * (first.ndim - 2), first.shape[-1]), dtype=first.dtype)])
    for layer in model.layers:
        if isinstance(layer, Flatten):
            continue
        if isinstance(layer, Dense):
            found.add(dense_to_conv(layer, shape))
            shape = (*(1,) * (source.ndim - 2), layer.units)
            continue
        again = type(layer).from_config(layer.get_config())
        found.add(again)
        for new, old in zip(again.weights, layer.weights, strict=True):
            new.assign(old.numpy())
    return found
