"""Makes tables of the samples, and holds the gateway against its goals."""

from statistics import median

# What the gateway may cost at most, as a part of what a peer costs.
GOALS = {
    "get100": {"nginx": 1.05, "haproxy": 1.00, "axum-reverse-proxy": 0.65, "pingora": 0.60, "envoy": 0.35},
    "get100-512": {"nginx": 1.10},
    "get100-2w": {"nginx": 1.10},
    "get10k": {"nginx": 0.95},
    "get1m": {"nginx": 0.45},
    "post4k": {"nginx": 0.85},
}
# The peers whose ratios the tables show.
AGAINST = ("nginx", "haproxy", "envoy", "l4")


def table(head, rows):
    """Markdown, with columns of even width."""
    rows = [head, *rows]
    widths = [max(len(row[n]) for row in rows) for n in range(len(head))]
    def line(row):
        cells = [cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths))]
        return f"| {' | '.join(cells)} |"
    rule = "|".join("-" * (w + 2) if n == 0 else "-" * (w + 1) + ":" for n, w in enumerate(widths))
    return "\n".join([line(head), f"|{rule}|", *(line(row) for row in rows[1:])])


def ratio(samples, peer, other):
    """Median of the rounds' ratios: both peers of a round were measured shortly after one another."""
    if peer not in samples or other not in samples:
        return None
    return median(a.cpu / b.cpu for a, b in zip(samples[peer], samples[other]))


def duration(micros):
    return f"{micros / 1000:.1f} ms" if micros >= 1000 else f"{micros:.0f} µs"


def workload_table(samples):
    others = [other for other in AGAINST if other in samples]
    # h2load knows no percentiles.
    times = [name for name in ("p50", "p99") if all(sample.p50 is not None for of in samples.values() for sample in of)]
    head = ["", "CPU µs", "min..max", *others, "requests/s", "core", *times, "errors"]
    rows = []
    for peer, rounds in samples.items():
        cpu = [sample.cpu for sample in rounds]
        middle = {name: median(getattr(sample, name) for sample in rounds) for name in ("rate", "core", *times)}
        rows.append([
            peer, f"{median(cpu):.1f}", f"{min(cpu):.1f}..{max(cpu):.1f}",
            *(f"{ratio(samples, peer, other):.2f}" for other in others),
            f"{middle['rate']:.0f}", f"{middle['core']:.0%}", *(duration(middle[name]) for name in times),
            str(sum(sample.errors for sample in rounds)),
        ])
    return table(head, rows)


def memory_table(memory):
    head = ["MiB", "started", "512 busy", "idle", "idle connections", "KiB each", "note"]
    rows = []
    for peer, held in memory.items():
        each = (held["idle"] - held["started"]) / max(held["connections"], 1)
        rows.append([
            peer, *(f"{held[name] / 1024:.1f}" for name in ("started", "busy", "idle")),
            str(held["connections"]), f"{each:.1f}", held["note"],
        ])
    return table(head, rows)


def goals(results, gateway):
    """(workload, peer, limit, ratio or None) of each goal whose workload was measured."""
    return [
        (workload, peer, limit, ratio(samples, gateway, peer))
        for workload, samples in results.items() if workload in GOALS
        for peer, limit in GOALS[workload].items()
    ]


def goal_table(found):
    rows = []
    for workload, peer, limit, measured in found:
        # The mark is of the figure as it is, not as it is rounded for the table.
        mark = "not measured" if measured is None else "pass" if measured <= limit else "MISS"
        rows.append([workload, peer, f"{limit:.2f}", "" if measured is None else f"{measured:.3f}", mark])
    return table(["gateway", "against", "goal", "ratio", ""], rows)
