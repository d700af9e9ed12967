"""Layer normalization over one and several axes."""

import numpy as np
from cases.case import Case, Draw, normal, positive

from nbcnn.ops.layer_norm import LayerNorm, LayerNormGradient

TINY = [("small", (2, 3, 5), 1), ("two_axes", (3, 2, 4), 2), ("one_number", (4, 1), 1)]
LARGE = [
    ("tail", (7, 3, 83), 1),
    ("convnext", (2, 7, 7, 96), 1),
    ("three_axes", (5, 6, 7, 9), 3),
    ("one_row", (1, 1000), 1),
    ("many_rows", (3000, 4), 1),
]


def norms(name, shape, axes, tiny):
    x, dy, columns = normal(*shape) + 5.0, Draw(shape, 2), shape[len(shape) - axes :]
    gamma, beta = positive(*columns), Draw(columns, 1)
    over = tuple(range(len(shape) - axes, len(shape)))
    mean, scale = x.mean(over), 1 / np.sqrt(x.var(over) + 1e-3)
    yield Case(f"layernorm-{name}", LayerNorm(axes), (x, gamma, beta), tiny=tiny)
    inputs = (x, dy, gamma, mean, scale)
    yield Case(f"layernorm_dx-{name}", LayerNormGradient(axes), inputs, tiny=tiny)


def special():
    """A mean far beyond the deviation, of values that float32 holds exactly; and no rows."""
    x = np.round(normal(3, 700) * 64) / 64 + 1000.0
    yield Case("layernorm-far_mean", LayerNorm(), (x, positive(700), Draw((700,))), tiny=False)
    nothing = (normal(0, 4), normal(0, 4), positive(4), normal(0), positive(0))
    yield Case("layernorm-no_rows", LayerNorm(), (normal(0, 4), positive(4), normal(4)))
    yield Case("layernorm_dx-no_rows", LayerNormGradient(), nothing)


CASES = [case for row in TINY for case in norms(*row, tiny=True)]
CASES += [*(case for row in LARGE for case in norms(*row, tiny=False)), *special()]
