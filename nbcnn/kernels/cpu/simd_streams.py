"""Elements of arrays for loops that the compiler shall turn into vector code.

LLVM vectorizes a loop only if it can tell that what one iteration stores is not what another loads.
It compares addresses at run time for that, gives up when there are many arrays, and always takes
the slow loop where a kernel works in place. `fetch` and `put` carry that knowledge instead, as
`noalias` metadata. Their contract:

  - What an iteration stores at an element depends only on elements at the *same* place in whatever
    arrays share
    memory: true of elementwise work, in place or not.
  - An element that the kernel has written before (an accumulator, a first pass's result) is read by
    plain indexing, or by `again` with the stream that it is written as: after a plain load LLVM
    compares the addresses of all arrays.
  - Every array that one loop writes has its own `stream`, 0 to 3.

Indices are not negative.
"""

from llvmlite import ir

from nbcnn.kernels.cpu import types
from nbcnn.kernels.cpu.simd import intrinsic

STREAMS = 4


def _scopes(module, streams):
    """Metadata: the alias scopes of these streams. Names that are strings are shared by all
    functions.
    """
    domain = module.add_metadata(["nbcnn streams"])
    return module.add_metadata(
        [module.add_metadata([f"nbcnn stream {s}", domain]) for s in streams]
    )


def _element(context, builder, kind, array, index):
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(data, [index], inbounds=True)


@intrinsic
def fetch(typingctx, array, index):
    """array[index] of a one-dimensional array, for a loop whose `put`s go elsewhere or to this very
    element.
    """

    def codegen(context, builder, signature, args):
        raw = builder.load(_element(context, builder, array, *args))
        raw.set_metadata("noalias", _scopes(builder.module, range(STREAMS)))
        return context.data_model_manager[array.dtype].from_data(builder, raw)

    return array.dtype(array, types.intp.made), codegen


@intrinsic
def again(typingctx, array, index, stream):
    """array[index] of an array that this loop writes as `stream`, a literal 0 to 3."""
    if not hasattr(stream, "literal_value"):
        return None
    number = stream.literal_value

    def codegen(context, builder, signature, args):
        raw = builder.load(_element(context, builder, array, *args[:2]))
        others = [s for s in range(STREAMS) if s != number]
        raw.set_metadata("alias.scope", _scopes(builder.module, [number]))
        raw.set_metadata("noalias", _scopes(builder.module, others))
        return context.data_model_manager[array.dtype].from_data(builder, raw)

    return array.dtype(array, types.intp.made, stream), codegen


@intrinsic
def put(typingctx, array, index, value, stream):
    """array[index] = value, converted to the array's type. `stream`: a literal 0 to 3."""
    if not hasattr(stream, "literal_value"):  # Numba then asks again with the literal's type
        return None
    number = stream.literal_value

    def codegen(context, builder, signature, args):
        target, at, given, _ = args
        given = context.cast(builder, given, value, array.dtype)
        raw = context.data_model_manager[array.dtype].as_data(builder, given)
        store = builder.store(raw, _element(context, builder, array, target, at))
        others = [s for s in range(STREAMS) if s != number]
        store.set_metadata("alias.scope", _scopes(builder.module, [number]))
        store.set_metadata("noalias", _scopes(builder.module, others))
        return context.get_dummy_value()

    return types.void(array, types.intp, value, stream), codegen


@intrinsic
def order_key(typingctx, value):
    """An int32 that orders as the float32 does, NaN (of positive sign) above infinity. Its own
    inverse on bits.

    LLVM vectorizes the maximum of integers but not that of floats, where NaN and signed zeros must
    be heeded.
    """

    def codegen(context, builder, signature, args):
        return _flip(builder, builder.bitcast(args[0], ir.IntType(32)))

    return types.int32(types.float32), codegen


@intrinsic
def of_order_key(typingctx, key):
    """The float32 that has this key."""

    def codegen(context, builder, signature, args):
        return builder.bitcast(_flip(builder, args[0]), ir.FloatType())

    return types.float32(types.int32), codegen


def _flip(builder, bits):
    """Reverse the order of negative numbers: all bits but the sign's."""
    sign = builder.ashr(bits, ir.Constant(bits.type, 31))
    return builder.xor(bits, builder.lshr(sign, ir.Constant(bits.type, 1)))
