#!/usr/bin/env python3
"""`scripts/bench_rivals`: its side of Shoal is what the benches report; its ratios.

    test_rivals.py SHOAL_BINARY

No rival is installed or run.
"""
import math
import os
import sys
import types

import harness

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.append(os.path.join(ROOT, "scripts"))
from rivals import contenders, report, workload  # noqa: E402

WORK = types.SimpleNamespace(threads=1)


class Rivals:
    def __init__(self, shoal):
        self.shoal, self.report = shoal, harness.Report("bench_rivals: what it compares")

    def positive(self, rows, names):
        self.report.check(set(rows) >= set(names), f"{sorted(rows)} lacks some of {names}")
        for name, value in rows.items():
            self.report.check(math.isfinite(value) and value > 0, f"{name} is {value}")

    def whole_models(self):
        ours = contenders.Shoal("shoal", "model")
        document = self.shoal.must(*ours.command("tiny", WORK)[1:]).out
        self.positive(ours.read(document)[1], workload.rows("model", "tiny"))

    def a_linear(self):
        """One M of those the command would measure."""
        ours = contenders.Shoal("shoal", "linear")
        command = [part.replace(".*", "m1.*") for part in ours.command("4096", WORK)[1:]]
        document = self.shoal.must(*command).out
        self.positive(ours.read(document)[1], [workload.linear_row(4096, 1)])

    def ratios(self):
        check = self.report.check
        ours, theirs = [{"a": 2}, {"a": 9}, {"a": 5}, {}], [{"a": 1}, {"a": 3}, {}, {"a": 1}]
        row = report.summary("a", ours, theirs, 2.5)
        check((row["ratio"], row["least"], row["most"]) == (2.5, 2, 3), f"ratios: {row}")
        check(row["met"] is True, "2.5 meets 2.5")
        check(report.summary("a", ours, theirs, 2.6)["met"] is False, "2.5 does not meet 2.6")
        check(report.summary("a", ours, theirs, None)["met"] is None, "no target, no verdict")
        check(report.summary("b", ours, theirs, 1) is None, "nobody has b")
        check("**2.50**" in report.table("them", "GOPS", [row]), "the table shows the ratio")

    def targets_name_rows(self):
        for name, rival in contenders.RIVALS.items():
            known = workload.rows(rival.group, "1b")
            self.report.check(set(rival.targets) <= set(known), f"{name}: a target for no row")


def check(shoal, _, __):
    rivals = Rivals(shoal)
    rivals.ratios()
    rivals.targets_name_rows()
    rivals.report.guarded("model", rivals.whole_models)
    rivals.report.guarded("linear", rivals.a_linear)
    return rivals.report.exit_code()


if __name__ == "__main__":
    raise SystemExit(harness.main(check))
