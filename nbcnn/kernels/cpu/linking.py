"""From Python functions to the machine code of one kernel.

Numba makes machine code of every function that it compiles, because Python may call it. Here only
kernels are called from outside: their helpers stay LLVM code as Numba's front end emits it. A
kernel takes in the helpers that it needs and is then optimised, once, as a whole. That is where
most helpers end inlined anyway, and it halves the time of a compilation.

Functions inside a kernel are private to it: two kernels, perhaps compiled by different processes,
never share a symbol.

This module imports Numba, and is imported when something has to be compiled (`jit.compiler`).
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba import _dynfunc, types
from numba.core import codegen, config, typed_passes
from numba.core.compiler import CompilerBase, CompileResult, DefaultPassBuilder
from numba.core.compiler_lock import global_compiler_lock
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.registry import cpu_target

from nbcnn.kernels.cpu import images


@contextmanager
def standing_still() -> Iterator[None]:
    """Nobody else is inside the compiler, which has taken in all that is there to compile with."""
    with global_compiler_lock:
        cpu_target.typing_context.refresh()
        cpu_target.target_context.refresh()
        yield


class UnfinishedLibrary(codegen.JITCodeLibrary):
    """A function and all that it calls, as LLVM code that nothing has optimised yet."""

    def add_llvm_module(self, ll_module: Any) -> None:
        self._final_module.link_in(ll_module)

    def finalize(self) -> None:
        for library in dict.fromkeys(self._linking_libraries):
            self._final_module.link_in(library._get_module_for_linking(), preserve=True)
        self._finalized = True


@register_pass(mutates_CFG=True, analysis_only=False)
class LoweringToLink(typed_passes.NativeLowering):
    """Numba's lowering, up to LLVM code."""

    _name = "nbcnn_lowering_to_link"

    def run_pass(self, state: Any) -> bool:
        state.library = UnfinishedLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        lowered = state["cr"]
        # What stands for the function in Numba's tables: a callable without an address.
        handle = _dynfunc.make_function(
            lowered.fndesc.lookup_module(),
            state.func_id.func_name,
            "code to be linked",
            0,
            lowered.env,
            (state.library,),
        )
        state.targetctx.insert_user_function(handle, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=handle)
        return True


class FrontEnd(CompilerBase):
    """Numba's compiler without machine code, and without its rewriting of array expressions."""

    def define_pipelines(self) -> list[PassManager]:
        usual = DefaultPassBuilder.define_nopython_pipeline(self.state)
        manager = PassManager("nbcnn")
        for stage, description in usual.passes:
            if stage is typed_passes.NativeLowering:
                stage = LoweringToLink
            if stage is not typed_passes.NopythonRewrites:
                manager.add_pass(stage, description)
        manager.finalize()
        return [manager]


def unpacked(kinds: Sequence[types.Type]) -> Callable[[ir.IRBuilder, Any], list]:
    """What an entry passes to its kernel: task, thread and the arguments that `jit.pack` packed."""

    def load(builder: ir.IRBuilder, arguments: Any) -> list:
        context = cpu_target.target_context
        cursor, task, thread = arguments
        values = [task, thread]
        for kind in kinds:
            value_type = context.get_value_type(kind)
            values.append(builder.load(builder.inttoptr(cursor, value_type.as_pointer())))
            cursor = builder.add(
                cursor, ir.Constant(cursor.type, context.get_abi_sizeof(value_type))
            )
        return values

    return load


def front(dispatcher: Any, arguments: tuple[types.Type, ...]) -> CompileResult:
    """A function for arguments of these types, as far as Numba's front end takes it."""
    dispatcher.compile(arguments)
    return dispatcher.overloads[arguments]


def machine_code(
    symbol: str,
    body: CompileResult,
    outer: Sequence[types.Type],
    inner: Callable[[ir.IRBuilder, Any], list] | None = None,
) -> bytes:
    """An image (`images`) or else an object file with the C function `symbol(*outer)`, which calls
    what `FrontEnd` compiled.

    `inner(builder, arguments)` gives the call's arguments; by default they are the same.
    """
    context = cpu_target.target_context
    library = context.codegen().create_library(symbol)
    module = library.create_ir_module(symbol)
    result = body.signature.return_type
    returned = ir.VoidType() if result == types.none else context.get_value_type(result)
    kind = ir.FunctionType(returned, [context.get_value_type(t) for t in outer])
    function = ir.Function(module, kind, symbol)
    builder = ir.IRBuilder(function.append_basic_block())
    arguments = list(function.args) if inner is None else inner(builder, function.args)
    callee = context.declare_function(module, body.fndesc)
    _, value = context.call_conv.call_function(
        builder, callee, result, body.signature.args, arguments
    )
    builder.ret_void() if result == types.none else builder.ret(value)
    library.add_ir_module(module)
    return _finished(library, body.library, symbol)


def _finished(library: Any, body: Any, symbol: str) -> bytes:
    linked = library._final_module
    linked.link_in(body._get_module_for_linking(), preserve=True)
    for part in (*linked.functions, *linked.global_variables):
        if not part.is_declaration and part.name != symbol:
            part.linkage = "internal"
    library._optimize_final_module()
    linked = library._final_module
    linked.verify()
    machine = independent() if images.SUPPORTED else None
    found = machine and images.image(machine.emit_object(linked), symbol)
    return found or library._codegen._tm.emit_object(linked)


@cache
def independent() -> llvm.TargetMachine:
    """Numba's target, with code that may be placed anywhere in memory and is one block there."""
    codegen = cpu_target.target_context.codegen()
    _, name, features = codegen.magic_tuple()
    return llvm.Target.from_triple(codegen._tm.triple).create_target_machine(
        cpu=name, features=features, opt=config.OPT, reloc="pic", codemodel="small"
    )


def load(code: bytes, symbol: str) -> int:
    """Make an object file part of this process; returns the address of its function `symbol`."""
    with global_compiler_lock:
        engine = cpu_target.target_context.codegen()._engine
        engine._ee.add_object_file(llvm.ObjectFileRef.from_data(code))
        engine.finalize_object()
        return engine.get_function_address(symbol)
