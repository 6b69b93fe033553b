#!/usr/bin/env python3
"""`shoal serve` under load and over the death of its workers: no token lost, doubled or changed.

    test_serve.py SHOAL_BINARY [--quick] [--only WORD]

Workers, mpirun and the coordinator are killed or stopped while eight streams run; 64 prompts keep
their bytes beside hostile neighbours; thousands of clients leave at once; a thousand streams wait
beside 32 that run. What has a number but no bound (times, CPU when idle) is reported. --quick is
for builds with sanitizers: shorter streams, fewer clients.
"""
import os
import signal
import sys
import threading
import time

import harness
import http_client
import processes
import serve_harness
from serve_harness import COMPLETIONS, greedy

# Who is hit, by what, and the longest silence a client may notice. A stopped rank is found by its
# silence: the deadline of a step (2 s and 20 average steps) comes on top.
RECOVERIES = [
    ("first worker killed", "first", signal.SIGKILL, 8),
    ("last worker killed", "last", signal.SIGKILL, 8),
    ("mpirun killed", "mpirun", signal.SIGKILL, 8),
    ("last worker stopped", "last", signal.SIGSTOP, 16),
    ("last worker crashed", "last", signal.SIGSEGV, 8),
]

# What may not change the answers of others.
HOSTILE = [
    {"temperature": 2.0, "n": 4, "max_tokens": 40, "logprobs": 20},
    {"temperature": 1.5, "top_k": 3, "repetition_penalty": 5.0, "frequency_penalty": 2.0},
    {"temperature": 0, "logit_bias": {str(i): -100 for i in range(0, 900)}},
    {"temperature": 0, "stop": ["e", "a", "o"], "max_tokens": 100},
    {"temperature": 1.0, "min_p": 0.9, "presence_penalty": -2.0, "seed": -1},
    {"max_tokens": 3, "stop_token_ids": list(range(60)), "min_tokens": 2},
    {"temperature": -1}, {"prompt": [5000]}, {"n": 10**6}, {"logit_bias": {"99999": 1}},
]


class Serve:
    def __init__(self, shoal, scratch, options):
        self.shoal, self.scratch = shoal, scratch
        self.quick = "--quick" in options
        self.only = harness.option(options, "--only", "")
        self.tokens = 80 if self.quick else 400  # of a stream that lasts long enough to be hit
        self.report = harness.Report("serve: load, departures, deaths")

    def start(self, *options, **more):
        return serve_harness.Server(self.shoal, self.scratch, options=options, **more)

    # ---- deaths

    def recovery(self, label, victim, number, bound):
        requests = [greedy(prompt, self.tokens) for prompt in serve_harness.prompts(8)]
        with self.start(ranks=3) as server:
            wanted = serve_harness.together(server.text, requests)
            old = server.workers() + server.mpirun()
            streams = [server.stream(r, patience=bound + 10).read(9) for r in requests]
            os.kill(server.victim(victim), number)
            serve_harness.together(http_client.Stream.read, streams)
            whole = [s.whole() for s in streams]
            self.report.check(all(whole), f"{label}: whole streams {whole}, errors "
                                          f"{[s.error for s in streams if s.error][:1]}")
            for stream, text in zip(streams, wanted):
                other = serve_harness.differ(stream.text, text)
                self.report.check(not other, f"{label}: {other}")
            silence = max(b - a for s in streams for a, b in zip(s.times, s.times[1:]))
            self.report.check(silence < bound, f"{label}: {silence:.1f} s of silence")
            left = [pid for pid in old if pid in processes.living(server.mark)]
            self.report.check(not left, f"{label}: processes of the old generation live: {left}")
            self.after(label, server)
        self.report.note(f"{label:<24} {silence:5.2f} s of silence, then the same tokens")

    def after(self, label, server):
        """One generation later everything is as before."""
        self.report.check(server.wait_serving(10) is not None, f"{label}: does not serve again")
        now = server.metrics()
        self.report.check(now["shoal_generation"] == 2, f"{label}: {now['shoal_generation']:g}")
        self.report.check(now["shoal_requests_replayed_total"] > 0, f"{label}: nobody was replayed")
        serve_harness.pages_back(server, self.report, label)
        serve_harness.leave(server, self.report, label)

    def recoveries(self):
        for label, victim, number, bound in RECOVERIES[1:4] if self.quick else RECOVERIES:
            self.guarded(label, self.recovery, label, victim, number, bound)

    def coordinator_killed(self):
        """kill -9 of the coordinator, also while a worker is stopped: nothing is left after 2 s."""
        for label, stopped in (("coordinator killed", False), ("with a stopped worker", True)):
            with self.start(ranks=3) as server:
                stream = server.stream(greedy("The sea is", 400)).read(3)
                if stopped:
                    os.kill(server.victim("last"), signal.SIGSTOP)
                os.kill(server.process.pid, signal.SIGKILL)
                server.process.wait()
                serve_harness.gone(server, self.report, label, files=False)
                stream.close()

    def drain(self):
        """SIGTERM: what runs runs to its end, then exit code 0; --drain-timeout cuts it short."""
        request = greedy("The sea is", self.tokens)
        with self.start(ranks=3) as server:
            wanted = server.text(request)
            streams = [server.stream(request).read(3) for _ in range(4)]
            os.kill(server.process.pid, signal.SIGTERM)
            serve_harness.together(http_client.Stream.read, streams)
            self.report.check(all(s.whole() and s.text == wanted for s in streams),
                              f"drain: {[s.error or s.text for s in streams]}")
            self.leave_now("drain", server)
        with self.start("--drain-timeout", 1, ranks=3) as server:
            many = [server.stream(greedy("The sea is", 450, n=16)).read(3) for _ in range(4)]
            began = time.monotonic()
            os.kill(server.process.pid, signal.SIGTERM)
            code = server.end(10)
            took = time.monotonic() - began
            self.report.check(code is not None and took < 6, f"drain timeout: {code}, {took:.1f} s")
            serve_harness.gone(server, self.report, "drain timeout")
            for stream in many:
                stream.close()

    def leave_now(self, label, server):
        code = server.end(10)
        self.report.check(code == 0, f"{label}: exit {code}: {server.err()[-500:]}")
        serve_harness.gone(server, self.report, label)
        serve_harness.clean_log(server, self.report, label)

    # ---- load

    def same_as_generate(self, server):
        prompt = "Once upon a time"
        want = serve_harness.generated(self.shoal, prompt, 40)
        got = server.text(greedy(prompt, 40))
        self.report.check(got == want, f"generate says {want!r}, serve says {got!r}")

    def mix(self, server):
        """64 prompts: the same bytes one by one, all at once, and beside hostile neighbours."""
        requests = [greedy(p, 32) for p in serve_harness.prompts(16 if self.quick else 64)]
        alone = [server.text(r) for r in requests]
        self.report.check(len(set(alone)) > len(alone) // 2, "mix: answers hardly differ")
        over = threading.Event()

        def hostile(more):
            statuses = set()
            while not over.is_set():
                request = dict(greedy("The sea is", 20), **more)
                statuses.add(server.post(COMPLETIONS, request).status)
                stream = server.stream(request).read(2)
                stream.close()
            return statuses
        neighbours = threading.Thread(target=serve_harness.together, args=(hostile, HOSTILE))
        neighbours.start()
        time.sleep(0.2)
        mixed = serve_harness.together(server.text, requests)
        over.set()
        neighbours.join()
        together = serve_harness.together(server.text, requests)
        for name, texts in (("at once", together), ("among hostile neighbours", mixed)):
            other = [i for i, text in enumerate(texts) if text != alone[i]]
            self.report.check(not other, f"mix: prompts {other} answered differently {name}: "
                                         f"{[texts[i] for i in other[:1]]}")

    def storm(self, server):
        """Clients that connect, ask and leave at once: nothing is kept of them."""
        count, crews = (1000, 4) if self.quick else (10000, 4)
        before = server.footprint()
        request = http_client.encode("POST", COMPLETIONS, greedy("The sea is", 400, stream=True))

        def crew(_):
            for _ in range(count // crews):
                with http_client.Connection(server.address) as connection:
                    connection.send(request)
        began = time.monotonic()
        results = serve_harness.together(crew, range(crews))
        took = time.monotonic() - began
        broken = [r for r in results if r is not None]
        self.report.check(not broken, f"storm: {broken[:1]}")
        serve_harness.pages_back(server, self.report, "storm", 20)
        after = server.footprint()
        self.report.check(after[1] <= before[1] + 2 and after[2] == before[2],
                          f"storm: descriptors and threads {before[1:]} -> {after[1:]}")
        self.report.note(f"storm: {count} requests left in {took:.1f} s, RSS {before[0]} -> "
                         f"{after[0]} KiB")

    def thousand(self):
        """A thousand streams wait while 32 run; then all of them get what they asked for."""
        waiting = 200 if self.quick else 1000
        with self.start("--max-num-seqs", 32, "--max-queue", waiting + 32) as server:
            short, long = greedy("One two", 2), greedy("The sea is", self.tokens)
            wanted_short, wanted_long = server.text(short), server.text(long)
            active = [server.stream(long, patience=120).read(1) for _ in range(32)]
            before = server.footprint()
            idle = [server.stream(short, patience=120) for _ in range(waiting)]
            most = server.footprint()
            serve_harness.together(http_client.Stream.read, active)
            gaps = [b - a for s in active for a, b in zip(s.times, s.times[1:])]
            for stream in idle:
                stream.read()
                stream.close()
            for name, streams, text in (("active", active, wanted_long),
                                        ("waiting", idle, wanted_short)):
                good = sum(s.whole() and s.text == text for s in streams)
                self.report.check(good == len(streams), f"thousand: {good} of {len(streams)} "
                                                        f"{name} streams are right")
            each = (most[0] - before[0]) / waiting
            self.report.check(each < 64 or self.quick, f"thousand: {each:.1f} KiB for each")
            self.report.note(f"{waiting} waiting streams: {each:.1f} KiB each; 32 active: p50 "
                             f"{1e3 * serve_harness.percentile(gaps, 0.5):.1f} ms, p99 "
                             f"{1e3 * serve_harness.percentile(gaps, 0.99):.1f} ms")
            serve_harness.pages_back(server, self.report, "thousand")
            serve_harness.leave(server, self.report, "thousand")

    # ---- numbers

    def numbers(self):
        """Four ranks on these cores: CPU when idle, and how even the steps of eight streams are."""
        with self.start(ranks=4) as server:
            outside = [a for a in serve_harness.listeners(server) if not a.startswith("0100007F")]
            self.report.check(not outside, f"listens beyond the loopback: {outside}")
            time.sleep(1)
            used, seconds = server.cpu_seconds(), 5 if self.quick else 20
            time.sleep(seconds)
            idle = (server.cpu_seconds() - used) / seconds
            self.report.check(idle < 0.25, f"idle: {idle:.1%} of a core")
            streams = [server.stream(greedy(p, self.tokens)) for p in serve_harness.prompts(8)]
            serve_harness.together(http_client.Stream.read, streams)
            gaps = [b - a for s in streams for a, b in zip(s.times, s.times[1:])]
            median, late = (1e3 * serve_harness.percentile(gaps, q) for q in (0.5, 0.99))
            self.report.check(all(s.whole() for s in streams), "numbers: a stream broke")
            self.report.note(f"4 ranks, {os.cpu_count()} cores: idle {idle:.2%} of a core; 8 "
                             f"streams: median {median:.2f} ms, p99 {late:.2f} ms")
            serve_harness.leave(server, self.report, "numbers")

    # ---- the order

    def guarded(self, label, work, *args):
        if self.only not in label:
            return
        try:
            work(*args)
        except (http_client.Broken, harness.Stop, KeyError, OSError) as error:
            self.report.check(False, f"{label}: {error!r}")

    def loads(self):
        with self.start() as server:
            self.guarded("same as generate", self.same_as_generate, server)
            self.guarded("mix", self.mix, server)
            self.guarded("storm", self.storm, server)
            serve_harness.pages_back(server, self.report, "loads")
            serve_harness.leave(server, self.report, "loads")

    def run_all(self):
        serve_harness.more_descriptors()
        self.recoveries()
        for label, work in (("coordinator killed", self.coordinator_killed),
                            ("drain", self.drain), ("thousand", self.thousand),
                            ("numbers", self.numbers)):
            self.guarded(label, work)
        if any(self.only in label for label in ("same as generate", "mix", "storm")):
            self.report.guarded("loads", self.loads)


def check(shoal, scratch, options):
    serve = Serve(shoal, scratch, options)
    serve.run_all()
    return serve.report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
