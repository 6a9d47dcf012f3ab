"""The tables of docs/performance.md, as Markdown."""
import kernels
from model.bounds import largest

from .inputs import OWN


def table(heads, rows):
    """The first column is text, the others are right-aligned."""
    lines = ["| " + " | ".join(map(str, heads)) + " |", "|---|" + "---:|" * (len(heads) - 1)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def percent(kernel, cycles):
    return f"{100 * kernels.macs(kernel) / cycles / kernels.peak(kernel):.1f}"


def tiles(bounds):
    """Kernels on tiles."""
    heads = ("", "M", "MAC/cycle", "perfect overlap %", "no overlap %", "one after another %", "TMUL busy %", "largest resource")
    rows = []
    for kernel, entry in bounds.items():
        if kernel.isa == "amx":
            cycles = entry["cycles"]
            percents = (percent(kernel, cycles[what]) for what in ("perfect", "serial", "phases"))
            rows.append((f"{kernel.type} {kernel.mode}", kernel.m, f"{kernels.macs(kernel) / cycles['perfect']:.0f}", *percents, entry["busy"],
                         largest(entry["resources"])))
    return table(heads, rows)


def vectors(bounds):
    """Kernels without tiles: one line for an ISA and type, the product alone."""
    by_m = {}
    for kernel, entry in bounds.items():
        if kernel.isa != "amx":
            by_m.setdefault((kernel.isa, kernel.type, kernel.mode), {})[kernel.m] = (kernel, entry)
    rows_of_a = sorted({m for line in by_m.values() for m in line}, reverse=True)
    heads = ["", *(f"M = {m}: {what}" for m in rows_of_a for what in ("MAC/cycle", "% of peak", "largest resource"))]
    rows = []
    for (isa, weights, mode), line in sorted(by_m.items(), key=lambda item: list(kernels.PEAK).index(item[0][0])):
        cells = []
        for m in rows_of_a:
            kernel, entry = line.get(m, (None, None))
            cells += (f"{kernels.macs(kernel) / entry['cycles']['product']:.1f}", percent(kernel, entry["cycles"]["product"]),
                      largest(entry["resources"])) if kernel else ("", "", "")
        rows.append((f"{isa} {weights} {mode}", *cells))
    return table(heads, rows)


def crossover(measured):
    rows_of_a = list(next(iter(measured.values()))["cycles"])
    rows = [(weights, *(f"{paths['amx'] / paths['avx512']:.2f}" for paths in entry["cycles"].values()),
             max(m for m, path in entry["taken"].items() if path == "avx512")) for weights, entry in measured.items()]
    return table(("M", *rows_of_a, "vectors up to"), rows)


def measured(run, isa, mode):
    """One ISA of a tegula_bench run: bound, reached, and ggml's best form in the same process."""
    peers = {}
    for (weights, contender, _, m), (rate, _) in run.rows.items():
        if contender.startswith("ggml"):
            peers[weights, m] = max(peers.get((weights, m), (0, "")), (rate, contender))
    rows = []
    for (weights, contender, row_mode, m), (rate, fraction) in run.rows.items():
        if (contender, row_mode) == (isa, mode):
            bound = (f"{rate / fraction:.0f}", f"{100 * fraction:.0f} %") if fraction else ("", "")
            peer = peers.get((weights, m))
            beside = (f"{peer[0]:.1f}", peer[1], f"{rate / peer[0]:.2f}x") if peer else ("", "", "")
            rows.append((weights, m, bound[0], f"{rate:.1f}", bound[1], *beside))
    return table(("", "M", "bound", "reached", "of the bound", "best peer", "its form", "tegula / peer"), rows)


def choice(run, isas, mode):
    """What the first ISA, which gemm() takes by itself, reaches of the best of all in the same run; types by M."""
    rates = {key: rate for key, (rate, _) in run.rows.items() if key[1] in isas and key[2] == mode}
    rows_of_a = sorted({key[3] for key in rates})
    rows = []
    for weights in dict.fromkeys(key[0] for key in rates):
        cells = []
        for m in rows_of_a:
            here = {isa: rates[weights, isa, mode, m] for isa in isas if (weights, isa, mode, m) in rates}
            cells.append(f"{here[isas[0]] / max(here.values()):.2f}" if isas[0] in here else "")
        rows.append((weights, *cells))
    return table(("M", *rows_of_a), rows)


def peers(cells, bounds):
    """One ISA and number of threads; the best contender that is not tegula's decides the ratios."""
    names = {name for cell in cells.values() for name in cell}
    own = sorted(name for name in names if name.split()[0] == OWN)
    others = sorted(names.difference(own))
    rows = []
    for key, cell in cells.items():
        weights, m, temperature = key
        bound, exact, best = bounds.get(key), cell.get(OWN), max((cell[name] for name in others if name in cell), default=None)
        rates = (f"{cell[name]:.1f}" if name in cell else "" for name in (*own, *others))
        ratios = (f"{cell[name] / best:.2f}x" if name in cell and best else "" for name in own)
        rows.append((f"{weights}, M = {m}{', ' + temperature if temperature else ''}", f"{bound:.0f}" if bound else "", *rates,
                     f"{100 * exact / bound:.0f} %" if exact and bound else "", *ratios))
    return table(("", "bound", *own, *others, "of the bound", *(f"{name} / best peer" for name in own)), rows)
