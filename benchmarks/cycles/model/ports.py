"""The least time in which uops fit their ports: a linear program, solved exactly."""

TOLERANCE = 1e-9


def least_time(uops):
    """Least T such that uops {(ports, width): n} fit their ports in T cycles; a 512-bit uop on p0 takes p1 from other vector uops.

    Solved through its dual: prices on the ports, of sum 1; each class of uops pays its cheapest port; what is paid in all is maximised.
    All limits but one are 0, so the simplex can start at the origin.
    """
    uops = {key: n for key, n in uops.items() if n > 0}
    if not uops:
        return 0.0
    scale = float(max(uops.values()))
    prices = {port: i for i, port in enumerate(sorted({p for ports, _ in uops for p in ports}) + ["lanes of p1"])}
    rows = []
    for c, (ports, width) in enumerate(uops):
        for port in ports:
            row = [0.0] * (len(prices) + len(uops))
            row[len(prices) + c] = 1.0
            row[prices[port]] -= 1.0
            if (width, port) in (("512", 0), ("vector", 1)):
                row[prices["lanes of p1"]] -= 1.0
            rows.append(row)
    limits = [0.0] * len(rows) + [1.0]
    rows.append([1.0] * len(prices) + [0.0] * len(uops))
    return scale * maximum(rows, limits, [0.0] * len(prices) + [n / scale for n in uops.values()])


def maximum(rows, limits, gains):
    """max gains * x with rows * x <= limits, x >= 0, where limits >= 0: the simplex method with Bland's rule."""
    m, n = len(rows), len(gains)
    table = [list(row) + [float(i == j) for j in range(m)] + [limits[i]] for i, row in enumerate(rows)]
    cost, basis = [-g for g in gains] + [0.0] * (m + 1), list(range(n, n + m))
    while (enter := next((j for j in range(n + m) if cost[j] < -TOLERANCE), None)) is not None:
        ratios = [(table[i][-1] / table[i][enter], basis[i], i) for i in range(m) if table[i][enter] > TOLERANCE]
        least = min(ratios)[0]
        leave = min((r for r in ratios if r[0] <= least + 1e-12), key=lambda r: r[1])[2]
        pivot = table[leave][enter]
        table[leave] = [v / pivot for v in table[leave]]
        for other in table[:leave] + table[leave + 1:] + [cost]:
            if factor := other[enter]:
                other[:] = [a - factor * b for a, b in zip(other, table[leave])]
        basis[leave] = enter
    return cost[-1]
