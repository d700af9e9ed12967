"""Worker of `peers_cuda.py`: single operations by nbcnn's kernels on a GPU, as plans run them.

python engine_ops_cuda.py THREADS DEVICE PRECISION
"""

import sys

from serve import limit_threads, serve

limit_threads(int(sys.argv[1]))

from clocks import clock_of, median_seconds  # noqa: E402
from device_figures import Column  # noqa: E402
from op_cases.case import Case  # noqa: E402
from ops_nbcnn import prepare as prepared  # noqa: E402

from nbcnn.runtime.device import get_device  # noqa: E402

programs = {}


def prepare(case):
    """Make a case, in place of the last one; what was chosen, its FLOP and least bytes."""
    column = Column(get_device(sys.argv[2]), sys.argv[3])
    with column.current():
        made = prepared(Case(*case), column.device, only_chosen=True)
    programs.clear()
    programs["chosen"] = made.programs[made.chosen]
    return {"chosen": made.chosen, "flops": made.flops, "nbytes": made.nbytes}


def burst(seconds):
    device = get_device(sys.argv[2])
    return median_seconds(clock_of(device), programs["chosen"].run, seconds)


if __name__ == "__main__":
    serve({"prepare": prepare, "burst": burst})
