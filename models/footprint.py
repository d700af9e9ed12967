"""What packages weigh and how long their import takes, in the environment that runs this.

    python models/footprint.py STATEMENT DISTRIBUTION...

Prints JSON: `bytes` of the files of the distributions and of all that they require, by name;
`import_seconds` of a statement, fastest of three new processes. Standard library only.
"""

import importlib.util
import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

TIMED = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"


def closure(names):
    """Installed distributions: the named ones and what they require, without extras."""
    found, waiting = {}, list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in found:
            continue
        try:
            found[name] = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue  # for another system or Python
        for line in found[name].requires or ():
            if "extra ==" not in line:
                waiting.append(re.match(r"[\w.-]+", line).group())
    return found


def size(name, distribution):
    """Bytes on disk; of a package that is installed as a link, those of its folder."""
    files = [file.locate() for file in distribution.files or ()]
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    folders = [Path(f) for f in (spec and spec.submodule_search_locations) or ()]
    linked = [f for f in folders if not any(folder_of(f, file) for file in files)]
    files += [file for folder in linked for file in folder.rglob("*") if file.is_file()]
    return sum(Path(file).stat().st_size for file in files if Path(file).exists())


def folder_of(folder, file):
    return folder in Path(file).parents


def fastest(statement, runs=3):
    command = [sys.executable, "-c", TIMED.format(statement)]
    times = [float(subprocess.check_output(command, text=True)) for _ in range(runs)]
    return round(min(times), 3)


def main():
    statement, *names = sys.argv[1:]
    sizes = {name: size(name, found) for name, found in sorted(closure(names).items())}
    print(json.dumps({"bytes": sizes, "import_seconds": fastest(statement)}))


if __name__ == "__main__":
    main()
