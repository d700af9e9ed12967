"""Operations with Keras's names, for layers, losses and metrics of one's own.

Symbolic tensors in, symbolic tensors out; arrays in, arrays out. Which modules hold what:
`numpy_api` and `nn_api` are the public functions; the others define the graph's operations (shapes,
formulas, gradients).
"""

from nbcnn.ops import indexing as indexing
from nbcnn.ops.nn_api import *  # noqa: F403
from nbcnn.ops.numpy_api import *  # noqa: F403
