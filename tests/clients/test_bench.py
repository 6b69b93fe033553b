#!/usr/bin/env python3
"""`shoal bench serve` against a server of this test, whose tokens and failures are counted here.

    test_bench.py SHOAL_BINARY

The report must say what the server knows: finished requests, failures, tokens; latencies not below
the sleeps of the server. Nobody's request may differ from what the options say. Without --url the
bench starts `shoal serve`, and however either of them ends, nothing of it is left.
"""
import json
import os
import signal
import socketserver
import threading
import time

import harness
import processes

STEP = 0.004  # seconds before every token
KEY = "sk-test"
GONE_SECONDS = 5.0


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, fail_every=0):
        super().__init__(("127.0.0.1", 0), Handler)
        self.fail_every, self.bodies, self.strangers = fail_every, [], 0
        self.guard = threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def take(self, headers, body):
        """Note a request; is it to fail?"""
        with self.guard:
            self.bodies.append(body)
            self.strangers += headers.get("authorization") != f"Bearer {KEY}"
            return bool(self.fail_every) and len(self.bodies) % self.fail_every == 0


class Handler(socketserver.StreamRequestHandler):
    def handle(self):
        if not self.rfile.readline().startswith(b"POST /v1/completions "):
            return
        headers = {}
        for line in iter(self.rfile.readline, b"\r\n"):
            name, _, value = line.decode().partition(":")
            headers[name.lower()] = value.strip()
        body = json.loads(self.rfile.read(int(headers["content-length"])))
        if self.server.take(headers, body):
            self.wfile.write(b"HTTP/1.1 429 Slow Down\r\nContent-Length: 4\r\n\r\nbusy")
            return
        self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        for _ in range(body["max_tokens"]):
            time.sleep(STEP)
            self.event(json.dumps({"choices": [{"text": "a", "finish_reason": None}]}))
        self.event(json.dumps({"choices": [],
                               "usage": {"completion_tokens": body["max_tokens"]}}))
        self.event("[DONE]")
        self.wfile.write(b"0\r\n\r\n")

    def event(self, text):
        data = f"data: {text}\n\n".encode()
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()


def rows_of(answer):
    return {row["name"]: row for row in answer.json()["rows"]}


def server_of(run):
    return next(pid for pid, words in processes.living(run.mark).items() if words[1:2] == ["serve"])


class Bench:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("bench serve")
        self.key_file = os.path.join(scratch, "key")
        with open(self.key_file, "w", encoding="ascii") as file:
            file.write(KEY + "\n")

    def run(self, server, *more):
        return self.shoal.must("bench", "serve", harness.TINY, "--url", server.url(), "--json",
                               "--api-key-file", self.key_file, "--max-tokens", "6",
                               "--prompt-tokens", "9", "--requests", "20", *more)

    def check_load(self, rows, load, finished, errors):
        """One load of 20 requests."""
        check = self.report.check
        for name, wanted in (("finished", finished), ("errors", errors), ("cut", 0)):
            got = rows[f"{load}.{name}"]["value"]
            check(got == wanted, f"{load}.{name}: {got}, {wanted} expected")
        seconds = finished / rows[f"{load}.requests"]["value"]
        tokens = rows[f"{load}.throughput"]["value"] * seconds
        check(abs(tokens - 6 * finished) < 1e-6 * tokens, f"{load}: {tokens} tokens")
        for name, least in (("ttft.p50", STEP), ("itl.p50", STEP / 2), ("total.p50", 6 * STEP)):
            got = rows[f"{load}.{name}"]["value"]
            check(got >= 1e3 * least, f"{load}.{name}: {got} ms, the server slept {least} s")
        for what in ("ttft", "itl", "total"):
            values = [rows[f"{load}.{what}.p{p}"]["value"] for p in (50, 90, 99)]
            check(values == sorted(values), f"{load}.{what}: {values} do not rise")

    def counts(self):
        with Server() as server:
            answer = self.run(server, "--streams", "1,5", "--rate", "100")
            rows, document = rows_of(answer), answer.json()
            self.report.check(list(document) == ["machine", "yardsticks", "rows"],
                              f"keys of the report: {list(document)}")
            for load in ("serve.closed.s1", "serve.closed.s5", "serve.open"):
                self.check_load(rows, load, 20, 0)
            self.report.check(len(server.bodies) == 61 and server.strangers == 0,
                              f"{len(server.bodies)} requests, {server.strangers} without key")
            self.check_limit(rows)
            self.check_bodies(server.bodies)

    def check_limit(self, rows):
        """The limit of five streams is five times one stream."""
        single, five = (rows[f"serve.closed.{s}.throughput"] for s in ("s1", "s5"))
        self.report.check(single["limit"] is None and single["fraction"] is None,
                          f"one stream has a limit: {single}")
        self.report.check(abs(five["limit"] - 5 * single["value"]) < 1e-6 * five["limit"] and
                          abs(five["fraction"] - five["value"] / five["limit"]) < 1e-9,
                          f"limit of five streams: {five}, one: {single}")

    def check_bodies(self, bodies):
        vocab = harness.load_json(harness.TINY, "config.json")["vocab_size"]
        good = all(len(b["prompt"]) == 9 and max(b["prompt"]) < vocab and b["stream"] and
                   b["ignore_eos"] and b["temperature"] == 0 and b["max_tokens"] == 6
                   for b in bodies)
        self.report.check(good, f"a request is not as asked for: {bodies[0]}")
        prompts = {tuple(b["prompt"]) for b in bodies}
        self.report.check(len(prompts) == len(bodies), f"{len(prompts)} different prompts")

    def failures(self):
        with Server(fail_every=5) as server:  # the warm-up is request 1
            answer = self.run(server, "--streams", "4", "--rate", "0")
            self.check_load(rows_of(answer), "serve.closed.s4", 16, 4)
            self.report.check("4 of 20 requests failed; the first: status 429: busy" in answer.err,
                              f"failures are not told: {answer.err}")

    def plot(self):
        folder = os.path.join(self.scratch, "plot")
        with Server() as server:
            answer = self.run(server, "--streams", "1,2", "--rate", "0", "--plot", folder)
        with open(os.path.join(folder, "serve.dat"), encoding="ascii") as file:
            lines = [line.split() for line in file]
        self.report.check([line[0] for line in lines] == ["#", "1", "2"] and
                          all(len(line) == 7 for line in lines[1:]), f"serve.dat: {lines}")
        drawn = os.path.exists(os.path.join(folder, "serve.png"))
        self.report.check(drawn or "skipped: no picture" in answer.err,
                          f"neither a picture nor a word about it: {answer.err}")

    def start(self, *more):
        """A bench with a server of its own, in the background."""
        return processes.Run(self.shoal, ["bench", "serve", harness.INT4, "-n", "2", "--streams",
                                          "2", "--api-key-file", self.key_file, *more],
                             {"TMPDIR": self.scratch})

    def nothing_left(self, run, label):
        end = time.monotonic() + GONE_SECONDS
        while processes.living(run.mark) and time.monotonic() < end:
            time.sleep(0.01)
        left = processes.living(run.mark)
        self.report.check(not left, f"{label}: still there: {left}")
        run.sweep()

    def own_server(self):
        run = self.start("--requests", "4", "--json")
        code = run.end(60)
        self.report.check(code == 0, f"exit {code}: {run.err()}")
        rows = {row["name"]: row["value"] for row in json.loads(run.out() or "{}").get("rows", [])}
        for load in ("serve.closed.s2", "serve.open"):
            self.report.check(rows.get(f"{load}.finished") == 4 and rows[f"{load}.errors"] == 0,
                              f"{load} with a server of its own: {rows}")
        self.nothing_left(run, "after the end")

    def killed(self, label, victim, number, wanted, words):
        """A process of the run gets a signal while requests are under way."""
        run = self.start()
        run.wait_until(lambda: "serve.closed.s2" in run.err())
        os.kill(victim(run), number)
        code = run.end()
        self.report.check(code == wanted, f"{label}: exit {code}, {wanted} expected: {run.err()}")
        self.report.check(words in run.err(), f"{label}: '{words}' is not in: {run.err()}")
        self.nothing_left(run, label)

    def run_all(self):
        for work in (self.counts, self.failures, self.plot, self.own_server):
            self.report.guarded(work.__name__, work)
        for label, victim, number, wanted, words in (
                ("bench interrupted", lambda run: run.process.pid, signal.SIGINT, -signal.SIGINT,
                 "interrupted by signal 2"),
                ("bench killed", lambda run: run.process.pid, signal.SIGKILL, -signal.SIGKILL, ""),
                ("server killed", server_of, signal.SIGKILL, 69, "was killed by signal 9")):
            self.report.guarded(label, self.killed, label, victim, number, wanted, words)
        return self.report.exit_code()


def check(shoal, scratch, _):
    return Bench(shoal, scratch).run_all()


if __name__ == "__main__":
    raise SystemExit(harness.main(check))
