"""A rough out-of-order schedule of a tile loop: latencies and dependences, which the bounds leave out. Not validated on hardware."""
import collections
import dataclasses
import heapq
import itertools
import math
import re

from .dependences import register
from .loops import passes
from .uops import ALU, FULL_TILE, LOAD, STORE_DATA, TDP_LATENCY, TILE, WIDE_LOAD, Uops


@dataclasses.dataclass(frozen=True)
class Core:
    """In cycles, entries and uops a cycle. The defaults: operands in L1 but for A, whose tiles come from L2; tile registers are renamed."""
    width: int = 6
    reorder: int = 512
    vector_scheduler: int = 97
    load_scheduler: int = 70
    tile_load_latency: int = 45  # from L1
    vector_load_latency: int = 7
    a_tile: int = 22  # least distance of two tiles of A: L2's bandwidth
    store_to_load: int = 12  # from the end of a tile store to a load of what it stored
    renamed: bool = True


# busy: percent of the cycles that TMUL works; forwarded: row loads of a pass that wait for a tile store
Schedule = collections.namedtuple("Schedule", "cycles busy forwarded")


def schedule(loop, program, table, core=Core(), count=14):
    """Runs `count` passes of the loop and looks at the second half of them."""
    run, ends = _Run(core, table, _a_tiles(loop, program)), []
    for steps in itertools.islice(passes(loop, program), count):
        for step in steps:
            run.step(step)
        ends.append(run.tmul_free)
    half = count // 2
    cycles = (ends[-1] - ends[half - 1]) / (count - half)
    return Schedule(cycles, 100 * TILE["tdp"].tmul * loop.products / cycles, run.forwarded / count)


def _a_tiles(loop, program):
    """The tile registers that products take as A: the middle operand."""
    return {f"t{m[1]}" for a in loop.body if (m := re.match(r"tdp\w+ +%tmm\d,%tmm(\d)", program[a].text))}


class _Run:
    def __init__(self, core, table, a_tiles):
        self.core, self.table, self.a_tiles = core, table, a_tiles
        self.busy = collections.defaultdict(set)  # port: cycles
        self.ready = collections.defaultdict(float)  # register: when its value is there
        self.last_read = collections.defaultdict(float)  # tile register: when its readers are done
        self.stored = {}  # location of a row: when it can be loaded
        self.in_flight, self.in_flight_slots, self.retired = collections.deque(), 0, 0.0
        self.vector_waiting, self.load_waiting = [], []  # when each entry of a scheduler is free again
        self.now = self.tmul_free = self.tile_loads_free = self.tile_stores_free = 0.0
        self.forwarded = 0

    def step(self, step):
        name = step.text.split(" ")[0]
        kinds = {"tdp": self._product, "tileload": self._tile_load, "tilestore": self._tile_store, "tilezero": self._tile_zero}
        next((f for kind, f in kinds.items() if name.startswith(kind)), self._other)(step)

    def _dispatch(self, slots, waiting=None, entries=0):
        """When the front end, the reorder buffer and a scheduler have room for an instruction."""
        self.now += slots / self.core.width
        while self.in_flight and self.in_flight_slots + slots > self.core.reorder:
            n, end = self.in_flight.popleft()
            self.in_flight_slots -= n
            self.now = max(self.now, end)
        while waiting is not None and len(waiting) >= entries:
            self.now = max(self.now, heapq.heappop(waiting))
        return self.now

    def _finish(self, slots, end):
        self.retired = max(self.retired, end)  # in order
        self.in_flight.append((slots, self.retired))
        self.in_flight_slots += slots

    def _port(self, ports, earliest):
        """The first cycle in which one of the ports is free, and takes it."""
        for cycle in itertools.count(math.ceil(earliest)):
            for port in ports:
                if cycle not in self.busy[port]:
                    self.busy[port].add(cycle)
                    return cycle

    def _product(self, step):
        b, a, c = _tiles(step)
        dispatched = self._dispatch(1, self.vector_waiting, self.core.vector_scheduler)
        start = max(dispatched, self.ready[a], self.ready[b], self.ready[c], self.tmul_free)
        heapq.heappush(self.vector_waiting, start)
        self.tmul_free = start + TILE["tdp"].tmul
        for tile in (a, b):
            self.last_read[tile] = max(self.last_read[tile], self.tmul_free)
        self.ready[c] = start + TDP_LATENCY
        self._finish(1, self.ready[c])

    def _tile_load(self, step):
        tile, slots = step.writes, TILE["tileloadd"].slots
        start = max(self._dispatch(slots, self.load_waiting, self.core.load_scheduler), self.tile_loads_free)
        if not self.core.renamed:
            start = max(start, self.last_read[tile], self.ready[tile] - TDP_LATENCY + FULL_TILE)
        cycles = [start]
        for _ in range(int(TILE["tileloadd"].loads)):
            cycles.append(self._port(WIDE_LOAD, cycles[-1]))
        last = cycles[-1]
        self.tile_loads_free = max(last, start + self.core.a_tile) if tile in self.a_tiles else last
        self.ready[tile] = max(last + self.core.tile_load_latency - 9, cycles[1] + self.core.tile_load_latency)
        heapq.heappush(self.load_waiting, last)
        self._finish(slots, self.ready[tile])

    def _tile_store(self, step):
        (tile,), slots = _tiles(step), TILE["tilestored"].slots
        end = max(self._dispatch(slots, self.load_waiting, self.core.load_scheduler), self.ready[tile], self.tile_stores_free)
        for _ in range(TILE["tilestored"].stores):
            end = self._port((4,), end)
        self.tile_stores_free = end
        self.last_read[tile] = max(self.last_read[tile], end + 1)
        if step.location:
            for row in range(FULL_TILE):
                self.stored[step.location.symbol, step.location.offset + 64 * row] = end + 1 + self.core.store_to_load
        self._finish(slots, end + 1)

    def _tile_zero(self, step):
        tile, start = step.writes, self._dispatch(1)
        self.ready[tile] = start + 1 if self.core.renamed else max(start + 1, self.last_read[tile])
        self._finish(1, self.ready[tile])

    def _other(self, step):
        uops = self.table.uops(step.text) or Uops(1, {}, 0, 1)
        start = self._dispatch(uops.slots, self.vector_waiting, self.core.vector_scheduler)
        loads = [ports for ports, _ in uops.ports if set(ports) <= set(LOAD)]
        stores = [ports for ports, _ in uops.ports if set(ports) <= set(STORE_DATA)]
        arithmetic = [(ports, n) for (ports, _), n in uops.ports.items() if set(ports) <= set(ALU)]
        loaded = self._load(loads[0], step, start) if loads else start
        begin = end = max([start, loaded] + [self.ready[r] for r in step.reads])
        for ports, n in arithmetic:
            for _ in range(round(n)):
                end = max(end, self._port(ports, begin))
        heapq.heappush(self.vector_waiting, end)
        if arithmetic:
            end += max(1, uops.latency - (self.core.vector_load_latency if loads else 0))
        if stores:
            end = self._port(stores[0], end) + 1
        if step.writes:
            self.ready[step.writes] = end
        self._finish(uops.slots, end)

    def _load(self, ports, step, start):
        start = max([start] + [self.ready[r] for r in step.address_reads])
        at = step.location and (step.location.symbol, step.location.offset)
        if at in self.stored:
            start = max(start, self.stored[at])
            self.forwarded += 1
        return self._port(ports, start) + self.core.vector_load_latency


def _tiles(step):
    """Tile registers in the order of the text: B, A and C of a product."""
    return [register(name) for name in re.findall(r"%tmm\d", step.text)]
