"""What the programs in this folder share: running shoal, finding models, reporting.

A check is a class with one Report; every comparison goes through report.check(), so that a run
shows all failures and not only the first. Exit codes: 0 all well, 1 something failed, 77 nothing
could be checked.
"""
import json
import os
import subprocess
import sys
import tempfile
import time

ROOT = os.path.abspath(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
INT4 = os.path.join(ROOT, "tests", "data", "tiny-llama-gptq-int4")
TINY = os.path.join(ROOT, "tests", "data", "tiny-llama")
EVAL_TEXT = os.path.join(TINY, "corpus_eval.txt")
SKIPPED = 77


class Stop(Exception):
    """The program under test did something after which a check cannot go on."""


class Answer:
    """How one run of shoal ended."""

    def __init__(self, command, code, out, err, seconds):
        self.command, self.code, self.out, self.err = command, code, out, err
        self.seconds = seconds

    def json(self):
        try:
            return json.loads(self.out)
        except ValueError:
            raise Stop(f"{self.said()}\n  stdout is no JSON document: {self.out[:200]!r}")

    def said(self):
        tail = "\n    ".join(self.err.strip().splitlines()[-8:])
        return f"{' '.join(self.command)}\n  exit {self.code}: {tail}"


class Shoal:
    """The program under test. Its environment holds no SHOAL_* variable but those given."""

    def __init__(self, binary, timeout=600):
        self.binary, self.timeout = os.path.abspath(binary), timeout

    def run(self, *args, env=None):
        command = [self.binary] + [str(a) for a in args]
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
        clean.update(env or {})
        begin = time.monotonic()
        try:
            done = subprocess.run(command, env=clean, cwd=ROOT, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                  timeout=self.timeout, check=False)
        except subprocess.TimeoutExpired:
            raise Stop(f"{' '.join(command)}\n  no end after {self.timeout} s")
        return Answer(command, done.returncode, done.stdout.decode(errors="replace"),
                      done.stderr.decode(errors="replace"), time.monotonic() - begin)

    def must(self, *args, env=None):
        """run, and expect exit code 0."""
        answer = self.run(*args, env=env)
        if answer.code != 0:
            raise Stop(answer.said())
        return answer


class Report:
    def __init__(self, title):
        self.checks, self.failures, self.skips = 0, 0, 0
        self.began = time.monotonic()
        print(f"== {title}", flush=True)

    def check(self, good, sentence):
        """Count one check; print it only when it failed. Returns `good`."""
        self.checks += 1
        if not good:
            self.failures += 1
            print(f"FAILED  {sentence}", flush=True)
        return good

    def row(self, cells, widths):
        line = "  ".join(f"{c:<{w}}" if i == 0 else f"{c:>{w}}"
                         for i, (c, w) in enumerate(zip(map(str, cells), widths)))
        print("  " + line.rstrip(), flush=True)

    def note(self, text):
        print(f"  {text}", flush=True)

    def skip(self, why):
        self.skips += 1
        print(f"skipped: {why}", flush=True)

    def guarded(self, label, work, *args):
        """Run `work`; what stops it counts as one failed check."""
        try:
            return work(*args)
        except Stop as stop:
            self.check(False, f"{label}: {stop}")
            return None

    def exit_code(self):
        print(f"{self.checks} checks, {self.failures} failed, {self.skips} skipped, "
              f"{time.monotonic() - self.began:.1f} s", flush=True)
        if self.failures:
            return 1
        return 0 if self.checks else SKIPPED


def golden(*parts):
    """A path inside the golden data, or None where there is none."""
    base = os.environ.get("SHOAL_GOLDEN") or os.path.join("..", "shared", "golden")
    path = os.path.join(ROOT, base, *parts)
    return os.path.normpath(path) if os.path.exists(path) else None


def golden_models(report, names):
    """[(name, folder)] of those that are there; one skip line when there are none at all."""
    if golden() is None:
        report.skip("no golden data")
        return []
    found = [(name, golden(*name.split("/"))) for name in names]
    for name, folder in found:
        if folder is None:
            report.skip(f"golden data has no {name}")
    return [(name, folder) for name, folder in found if folder]


def load_json(*parts):
    with open(os.path.join(*parts), encoding="utf-8") as f:
        return json.load(f)


def write_ids(folder, ids):
    path = os.path.join(folder, f"ids-{len(ids)}-{abs(hash(tuple(ids))) % 10**8}.json")
    with open(path, "w", encoding="utf-8") as f:
        json.dump({"prompt_ids": ids}, f)
    return path


def made_up_ids(count, vocab):
    """Token ids without a pattern a cache could hide behind; the same everywhere."""
    ids, state = [], 1
    for _ in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        ids.append((state >> 33) % vocab)
    return ids


def option(options, name, default=None):
    """The word behind `name`."""
    return options[options.index(name) + 1] if name in options else default


def main(check):
    """check(shoal_binary, scratch_folder, other_arguments) -> exit code."""
    if len(sys.argv) < 2 or sys.argv[1].startswith("-"):
        print(f"usage: {os.path.basename(sys.argv[0])} SHOAL_BINARY [options]", file=sys.stderr)
        return 64
    with tempfile.TemporaryDirectory(prefix="shoal-check-") as scratch:
        return check(Shoal(sys.argv[1]), scratch, sys.argv[2:])
