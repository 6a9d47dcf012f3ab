#!/usr/bin/env python3
"""Checks the machine code of an object file that instantiates the library (bits.cpp, include_only.cpp).

  - Outside the namespaces of the vector ISAs no instruction goes beyond the x86-64 baseline, and each of these
    namespaces uses no more than its ISA: the program must start on any CPU.
  - Nothing runs before main: no static initialiser.
  - With --tile-ops TABLE: the AMX instructions of each function that has any are those that the table lists, and the
    functions that feed tiles have not lost a store.
"""

import argparse
import collections
import fnmatch
import json
import pathlib
import re
import subprocess
import sys

# What each namespace may use besides its own instructions: avx_vnni is a branch, which CPUs with AVX-512 may lack.
WITHIN = {"baseline": (), "avx2": ("baseline",), "avx_vnni": ("baseline", "avx2"), "avx512": ("baseline", "avx2"),
          "amx": ("baseline", "avx2", "avx512")}
INSTRUCTION = re.compile(r"^\s*[0-9a-f]+:\t((?:[0-9a-f]{2} )+)\s*\t?(.*)$")
FUNCTION = re.compile(r"^[0-9a-f]+ <(.+)>:$")
PREFIXES = {"66", "f2", "f3", "2e", "36", "3e", "26", "64", "65", "f0"}
TILE_OPS = ("tdp", "tileload", "tilestored", "tilezero", "ldtilecfg", "tilerelease")
COLUMNS = (*TILE_OPS, "stores")
# A whole zmm register to memory that is not the function's own stack slot.
VECTOR_STORE = re.compile(r"vmov\w+ +%zmm\d+,[^(]*\((?!%rsp\)|%rbp\))")
ANY_VECTOR_STORE = re.compile(r"vmov\w+ +%zmm\d+,.*\(")


def instruction_level(code, text):
    """The ISA that an instruction belongs to. By its encoding: C4 and C5 are VEX, 62 is EVEX in 64-bit code."""
    mnemonic = text.split(" ")[0]
    if mnemonic.startswith(TILE_OPS) or mnemonic == "sttilecfg":
        return "amx"
    at = 0
    while at < len(code) and code[at] in PREFIXES:
        at += 1
    first = code[at] if at < len(code) else ""
    if first == "62":
        return "avx512"
    if first in ("c4", "c5"):
        # k registers are VEX-encoded, but AVX-512's.
        return "avx512" if re.search(r"%k[0-7]", text) else "avx_vnni" if "vpdp" in text else "avx2"
    if first.startswith("4"):  # REX
        at += 1
    if code[at:at + 2] in (["0f", "38"], ["0f", "3a"]) or mnemonic in ("popcnt", "lzcnt"):
        return "avx2"  # SSSE3 to SSE4.2: not in the baseline either
    return "baseline"


def owner(symbol):
    """The ISA whose namespace a function is defined in, by its mangled name: template arguments do not count.

    _ZN6tegula30built_for_baseline_strict_math4avx2..., _ZZN... for what is local to a function, such as a lambda.
    """
    # NK: const members; clang's clones have suffixes; a lambda in a lambda starts with _ZZZN.
    found = re.match(r"_ZT?Z*(?:NK?|N)6tegula(\d+)", symbol)
    if not found:
        return "baseline"
    rest = symbol[found.end() + int(found.group(1)):]
    for isa, mangled in (("avx2", "4avx2"), ("avx_vnni", "8avx_vnni"), ("avx512", "6avx512"), ("amx", "3amx")):
        if rest.startswith(mangled):
            return isa
    return "baseline"


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def functions(path):
    """Yields (mangled name, [(code bytes, text)])."""
    name, body = None, []
    for line in run("objdump", "-d", "-w", "--show-raw-insn", path).splitlines():
        if head := FUNCTION.match(line):
            if name:
                yield name, body
            name, body = head.group(1), []
        elif instruction := INSTRUCTION.match(line):
            body.append((instruction.group(1).split(), instruction.group(2).strip()))
    if name:
        yield name, body


def check_levels(code):
    problems, seen = [], collections.Counter()
    for name, body in code:
        allowed = owner(name)
        seen[allowed] += len(body)
        worst = [text for bytes_, text in body if instruction_level(bytes_, text) not in (allowed, *WITHIN[allowed])]
        if worst:
            problems.append(f"{len(worst)} instructions beyond {allowed} in {demangle(name)}\n      such as: {worst[0]}")
    return problems, seen


def check_initialisers(path):
    problems = []
    for line in run("objdump", "-h", "-w", path).splitlines():
        if re.search(r"\s\.(init_array|ctors|preinit_array)", line):
            problems.append(f"a static initialiser: section {line.split()[1]}")
    for line in run("nm", path).splitlines():
        if re.search(r"_GLOBAL__sub_I|__cxx_global_var_init", line):
            problems.append(f"a static initialiser: {line.split()[-1]}")
    return problems


def demangle(name):
    """For people: without the ABI namespace."""
    return re.sub(r"built_for_\w+::", "", run("c++filt", name).strip())


def identifiers(mangled):
    """The length-prefixed names at the start of a mangled name or in its template arguments, and what follows them."""
    names = []
    while found := re.match(r"(\d+)", mangled):
        end = found.end() + int(found.group(1))
        names.append(mangled[found.end():end])
        mangled = mangled[end:]
    return names, mangled


def template_argument(mangled):
    """<kernel<format>> of the template arguments that a mangled name goes on with; empty if it has none."""
    # TkN..E is the concept of a constrained template parameter; the argument comes after it.
    argument = re.match(r"I(?:TkN(?:S\d*_)?\d+[a-z_]+E)?N(?:S\d*_)?(\d+.*)", mangled)
    if not argument:
        return ""
    names, rest = identifiers(argument.group(1))
    return f"<{names[-1]}{template_argument(rest)}>"


def short_name(symbol):
    """namespace::function<format>, as the table has it. From the mangled name: c++filt of Debian 12 does not know clang 19's."""
    names, rest = identifiers(re.sub(r"^_Z+NK?", "", symbol))
    return "::".join(names[2:]) + template_argument(rest)


def tile_ops(code, stores=VECTOR_STORE):
    """{function: {op: count}} of the functions of amx that have tile instructions or store vectors."""
    table = {}
    for name, body in code:
        if owner(name) != "amx":
            continue
        counts = dict.fromkeys(COLUMNS, 0)
        for _, text in body:
            op = next((op for op in TILE_OPS if text.startswith(op)), None)
            if op:
                counts[op] += 1
            elif stores.match(text):
                counts["stores"] += 1
        if any(counts.values()):
            table[short_name(name)] = counts
    return table


def check_tile_ops(code, path, stores):
    """The counts against the table in `path`, whose function names may have a *."""
    rows = [line.split() for line in path.read_text().splitlines() if line.strip() and not line.startswith("#")]
    problems, used = [], set()
    for function, counts in tile_ops(code, stores).items():
        row = next((row for row in rows if fnmatch.fnmatchcase(function, row[0])), None)
        if not row:
            if any(counts[op] for op in TILE_OPS):
                problems.append(f"{function} has tile instructions and no line in {path.name}: {counts}")
            continue
        used.add(row[0])
        expected = dict(zip(COLUMNS, map(int, row[1:])))
        for column in COLUMNS:
            wrong = counts[column] < expected[column] if column == "stores" else counts[column] != expected[column]
            if wrong:
                problems.append(f"{function}: {column} {counts[column]}, {path.name} has {expected[column]}")
    problems += [f"{row[0]}, a line of {path.name}, is no function of the object" for row in rows if row[0] not in used]
    return problems


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("object", help="the object file, compiled without -m flags")
    parser.add_argument("--tile-ops", type=pathlib.Path, metavar="TABLE", help="tile instructions by function (tile_ops.txt)")
    parser.add_argument("--stack-stores", action="store_true", help="count stores to the function's own stack too")
    parser.add_argument("--print-tile-ops", action="store_true", help="print the object's own table and stop")
    parser.add_argument("--json", action="store_true", help="the result as JSON")
    arguments = parser.parse_args()

    code = list(functions(arguments.object))
    if arguments.print_tile_ops:
        for function, counts in sorted(tile_ops(code).items()):
            print(f"{function:34}", *(f"{counts[column]:9}" for column in COLUMNS))
        return
    problems, seen = check_levels(code)
    problems += check_initialisers(arguments.object)
    if arguments.tile_ops:
        problems += check_tile_ops(code, arguments.tile_ops, ANY_VECTOR_STORE if arguments.stack_stores else VECTOR_STORE)
    if arguments.json:
        print(json.dumps({"problems": problems, "instructions": seen}))
    else:
        print("instructions by owner:", ", ".join(f"{isa} {seen[isa]}" for isa in WITHIN))
        for problem in problems:
            print("  FAILED", problem)
        print(f"codegen: {len(problems)} problems in {arguments.object}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
