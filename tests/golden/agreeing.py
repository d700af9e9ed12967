"""What two recordings agree about: python tests/golden/agreeing.py a.json b.json > agreed.json

A recording is {"keras": version, "cases": {case: {name: numbers}}}. Cases that differ, or that only
one has, are named on standard error and left out.
"""

import json
import sys
from pathlib import Path

import numpy as np


def agree(a, b, tolerance):
    a, b = np.asarray(a, "float64"), np.asarray(b, "float64")
    if a.shape != b.shape:
        return False
    scale = np.abs(a[np.isfinite(a)]).max(initial=0.0)
    return np.allclose(a, b, tolerance, tolerance * scale, equal_nan=True)


def shortened(values):
    if isinstance(values, list):
        return [shortened(v) for v in values]
    return float(f"{values:.8g}")


def main():
    first, second = (json.loads(Path(p).read_text()) for p in sys.argv[1:3])
    assert first["keras"] == second["keras"]
    lines = []
    for name, a in first["cases"].items():
        b = second["cases"].get(name)
        tolerance = a.pop("tolerance", 1e-6)
        wrong = [k for k in a if b is None or k not in b or not agree(a[k], b[k], tolerance)]
        if wrong:
            print(f"{name}: {wrong} differ", a, b, file=sys.stderr)
        else:
            lines.append(f"{json.dumps(name)}: {json.dumps(shortened_all(a))}")
    version = json.dumps(first["keras"])
    print(f'{{"keras": {version},\n"cases": {{\n' + ",\n".join(lines) + "\n}}")


def shortened_all(values):
    return {name: shortened(value) for name, value in values.items()}


if __name__ == "__main__":
    main()
