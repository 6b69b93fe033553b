"""Ratios of rounds, and how they are shown. Pure."""
import statistics

HEAD = """\
| row | Shoal | {title} | unit | ratio | of the rounds | target | |
|---|---|---|---|---|---|---|---|"""


def summary(name, ours, theirs, target):
    """A row from the values of each round, those of one round measured one after the other; None
    when no round has both."""
    pairs = [(a[name], b[name]) for a, b in zip(ours, theirs) if name in a and name in b]
    if not pairs:
        return None
    ratios = [a / b for a, b in pairs]
    ratio = statistics.median(ratios)
    return {"name": name, "shoal": statistics.median(a for a, _ in pairs),
            "rival": statistics.median(b for _, b in pairs), "ratio": ratio,
            "least": min(ratios), "most": max(ratios), "target": target,
            "met": None if target is None else ratio >= target}


def table(title, unit, rows):
    lines = [HEAD.format(title=title)]
    for row in rows:
        target = "-" if row["target"] is None else f"≥ {row['target']:g}"
        verdict = {None: "", True: "met", False: "below"}[row["met"]]
        lines.append(f"| {row['name']} | {row['shoal']:.4g} | {row['rival']:.4g} | {unit} "
                     f"| **{row['ratio']:.2f}** | {row['least']:.2f}–{row['most']:.2f} "
                     f"| {target} | {verdict} |")
    return "\n".join(lines)
