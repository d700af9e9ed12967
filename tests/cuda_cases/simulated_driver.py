"""A device as a real GPU's, launcher, streams, graphs and all, on a stand-in for the driver that
runs every launch in Numba's simulator. For processes with NUMBA_ENABLE_CUDASIM=1.
"""

import sys

import numpy as np
from cuda_double import Double, Launched, Pointer, device

from nbcnn.runtime import device as devices
from nbcnn.runtime.cuda_device import CudaDevice


def simulate(launched: Launched, driver: Double) -> None:
    from numba.cuda.simulator.cudadrv.devicearray import FakeCUDAArray

    arguments = [
        FakeCUDAArray(a.array(driver)) if isinstance(a, Pointer) else a for a in launched.arguments
    ]
    with np.errstate(all="ignore"):
        launched.kernel[launched.grid, launched.block, 0, launched.shared](*arguments)


def opened(**options) -> CudaDevice:
    """The device 'cuda:7' of this process, as large as Numba's: sums are cut by that."""
    sys.setswitchinterval(5e-4)  # the simulator polls its threads, which wait for that
    found = device(Double(simulate, number=7, **options))
    found._caps = found._caps._replace(simulated=True, multiprocessors=1)
    devices._opened[("cuda", 7)] = found
    return found
