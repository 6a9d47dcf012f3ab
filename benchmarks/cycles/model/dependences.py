"""What the instructions of a loop read, write, load and store: registers by name, memory by symbolic address."""
import collections
import re

from .program import normalise

# reads, address_reads: registers that must be ready; writes: a register or None; location: (symbol, offset) of the memory operand, or None
Step = collections.namedtuple("Step", "text reads address_reads writes location")

Value = collections.namedtuple("Value", "symbol offset")  # of a register: an unknown plus a number; symbol "" is a number
MEMORY = re.compile(r"(-?0x[0-9a-f]+)?\((%\w+)?(?:,(%\w+),(\d))?\)")
RIP_TARGET = re.compile(r"# ([0-9a-f]+) <")
WRITES_NOTHING = ("cmp", "test", "j", "nop", "prefetch", "ldtilecfg", "vptest", "ktest", "kortest", "vcomis", "vucomis")
READS_DESTINATION = re.compile(r"v(fn?m(add|sub)|fmaddsub|fmsubadd|pdp|dpbf16|pternlog|permt2|permi2|pmadd52)"
                               r"|(add|sub|and|or|xor|inc|dec|neg|not|sh[lr]|sar|imul|cmov)")
CLOBBERED = ("ax", "cx", "dx", "si", "di", "r8", "r9", "r10", "r11")  # by a call


def register(name):
    """One name for all widths of a register: %eax is ax, %zmm3 and %ymm3 are v3."""
    name = name.lstrip("%")
    for pattern, form in ((r"[xyz]mm(\d+)$", "v%s"), (r"tmm(\d)$", "t%s"), (r"r(\d+)[dwb]?$", "r%s"), (r"[er]?([abcd])[xl]$", "%sx"),
                          (r"[er]?(si|di|bp|sp)l?$", "%s")):
        if found := re.match(pattern, name):
            return form % found[1]
    return name


def signed(number):
    """A 64-bit immediate as objdump prints it, as a number."""
    return number - (1 << 64) if number >> 63 == 1 else number


class Addresses:
    """Follows pointers through straight-line code: constants, moves, sums with constants, spilled registers."""

    def __init__(self):
        self._values, self._fresh = {}, 0

    def value(self, name):
        return self._values.get(name, Value(("at entry", name), 0))

    def location(self, text):
        """(symbol, offset) of the memory operand. Rows of a tile: of the first; its index register is the distance of rows."""
        if target := RIP_TARGET.search(text):
            return Value("", int(target[1], 16))
        operand = MEMORY.search(text)
        if not operand:
            return None
        base = self.value(register(operand[2])) if operand[2] else Value("", 0)
        offset = base.offset + int(operand[1] or "0", 16)
        if not operand[3] or text.startswith("tile"):
            return Value(base.symbol, offset)
        index, scale = self.value(register(operand[3])), int(operand[4])
        offset += scale * index.offset
        return Value(base.symbol, offset) if index.symbol == "" else Value((base.symbol, index.symbol, scale), offset)

    def follow(self, text):
        """Takes one instruction (raw, as only that has the target of a rip-relative address)."""
        plain = normalise(text)
        name = plain.split(" ")[0]
        if name == "call":
            for clobbered in CLOBBERED:
                self._forget(clobbered)
        elif name.startswith(WRITES_NOTHING):
            return
        elif target := re.search(r"(%\w+)$", plain):
            if not re.match(r"[vkt]\d", written := register(target[1])):
                self._values[written] = self._result(name, plain, text, written)
        elif spill := re.match(r"mov (%r\w+),", plain):
            self._values[self.location(text)] = self.value(register(spill[1]))

    def _result(self, name, plain, text, target):
        if constant := re.match(r"\w+ \$(-?0x[0-9a-f]+),", plain):
            number, old = signed(int(constant[1], 16)), self.value(target)
            if name.startswith("mov"):
                return Value("", number)
            if re.match(r"(add|sub)q?$", name):
                return Value(old.symbol, old.offset + (number if name.startswith("add") else -number))
        elif name == "lea":
            return self.location(text)
        elif moved := re.match(r"mov (%r\w+),", plain):
            return self.value(register(moved[1]))
        elif name == "mov" and (place := self.location(text)):
            return self._values.get(place, Value(("in memory", place), 0))
        elif re.match(r"xor (%\w+),\1$", plain):
            return Value("", 0)
        return self._unknown()

    def _forget(self, name):
        self._values[name] = self._unknown()

    def _unknown(self):
        self._fresh += 1
        return Value(("unknown", self._fresh), 0)


def step(text, location):
    """A Step of a raw instruction whose memory operand is at `location`."""
    plain = normalise(text)
    name = plain.split(" ")[0]
    address_reads = [register(r) for operand in MEMORY.finditer(plain) for r in operand.groups()[1:3] if r]
    operands = [register(r) for r in re.findall(r"%\w+", MEMORY.sub("", plain))]
    masked = "{%k" in plain
    masks = [register(r) for r in re.findall(r"\{(%k\d)\}", plain)]
    operands = [r for r in operands if r not in masks]
    last_is_memory = plain.rstrip("}z{").rsplit("{", 1)[0].endswith(")")
    writes = operands[-1] if operands and not last_is_memory and not name.startswith(WRITES_NOTHING) else None
    reads = operands[:-1] if writes else operands
    if writes and (READS_DESTINATION.match(name) or (masked and "{z}" not in plain)):
        reads = reads + [writes]
    return Step(plain, reads + masks, address_reads, writes, location)
