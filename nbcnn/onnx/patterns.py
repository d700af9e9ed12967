"""Operators that exporters write for one function, put together again: gelu, silu, hard silu, and
the shuffling of channels.

PyTorch writes gelu as five operators, which would be five passes over memory, and five times as
much to keep for the gradient. Channels are shuffled by reshapes, which would need them first.
"""

from collections.abc import Iterator

import numpy as np

from nbcnn.onnx.files import Contents, Entry

CLOSE = 1e-4  # how far written constants may be off


def joined(contents: Contents) -> list[Entry]:
    """The operators of a file, with one in the place of each pattern."""
    return _Patterns(contents).entries


def _is_binary(entry: Entry) -> bool:
    return len(entry.inputs) == 2 and len(entry.outputs) == 1


class _Patterns:
    def __init__(self, contents: Contents) -> None:
        self.constants = dict(contents.arrays)
        self.kept = set(contents.outputs)
        self.made: dict[str, Entry] = {}
        self.readers: dict[str, list[Entry]] = {}
        for entry in contents.entries:
            self.made.update((name, entry) for name in entry.outputs)
            for name in entry.inputs:
                self.readers.setdefault(name, []).append(entry)
            value = entry.attributes.get("value")
            if entry.kind == "Constant" and entry.outputs and isinstance(value, np.ndarray):
                self.constants[entry.outputs[0]] = value
        self.instead: dict[int, Entry | None] = {}  # by the id of an entry; None: it goes
        for entry in contents.entries:
            if len(entry.inputs) != 1 or len(entry.outputs) != 1:
                continue
            if entry.kind == "Erf":
                self._replace("Gelu", *self._gelu(entry))
            elif entry.kind == "Sigmoid":
                self._replace("Swish", *self._gated(entry))
            elif entry.kind == "HardSigmoid" and self._is_standard(entry):
                self._replace("HardSwish", *self._gated(entry))
        for entry in contents.entries:
            if entry.kind == "Transpose" and entry.attributes.get("perm") == [0, 2, 1, 3, 4]:
                self._shuffle(entry)
        found = [self.instead.get(id(entry), entry) for entry in contents.entries]
        self.entries = [entry for entry in found if entry is not None]

    def _replace(
        self, kind: str, x: str = "", parts: tuple[Entry, ...] = (), attributes: dict | None = None
    ) -> None:
        """Of parts, in their order, the last one becomes an operator on x."""
        if not parts or any(id(part) in self.instead for part in parts):
            return
        last = parts[-1]
        self.instead.update((id(part), None) for part in parts)
        self.instead[id(last)] = Entry(last.name, kind, [x], list(last.outputs), attributes or {})

    def _gelu(self, erf: Entry) -> Iterator:
        """x / sqrt(2), Erf, + 1, and times x and 1/2 in any order."""
        scaled = self._maker(erf.inputs[0], "Div", "Mul")
        if scaled is None:
            return
        x, by = self._operands(scaled)
        wanted = 2**0.5 if scaled.kind == "Div" else 0.5**0.5
        plus = self._reader(erf, "Add")
        if not self._near(by, wanted) or plus is None or not self._near(self._other(plus, erf), 1):
            return
        times = self._reader(plus, "Mul")
        if times is None:
            return
        factor = self._other(times, plus)
        if factor == x:
            half = self._reader(times, "Mul")
            if half is not None and self._near(self._other(half, times), 0.5):
                yield from (x, (scaled, erf, plus, times, half))
            return
        before = self._maker(factor, "Mul")
        if before is not None and self._operands(before)[0] == x:
            if self._near(self._operands(before)[1], 0.5):
                yield from (x, (scaled, erf, plus, before, times))

    def _gated(self, gate: Entry) -> Iterator:
        """x times a function of x."""
        times = self._reader(gate, "Mul")
        if times is not None and self._other(times, gate) == gate.inputs[0]:
            yield from (gate.inputs[0], (gate, times))

    def _shuffle(self, turn: Entry) -> None:
        """(n, g * k, h, w) as (n, g, k, h, w), axes 1 and 2 exchanged, and back again."""
        before = self._maker(turn.inputs[0], "Reshape") if len(turn.inputs) == 1 else None
        after = self._reader(turn, "Reshape") if len(turn.outputs) == 1 else None
        if before is None or after is None or after.inputs[0] != turn.outputs[0]:
            return
        apart, whole = (self._sizes(entry) for entry in (before, after))
        if len(apart) == 5 and whole[1:] == [apart[1] * apart[2], *apart[3:]]:
            if all(n > 0 for n in apart[1:]):
                attributes = {"sizes": apart[1:]}
                self._replace("nbcnn.Shuffle", before.inputs[0], (before, turn, after), attributes)

    def _sizes(self, reshape: Entry) -> list[int]:
        found = self.constants.get(reshape.inputs[1])
        return [] if found is None or found.ndim != 1 else [int(n) for n in found]

    @staticmethod
    def _is_standard(gate: Entry) -> bool:
        alpha, beta = gate.attributes.get("alpha"), gate.attributes.get("beta", 0.5)
        return isinstance(alpha, float) and abs(alpha - 1 / 6) < CLOSE and beta == 0.5

    def _reader(self, entry: Entry, kind: str) -> Entry | None:
        """The only one that reads what an operator makes, if it is of this kind."""
        name = entry.outputs[0]
        readers = self.readers.get(name, [])
        if len(readers) != 1 or name in self.kept or readers[0].kind != kind:
            return None
        return readers[0] if _is_binary(readers[0]) else None

    def _maker(self, name: str, *kinds: str) -> Entry | None:
        """What makes a value that is read once."""
        entry = self.made.get(name)
        once = len(self.readers.get(name, [])) == 1 and name not in self.kept
        if entry is None or entry.kind not in kinds or not _is_binary(entry) or not once:
            return None
        return entry

    def _operands(self, entry: Entry) -> tuple[str, str]:
        """A tensor and a constant, of a division in this order."""
        a, b = entry.inputs
        return (b, a) if entry.kind == "Mul" and a in self.constants else (a, b)

    @staticmethod
    def _other(entry: Entry, than: Entry) -> str:
        return next((n for n in entry.inputs if n != than.outputs[0]), "")

    def _near(self, name: str, value: float) -> bool:
        found = self.constants.get(name)
        return found is not None and found.size == 1 and abs(found.item() - value) < CLOSE
