"""Matrix products: all orientations, stacks and shared operands, sizes beside the tiles' edges."""

from cases.case import FLOATS, Case, Draw, large, normal

from nbcnn.ops.conv_spec import GELU, TAIL_ACTIVATIONS
from nbcnn.ops.dense import Matmul

ORIENTATIONS = [(tx, tw) for tx in (False, True) for tw in (False, True)]

# rows, columns, steps of the sum
SIZES = [
    (1, 1, 1), (3, 5, 7), (17, 33, 65), (64, 10, 400), (9, 257, 129), (70, 1, 20), (7, 40, 2500),
    (120, 16, 64), (65, 84, 120), (1, 300, 33), (200, 130, 257),
]  # fmt: skip


def operands(m: int, n: int, k: int, tx: bool, tw: bool) -> tuple[Draw, Draw]:
    return Draw((k, m) if tx else (m, k)), Draw((n, k) if tw else (k, n), 1)


def orientations():
    """The smallest product of each kind."""
    for tx, tw in ORIENTATIONS:
        op, name = Matmul(tx, tw), f"matmul-{tx:d}{tw:d}"
        (x, w), b = operands(4, 5, 3, tx, tw), normal(5, seed=2)
        xs, ws = normal(2, *x.shape), normal(2, *w.shape, seed=1)
        yield Case(name, op, (x, w))
        yield Case(f"{name}-stack", op, (xs, ws))
        yield Case(f"{name}-shared_w", op, (xs, w))
        yield Case(f"{name}-shared_x", op, (x, ws))
        yield Case(f"{name}-deep_stack", op, (normal(2, 3, *x.shape), normal(2, 3, *w.shape)))
        yield Case(f"{name}-bias", Matmul(tx, tw, bias=True), (x, w, b))
    for name, act in TAIL_ACTIVATIONS.items():
        inputs = (*operands(4, 5, 3, False, False), normal(5, seed=2))
        floats = ("float32",) if act == GELU else FLOATS  # kernels have no other of it
        yield Case(f"matmul-bias_{name}", Matmul(bias=True, act=act), inputs, floats=floats)
    yield Case("matmul-no_rows", Matmul(bias=True), (normal(0, 3), normal(3, 5), normal(5)))
    yield Case("matmul-empty_sum", Matmul(), (normal(4, 0), normal(0, 5)))
    yield Case("matmul-empty_sum_bias", Matmul(bias=True), (normal(4, 0), normal(0, 5), normal(5)))
    yield Case("matmul-no_columns", Matmul(), (normal(4, 5), normal(5, 0)))
    yield Case("matmul-no_stack", Matmul(), (normal(0, 2, 3), normal(0, 3, 4)))


def tiles():
    """Small products beside the edges of a GPU's tiles, which are small in its simulator: rows in
    words of four and not, more than a tile and less, sums in parts.
    """
    for tx, tw in ORIENTATIONS:
        for m, n, k in [(20, 12, 8), (17, 9, 6)]:
            name = f"matmul-{m}x{n}x{k}-{tx:d}{tw:d}"
            yield Case(name, Matmul(tx, tw), operands(m, n, k, tx, tw))
    yield Case("matmul-words-stack", Matmul(tx=True), (Draw((2, 8, 4)), Draw((2, 8, 12), 1)))
    for m, n, k in [(4, 8, 44), (5, 3, 41)]:
        for name in ("relu", "tanh"):
            inputs = *operands(m, n, k, False, False), Draw((n,), 2)
            op = Matmul(bias=True, act=TAIL_ACTIVATIONS[name])
            yield Case(f"matmul-parts-{m}x{n}x{k}-bias_{name}", op, inputs)


def sizes():
    acts = [item for item in TAIL_ACTIVATIONS.items() if item[1] != GELU]
    for i, (m, n, k) in enumerate(SIZES):
        for tx, tw in ORIENTATIONS:
            name = f"matmul-{m}x{n}x{k}-{tx:d}{tw:d}"
            yield large(name, Matmul(tx, tw), *operands(m, n, k, tx, tw))
        act, number = acts[i % len(acts)]
        # Sums of about 1: larger ones saturate, and their rounding is large beside a tanh.
        inputs = Draw((m, k)), normal(k, n, seed=1) / k**0.5, Draw((n,), 2)
        op = Matmul(bias=True, act=number)
        yield large(f"matmul-{m}x{n}x{k}-bias_{act}", op, *inputs)
    # A weight gradient of a dense layer on many rows: few results of a long sum, in slabs.
    yield large("matmul-slabs-10", Matmul(tx=True), *operands(24, 12, 20_000, True, False))
    yield large("matmul-streams-10", Matmul(tx=True), *operands(44, 50, 24_000, True, False))
    yield large("matmul-slabs-00", Matmul(), *operands(5, 17, 30_000, False, False))
    # Few rows: w is read in slabs, with and without what belongs behind their sum.
    for m, n, k in [(1, 1100, 130), (2, 100, 700), (8, 515, 301), (7, 4100, 67), (13, 2100, 500)]:
        for tx in (False, True):
            name = f"matmul-few-{m}x{n}x{k}-{tx:d}"
            yield large(name, Matmul(tx), *operands(m, n, k, tx, False))
        for name, act in acts if k < 400 else acts[:2]:  # tanh magnifies the rounding of long sums
            op, inputs = Matmul(bias=True, act=act), operands(m, n, k, False, False)
            yield large(f"matmul-few-{m}x{n}x{k}-bias_{name}", op, *inputs, Draw((n,), 2))
    inputs = operands(40, 12, 9000, False, False)
    yield large("matmul-slabs-bias", Matmul(bias=True), *inputs, Draw((12,), 2))
    # Steps at a multiple of 2 kB, so that x is packed.
    yield large("matmul-packed", Matmul(tx=True), *operands(512, 200, 50, True, False))
    # Results that are computed transposed: in slabs, with a stack of either operand.
    yield large("matmul-turned-slabs", Matmul(tw=True), *operands(12, 24, 20_000, False, True))
    for tx in (False, True):
        x, w = operands(18, 37, 40, tx, True)
        xs, ws = Draw((3, *x.shape)), Draw((3, *w.shape), 1)
        for name, inputs in (("x", (xs, w)), ("w", (x, ws)), ("both", (xs, ws))):
            yield large(f"matmul-turned-{name}-{tx:d}", Matmul(tx, True), *inputs)
    # Several chunks of the sum, groups of panels, rows of a large w: what comes next is asked for.
    for m, n, k, tx, tw in [
        (150, 203, 600, True, False), (70, 203, 1024, False, False), (20, 700, 603, False, True),
        (75, 1100, 290, True, True), (40, 1100, 1003, False, False), (11, 1100, 1003, True, False),
    ]:  # fmt: skip
        name = f"matmul-chunks-{m}x{n}x{k}-{tx:d}{tw:d}"
        yield large(name, Matmul(tx, tw), *operands(m, n, k, tx, tw))
    yield large("matmul-stack", Matmul(), Draw((5, 33, 40)), Draw((5, 40, 17), 1))
    yield large(
        "matmul-rows", Matmul(bias=True), Draw((3, 7, 9, 40)), Draw((40, 17), 1), Draw((17,))
    )
    yield large("matmul-shared", Matmul(tw=True), Draw((33, 40)), Draw((5, 17, 40), 1))


CASES = [*orientations(), *tiles(), *sizes()]
