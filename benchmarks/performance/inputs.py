"""What the report is made of: runs of tegula_bench, measurements of peers, bounds of the cycle model."""
import collections
import json
import pathlib
import re

ROW = re.compile(r"gemm/(?P<type>[^/]+)/(?P<contender>[^/]+)/(?P<mode>[^/]+)/M:(?P<m>\d+)/N:(?P<n>\d+)/K:(?P<k>\d+)")
OWN = "tegula"  # the contender of peer files that is this library in exact mode; "tegula <mode>" is it in another

# rows: {(type, contender, mode, m): (GFLOP/s, fraction of the roofline or None)}; contender: an ISA, or a form of ggml
Run = collections.namedtuple("Run", "path context shape rows")
# cells: {(isa, threads): {(type, m, temperature): {contender: GFLOP/s}}}; bounds: {(isa, threads): {(type, m, temperature): GFLOP/s}}
Peers = collections.namedtuple("Peers", "machine cells bounds")


class BadInput(Exception):
    """A file that is not what it should be."""


def _json(path):
    try:
        return json.loads(pathlib.Path(path).read_text())
    except OSError as error:
        raise BadInput(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        raise BadInput(f"{path} is not JSON: {error}") from error


def read_run(path):
    """The JSON of tegula_bench --benchmark_out; of repetitions the best counts."""
    data, rows, shapes = _json(path), {}, set()
    for entry in data.get("benchmarks", []):
        match = ROW.match(entry["name"])
        if not match or entry.get("error_occurred") or entry.get("run_type") == "aggregate":
            continue
        key = (match["type"], match["contender"], match["mode"], int(match["m"]))
        shapes.add((int(match["n"]), int(match["k"])))
        if key not in rows or entry["GFLOP/s"] > rows[key][0]:
            rows[key] = (entry["GFLOP/s"], entry.get("roofline"))
    if len(shapes) != 1:
        raise BadInput(f"{path}: want gemm rows of one N and K, found {len(shapes)} shapes")
    return Run(str(path), data["context"], shapes.pop(), rows)


def read_peers(path):
    """{"machine": .., "cells": [{"type", "isa", "m", "threads", "temperature", "contender", "gflops"[, "bound"]}, ..]}"""
    data, cells, bounds = _json(path), collections.defaultdict(lambda: collections.defaultdict(dict)), collections.defaultdict(dict)
    try:
        for cell in data["cells"]:
            run, key = (cell["isa"], int(cell["threads"])), (cell["type"], int(cell["m"]), cell["temperature"])
            cells[run][key][cell["contender"]] = float(cell["gflops"])
            if "bound" in cell:
                bounds[run][key] = float(cell["bound"])
        return Peers(data["machine"], cells, bounds)
    except (KeyError, TypeError) as error:
        raise BadInput(f"{path}: a cell lacks {error}") from error


def read_crossover(path):
    """The JSON of cycles crossover --json: {type: {"vector_rows", "cycles": {rows: {path: cycles}}, "taken": {rows: path}}}"""
    found = _json(path)
    for entry in found.values():
        for table in ("cycles", "taken"):
            entry[table] = {int(m): value for m, value in entry[table].items()}
    return found
