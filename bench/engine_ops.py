"""Worker of `compare.py`: single operations, as a plan would run them.

    python engine_ops.py THREADS

`time` answers the seconds of the fastest run of the case with a number in `op_cases.CASES`.
"""

import sys
from functools import lru_cache

from serve import fastest, limit_threads, serve

limit_threads(int(sys.argv[1]))

from op_cases import CASES  # noqa: E402
from ops_nbcnn import prepare  # noqa: E402

from nbcnn.runtime.cpu import CpuDevice  # noqa: E402

device = CpuDevice(int(sys.argv[1]))


@lru_cache(maxsize=4)
def program(index):
    made = prepare(CASES[index], device, only_chosen=True)
    return made.programs[made.chosen]


if __name__ == "__main__":
    serve({"time": lambda index, seconds: fastest(program(index).run, seconds)})
