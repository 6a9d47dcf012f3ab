"""The loop of a kernel in which its tile products run."""
import collections
import re

from .dependences import Addresses, step

Loop = collections.namedtuple("Loop", "function body products share")  # body: addresses; products: a pass; share: of all tile products


def tile_loop(counts, program):
    """The innermost loop that runs at least half of a region's tile products; None if there is none."""
    products = {a: c.times for a, c in counts.items() if a in program and program[a].text.startswith("tdp")}
    total, found, addresses = sum(products.values()), [], sorted(counts)
    for address, target in _backward_jumps(counts, program):
        here = [products[a] for a in products if target <= a <= address]
        if here and 2 * sum(here) >= total:
            body = [a for a in addresses if target <= a <= address and 2 * counts[a].times >= counts[address].times]
            found.append(Loop(program[address].function, body, len(here), sum(here) / total))
    return min(found, key=lambda loop: len(loop.body), default=None)


def _backward_jumps(counts, program):
    for address in counts:
        jump = re.match(r"j\w+\s+([0-9a-f]+) ", program[address].text) if address in program else None
        if jump and int(jump[1], 16) < address and program[address].function == getattr(program.get(int(jump[1], 16)), "function", None):
            yield address, int(jump[1], 16)


def passes(loop, program):
    """Yields the Steps of one pass through the loop after the other, addresses as they are then."""
    addresses = Addresses()
    for address, instruction in program.items():
        if instruction.function == loop.function and address < loop.body[0]:
            addresses.follow(instruction.text)
    while True:
        steps = []
        for address in loop.body:
            text = program[address].text
            steps.append(step(text, addresses.location(text)))
            addresses.follow(text)
        yield steps
