"""The charts of docs/performance.md, as SVG files that are the same for the same data."""
import kernels

# Told apart by the colour-blind.
COLOURS = ["#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#8c6d31", "#555555", "#b8a800"]


def _pyplot():
    import matplotlib
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"font.family": "DejaVu Sans", "font.size": 9, "svg.fonttype": "none", "svg.hashsalt": "tegula"})
    return plt


def _save(figure, path):
    figure.savefig(path, metadata={"Date": None}, bbox_inches="tight")


def _clean(axes):
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, axis="y", color="#ebebeb", lw=0.7)
    axes.set_axisbelow(True)


def _finish(plt, figure, axes, path, **legend):
    """The legend to the right, without a frame; then the file."""
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1), **legend)
    _clean(axes)
    _save(figure, path)
    plt.close(figure)


def tile_bounds(bounds, rows_of_a, path):
    """Bars per type and mode, from no overlap (solid) to perfect overlap (light)."""
    plt = _pyplot()
    chosen = {k: e for k, e in bounds.items() if k.isa == "amx" and k.m == rows_of_a}
    types, modes = list(dict.fromkeys(k.type for k in chosen)), [mode for mode in kernels.MODES if any(k.mode == mode for k in chosen)]
    figure, axes = plt.subplots(figsize=(9, 3.6))
    width = 0.8 / len(modes)
    for kernel, entry in chosen.items():
        at = types.index(kernel.type) + (modes.index(kernel.mode) - (len(modes) - 1) / 2) * width
        colour = COLOURS[modes.index(kernel.mode)]
        for what, alpha in (("perfect", 0.35), ("serial", 1)):
            percent = 100 * kernels.macs(kernel) / entry["cycles"][what] / kernels.peak(kernel)
            axes.bar(at, percent, width * 0.92, color=colour, alpha=alpha)
    axes.set_xticks(range(len(types)), types)
    axes.set_ylabel("% of 1,024 MAC/cycle")
    axes.set_title(f"AMX: cycle model, M = {rows_of_a}, from no overlap to perfect overlap", loc="left")
    _finish(plt, figure, axes, path, handles=[plt.Rectangle((0, 0), 1, 1, color=COLOURS[i]) for i in range(len(modes))], labels=modes)


def tile_roofline(lines, path):
    """{type: [(MAC per byte of W, MAC/cycle), ..]} below TMUL's peak and what W allows at some bytes a cycle."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(9, 4.2))
    points = [point for line in lines.values() for point in line]
    low, high, bottom, peak = min(points)[0] / 1.5, max(points)[0] * 1.5, min(y for _, y in points) / 2, kernels.PEAK["amx"]
    for bytes_per_cycle in (2, 4, 8):
        axes.plot([low, peak / bytes_per_cycle], [low * bytes_per_cycle, peak], color="#333333", lw=1, ls=(0, (1, 2)))
        axes.annotate(f"{bytes_per_cycle} B/cycle", (bottom * 1.1 / bytes_per_cycle, bottom * 1.1), fontsize=7.5, xytext=(4, 0),
                      textcoords="offset points")
    axes.plot([peak / 8, high], [peak, peak], color="#333333", lw=1.3)
    axes.annotate(f"tdpbssd: {peak:,} MAC/cycle", (high, peak), ha="right", va="bottom", fontsize=7.5)
    for (weights, line), colour in zip(lines.items(), COLOURS):
        axes.plot(*zip(*line), color=colour, marker="o", ms=4, lw=1.4, label=weights)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xlim(low, high)
    axes.set_ylim(bottom, peak * 1.5)
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
    axes.set_xlabel("MAC per byte of W")
    axes.set_ylabel("MAC/cycle")
    axes.set_title("AMX, exact mode: cycle model, the mean of perfect and no overlap", loc="left")
    _finish(plt, figure, axes, path)


def crossover(measured, path):
    """Cost of tiles over that of vectors by rows of A; below 1 tiles win."""
    plt = _pyplot()
    figure, axes = plt.subplots(figsize=(9, 3.6))
    for (weights, entry), colour in zip(measured.items(), COLOURS):
        ratios = [paths["amx"] / paths["avx512"] for paths in entry["cycles"].values()]
        axes.plot(list(entry["cycles"]), ratios, color=colour, marker="o", ms=4, lw=1.4, label=weights)
    axes.axhline(1, color="#333333", lw=1)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    ticks = list(next(iter(measured.values()))["cycles"])
    axes.set_xticks(ticks, ticks)
    axes.set_yticks([0.25, 0.5, 1, 2, 4], ["1/4", "1/2", "1", "2", "4"])
    axes.minorticks_off()
    axes.set_xlabel("rows of A")
    axes.set_title("Cycles by tiles over cycles by vectors, exact mode, cycle model", loc="left")
    _finish(plt, figure, axes, path)
