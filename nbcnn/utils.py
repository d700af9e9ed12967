"""Small helpers under the names that Keras users expect."""

import importlib
import random
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn import config, ops, random_state
from nbcnn.declare import reset_names
from nbcnn.named_values import Config as Config
from nbcnn.ops.tensor import Tensor
from nbcnn.progbar import Progbar as Progbar
from nbcnn.registry import CustomObjectScope as CustomObjectScope
from nbcnn.registry import deserialize as deserialize_keras_object
from nbcnn.registry import get_custom_objects as get_custom_objects
from nbcnn.registry import get_registered_name as get_registered_name
from nbcnn.registry import get_registered_object as get_registered_object
from nbcnn.registry import register_keras_serializable as register_keras_serializable
from nbcnn.registry import serialize as serialize_keras_object

if TYPE_CHECKING:
    from nbcnn.data_sources import (
        image_dataset_from_directory,
        pad_sequences,
        timeseries_dataset_from_array,
    )
    from nbcnn.drawing import model_to_dot, plot_model
    from nbcnn.image_files import array_to_img, img_to_array, load_img, save_img
    from nbcnn.keras_settings import (
        disable_interactive_logging,
        enable_interactive_logging,
        is_interactive_logging_enabled,
    )

custom_object_scope = CustomObjectScope
# Name -> where it is defined; loaded when it is first used.
ELSEWHERE = {
    **dict.fromkeys(("array_to_img", "img_to_array", "load_img", "save_img"), "image_files"),
    **dict.fromkeys(
        ("image_dataset_from_directory", "pad_sequences", "timeseries_dataset_from_array"),
        "data_sources",
    ),
    **dict.fromkeys(("model_to_dot", "plot_model"), "drawing"),
    **dict.fromkeys(
        (
            "disable_interactive_logging",
            "enable_interactive_logging",
            "is_interactive_logging_enabled",
        ),
        "keras_settings",
    ),
}

__all__ = [
    "Config",
    "CustomObjectScope",
    "Progbar",
    "PyDataset",
    "Sequence",
    "array_to_img",
    "clear_session",
    "custom_object_scope",
    "deserialize_keras_object",
    "disable_interactive_logging",
    "enable_interactive_logging",
    "get_custom_objects",
    "get_registered_name",
    "get_registered_object",
    "get_source_inputs",
    "image_dataset_from_directory",
    "img_to_array",
    "is_interactive_logging_enabled",
    "is_keras_tensor",
    "load_img",
    "model_to_dot",
    "normalize",
    "pack_x_y_sample_weight",
    "pad_sequences",
    "plot_model",
    "register_keras_serializable",
    "save_img",
    "serialize_keras_object",
    "set_random_seed",
    "split_dataset",
    "standardize_dtype",
    "timeseries_dataset_from_array",
    "to_categorical",
    "unpack_x_y_sample_weight",
]


def set_random_seed(seed: int) -> None:
    """Starts all random generators from `seed`: Python's, NumPy's, and the one of weights and
    shuffling.

    The same seed then gives the same training run on the same device, at any number of threads.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
        raise ValueError(f"set_random_seed: seed must be an integer, got {seed!r}")
    random.seed(int(seed))
    np.random.seed(int(seed))  # noqa: NPY002 - users' own code may draw from it
    random_state.set_seed(int(seed))


def clear_session(free_memory: bool = True) -> None:
    """Starts automatic names (`conv2d`, `conv2d_1`, ...) again. `free_memory` is accepted for
    Keras's sake.
    """
    reset_names()


def to_categorical(x: Any, num_classes: int | None = None) -> np.ndarray:
    """Class numbers as one-hot vectors.

    Parameters
    ----------
    x : integers from 0, shape (...) or (..., 1).
    num_classes : length of the vectors; the largest number plus 1 by default.

    Returns
    -------
    float64 array of shape (..., num_classes).

    Raises
    ------
    ValueError
        For numbers outside 0..num_classes - 1.
    """
    labels = np.array(x, dtype="int64")
    if labels.ndim > 1 and labels.shape[-1] == 1:
        labels = labels[..., 0]
    classes = int(num_classes or (labels.max() + 1 if labels.size else 0))
    wrong = labels[(labels < 0) | (labels >= classes)]
    if wrong.size:
        raise ValueError(f"to_categorical: x must be in 0..{classes - 1}, got {wrong.flat[0]}")
    return np.eye(classes)[labels]


def normalize(x: Any, axis: int = -1, order: int = 2) -> Any:
    """`x` divided by its norm over `axis`; where the norm is 0, by 1.

    Parameters
    ----------
    x : array or tensor.
    order : of the norm; default 2, the Euclidean one. Tensors take 1 and 2.
    """
    if not ops.is_tensor(x):
        x = np.asarray(x)
        norm = np.linalg.norm(x, order, axis, keepdims=True)
        return x / np.where(norm == 0, 1, norm)
    if order not in (1, 2):
        raise ValueError(f"normalize: order of a tensor's norm must be 1 or 2, got {order}")
    powers = ops.abs(x) if order == 1 else ops.square(x)
    total = ops.sum(powers, axis=axis, keepdims=True)
    norm = total if order == 1 else ops.sqrt(total)
    return x / ops.maximum(norm, 1e-7)


class PyDataset:
    """Base of data that comes in batches made by Python code.

    A subclass defines `__len__`, the number of batches, and `__getitem__(index)`, one batch: (x, y)
    or (x, y, sample_weight).

    Parameters
    ----------
    workers : how many threads or processes make batches while the model trains; default 1, which
        makes each when it is due.
    use_multiprocessing : processes, also a single one; default False, threads. The sequence must
        be one that pickle takes where processes are not forked.
    max_queue_size : how many batches may wait; default 10.

    Examples
    --------
    >>> class Pictures(PyDataset):
    ...     def __init__(self, x, y, batch_size, **kwargs):
    ...         super().__init__(**kwargs)
    ...         self.x, self.y, self.batch_size = x, y, batch_size
    ...     def __len__(self):
    ...         return math.ceil(len(self.x) / self.batch_size)
    ...     def __getitem__(self, index):
    ...         chosen = slice(index * self.batch_size, (index + 1) * self.batch_size)
    ...         return self.x[chosen], self.y[chosen]
    """

    workers = 1
    use_multiprocessing = False
    max_queue_size = 10

    def __init__(
        self, workers: int = 1, use_multiprocessing: bool = False, max_queue_size: int = 10
    ) -> None:
        self.workers = workers
        self.use_multiprocessing = use_multiprocessing
        self.max_queue_size = max_queue_size

    def __getitem__(self, index: int) -> Any:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__(index)")

    @property
    def num_batches(self) -> int | None:
        """Number of batches; None means that they never end."""
        try:
            return len(self)  # type: ignore[arg-type]
        except TypeError:
            raise NotImplementedError(f"{type(self).__name__} must define __len__()") from None

    def __iter__(self) -> Iterator[Any]:
        count = self.num_batches
        index = 0
        while count is None or index < count:
            yield self[index]
            index += 1

    def on_epoch_begin(self) -> None:
        """Called before each epoch."""

    def on_epoch_end(self) -> None:
        """Called after each epoch: the place to shuffle."""


Sequence = PyDataset


def split_dataset(
    dataset: Any,
    left_size: float | int | None = None,
    right_size: float | int | None = None,
    shuffle: bool = False,
    seed: int | None = None,
) -> tuple[Any, Any]:
    """Arrays split in two along their first axis.

    Parameters
    ----------
    dataset : an array, or a tuple, list or dictionary of arrays of equal length.
    left_size, right_size : how many samples, or which fraction (a float in 0..1); one may be left
        out.
    shuffle : draw the samples at random; default False.
    seed : for the shuffling; the global generator by default.

    Returns
    -------
    Two objects of the structure of `dataset`.
    """
    arrays = _leaves(dataset)
    lengths = sorted({len(array) for array in arrays})
    if len(lengths) != 1:
        raise ValueError(f"split_dataset: arrays must have equal lengths, got {lengths}")
    left, right = _sizes(lengths[0], left_size, right_size)
    order = np.arange(lengths[0])
    if shuffle:
        random_state.generator(seed).shuffle(order)
    first, second = order[:left], order[left : left + right]
    return _map(lambda a: a[first], dataset), _map(lambda a: a[second], dataset)


def _sizes(total: int, left: Any, right: Any) -> tuple[int, int]:
    if left is None and right is None:
        raise ValueError("split_dataset: give left_size or right_size")
    left_count = None if left is None else _count(left, total)
    right_count = total - (left_count or 0) if right is None else _count(right, total)
    if left_count is None:
        left_count = total - right_count
    if left_count + right_count > total:
        raise ValueError(
            f"split_dataset: left_size and right_size must not exceed {total} samples together, "
            f"got {left!r} and {right!r}"
        )
    return left_count, right_count


def _count(size: Any, total: int) -> int:
    is_fraction = isinstance(size, float) and 0 <= size <= 1
    if not is_fraction and not (isinstance(size, (int, np.integer)) and 0 <= size <= total):
        raise ValueError(
            f"split_dataset: sizes must be 0..{total} or a fraction 0.0..1.0, got {size!r}"
        )
    return round(size * total) if is_fraction else int(size)


def _leaves(data: Any) -> list[Any]:
    if isinstance(data, dict):
        data = list(data.values())
    if isinstance(data, (tuple, list)):
        return [leaf for part in data for leaf in _leaves(part)]
    return [np.asarray(data)]


def _map(function: Callable[[np.ndarray], Any], data: Any) -> Any:
    if isinstance(data, dict):
        return {key: _map(function, value) for key, value in data.items()}
    if isinstance(data, (tuple, list)):
        return type(data)(_map(function, part) for part in data)
    return function(np.asarray(data))


def pack_x_y_sample_weight(x: Any, y: Any = None, sample_weight: Any = None) -> Any:
    """The tuple that `fit` takes from a generator: x, (x, y) or (x, y, sample_weight)."""
    if y is None:
        return (x,) if isinstance(x, (tuple, list)) else x
    return (x, y) if sample_weight is None else (x, y, sample_weight)


def unpack_x_y_sample_weight(data: Any) -> tuple[Any, Any, Any]:
    """(x, y, sample_weight) of what a generator gives, with None for what is missing.

    Parameters
    ----------
    data : x, or a tuple or list of up to three.
    """
    if not isinstance(data, (tuple, list)):
        return data, None, None
    if not 1 <= len(data) <= 3:
        raise ValueError(
            f"expected x, (x,), (x, y) or (x, y, sample_weight), got a tuple of {len(data)} parts"
        )
    x, y, sample_weight = (*data, None, None)[:3]
    return x, y, sample_weight


def is_keras_tensor(x: Any) -> bool:
    """Whether `x` is a symbolic tensor."""
    return isinstance(x, Tensor)


def get_source_inputs(tensor: Any) -> list[Any]:
    """The tensors of `Input` that a symbolic tensor was made from, each once."""
    if not isinstance(tensor, Tensor):
        raise ValueError(f"get_source_inputs: tensor must be symbolic, got {tensor!r}")
    found: list[Any] = []
    pending, seen = [tensor], set()
    while pending:
        current = pending.pop(0)
        maker = current.call or current.node
        if id(current) in seen:
            continue
        seen.add(id(current))
        if maker is None or not maker.inputs:
            found.append(current)
        else:
            pending += maker.inputs
    return found


def standardize_dtype(dtype: Any) -> str:
    """The name of a data type: of a name, a NumPy type or None, which means `floatx`.

    Parameters
    ----------
    dtype : what to name.
    """
    if dtype is None:
        return config.floatx()
    if dtype == "bfloat16":
        return dtype
    try:
        name = np.dtype({"int": "int64", "float": config.floatx()}.get(dtype, dtype)).name
    except TypeError:
        raise ValueError(f"standardize_dtype: dtype must be a data type, got {dtype!r}") from None
    if name.rstrip("0123456789") not in ("float", "int", "uint", "bool", "complex", "str"):
        raise ValueError(f"standardize_dtype: dtype must be a data type, got {dtype!r}")
    return name


def __getattr__(name: str) -> Any:
    if name in ELSEWHERE:
        return getattr(importlib.import_module(f"nbcnn.{ELSEWHERE[name]}"), name)
    raise AttributeError(f"module 'nbcnn.utils' has no attribute {name!r}")
