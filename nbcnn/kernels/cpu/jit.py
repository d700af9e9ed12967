"""Compiling CPU kernels: the only place that calls `numba.njit`.

A CPU kernel is a plain serial function

    kernel(task, thread, spec, *arrays)

that does one task's share of an operation. It becomes an *entry*, a C function

    void entry(block, task, thread)

which loads the arguments from `block`, a packed copy of them in memory, and runs the kernel. All
entries have this one type, so a plan is a table of (entry, block, number of tasks) that one
compiled loop walks (`program.py`): no kernel needs `prange`, which costs a second or two of compile
time each, and a training step is one parallel region however many kernels it has.

`linking` makes the machine code, `kernel_cache` keeps it on disk, `images` loads it. Numba is
imported when something has to be compiled: until then decorators and types are `deferred`.
"""

import ctypes
import hashlib
import threading
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from nbcnn.kernels import building
from nbcnn.kernels.cpu import images, kernel_cache, types
from nbcnn.kernels.cpu.deferred import Deferred, made

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
}
ENTRY_ARGS = (types.uintp, types.intp, types.intp)


def helper(function: Callable) -> Any:
    """Decorator of functions that kernels call; compiled into each kernel that uses them."""
    return Deferred(partial(_dispatcher, function))


def always_inline(function: Callable) -> Any:
    """As `helper`, always inlined: for functions with many vector arguments."""
    return Deferred(partial(_dispatcher, function, forceinline=True))


def _dispatcher(function: Callable, **flags: Any) -> Any:
    import numba

    return numba.njit(**{**FLAGS, "pipeline_class": compiler().FrontEnd, **flags})(function)


@cache
def compiler() -> Any:
    """The module that compiles. With it comes Numba."""
    from nbcnn.kernels.cpu import linking

    kernel_cache.confirm()
    return linking


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
    """Arguments of a kernel: their types, their copy in words of 8 bytes, and which of these
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
            kinds.append(types.array(arg.dtype, arg.ndim))
            head = (0, 0, arg.size, arg.itemsize, arg.ctypes.data, *arg.shape, *arg.strides)
            words.append(np.array(head, dtype=np.int64))
            pointers.append(size + 4)
            size += len(head)
        else:
            kinds.append(types.of(arg))
            for field in arg if isinstance(arg, tuple) else (arg,):
                dtype = np.float64 if isinstance(field, float) else np.int64
                words.append(np.array([field], dtype=dtype).view(np.int64))
                size += 1
    return Packed(tuple(kinds), np.concatenate(words), tuple(pointers))


class Function(NamedTuple):
    """A function that Python calls, of addresses and counts; returns a number or nothing."""

    function: Callable
    arguments: tuple[types.Type, ...]
    result: types.Type = types.void


def compile_entries(
    wanted: Sequence[tuple[Kernel, tuple[types.Type, ...]]], functions: Sequence[Function] = ()
) -> list[Entry]:
    """The entries of kernels for arguments of given types: from memory, from disk, or compiled and
    then stored; several at a time where it pays. `functions` will be needed as well.
    """
    recipes = [_entry_recipe(source, kinds) for source, kinds in wanted]
    recipes += map(_function_recipe, functions)
    if _missing(recipes):
        compiler()
        if kernel_cache.writable():
            tasks = [recipe.store for recipe in _missing(recipes)]
            building.build(tasks, compiler().standing_still)
    return [Entry(_address(recipe)) for recipe in recipes][: len(wanted)]


def compile_entry(source: Kernel, kinds: tuple[types.Type, ...]) -> Entry:
    """The entry of one kernel; see `compile_entries`."""
    return Entry(_address(_entry_recipe(source, kinds)))


def compile_function(wanted: Function) -> Callable:
    """`wanted` as Python calls it: without holding its global lock."""
    # As pointers, because ctypes passes them twice as fast as numbers.
    words = [ctypes.c_void_p] * len(wanted.arguments)
    result = None if wanted.result == types.void else ctypes.c_int64
    return ctypes.CFUNCTYPE(result, *words)(_address(_function_recipe(wanted)))


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

    def built(self) -> bytes:
        with compiler().global_compiler_lock:
            return self.build(self.symbol)

    def store(self) -> None:
        kernel_cache.store(self.name, self.built())

    def load(self) -> int:
        """The function's address, its code now being part of this process."""
        code = kernel_cache.load(self.name) if self.stored else None
        address = None if code is None else _load(code, self.symbol)
        if address is None:
            code = self.built()
            if self.stored:
                kernel_cache.store(self.name, code)
            address = _load(code, self.symbol)
        assert address is not None  # what is built here can be loaded here
        return address


def _load(code: bytes, symbol: str) -> int | None:
    return images.load(code) if code.startswith(images.MAGIC) else compiler().load(code, symbol)


def _entry_recipe(source: Kernel, kinds: tuple[types.Type, ...]) -> Recipe:
    def build(symbol: str) -> bytes:
        linking, given = compiler(), tuple(map(made, kinds))
        arguments = (*map(made, (types.intp, types.intp)), *given)
        body = linking.front(always_inline(source.function).made, arguments)
        outer = tuple(map(made, ENTRY_ARGS))
        return linking.machine_code(symbol, body, outer, linking.unpacked(given))

    name = f"{source.identity}({', '.join(map(str, kinds))})"
    return Recipe(name, kernel_cache.covers(source.function.__module__), build)


def _function_recipe(wanted: Function) -> Recipe:
    function, arguments, _ = wanted

    def build(symbol: str) -> bytes:
        linking, given = compiler(), tuple(map(made, arguments))
        return linking.machine_code(symbol, linking.front(helper(function).made, given), given)

    name = f"{function.__module__}.{function.__qualname__}({', '.join(map(str, arguments))})"
    return Recipe(name, kernel_cache.covers(function.__module__), build)


_addresses: dict[str, int] = {}
_loading = threading.RLock()


def _missing(recipes: Sequence[Recipe]) -> list[Recipe]:
    """What would have to be compiled to be kept on disk, each once."""
    new = {r.name: r for r in recipes if r.name not in _addresses and r.stored and not r.known()}
    return list(new.values())


def _address(recipe: Recipe) -> int:
    """Where a function is, once it is loaded."""
    found = _addresses.get(recipe.name)
    if found is not None:
        return found
    with _loading:
        if recipe.name not in _addresses:
            _addresses[recipe.name] = recipe.load()
        return _addresses[recipe.name]
