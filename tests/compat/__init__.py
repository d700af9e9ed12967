"""How much of Keras's surface is here: names, reasons for those that are not, and the document.

`surface.json` lists Keras's public names by module (`""` is the top level; `Model` and `Layer` are
classes). `reasons.json` says why names are absent, `differences.md` what behaves differently. From
all three and the package itself comes `docs/compatibility.md`.
"""

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
SURFACE = HERE / "surface.json"
DOCUMENT = HERE.parents[1] / "docs" / "compatibility.md"
APART = ("applications", "saving", "datasets")  # shares are also given without these
EVERY = "*"  # in reasons.json: all names of a module


class Refused(ValueError):
    """A file that is not there, or is not what it should be."""


class Coverage(NamedTuple):
    """What of one module is there."""

    module: str
    names: list[str]
    absent: list[str]

    @property
    def present(self) -> int:
        return len(self.names) - len(self.absent)


def read_json(path: Path) -> Any:
    """The contents of a JSON file; `Refused` says what is wrong with it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise Refused(f"{path}: is no JSON: {error}") from None


def read_surface(path: Path) -> dict[str, list[str]]:
    """Names by module."""
    found = read_json(path)
    lists = isinstance(found, dict) and found and all(isinstance(v, list) for v in found.values())
    if not lists or not all(isinstance(n, str) and n for v in found.values() for n in v):
        raise Refused(f"{path}: expected an object of lists of names, by module")
    return found


def read_reasons(path: Path = HERE / "reasons.json") -> dict[tuple[str, str], str]:
    """Reasons by (module, name)."""
    reasons = {}
    for entry in read_json(path):
        for module in entry["modules"]:
            reasons.update({(module, name): entry["reason"] for name in entry["names"]})
    return reasons


def holder(package: Any, module: str) -> Any:
    """What holds a module's names: a module or a class; None where there is none."""
    found = package
    for part in filter(None, module.split(".")):
        try:
            found = getattr(found, part)
        except AttributeError:
            try:
                found = importlib.import_module(f"{package.__name__}.{module}")
            except ModuleNotFoundError:
                return None
    return found


def has(owner: Any, name: str) -> bool:
    """Whether a name, which may be dotted, is there.

    Of a class it may also be an attribute that only instances have: a field, or one set by
    `__new__`. No property is read for that.
    """
    first, _, rest = name.partition(".")
    if rest:
        return has(owner, first) and has(getattr(owner, first), rest)
    if hasattr(owner, name):
        return True
    return isinstance(owner, type) and (
        name in getattr(owner, "fields", ()) or name in getattr(owner(), "__dict__", ())
    )


def covered(surface: Mapping[str, list[str]], package: Any) -> list[Coverage]:
    """By module, in the order of the surface."""
    found = []
    for module, names in surface.items():
        owner = holder(package, module)
        absent = [n for n in names if owner is None or not has(owner, n)]
        found.append(Coverage(module, names, absent))
    return found


def reason(reasons: Mapping[tuple[str, str], str], module: str, name: str) -> str | None:
    return reasons.get((module, name), reasons.get((module, EVERY)))


def unexplained(
    coverage: list[Coverage], reasons: Mapping[tuple[str, str], str]
) -> list[tuple[str, str]]:
    """Absent names without a reason, as (module, name)."""
    pairs = [(part.module, name) for part in coverage for name in part.absent]
    return [pair for pair in pairs if not reason(reasons, *pair)]


def totals(coverage: list[Coverage], without: tuple[str, ...] = ()) -> tuple[int, int]:
    """(present, all)."""
    parts = [part for part in coverage if part.module not in without]
    return sum(part.present for part in parts), sum(len(part.names) for part in parts)


def share(present: int, all_names: int) -> str:
    """As a percentage, rounded down: 100 % means all."""
    tenths = 1000 * present // all_names if all_names else 1000
    return f"{tenths // 10}.{tenths % 10} %"


def report(coverage: list[Coverage]) -> str:
    """The table on the screen."""
    lines = []
    for part in coverage:
        missing = f"  absent: {' '.join(part.absent)}" if part.absent else ""
        count = f"{part.present}/{len(part.names)}"
        percent = share(part.present, len(part.names))
        lines.append(f"{part.module or '(top level)':22}{count:>9}{percent:>9}{missing}")
    for label, without in (("all", ()), (f"without {', '.join(APART)}", APART)):
        present, names = totals(coverage, without)
        lines.append(f"{label}: {present} of {names} names, {share(present, names)}")
    return "\n".join(lines)


def document(coverage: list[Coverage], reasons: Mapping[tuple[str, str], str]) -> str:
    """The text of docs/compatibility.md."""
    text = (HERE / "differences.md").read_text(encoding="utf-8")
    return text.replace("<!-- coverage -->\n", _shares(coverage)).replace(
        "<!-- absent -->\n", _absent(coverage, reasons)
    )


def _shares(coverage: list[Coverage]) -> str:
    rows = ["| module | present | of | share |", "|---|---:|---:|---:|"]
    for part in coverage:
        module = f"`{part.module}`" if part.module else "top level"
        percent = share(part.present, len(part.names))
        rows.append(f"| {module} | {part.present} | {len(part.names)} | {percent} |")
    for label, without in (("**all**", ()), ("all without " + ", ".join(APART), APART)):
        present, names = totals(coverage, without)
        rows.append(f"| {label} | {present} | {names} | {share(present, names)} |")
    return "\n".join(rows) + "\n"


def _absent(coverage: list[Coverage], reasons: Mapping[tuple[str, str], str]) -> str:
    """Absent names by reason."""
    groups: dict[tuple[str, str], list[str]] = {}
    for part in coverage:
        for name in part.absent:
            why = reason(reasons, part.module, name) or "**no reason given**"
            groups.setdefault((part.module, why), []).append(name)
    rows = ["| module | names | reason |", "|---|---|---|"]
    for (module, why), names in groups.items():
        every = reasons.get((module, EVERY)) == why
        shown = f"all {len(names)}" if every else ", ".join(f"`{n}`" for n in names)
        rows.append(f"| `{module}` | {shown} | {why} |")
    return "\n".join(rows) + "\n"
