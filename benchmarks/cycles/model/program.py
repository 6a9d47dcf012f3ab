"""The text of a program, and which of its instructions a counted region executed."""
import collections
import functools
import re
import subprocess

# text: as objdump prints it; previous: the address before it in the function, or None
Instruction = collections.namedtuple("Instruction", "text function previous")
# text: normalised; rows: of a tile instruction, on average; fused: into a jump
Executed = collections.namedtuple("Executed", "text function times rows fused")
Count = collections.namedtuple("Count", "times rows")  # rows: summed over all executions

FULL_TILE = 16
JUMP = re.compile(r"j(?!mp)[a-z]+ ")
FUSES_WITH_JUMP = re.compile(r"(cmp|test|and|add|sub|inc|dec)[bwlq]? ")
PREFIX = r"bnd|notrack|rex\.\w+|ds|cs|\{e?vex\}"


def disassemble(elf):
    """{address: Instruction} of a whole program, in order of addresses."""
    lines = subprocess.run(["objdump", "-d", "--no-show-raw-insn", elf], capture_output=True, text=True, check=True).stdout.splitlines()
    program, function, previous = {}, "?", None
    for line in lines:
        if line.endswith(">:"):
            function, previous = line[line.index("<") + 1:-2], None
        elif line.startswith(" ") and ":\t" in line:
            address, text = line.split(":\t", 1)
            program[int(address, 16)] = Instruction(text, function, previous)
            previous = int(address, 16)
    return program


@functools.lru_cache(maxsize=None)
def normalise(text):
    """objdump's text in a form that llvm-mca takes and that equal instructions share."""
    text = re.sub(r"\s+", " ", text)
    text = re.sub(rf"^(?:(?:{PREFIX}) )?(j[a-z]+(?:,p[nt])?|call)q? +[0-9a-f]+ <.*$", r"\1 0", text)
    text = re.sub(r" +# [0-9a-f]+ <.*$", "", text)
    text = re.sub(rf"^({PREFIX}) (?!nop)", "", text)
    return re.sub(r"<[^>]*>", "", text).strip()


def read_counts(path):
    """{label: {address: Count}} of what `tests/emulator/run --counts PATH --count-addresses` wrote; a repeated label is summed."""
    regions = {}
    with open(path) as lines:
        for words in map(str.split, lines):
            if words[0] == "@@PC":
                region, address = regions.setdefault(words[1], {}), int(words[2], 16)
                old = region.get(address, Count(0, 0))
                region[address] = Count(old.times + int(words[3]), old.rows + int(words[4]))
    return regions


def executed(counts, program):
    """[Executed] of a region: an instruction that fuses with the jump after it apart from when it does not."""
    unknown = Instruction("?", "?", None)
    here = {address: program.get(address, unknown) for address in counts}
    jumps = {i.previous: counts[address].times for address, i in here.items() if JUMP.match(normalise(i.text))}
    found = []
    for address, (times, rows) in counts.items():
        text = normalise(here[address].text)
        fused = min(times, jumps.get(address, 0)) if FUSES_WITH_JUMP.match(text + " ") else 0
        for n, is_fused in ((times - fused, False), (fused, True)):
            if n:
                found.append(Executed(text, here[address].function, n, rows / times if rows else FULL_TILE, is_fused))
    return [e for e in found if e.text != "cpuid"]  # the marks of the region itself
