"""Instructions that Numba has no words for: the one CUDA file with inline PTX and `@intrinsic`.

Each has a stand-in of the same name in `simulated.py`, so the same kernel source runs in Numba's
simulator; there, all threads of a warp must come to the instructions that a warp does together
(shuffles, `ldmatrix`, `mma`), as on a GPU.

*Global memory* is given as a flat array (a pointer on a GPU) and an index, or as a 64-bit address:
`address(x) + 4 * i`. *Shared memory* is given as a 32-bit address: `shared_address(array) + 4 * i`.
Addresses of 16 bytes must be multiples of 16. Registers of matrix instructions are int32, whatever
they hold; sums are float32. g = lane // 4 and t = lane % 4 in the layouts.

Loads and stores are LLVM's, so that the compiler knows what they touch; what reads or writes memory
in PTX is `volatile`, so that it stays where it is; what a warp does together is convergent, so that
it is not moved behind a branch.
"""

import inspect
from collections.abc import Callable
from functools import cache
from typing import Any

from llvmlite import ir
from numba import cuda, types
from numba.core.typing import signature

from nbcnn.kernels.cuda import jit, simulated

if not jit.SIMULATED:
    from numba.cuda.extending import intrinsic

F32, I32, I64 = types.float32, types.int32, types.int64
# Of a Numba type: the LLVM type and the letter of its registers in constraints.
KINDS = {F32: (ir.FloatType(), "f"), I32: (ir.IntType(32), "r"), I64: (ir.IntType(64), "l")}
GLOBAL, SHARED = 1, 3  # address spaces
WORD = ir.FloatType()


def generated(function: Callable) -> Any:
    """Decorator: `function(context, *types)` gives signature and code, as `@intrinsic` wants it; in
    the simulator its stand-in takes its place.
    """
    if jit.SIMULATED:
        return getattr(simulated, function.__name__)
    return intrinsic(function)


def instruction(
    name: str,
    text: str,
    returns: tuple = (),
    arguments: tuple = (),
    volatile: bool = False,
) -> Any:
    """The function `name` of `arguments` that is these PTX instructions; $0, $1, ... are its
    results, then its arguments.
    """
    inputs = [KINDS[a][1] for a in arguments]
    constraints = ["=" + KINDS[r][1] for r in returns] + inputs + ["~{memory}"] * volatile
    results = [KINDS[r][0] for r in returns]
    result = results[0] if len(results) == 1 else ir.LiteralStructType(results)
    form = ir.FunctionType(result if results else ir.VoidType(), [KINDS[a][0] for a in arguments])
    kind = (
        types.UniTuple(returns[0], len(returns)) if len(returns) > 1 else (*returns, types.void)[0]
    )

    def code(context, builder, sig, values):
        assembly = ir.InlineAsm(form, text, ",".join(constraints), side_effect=volatile)
        found = builder.call(assembly, values, attrs=("convergent",))
        if len(returns) > 1:
            parts = [builder.extract_value(found, i) for i in range(len(returns))]
            return context.make_tuple(builder, sig.return_type, parts)
        return found if returns else context.get_dummy_value()

    def typed(*_):
        return signature(kind, *arguments), code

    names = ["context", *(f"a{i}" for i in range(len(arguments)))]
    parameters = [inspect.Parameter(n, inspect.Parameter.POSITIONAL_OR_KEYWORD) for n in names]
    typed.__name__ = typed.__qualname__ = name
    typed.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return generated(typed)


# -- memory


def _element(context, builder, kind, value, index=None):
    """Pointer to an element of a flat array, or of what a plain pointer points to."""
    is_array = isinstance(kind, types.Array)
    base = context.make_array(kind)(context, builder, value).data if is_array else value
    return base if index is None else builder.gep(base, [index])


def _in_space(builder, pointer, item, space: int):
    pointer = builder.bitcast(pointer, ir.PointerType(item))
    return builder.addrspacecast(pointer, ir.PointerType(item, space))


def _items(count: int) -> Any:
    return WORD if count == 1 else ir.VectorType(WORD, count)


def _place(context, builder, sig, values, item, space: int):
    """Pointer to what is loaded or stored: at an address of shared memory, or an array's index."""
    if space == SHARED:
        return builder.inttoptr(values[0], ir.PointerType(item, SHARED))
    at = _element(context, builder, sig.args[0], *values[:2])
    return _in_space(builder, at, item, GLOBAL)


def _load(count: int, space: int) -> Callable:
    """Code that loads so many float32 at once."""

    def code(context, builder, sig, values):
        at = _place(context, builder, sig, values, _items(count), space)
        found = builder.load(at, align=4 * count)
        if count == 1:
            return found
        lanes = [ir.Constant(ir.IntType(32), i) for i in range(count)]
        parts = [builder.extract_element(found, lane) for lane in lanes]
        return context.make_tuple(builder, sig.return_type, parts)

    return code


def _store(count: int, space: int) -> Callable:
    """Code that stores so many float32, the last arguments, at once."""

    def code(context, builder, sig, values):
        *_, value = values
        if count > 1:
            value = ir.Constant(_items(count), ir.Undefined)
            for i, part in enumerate(values[-count:]):
                value = builder.insert_element(value, part, ir.Constant(ir.IntType(32), i))
        at = _place(context, builder, sig, values, _items(count), space)
        builder.store(value, at, align=4 * count)
        return context.get_dummy_value()

    return code


@generated
def load4(context, p, i):
    """p[i], ..., p[i + 3] of float32 in one load of 128 bits: their address must be a multiple of
    16.
    """
    return signature(types.UniTuple(F32, 4), p, i), _load(4, GLOBAL)


@generated
def store4(context, p, i, a, b, c, d):
    """p[i], ..., p[i + 3] = a, b, c, d in one store."""
    return signature(types.void, p, i, F32, F32, F32, F32), _store(4, GLOBAL)


@generated
def store2(context, p, i, a, b):
    """p[i], p[i + 1] = a, b in one store; the address must be a multiple of 8."""
    return signature(types.void, p, i, F32, F32), _store(2, GLOBAL)


@generated
def address(context, p):
    """The address of p[0] in global memory, 64 bits."""

    def code(context, builder, sig, values):
        at = _element(context, builder, sig.args[0], *values)
        return builder.ptrtoint(_in_space(builder, at, WORD, GLOBAL), ir.IntType(64))

    return signature(I64, p), code


@generated
def shared_address(context, array):
    """The address of a shared array's first element, 32 bits."""

    def code(context, builder, sig, values):
        at = _element(context, builder, sig.args[0], *values)
        return builder.ptrtoint(_in_space(builder, at, WORD, SHARED), ir.IntType(32))

    return signature(I32, array), code


@generated
def shared_load(context, at):
    """The float32 at an address of shared memory."""
    return signature(F32, I32), _load(1, SHARED)


@generated
def shared_store(context, at, a):
    return signature(types.void, I32, F32), _store(1, SHARED)


@generated
def shared_store2(context, at, a, b):
    """Two float32 in one store."""
    return signature(types.void, I32, F32, F32), _store(2, SHARED)


@generated
def shared_load4(context, at):
    """Four float32 in one load of 128 bits."""
    return signature(types.UniTuple(F32, 4), I32), _load(4, SHARED)


@generated
def shared_store4(context, at, a, b, c, d):
    """Four float32 in one store."""
    return signature(types.void, I32, F32, F32, F32, F32), _store(4, SHARED)


# copy_async(shared, source, nbytes): 16 bytes from global to shared memory, not through registers;
# the first `nbytes` (0 to 16) are read, the others become zeros.
copy_async = instruction(
    "copy_async",
    "cp.async.cg.shared.global [$0], [$1], 16, $2;",
    arguments=(I32, I64, I32),
    volatile=True,
)
# Copies since the last commit become a group.
commit_async = instruction("commit_async", "cp.async.commit_group;", volatile=True)


@cache
def wait_async(pending: int) -> Any:
    """The function that waits until at most `pending` groups of this thread's copies are on their
    way. Others see its copies after a barrier.
    """
    text = f"cp.async.wait_group {pending};"
    return instruction("wait_async", text, volatile=True)


# -- threads of a warp

FULL_WARP = 0xFFFFFFFF


@jit.device
def _shuffle_xor(value, mask):
    return cuda.shfl_xor_sync(FULL_WARP, value, mask)


@jit.device
def _shuffle_down(value, delta):
    return cuda.shfl_down_sync(FULL_WARP, value, delta)


# The value of lane `lane ^ mask`; of lane `lane + delta`, or the own one beyond the last lane.
shuffle_xor = simulated.shuffle_xor if jit.SIMULATED else _shuffle_xor
shuffle_down = simulated.shuffle_down if jit.SIMULATED else _shuffle_down


# -- matrices in a warp's registers

# Four matrices of 8 rows of 16 bytes; lane l gives the address of row l % 8 of matrix l // 8.
# Result i is word t of row g of matrix i. `_trans`: of 16-bit numbers, rows 2t (lower half) and
# 2t + 1 of column g.
ldmatrix = instruction(
    "ldmatrix",
    "ldmatrix.sync.aligned.m8n8.x4.shared.b16 {$0, $1, $2, $3}, [$4];",
    (I32,) * 4,
    (I32,),
    volatile=True,
)
ldmatrix_trans = instruction(
    "ldmatrix_trans",
    "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {$0, $1, $2, $3}, [$4];",
    (I32,) * 4,
    (I32,),
    volatile=True,
)
# c (16 x 8) + a (16 x 8) b (8 x 8): mma_tf32(c0, c1, c2, c3, a0, a1, a2, a3, b0, b1) -> c.
#   c0, c1: row g, columns 2t, 2t + 1; c2, c3: row g + 8
#   a0: row g, column t; a1: row g + 8; a2, a3: column t + 4; b0: row t, column g; b1: row t + 4
# Of each operand the upper 19 bits count: round before.
mma_tf32 = instruction(
    "mma_tf32",
    "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 "
    "{$0, $1, $2, $3}, {$8, $9, $10, $11}, {$12, $13}, {$4, $5, $6, $7};",
    (F32,) * 4,
    (F32,) * 4 + (I32,) * 6,
)
# The same with 16 steps of the sum, two bfloat16 a register: where TF32 has column (row of b) t,
# these are 2t (lower half) and 2t + 1, and 8 more where it has 4 more.
mma_bf16 = instruction(
    "mma_bf16",
    "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
    "{$0, $1, $2, $3}, {$8, $9, $10, $11}, {$12, $13}, {$4, $5, $6, $7};",
    (F32,) * 4,
    (F32,) * 4 + (I32,) * 6,
)


# -- matrices in shared memory (sm_90a), multiplied by four warps

DEPTH = 4  # wgmma instructions for a line of 128 bytes


@cache
def wgmma(columns: int, bfloat16: bool) -> Any:
    """The function (sums, a, b) by which four warps add a b^T to their sums, a local array of
    `columns` / 2: a (64, 128 bytes) and b (columns, 128 bytes) are described by `descriptor`, and
    hold TF32, of which the upper 19 bits count, or bfloat16.

    Sums 4j to 4j + 3 of lane (g, t) of warp i are those of `mma_tf32` for columns 8j to 8j + 7, of
    rows 16i + g and 16i + g + 8. All instructions of a line are one piece of PTX, since between
    pieces the assembler would wait for each.
    """
    count = columns // 2
    kind, steps = ("bf16", 16) if bfloat16 else ("tf32", 8)
    sums = ", ".join(f"${i}" for i in range(count))
    form = f"wgmma.mma_async.sync.aligned.m64n{columns}k{steps}.f32.{kind}.{kind}"
    ends = "1, 1, 0, 0" if bfloat16 else "1, 1"
    lines = ["{", ".reg .pred p;", ".reg .b64 a, b;", "setp.eq.b32 p, 0, 0;"]
    lines += [f"mov.b64 a, ${2 * count};", f"mov.b64 b, ${2 * count + 1};"]
    lines += ["wgmma.fence.sync.aligned;"]
    for i in range(DEPTH):
        lines += ["add.s64 a, a, 2;", "add.s64 b, b, 2;"] if i else []  # 32 bytes on
        lines += [f"{form} {{{sums}}}, a, b, p, {ends};"]
    lines += ["wgmma.commit_group.sync.aligned;", "wgmma.wait_group.sync.aligned 0;", "}"]
    inputs = [*map(str, range(count)), "l", "l"]
    constraints = ",".join(["=f"] * count + inputs + ["~{memory}"])
    result = ir.LiteralStructType([WORD] * count)
    function = ir.FunctionType(result, [WORD] * count + [ir.IntType(64)] * 2)

    def wgmma(context, sums, a, b):
        def code(context, builder, sig, values):
            base = _element(context, builder, sig.args[0], values[0])
            places = [builder.gep(base, [ir.Constant(ir.IntType(32), i)]) for i in range(count)]
            operands = [*map(builder.load, places), *values[1:]]
            assembly = ir.InlineAsm(function, " ".join(lines), constraints, side_effect=True)
            found = builder.call(assembly, operands, attrs=("convergent",))
            for i, place in enumerate(places):
                builder.store(builder.extract_value(found, i), place)
            return context.get_dummy_value()

        return signature(types.void, sums, I64, I64), code

    return simulated.wgmma(columns, bfloat16) if jit.SIMULATED else intrinsic(wgmma)


@jit.device
def descriptor(at):
    """Of lines of 128 bytes in shared memory, the chunks of 16 bytes of line r at place c ^ (r &
    7); the first is at `at`, a multiple of 1024.
    """
    lines = types.int64(1) << 16 | types.int64(64) << 32 | types.int64(1) << 62
    return types.int64((at & 0x3FFFF) >> 4) | lines


# -- bits


@generated
def bits(context, value):
    """The bits of a float32 as int32."""

    def code(context, builder, sig, values):
        return builder.bitcast(values[0], ir.IntType(32))

    return signature(I32, F32), code


@generated
def from_bits(context, word):
    def code(context, builder, sig, values):
        return builder.bitcast(values[0], WORD)

    return signature(F32, I32), code


# The nearest TF32 (10 bits of mantissa, ties away from zero) of a float32, as bits.
round_tf32 = instruction("round_tf32", "cvt.rna.tf32.f32 $0, $1;", (I32,), (F32,))


@generated
def round_tf32_bits(context, word):
    """The same of bits that `mma_tf32` is to take: the lower 13 stay, which it drops. One or two
    instructions instead of three; of all numbers only NaNs from 0xfffff000 on are lost, which no
    arithmetic of a GPU makes (its NaN is 0x7fffffff).
    """

    def code(context, builder, sig, values):
        (word,) = values
        up = builder.add(word, ir.Constant(ir.IntType(32), 0x1000))
        return builder.select(builder.icmp_signed(">", up, word), up, word)

    return signature(I32, I32), code


# Two float32 as the nearest bfloat16, ties to even: pack_bf16(low, high).
pack_bf16 = instruction("pack_bf16", "cvt.rn.bf16x2.f32 $0, $2, $1;", (I32,), (F32, F32))
# What was written to shared memory is seen by instructions that read it asynchronously (wgmma).
fence_async = instruction("fence_async", "fence.proxy.async.shared::cta;", volatile=True)
