#!/usr/bin/env python3
"""Forty ways for a rank to fail, in every phase of its life, under `shoal serve` with three ranks.

    test_chaos.py SHOAL_BINARY [--quick] [--only WORD]

A binary with fault hooks is told by SHOAL_FAULT where and how a rank fails; any other is hit by the
signal that comes closest, at the moment of the phase that can be seen from outside. After every
case: all clients have the tokens an undisturbed server gives, the server serves again with three
ranks and no more, every KV page can be had, and SIGTERM ends with 0 and leaves nothing.
--quick takes one case of each phase.
"""
import collections
import os
import signal
import sys
import time

import harness
import http_client
import serve_harness
from serve_harness import COMPLETIONS, greedy

RANKS = 3
TOKENS = 300
STREAMS = 4
# A case may last so long, start and end of the server included; under a sanitizer it takes longer.
CASE_SECONDS = 60
DEADLINES = ["--start-deadline", 8, "--load-deadline", 5, "--prefill-deadline", 3,
             "--decode-deadline", 1]
POISON = 777  # a token none of the prompts and answers holds
EXIT_CODES = (0, 69, 70, 74, 75)

Case = collections.namedtuple("Case", "phase act rank step", defaults=(1,))

CASES = [
    Case("start", "kill", 0), Case("start", "exit1", 1), Case("start", "hang", 2),
    Case("hello", "kill", 0), Case("hello", "exit0", 1), Case("hello", "mute", 2),
    Case("plan", "kill", 1),
    Case("read", "kill", 2), Case("read", "stop", 1), Case("read", "slow:50", 0),
    Case("pack", "segv", 0), Case("pack", "abort", 2),
    Case("comm_init", "kill", 1), Case("comm_init", "stop", 0),
    Case("ready", "kill", 2),
    Case("prefill", "kill", 0), Case("prefill", "segv", 1), Case("prefill", "stop", 2),
    Case("decode", "kill", 0, 20), Case("decode", "kill", 1, 37), Case("decode", "stop", 2, 20),
    Case("decode", "exit0", 1, 20), Case("decode", "exit1", 2, 20), Case("decode", "segv", 0, 20),
    Case("decode", "hang", 1, 20), Case("decode", "mute", 2, 20), Case("decode", "error", 0, 20),
    Case("decode", "slow:30", 2, 20), Case("decode", "stop", "mpirun", 20),
    Case("decode", "kill", "mpirun", 20),
    Case("reduce", "kill", 2, 40), Case("reduce", "stop", 0, 40),
    Case("sample", "kill", 0, 20), Case("sample", "hang", 0, 20),
    Case("idle", "kill", 1), Case("idle", "stop", 2), Case("idle", "kill", "mpirun"),
    Case("finalize", "kill", 1),
    Case("every", "kill", 1),
    Case("poison", "kill", 1),
]

# What comes closest to an act when there are no hooks.
SIGNALS = {"kill": signal.SIGKILL, "exit0": signal.SIGKILL, "exit1": signal.SIGKILL,
           "error": signal.SIGABRT, "abort": signal.SIGABRT, "segv": signal.SIGSEGV,
           "stop": signal.SIGSTOP, "hang": signal.SIGSTOP, "mute": signal.SIGSTOP}


def harmless(case):
    """A rank that is only slow, and an mpirun that only sleeps, take nobody down."""
    return case.act.startswith("slow") or (case.act, case.rank) == ("stop", "mpirun")


class Chaos:
    def __init__(self, shoal, scratch, options):
        self.shoal, self.scratch = shoal, scratch
        self.hooks = serve_harness.has_hooks(shoal)
        self.report = harness.Report("chaos: a rank fails in every phase, "
                                     + ("by fault hooks" if self.hooks else "by signals"))
        only = harness.option(options, "--only", "")
        self.cases = [c for c in CASES if only in self.label(c)]
        if "--quick" in options:
            self.cases = list({c.phase: c for c in reversed(self.cases)}.values())[::-1]
        self.requests = [greedy(p, TOKENS) for p in serve_harness.prompts(STREAMS)]
        self.wanted = None

    @staticmethod
    def label(case):
        rank = case.rank if case.rank == "mpirun" else f"rank {case.rank}"
        return f"{case.phase} {case.act} {rank}"

    def hooked(self, case):
        return self.hooks and case.rank != "mpirun"

    def start(self, case=None):
        env = {}
        if case and self.hooked(case):
            where = {"every": "phase=ready,generation=0",
                     "poison": f"phase=prefill,token={POISON},generation=0"}
            place = where.get(case.phase, f"phase={case.phase},step={case.step}")
            env["SHOAL_FAULT"] = f"rank={case.rank},{place},act={case.act}"
        return serve_harness.Server(self.shoal, self.scratch, RANKS, DEADLINES, env, wait=False)

    def strike(self, server, case):
        """From outside, where no hook does it."""
        if self.hooked(case):
            return
        pid = server.victim(case.rank)
        if case.act.startswith("slow"):
            for _ in range(5):
                os.kill(pid, signal.SIGSTOP)
                time.sleep(int(case.act[5:]) / 1000)
                os.kill(pid, signal.SIGCONT)
                time.sleep(0.02)
        else:
            os.kill(pid, SIGNALS[case.act])

    # ---- the phases

    def starting(self, server, case):
        """The first generation fails before it has served; the second one serves."""
        if not self.hooked(case):
            server.wait_until(lambda: len(server.workers()) == RANKS)
            self.strike(server, case)
        server.wait_ready(CASE_SECONDS)
        self.serving_again(server, case)
        self.all_right(case, [server.stream(r) for r in self.requests])

    def serving(self, server, case):
        """Streams run while it happens, and go on."""
        server.wait_ready()
        streams = [server.stream(r) for r in self.requests]
        if not self.hooked(case):
            for stream in streams:
                stream.read(1 if case.phase == "prefill" else 10)
            self.strike(server, case)
        self.all_right(case, streams)
        self.serving_again(server, case)

    def idling(self, server, case):
        """Nobody asks while it happens; it is noticed all the same."""
        server.wait_ready()
        self.strike(server, case)
        self.serving_again(server, case)
        self.all_right(case, [server.stream(r) for r in self.requests])

    def ending(self, server, case):
        """A rank fails while all are told to leave."""
        server.wait_ready()
        self.all_right(case, [server.stream(r) for r in self.requests])
        victim = None if self.hooked(case) else server.victim(case.rank)
        os.kill(server.process.pid, signal.SIGTERM)
        if victim:
            os.kill(victim, SIGNALS[case.act])
        self.over(server, case)

    def every_time(self, server, case):
        """No generation lives: the server gives up."""
        end = time.monotonic() + CASE_SECONDS
        while server.process.poll() is None and time.monotonic() < end:
            for pid in () if self.hooked(case) else server.workers():
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.02)
        self.over(server, case)
        self.report.check(server.process.returncode != 0, f"{self.label(case)}: exit 0")

    def poisoned(self, server, case):
        """One request takes the workers down each time: it is answered 500, the others go on."""
        server.wait_ready()
        streams = [server.stream(r) for r in self.requests]
        for stream in streams:
            stream.read(3)
        whole = server.post(COMPLETIONS, greedy([5, POISON, 6], 20), patience=CASE_SECONDS)
        self.report.check(whole.status == 500 and whole.error().get("type") == "server_error",
                          f"poison: {whole}")
        self.all_right(case, streams)
        poison = server.stream(greedy([5, POISON, 6], 20), patience=CASE_SECONDS).read()
        self.report.check(poison.error and not poison.texts, f"poison: a stream: {poison.texts}")
        self.report.check(server.wait_serving(CASE_SECONDS), "poison: does not serve again")
        self.report.check(server.metrics()["shoal_requests_quarantined_total"] == 2,
                          "poison: not counted as quarantined")

    # ---- what holds afterwards

    def all_right(self, case, streams):
        serve_harness.together(http_client.Stream.read, streams)
        for stream, text in zip(streams, self.wanted):
            self.report.check(stream.whole() and stream.text == text,
                              f"{self.label(case)}: error {stream.error}, done {stream.done}, "
                              + serve_harness.differ(stream.text, text))
            stream.close()

    def serving_again(self, server, case):
        """By a second generation; or still by the first if nothing serious happened."""
        wanted = 1 if harmless(case) else 2
        end = time.monotonic() + CASE_SECONDS / 2
        generation = 0
        while generation != wanted and time.monotonic() < end and server.process.poll() is None:
            if server.wait_serving(CASE_SECONDS / 2) is not None:
                generation = server.metrics()["shoal_generation"]
            time.sleep(0.02)
        self.report.check(generation == wanted, f"{self.label(case)}: generation {generation:g} "
                                                f"serves: {server.err()[-600:]}")
        count = len(server.workers())
        self.report.check(count == RANKS, f"{self.label(case)}: {count} workers live")

    def over(self, server, case):
        code = server.end(CASE_SECONDS / 2)
        self.report.check(code in EXIT_CODES, f"{self.label(case)}: exit {code}: "
                                              f"{server.err()[-600:]}")
        serve_harness.gone(server, self.report, self.label(case))
        serve_harness.clean_log(server, self.report, self.label(case))

    def one(self, case):
        phases = {"prefill": self.serving, "decode": self.serving, "reduce": self.serving,
                  "sample": self.serving, "idle": self.idling, "finalize": self.ending,
                  "every": self.every_time, "poison": self.poisoned}
        began = time.monotonic()
        with self.start(case) as server:
            phases.get(case.phase, self.starting)(server, case)
            if server.process.poll() is None:
                serve_harness.pages_back(server, self.report, self.label(case))
                serve_harness.leave(server, self.report, self.label(case))
        took = time.monotonic() - began
        self.report.check(took < CASE_SECONDS, f"{self.label(case)}: took {took:.1f} s")
        self.report.note(f"{self.label(case):<28} {took:5.1f} s")

    def undisturbed(self):
        with self.start() as server:
            server.wait_ready()
            self.wanted = [server.text(r) for r in self.requests]
            serve_harness.leave(server, self.report, "undisturbed")

    def run_all(self):
        self.undisturbed()
        for case in self.cases:
            if case.phase == "poison" and not self.hooks:
                self.report.skip("a poisonous request needs a binary with fault hooks")
                continue
            try:
                self.one(case)
            except (http_client.Broken, harness.Stop, OSError, KeyError) as error:
                self.report.check(False, f"{self.label(case)}: {error!r}")


def check(shoal, scratch, options):
    chaos = Chaos(shoal, scratch, options)
    chaos.report.guarded("chaos", chaos.run_all)
    return chaos.report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
