#!/usr/bin/env python3
"""`shoal bench kernels`: the report has what interface.md promises, whatever the speed.

    test_bench_kernels.py SHOAL_BINARY
"""
import math
import os

import harness

# A streamed batch, a slice, a product and attention: one of every kind of limit.
ROWS = "int4-g128.m4.dram.t1|l2|int8-g128.4096x4096|prefill.2k.hd64"
NAMES = ["batch.int4-g128.m4.dram.t1", "gemv.int4-g128.l2.t1", "gemm.int8-g128.4096x4096.m512.t1",
         "attn.prefill.2k.hd64.t1"]
KEYS = ["name", "value", "unit", "limit", "fraction", "spread", "kernel"]


class Kernels:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("bench kernels: the report")

    def numbers(self, rows, keys):
        for row in rows:
            for key in keys:
                x = row[key]
                self.report.check(isinstance(x, (int, float)) and math.isfinite(x) and x > 0,
                                  f"{row['name']}: {key} is {x}")

    def everything(self):
        folder = os.path.join(self.scratch, "plot")
        document = self.shoal.must("bench", "kernels", "--rows", ROWS, "--json",
                                   "--plot", folder).json()
        check = self.report.check
        check(list(document) == ["machine", "yardsticks", "rows"], f"keys: {list(document)}")
        rows, yardsticks = document["rows"], document["yardsticks"]
        check([r["name"] for r in rows] == NAMES, f"rows: {[r['name'] for r in rows]}")
        check(all(sorted(r) == sorted(KEYS) for r in rows), f"keys of a row: {list(rows[0])}")
        check([r["unit"] for r in rows] == ["GB/s", "GB/s", "GOPS", "GOPS"],
              f"units: {[r['unit'] for r in rows]}")
        self.numbers(rows, ("value", "limit", "fraction"))
        self.numbers(yardsticks, ("value",))
        names = {y["name"] for y in yardsticks}
        check({"read.t1", "memcpy.t1", "c.int32.t1", "c.f32.t1"} <= names,
              f"yardsticks: {sorted(names)}")
        for name in ("kernels.dat", "kernels.gp", "roofline.dat"):
            check(os.path.getsize(os.path.join(folder, name)) > 0, f"{name} is missing or empty")

    def a_capped_level(self, level):
        """The rows of that level are measured."""
        answer = self.shoal.run("bench", "kernels", "--rows", "l2", "--json",
                                env={"SHOAL_CPU": level})
        if answer.code == 64 and "lacks" in answer.err:
            self.report.skip(f"this machine has no {level}")
            return
        row = answer.json()["rows"][0]
        self.report.check(row["kernel"].endswith(level), f"SHOAL_CPU={level}: {row['kernel']}")

    def a_table_for_people(self):
        out = self.shoal.must("bench", "kernels", "--rows", "l2").out
        for word in ("yardstick", "kernel", "gemv.int4-g128.l2.t1"):
            self.report.check(word in out, f"the table does not say {word}")


def check(shoal, scratch, _):
    kernels = Kernels(shoal, scratch)
    report = kernels.report
    report.guarded("--json", kernels.everything)
    report.guarded("a table", kernels.a_table_for_people)
    report.guarded("avx2", kernels.a_capped_level, "avx2")
    return report.exit_code()


if __name__ == "__main__":
    raise SystemExit(harness.main(check))
