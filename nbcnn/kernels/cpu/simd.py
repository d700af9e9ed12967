"""The only place with `@intrinsic`s of the CPU: atomics, calls through pointers, vectors."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

_I64 = ir.IntType(64)


@intrinsic
def atomic_add(typingctx, address, value):
    """Add to the 64-bit integer at `address`; returns what it held before. Sequentially consistent."""

    def codegen(context, builder, signature, args):
        return builder.atomic_rmw("add", builder.inttoptr(args[0], _I64.as_pointer()), args[1], "seq_cst")

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
        kinds = (types.uintp, types.intp, types.intp)
        function_type = context.call_conv.get_function_type(types.none, kinds)
        pointer = builder.inttoptr(args[0], function_type.as_pointer())
        context.call_conv.call_function(builder, pointer, types.none, kinds, args[1:])
        return context.get_dummy_value()

    return types.void(types.uintp, types.uintp, types.intp, types.intp), codegen


@intrinsic
def call_void(typingctx, address):
    """Call the C function `void f(void)` at an address."""

    def codegen(context, builder, signature, args):
        builder.call(builder.inttoptr(args[0], ir.FunctionType(ir.VoidType(), []).as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.uintp), codegen
