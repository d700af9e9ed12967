"""What losses have in common: they reduce a formula's value per sample to one number."""

from collections.abc import Callable
from typing import Any, ClassVar

from nbcnn import loss_formulas, ops
from nbcnn.declare import Declared, arg
from nbcnn.dtype_policies import float_name
from nbcnn.loss_formulas import floating, like, same_rank
from nbcnn.ops.loss import EPSILON
from nbcnn.registry import Family

family = Family("loss", "keras.losses")
REDUCTIONS = ("sum_over_batch_size", "sum", "mean", "mean_with_sample_weight", "none", None)


class Loss(Declared, family=family):
    """Base of losses: override `call(y_true, y_pred)`, which gives a value per sample.

    `call` gets y_true in the float type of y_pred.

    Parameters
    ----------
    reduction : how values become one number. "sum_over_batch_size" or "mean": their mean (default);
        "sum";
        "mean_with_sample_weight": their sum divided by the sum of the weights; "none" or None: not
        at all.
    name : automatic by default.
    dtype : float type to compute in; that of y_pred by default.
    """

    reduction: str | None = arg("sum_over_batch_size", choices=REDUCTIONS, last=True)
    name: str | None = arg(None, last=True)
    dtype: str | None = arg(None, convert=float_name, last=True)

    reads_integers = False  # whether `call` wants y_true as it was given

    def call(self, y_true: Any, y_pred: Any) -> Any:
        """The loss of each sample, from y_true and y_pred; to be defined by losses of one's own."""
        raise NotImplementedError(f"{type(self).__name__} must define call(y_true, y_pred)")

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The reduced loss.

        Parameters
        ----------
        y_true, y_pred : symbolic tensors or arrays of shape (batch, ...).
        sample_weight : None, or weights that broadcast against the values per sample, usually
            (batch,).
        """
        y_pred = floating(y_pred)
        if self.dtype is not None:
            y_pred = ops.cast(y_pred, self.dtype)
        y_true = y_true if hasattr(y_true, "shape") else like(y_true, y_pred)
        if not self.reads_integers:
            y_true = like(y_true, y_pred)
        values = self.call(y_true, y_pred)
        valid = self.valid(y_true, y_pred)
        if valid is not None:
            sample_weight = _masked(sample_weight, like(valid, values), self.reduction)
        return reduce_weighted_values(values, sample_weight, self.reduction)

    def valid(self, y_true: Any, y_pred: Any) -> Any:
        """None, or which values count; means are taken over these alone."""
        return None


def _masked(sample_weight: Any, mask: Any, reduction: str | None) -> Any:
    """Weights that are 0 outside the mask and, where a mean follows, make it one over the mask."""
    if reduction in ("sum_over_batch_size", "mean"):
        mask = mask / ops.maximum(ops.mean(mask), EPSILON)
    if sample_weight is None:
        return mask
    mask, sample_weight = same_rank(mask, like(sample_weight, mask))
    return mask * sample_weight


def reduce_weighted_values(values: Any, sample_weight: Any, reduction: str | None) -> Any:
    """Values per sample, weighted and reduced as `Loss` says."""
    if sample_weight is not None:
        values, sample_weight = same_rank(values, like(sample_weight, floating(values)))
        if len(sample_weight.shape) == 1 and len(values.shape) > 1:  # those of whole samples
            ones = (1,) * (len(values.shape) - 1)
            sample_weight = ops.reshape(sample_weight, (-1, *ones))
        values = values * sample_weight
    if reduction in (None, "none") or len(values.shape) == 0:
        return values
    if reduction == "sum":
        return ops.sum(values)
    if reduction == "mean_with_sample_weight" and sample_weight is not None:
        return ops.sum(values) / ops.maximum(ops.sum(sample_weight), 1e-30)
    return ops.sum(values) if 0 in values.shape else ops.mean(values)  # nothing has no mean


class FormulaLoss(Loss):
    """A loss whose fields beyond those of `Loss` are further arguments of its formula."""

    reads_integers = True
    formula: ClassVar[Callable[..., Any]]
    of_formula: ClassVar[tuple[str, ...]]  # names of its arguments

    def __init_subclass__(cls, formula: Callable[..., Any] | None = None, **kwargs: Any) -> None:
        """`formula`: of this loss; that of the base by default."""
        if formula is not None:
            cls.formula = staticmethod(formula)
            if "name" not in cls.__dict__:
                cls.name = formula.__name__
        super().__init_subclass__(**kwargs)
        if formula is not None:
            cls.of_formula = tuple(name for name in cls.fields if name not in Loss.fields)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        own = {name: getattr(self, name) for name in self.of_formula}
        return self.formula(*same_rank(y_true, y_pred), **own)


class LossFunctionWrapper(Loss):
    """A function of (y_true, y_pred) as a loss; `kwargs` are its further arguments."""

    def __init__(
        self,
        fn: Callable[..., Any],
        reduction: str | None = "sum_over_batch_size",
        name: str | None = None,
        dtype: str | None = None,
        **kwargs: Any,
    ) -> None:
        fn = family.get(fn)
        name = name or getattr(fn, "__name__", "").strip("<>") or None
        super().__init__(reduction=reduction, name=name, dtype=dtype)
        self.fn = fn
        self.reads_integers = getattr(fn, "__module__", None) == loss_formulas.__name__
        self.kwargs = kwargs

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return self.fn(*same_rank(y_true, y_pred), **self.kwargs)
