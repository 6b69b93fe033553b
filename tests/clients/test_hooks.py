#!/usr/bin/env python3
"""Faults on demand (worker/fault.h): absent from a release; elsewhere, one at every place.

    test_hooks.py SHOAL_BINARY ON|OFF

OFF: nothing of the hooks is in the program. ON: a rank of three is killed and returns an error at
every phase, exits at some, and in a step also stands still in three ways. The program ends in time
with the documented code and a sentence, and leaves no process and no file. Faults of other ranks
and generations, and a rank that is only slow, change nothing.
"""
import os
import re
import sys
import time

import harness
from processes import Run, living

RANKS = 3
END_SECONDS = 15.0
PHASES = ["plan", "read", "pack", "comm_init", "ready", "prefill", "decode", "reduce", "sample",
          "idle", "finalize"]
ENDS = ["read", "decode", "finalize"]  # an exit takes the way of a kill, whatever the phase
KILLED = r"rank {} .*was killed by signal 9"
ASKED = r"a fault was asked for in phase {}"


class Hooks:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("hooks: a fault at every place")
        self.cases = 0

    def run(self, fault):
        """(exit code, seconds, stdout, stderr); what is left behind is a failed check."""
        self.cases += 1
        folder = os.path.join(self.scratch, f"run{self.cases}")
        os.mkdir(folder)
        env = {"TMPDIR": folder, "SHOAL_FAULT": fault}
        begin = time.monotonic()
        run = Run(self.shoal, ["generate", harness.INT4, "--prompt", "Once upon a time there was",
                               "--max-tokens", 8, "--ignore-eos", "-n", RANKS], env)
        try:
            code = run.end()
            took = time.monotonic() - begin
            left = living(run.mark)
            self.report.check(not left, f"{fault}: still alive: {left}")
            names = [n for n in os.listdir(folder) if n not in ("stderr", "stdout")]
            self.report.check(not names, f"{fault}: left in TMPDIR: {names}")
            with open(run.out_path, encoding="utf-8") as f:
                return code, took, f.read(), run.err()
        finally:
            run.sweep()

    def fails(self, fault, codes, sentence):
        code, took, _, err = self.run(fault)
        check = self.report.check
        check(code in codes, f"{fault}: exit {code}, expected {codes}: {err}")
        check(re.search(sentence, err) is not None, f"{fault}: /{sentence}/ is not in: {err}")
        check(took < END_SECONDS, f"{fault}: {took:.1f} s")
        words = err.strip().splitlines()[-1:]
        self.report.note(f"{fault:<52} {code}  {took:5.2f} s  {''.join(words)[:90]}")

    def changes_nothing(self, fault, want):
        code, _, out, err = self.run(fault)
        self.report.check(code == 0 and out == want, f"{fault}: exit {code}: {err}\n{out}")

    def run_all(self):
        guarded = self.report.guarded
        want = self.run("rank=0,phase=decode,act=kill,generation=2")[2]
        self.report.check(want != "", "an undisturbed run says nothing")
        # So early mpirun may not say who it was, and how.
        for phase, act in (("start", "kill"), ("start", "exit1"), ("start", "error"),
                           ("hello", "kill"), ("hello", "exit1")):
            guarded(phase, self.fails, f"rank=1,phase={phase},act={act}", [69, 75],
                    "ended|was killed by signal 9")
        guarded("hello", self.fails, "rank=1,phase=hello,act=error", [74], ASKED.format("hello"))
        for phase in PHASES:
            rank = 0 if phase == "sample" else 1
            where = f"rank={rank},phase={phase},act="
            guarded(phase, self.fails, where + "kill", [75], KILLED.format(rank))
            if phase in ENDS:
                guarded(phase, self.fails, where + "exit1", [75],
                        f"rank {rank} .*ended with code 1")
            guarded(phase, self.fails, where + "error", [74], ASKED.format(phase))
        for act in ("hang", "mute", "stop"):
            guarded(act, self.fails, f"rank=2,phase=decode,step=5,act={act}", [75],
                    r"rank 2 .*(said nothing|is behind the others)")
        guarded("segv", self.fails, "rank=-1,phase=reduce,act=segv", [75], "signal 11")
        guarded("words", self.fails, "phase=decode", [64], "phase and act are needed")
        for fault in ("rank=7,phase=decode,act=kill", "rank=1,phase=decode,act=slow:20",
                      "rank=1,phase=decode,act=kill,token=0"):
            guarded(fault, self.changes_nothing, fault, want)


def absent(shoal):
    report = harness.Report("hooks: absent")
    with open(shoal.binary, "rb") as f:
        program = f.read()
    for word in (b"SHOAL_FAULT", b"shoal_fault", b"a fault was asked for"):
        report.check(word not in program, f"{word.decode()} is in {shoal.binary}")
    return report.exit_code()


def check(shoal, scratch, arguments):
    if arguments[:1] != ["ON"]:
        return absent(shoal)
    # A segmentation fault must look like one.
    os.environ["ASAN_OPTIONS"] = os.environ.get("ASAN_OPTIONS", "") + ":handle_segv=0"
    hooks = Hooks(shoal, scratch)
    hooks.run_all()
    return hooks.report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
