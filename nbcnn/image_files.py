"""Pictures in files, as Pillow reads them: `load_img`, `save_img` and their like.

Pillow is not needed by anything else; `pip install 'nbcnn[images]'` installs it.
"""

import importlib
import io
import os
import warnings
from typing import Any

import numpy as np

from nbcnn import config, resampling

MODES = {"grayscale": ("L", 1), "rgb": ("RGB", 3), "rgba": ("RGBA", 4)}
FORMATS = ("nearest", "bilinear", "bicubic", "hamming", "box", "lanczos")


def pillow(where: str) -> Any:
    """The module `PIL.Image`, or an ImportError that says what to do."""
    try:
        return importlib.import_module("PIL.Image")
    except ImportError:
        raise ImportError(
            f"{where} needs Pillow, which is not installed: pip install 'nbcnn[images]'"
        ) from None


def data_format_of(where: str, value: Any) -> str:
    """'channels_last' or 'channels_first'; None means the program's setting."""
    name = config.image_data_format() if value is None else value
    if name not in config.DATA_FORMATS:
        expected = " or ".join(map(repr, config.DATA_FORMATS))
        raise ValueError(f"{where}: data_format must be {expected}, got {value!r}")
    return name


def mode_of(where: str, color_mode: Any) -> tuple[str, int]:
    """Pillow's mode and the number of channels."""
    if color_mode not in MODES:
        expected = ", ".join(map(repr, MODES))
        raise ValueError(f"{where}: color_mode must be one of {expected}, got {color_mode!r}")
    return MODES[color_mode]


def in_mode(image: Any, mode: str) -> Any:
    """Pillow's image with these channels; gray ones of more bits stay as they are."""
    kept = ("L", "I;16", "I") if mode == "L" else (mode,)
    return image if image.mode in kept else image.convert(mode)


def array_to_img(
    x: Any, data_format: str | None = None, scale: bool = True, dtype: str | None = None
) -> Any:
    """A Pillow image of an array.

    Parameters
    ----------
    x : (height, width, channels) with 1, 3 or 4 channels, or channels first.
    data_format : the program's setting by default.
    scale : stretch the values to 0..255; default True.
    dtype : in which values are computed; `floatx` by default.

    Raises
    ------
    ImportError
        Without Pillow.
    """
    image = pillow("array_to_img")
    first = data_format_of("array_to_img", data_format) == "channels_first"
    values = np.array(x, dtype=dtype or config.floatx())
    if values.ndim != 3:
        raise ValueError(f"array_to_img: x must have 3 axes, got shape {values.shape}")
    if first:
        values = values.transpose(1, 2, 0)
    if values.shape[2] not in (1, 3, 4):
        raise ValueError(f"array_to_img: x must have 1, 3 or 4 channels, got {values.shape[2]}")
    if scale:
        values = values - values.min()
        top = values.max()
        values = 255 * (values / top if top else values)
    if values.shape[2] == 1:
        kind = "int32" if values.max() > 255 else "uint8"
        return image.fromarray(values[:, :, 0].astype(kind))
    return image.fromarray(values.astype("uint8"))


def img_to_array(img: Any, data_format: str | None = None, dtype: str | None = None) -> np.ndarray:
    """A Pillow image as an array (height, width, channels), or channels first.

    Parameters
    ----------
    data_format : the program's setting by default.
    dtype : `floatx` by default.
    img : the image, or an array (height, width) or (height, width, channels).
    """
    first = data_format_of("img_to_array", data_format) == "channels_first"
    values = np.asarray(img, dtype=dtype or config.floatx())
    if values.ndim not in (2, 3):
        raise ValueError(f"img_to_array: img must have 2 or 3 axes, got shape {values.shape}")
    values = values[:, :, None] if values.ndim == 2 else values
    return values.transpose(2, 0, 1) if first else values


def save_img(
    path: Any,
    x: Any,
    data_format: str | None = None,
    file_format: str | None = None,
    scale: bool = True,
    **kwargs: Any,
) -> None:
    """Writes an array as a picture.

    Parameters
    ----------
    path : a path or an open file.
    x, data_format, scale : as for `array_to_img`.
    file_format : by default what the path ends in.
    kwargs : for Pillow's `save`.
    """
    image = array_to_img(x, data_format, scale)
    if file_format is None and isinstance(path, (str, os.PathLike)):
        file_format = os.path.splitext(os.fspath(path))[1][1:]
    if file_format:
        file_format = "jpeg" if file_format.lower() == "jpg" else file_format.lower()
    if image.mode == "RGBA" and file_format == "jpeg":
        warnings.warn("save_img: JPEG has no transparency, which is left out", stacklevel=2)
        image = image.convert("RGB")
    image.save(path, format=file_format, **kwargs)


def load_img(
    path: Any,
    color_mode: str = "rgb",
    target_size: tuple[int, int] | None = None,
    interpolation: str = "nearest",
    keep_aspect_ratio: bool = False,
) -> Any:
    """A picture as a Pillow image.

    Parameters
    ----------
    path : a path or `io.BytesIO`.
    color_mode : "grayscale", "rgb" (default) or "rgba".
    target_size : (height, width), None for that of the file.
    interpolation : "nearest" (default), "bilinear", "bicubic", "hamming", "box" or "lanczos".
    keep_aspect_ratio : cut off what has not the proportions of `target_size`; default False.
    """
    image = pillow("load_img")
    mode, _ = mode_of("load_img", color_mode)
    if interpolation not in FORMATS:
        expected = ", ".join(map(repr, FORMATS))
        raise ValueError(
            f"load_img: interpolation must be one of {expected}, got {interpolation!r}"
        )
    if isinstance(path, io.BytesIO):
        found = image.open(path)
    elif isinstance(path, (str, bytes, os.PathLike)):
        with open(path, "rb") as file:
            found = image.open(io.BytesIO(file.read()))
    else:
        raise TypeError(f"load_img: path must be a path or io.BytesIO, got {type(path).__name__}")
    found = in_mode(found, mode)
    if target_size is None or found.size == (target_size[1], target_size[0]):
        return found
    height, width = target_size
    box = None
    if keep_aspect_ratio:
        tall = min(found.size[1], found.size[0] * height // width)
        wide = min(found.size[0], found.size[1] * width // height)
        left, top = (found.size[0] - wide) // 2, (found.size[1] - tall) // 2
        box = (left, top, left + wide, top + tall)
    return found.resize((width, height), image.Resampling[interpolation.upper()], box=box)


def smart_resize(
    x: Any,
    size: tuple[int, int],
    interpolation: str = "bilinear",
    data_format: str = "channels_last",
) -> np.ndarray:
    """Images of another size: what has not its proportions is cut off on both sides.

    Parameters
    ----------
    x : (height, width, channels) or (images, height, width, channels), or channels first.
    size : (height, width).
    interpolation : "bilinear" (default), "nearest", "bicubic", "area", "lanczos3", "lanczos5",
        "gaussian" or "mitchellcubic".
    data_format : "channels_last" (default) or "channels_first".

    Returns
    -------
    float32 array.
    """
    first = data_format_of("smart_resize", data_format) == "channels_first"
    method = resampling.check_method("smart_resize", interpolation)
    images = np.asarray(x)
    if len(size) != 2:
        raise ValueError(f"smart_resize: size must be (height, width), got {size!r}")
    if images.ndim not in (3, 4):
        raise ValueError(f"smart_resize: x must have 3 or 4 axes, got shape {images.shape}")
    images = np.moveaxis(images, -3, -1) if first else images
    found = resampling.cropped(images, (int(size[0]), int(size[1])), method)
    return np.moveaxis(found, -1, -3) if first else found
