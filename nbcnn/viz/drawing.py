"""The architecture as volumes, width × height × depth, drawn to scale."""

from typing import Any, NamedTuple

from nbcnn.models.sequential import replayed
from nbcnn.ops.tensor import Tensor
from nbcnn.viz.figure import axes_for, finished, matplotlib
from nbcnn.viz.walking import calls_of, check_channels_last, network_of

SLANT = 0.35  # how far a side goes up and to the right, for each pixel of width
COLORS = {"Conv": "#f4b183", "Pool": "#9dc3e6", "Dense": "#a9d18e", "Input": "#d9d9d9"}


class Volume(NamedTuple):
    """What a layer gives out.

    Parameters
    ----------
    name : the layer's path.
    kind : the layer's class.
    height, width, depth : sizes of the output; a vector is 1 × 1 × its length.
    """

    name: str
    kind: str
    height: int
    width: int
    depth: int


def volumes(model: Any) -> list[Volume]:
    """The input and the outputs of a model's layers, in the order in which they are computed.

    Layers that leave the sizes as they are, such as activations, are left out.

    Raises
    ------
    ValueError
        For a model that is not built or has a `call` of its own, and sizes that are not known.
    """
    check_channels_last("volumes", model)
    network = network_of("volumes", model)
    found = [_volume(model, "input", "Input", network.input_signature.slots[0].shape)]
    for path, call in calls_of(network):
        if replayed(call.layer) is not None or not isinstance(call.outputs, Tensor):
            continue
        kind = type(call.layer).__name__
        volume = _volume(model, path, kind, call.outputs.shape)
        if volume[2:] != found[-1][2:] or any(known in kind for known in ("Conv", "Dense")):
            found.append(volume)
    return found


def _volume(model: Any, name: str, kind: str, shape: tuple) -> Volume:
    sizes = shape[1:]
    if None in sizes:
        raise ValueError(
            f"volumes: the sizes must be known, {name!r} of model {model.name!r} has shape {shape}"
        )
    *space, depth = sizes or (1,)
    height, width = {0: (1, 1), 1: (1, *space), 2: tuple(space)}.get(len(space), (0, 0))
    if not height:
        raise ValueError(f"volumes: {name!r} has shape {shape}, which is no image, row or vector")
    return Volume(name, kind, height, width, depth)


def architecture(
    model: Any,
    depth_scale: float | None = None,
    gap: float = 0.35,
    ax: Any = None,
    save: Any = None,
    title: str | None = None,
) -> Any:
    """The network as a row of volumes: height upwards, width into the picture, depth (channels) to
    the right; all on one scale.

    Parameters
    ----------
    depth_scale : length of a channel, in pixels of height. By default 1, or less where the volumes
        would be more than four times as long as the picture is high.
    gap : between volumes, in heights of the highest; default 0.35.

    Returns
    -------
    matplotlib Figure.

    Raises
    ------
    ValueError
        As `volumes`; for a `depth_scale` that is not positive.
    """
    found = volumes(model)
    if depth_scale is not None and depth_scale <= 0:
        raise ValueError(f"architecture: depth_scale must be positive, got {depth_scale}")
    highest = max(v.height for v in found)
    scale = depth_scale or min(1.0, 4.0 * highest / sum(v.depth for v in found))
    patches = matplotlib("architecture", "patches")
    ax = axes_for("architecture", ax, (max(6.0, 0.9 * len(found)), 3.2))
    x = 0.0
    for volume in found:
        right = _box(ax, patches, x, volume, scale)
        ax.text(
            (x + right) / 2, -0.6 * highest,
            f"{volume.name}\n{volume.width}×{volume.height}×{volume.depth}",
            ha="right", va="top", fontsize=7, rotation=40, rotation_mode="anchor",
        )  # fmt: skip
        x = right + gap * highest
    ax.set_xlim(-0.5 * highest, x)
    ax.set_ylim(-1.6 * highest, 0.95 * highest)
    ax.set_aspect("equal")
    ax.axis("off")
    return finished(ax, title, save)


def _box(ax: Any, patches: Any, x: float, volume: Volume, scale: float) -> float:
    """Draw a box whose front begins at x, its middle at 0; returns where it ends."""
    h, w, d = volume.height, volume.width * SLANT, volume.depth * scale
    low, high = -h / 2, h / 2
    front = [(x, low), (x + d, low), (x + d, high), (x, high)]
    top = [(x, high), (x + d, high), (x + d + w, high + w), (x + w, high + w)]
    side = [(x + d, low), (x + d + w, low + w), (x + d + w, high + w), (x + d, high)]
    color = next((c for part, c in COLORS.items() if part in volume.kind), "#ffffff")
    for corners, shade in ((front, 1.0), (top, 0.7), (side, 0.85)):
        style = {"facecolor": color, "edgecolor": "black", "lw": 0.5, "alpha": shade}
        ax.add_patch(patches.Polygon(corners, **style))
    return x + d + w
