"""How values per sample become one number: weights, masks and means."""

from typing import Any

from nbcnn import ops
from nbcnn.loss_formulas import floating, like, same_rank
from nbcnn.ops.loss import EPSILON


def masked_weights(sample_weight: Any, mask: Any, reduction: str | None) -> Any:
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
