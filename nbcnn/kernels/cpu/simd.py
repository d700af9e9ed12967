"""The only place with `@intrinsic`s of the CPU: atomics, calls through pointers, vectors."""

import inspect
from contextlib import contextmanager

from llvmlite import ir
from llvmlite.binding import get_process_triple
from numba import types
from numba.extending import intrinsic

_I32, _I64 = ir.IntType(32), ir.IntType(64)


@intrinsic
def atomic_add(typingctx, address, value):
    """Add to the 64-bit integer at `address`; returns what it held before. Sequentially
    consistent.
    """

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw(
            "add", builder.inttoptr(args[0], _I64.as_pointer()), args[1], "seq_cst"
        )

    return types.int64(types.uintp, types.int64), codegen


@intrinsic
def atomic_load(typingctx, address):
    """The 64-bit integer at `address`, with acquire ordering."""

    def codegen(context, builder, signature, args):
        return builder.load_atomic(builder.inttoptr(args[0], _I64.as_pointer()), "acquire", 8)

    return types.int64(types.uintp), codegen


@intrinsic
def load_int(typingctx, address):
    """The 64-bit integer at `address`."""

    def codegen(context, builder, signature, args):
        return builder.load(builder.inttoptr(args[0], _I64.as_pointer()))

    return types.int64(types.uintp), codegen


@intrinsic
def store_int(typingctx, address, value):
    """Write a 64-bit integer to `address`."""

    def codegen(context, builder, signature, args):
        builder.store(args[1], builder.inttoptr(args[0], _I64.as_pointer()))
        return context.get_dummy_value()

    return types.void(types.uintp, types.int64), codegen


@intrinsic
def call_entry(typingctx, entry, block, task, thread):
    """Call the kernel entry at an address (see `jit.compile_entry`)."""

    def codegen(context, builder, signature, args):
        function_type = ir.FunctionType(ir.VoidType(), [_I64] * 3)
        builder.call(builder.inttoptr(args[0], function_type.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.intp, types.intp), codegen


@intrinsic
def pause(typingctx):
    """Tell the processor that this is a waiting loop, where it has an instruction for that."""

    def codegen(context, builder, signature, args):
        if get_process_triple().startswith(("x86_64", "i386", "i686")):
            builder.call(declare(builder, "llvm.x86.sse2.pause", ir.VoidType(), []), [])
        return context.get_dummy_value()

    return types.void(), codegen


@intrinsic
def call_with_int(typingctx, address, argument):
    """Call the C function `int f(unsigned)` at an address."""

    def codegen(context, builder, signature, args):
        word = ir.IntType(32)
        function = builder.inttoptr(args[0], ir.FunctionType(word, [word]).as_pointer())
        builder.call(function, [builder.trunc(args[1], word)])
        return context.get_dummy_value()

    return types.void(types.uintp, types.intp), codegen


def emit(result, arguments, build):
    """A function for kernels whose body is written in LLVM IR: `build(builder, args)` returns its
    value.

    `result` and `arguments` are Numba types; addresses travel as `intp`.
    """

    def emitted(typingctx, *given):
        def codegen(context, builder, signature, args):
            value = build(builder, args)
            return context.get_dummy_value() if value is None else value

        return result(*arguments), codegen

    names = ["typingctx", *(f"x{i}" for i in range(len(arguments)))]
    parameters = [
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names
    ]
    emitted.__signature__ = inspect.Signature(parameters)  # Numba wants each argument named
    return intrinsic(emitted)


@intrinsic
def address(typingctx, array):
    """Address of an array's first element."""

    def codegen(context, builder, signature, args):
        data = context.make_array(array)(context, builder, args[0]).data
        return builder.ptrtoint(data, _I64)

    return types.intp(array), codegen


def _memory(builder, name, pointers, rest):
    """Call llvm.memcpy or llvm.memset."""
    byte = ir.IntType(8).as_pointer()
    kinds = [byte] * len(pointers) + [_I64]
    function = builder.module.declare_intrinsic(name, kinds)
    builder.call(
        function,
        [*(builder.inttoptr(p, byte) for p in pointers), *rest, ir.Constant(ir.IntType(1), 0)],
    )


def _copy_bytes(builder, args):
    _memory(builder, "llvm.memcpy", args[:2], args[2:])


def _zero_bytes(builder, args):
    _memory(builder, "llvm.memset", args[:1], (ir.Constant(ir.IntType(8), 0), args[1]))


copy_bytes = emit(types.void, (types.intp,) * 3, _copy_bytes)
"""copy_bytes(target, source, count): addresses that do not overlap."""

zero_bytes = emit(types.void, (types.intp,) * 2, _zero_bytes)
"""zero_bytes(target, count)."""


# What follows builds IR inside `emit`ted functions: vectors of `lanes` numbers of `item` bytes.


def scalar_type(item):
    return ir.FloatType() if item == 4 else ir.DoubleType()


def vector_type(lanes, item):
    return ir.VectorType(scalar_type(item), lanes)


def item_of(vector):
    return 4 if isinstance(vector.element, ir.FloatType) else 8


@contextmanager
def loop(builder, count, step=1, values=()):
    """The body of a loop over 0, step, ... below `count`; LLVM leaves it rolled.

    Yields the index or, where the loop carries `values`, (index, list of values): the body replaces
    entries of the list, and after the loop it holds the results.
    """
    entry = builder.block
    head, body, end = (builder.append_basic_block(name) for name in ("head", "body", "end"))
    builder.branch(head)
    builder.position_at_end(head)
    index, carried = builder.phi(_I64), [builder.phi(value.type) for value in values]
    builder.cbranch(builder.icmp_signed("<", index, count), body, end)
    builder.position_at_end(body)
    current = list(carried)
    yield (index, current) if values else index
    following = builder.add(index, integer(step))
    for phi, start, after in zip((index, *carried), (integer(0), *values), (following, *current)):
        phi.add_incoming(start, entry)
        phi.add_incoming(after, builder.block)
    builder.branch(head).set_metadata("llvm.loop", _rolled(builder.module))
    builder.position_at_end(end)
    current[:] = carried


def _rolled(module):
    """Metadata of a loop that is not unrolled. It must refer to itself first, to be no other
    loop's.
    """
    off = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    node = ir.MDValue(module, [off], name=str(len(module.metadata)))
    node.operands = (node, off)
    return node


def smaller(builder, x, y):
    """The smaller of two integers."""
    return builder.select(builder.icmp_signed("<", x, y), x, y)


def integer(value):
    return ir.Constant(_I64, value)


def broadcast(builder, value, lanes):
    """A vector with `value` in every lane."""
    kind = ir.VectorType(value.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, value, ir.Constant(_I32, 0))
    return builder.shuffle_vector(
        first, undefined, ir.Constant(ir.VectorType(_I32, lanes), [0] * lanes)
    )


def first_lanes(builder, count, lanes):
    """A mask of the lanes below `count`."""
    numbers = ir.Constant(ir.VectorType(_I64, lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, broadcast(builder, count, lanes))


def load_vector(builder, address, vector):
    return builder.load(builder.inttoptr(address, vector.as_pointer()), align=item_of(vector))


def store_vector(builder, value, address):
    builder.store(
        value, builder.inttoptr(address, value.type.as_pointer()), align=item_of(value.type)
    )


def masked_load(builder, address, vector, mask):
    """Lanes outside the mask are zeros, and their memory is not touched."""
    pointer, zero = vector.as_pointer(), ir.Constant(vector, [0.0] * vector.count)
    align = ir.Constant(_I32, item_of(vector))
    function = declare(
        builder, f"llvm.masked.load.{suffix(vector)}.p0", vector, [pointer, _I32, mask.type, vector]
    )
    return builder.call(function, (builder.inttoptr(address, pointer), align, mask, zero))


def masked_store(builder, value, address, mask):
    """Memory of lanes outside the mask is not touched."""
    pointer, align = value.type.as_pointer(), ir.Constant(_I32, item_of(value.type))
    kinds = [value.type, pointer, _I32, mask.type]
    function = declare(builder, f"llvm.masked.store.{suffix(value.type)}.p0", ir.VoidType(), kinds)
    builder.call(function, (value, builder.inttoptr(address, pointer), align, mask))


def multiply_add(builder, x, y, z):
    """x * y + z, fused where the hardware can. (`llvm.fma` would be a library call per lane where
    it cannot.)
    """
    function = declare(builder, f"llvm.fmuladd.{suffix(x.type)}", x.type, [x.type] * 3)
    return builder.call(function, (x, y, z))


class _BFloatType(ir.types.Type):
    """LLVM's bfloat, which llvmlite does not name."""

    def _to_string(self):
        return "bfloat"

    def __eq__(self, other):
        return isinstance(other, type(self))

    def __hash__(self):
        return hash(type(self))


def dot_pairs(builder, x, y, total):
    """total + x0 * y0 + x1 * y1 in each lane; x and y hold pairs of bfloat16 (AVX512-BF16)."""
    kind, pairs = total.type, ir.VectorType(_BFloatType(), 2 * total.type.count)
    function = declare(builder, "llvm.x86.avx512bf16.dpbf16ps.512", kind, [kind, pairs, pairs])
    return builder.call(function, [total, *(builder.bitcast(v, pairs) for v in (x, y))])


def prefetch(builder, address, write=False, near=True):
    """Ask for a cache line: to be written or read, into L1 or only (`near` false) into L2. Any
    address will do.
    """
    byte = ir.IntType(8).as_pointer()
    function = declare(builder, "llvm.prefetch.p0", ir.VoidType(), [byte, _I32, _I32, _I32])
    options = [ir.Constant(_I32, x) for x in (int(write), 3 if near else 2, 1)]
    builder.call(function, [builder.inttoptr(address, byte), *options])


def suffix(vector):
    """How LLVM names a vector type in the names of its intrinsics."""
    return f"v{vector.count}f{8 * item_of(vector)}"


def declare(builder, name, result, arguments):
    """The function `name` of the builder's module, declared on first use."""
    found = builder.module.globals.get(name)
    return found or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def transposed(builder, rows):
    """As many vectors as each has lanes: number i of vector j becomes number j of vector i."""
    lanes, distance = len(rows), 1
    while distance < lanes:  # swap bit by bit between row number and lane number
        rows = _exchange(builder, rows, distance, lanes)
        distance *= 2
    return rows


def exchange_orders(distance, lanes):
    """Lanes of a pair of vectors that change places in the lanes in which the bit `distance` of
    the lane number is set, clear: what becomes the first, the second.
    """
    low = [i if not i & distance else lanes + i - distance for i in range(lanes)]
    high = [i + distance if not i & distance else lanes + i for i in range(lanes)]
    kind = ir.VectorType(_I32, lanes)
    return ir.Constant(kind, low), ir.Constant(kind, high)


def _exchange(builder, rows, distance, lanes):
    """Rows i and i + distance exchange those lanes."""
    orders = exchange_orders(distance, lanes)
    result = list(rows)
    for i in range(lanes):
        if not i & distance:
            pair = rows[i], rows[i + distance]
            result[i], result[i + distance] = (
                builder.shuffle_vector(*pair, order) for order in orders
            )
    return result
