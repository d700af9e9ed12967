"""Compiling CPU kernels: the only place that calls `numba.njit`.

A CPU kernel is a plain serial function

    kernel(task, thread, spec, *arrays)

that does one task's share of an operation. It becomes an *entry*, a C function

    void entry(block, task, thread)

which loads the arguments from `block`, a packed copy of them in memory, and runs the kernel. All
entries have this one type, so a plan is a table of (entry, block, number of tasks) that one
compiled loop walks (`program.py`): no kernel needs `prange`, which costs a second or two of compile
time each, and a training step is one parallel region however many kernels it has.

`linking` makes the machine code, `kernel_cache` keeps it on disk.
"""

import ctypes
import hashlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target

from nbcnn.kernels.cpu import building, kernel_cache, linking

# Reassociation and contraction only: infinities and NaN keep their meaning (max pooling, losses).
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
FLAGS = {
    "nogil": True,
    "error_model": "numpy",
    "fastmath": FASTMATH,
    "boundscheck": False,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    "_nrt": False,
    "pipeline_class": linking.FrontEnd,
}
ENTRY_ARGS = (types.uintp, types.intp, types.intp)

helper = numba.njit(**FLAGS)
"""Decorator of functions that kernels call; compiled into each kernel that uses them."""

always_inline = numba.njit(**FLAGS, forceinline=True)
"""As `helper`, always inlined: for functions with many vector arguments."""


class Kernel(NamedTuple):
    """A kernel's source function and its identity: module, name and the constants that its factory
    closed over.
    """

    function: Callable[..., None]
    identity: str


def kernel(function: Callable[..., None] | None = None, *, constants: tuple = ()) -> Any:
    """Mark `function(task, thread, ...)` as a kernel.

    `constants` must list all that distinguishes this kernel from its siblings out of the same
    factory.
    """
    if function is None:
        return lambda f: kernel(f, constants=constants)
    return Kernel(function, f"{function.__module__}.{function.__qualname__}{constants!r}")


class Entry(NamedTuple):
    """A compiled kernel: the address of its native function, which lives as long as the process."""

    address: int


class Packed(NamedTuple):
    """Arguments of a kernel: their Numba types, their copy in words of 8 bytes, and which of these
    words are addresses of arrays, in order.
    """

    kinds: tuple[types.Type, ...]
    words: np.ndarray
    pointers: tuple[int, ...]


def pack(args: tuple) -> Packed:
    """A copy of `args` in Numba's data model.

    An array is (meminfo, parent, items, item size, data, shape, strides); specs are their fields in
    order.
    """
    words: list[np.ndarray] = []
    kinds: list[types.Type] = []
    pointers: list[int] = []
    size = 0
    for arg in args:
        if isinstance(arg, np.ndarray):
            if not arg.flags.c_contiguous:
                found = f"strides {arg.strides} for shape {arg.shape}"
                raise ValueError(f"kernel arguments must be C-contiguous, got {found}")
            kinds.append(types.Array(numba.from_dtype(arg.dtype), arg.ndim, "C"))
            head = (0, 0, arg.size, arg.itemsize, arg.ctypes.data, *arg.shape, *arg.strides)
            words.append(np.array(head, dtype=np.int64))
            pointers.append(size + 4)
            size += len(head)
        else:
            kinds.append(numba.typeof(arg))
            for field in arg if isinstance(arg, tuple) else (arg,):
                dtype = np.float64 if isinstance(field, float) else np.int64
                words.append(np.array([field], dtype=dtype).view(np.int64))
                size += 1
    return Packed(tuple(kinds), np.concatenate(words), tuple(pointers))


def unpacked(kinds: tuple[types.Type, ...]) -> Callable[[ir.IRBuilder, Any], list]:
    """What an entry passes to its kernel: task, thread and the arguments that `pack` has packed."""

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


def compile_entries(wanted: Sequence[tuple[Kernel, tuple[types.Type, ...]]]) -> list[Entry]:
    """The entries of kernels for arguments of given types: from memory, from disk, or compiled and
    then stored; several at a time where it pays.
    """
    recipes = [_entry_recipe(source, kinds) for source, kinds in wanted]
    missing = {
        r.name: r for r in recipes if r.name not in _addresses and r.stored and not r.known()
    }
    if missing and kernel_cache.writable():
        building.build([recipe.store for recipe in missing.values()])
    return [Entry(_address(recipe)) for recipe in recipes]


def compile_entry(source: Kernel, kinds: tuple[types.Type, ...]) -> Entry:
    """The entry of one kernel; see `compile_entries`."""
    return Entry(_address(_entry_recipe(source, kinds)))


def compile_function(
    function: Callable, args: tuple[types.Type, ...], result: types.Type = types.void
) -> Callable:
    """`function` of addresses and counts, returning a number or nothing, compiled for arguments of
    these types; Python calls it without holding its global lock. Cached like the kernels.
    """
    name = f"{function.__module__}.{function.__qualname__}({', '.join(map(str, args))})"

    def build(symbol: str) -> bytes:
        return linking.machine_code(symbol, _front(helper(function), args), args)

    address = _address(Recipe(name, kernel_cache.covers(function.__module__), build))
    # As pointers, because ctypes passes them twice as fast as numbers.
    words = [ctypes.c_void_p] * len(args)
    return ctypes.CFUNCTYPE(None if result == types.void else ctypes.c_int64, *words)(address)


class Recipe(NamedTuple):
    """How to get a function's machine code: from disk by name, where it is `stored`, or built."""

    name: str
    stored: bool
    build: Callable[[str], bytes]

    @property
    def symbol(self) -> str:
        return f"nbcnn_{hashlib.sha256(self.name.encode()).hexdigest()[:32]}"

    def known(self) -> bool:
        return kernel_cache.contains(self.name)

    def store(self) -> None:
        kernel_cache.store(self.name, self.build(self.symbol))

    def code(self) -> bytes:
        if not self.stored:
            return self.build(self.symbol)
        code = kernel_cache.load(self.name)
        if code is None:
            code = self.build(self.symbol)
            kernel_cache.store(self.name, code)
        return code


def _entry_recipe(source: Kernel, kinds: tuple[types.Type, ...]) -> Recipe:
    arguments = (types.intp, types.intp, *kinds)

    def build(symbol: str) -> bytes:
        body = _front(always_inline(source.function), arguments)
        return linking.machine_code(symbol, body, ENTRY_ARGS, unpacked(kinds))

    name = f"{source.identity}({', '.join(map(str, kinds))})"
    return Recipe(name, kernel_cache.covers(source.function.__module__), build)


_addresses: dict[str, int] = {}


def _address(recipe: Recipe) -> int:
    """Where a function is, once it is loaded."""
    found = _addresses.get(recipe.name)
    if found is not None:
        return found
    with global_compiler_lock:
        if recipe.name not in _addresses:
            _addresses[recipe.name] = linking.load(recipe.code(), recipe.symbol)
        return _addresses[recipe.name]


def _front(dispatcher: Any, arguments: tuple[types.Type, ...]) -> Any:
    """A function for arguments of these types, as far as Numba's front end takes it."""
    dispatcher.compile(arguments)
    return dispatcher.overloads[arguments]
