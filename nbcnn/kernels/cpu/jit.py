"""Compiling CPU kernels: the only place that calls `numba.njit`.

A CPU kernel is a plain serial function

    kernel(task, thread, spec, *arrays)

that does one task's share of an operation. It becomes an *entry*, a native function

    void entry(block, task, thread)

which loads the arguments from `block`, a packed copy of them in memory, and runs the kernel. All entries have
this one type, so a plan is a table of (entry, block, number of tasks) that one compiled loop walks
(`program.py`): no kernel needs `prange`, which costs a second or two of compile time each, and a training step
is one parallel region however many kernels it has.

Compiled entries are kept on disk, one file each, in a folder named by everything that they depend on: the
sources of all kernels, Numba's version, the CPU and the flags. Numba's own cache looks at one file's time stamp
only, and misses whenever a kernel closes over another compiled function.
"""

import hashlib
import os
import pickle
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import compiler
from numba.core.registry import cpu_target
from numba.extending import intrinsic

# Reassociation and contraction only: infinities and NaN keep their meaning (max pooling, loss masks).
FASTMATH = {"reassoc", "contract", "nsz", "arcp"}
FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": FASTMATH, "boundscheck": False}
BARE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True, "_nrt": False}
ENTRY_ARGS = (types.uintp, types.intp, types.intp)

helper = numba.njit(**FLAGS, **BARE)
"""Decorator of functions that kernels call; compiled into each kernel that uses them."""

always_inline = numba.njit(**FLAGS, **BARE, forceinline=True)
"""As `helper`, always inlined: for functions with many vector arguments."""

exact = numba.njit(**{**FLAGS, "fastmath": {"contract"}}, **BARE, forceinline=True)
"""As `always_inline`, for functions whose roundings matter: sums and products are not reordered."""


class Kernel(NamedTuple):
    """A kernel's source function and its identity: module, name and the constants that its factory closed over."""

    function: Callable[..., None]
    identity: str


def kernel(function: Callable[..., None] | None = None, *, constants: tuple = ()) -> Any:
    """Mark `function(task, thread, ...)` as a kernel.

    `constants` must list all that distinguishes this kernel from its siblings out of the same factory.
    """
    if function is None:
        return lambda f: kernel(f, constants=constants)
    return Kernel(function, f"{function.__module__}.{function.__qualname__}{constants!r}")


class Entry(NamedTuple):
    """A compiled kernel: the address of its native function, and what keeps that function alive."""

    address: int
    library: Any


def pack(args: tuple) -> tuple[tuple[types.Type, ...], np.ndarray]:
    """Numba types of `args` and their packed copy: the layout of Numba's data model, in words of 8 bytes.

    An array is (meminfo, parent, items, item size, data, shape, strides); specs are their fields in order.
    """
    words: list[np.ndarray] = []
    kinds: list[types.Type] = []
    for arg in args:
        if isinstance(arg, np.ndarray):
            if not arg.flags.c_contiguous:
                raise ValueError(f"kernel arguments must be C-contiguous, got strides {arg.strides} for {arg.shape}")
            kinds.append(types.Array(numba.from_dtype(arg.dtype), arg.ndim, "C"))
            head = (0, 0, arg.size, arg.itemsize, arg.ctypes.data, *arg.shape, *arg.strides)
            words.append(np.array(head, dtype=np.int64))
        else:
            kinds.append(numba.typeof(arg))
            fields = arg if isinstance(arg, tuple) else (arg,)
            words += [np.array([f], dtype=np.float64 if isinstance(f, float) else np.int64).view(np.int64) for f in fields]
    return tuple(kinds), np.concatenate(words)


def unpacker(kinds: tuple[types.Type, ...]) -> Any:
    """An intrinsic `load(block)` that returns the packed arguments as a tuple."""

    @intrinsic
    def load(typingctx, block):
        def codegen(context, builder, signature, arguments):
            cursor, values = arguments[0], []
            for kind in kinds:
                pointer = builder.inttoptr(cursor, context.get_value_type(kind).as_pointer())
                values.append(builder.load(pointer))
                size = context.get_abi_sizeof(context.get_value_type(kind))
                cursor = builder.add(cursor, ir.Constant(cursor.type, size))
            return context.make_tuple(builder, signature.return_type, values)

        return types.Tuple(kinds)(block), codegen

    return load


def compile_entry(source: Kernel, kinds: tuple[types.Type, ...]) -> Entry:
    """The entry of a kernel for arguments of these types: from memory, from disk, or compiled and then stored."""
    name = f"{source.identity}({', '.join(map(str, kinds))})"
    found = _entries.get(name)
    if found is None:
        found = _entries[name] = _load_or_build(name, lambda: _build_entry(source, kinds), ENTRY_ARGS)
    return found


_entries: dict[str, Any] = {}


def compile_function(function: Callable, args: tuple[types.Type, ...], **options: Any) -> Callable:
    """`function` compiled for one signature, callable from Python; cached like the kernels."""

    def build():
        dispatcher = numba.njit(**FLAGS, **options)(function)
        dispatcher.compile(args)
        return dispatcher.overloads[args]

    name = f"{function.__module__}.{function.__qualname__}({', '.join(map(str, args))}){sorted(options.items())}"
    return _load_or_compile(name, build).entry_point


def _build_entry(source: Kernel, kinds: tuple[types.Type, ...]):
    body, load = always_inline(source.function), unpacker(kinds)

    def entry(block, task, thread):
        body(task, thread, *load(block))

    dispatcher = numba.njit(**FLAGS, **BARE)(entry)
    dispatcher.compile(types.void(*ENTRY_ARGS))
    return dispatcher.overloads[ENTRY_ARGS]


def _load_or_build(name: str, build: Callable, args: tuple) -> Entry:
    result = _load_or_compile(name, build)
    return Entry(result.library.get_pointer_to_function(result.fndesc.llvm_func_name), result.library)


def _load_or_compile(name: str, build: Callable) -> Any:
    path = cache_folder() / f"{hashlib.sha256(name.encode()).hexdigest()[:32]}.kernel"
    context = cpu_target.target_context
    try:
        payload = pickle.loads(path.read_bytes())
        return compiler.CompileResult._rebuild(context, *payload)
    except FileNotFoundError:
        pass
    result = build()
    _store(path, pickle.dumps(result._reduce(), protocol=4))
    return result


def _store(path: Path, data: bytes) -> None:
    """Write atomically, so that a second process never reads half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
    os.replace(temporary, path)


@cache
def cache_folder() -> Path:
    base = os.environ.get("NBCNN_CACHE_DIR") or str(Path.home() / ".cache" / "nbcnn")
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(source.read_bytes())
    codegen = cpu_target.target_context.codegen()
    digest.update(repr((numba.__version__, codegen.magic_tuple(), sorted(FASTMATH))).encode())
    return Path(base) / digest.hexdigest()[:16]
