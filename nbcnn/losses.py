"""Losses, and the formulas themselves.

A user's own loss is a function of (y_true, y_pred) made of `nbcnn.ops`, or a subclass of `Loss`
with `call(y_true, y_pred)`. In the texts t is y_true and p is y_pred.

Common parameters
-----------------
config : what `serialize` returned, or a name.
custom_objects : dictionary of classes and functions that are not part of this package, by name;
    default none.
identifier : name, class, configuration or object; see above.
y_true, y_pred : labels and predictions, symbolic tensors or arrays: (batch, ..., k), labels of
    class numbers (batch, ...).
from_logits : y_pred holds values before the sigmoid or softmax; default False.
label_smoothing : labels are moved towards the uniform distribution by this fraction; default 0.
axis : the axis of classes, or along which the formula is taken; default the last, of `dice` and
    `tversky` all.
"""

from collections.abc import Mapping
from typing import Any

from nbcnn import loss_formulas, ops
from nbcnn.converters import axes, optional
from nbcnn.declare import arg, fraction, positive
from nbcnn.loss_base import FormulaLoss as FormulaLoss
from nbcnn.loss_base import Loss as Loss
from nbcnn.loss_base import LossFunctionWrapper as LossFunctionWrapper
from nbcnn.loss_base import family
from nbcnn.loss_formulas import class_numbers
from nbcnn.registry import serialize as serialize

__all__ = [
    "BinaryCrossentropy", "BinaryFocalCrossentropy", "CategoricalCrossentropy",
    "CategoricalFocalCrossentropy", "CategoricalGeneralizedCrossEntropy", "CategoricalHinge",
    "Circle", "CosineSimilarity", "Dice", "Hinge", "Huber", "KLDivergence", "LogCosh", "Loss",
    "MeanAbsoluteError", "MeanAbsolutePercentageError", "MeanSquaredError",
    "MeanSquaredLogarithmicError", "Poisson", "SparseCategoricalCrossentropy", "SquaredHinge",
    "Tversky", "binary_crossentropy", "binary_focal_crossentropy", "categorical_crossentropy",
    "categorical_focal_crossentropy", "categorical_generalized_cross_entropy",
    "categorical_hinge", "circle", "cosine_similarity", "deserialize", "dice", "get", "hinge",
    "huber", "kl_divergence", "log_cosh", "mean_absolute_error", "mean_absolute_percentage_error",
    "mean_squared_error", "mean_squared_logarithmic_error", "poisson", "serialize",
    "sparse_categorical_crossentropy", "squared_hinge", "tversky",
]  # fmt: skip


class MeanSquaredError(FormulaLoss, formula=loss_formulas.mean_squared_error):
    """Mean of (t - p)²."""


class MeanAbsoluteError(FormulaLoss, formula=loss_formulas.mean_absolute_error):
    """Mean of |t - p|."""


class MeanAbsolutePercentageError(
    FormulaLoss, formula=loss_formulas.mean_absolute_percentage_error
):
    """100 times the mean of |t - p| / |t|."""


class MeanSquaredLogarithmicError(
    FormulaLoss, formula=loss_formulas.mean_squared_logarithmic_error
):
    """Mean of (log(p + 1) - log(t + 1))²."""


class CosineSimilarity(FormulaLoss, formula=loss_formulas.cosine_similarity):
    """Minus the cosine of the angle between t and p along `axis`."""

    axis: int = -1


class Huber(FormulaLoss, formula=loss_formulas.huber):
    """Squared error up to `delta`, absolute error beyond.

    Parameters
    ----------
    delta : default 1.
    """

    delta: float = arg(1.0, check=positive)
    name = "huber_loss"


class LogCosh(FormulaLoss, formula=loss_formulas.log_cosh):
    """Mean of log(cosh(p - t)): like Huber, but smooth."""


class Hinge(FormulaLoss, formula=loss_formulas.hinge):
    """Mean of max(1 - t * p, 0), with labels -1 and 1 (or 0 and 1)."""


class SquaredHinge(FormulaLoss, formula=loss_formulas.squared_hinge):
    """Mean of max(1 - t * p, 0)², with labels -1 and 1 (or 0 and 1)."""


class CategoricalHinge(FormulaLoss, formula=loss_formulas.categorical_hinge):
    """max(max((1 - t) * p) - sum(t * p) + 1, 0), with one-hot labels."""


class KLDivergence(FormulaLoss, formula=loss_formulas.kl_divergence):
    """Sum of t * log(t / p): how far distribution p is from t."""


class Poisson(FormulaLoss, formula=loss_formulas.poisson):
    """Mean of p - t * log(p)."""


class BinaryCrossentropy(FormulaLoss, formula=loss_formulas.binary_crossentropy):
    """Cross-entropy of labels 0 and 1 and as many probabilities.

    Parameters
    ----------
    from_logits : y_pred holds values before the sigmoid; default False.
    label_smoothing : labels are moved towards 1/2 by this fraction; default 0.
    axis : along which the mean is taken; default the last.
    """

    from_logits: bool = False
    label_smoothing: float = arg(0.0, check=fraction)
    axis: int = -1


class BinaryFocalCrossentropy(FormulaLoss, formula=loss_formulas.binary_focal_crossentropy):
    """Binary cross-entropy times (1 - q)^gamma, where q is the probability given to the label.

    Parameters
    ----------
    apply_class_balancing : weigh labels 1 by alpha and labels 0 by 1 - alpha; default False.
    alpha, gamma : default 0.25 and 2.
    from_logits, label_smoothing, axis : as for `BinaryCrossentropy`.
    """

    apply_class_balancing: bool = False
    alpha: float = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = arg(0.0, check=fraction)
    axis: int = -1


class CategoricalCrossentropy(FormulaLoss, formula=loss_formulas.categorical_crossentropy):
    """Cross-entropy of one-hot labels and class probabilities.

    Parameters
    ----------
    from_logits : y_pred holds values before the softmax; default False.
    label_smoothing : labels are moved towards the uniform distribution by this fraction; default 0.
    axis : the axis of classes; default the last.
    """

    from_logits: bool = False
    label_smoothing: float = arg(0.0, check=fraction)
    axis: int = -1


class CategoricalFocalCrossentropy(
    FormulaLoss, formula=loss_formulas.categorical_focal_crossentropy
):
    """Categorical cross-entropy with each class's part times alpha * (1 - p)^gamma.

    Parameters
    ----------
    alpha, gamma : default 0.25 and 2.
    from_logits, label_smoothing, axis : as for `CategoricalCrossentropy`.
    """

    alpha: Any = 0.25
    gamma: float = 2.0
    from_logits: bool = False
    label_smoothing: float = arg(0.0, check=fraction)
    axis: int = -1


class SparseCategoricalCrossentropy(
    FormulaLoss,
    formula=loss_formulas.sparse_categorical_crossentropy,
    first=("from_logits", "ignore_class", "reduction"),
):
    """Cross-entropy of class numbers (integers from 0) and class probabilities.

    Parameters
    ----------
    from_logits : y_pred holds values before the softmax; default False.
    ignore_class : samples with this label do not count; default None.
    axis : the axis of classes; default the last.
    """

    from_logits: bool = False
    ignore_class: int | None = None
    axis: int = -1

    def valid(self, y_true: Any, y_pred: Any) -> Any:
        if self.ignore_class is None:
            return None
        return ops.not_equal(class_numbers(y_true, y_pred, self.axis), self.ignore_class)


class Dice(FormulaLoss, formula=loss_formulas.dice, first=("reduction", "name")):
    """1 - 2 * sum(t * p) / (sum(t) + sum(p)) over `axis`, by default everything.

    Parameters
    ----------
    axis : axes that are summed over; None (default): all.
    """

    axis: Any = arg(None, convert=optional(axes))


class Tversky(
    FormulaLoss, formula=loss_formulas.tversky, first=("alpha", "beta", "reduction", "name")
):
    """Dice with weights for what is missed (`alpha`) and what is wrong (`beta`), both 0.5 by
    default.

    Parameters
    ----------
    alpha, beta : default 0.5 each.
    axis : axes that are summed over; None (default): all.
    """

    alpha: float = 0.5
    beta: float = 0.5
    axis: Any = arg(None, convert=optional(axes))


class CategoricalGeneralizedCrossEntropy(
    FormulaLoss, formula=loss_formulas.categorical_generalized_cross_entropy
):
    """(1 - p[t]^q) / q for class numbers t: robust to wrong labels; q in (0, 1), by default 0.5."""

    q: float = arg(0.5, check=positive)


class Circle(FormulaLoss, formula=loss_formulas.circle):
    """Draws embeddings of a class together and apart from those of others (Sun et al. 2020).

    y_true has class numbers, y_pred embeddings (batch, k) of length 1, as `UnitNormalization` makes
    them; every sample is compared with the batch. Means are taken over samples whose loss is
    above 0.

    Parameters
    ----------
    gamma : scale, default 80.
    margin : how far from the ideal distance counts as good; default 0.4.
    remove_diagonal : leave out a sample's distance to itself; default True.
    """

    gamma: float = 80.0
    margin: float = 0.4
    remove_diagonal: bool = True

    def valid(self, y_true: Any, y_pred: Any) -> Any:
        return ops.greater(self.call(y_true, y_pred), 0.0)


binary_crossentropy = loss_formulas.binary_crossentropy
binary_focal_crossentropy = loss_formulas.binary_focal_crossentropy
categorical_crossentropy = loss_formulas.categorical_crossentropy
categorical_focal_crossentropy = loss_formulas.categorical_focal_crossentropy
categorical_generalized_cross_entropy = loss_formulas.categorical_generalized_cross_entropy
categorical_hinge = loss_formulas.categorical_hinge
circle = loss_formulas.circle
cosine_similarity = loss_formulas.cosine_similarity
dice = loss_formulas.dice
hinge = loss_formulas.hinge
huber = loss_formulas.huber
kl_divergence = loss_formulas.kl_divergence
log_cosh = loss_formulas.log_cosh
mean_absolute_error = loss_formulas.mean_absolute_error
mean_absolute_percentage_error = loss_formulas.mean_absolute_percentage_error
mean_squared_error = loss_formulas.mean_squared_error
mean_squared_logarithmic_error = loss_formulas.mean_squared_logarithmic_error
poisson = loss_formulas.poisson
sparse_categorical_crossentropy = loss_formulas.sparse_categorical_crossentropy
squared_hinge = loss_formulas.squared_hinge
tversky = loss_formulas.tversky

family.functions(
    {
        binary_crossentropy: ("bce", "BCE"),
        binary_focal_crossentropy: (),
        categorical_crossentropy: (),
        categorical_focal_crossentropy: (),
        categorical_generalized_cross_entropy: (),
        categorical_hinge: (),
        circle: (),
        cosine_similarity: (),
        dice: (),
        hinge: (),
        huber: (),
        kl_divergence: ("kld", "KLD"),
        log_cosh: ("logcosh",),
        mean_absolute_error: ("mae", "MAE"),
        mean_absolute_percentage_error: ("mape", "MAPE"),
        mean_squared_error: ("mse", "MSE"),
        mean_squared_logarithmic_error: ("msle", "MSLE"),
        poisson: (),
        sparse_categorical_crossentropy: (),
        squared_hinge: (),
        tversky: (),
    }
)


def get(identifier: Any) -> Any:
    """The loss that a name, class, configuration or callable means; None stays None.

    Names of formulas ("mse", "mean_squared_error") give the function, names of classes an instance.
    """
    return family.get(identifier)


def for_output(identifier: Any, y_true: Any, y_pred: Any) -> Loss | None:
    """The loss object for one output of a model, as `compile` takes it; None stays None.

    "crossentropy" (or "ce") is binary, sparse or categorical by the shapes of `y_true` and
    `y_pred`. Functions are wrapped.
    """
    if str(identifier).lower() in ("crossentropy", "ce"):
        identifier = {
            "binary": BinaryCrossentropy,
            "sparse": SparseCategoricalCrossentropy,
            "categorical": CategoricalCrossentropy,
        }[label_kind(y_true.shape, y_pred.shape)]
    loss = get(identifier)
    return loss if loss is None or isinstance(loss, Loss) else LossFunctionWrapper(loss)


def label_kind(true_shape: tuple, predicted_shape: tuple) -> str:
    """How labels are written: "binary" (one output), "sparse" (class numbers) or "categorical"
    (one-hot).
    """
    if predicted_shape[-1] == 1:
        return "binary"
    if len(true_shape) < len(predicted_shape) or true_shape[-1] == 1:
        return "sparse"
    return "categorical"


def deserialize(config: Mapping | str, custom_objects: Mapping | None = None) -> Any:
    """The loss that `serialize` described."""
    return family.get(config, custom_objects)
