"""Operations with Keras's names, for layers, losses and metrics of one's own.

Symbolic tensors in, symbolic tensors out; arrays in, arrays out. `numpy_api` and `nn_api` hold the
functions that layers and losses use; the others are loaded when they are first used (`NAMES`). The
remaining modules define the graph's operations (shapes, formulas, gradients).

Common parameters
-----------------
x, x1, x2, a, b, tensor, array, inputs : symbolic tensor, variable, array or number.
target, output : of a loss: what should come out, and what does.
targets, predictions : class numbers (batch,), and values for each class (batch, classes).
data, segment_ids : elements along axis 0, and the number of the segment of each.
sorted : accepted for Keras's sake; the order of ids does not matter.
xs : list of tensors or arrays.
axis : the axis to work along, counted from the end where negative; reductions take several, too,
    and None for all.
keepdims : whether axes that are reduced stay, with size 1; default False.
shape : sizes of the result, a tuple of integers.
dtype : data type of the result, by name. None: that of the input; of a new array float32, int32
    where it is made of whole numbers.
axis1, axis2 : the two axes, default 0 and 1 where there is a default.
indices_or_sections : number of equal parts, or the indices to cut at.
endpoint : whether `stop` is the last value; default True.
data_format : "channels_last", which is what None (the default) means whatever
    `config.image_data_format()` says, or "channels_first".
strides : steps between windows: a number, or one for each axis; default 1.
padding : "valid" (default): windows inside the input only; "same": zeros around it, so that the
    output has input size / strides, rounded up.
dilation_rate : distance between neighbouring entries of the kernel as the input sees them: a
    number, or one for each axis; default 1.
pool_size : size of the window: a number, or one for each axis.
from_logits : whether the output holds values before the softmax, or sigmoid; default False.
num_classes : size of the axis of classes.
sparse, ragged : for Keras's sake; all arrays here are dense.
"""

import importlib
from typing import Any

from nbcnn.ops import indexing as indexing
from nbcnn.ops import nn_api as nn_api
from nbcnn.ops import numpy_api as numpy_api
from nbcnn.ops.nn_api import *  # noqa: F403
from nbcnn.ops.numpy_api import *  # noqa: F403

# Modules of functions, with the names that each defines.
LATER: dict[str, str] = {
    "numpy_math": "allclose angle arccos arccosh arcsin arcsinh arctan arctan2 arctanh bitwise_and "
    "bitwise_invert bitwise_left_shift bitwise_not bitwise_or bitwise_right_shift bitwise_xor cbrt "
    "conj conjugate cosh deg2rad divide_no_nan erfc erfinv exp2 fabs fmax fmin fmod gcd heaviside "
    "hypot i0 imag isclose isneginf isposinf isreal lcm ldexp left_shift log10 log2 logaddexp "
    "logaddexp2 logical_xor nan_to_num nextafter rad2deg real right_shift saturate_cast signbit "
    "sinc sinh tan trunc view",
    "numpy_create": "arange array bartlett blackman copy empty empty_like eye full full_like "
    "geomspace hamming hanning identity kaiser linspace logspace meshgrid tri vander",
    "numpy_shape": "append array_split diag diagflat diagonal dsplit dstack fliplr flipud get_item "
    "hsplit hstack ndim pad repeat roll rot90 size slice slice_update tile trace tril triu unstack "
    "vsplit vstack",
    "numpy_pick": "argpartition argsort bincount count_nonzero digitize in_top_k isin multi_hot "
    "scatter scatter_update searchsorted segment_max segment_min segment_prod segment_sum select "
    "sort take take_along_axis top_k",
    "numpy_stat": "amax amin average corrcoef correlate cumprod cumsum diff logsumexp median "
    "nanmedian nanpercentile nanquantile percentile ptp quantile trapezoid",
    "numpy_nan": "nanargmax nanargmin nancumprod nancumsum nanmax nanmean nanmin nanprod nanstd "
    "nansum nanvar",
    "linear_api": "cdist cross dot einsum inner kron outer tensordot vdot",
    "einops_api": "rearrange",
    "host": "cholesky cholesky_inverse det eigh fft fft2 histogram ifft2 inv irfft logdet lstsq "
    "lu_factor matrix_rank nonzero pinv qr rfft slogdet solve solve_triangular svd unique "
    "unravel_index vectorize",
    "windows": "adaptive_average_pool adaptive_max_pool depth_to_space extract_sequences fold "
    "space_to_depth unfold",
    "unpool": "max_pool_with_indices max_unpool",
    "response_norm": "local_response_normalization",
    "nn_more": "celu conv_transpose depthwise_conv dot_product_attention glu hard_shrink hard_tanh "
    "moments normalize psnr rms_normalization separable_conv soft_shrink sparse_plus "
    "sparse_sigmoid sparsemax squareplus tanh_shrink threshold",
    "control": "associative_scan cond custom_gradient fori_loop map scan switch vectorized_map "
    "while_loop",
}
NAMES = {name: module for module, names in LATER.items() for name in names.split()}
MODULES = ("image", "linalg", "nn", "numpy")

__all__ = [*numpy_api.__all__, *nn_api.__all__, *NAMES, *MODULES]


def __getattr__(name: str) -> Any:
    if name in MODULES:
        return importlib.import_module(f"nbcnn.ops.{name}")
    if name not in NAMES:
        raise AttributeError(f"module 'nbcnn.ops' has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(f"nbcnn.ops.{NAMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
