"""Every case of `tests/cases`, in every type, through every CPU implementation that accepts it,
against the references. Those of CUDA run in `test_cuda.py`, on the same table.
"""

from functools import lru_cache

import guard
import numpy as np
import pytest
from cases.case import Case
from cases.execution import calls_of, run
from cases.expected import TOLERANCE, difference, expected
from cases.table import CASES

from nbcnn.graph.choosing import main_dtype
from nbcnn.kernels.cpu import jit, lists
from nbcnn.ops.op import REGISTRY
from nbcnn.ops.shape import ALIASES
from nbcnn.runtime.cpu import CpuDevice


class GuardedCpu(CpuDevice):
    """A CPU whose buffers end, or begin, at a page that may not be touched: a kernel that reads or
    writes outside its arrays ends the process.
    """

    def __init__(self, threads: int, at_end: bool):
        super().__init__(threads)
        self._at_end = at_end

    def empty(self, nbytes: int) -> np.ndarray:
        if not guard.available:
            return super().empty(nbytes)
        return guard.empty((nbytes,), np.uint8, self._at_end)


ONE_THREAD, TWO_THREADS = GuardedCpu(1, True), GuardedCpu(2, False)


def accepting(case: Case, dtype: str):
    """The implementations that take a case. What they accept may depend on the machine, not on the
    number of threads.
    """
    specs = case.specs(dtype)
    spec, main = case.op.spec(*specs), main_dtype(case.op, specs)
    caps = ONE_THREAD.caps
    return [impl for impl in impls_of(case) if impl.accepts(spec, main, caps) is None]


def impls_of(case: Case):
    """Of operands that may be rounded only those that do: for the others it is no new case."""
    rounds = getattr(case.op, "bfloat16", False)
    return lists.BFLOAT16[case.op.impl_op] if rounds else ONE_THREAD.impls(case.op)


ACCEPTED = [
    (case, dtype, impl)
    for case in CASES
    for dtype in case.dtypes
    for impl in accepting(case, dtype)
]


def shareable(case: Case, dtype: str, impl):
    """The (output, input) pairs for which a plan may use the same memory."""
    inputs = case.specs(dtype)
    outputs = case.op.infer(*inputs)
    return [
        (out, into)
        for out, into in impl.inplace
        if out < len(outputs) and outputs[out].nbytes == inputs[into].nbytes
    ]


SHARED = [(*row, pair) for row in ACCEPTED for pair in shareable(*row)]


def name_of(case: Case, dtype: str, impl, pair=()) -> str:
    place = f"-input{pair[1]}" if pair else ""
    return f"{case.name}-cpu-{dtype}-{impl.name}{place}"


@lru_cache(maxsize=4)
def wanted(name: str, dtype: str):
    case = BY_NAME[name]
    arrays = case.arrays(dtype)
    return arrays, expected(case.op, case.op.spec(*case.specs(dtype)), arrays)


BY_NAME = {case.name: case for case in CASES}


@pytest.fixture(scope="module", autouse=True)
def compiled(request):
    """The kernels of all cases that are about to run, compiled in as many processes as there are
    processors: one after the other they would take most of the time.
    """
    rows = {}
    for item in request.session.items:
        row = getattr(item, "callspec", None)
        if item.module is request.module and row and "impl" in row.params:
            case, dtype, impl = (row.params[name] for name in ("case", "dtype", "impl"))
            rows[name_of(case, dtype, impl)] = case, dtype, impl
    wanted = []
    for case, dtype, impl in rows.values():
        calls = calls_of(impl, case.op, case.specs(dtype), TWO_THREADS)
        wanted += [(call.kernel, jit.pack(call.args).kinds) for call in calls]
    jit.compile_entries(wanted)


def check(case: Case, dtype: str, impl, results) -> None:
    """The right types, and values within the tolerance."""
    _, references = wanted(case.name, dtype)
    specs = case.specs(dtype)
    kinds = [s.dtype for s in (specs if case.op.stateful else case.op.infer(*specs))]
    assert [r.dtype.name for r in results] == kinds
    for result, reference, kind in zip(results, references, kinds, strict=True):
        assert difference(result, reference) <= TOLERANCE.get(kind, 0.0) * impl.rtol


@pytest.mark.parametrize("case, dtype, impl", ACCEPTED, ids=[name_of(*row) for row in ACCEPTED])
def test_values(case, dtype, impl):
    """And the same bits at one and at two threads."""
    arrays, _ = wanted(case.name, dtype)
    one, two = (run(impl, case.op, arrays, device) for device in (ONE_THREAD, TWO_THREADS))
    check(case, dtype, impl, one)
    for a, b in zip(one, two, strict=True):
        assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("case, dtype, impl, pair", SHARED, ids=[name_of(*row) for row in SHARED])
def test_in_place(case, dtype, impl, pair):
    arrays, _ = wanted(case.name, dtype)
    check(case, dtype, impl, run(impl, case.op, arrays, TWO_THREADS, share=pair))


def test_every_operation_has_cases():
    assert {case.op.name for case in CASES} == set(REGISTRY) - ALIASES


def test_every_implementation_has_a_case():
    tested = {(case.op.impl_op, impl.name) for case, _, impl in ACCEPTED}
    listed = {(name, impl.name) for name in lists.IMPLS for impl in implementations(name)}
    if ONE_THREAD.caps.bfloat16:
        listed |= {(name, impl.name) for name, found in lists.BFLOAT16.items() for impl in found}
    assert tested == listed


def implementations(name: str):
    """All that are listed; where a function of the op makes them, for the ops of all cases."""
    entry = lists.IMPLS[name]
    if isinstance(entry, tuple):
        return entry
    return [impl for case in CASES if case.op.impl_op == name for impl in entry(case.op)]


POOLED = {"batchnorm_maxpool", "batchnorm_maxpool_dx"}


def test_the_last_implementation_takes_everything_unfused():
    """Pools in another operation's tail are only asked for where something takes them."""
    refused = [
        case.name
        for case in CASES
        for dtype in case.dtypes
        if not (getattr(case.op, "pool", 0) or getattr(case.op, "bfloat16", False))
        and case.op.name not in POOLED
        and ONE_THREAD.impls(case.op)[-1] not in accepting(case, dtype)
    ]
    assert refused == []


def test_names_are_unique():
    assert len(BY_NAME) == len(CASES)
