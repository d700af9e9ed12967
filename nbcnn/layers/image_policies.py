"""Several random changes of images in training, chosen at random too."""

from typing import TYPE_CHECKING, Any

from nbcnn import ops
from nbcnn.declare import arg, positive
from nbcnn.layers import fields
from nbcnn.layers.augmentation import Augmentation, any_seed, pixel_range, share
from nbcnn.layers.draws import Draws
from nbcnn.layers.image_color import (
    RandomBrightness,
    RandomColorDegeneration,
    RandomContrast,
    Solarization,
)
from nbcnn.layers.image_filter import RandomSharpness
from nbcnn.layers.image_motion import INTERPOLATIONS, RandomRotation, RandomShear, RandomTranslation
from nbcnn.layers.image_tone import AutoContrast, Equalization, RandomPosterization


class Policy(Augmentation):
    """Has layers of which it applies some."""

    if TYPE_CHECKING:  # an annotation here would make fields
        value_range: Any
        factor: Any
        interpolation: Any
        _layers: list[Augmentation]

    def moves(self) -> list[Augmentation]:
        """Layers that move pixels."""
        shared = self._shared() | {"interpolation": self.interpolation}
        f = self.factor
        return [
            RandomShear(f, f, **shared), RandomTranslation(f, f, **shared),
            RandomRotation(f, **shared),
        ]  # fmt: skip

    def colours(self) -> list[Augmentation]:
        """Layers that change brightness, colours and edges by a factor."""
        shared = self._shared() | {"value_range": self.value_range}
        kinds = (RandomBrightness, RandomColorDegeneration, RandomContrast, RandomSharpness)
        return [kind(self.factor, **shared) for kind in kinds]

    def tones(self) -> list[Augmentation]:
        """Layers that change the distribution of values."""
        shared = self._shared() | {"value_range": self.value_range}
        bits = max(1, int(8 * self.factor[1]))
        return [
            RandomPosterization(bits, **shared), Solarization(self.factor, self.factor, **shared),
            AutoContrast(**shared), Equalization(**shared),
        ]  # fmt: skip

    def _shared(self) -> dict[str, Any]:
        return {"data_format": self.data_format, "dtype": self.dtype_policy}

    def transform(self, x: Any, draws: Draws) -> Any:
        return self.changed(x, draws, "transform")

    def transform_masks(self, masks: Any, draws: Draws) -> Any:
        return self.changed(ops.cast(masks, self.value_dtype), draws, "transform_masks")

    def changed(self, x: Any, draws: Draws, method: str) -> Any:
        """Images or masks by the chosen layers' `method`."""
        raise NotImplementedError(f"{type(self).__name__} does not define changed()")

    def by_one(self, x: Any, chosen: Any, parts: list[Draws], method: str) -> Any:
        """x by the layer with the number `chosen`, (1, 1, 1, 1), each with its draws; by none
        where there is no such layer.
        """
        y = x
        for number, (layer, own) in enumerate(zip(self._layers, parts)):
            changed = getattr(layer, method)(x, own.again())
            if changed is not x:
                y = ops.where(ops.equal(chosen, float(number)), changed, y)
        return y


class RandAugment(Policy):
    """Some of eleven random changes, one after the other, in training, the same for all images of a
    batch (Cubuk et al. 2019).

    The changes: `RandomShear`, `RandomTranslation`, `RandomRotation`, `RandomBrightness`,
    `RandomColorDegeneration`, `RandomContrast`, `RandomSharpness`, `RandomPosterization`,
    `Solarization`, `AutoContrast`, `Equalization`. All are computed, and those that were drawn
    taken.

    Parameters
    ----------
    value_range : of the pixels, default (0, 255).
    num_ops : how many changes, default 2.
    factor : strength, 0 to 1: least and greatest factor of the changes; one number f stands for
        0..f, default 0.5.
    interpolation : 'bilinear' (default) or 'nearest'.
    seed, data_format : as in `RandomFlip`.
    """

    value_range: Any = pixel_range()
    num_ops: int = arg(2, check=positive)
    factor: Any = share(0, 1, 0.5)
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._layers = [*self.moves(), *self.colours(), *self.tones()]

    def changed(self, x: Any, draws: Draws, method: str) -> Any:
        for _ in range(self.num_ops):
            chosen = draws.integers((1, 1, 1, 1), 0, len(self._layers))
            x = self.by_one(x, chosen, [draws.part() for _ in self._layers], method)
        return x


class AugMix(Policy):
    """Weighted means of images and of what chains of random changes make of them, in training, the
    same for all images of a batch (Hendrycks et al. 2019).

    The changes are those of `RandAugment`. All are computed at every place in every chain, and
    those that were drawn taken.

    Parameters
    ----------
    value_range : of the pixels, default (0, 255).
    num_chains : how many chains, default 3.
    chain_depth : changes in a chain, each of which may be none, default 3.
    factor : strength, 0 to 1: least and greatest factor of the changes; one number f stands for
        0..f, default 0.3.
    alpha : parameter of the Dirichlet distribution of the chains' weights and of the beta
        distribution of the image's own, default 1.
    all_ops : whether brightness, colour degeneration, contrast and sharpness are among the
        changes, default True.
    interpolation : 'bilinear' (default) or 'nearest'.
    seed, data_format : as in `RandomFlip`.
    """

    value_range: Any = pixel_range()
    num_chains: int = arg(3, check=positive)
    chain_depth: int = arg(3, check=positive)
    factor: Any = share(0, 1, 0.3)
    alpha: float = arg(1.0, check=positive)
    all_ops: bool = True
    interpolation: str = arg("bilinear", choices=INTERPOLATIONS)
    seed: int | None = any_seed()
    data_format: str = fields.data_format()

    def __post_init__(self) -> None:
        super().__post_init__()
        self._layers = [*self.moves(), *self.tones(), *(self.colours() if self.all_ops else ())]

    def changed(self, x: Any, draws: Draws, method: str) -> Any:
        weights = draws.dirichlet(self.num_chains, float(self.alpha))
        own = ops.reshape(draws.beta((1, 1), float(self.alpha)), (1, 1, 1, 1))
        mixed: Any = 0.0
        for chain in range(self.num_chains):
            y = x
            for _ in range(self.chain_depth):
                chosen = draws.integers((1, 1, 1, 1), 0, len(self._layers) + 1)
                y = self.by_one(y, chosen, [draws.part() for _ in self._layers], method)
            share = ops.slice_axis(weights, 1, chain, chain + 1)
            mixed = mixed + y * ops.reshape(share, (1, 1, 1, 1))
        mixed = own * x + (1.0 - own) * mixed
        if method == "transform":
            mixed = ops.clip(mixed, *map(float, self.value_range))
        return mixed
