#!/usr/bin/env python3
"""What happens when a process of a cluster is killed: a sentence, a code, and nothing left behind.

    test_faults.py SHOAL_BINARY [MAKE_MODEL_BINARY] [--quick]

Every case starts `shoal ... -n 3`, waits until it loads or computes, and kills a worker, mpirun or
shoal itself, or stops a worker for good. Then:

    the program ends within a few seconds, with the documented code and a sentence that names who
    died and how; at most 2 s after the kill no process of the run is alive; files of the run are
    gone (unless shoal itself was killed)

Processes of a run are found by a mark in their environment. Without make_model the load is that of
a small model, which is over almost before it can be hit. --quick leaves out victims and signals
that take the same way as others.
"""
import os
import re
import signal
import sys
import time

import harness
import processes

RANKS = 3
GONE_SECONDS = 2.0
END_SECONDS = 40  # the first step of a kind may take 30
PROMPT = "Once upon a time there was"


def loading(run):
    return len(run.workers()) == RANKS and "load" in run.err()


def computing(run):
    """Loaded: the run says so in its log."""
    return len(run.workers()) == RANKS and " ready:" in run.err()


class Faults:
    def __init__(self, shoal, scratch, make_model):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("faults: kills at every place")
        self.cases = 0
        self.big = None
        if make_model:
            self.big = os.path.join(scratch, "big")
            harness.Shoal(make_model).must("llama31-70b", self.big)
        else:
            self.report.skip("no make_model: the load that is hit is very short")

    def arguments(self, phase):
        if phase == "load":
            ids = harness.write_ids(self.scratch, list(range(1, 9)))
            return ["generate", self.big or harness.INT4, "--ids", ids, "-n", RANKS,
                    "--quantize", "int4-g128"]  # a third of it has a place in memory
        return ["generate", harness.INT4, "--prompt", PROMPT, "--max-tokens", 490, "--ignore-eos",
                "-n", RANKS, "--log-level", "info"]

    def start(self, phase):
        """A run that has reached the phase. The reference kernels make steps slow enough to hit."""
        self.cases += 1
        folder = os.path.join(self.scratch, f"run{self.cases}")
        os.mkdir(folder)
        env = {"TMPDIR": folder, "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") +
               ":handle_segv=0"}  # a segmentation fault must look like one
        if phase == "compute":
            env["SHOAL_CPU"] = "ref"
        run = processes.Run(self.shoal, self.arguments(phase), env)
        run.wait_until(lambda: {"load": loading, "compute": computing}[phase](run))
        return run, folder

    def after(self, label, run, folder, killed_at, codes, sentence, files_gone=True):
        check = self.report.check
        code = run.end()
        took = time.monotonic() - killed_at
        check(code in codes, f"{label}: exit {code}, expected {codes}: {run.err()}")
        check(re.search(sentence, run.err()) is not None,
              f"{label}: /{sentence}/ is not in: {run.err()}")
        rest = GONE_SECONDS - (time.monotonic() - killed_at)
        if rest > 0:
            time.sleep(rest)
        left = processes.living(run.mark)
        check(not left, f"{label}: still alive after {GONE_SECONDS} s: {left}")
        if files_gone:
            names = [n for n in os.listdir(folder) if n not in ("stderr", "stdout")]
            check(not names, f"{label}: left in TMPDIR: {names}")
        return took

    def case(self, label, phase, victim, number, codes, sentence, files_gone=True):
        run, folder = self.start(phase)
        try:
            time.sleep(0.05)
            pid = {"mpirun": lambda: run.mpirun()[0], "shoal": lambda: run.process.pid,
                   "first": lambda: run.workers()[0], "last": lambda: run.workers()[-1]}[victim]()
            shared = run.shared_folder()
            killed_at = time.monotonic()
            os.kill(pid, number)
            if codes == [None]:
                codes = [-number]
            took = self.after(label, run, folder, killed_at, codes, sentence, files_gone)
            if files_gone:
                self.report.check(not (shared and os.path.exists(shared)),
                                  f"{label}: {shared} is left")
            words = run.err().strip().splitlines()[-1:]
            self.report.note(f"{label:<34} ended after {took:5.2f} s  {''.join(words)[:110]}")
        finally:
            run.sweep()

    def stopped(self):
        """A rank that is stopped, not killed, is found by its silence."""
        run, folder = self.start("compute")
        try:
            time.sleep(0.3)  # let there be steps to judge by
            pid = run.workers()[-1]
            os.kill(pid, signal.SIGSTOP)
            code = run.end()
            self.report.check(code == 75, f"stopped worker: exit {code}: {run.err()}")
            self.report.check("rank 2" in run.err() and "said nothing" in run.err(),
                              f"stopped worker: {run.err()}")
            time.sleep(0.5)
            left = processes.living(run.mark)
            self.report.check(not left, f"stopped worker: {left}")
        finally:
            run.sweep()

    def run_all(self, quick):
        killed = r"rank {} \(process \d+ on .*\) was killed by signal 9"
        last = RANKS - 1
        cases = [
            (f"SIGKILL of rank {last}", "last", signal.SIGKILL, [75], killed.format(last)),
            ("SIGKILL of shoal", "shoal", signal.SIGKILL, [None], r"", False),
            ("SIGTERM of shoal", "shoal", signal.SIGTERM, [None], r"interrupted by signal 15")]
        more = [
            ("SIGKILL of rank 0", "first", signal.SIGKILL, [75], killed.format(0)),
            ("SIGSEGV of rank 2", "last", signal.SIGSEGV, [75], r"rank 2 .*signal 11"),
            ("SIGKILL of mpirun", "mpirun", signal.SIGKILL, [75], r"mpirun was killed by signal 9"),
            ("SIGINT of shoal", "shoal", signal.SIGINT, [None], r"interrupted by signal 2")]
        for phase in ("load", "compute"):
            for label, *how in cases if quick else cases + more:
                self.report.guarded(phase, self.case, f"{phase}: {label}", phase, *how)
        self.report.guarded("stopped", self.stopped)


def check(shoal, scratch, arguments):
    words = [word for word in arguments if not word.startswith("-")]
    faults = Faults(shoal, scratch, words[0] if words else None)
    faults.run_all("--quick" in arguments)
    return faults.report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
