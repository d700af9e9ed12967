"""House rules, checked by reading the sources."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "nbcnn"
SOURCES = sorted(PACKAGE.rglob("*.py"))

# What the kernels of every device share.
EVERY_DEVICE = (
    "kernels/impl",
    "kernels/scalar",
    "kernels/disk",
    "kernels/building",
    "kernels/update_rules",
)
# package -> what of nbcnn it may import (prefixes). Packages that are not listed are free.
MAY_IMPORT = {
    "ops": ("ops",),
    "kernels/cpu": ("kernels/cpu", *EVERY_DEVICE, "ops"),
    "kernels/cuda": ("kernels/cuda", *EVERY_DEVICE, "ops"),
    "runtime": ("runtime", "kernels", "config"),
    "graph": ("graph", "ops", "runtime", "config", "kernels/impl"),
    "io": ("io",),
    "analysis": (
        "analysis",
        "models",
        "layers",
        "graph",
        "ops",
        "runtime",
        "config",
        "kernels/cpu/peak",
    ),
    "viz": ("viz", "models", "layers", "ops", "graph"),
    "layers": (
        "layers",
        "ops",
        "converters",
        "declare",
        "dtype_policies",
        "registry",
        "initializers",
        "regularizers",
        "constraints",
        "activations",
        "config",
        "random_state",
    ),
}
# (text that only some files may contain, those files)
ONLY_IN = [
    ("numba.njit", {"kernels/cpu/jit.py"}),
    ("cuda.jit(", {"kernels/cuda/jit.py"}),
    ("@intrinsic", {"kernels/cpu/simd.py", "kernels/cpu/simd_streams.py", "kernels/cuda/ptx.py"}),
    ("numba.cuda.extending", {"kernels/cuda/ptx.py"}),
    ("InlineAsm", {"kernels/cuda/ptx.py"}),
    ("cuda.compile(", {"kernels/cuda/compiling.py"}),
    ("from cuda.bindings import driver", {"runtime/cuda_driver.py"}),
    ('import_module(f"matplotlib', {"viz/figure.py"}),
]
# In a process whose kernels are all on disk, Numba and LLVM's library stay away.
COMPILERS = {"kernels/cpu/linking.py"}
EXTERNAL = {
    "ops": {"numpy"},
    "graph": {"numpy"},
    "layers": {"numpy"},
    "io": {"numpy"},
    "analysis": {"numpy", "scipy"},
    "viz": {"numpy"},
}


def place(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def imports(path: Path) -> set[str]:
    """Dotted names of all imports in a file, at any depth."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def owner(path: Path) -> str | None:
    return next((package for package in MAY_IMPORT if place(path).startswith(package + "/")), None)


@pytest.mark.parametrize("path", [p for p in SOURCES if owner(p)], ids=place)
def test_who_imports_whom(path):
    allowed = MAY_IMPORT[owner(path)]
    for name in imports(path):
        if name.startswith("nbcnn."):
            inner = name.removeprefix("nbcnn.").replace(".", "/")
            assert inner.startswith(allowed), f"{place(path)} imports {name}"


@pytest.mark.parametrize("path", [p for p in SOURCES if owner(p) in EXTERNAL], ids=place)
def test_outside_packages(path):
    import sys

    for name in imports(path):
        top = name.partition(".")[0]
        assert top in sys.stdlib_module_names or top in {"nbcnn", *EXTERNAL[owner(path)]}, (
            f"{place(path)} imports {name}"
        )


@pytest.mark.parametrize(("text", "files"), ONLY_IN, ids=[text for text, _ in ONLY_IN])
def test_compilers_are_called_in_one_place(text, files):
    assert {place(p) for p in SOURCES if text in p.read_text()} == files


def test_every_operation_has_kernels_on_the_cpu():
    from nbcnn.kernels.cpu import lists
    from nbcnn.ops import op as ops
    from nbcnn.ops.shape import ALIASES

    listed = set(lists.IMPLS)
    for name, cls in ops.REGISTRY.items():
        if (
            name not in ALIASES
            and "impl_op" not in vars(cls)
            and "impl_op" not in vars(cls.__bases__[0])
        ):
            assert name in listed, f"no kernels for {name}"


def test_files_stay_readable():
    long = {place(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 420}
    assert not long, f"split these: {long}"


@pytest.mark.parametrize(
    "path", [p for p in SOURCES if not place(p).startswith("kernels/cuda/")], ids=place
)
def test_numba_is_imported_to_compile(path):
    at_import = {
        f"{node.module}.{alias.name}" if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    early = {n for n in at_import if n.split(".")[0] == "numba" or n.startswith("llvmlite.binding")}
    advice = "types are in nbcnn.kernels.cpu.types, intrinsic in nbcnn.kernels.cpu.simd"
    assert not early or place(path) in COMPILERS, f"{early}: {advice}"
