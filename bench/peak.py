"""What this machine can do at most: FMA rate and copy bandwidth, on all threads, by nbcnn's own
kernels.

    python bench/peak.py [--threads N]

FMA: 24 (12 with 16 vector registers) independent accumulators in registers, no memory. Copy: an
array larger than the caches, bytes read plus bytes written. Read: the sum of such an array. All are
the best of several short runs.
"""

import argparse
import os

from nbcnn.analysis.peaks import copy_bandwidth, fma_peak, read_bandwidth
from nbcnn.runtime.cpu import CpuDevice


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    device = CpuDevice(parser.parse_args().threads)
    print(f"threads {device.caps.threads}, vectors of {8 * device.caps.vector} bits")
    for dtype in ("float32", "float64"):
        print(f"FMA peak {dtype}: {fma_peak(device, dtype) * 1e-9:.1f} GFLOP/s")
    print(f"copy: {copy_bandwidth(device) * 1e-9:.1f} GB/s (read + written)")
    print(f"read: {read_bandwidth(device) * 1e-9:.1f} GB/s")


if __name__ == "__main__":
    main()
