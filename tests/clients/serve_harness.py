"""What the tests of `shoal serve` share: the server, prompts, a canary, invariants.

The rule behind all of them: whatever one client or one worker does, every other client gets exactly
the tokens an undisturbed run gives. The reference is the greedy answer of `shoal generate`.
"""
import os
import re
import signal
import threading
import time

import harness
import http_client
import processes

MODEL = harness.INT4
CONTEXT = 512
VOCAB = 1024
COMPLETIONS = "/v1/completions"
CHAT = "/v1/chat/completions"
READY_SECONDS = 60
GONE_SECONDS = 2.0
TRACES = ("AddressSanitizer", "LeakSanitizer", "runtime error", "ThreadSanitizer")


def prompts(count, words=12):
    """Different pieces of English text, the same everywhere."""
    with open(harness.EVAL_TEXT, encoding="utf-8") as f:
        text = f.read().split()
    step = max(1, (len(text) - words) // count)
    return [" ".join(text[i * step:i * step + words]) for i in range(count)]


def greedy(prompt, max_tokens, **more):
    """A completions request whose answer is known beforehand."""
    return dict({"prompt": prompt, "max_tokens": max_tokens, "temperature": 0, "ignore_eos": True},
                **more)


def generated(shoal, prompt, max_tokens):
    """What `shoal generate` makes of the same request: the reference."""
    return shoal.must("generate", MODEL, "--prompt", prompt, "--max-tokens", max_tokens,
                      "--ignore-eos", "--json").json()["text"]


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


class Server(processes.Run):
    """One `shoal serve` on a free port of the loopback."""

    def __init__(self, shoal, scratch, ranks=2, options=(), env=None, key=None, wait=True,
                 descriptors=None, model=MODEL):
        self.folder = os.path.join(scratch, f"serve{len(os.listdir(scratch))}")
        os.mkdir(self.folder)
        clean = {"TMPDIR": self.folder,  # a segmentation fault must look like one
                 "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":handle_segv=0"}
        words = ["serve", model, "-n", ranks, "--port", 0, *options]
        super().__init__(shoal, words, dict(clean, **(env or {})), descriptors)
        self.shoal, self.ranks, self.key, self.address = shoal, ranks, key, None
        if wait:
            self.wait_ready()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.sweep()

    def wait_ready(self, seconds=READY_SECONDS):
        """Until `ready http://HOST:PORT` is said."""
        def said():
            found = re.search(r"^ready http://([0-9.]+):(\d+)$", self.out(), re.MULTILINE)
            self.address = (found[1], int(found[2])) if found else None
            return found
        self.wait_until(said, seconds)

    def ask(self, method, path, document=None, headers=(), **options):
        options.setdefault("key", self.key)
        return http_client.ask(self.address, method, path, document, headers, **options)

    def post(self, path, document, **options):
        return self.ask("POST", path, document, **options)

    def stream(self, document, path=COMPLETIONS, **options):
        return http_client.Stream(self.address, path, document, key=self.key, **options)

    def text(self, document):
        """The text of a whole completion, however long it takes."""
        answer = self.post(COMPLETIONS, document, patience=120)
        if answer.status != 200:
            raise harness.Stop(f"no completion: {answer}")
        return answer.json()["choices"][0]["text"]

    def ready(self):
        return self.ask("GET", "/health/ready").status == 200

    def wait_serving(self, seconds):
        """Until /health/ready says 200; the time it took, or None."""
        began = time.monotonic()
        while time.monotonic() < began + seconds:
            if self.process.poll() is not None:
                return None
            if self.ready():
                return time.monotonic() - began
            time.sleep(0.01)
        return None

    def metrics(self):
        """{name: sum over its labels}, histograms as their _sum and _count."""
        found = {}
        for line in self.ask("GET", "/metrics").body.decode().splitlines():
            if line and not line.startswith("#"):
                name = re.split(r"[{ ]", line, maxsplit=1)[0]
                found[name] = found.get(name, 0.0) + float(line.rsplit(" ", 1)[1])
        return found

    def victim(self, name):
        """The pid of "first", "last" or a rank's number, of "mpirun" or of "shoal" itself."""
        if name == "shoal":
            return self.process.pid
        ranks, launchers = self.workers(), self.mpirun()
        if len(ranks) != self.ranks or len(launchers) != 1:
            raise harness.Stop(f"{len(ranks)} workers and {len(launchers)} mpirun instead of "
                               f"{self.ranks} and 1")
        if name == "mpirun":
            return launchers[0]
        return ranks[{"first": 0, "last": -1}.get(name, name)]

    def footprint(self):
        """(RSS in KiB, open descriptors, threads) of the coordinator."""
        base = f"/proc/{self.process.pid}"
        with open(f"{base}/status", encoding="utf-8") as f:
            fields = dict(line.split(":", 1) for line in f if ":" in line)
        return (int(fields["VmRSS"].split()[0]), len(os.listdir(f"{base}/fd")),
                int(fields["Threads"]))

    def cpu_seconds(self):
        """What all processes of the run have used so far."""
        total = 0
        for pid in processes.living(self.mark):
            try:
                with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as f:
                    fields = f.read().rpartition(")")[2].split()
            except OSError:
                continue
            total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")


class Canary:
    """A client beside a case: one stream after the other, each of which must end unharmed.

        with Canary(server, report, "HT-03"):
            ...
    """
    TOKENS = 64

    def __init__(self, server, report, label, pause=0.02):
        self.server, self.report, self.label, self.pause = server, report, label, pause
        self.request = greedy(prompts(3)[1], self.TOKENS)
        self.wanted = server.canary_text = getattr(server, "canary_text", None) or \
            server.text(self.request)
        self.over, self.wrong, self.gaps, self.streams = threading.Event(), [], [], 0
        self.thread = threading.Thread(target=self.sing, daemon=True)

    def one(self):
        stream = self.server.stream(self.request).read()
        stream.close()
        if not stream.whole() or stream.text != self.wanted:
            self.wrong.append(f"error {stream.error}, done {stream.done}, "
                              + differ(stream.text, self.wanted))
        self.gaps += [b - a for a, b in zip(stream.times, stream.times[1:])]
        self.streams += 1

    def sing(self):
        while not self.streams or not self.over.is_set():
            try:
                self.one()
            except (http_client.Broken, ValueError, KeyError) as broken:
                self.wrong.append(repr(broken))
                return
            self.over.wait(self.pause)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join(http_client.PATIENCE)
        self.report.check(not self.thread.is_alive(), f"{self.label}: the canary hangs")
        self.report.check(not self.wrong, f"{self.label}: canary harmed: {self.wrong[:1]}")


def differ(got, wanted):
    """Where two texts part, in words; empty when they are equal."""
    if got == wanted:
        return ""
    if not isinstance(got, str) or not isinstance(wanted, str):
        return f"{got!r} instead of {wanted!r}"
    at = len(os.path.commonprefix([got, wanted]))
    return (f"after {at} of {len(wanted)} characters {got[at:at + 40]!r} instead of "
            f"{wanted[at:at + 40]!r}")


def pages_back(server, report, label, seconds=5.0):
    """Nothing runs, nothing waits, and every page can be had (the cached ones count among them)."""
    end, now = time.monotonic() + seconds, {}
    while time.monotonic() < end:
        now = server.metrics()
        if (now["shoal_num_requests_running"] == 0 and now["shoal_num_requests_waiting"] == 0
                and now["shoal_kv_pages_free"] == now["shoal_kv_pages_total"]):
            report.check(True, label)
            return
        time.sleep(0.02)
    kept = {k: v for k, v in now.items() if "kv_pages" in k or "num_requests" in k}
    report.check(False, f"{label}: pages or requests left after {seconds:g} s: {kept}")


def gone(server, report, label, seconds=GONE_SECONDS, files=True):
    """No process of the run lives, and its temporary files are gone."""
    end = time.monotonic() + seconds
    while processes.living(server.mark) and time.monotonic() < end:
        time.sleep(0.02)
    left = processes.living(server.mark)
    report.check(not left, f"{label}: still alive after {seconds:g} s: {left}")
    names = [n for n in os.listdir(server.folder) if n not in ("stderr", "stdout")]
    report.check(not files or not names, f"{label}: left in TMPDIR: {names}")


def clean_log(server, report, label):
    """No sanitizer has anything to say."""
    text = server.err()
    for trace in TRACES:
        at = text.find(trace)
        report.check(at < 0, f"{label}: {text[max(0, at - 200):at + 2000]}")


def leave(server, report, label, seconds=15):
    """SIGTERM to a server at rest: it ends with 0 and leaves nothing."""
    if server.process.poll() is None:
        os.kill(server.process.pid, signal.SIGTERM)
    code = server.end(seconds)
    report.check(code == 0, f"{label}: SIGTERM: exit {code}: {server.err()[-500:]}")
    gone(server, report, label)
    clean_log(server, report, label)


def listeners(server):
    """Addresses the coordinator listens at, as /proc/net writes them ("0100007F:1F90")."""
    folder = f"/proc/{server.process.pid}/fd"
    inodes = set()
    for name in os.listdir(folder):
        try:
            found = re.match(r"socket:\[(\d+)\]", os.readlink(os.path.join(folder, name)))
        except OSError:
            continue
        if found:
            inodes.add(found[1])
    addresses = []
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if os.path.exists(table):
            with open(table, encoding="utf-8") as f:
                rows = [line.split() for line in f.readlines()[1:]]
            addresses += [r[1] for r in rows if r[3] == "0A" and r[9] in inodes]
    return sorted(addresses)


def together(work, items):
    """Run work(item) for all items at once, each in a thread; results in order."""
    results = [None] * len(items)

    def one(i):
        try:
            results[i] = work(items[i])
        except Exception as error:  # whatever it is, the caller sees it instead of a result
            results[i] = error
    threads = [threading.Thread(target=one, args=(i,), daemon=True) for i in range(len(items))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


def built_with(shoal, name):
    """Does the binary hold this name? SHOAL_FAULT: fault hooks; __asan_init: a sanitizer."""
    with open(shoal.binary, "rb") as f:
        return name.encode() in f.read()


def more_descriptors():
    """Let this process, and the servers it starts, open thousands of sockets."""
    resource = processes.resource
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))
