"""The command line, `python -m nbcnn` or `nbcnn`: `nbcnn devices` lists the devices, `nbcnn warmup`
compiles kernels before they are needed.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import Any


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except (ValueError, OSError, RuntimeError) as error:
        sys.stderr.write(f"nbcnn: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="nbcnn", description="Convolutional networks by Numba.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    listing = commands.add_parser("devices", help="list the devices of this machine")
    listing.set_defaults(run=_devices)
    warming = commands.add_parser(
        "warmup", help="compile kernels now, so that later processes start at once"
    )
    warming.set_defaults(run=_warmup)
    add = warming.add_argument
    add("model", nargs="?", help="a saved model; by default some everyday ones")
    add("--batch-size", type=int, default=32, help="samples per step; default 32")
    add("--inference", action="store_true", help="prediction only")
    add(
        "--cuda",
        metavar="ARCHITECTURE",
        help="for GPUs of this architecture, as sm_90, which need not be here",
    )
    return parser


def _devices(options: Any) -> int:
    import nbcnn

    for device in nbcnn.devices():
        sys.stdout.write(f"{device!r}\n")
    return 0


def _warmup(options: Any) -> int:
    import nbcnn

    model = None if options.model is None else nbcnn.saving.load_model(options.model)
    training = not options.inference
    warmed = nbcnn.warmup(model, options.batch_size, training, cuda=options.cuda)
    if warmed is not None:
        sys.stdout.write(f"{warmed}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
