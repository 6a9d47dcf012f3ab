#!/usr/bin/env python3
"""Proves that a new type is one file and one line: applies toy_type.diff to a copy of the library, and multiplies with it.

The diff adds formats/q3_toy.hpp and names it in formats/all.hpp, and may touch nothing else. toy_type.cpp then packs, unpacks,
dequantizes and multiplies on every ISA of this machine, and with --launcher on an emulated one.
"""

import argparse
import difflib
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
INCLUDE = HERE.parent.parent / "include"
DIFF = HERE / "toy_type.diff"
NEW_FILE = "include/tegula/formats/q3_toy.hpp"
LIST = "include/tegula/formats/all.hpp"


def added_file(diff):
    """The new file's text, from the diff."""
    part = diff.split(f"+++ b/{NEW_FILE}\n")[1].split("\n--- ")[0]
    return "".join(line[1:] + "\n" for line in part.splitlines() if line.startswith("+"))


def refresh(toy):
    """Writes toy_type.diff for today's all.hpp: it has an include and a name in the list, which other types move."""
    old = (INCLUDE.parent / LIST).read_text()
    line = '#include "q3_toy.hpp"\n'
    after = next(found for found in re.findall(r'#include "q[^"]*"\n', old) if found > line)
    new = old.replace(after, line + after)
    new = re.sub(r"(all_formats = format_list<[^>]*)>", r"\1, q3_toy>", new)

    def lines(before, after, a, b):
        return difflib.unified_diff(before.splitlines(True), after.splitlines(True), a, b, n=2)

    DIFF.write_text("".join(lines("", toy, "/dev/null", "b/" + NEW_FILE)) + "".join(lines(old, new, "a/" + LIST, "b/" + LIST)))


def apply(copy):
    """Copies the library to `copy`, with the type added."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(INCLUDE, copy / "include")
    result = subprocess.run(["patch", "-p1", "--fuzz=2", "-i", DIFF], cwd=copy, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        sys.exit(f"{result.stdout}\n{DIFF.name} does not apply: formats/all.hpp has changed; run {pathlib.Path(__file__).name} --refresh")


def check_extent(diff):
    """One new file, and in the list nothing but an include and a name."""
    touched = sorted(re.findall(r"^\+\+\+ b/(\S+)", diff, re.M))
    if touched != sorted([NEW_FILE, LIST]):
        sys.exit(f"{DIFF.name} touches {', '.join(touched)}; a type is one file and one line of all.hpp")
    change = [line for line in diff.split(f"+++ b/{LIST}\n")[1].splitlines() if line.startswith(("+", "-"))]
    if len(change) > 3:
        sys.exit(f"{DIFF.name} changes more of all.hpp than an include and the list:\n" + "\n".join(change))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--work", type=pathlib.Path, help="folder for the copy and the program")
    parser.add_argument("--launcher", default="", help="runs a static program on an emulated machine")
    parser.add_argument("--refresh", metavar="FILE", nargs="?", const="", help="write toy_type.diff anew, for the q3_toy.hpp in it or in FILE, and stop")
    arguments = parser.parse_args()
    if arguments.refresh is not None:
        toy = pathlib.Path(arguments.refresh).read_text() if arguments.refresh else added_file(DIFF.read_text())
        return refresh(toy)
    if not arguments.work:
        parser.error("--work is needed")

    check_extent(DIFF.read_text())
    apply(arguments.work)
    program = arguments.work / "toy_type"
    subprocess.run([arguments.compiler, "-std=c++20", "-O1", "-Wall", "-Wextra", "-Wconversion", "-Werror", "-static",
                    f"-I{arguments.work}/include", HERE / "toy_type.cpp", "-o", program], check=True)
    failed = subprocess.run([program], check=False).returncode
    if arguments.launcher:
        failed += subprocess.run([*arguments.launcher.split(), program], check=False).returncode
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
