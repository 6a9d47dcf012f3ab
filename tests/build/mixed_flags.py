#!/usr/bin/env python3
"""One program of units built with different flags, linked in both orders.

The linker keeps one copy of each inline function. If a baseline unit got the copy of a unit built with -march=x86-64-v4,
it would die on an older CPU. So: the units may share no function of the library, the programs must give the same bits here,
and, with --launcher, the programs must run on a CPU with SSE4 only.
"""

import argparse
import pathlib
import subprocess
import sys

import codegen

UNITS = {"baseline": [], "v4": ["-march=x86-64-v4"], "fast_math": ["-ffast-math"]}
HERE = pathlib.Path(__file__).resolve().parent


def weak_functions(path):
    """Functions of which the linker keeps one."""
    return {line.split()[-1] for line in codegen.run("nm", "--defined-only", str(path)).splitlines() if line.split()[-2] in "WV"}


def shared_functions(objects):
    """Functions of the library that two units have in common, and any other that one would lend the others in AVX code."""
    problems = []
    weak = {name: weak_functions(path) for name, path in objects.items()}
    for first, second in (("baseline", "v4"), ("baseline", "fast_math"), ("fast_math", "v4")):
        for symbol in sorted(weak[first] & weak[second]):
            if "6tegula" in symbol and "6tegula8compute" not in symbol:
                problems.append(f"{first} and {second} share {codegen.demangle(symbol)}")
    lent = weak["v4"] & (weak["baseline"] | weak["fast_math"])
    for symbol, body in codegen.functions(str(objects["v4"])):
        if symbol in lent and any(codegen.instruction_level(code, text) != "baseline" for code, text in body):
            problems.append(f"the v4 unit lends its AVX copy of {codegen.demangle(symbol)}")
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("compiler")
    parser.add_argument("--work", type=pathlib.Path, required=True, help="folder for objects and programs")
    parser.add_argument("--launcher", default="", help="runs a static program on a CPU with SSE4 only")
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)

    flags = [arguments.compiler, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Werror", f"-I{HERE}/../../include"]
    objects = {}
    for name, extra in UNITS.items():
        objects[name] = arguments.work / f"{name}.o"
        subprocess.run([*flags, *extra, f"-DUNIT={name}_unit", "-c", HERE / "unit.cpp", "-o", objects[name]], check=True)
    problems = shared_functions(objects)

    order = [str(path) for path in objects.values()]
    for name, inputs in (("baseline_first", order), ("v4_first", order[1:] + order[:1])):
        program = arguments.work / name
        subprocess.run([*flags, HERE / "mixed_main.cpp", *inputs, "-static", "-o", program], check=True)
        for launcher in [[], arguments.launcher.split()][: 2 if arguments.launcher else 1]:
            code = subprocess.run([*launcher, program], check=False).returncode
            if code != 0:
                problems.append(f"{' '.join(map(str, [*launcher, program]))}: exit code {code}")
    for problem in problems:
        print("FAILED", problem)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
