"""`python -m tests.compat`: what of Keras's surface is here, and docs/compatibility.md from it."""

import argparse
import sys
from pathlib import Path

import nbcnn

from . import (
    DOCUMENT,
    SURFACE,
    Refused,
    covered,
    document,
    read_reasons,
    read_surface,
    report,
    unexplained,
)


def main(arguments: list[str] | None = None) -> int:
    """0; 1 for a name without a reason or a document that is not current; 2 for bad input."""
    parser = argparse.ArgumentParser(prog="python -m tests.compat", description=__doc__)
    parser.add_argument(
        "--surface",
        type=Path,
        default=SURFACE,
        help="JSON of module -> names (default: Keras 3.15)",
    )
    parser.add_argument(
        "--check", action="store_true", help="say whether the document is current; write nothing"
    )
    parser.add_argument("--document", type=Path, default=DOCUMENT, help="where it is")
    options = parser.parse_args(arguments)
    try:
        surface, own, reasons = read_surface(options.surface), read_surface(SURFACE), read_reasons()
    except Refused as error:
        print(f"compat: {error}", file=sys.stderr)
        return 2
    print(report(covered(surface, nbcnn)))
    coverage = covered({**own, **surface}, nbcnn)  # a shorter list leaves the document whole
    failed = unexplained(coverage, reasons)
    for module, name in failed:
        print(f"compat: no reason in reasons.json for {module}.{name}", file=sys.stderr)
    text, path = document(coverage, reasons), options.document
    if not options.check:
        path.write_text(text, encoding="utf-8")
        print(f"written: {path}")
    elif not path.is_file() or path.read_text(encoding="utf-8") != text:
        print(f"compat: {path} is not current; run python -m tests.compat", file=sys.stderr)
        return 1
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
