"""Instructions as uops on ports: AMX by published measurements, all others by LLVM's model, corrected where that is the client core's."""
import collections
import functools
import itertools
import re

from . import llvm_mca
from .program import FULL_TILE

# ports: {(ports that each can take, width): uops}; width: "scalar", "vector" (up to 256 bits) or "512"
Uops = collections.namedtuple("Uops", "slots ports tmul latency")

ALU, LOAD, STORE_DATA, STORE_ADDRESS = (0, 1, 5, 6, 10), (2, 3, 11), (4, 9), (7, 8)
WIDE_LOAD = (2, 3)  # 64-byte loads: two a cycle

# TMUL cycles, 64-byte lines loaded, lines stored, issue slots; of a full tile: fewer rows take proportionally less. A tile load moves
# 16 lines, 8 cycles of two ports, but was measured at 9.6 cycles: 19.2 lines. The slots of loads and stores are guesses.
Tile = collections.namedtuple("Tile", "tmul loads stores slots")
TILE = {
    "tdp": Tile(16, 0, 0, 1), "tileloadd": Tile(0, 19.2, 0, 8), "tilestored": Tile(0, 0, 16, 16), "tilezero": Tile(0, 0, 0, 1),
    "ldtilecfg": Tile(200, 1, 0, 8), "sttilecfg": Tile(19, 0, 1, 8), "tilerelease": Tile(13, 0, 0, 1),
}
TDP_LATENCY = 52

ELIMINATED_MOVE = re.compile(r"(mov|mov[lq]|v?mov(dq[au](8|16|32|64)?|[au]p[sd])) %(?!k)\w+,%(?!k)\w+$")
NO_UOPS = re.compile(r"(nop|endbr|data16|cs nop|xchg %ax,%ax|vzeroupper)")
ZERO_IDIOM = re.compile(r"(?:xorl?|subl?|v?pxor[dq]?|v?xorp[sd]) (%\w+),\1(?:,%\w+)?$")
# The 512-bit unit of port 5 that servers have and LLVM's model lacks: floating-point add, multiply, FMA; integer multiply; conversions.
SERVER_PORT_5 = re.compile(r"v(fn?m(add|sub)|fmaddsub|fmsubadd|(add|sub|mul|max|min)p[sdh]|pdp|pmul|pmadd|cvt|rndscalep|scalefp|getexpp"
                           r"|getmantp|reducep|rangep|fixupimmp|plzcnt)")
BROADCAST = re.compile(r"^v(p?broadcast|pmov[sz]x)|\{1to")
STORE = re.compile(r",[^,(]*\([^)]*\)(\{.*)?$")


class Table:
    """Instruction texts to uops. LLVM is asked once for each text."""

    def __init__(self):
        self._tool, self._answers = llvm_mca.find(), {}

    def learn(self, texts):
        """Asks for many texts at once: a call of llvm-mca takes a while."""
        new = {t for t in texts if t not in self._answers and not tile_entry(t)}
        if new:
            self._answers |= llvm_mca.ask(self._tool, new)

    def uops(self, text, rows=FULL_TILE):
        """Uops of an instruction, None if the model does not know it."""
        if tile := tile_entry(text):
            return _tile_uops(text, tile, rows)
        if NO_UOPS.match(text) or ELIMINATED_MOVE.match(text) or ZERO_IDIOM.match(text):
            return Uops(1, {}, 0, 0)  # an issue slot only
        if text not in self._answers:
            self.learn([text])
        answer = self._answers[text]
        return None if answer is None else _from_llvm(text, answer)


def tile_entry(text):
    return next((entry for name, entry in TILE.items() if text.startswith(name)), None)


def _tile_uops(text, tile, rows):
    share = rows / FULL_TILE
    ports = {(WIDE_LOAD, "512"): tile.loads, ((4,), "512"): tile.stores, ((9,), "512"): tile.stores, (STORE_ADDRESS, "512"): tile.stores}
    slots = max(1, tile.slots * share)
    return Uops(slots, {k: n * share for k, n in ports.items() if n}, tile.tmul * share, TDP_LATENCY if text.startswith("tdp") else 0)


def _from_llvm(text, answer):
    width = "512" if "%zmm" in text else "vector" if re.search(r"%[xy]mm", text) else "scalar"
    return Uops(_slots(text, answer), _server_ports(text, width, _whole_uops(tuple(sorted(answer.usage.items())))), 0, answer.latency)


def _slots(text, answer):
    """A load and its operation, a store's address and data are one slot; not a three-operand vector form with an indexed address."""
    indexed = re.search(r"\([^)]*,[^)]*\)", text)
    operands = len(re.findall(r"%\w+|\$|\(", re.sub(r"\([^)]*\)", "(", text)))
    unlaminated = indexed and text[0] == "v" and operands >= 3
    fused = (answer.loads and answer.uops > 1 and not unlaminated) + (answer.stores and answer.uops > 1)
    return max(1, answer.uops - fused)


MOST_UOPS = 6  # of an instruction that is no microcode
DOMAINS = (ALU, LOAD, STORE_DATA, STORE_ADDRESS)
GROUPS = [g for size in (5, 4, 3, 2, 1) for g in itertools.combinations(ALU, size)]
GROUPS += [LOAD, STORE_DATA, STORE_ADDRESS, WIDE_LOAD] + [(p,) for p in (2, 3, 4, 7, 8, 9, 11)]


@functools.lru_cache(maxsize=None)
def _whole_uops(usage):
    """{ports: uops} from averages: 0.5 on p0 and on p5 is one uop that can take either."""
    found = collections.Counter()
    for domain in DOMAINS:
        part = {port: n for port, n in usage if port in domain and n > 0.001}
        if not part:
            continue
        least = min(part.values())
        if len(part) == len(domain) and max(part.values()) - least < 0.01:
            found[domain] += least * len(domain)
        else:
            groups = _fewest_groups(part, GROUPS, MOST_UOPS) if sum(part.values()) < MOST_UOPS + 0.1 else None
            found.update(groups or {(p,): n for p, n in part.items()})  # microcode: port by port
    return dict(found)


def _fewest_groups(left, groups, depth):
    if all(n < 0.02 for n in left.values()):
        return {}
    if depth == 0:
        return None
    for at, group in enumerate(groups):
        if all(left.get(port, 0) > 1 / len(group) - 0.02 for port in group):
            n = 1 if len(group) > 1 else max(1, int(left[group[0]] + 0.02))
            rest = {port: u - n / len(group) if port in group else u for port, u in left.items()}
            found = _fewest_groups(rest, groups[at:], depth - 1)
            if found is not None:
                return found | {group: found.get(group, 0) + n}
    return None


def _server_ports(text, width, uops):
    """Adds the width, and what a server core with 512-bit units does differently."""
    found = collections.Counter()
    for ports, n in uops.items():
        arithmetic = set(ports) <= set(ALU)
        if width == "512" and arithmetic:  # p0, which then takes p1's vector lanes, and p5
            ports = tuple(p for p in ports if p != 1) or (0,)
            if ports == (0,) and SERVER_PORT_5.match(text):
                ports = (0, 5)
        elif width == "512" and ports == LOAD and not BROADCAST.search(text):
            ports = WIDE_LOAD
        elif width == "512" and ports == STORE_DATA and STORE.search(text):  # 64-byte stores: one a cycle, by both ports
            found[((4,), "scalar")] += n
            ports = (9,)
        found[(ports, width if arithmetic else "scalar")] += n
    return dict(found)
