"""Markdown tables of result files, for README and `docs/performance.md`.

    python bench/tables.py KIND FILE...

KIND: peers, ops, products, scaling, devices, peers_cuda or offline, whose `--json` wrote the files.
`python bench/tables.py write` renews the tables of all documents, between their marks, from
`results/`.
"""

import json
import math
import re
import sys
from pathlib import Path

NAMES = {
    "nbcnn": "nbcnn",
    "nbcnn_host": "nbcnn, batches sent",
    "eager": "PyTorch",
    "channels_last": "PyTorch channels_last",
    "compile": "torch.compile",
    "compile_channels_last": "torch.compile channels_last",
    "graph": "CUDA graph, channels_last",
    "onnxruntime": "ONNX Runtime",
    "tensorflow": "Keras-TF",
    "tensorflow_nojit": "Keras-TF without XLA",
    "jax": "Keras-JAX",
    "keras_torch": "Keras-PyTorch",
}
# what -> (the figure that is compared, whether more of it is better)
RATED = {
    "train": ("images_per_second", True),
    "predict": ("images_per_second", True),
    "latency": ("median_us", False),
    "memory": ("growth", False),
}
WORST = 40  # operations listed


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
        return f"{entry['growth'] / 2**20:,.0f} ({entry['peak'] / 2**20:,.0f})"
    speed = entry["images_per_second"]
    return f"{speed:,.0f}" if speed >= 10 else f"{speed:.1f}"


def best_peer(what, entries):
    """The name of the best engine that is not nbcnn, or None without one."""
    key, more = RATED[what]
    others = [name for name in entries if name != "nbcnn"]
    pick = max if more else min
    return pick(others, key=lambda name: entries[name][key]) if others else None


def ratio(what, entries, peer=None):
    """nbcnn's advantage over a peer, by default the best: more than 1 is better. None without."""
    key, more = RATED[what]
    peer = peer or best_peer(what, entries)
    if "nbcnn" not in entries or peer not in entries:
        return None
    own, other = entries["nbcnn"][key], entries[peer][key]
    return own / other if more else other / max(own, 1)


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
    unit = {"latency": "µs, median (90 %)", "memory": "MiB of growth (of the process)"}.get(
        what, "images/s"
    )
    return markdown([f"{what}, {unit}", *(NAMES[e] for e in engines), "ratio"], rows)


def peers_summary(result):
    """Geometric mean and least of the ratios, to the best peer or to a certain one."""
    lines = []
    for what, peer in (
        ("train", None),
        ("predict", None),
        ("latency", "channels_last"),
        ("latency", "onnxruntime"),
        ("memory", None),
    ):
        found = {name: m[what] for name, m in result["models"].items() if m.get(what)}
        ratios = {name: r for name, m in found.items() if (r := ratio(what, m, peer))}
        if ratios:
            least = min(ratios, key=ratios.get)
            lines.append(
                f"{what}, ratio to {NAMES.get(peer, 'the best peer')}: geometric mean "
                f"{geometric_mean(ratios.values()):.2f}, least {ratios[least]:.2f} ({least})"
            )
    return "\n".join(lines)


def peers_cuda_summary(result):
    """Ratios to the best of PyTorch on the same GPU, and single convolutions."""
    parts = []
    for precision, found in result["precisions"].items():
        for what in ("train", "predict", "latency"):
            ratios = {}
            for name, entries in found["models"].items():
                peers = {e: r for e, r in entries.get(what, {}).items() if e != "nbcnn_host"}
                if peers and best_peer(what, peers) and ratio(what, peers):
                    ratios[name] = ratio(what, peers)
            if ratios:
                listed = ", ".join(f"{name} {value:.2f}" for name, value in ratios.items())
                mean = geometric_mean(ratios.values())
                parts.append(f"{what} {precision}, ratio to PyTorch: mean {mean:.2f} ({listed})")
    head = ["convolution, ms", "kernel", "nbcnn", "TFLOP/s", "PyTorch", "ratio"]
    for precision, rows in result["sweep"].items():
        cells = [
            [
                f"{r['what']} {r['case']} {precision}",
                r["chosen"],
                f"{r['ms']:.4g}",
                f"{r['gflops'] * 1e-3:.3g}",
                f"{min(r['torch_ms'].values()):.4g}",
                f"{r['ratio']:.2f}",
            ]
            for r in rows
        ]
        if cells:
            parts.append(markdown(head, cells))
    if result["left_out"]:
        parts.append(f"time was up, left out: {', '.join(result['left_out'])}")
    return "\n\n".join(parts)


def devices_tables(result):
    """Devices side by side: their limits, layers, kernels of models, and `fit` and `predict`."""
    columns = list(result["devices"])
    parts = [f"{name}: {reason}" for name, reason in result["missing"].items()]
    limits = {name: device["limits_giga"] for name, device in result["devices"].items()}
    kinds = list(dict.fromkeys(kind for known in limits.values() for kind in known))
    rows = [[kind, *(number(known.get(kind)) for known in limits.values())] for kind in kinds]
    parts.append(markdown(["limit, GFLOP/s (copy: GB/s)", *columns], rows))
    if result["layers"]:
        rows = [[name, *device_cells(found, columns)] for name, found in result["layers"].items()]
        parts.append(markdown(["layer, ms (share of the limit)", *device_head(columns)], rows))
    kernels, transfers = [], []
    for name, found in result["models"].items():
        for what in ("forward", "backward", "update", "step", "inference"):
            rows = {c: row for c, row in found.items() if c in columns}
            shown = [milliseconds(rows.get(c), what) for c in columns]
            kernels.append([f"{name} {what}", *shown, *speed_ups(rows, columns, what)])
        for what in ("fit", "predict"):
            shown = [number(found.get(c, {}).get("with_transfers", {}).get(what)) for c in columns]
            transfers.append([f"{name} {what}", *shown, *speed_ups(found, columns, what)])
    if kernels:
        parts.append(markdown(["kernels alone, ms", *device_head(columns)], kernels))
        parts.append(markdown(["with transfers, images/s", *device_head(columns)], transfers))
    for title, reason in result["failed"].items():
        parts.append(f"failed: {title}: {reason}")
    if result["left_out"]:
        parts.append(f"time was up, left out: {', '.join(result['left_out'])}")
    return "\n\n".join(parts)


def device_head(columns):
    return [*columns, *(f"{c}, speed-up" for c in columns if c != "cpu")]


def number(value):
    return "" if value is None else f"{value:,.4g}"


def milliseconds(row, what):
    """A model's time; of the whole step its share of the limit, too."""
    if row is None:
        return ""
    share = f" ({row['limit_share']:.0%})" if what == "step" else ""
    return number(row["ms"][what]) + share


def device_cells(found, columns):
    rows = [found.get(c) for c in columns]
    times = [f"{number(r['ms'])} ({r['limit_share']:.0%})" if r else "" for r in rows]
    faster = [found.get(c, {}).get("speed_up") for c in columns if c != "cpu"]
    return [*times, *map(number, faster)]


def speed_ups(found, columns, what):
    others = [found.get(c, {}).get("speed_up", {}) for c in columns if c != "cpu"]
    return [number(other.get(what)) for other in others]


def offline_table(result):
    """Kernels of layers as machine code, those of a layer together."""
    rows = []
    for layer in result["layers"]:
        for i, kernel in enumerate(layer["kernels"]):
            title = f"{layer['layer']}, {layer['precision']}: {layer['chosen']}" if i == 0 else ""
            told = ", ".join(f"{n} {t}" for t, n in kernel["told"].items())
            figures = [kernel[k] for k in ("registers", "spilled", "instructions")]
            name = kernel["kernel"].replace(".<locals>", "")
            rows.append([title, name, *figures, told])
    head = ["layer: implementation", "kernel", "registers", "spilled", "instructions", "of them"]
    return markdown(head, rows)


def ops_summary(result):
    """How the operations stand against PyTorch, by family and the worst of them."""
    rated = [r for r in result["results"] if "ratio" in r]
    peak, copy = result["fma_peak_gflops"], result["copy_gbytes_per_s"]
    bits = f", vectors of {result['vector_bits']} bits" if "vector_bits" in result else ""
    text = [f"{len(result['results'])} cases{bits}; FMA peak {peak} GFLOP/s, copy {copy} GB/s"]
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
        [
            f"{r['what']} {r['case']}",
            f"{r['chosen']:.24}",
            f"{r['ms']:.3f}",
            f"{min(r['torch_ms'].values()):.3f}",
            f"{r['peak_share']:.0%}",
            f"{r['gbytes_per_s']:.0f}",
            f"{r['ratio']:.2f}",
        ]
        for r in worst
    ]
    columns = ["worst", "chosen", "ms", "PyTorch ms", "of peak", "GB/s", "ratio"]
    return "\n".join([*text, "", markdown(head, rows), "", markdown(columns, shown)])


def statistics_of(ratios):
    below = [sum(r < limit for r in ratios) for limit in (1.0, 0.8)]
    return [
        len(ratios),
        f"{geometric_mean(ratios):.2f}",
        *(f"{n} ({n / len(ratios):.0%})" for n in below),
        f"{min(ratios):.2f}",
    ]


def scaling_table(rows):
    """What varies across, images per second with the efficiency in brackets."""
    text = []
    for name, kinds in rows.items():
        for what, found in kinds.items():
            lines = [
                [f"{name}, {label}", *(
                    f"{f[key]:,.0f} ({f[key + '_efficiency']:.0%})" for f in found.values()
                )]
                for key, label in (("train", "training"), ("predict", "inference"))
            ]  # fmt: skip
            text.append(markdown([f"{what}, images/s", *found], lines))
    return "\n\n".join(text)


def short_table(result):
    """Training and inference, nbcnn beside the best peer of each model."""
    rows = []
    for name, model in result["models"].items():
        if not (model.get("train") and model.get("predict")):
            continue
        row = [name]
        for what in ("train", "predict"):
            entries = model[what]
            best = best_peer(what, entries)
            row += [
                figure(what, entries["nbcnn"]),
                f"{figure(what, entries[best])} ({NAMES[best]})",
                f"{ratio(what, entries):.2f}",
            ]
        rows.append(row)
    head = ["images/s", "training", "best peer", "ratio", "inference", "best peer", "ratio"]
    return markdown(head, rows)


def roofline_table(result):
    """Per family the median and the best share of the FMA peak, and of the copy bandwidth."""
    rows = []
    for family in dict.fromkeys(r["family"] for r in result["results"]):
        found = [r for r in result["results"] if r["family"] == family]
        flops = sorted(r["peak_share"] for r in found)
        copies = sorted(r["gbytes_per_s"] / result["copy_gbytes_per_s"] for r in found)
        middle = len(found) // 2
        rows.append(
            [
                family,
                len(found),
                f"{flops[middle]:.0%}",
                f"{flops[-1]:.0%}",
                f"{copies[middle]:.0%}",
                f"{copies[-1]:.0%}",
            ]
        )
    head = ["family", "cases", "of FMA peak, median", "best", "of memory copy, median", "best"]
    return markdown(head, rows)


def products_table(result):
    """Products of dense layers: share of the FMA peak, and of what bounds them."""
    cells = [
        [
            f"{r['what']} {r['case']}",
            f"{r['ms']:.3f}",
            f"{r['peak_share']:.0%}",
            f"{r['bound_share']:.0%}",
            r["bound_by"],
        ]
        for r in result["results"]
        if "bound_share" in r
    ]
    return markdown(["product", "ms", "of FMA peak", "of bound", "bound by"], cells)


def peers_text(result):
    measured = [what for what in RATED if any(m.get(what) for m in result["models"].values())]
    return "\n\n".join([*(peers_table(result, what) for what in measured), peers_summary(result)])


TABLES = {
    "peers": peers_text,
    "ops": ops_summary,
    "products": products_table,
    "scaling": lambda result: scaling_table(result["rows"]),
    "devices": devices_tables,
    "peers_cuda": peers_cuda_summary,
    "offline": offline_table,
}
# mark in a document -> (file in results/, its table)
MARKS = {
    "cuda_offline": ("offline", offline_table),
    "short": ("peers_zen5", short_table),
    "peers": ("peers", peers_text),
    "peers_more": ("peers_more", peers_text),
    "zoo": ("zoo", peers_text),
    "onnx": ("onnx", peers_text),
    "rooflines": ("ops", roofline_table),
    "ops": ("ops", ops_summary),
    "ops_more": ("ops_more", ops_summary),
    "ops_zen5": ("ops_zen5", ops_summary),
    "peers_zen5": ("peers_zen5", peers_text),
    "ops_xeon": ("ops_xeon", ops_summary),
    "peers_xeon": ("peers_xeon", peers_text),
    "avx2": ("ops_avx2", roofline_table),
    "products": ("ops_dense", products_table),
    "products_avx2": ("ops_dense_avx2", products_table),
    "scaling": ("scaling", TABLES["scaling"]),
}
DOCUMENTS = (
    "README.md",
    "docs/performance.md",
    "docs/cuda.md",
    "docs/deploying.md",
    "models/README.md",
)
MARK = re.compile(r"(<!-- table: (\w+) -->\n).*?(<!-- /table -->)", re.DOTALL)
HERE = Path(__file__).resolve().parent


def written(text, results):
    """The text with its marked tables made anew; those without a file of results stay."""

    def renewed(match):
        file, table = MARKS[match[2]]
        path = results / f"{file}.json"
        if not path.exists():
            return match[0]
        return f"{match[1]}\n{table(json.loads(path.read_text()))}\n\n{match[3]}"

    return MARK.sub(renewed, text)


def main():
    if sys.argv[1:] == ["write"]:
        for name in DOCUMENTS:
            document = HERE.parent / name
            document.write_text(written(document.read_text(), HERE / "results"))
        return
    if len(sys.argv) < 3 or sys.argv[1] not in TABLES:
        sys.exit(__doc__)
    for file in sys.argv[2:]:
        print(TABLES[sys.argv[1]](json.loads(Path(file).read_text())))


if __name__ == "__main__":
    main()
