"""Charts of result files, as PNG (needs matplotlib: `pip install -e '.[bench]'`).

    python bench/plot.py CHART FILE OUTPUT.png [train|predict]

CHART: peers (of training or inference), ops, roofline (both of ops.py's file), scaling, devices.
"""

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from tables import NAMES, best_peer, ratio

COLORS = pyplot.get_cmap("tab20")  # more families than the usual ten colours


def figure(width, height):
    made, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    axes.spines[["top", "right"]].set_visible(False)
    return made, axes


def peers(result, what="train"):
    """Speed of every engine relative to the best peer of the model, which is 1."""
    models = {name: m[what] for name, m in result["models"].items() if m.get(what)}
    engines = [e for e in NAMES if any(e in m for m in models.values())]
    made, axes = figure(10, 4)
    width = 0.8 / len(engines)
    for i, engine in enumerate(engines):
        heights = [
            m[engine]["images_per_second"] / m[best_peer(what, m)]["images_per_second"]
            if engine in m
            else 0.0
            for m in models.values()
        ]
        places = [j + (i - len(engines) / 2 + 0.5) * width for j in range(len(models))]
        axes.bar(places, heights, width, label=NAMES[engine], color=f"C{i}")
    for j, entries in enumerate(models.values()):
        axes.annotate(f"{ratio(what, entries):.2f}", (j - 0.4, ratio(what, entries)), va="bottom")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_xticks(range(len(models)), models)
    axes.set_ylabel("images/s over those of the best peer")
    title = {"train": "training through fit", "predict": "inference through predict"}[what]
    axes.set_title(f"{title}; {result['machine']['cpu']}, {result['machine']['cores']} cores")
    axes.legend(ncols=2, fontsize="small")
    return made


def ops(result):
    """Ratio to PyTorch of every case, sorted within its family."""
    rated = [r for r in result["results"] if "ratio" in r]
    made, axes = figure(10, 4)
    start = 0
    for i, family in enumerate(dict.fromkeys(r["family"] for r in rated)):
        ratios = sorted(r["ratio"] for r in rated if r["family"] == family)
        axes.bar(range(start, start + len(ratios)), ratios, 0.9, color=COLORS(i), label=family)
        start += len(ratios) + 2
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log", base=2)
    axes.set_yticks([0.5, 1, 2, 4, 8, 16], ["0.5", "1", "2", "4", "8", "16"])
    axes.set_xticks([])
    axes.set_ylabel("PyTorch's time over nbcnn's")
    axes.set_title(f"{len(rated)} operations against the best layout of PyTorch")
    axes.legend(ncols=3, fontsize="small")
    return made


def roofline(result):
    """Every case at its intensity, under the peak of the FMA units and of the memory."""
    made, axes = figure(8, 5)
    families = dict.fromkeys(r["family"] for r in result["results"])
    for i, family in enumerate(families):
        rows = [r for r in result["results"] if r["family"] == family and r["gflops"] > 0]
        intensity = [r["gflops"] / r["gbytes_per_s"] for r in rows]
        axes.scatter(intensity, [r["gflops"] for r in rows], 14, color=COLORS(i), label=family)
    peak, copy = result["fma_peak_gflops"], result["copy_gbytes_per_s"]
    edges = [0.05, peak / copy, 2000]
    axes.plot(edges, [edges[0] * copy, peak, peak], color="black", linewidth=1)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("FLOP per byte that must move")
    axes.set_ylabel("GFLOP/s")
    axes.set_title(f"FMA peak {peak:.0f} GFLOP/s, memory {copy:.0f} GB/s; above: Winograd, caches")
    axes.legend(fontsize="small")
    return made


def scaling(result):
    """Efficiency of training over what varies, one panel each."""
    kinds = list(dict.fromkeys(kind for row in result["rows"].values() for kind in row))
    made, panels = pyplot.subplots(
        1, len(kinds), figsize=(4 * len(kinds), 3.5), layout="constrained", squeeze=False
    )
    for axes, kind in zip(panels[0], kinds):
        for name, row in result["rows"].items():
            if kind in row:
                sizes = [int(size) for size in row[kind]]
                values = [f["train_efficiency"] for f in row[kind].values()]
                axes.plot(sizes, values, marker="o", label=name)
        axes.set_xscale("log", base=2)
        axes.set_ylim(0, 1.1)
        axes.set_xlabel({"image": "edge of the image"}.get(kind, kind))
        axes.set_ylabel("efficiency of training")
    panels[0][-1].legend(fontsize="small")
    return made


def devices(result):
    """Times of layers and of models' training steps on each device, the longest on top."""
    columns = list(result["devices"])
    bars = {
        name: {c: r["ms"] for c, r in found.items()} for name, found in result["layers"].items()
    }
    for name, found in result["models"].items():
        bars[f"{name}: step"] = {c: r["ms"]["step"] for c, r in found.items()}
    names = sorted((n for n in bars if bars[n]), key=lambda n: max(bars[n].values()))
    made, axes = figure(9, 1.5 + 0.28 * len(names))
    height = 0.8 / max(len(columns), 1)
    for i, column in enumerate(columns):
        places = [j + (i - len(columns) / 2 + 0.5) * height for j in range(len(names))]
        values = [bars[name].get(column, float("nan")) for name in names]
        axes.barh(places, values, height, label=column, color=f"C{i}")
    axes.set_yticks(range(len(names)), names, fontsize="small")
    axes.set_xscale("log")
    axes.set_xlabel("ms, kernels alone")
    missing = "; ".join(f"no {name} here" for name in result["missing"])
    axes.set_title(f"nbcnn on {', '.join(columns)}{f' ({missing})' if missing else ''}")
    axes.legend(fontsize="small")
    return made


CHARTS = {chart.__name__: chart for chart in (peers, ops, roofline, scaling, devices)}


def main():
    if len(sys.argv) < 4 or sys.argv[1] not in CHARTS:
        sys.exit(__doc__)
    kind, file, output, *rest = sys.argv[1:]
    CHARTS[kind](json.loads(Path(file).read_text()), *rest).savefig(output, dpi=120)


if __name__ == "__main__":
    main()
