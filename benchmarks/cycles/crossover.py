"""From how many rows of A on tiles beat vectors, in exact mode on a CPU that has both, and whether gemm() chooses right.

A path's cost is the mean of its two bounds: what all overlap allows, and tile products that overlap with nothing. Short runs of tile
products overlap badly, so the first alone would flatter tiles, and the second alone would wrong them. For vector code both are equal.
"""
import concurrent.futures
import json

import kernels
from model.bounds import bounds
from model.program import executed
from model.uops import Table

ROWS = (1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 48, 64)
PATHS = ("avx512", "amx")
TOLERATED = 1.05  # of the better path's cost, for what gemm() chooses


def measure(weights):
    """({rows: {path: cycles}}, {rows: the path that gemm() takes by itself})."""
    forced = [(m, path) for m in ROWS for path in PATHS]
    cases = [kernels.Kernel(weights, "exact", path, m) for m, path in forced + [(m, "auto") for m in ROWS]]
    program, counted = kernels.count(weights, cases)
    costs, table = {m: {} for m in ROWS}, Table()
    for (m, path), (quantizing, product, _) in zip(forced, counted):
        both = bounds(executed(quantizing, program) + executed(product, program), table)
        costs[m][path] = (both.perfect + both.serial) / 2
    return costs, {m: ran.split(" ")[1] for m, (_, _, ran) in zip(ROWS, counted[len(forced):])}


def vector_rows(costs):
    """The most rows up to which vectors are never worse: what the library's constant should be."""
    best = 0
    for m, paths in costs.items():
        if paths["amx"] < paths["avx512"]:
            break
        best = m
    return best


def losses(costs, taken):
    """{rows: loss in percent} where gemm() takes a path that costs too much."""
    ratios = {m: paths[taken[m]] / min(paths.values()) for m, paths in costs.items()}
    return {m: round(100 * (ratio - 1), 1) for m, ratio in ratios.items() if ratio > TOLERATED}


def run(arguments):
    quantized = [t for t in kernels.types() if t not in kernels.FLOATS]
    with concurrent.futures.ProcessPoolExecutor(arguments.jobs) as pool:
        measured = dict(zip(quantized, pool.map(measure, quantized)))
    if arguments.json:
        print(json.dumps({t: {"cycles": costs, "taken": taken} for t, (costs, taken) in measured.items()}))
    else:
        show(measured)
    return 1 if any(losses(*found) for found in measured.values()) else 0


def show(measured):
    print("Cycles of the tile path over those of the vector path, by rows of A; *: what gemm() takes costs over 5 % more")
    print(f"{'rows':8}" + "".join(f"{m:7}" for m in ROWS) + "   vectors up to")
    for weights, (costs, taken) in measured.items():
        lost = losses(costs, taken)
        cells = (f"{costs[m]['amx'] / costs[m]['avx512']:.2f}{'*' if m in lost else ' '}" for m in ROWS)
        print(f"{weights:8}" + "".join(f"{cell:>7}" for cell in cells) + f"   {vector_rows(costs)}")
