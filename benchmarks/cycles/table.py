"""bounds.json: the recorded bounds of all kernels, a line for each, and what has changed since."""
import json
import pathlib

import kernels
from model.bounds import largest

PATH = pathlib.Path(__file__).resolve().parent / "bounds.json"
WORSE_PERCENT = 2.0  # of cycles
WORSE_BUSY = 2.0  # percentage points of TMUL busy
RECORD = "benchmarks/cycles/cycles record"


def read(path=PATH):
    """{kernel: {"cycles", "resources", "busy"}}"""
    return {kernels.parse(text): entry for text, entry in json.loads(path.read_text()).items()} if path.exists() else {}


def entry(result):
    return {"cycles": result.cycles, "resources": result.resources, "busy": result.busy}


def write(entries, path=PATH):
    order = {kernel: i for i, kernel in enumerate(kernels.recorded())}
    lines = [f"{json.dumps(kernels.name(k))}: {json.dumps(entries[k])}" for k in sorted(entries, key=lambda k: order.get(k, len(order)))]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def changes(old, new):
    """(what got worse, what got better): lines that name kernel, resource and numbers."""
    worse, better = [], []
    for kernel in new:
        if kernel not in old:
            worse.append(f"{kernels.name(kernel)}: not recorded yet")
            continue
        for text, percent in _cycles(old[kernel], new[kernel]):
            if abs(percent) > WORSE_PERCENT:
                (worse if percent > 0 else better).append(f"{kernels.name(kernel)}: {text}")
        before, now = old[kernel]["busy"], new[kernel]["busy"]
        if before != now and (before is None or now is None or abs(now - before) > WORSE_BUSY):
            (better if now is not None and now > (before or 0) else worse).append(
                f"{kernels.name(kernel)}: TMUL busy in the tile loop {before} % -> {now} %")
    return worse, better


def _cycles(old, new):
    bound = largest(new["resources"])
    for what, now in new["cycles"].items():
        before = old["cycles"][what]
        percent = 100 * (now - before) / before
        yield (f"{what} {before} -> {now} cycles ({percent:+.1f} %); the largest resource is {bound}, "
               f"{old['resources'][bound]} -> {new['resources'][bound]}"), percent
