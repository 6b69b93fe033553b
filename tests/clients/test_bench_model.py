#!/usr/bin/env python3
"""`shoal bench model|reduce|scaling` on a small made-up model: what the reports promise, whatever
the speed.

    test_bench_model.py SHOAL_BINARY [--quick]

Every number is finite, parts of a step sum to the step, and ranks, threads, mpirun and emulation
give the same bits. Whatever ends a bench, its made-up model is gone. --quick runs fewer benches.
"""
import math
import os
import shutil
import signal
import subprocess
import time

import harness
import processes

KEYS = ["name", "value", "unit", "limit", "fraction", "spread"]
TINY = ("--shape", "tiny")


class Model:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("bench model, reduce, scaling")
        self.digests = set()

    def run(self, *words, launch=()):
        """The JSON of a bench with its temporary files in the scratch folder."""
        environment = {"TMPDIR": self.scratch}
        if launch or words[0] == "reduce":  # Open MPI keeps memory until the process ends
            environment["ASAN_OPTIONS"] = "detect_leaks=0"
        if not launch:
            document = self.shoal.must("bench", *words, "--json", env=environment).json()
        else:
            runner = harness.Shoal(shutil.which(launch[0]))
            document = runner.must(*launch[1:], self.shoal.binary, "bench", *words, "--json",
                                   env=environment).json()
        self.nothing_left(" ".join(words))
        return document

    def nothing_left(self, label):
        left = [name for name in os.listdir(self.scratch) if name.startswith("shoal-run-")]
        self.report.check(not left, f"{label}: still there: {left}")

    def rows(self, document, names):
        """By name; all that are expected, in order, with finite values."""
        check = self.report.check
        rows = document["rows"]
        check([r["name"] for r in rows] == names, f"rows: {[r['name'] for r in rows]}")
        check(all(list(r) == KEYS for r in rows), f"keys of a row: {list(rows[0])}")
        for row in rows + document["yardsticks"]:
            value = row["value"]
            check(isinstance(value, (int, float)) and math.isfinite(value) and value >= 0,
                  f"{row['name']}: {value}")
        return {r["name"]: r for r in rows}

    def limits(self, rows):
        for row in rows.values():
            good = all(isinstance(row[key], (int, float)) and row[key] > 0
                       for key in ("value", "limit", "fraction"))
            self.report.check(good, f"without a limit: {row}")

    # --- model

    def model(self):
        document = self.run("model", *TINY, "-n", "1", "--threads", "2")
        self.report.check(list(document) == ["machine", "yardsticks", "rows", "kernels"],
                          f"keys of the report: {list(document)}")
        names = ["load.tiny"] + [f"model.{w}.r1t2" for w in (
            "decode.tiny", "prefill.tiny", "decode.tiny.b8", "decode.tiny.b32")]
        self.limits(self.rows(document, names))
        yards = {y["name"]: y["unit"] for y in document["yardsticks"]}
        self.report.check(yards.get("read.t2") == "GB/s" and
                          any(n.startswith("peak.") and n.endswith(".t2") for n in yards),
                          f"yardsticks: {yards}")

    def files(self):
        """A load reads what the plan says; a conversion stays within its memory."""
        document = self.run("load", *TINY, "-n", "1", "--threads", "2")
        rows = self.rows(document, ["load.tiny.r1t2" + tail
                                    for tail in ("", ".kept", ".seconds", ".bytes")])
        self.report.check(rows["load.tiny.r1t2.bytes"]["fraction"] == 1, f"read: {rows}")
        document = self.run("convert", *TINY, "--to", "gptq_v2", "--threads", "2")
        rows = self.rows(document, ["convert.tiny.gptq_v2" + tail
                                    for tail in ("", ".seconds", ".sync", ".memory")])
        self.report.check(rows["convert.tiny.gptq_v2.memory"]["fraction"] <= 1, f"memory: {rows}")

    def given_model(self):
        folder = os.path.join(self.scratch, "plot")
        document = self.run("model", harness.INT4, "-n", "2", "--plot", folder)
        label = os.path.basename(harness.INT4)
        names = [f"load.{label}"] + [f"model.{w}.r2t1" for w in (
            f"decode.{label}", f"prefill.{label}", f"decode.{label}.b8", f"decode.{label}.b32")]
        rows = self.rows(document, names)
        with open(os.path.join(folder, "model.dat"), encoding="ascii") as file:
            drawn = [line.split()[0] for line in file if not line.startswith("#")]
        self.report.check(drawn == list(rows), f"model.dat: {drawn}")

    def profile(self):
        document = self.run("model", *TINY, "--profile", "-n", "2", "--threads", "1")
        profile = document["profile"]
        self.report.check(list(profile) == ["decode", "prefill"], f"phases: {list(profile)}")
        for phase, about in profile.items():
            lines = {line["name"]: line for line in about["lines"]}
            share = sum(line["share"] for line in lines.values())
            ms = sum(line["ms"] for line in lines.values())
            self.report.check(abs(share - 1) < 1e-6 and abs(ms / about["step_ms"] - 1) < 1e-6,
                              f"{phase}: shares sum to {share}, {ms} of {about['step_ms']} ms")
            named = {"embed", "rope", "norm", "qkv", "attention", "o", "gate_up", "down",
                     "lm_head", "reduce", "waiting", "other", "outside"}
            self.report.check(set(lines) == named, f"{phase}: lines {sorted(lines)}")
            self.report.check(lines["down"]["calls"] == 2 and lines["norm"]["calls"] == 6,
                              f"{phase}: calls of a step: {lines['down']}, {lines['norm']}")
        self.rows(document, [f"profile.{p}.tiny.r2t1.{line['name']}" for p in profile
                             for line in profile[p]["lines"]])

    # --- scaling

    def scaling_rows(self, document, setups):
        names = []
        for ranks, threads in setups:
            head = f"scaling.tiny.r{ranks}t{threads}"
            names.append(head)
            names += [f"{head}.rank{r}.{part}" for r in range(ranks)
                      for part in ("compute", "reduce", "waiting")]
        proof = document["proof"]
        self.report.check(proof["setups"] == len(setups) and proof["tokens"] > 0 and
                          proof["logit_rows"] > 0, f"proof: {proof}")
        self.digests.add(proof["digest"])
        return self.rows(document, names)

    def scaling(self):
        threads = len(os.sched_getaffinity(0))
        setups = [(1, 1)] + [(n, max(1, threads // n)) for n in (1, 2, 3, 4)]
        setups = list(dict.fromkeys(setups))
        rows = self.scaling_rows(self.run("scaling", *TINY), setups)
        for ranks, each in setups:
            head = f"scaling.tiny.r{ranks}t{each}"
            step = 1e3 / rows[head]["value"]
            for r in range(ranks):
                parts = [rows[f"{head}.rank{r}.{part}"]["value"]
                         for part in ("compute", "reduce", "waiting")]
                # The parts are means and the step a median, so their ratio is only told.
                self.report.check(parts[0] > 0 and min(parts) >= 0, f"{head}, rank {r}: {parts}")
                self.report.note(f"{head}, rank {r}: {sum(parts):.3f} ms of {step:.3f}")

    def launched(self):
        launch = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3"]
        self.scaling_rows(self.run("scaling", *TINY, "--threads", "1", launch=launch), [(3, 1)])
        self.scaling_rows(self.run("scaling", *TINY, "--emulate-ranks", "5", "--threads", "1"),
                          [(5, 1)])
        self.report.check(len(self.digests) == 1, f"digests differ: {self.digests}")
        document = self.run("model", *TINY, "--profile", launch=launch)
        share = sum(line["share"] for line in document["profile"]["decode"]["lines"])
        self.report.check(abs(share - 1) < 1e-6, f"launched: shares sum to {share}")

    # --- reduce

    def reduce(self):
        launch = ["mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "3"]
        names = [f"reduce.{n}.r3{s}" for n in (2048, 4096, 8192)
                 for s in ("", ".mean", ".p99", ".max")]
        for way in (self.run("reduce", "-n", "3"), self.run("reduce", launch=launch)):
            rows = self.rows(way, names)
            self.limits(rows)
            for n in (2048, 4096, 8192):
                p50, p99, most = (rows[f"reduce.{n}.r3{s}"]["value"] for s in ("", ".p99", ".max"))
                self.report.check(p50 <= p99 <= most, f"reduce.{n}: {p50}, {p99}, {most}")

    # --- ends

    def interrupted(self):
        run = processes.Run(self.shoal, ["bench", "scaling", "--shape", "1b"],
                            {"TMPDIR": self.scratch})
        run.wait_until(lambda: "writing" in run.err())
        time.sleep(0.1)
        os.kill(run.process.pid, signal.SIGTERM)
        code = run.end(30)
        self.report.check(code == -signal.SIGTERM, f"interrupted: exit {code}: {run.err()}")
        self.nothing_left("interrupted")
        run.sweep()

    def bad_model(self):
        answer = self.shoal.run("bench", "model", os.path.join(self.scratch, "no-model"))
        self.report.check(answer.code == 66, f"no model: {answer.said()}")

    def run_all(self, quick):
        mpirun = shutil.which("mpirun")
        works = (self.model, self.files, self.given_model, self.profile, self.scaling,
                 self.launched, self.reduce, self.interrupted, self.bad_model)
        if quick:
            works = (self.profile, self.launched, self.interrupted, self.bad_model)
        for work in works:
            if work in (self.scaling, self.given_model, self.launched, self.reduce) and not mpirun:
                self.report.skip(f"{work.__name__}: no mpirun")
                continue
            try:
                self.report.guarded(work.__name__, work)
            except subprocess.SubprocessError as error:
                self.report.check(False, f"{work.__name__}: {error}")
        return self.report.exit_code()


def check(shoal, scratch, options):
    return Model(shoal, scratch).run_all("--quick" in options)


if __name__ == "__main__":
    raise SystemExit(harness.main(check))
