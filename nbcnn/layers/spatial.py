"""What layers over images and sequences share: the place of channels, windows, one axis as two."""

from typing import Any

from nbcnn import ops
from nbcnn.layers.base import Layer
from nbcnn.layers.fields import Sides
from nbcnn.ops.conv import window_output


class Spatial(Layer):
    """Base of layers over (n, spatial axes..., channels), or (n, channels, spatial axes...).

    Computation is always with channels last; `call` transposes for the other format.
    """

    data_format = "channels_last"
    needs_sizes = False  # else shapes with unknown sizes are found by probing (`probing.py`)

    def _check_input(self, shapes: Any) -> None:
        super()._check_input(shapes)
        if self.needs_sizes and None in self.spatial_sizes(shapes):
            raise ValueError(
                f"{self.label}: the sizes of all axes but the first must be known, "
                f"got shape {shapes}"
            )

    @property
    def channel_axis(self) -> int:
        return 1 if self.data_format == "channels_first" else -1

    def channels_of(self, shape: Any) -> int:
        """Number of channels of an input; it must be known."""
        channels = shape[self.channel_axis]
        if channels is None:
            raise ValueError(
                f"{self.label}: the number of channels must be known, got shape {shape}"
            )
        if not channels:
            raise ValueError(f"{self.label}: the input has no channels, got shape {shape}")
        return int(channels)

    def spatial_sizes(self, shape: Any) -> tuple[int | None, ...]:
        return tuple(shape[2:] if self.data_format == "channels_first" else shape[1:-1])

    @property
    def label(self) -> str:
        """How messages call the layer."""
        return f"{type(self).__name__} {self.name!r}"

    def channels_last(self, x: Any) -> Any:
        return x if self.channel_axis == -1 else ops.moveaxis(x, 1, -1)

    def restored(self, y: Any) -> Any:
        """The opposite of `channels_last`."""
        return y if self.channel_axis == -1 else ops.moveaxis(y, -1, 1)

    def check_window(self, shape: Any, window: Any, argument: str) -> None:
        """Raise ValueError where the window is larger than a known size with its padding."""
        padding, strides = getattr(self, "padding", "valid"), getattr(self, "strides", None)
        dilation = getattr(self, "dilation_rate", (1,) * len(window))
        pads = (padding,) * len(window) if isinstance(padding, str) else padding
        known = zip(self.spatial_sizes(shape), window, strides or window, pads, dilation)
        for size, *geometry in known:
            try:
                if size is not None and geometry[2] != "causal":
                    window_output(size, *geometry)
            except ValueError as error:
                raise ValueError(
                    f"{self.label}: {argument} {window} does not fit input shape {shape}: {error}"
                ) from None


def as_image(x: Any) -> Any:
    """(n, length, c) -> (n, 1, length, c)."""
    return ops.expand_dims(x, 1)


def as_sequence(y: Any) -> Any:
    """(n, 1, length, c) -> (n, length, c)."""
    return ops.squeeze(y, 1)


def flat_padding(padding: str | Sides) -> Any:
    """The padding of a sequence, for its image of height 1."""
    return padding if isinstance(padding, str) else ((0, 0), *padding)
