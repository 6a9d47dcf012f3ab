"""Bounds of executed instructions, in core cycles: one for each resource, and two for all of them together."""
import collections

from .ports import least_time
from .uops import ALU, LOAD, STORE_ADDRESS, STORE_DATA, Uops

ISSUE_WIDTH = 6

# resources: {name: cycles}; perfect: all overlaps, nothing is faster; serial: tile products and all the rest in turn;
# unknown: {text: times}
Bounds = collections.namedtuple("Bounds", "resources perfect serial unknown")


def bounds(executed, table):
    table.learn({e.text for e in executed})
    slots, tmul, work, unknown = 0.0, 0.0, collections.Counter(), collections.Counter()
    for e in executed:
        uops = table.uops(e.text, e.rows)
        if uops is None:
            unknown[e.text] += e.times
            uops = Uops(1, {}, 0, 0)
        if e.fused:  # one uop with the jump, which is counted there; what it loads stays
            uops = uops._replace(slots=0, ports={key: n for key, n in uops.ports.items() if not _arithmetic(*key)})
        slots += e.times * uops.slots
        tmul += e.times * uops.tmul
        for key, n in uops.ports.items():
            work[key] += e.times * n
    resources = {"TMUL": tmul, "front end": slots / ISSUE_WIDTH, **_by_resource(work)}
    rest = max(least_time(work), resources["front end"])
    return Bounds(resources, max(tmul, rest), tmul + rest, dict(unknown))


def _arithmetic(ports, _width):
    return set(ports) <= set(ALU)


def _by_resource(work):
    chosen = {
        "vector ports": lambda ports, width: _arithmetic(ports, width) and width != "scalar",
        "scalar ALU": lambda ports, width: _arithmetic(ports, width) and width == "scalar",
        "ALU + vector": _arithmetic,
        "loads": lambda ports, _: set(ports) <= set(LOAD),
        "stores": lambda ports, _: set(ports) <= set(STORE_DATA + STORE_ADDRESS),
    }
    return {name: least_time({key: n for key, n in work.items() if test(*key)}) for name, test in chosen.items()}


def largest(resources):
    """The resource that bounds a kernel."""
    return max(resources, key=resources.get)
