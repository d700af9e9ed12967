"""Batches from folders of pictures and from series, and sequences of one length."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nbcnn import image_files, random_state, resampling
from nbcnn.ops.host_array import hosted
from nbcnn.progress import message
from nbcnn.utils import PyDataset

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".png")
LABEL_MODES = ("int", "categorical", "binary", None)


class Batches(PyDataset):
    """Numbered batches in an order of their own, which `fit` keeps, with the methods of a
    `tf.data.Dataset` that scripts use most.
    """

    _keeps_order = True
    if TYPE_CHECKING:

        def __len__(self) -> int: ...

    def map(self, function: Callable[..., Any], **options: Any) -> "Batches":
        """What `function` makes of each batch, or of its parts; options are TensorFlow's."""
        return Derived(self, range(len(self)), function)

    def take(self, count: int) -> "Batches":
        """The first batches, all for -1."""
        return Derived(self, range(len(self))[: None if count < 0 else count])

    def skip(self, count: int) -> "Batches":
        """All but the first batches."""
        return Derived(self, range(len(self))[count:])

    def prefetch(self, buffer_size: Any = None) -> "Batches":
        """Itself: batches are made when they are asked for."""
        return self

    cache = prefetch


class Derived(Batches):
    """Some batches of another dataset, changed by a function."""

    def __init__(
        self, source: Batches, places: range, function: Callable[..., Any] | None = None
    ) -> None:
        super().__init__()
        self.source, self.places, self.function = source, places, function

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, index: int) -> Any:
        batch = self.source[self.places[index]]
        if self.function is None:
            return batch
        return self.function(*batch) if isinstance(batch, tuple) else self.function(batch)

    def on_epoch_end(self) -> None:
        self.source.on_epoch_end()


class Samples(Batches):
    """Batches of numbered samples, which are made when they are asked for.

    `sample(index)` gives x, or (x, y). `batch_size` None gives single samples. With `shuffle`
    every epoch has an order of its own.
    """

    def __init__(
        self,
        sample: Callable[[int], Any],
        count: int,
        batch_size: int | None,
        shuffle: bool,
        seed: int | None,
    ) -> None:
        super().__init__()
        self.sample, self.batch_size, self.shuffle = sample, batch_size, shuffle
        self._random = np.random.default_rng(random_state.next_seed() if seed is None else seed)
        self._order = np.arange(count)
        if shuffle:
            self._random.shuffle(self._order)

    def __len__(self) -> int:
        return -(-len(self._order) // (self.batch_size or 1))

    def __getitem__(self, index: int) -> Any:
        if not 0 <= index < len(self):
            raise IndexError(f"there are {len(self)} batches, got index {index}")
        if self.batch_size is None:
            return self.sample(int(self._order[index]))
        start = index * self.batch_size
        samples = [self.sample(int(i)) for i in self._order[start : start + self.batch_size]]
        if isinstance(samples[0], tuple):
            return tuple(hosted(np.stack(part)) for part in zip(*samples))
        return hosted(np.stack(samples))

    def on_epoch_end(self) -> None:
        if self.shuffle:
            self._random.shuffle(self._order)


class Pictures(Samples):
    """What `image_dataset_from_directory` returns.

    `class_names`: of the labels, in order. `file_paths`: in the order of the files.
    """

    class_names: list[str]
    file_paths: list[str]


def image_dataset_from_directory(
    directory: Any,
    labels: Any = "inferred",
    label_mode: str | None = "int",
    class_names: Sequence[str] | None = None,
    color_mode: str = "rgb",
    batch_size: int | None = 32,
    image_size: Any = (256, 256),
    shuffle: bool = True,
    seed: int | None = None,
    validation_split: float | None = None,
    subset: str | None = None,
    interpolation: str = "bilinear",
    follow_links: bool = False,
    crop_to_aspect_ratio: bool = False,
    pad_to_aspect_ratio: bool = False,
    data_format: str | None = None,
    format: str = "tf",
    verbose: bool = True,
) -> Any:
    """Pictures in a folder as batches for `fit`: float32 of 0..255, and their labels.

    Parameters
    ----------
    directory : has a folder for each class where labels are "inferred".
    labels : "inferred" (default) from the folders, None, or a list of integers, one for each file
        in the order of their sorted paths.
    label_mode : "int" (default; int32), "categorical" (one-hot), "binary" (float 0 or 1, two
        classes) or None, no labels.
    class_names : the folders to take and their order; all, sorted, by default.
    color_mode : "rgb" (default), "grayscale" or "rgba".
    batch_size : default 32; None gives single pictures.
    image_size : (height, width) or one number; default 256 x 256.
    shuffle : default True; False keeps the order of paths.
    seed : of the shuffling and the split.
    validation_split : fraction of files for the subset "validation".
    subset : "training", "validation" or "both", which gives two datasets.
    interpolation : as for `smart_resize`.
    follow_links : also into folders that are links; default False.
    crop_to_aspect_ratio : cut off what has not the proportions of `image_size`.
    pad_to_aspect_ratio : fill up with zeros what has not.
    data_format : the program's setting by default.
    format : accepted for Keras's sake.
    verbose : say how many files were found; default True.

    Returns
    -------
    A `PyDataset` with `class_names` and `file_paths`; for the subset "both" a list of two.
    """
    where = "image_dataset_from_directory"
    image_files.pillow(where)
    mode, _ = image_files.mode_of(where, color_mode)
    first = image_files.data_format_of(where, data_format) == "channels_first"
    method = resampling.check_method(where, interpolation)
    size = _size(where, image_size)
    if label_mode not in LABEL_MODES:
        raise ValueError(f"{where}: label_mode must be one of {LABEL_MODES}, got {label_mode!r}")
    if crop_to_aspect_ratio and pad_to_aspect_ratio:
        raise ValueError(f"{where}: give crop_to_aspect_ratio or pad_to_aspect_ratio, not both")
    if batch_size is not None and (isinstance(batch_size, bool) or batch_size < 1):
        raise ValueError(f"{where}: batch_size must be positive or None, got {batch_size!r}")
    _check_split(where, validation_split, subset, shuffle, seed)
    if labels is None or label_mode is None:
        labels = label_mode = None
    paths, numbers, names = _listed(where, directory, labels, class_names, follow_links)
    if not paths:
        raise ValueError(f"{where}: no pictures in {directory}; names end in {', '.join(SUFFIXES)}")
    if label_mode == "binary" and len(names) != 2:
        raise ValueError(f"{where}: label_mode='binary' needs two classes, got {names}")
    if verbose:
        classes = "" if numbers is None else f" of {len(names)} classes"
        message(f"Found {len(paths)} files{classes}.")
    if shuffle:
        seed = random_state.next_seed() if seed is None else seed
        order = np.random.default_rng(seed).permutation(len(paths))
        paths = [paths[i] for i in order]
        numbers = None if numbers is None else [numbers[i] for i in order]
    change = resampling.resized
    if crop_to_aspect_ratio or pad_to_aspect_ratio:
        change = resampling.cropped if crop_to_aspect_ratio else resampling.padded

    def dataset(part: slice, shuffled: bool) -> Pictures:
        files, own = paths[part], None if numbers is None else numbers[part]

        def sample(index: int) -> Any:
            picture = change(_pixels(files[index], mode), size, method)
            picture = picture.transpose(2, 0, 1) if first else picture
            return picture if own is None else (picture, _label(own[index], label_mode, len(names)))

        found = Pictures(sample, len(files), batch_size, shuffled, seed)
        found.class_names, found.file_paths = names, files
        return found

    held_out = int((validation_split or 0.0) * len(paths))
    if validation_split and not 0 < held_out < len(paths):
        raise ValueError(f"{where}: {len(paths)} files cannot be split by {validation_split}")
    training, validation = slice(0, len(paths) - held_out), slice(len(paths) - held_out, None)
    if subset == "both":
        return [dataset(training, shuffle), dataset(validation, False)]
    return dataset(validation if subset == "validation" else training, shuffle)


def _size(where: str, value: Any) -> tuple[int, int]:
    items = (value, value) if isinstance(value, int) else value
    whole = isinstance(items, (tuple, list)) and len(items) == 2
    if not whole or not all(isinstance(n, int) and n > 0 for n in items):
        raise ValueError(f"{where}: image_size must be two positive integers, got {value!r}")
    return items[0], items[1]


def _check_split(where: str, share: Any, subset: Any, shuffle: bool, seed: Any) -> None:
    if share is not None and not 0 < share < 1:
        raise ValueError(f"{where}: validation_split must be between 0 and 1, got {share!r}")
    if subset not in ("training", "validation", "both", None):
        raise ValueError(
            f"{where}: subset must be 'training', 'validation' or 'both', got {subset!r}"
        )
    if (share is None) != (subset is None):
        raise ValueError(f"{where}: give validation_split and subset, or none of them")
    if share and shuffle and seed is None:
        raise ValueError(f"{where}: seed is missing: with it, subsets of two calls do not overlap")


def _listed(
    where: str, directory: Any, labels: Any, class_names: Any, follow_links: bool
) -> tuple[list[str], list[int] | None, list[str]]:
    """Paths, their labels, names of classes."""
    root = Path(directory)
    if not root.is_dir():
        raise FileNotFoundError(f"{where}: there is no folder {root}")
    if labels != "inferred":
        if class_names is not None:
            raise ValueError(f"{where}: class_names can be given for labels='inferred' only")
        paths = _pictures(root, follow_links)
        if labels is None:
            return paths, None, []
        if not isinstance(labels, (list, tuple, np.ndarray)) or len(labels) != len(paths):
            raise ValueError(
                f"{where}: labels must be 'inferred', None or a list of {len(paths)} integers"
            )
        numbers = [int(label) for label in labels]
        return paths, numbers, [str(label) for label in sorted(set(numbers))]
    found = sorted(p.name for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))
    names = found if class_names is None else list(class_names)
    unknown = [name for name in names if name not in found]
    if unknown:
        raise ValueError(f"{where}: class_names has {unknown}, the folders are {found}")
    by_class = [_pictures(root / name, follow_links) for name in names]
    labelled = [number for number, files in enumerate(by_class) for _ in files]
    return [path for files in by_class for path in files], labelled, names


def _pictures(folder: Path, follow_links: bool) -> list[str]:
    walk = sorted(os.walk(folder, followlinks=follow_links), key=lambda found: found[0])
    return [
        os.path.join(root, name)
        for root, _, names in walk
        for name in sorted(names)
        if name.lower().endswith(SUFFIXES)
    ]


def _pixels(path: str, mode: str) -> np.ndarray:
    with image_files.pillow("image_dataset_from_directory").open(path) as image:
        values = np.asarray(image_files.in_mode(image, mode))
    return values[:, :, None] if values.ndim == 2 else values


def _label(number: int, label_mode: str | None, classes: int) -> np.ndarray:
    if label_mode == "categorical":
        return np.eye(classes, dtype=np.float32)[number]
    return np.array([number], np.float32) if label_mode == "binary" else np.array(number, np.int32)


def timeseries_dataset_from_array(
    data: Any,
    targets: Any,
    sequence_length: int,
    sequence_stride: int = 1,
    sampling_rate: int = 1,
    batch_size: int | None = 128,
    shuffle: bool = False,
    seed: int | None = None,
    start_index: int | None = None,
    end_index: int | None = None,
    format: str = "tf",
) -> Any:
    """Windows of a series as batches.

    Parameters
    ----------
    data : array, its first axis being time.
    targets : array whose entry i belongs to the window that starts at i, or None.
    sequence_length : points of a window.
    sequence_stride : between the starts of windows; default 1.
    sampling_rate : between the points of a window; default 1.
    batch_size : default 128; None gives single windows.
    shuffle : default False.
    seed : of the shuffling.
    start_index, end_index : the part of the data to take.
    format : accepted for Keras's sake.

    Returns
    -------
    A `PyDataset` of x, or (x, y).
    """
    where, count = "timeseries_dataset_from_array", len(data)
    given = {"sequence_length": sequence_length, "sequence_stride": sequence_stride,
             "sampling_rate": sampling_rate}  # fmt: skip
    for name, value in given.items():
        if not 0 < value < max(count, 1) + (name == "sequence_length"):
            raise ValueError(f"{where}: {name} must be positive and below {count}, got {value!r}")
    start = 0 if start_index is None else start_index
    stop = count if end_index is None else end_index
    if not 0 <= start < stop <= count:
        raise ValueError(
            f"{where}: start_index and end_index must be a part of 0..{count}, got "
            f"{start_index!r} and {end_index!r}"
        )
    series = np.asarray(data)[start:stop]
    values = None if targets is None else np.asarray(targets)[start:]
    windows = stop - start - (sequence_length - 1) * sampling_rate
    windows = windows if values is None else min(windows, len(values))
    if windows < 1:
        raise ValueError(f"{where}: the data is shorter than a window")
    starts = range(0, windows, sequence_stride)

    def sample(index: int) -> Any:
        first = starts[index]
        window = series[first : first + sequence_length * sampling_rate : sampling_rate]
        return window if values is None else (window, values[first])

    return Samples(sample, len(starts), batch_size, shuffle, seed)


def pad_sequences(
    sequences: Any,
    maxlen: int | None = None,
    dtype: Any = "int32",
    padding: str = "pre",
    truncating: str = "pre",
    value: Any = 0.0,
) -> np.ndarray:
    """Sequences as one array (sequences, maxlen, ...): short ones filled up, long ones cut.

    Parameters
    ----------
    sequences : list of sequences.
    maxlen : that of the longest by default.
    dtype : default "int32".
    padding, truncating : at which end, "pre" (default) or "post".
    value : what short ones are filled up with; default 0.
    """
    for name, where in (("padding", padding), ("truncating", truncating)):
        if where not in ("pre", "post"):
            raise ValueError(f"pad_sequences: {name} must be 'pre' or 'post', got {where!r}")
    try:
        lengths = [len(sequence) for sequence in sequences]
    except TypeError:
        raise ValueError("pad_sequences: sequences must be a list of sequences") from None
    longest = max(lengths, default=0) if maxlen is None else maxlen
    inner = next((np.asarray(s).shape[1:] for s in sequences if len(s)), ())
    found = np.full((len(lengths), longest, *inner), value, dtype=dtype)
    for row, sequence in zip(found, sequences):
        count = min(len(sequence), longest)
        if not count:
            continue
        kept = np.asarray(sequence[:count] if truncating == "post" else sequence[-count:], dtype)
        if kept.shape[1:] != inner:
            raise ValueError(
                f"pad_sequences: entries have shapes {inner} and {kept.shape[1:]}, expected equal"
            )
        if padding == "post":
            row[:count] = kept
        else:
            row[-count:] = kept
    return found
