"""Markdown tables of result files, for README and `docs/performance.md`.

    python bench/tables.py peers FILE... | ops FILE...
"""

import json
import math
import sys
from pathlib import Path

NAMES = {
    "nbcnn": "nbcnn",
    "eager": "PyTorch",
    "channels_last": "PyTorch channels_last",
    "compile": "torch.compile",
    "compile_channels_last": "torch.compile channels_last",
    "onnxruntime": "ONNX Runtime",
    "tensorflow": "Keras-TF",
    "tensorflow_nojit": "Keras-TF without XLA",
    "jax": "Keras-JAX",
}
# what -> (its figure, whether more is better, peers that count in the ratio or None for all)
RATED = {
    "train": ("images_per_second", True, None),
    "predict": ("images_per_second", True, None),
    "latency": ("median_us", False, None),
    "memory": ("growth", False, None),
}


def markdown(head, rows):
    """A table; numbers to the right."""
    cells = [head, *([str(cell) for cell in row] for row in rows)]
    rule = ["---", *("---:" for _ in head[1:])]
    return "\n".join("| " + " | ".join(row) + " |" for row in [cells[0], rule, *cells[1:]])


def geometric_mean(values):
    values = list(values)
    return math.exp(sum(map(math.log, values)) / len(values)) if values else float("nan")


def figure(what, entry):
    if entry is None:
        return ""
    if what == "latency":
        return f"{entry['median_us']:,.0f} ({entry['p90_us']:,.0f})"
    if what == "memory":
        return f"{entry['growth'] / 2**20:,.1f}"
    return f"{entry['images_per_second']:,.0f}"


def ratio(what, entries, peers=None):
    """nbcnn's advantage over the best of the peers: more than 1 is better. None without both."""
    key, more, _ = RATED[what]
    others = [e[key] for name, e in entries.items() if name != "nbcnn" and (not peers or name in peers)]
    if "nbcnn" not in entries or not others:
        return None
    own = entries["nbcnn"][key]
    return own / max(others) if more else min(others) / max(own, 1)


def best_peer(what, entries):
    key, more, _ = RATED[what]
    others = [name for name in entries if name != "nbcnn"]
    if not others:
        return None
    return (max if more else min)(others, key=lambda name: entries[name][key])


def peers_table(result, what):
    """Models down, engines across; the best peer in bold."""
    models = {name: m[what] for name, m in result["models"].items() if m.get(what)}
    engines = [e for e in NAMES if any(e in m for m in models.values())]
    rows = []
    for name, entries in models.items():
        best = best_peer(what, entries)
        shown = [figure(what, entries.get(e)) for e in engines]
        shown = [f"**{s}**" if e == best else s for e, s in zip(engines, shown)]
        advantage = ratio(what, entries)
        rows.append([name, *shown, f"{advantage:.2f}" if advantage else ""])
    unit = {"latency": "µs, median (90 %)", "memory": "MiB"}.get(what, "images/s")
    return markdown([f"{what}, {unit}", *(NAMES[e] for e in engines), "ratio"], rows)


def peers_summary(result):
    lines = []
    for what in ("train", "predict", "latency", "memory"):
        found = {name: m[what] for name, m in result["models"].items() if m.get(what)}
        ratios = {name: r for name, m in found.items() if (r := ratio(what, m))}
        if ratios:
            least = min(ratios, key=ratios.get)
            lines.append(
                f"{what}: geometric mean of the ratios to the best peer "
                f"{geometric_mean(ratios.values()):.2f}, least {ratios[least]:.2f} ({least})"
            )
    return "\n".join(lines)


def ops_summary(result):
    """How the operations stand against PyTorch, by family and the worst of them."""
    rated = [r for r in result["results"] if "ratio" in r]
    peak, copy = result["fma_peak_gflops"], result["copy_gbytes_per_s"]
    text = [f"{len(result['results'])} cases; FMA peak {peak} GFLOP/s, copy {copy} GB/s"]
    regrets = [r for r in result["results"] if r["regret"] > 1.1]
    text += [
        f"regret over 1.1: {r['what']} {r['case']}: {r['chosen']} {r['regret']}"
        for r in sorted(regrets, key=lambda r: -r["regret"])[:10]
    ]
    if not rated:
        return "\n".join(text)
    families = {r["family"]: [] for r in rated}
    for r in rated:
        families[r["family"]].append(r["ratio"])
    rows = [[name, *statistics_of(ratios)] for name, ratios in families.items()]
    rows.append(["all", *statistics_of([r["ratio"] for r in rated])])
    head = ["family", "cases", "geometric mean", "below 1.0", "below 0.8", "least"]
    worst = sorted(rated, key=lambda r: r["ratio"])[:WORST]
    shown = [
        [f"{r['what']} {r['case']}", r["chosen"], f"{r['ms']:.3f}", f"{min(r['torch_ms'].values()):.3f}",
         f"{r['peak_share']:.0%}", f"{r['gbytes_per_s']:.0f}", f"{r['ratio']:.2f}"]
        for r in worst
    ]  # fmt: skip
    columns = ["worst", "chosen", "ms", "PyTorch ms", "of peak", "GB/s", "ratio"]
    return "\n".join([*text, "", markdown(head, rows), "", markdown(columns, shown)])


WORST = 40


def statistics_of(ratios):
    below = [sum(r < limit for r in ratios) for limit in (1.0, 0.8)]
    return [
        len(ratios),
        f"{geometric_mean(ratios):.2f}",
        *(f"{n} ({n / len(ratios):.0%})" for n in below),
        f"{min(ratios):.2f}",
    ]


def main():
    kind, *files = sys.argv[1:]
    for file in files:
        result = json.loads(Path(file).read_text())
        if kind == "peers":
            for what in RATED:
                print(peers_table(result, what), end="\n\n")
            print(peers_summary(result))
        else:
            print(ops_summary(result))


if __name__ == "__main__":
    main()
