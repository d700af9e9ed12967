"""Products and distances: the part of the public `nbcnn.ops` that works on vectors and matrices.

`einsum` and `tensordot` become transpositions, one product of matrices, and reshapes.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nbcnn.ops import numpy_api as N
from nbcnn.ops.dense import matmul as product
from nbcnn.ops.numpy_shape import diagonal, ndim, one_axis, sizes_for_reshape
from nbcnn.ops.reduce import normalize_axes
from nbcnn.ops.shape import broadcast_to, reshape


def dot(x1: Any, x2: Any) -> Any:
    """NumPy's dot: the last axis of x1 against the second to last of x2; numbers multiply."""
    x1, x2 = N.convert_to_tensor(x1), N.convert_to_tensor(x2)
    if 0 in (ndim(x1), ndim(x2)):
        return N.multiply(x1, x2)
    return tensordot(x1, x2, ([ndim(x1) - 1], [max(ndim(x2) - 2, 0)]))


def inner(x1: Any, x2: Any) -> Any:
    """The last axes against each other; numbers multiply."""
    x1, x2 = N.convert_to_tensor(x1), N.convert_to_tensor(x2)
    if 0 in (ndim(x1), ndim(x2)):
        return N.multiply(x1, x2)
    return tensordot(x1, x2, ([ndim(x1) - 1], [ndim(x2) - 1]))


def outer(x1: Any, x2: Any) -> Any:
    """Each element of x1 times each of x2, both flattened."""
    return N.multiply(reshape(x1, (-1, 1)), reshape(x2, (1, -1)))


def vdot(x1: Any, x2: Any) -> Any:
    """The sum of products of all elements, both flattened."""
    return product(N.ravel(N.convert_to_tensor(x1)), N.ravel(N.convert_to_tensor(x2)))


def kron(x1: Any, x2: Any) -> Any:
    """Each element of x1 replaced by itself times x2 (Kronecker product)."""
    x1, x2 = N.convert_to_tensor(x1), N.convert_to_tensor(x2)
    rank = max(ndim(x1), ndim(x2))
    a, b = ((1,) * (rank - ndim(x)) + sizes_for_reshape(N.shape(x)) for x in (x1, x2))
    left = reshape(x1, [n for size in a for n in (size, 1)])
    right = reshape(x2, [n for size in b for n in (1, size)])
    sizes = [-1 if -1 in (n, m) else n * m for n, m in zip(a, b)]
    return reshape(N.multiply(left, right), sizes)


def cross(
    x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None
) -> Any:
    """Vector products of vectors of two or three numbers along these axes.

    Parameters
    ----------
    axisa, axisb, axisc : of x1, of x2 and of the result; default the last.
    axis : all three at once; default None.
    """
    if axis is not None:
        axisa = axisb = axisc = axis
    a, b = (N.moveaxis(N.convert_to_tensor(x), k, -1) for x, k in ((x1, axisa), (x2, axisb)))
    sizes = N.shape(a)[-1], N.shape(b)[-1]
    if not set(sizes) <= {2, 3}:
        raise ValueError(f"cross: vectors must have 2 or 3 numbers, got {sizes}")

    def parts(x: Any) -> list[Any]:
        return [N.squeeze(N.slice_axis(x, -1, i, i + 1), -1) for i in range(N.shape(x)[-1] or 0)]

    p, q = parts(a), parts(b)

    def minor(i: int, j: int) -> Any:
        terms = [
            N.multiply(p[k], q[m]) if k < len(p) and m < len(q) else None
            for k, m in ((i, j), (j, i))
        ]
        if terms[0] is None or terms[1] is None:
            left, right = terms
            return left if right is None else N.negative(right)
        return N.subtract(*terms)

    if sizes == (2, 2):
        return minor(0, 1)
    return N.moveaxis(N.stack([minor(1, 2), minor(2, 0), minor(0, 1)], -1), -1, axisc)


def tensordot(x1: Any, x2: Any, axes: Any = 2) -> Any:
    """Sums of products over axes: so many last ones of x1 against first ones of x2, or a pair of
    lists.
    """
    x1, x2 = N.convert_to_tensor(x1), N.convert_to_tensor(x2)
    if isinstance(axes, (int, np.integer)):
        lists: tuple[list[int], list[int]] = (
            list(range(ndim(x1) - int(axes), ndim(x1))),
            list(range(int(axes))),
        )
    else:
        first, second = ([int(a)] if isinstance(a, (int, np.integer)) else list(a) for a in axes)
        lists = (
            [one_axis(a, ndim(x1), "tensordot") for a in first],
            [one_axis(a, ndim(x2), "tensordot") for a in second],
        )
    if len(lists[0]) != len(lists[1]) or len(lists[0]) > min(ndim(x1), ndim(x2)):
        raise ValueError(
            f"tensordot: axes must be as many on both sides, and there, got {axes} for "
            f"{ndim(x1)} and {ndim(x2)} axes"
        )
    letters = iter(map(chr, range(ord("a"), ord("z") + 1)))
    left = [next(letters) for _ in range(ndim(x1))]
    right = [next(letters) for _ in range(ndim(x2))]
    for a, b in zip(*lists):
        right[b] = left[a]
    result = [c for i, c in enumerate(left) if i not in lists[0]]
    result += [c for i, c in enumerate(right) if i not in lists[1]]
    return einsum(f"{''.join(left)},{''.join(right)}->{''.join(result)}", x1, x2)


def einsum(subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    """Einstein's sums: letters name axes, those that the result lacks are summed over.

    `...` stands for leading axes, which broadcast. Operands are joined from left to right.

    Parameters
    ----------
    subscripts : as 'ij,jk->ik', one group of letters for each operand.
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts must be a string, got {subscripts!r:.80}")
    arrays = [N.convert_to_tensor(x) for x in operands]
    terms, result = _parsed(subscripts.replace(" ", ""), [ndim(x) for x in arrays])
    pairs = [_single(x, term) for x, term in zip(arrays, terms)]
    while len(pairs) > 1:
        (a, left), (b, right), *others = pairs
        needed = set(result).union(*(term for _, term in others)) if others else set(result)
        pairs = [_joined(a, left, b, right, needed, result), *others]
    x, term = _without(*pairs[0], set(result))
    missing = [c for c in result if c not in term]
    if missing:
        raise ValueError(f"einsum: {subscripts!r}: {missing[0]!r} of the result is in no operand")
    return N.transpose(x, [term.index(c) for c in result]) if term != result else x


def _parsed(text: str, ranks: Sequence[int]) -> tuple[list[str], str]:
    """Letters for each operand's axes and the result's; capital Greek ones for those of `...`."""
    inputs, arrow, output = text.partition("->")
    terms = inputs.split(",")
    if len(terms) != len(ranks):
        raise ValueError(f"einsum: {text!r} is for {len(terms)} operands, got {len(ranks)}")
    widest = 0
    for i, (term, rank) in enumerate(zip(terms, ranks)):
        letters = term.replace("...", "")
        if not all(c.isalpha() for c in letters) or ("..." not in term and len(letters) != rank):
            raise ValueError(f"einsum: {term!r} does not fit an operand of {rank} axes")
        more = rank - len(letters)
        if more < 0:
            raise ValueError(f"einsum: {term!r} does not fit an operand of {rank} axes")
        widest = max(widest, more)
        terms[i] = term.replace("...", _leading(more))
    if not arrow:
        plain = "".join(terms)
        output = "..." + "".join(sorted(c for c in set(plain) if plain.count(c) == 1 and c < "Α"))
    return terms, output.replace("...", _leading(widest))


def _leading(count: int) -> str:
    """The last `count` of the letters for leading axes."""
    return "".join(chr(ord("Ω") - i) for i in reversed(range(count)))


def _single(x: Any, term: str) -> tuple[Any, str]:
    """Repeated letters as diagonals."""
    for c in dict.fromkeys(term):
        while term.count(c) > 1:
            first = term.index(c)
            second = term.index(c, first + 1)
            x = diagonal(x, 0, first, second)
            term = term[:first] + term[first + 1 : second] + term[second + 1 :] + c
    return x, term


def _without(x: Any, term: str, needed: set[str]) -> tuple[Any, str]:
    """Sums over letters that nothing else needs."""
    axes = [i for i, c in enumerate(term) if c not in needed]
    if axes:
        x = N.sum(x, axes)
    return x, "".join(c for c in term if c in needed)


def _joined(
    a: Any, left: str, b: Any, right: str, needed: set[str], result: str
) -> tuple[Any, str]:
    """The product of two operands, summed over letters that are in both and not needed."""
    a, left = _without(a, left, needed | set(right))
    b, right = _without(b, right, needed | set(left))
    sizes: dict[str, Any] = {}
    for x, term in ((a, left), (b, right)):
        for n, c in zip(N.shape(x), term):
            if sizes.get(c, 1) == 1 or n is None:
                sizes[c] = n
            elif n != 1 and n != sizes[c] and sizes[c] is not None:
                raise ValueError(f"einsum: axis {c!r} has sizes {sizes[c]} and {n}")
    shared = [c for c in left if c in right]
    summed = [c for c in shared if c not in needed]
    batch = [c for c in shared if c in needed]
    rows, columns = ([c for c in t if c not in shared] for t in (left, right))
    a, b = (_of_full_size(x, term, sizes, set(shared)) for x, term in ((a, left), (b, right)))
    a = N.transpose(a, [left.index(c) for c in (*batch, *rows, *summed)])
    b = N.transpose(b, [right.index(c) for c in (*batch, *summed, *columns)])
    groups = [[sizes[c] for c in part] for part in (batch, rows, summed, columns)]
    lead = [_total(groups[0])] if batch else []
    unknown = [_total(g) for g in groups]
    x = product(
        reshape(a, (*lead, unknown[1], unknown[2])), reshape(b, (*lead, unknown[2], unknown[3]))
    )
    return reshape(x, sizes_for_reshape([*groups[0], *groups[1], *groups[3]])), "".join(
        (*batch, *rows, *columns)
    )


def _of_full_size(x: Any, term: str, sizes: dict[str, Any], shared: set[str]) -> Any:
    """x with shared axes of size 1 broadcast."""
    shape = N.shape(x)
    wanted = tuple(sizes[c] if c in shared else n for n, c in zip(shape, term))
    return x if wanted == shape else broadcast_to(x, wanted)


def _total(sizes: Sequence[int | None]) -> int:
    return -1 if None in sizes else math.prod(sizes)  # type: ignore[arg-type]


def cdist(x: Any, y: Any) -> Any:
    """Euclidean distances between rows of x (.., n, d) and rows of y (.., m, d): (.., n, m)."""
    x, y = N.convert_to_tensor(x), N.convert_to_tensor(y)
    apart = N.subtract(N.expand_dims(x, -2), N.expand_dims(y, -3))
    return norm(apart, axis=-1)


def norm(x: Any, ord: Any = None, axis: Any = None, keepdims: bool = False) -> Any:
    """Norms of vectors along an axis, or of matrices along two. None: the root of the sum of
    squares.

    ord: of vectors inf, -inf, 0, or a number p: (sum |x|^p)^(1/p); of matrices 'fro', inf, -inf, 1,
    -1; 'nuc', 2 and -2 of arrays only, without gradient.
    """
    x = N.convert_to_tensor(x)
    if np.dtype(N.dtype_of(x)).kind != "f":
        x = N.cast(x, "float32")
    if ord is None:
        squares = N.sum(N.square(x), axis, keepdims)
        # The slope at 0 is 0, not infinite.
        zero = N.equal(squares, 0)
        return N.where(zero, 0.0, N.sqrt(N.where(zero, 1.0, squares)))
    if axis is None:
        axes = normalize_axes(axis, ndim(x), "norm")
    else:
        axes = [int(a) for a in ([axis] if isinstance(axis, (int, np.integer)) else axis)]
    if len(axes) == 1:
        return _vector_norm(x, ord, axes[0], keepdims)
    if len(axes) != 2:
        raise ValueError(f"norm: axis must name one or two axes where ord is given, got {axis}")
    return _matrix_norm(x, ord, [one_axis(a, ndim(x), "norm") for a in axes], keepdims)


def _vector_norm(x: Any, ord: Any, axis: int, keepdims: bool) -> Any:
    if isinstance(ord, str):
        raise ValueError(f"norm: ord must be a number for vectors, got {ord!r}")
    size = N.abs(x)
    if ord == math.inf:
        return N.max(size, axis, keepdims)
    if ord == -math.inf:
        return N.min(size, axis, keepdims)
    if ord == 0:
        return N.sum(N.cast(N.not_equal(x, 0), N.dtype_of(x)), axis, keepdims)
    if ord == 1:
        return N.sum(size, axis, keepdims)
    if ord == 2:
        return norm(x, None, axis, keepdims)
    return N.power(N.sum(N.power(size, float(ord)), axis, keepdims), 1.0 / ord)


def _matrix_norm(x: Any, ord: Any, axes: list[int], keepdims: bool) -> Any:
    if ord == "fro":
        return norm(x, None, axes, keepdims)
    rows, columns = axes
    if ord in (1, -1, math.inf, -math.inf):
        along, across = (rows, columns) if abs(ord) == 1 else (columns, rows)
        extreme = N.max if ord > 0 else N.min
        return _kept(extreme(N.sum(N.abs(x), along, True), across, True), axes, keepdims)
    if ord not in (2, -2, "nuc"):
        raise ValueError(f"norm: ord must be 'fro', 'nuc', inf, -inf, 1, -1, 2 or -2, got {ord!r}")
    from nbcnn.ops.host import host

    found = np.linalg.norm(host(x, "norm"), ord, tuple(axes), keepdims)
    return np.asarray(found)


def _kept(y: Any, axes: Sequence[int], keepdims: bool) -> Any:
    return y if keepdims else N.squeeze(y, tuple(axes))


__all__ = [
    "cdist", "cross", "dot", "einsum", "inner", "kron", "norm", "outer", "tensordot",
    "vdot",
]  # fmt: skip
