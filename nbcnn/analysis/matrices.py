"""Convolutions as sparse matrices."""

import math
from functools import reduce
from typing import Any

import numpy as np
from scipy import sparse

from nbcnn.analysis.tracing import require_built_layer, sample_shape
from nbcnn.analysis.windows import AVERAGES, Windows, is_linear, other_border, windows_of


def conv_as_matrix(layer: Any, input_shape: Any) -> sparse.csr_matrix:
    """The matrix that a convolution is, without bias and activation.

    `matrix @ x.ravel()` are the elements of the layer's output for a sample x, in order; the
    transposed convolution is the product with `matrix.T`. Most entries would be zero, and the
    others repeat the kernel's: a doubly block circulant matrix cut at the borders (Goodfellow,
    Bengio and Courville, "Deep Learning", 2016, section 9.1).

    Parameters
    ----------
    layer : a built Conv1D, Conv2D or Conv3D, depthwise, separable or transposed ones, or an average
        pool.
    input_shape : of a sample: (h, w, c), in the layer's data format.

    Returns
    -------
    `scipy.sparse.csr_matrix`, (elements of the output, elements of the input), of the kernel's
    type. Entries are there for all pairs that meet, also where the kernel is 0.

    Raises
    ------
    TypeError
        For other layers.
    ValueError
        For a layer that is not built, for another number of channels or axes than the layer was
        built for, and for borders that are not zeros.

    Examples
    --------
    >>> layer = layers.Conv2D(1, (1, 2), use_bias=False)
    >>> layer.build((None, 280, 320, 1))
    >>> conv_as_matrix(layer, (280, 320, 1)).nnz
    178640
    """
    shape = sample_shape("conv_as_matrix", input_shape)
    steps = linear_steps("conv_as_matrix", layer, shape)
    return reduce(lambda first, then: then @ first, map(matrix_of, steps)).tocsr()


def linear_steps(where: str, layer: Any, shape: tuple[int, ...]) -> list[Windows]:
    """A layer as steps of windows. Raises TypeError for others than convolutions and means,
    ValueError for shapes that do not fit.
    """
    if not hasattr(layer, "compute_output_shape"):
        raise TypeError(f"{where}: expected a layer, got {type(layer).__name__}")
    if not is_linear(layer):
        raise TypeError(
            f"{where}: {type(layer).__name__} {layer.name!r} is no convolution or average pool, or "
            "has a call() of its own"
        )
    if not isinstance(layer, AVERAGES):
        require_built_layer(where, layer, shape)
    layer._check_input((None, *shape))
    if other_border(layer):
        raise ValueError(
            f"{where}: {type(layer).__name__} {layer.name!r} has padding_mode "
            f"{layer.padding_mode!r}, expected 'zeros'"
        )
    steps = windows_of(layer, shape)
    assert steps is not None
    return steps


def matrix_of(windows: Windows) -> Any:
    """(elements of the output, elements of the input)."""
    rows, columns, taps = _meetings(windows)
    per_group, filters = windows.channels // windows.groups, windows.filters // windows.groups
    kernel = windows.kernel
    if kernel is None:
        kernel = np.ones((*windows.window, per_group, windows.filters), np.float32)
    kernel = kernel.reshape(-1, per_group, windows.groups, filters)
    # Entries by pair of places, channel of a group, group, filter of a group.
    c, g, f = np.ogrid[:per_group, : windows.groups, :filters]
    inputs, outputs = math.prod(windows.sizes), math.prod(windows.outputs)
    i = _element(rows[:, None, None, None], g * filters + f, outputs, windows.filters, windows)
    j = _element(columns[:, None, None, None], g * per_group + c, inputs, windows.channels, windows)
    values = kernel[taps]
    i, j = (np.broadcast_to(part, values.shape).ravel() for part in (i, j))
    shape = (outputs * windows.filters, inputs * windows.channels)
    found = sparse.coo_matrix((values.ravel(), (i, j)), shape).tocsr()
    if windows.mean:
        counts = np.maximum(np.asarray(found.sum(axis=1)).ravel(), 1)
        found = sparse.diags(np.float32(1) / counts.astype(np.float32)) @ found
    return found.T if windows.transposed else found


def _meetings(windows: Windows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(output, input, tap) of all pairs of places that meet, numbered over all axes."""
    rows = columns = taps = np.zeros(1, np.int64)
    sizes = zip(windows.outputs, windows.sizes, windows.window)
    for along, extents in zip(windows.places(), sizes):
        rows, columns, taps = (
            (whole[:, None] * n + part).ravel()
            for whole, n, part in zip((rows, columns, taps), extents, along)
        )
    return rows, columns, taps


def _element(place: Any, channel: Any, places: int, channels: int, windows: Windows) -> Any:
    """The number of an element in its array."""
    return channel * places + place if windows.first else place * channels + channel
