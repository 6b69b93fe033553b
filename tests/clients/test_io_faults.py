#!/usr/bin/env python3
"""Disks that fail (reliability MF-20 to MF-22), through a preloaded library.

    test_io_faults.py SHOAL_BINARY IO_FAULT_LIBRARY MAKE_MODEL_BINARY [--step N]

What writes files (convert, pack, inspect --dequant, eval --logits) is run once for every call that
touches the source or the output, and that call fails: with EIO, or with no room on the disk; or the
file read changes before it; or the process is killed there. Then

    a failure ends with code 73 or 74 and one sentence, and the output is not there; or what failed
    did not matter, and the output has the bytes of an undisturbed run
    the next run, undisturbed, ends well and writes the same bytes

Reads and writes that are interrupted, or move half of the bytes, change nothing at all. And of two
conversions into one folder the second ends with 73. --step takes every N-th call only.
"""
import fcntl
import hashlib
import os
import shutil
import signal
import sys

import harness

CALLS_MAX = 5000  # of one run: more says that the model has grown too large for this test
FAILED = (73, 74)
CHANGED = "was written to while it was read"


def digest(path):
    """Of a file, or of all files in a folder (not what a conversion notes in a folder of its own);
    None where there is nothing."""
    if not os.path.exists(path):
        return None
    total = hashlib.sha256()
    names = [""] if os.path.isfile(path) else sorted(os.listdir(path))
    for file in (os.path.join(path, name) if name else path for name in names):
        if os.path.isdir(file):
            continue
        total.update(os.path.relpath(file, path).encode() + b"\0")
        with open(file, "rb") as f:
            total.update(f.read())
    return total.hexdigest()


class Disk:
    def __init__(self, shoal, scratch, library, make_model, step):
        self.shoal, self.library, self.step = shoal, os.path.abspath(library), step
        self.report = harness.Report("disks that fail, at every call")
        self.place = os.path.join(scratch, "disk")
        self.source = os.path.join(self.place, "source")
        self.out = os.path.join(self.place, "out")
        self.count = os.path.join(scratch, "count")
        os.makedirs(self.place)
        harness.Shoal(make_model).must("least", self.source)
        self.ids = harness.write_ids(scratch, [1, 2, 3])

    def verbs(self):
        """(label, arguments)."""
        return [("convert", ["convert", self.source, self.out, "--to", "awq", "--threads", 1,
                             "--max-shard-size", 20000]),
                ("convert to GGUF", ["convert", self.source, self.out, "--to", "gguf:q8_0",
                                     "--allow-requantize", "--threads", 1]),
                ("pack", ["pack", self.source, self.out, "--threads", 1]),
                ("dequant", ["inspect", self.source, "--dequant", self.out]),
                ("logits", ["eval", self.source, "--ids", self.ids, "--logits", self.out,
                            "--threads", 1])]

    def clean(self):
        for name in os.listdir(self.place):
            path = os.path.join(self.place, name)
            if path != self.source:
                shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)

    def run(self, arguments, kind=None, call=0, under=None):
        env = {} if kind is None else {
            "LD_PRELOAD": self.library, "IO_FAULT_UNDER": under or self.place,
            "IO_FAULT_KIND": kind, "IO_FAULT_CALL": str(call), "IO_FAULT_COUNT": self.count}
        return self.shoal.run(*arguments, env=env)

    def calls(self, arguments, kind, under=None):
        """How many calls a whole run makes that `kind` can hit."""
        self.clean()
        answer = self.run(arguments, kind, CALLS_MAX + 1, under)
        with open(self.count, encoding="ascii") as f:
            count = int(f.read())
        if answer.code != 0 or not 0 < count <= CALLS_MAX:
            raise harness.Stop(f"{count} calls of {kind}: {answer.said()}")
        return count

    def left(self):
        """Temporary files that stayed."""
        return [name for _, _, names in os.walk(self.place) for name in names if ".tmp-" in name]

    def again(self, label, arguments, want):
        answer = self.run(arguments)
        self.report.check(answer.code == 0 and digest(self.out) == want,
                          f"{label}: the next run: {answer.said()}")

    def refused(self, label, arguments, kind, want):
        """Every call fails once. A conversion goes on from what is left; the others begin anew."""
        count, harmless = self.calls(arguments, kind), 0
        for call in range(1, count + 1, self.step):
            self.clean()
            answer = self.run(arguments, kind, call)
            where = f"{label}: {kind} at call {call} of {count}"
            if answer.code == 0:
                harmless += 1
                self.report.check(digest(self.out) == want, f"{where}: other bytes")
                continue
            lines = answer.err.strip().splitlines()
            self.report.check(answer.code in FAILED and lines and len(lines[-1]) > 20,
                              f"{where}: {answer.said()}")
            self.report.check(digest(self.out) is None, f"{where}: an output is there")
            self.report.check(not self.left(), f"{where}: left: {self.left()}")
            if label.startswith("convert"):
                self.again(where, arguments, want)
        self.clean()
        self.again(f"{label}: {kind}", arguments, want)
        self.report.note(f"{label:<16} {kind:<7} {count:4} calls, {harmless} of them harmless")

    def killed(self, label, arguments, want):
        """Killed before every call that changes the disk; the next run takes up what is there."""
        count = self.calls(arguments, "die")
        for call in range(1, count + 1, self.step):
            self.clean()
            answer = self.run(arguments, "die", call)
            where = f"{label}: killed before call {call} of {count}"
            self.report.check(answer.code == -signal.SIGKILL, f"{where}: {answer.said()}")
            there = digest(self.out)
            self.report.check(there in (None, want), f"{where}: half an output is there")
            if there is None:
                self.again(where, arguments, want)
        self.report.note(f"{label:<16} killed  {count:4} calls")

    def disturbed(self, label, arguments, kind, want):
        """Interrupted or short calls are made again until all is done."""
        self.clean()
        answer = self.run(arguments, kind)
        self.report.check(answer.code == 0 and digest(self.out) == want,
                          f"{label}: {kind}: {answer.said()}")

    def changed(self, label, arguments):
        """The weights get a new time at some read after they were opened."""
        weights = os.path.join(self.source, "model.safetensors")
        count = self.calls(arguments, "touch", weights)
        for call in sorted({1, 2, count // 2, count}):
            self.clean()
            answer = self.run(arguments, "touch", call, weights)
            where = f"{label}: changed before read {call} of {count}"
            self.report.check(answer.code == 74 and CHANGED in answer.err,
                              f"{where}: {answer.said()}")
            self.report.check(digest(self.out) is None, f"{where}: an output is there")
            os.utime(weights)

    def verb(self, label, arguments):
        self.clean()
        self.shoal.must(*arguments)
        want = digest(self.out)
        for kind in ("eintr", "short"):
            self.disturbed(label, arguments, kind, want)
        self.changed(label, arguments)
        for kind in ("eio", "enospc"):
            self.refused(label, arguments, kind, want)
        self.killed(label, arguments, want)

    def two_at_once(self):
        """The folder of a conversion is locked while it runs."""
        arguments = self.verbs()[0][1]
        self.clean()
        self.run(arguments, "die", 8)
        lock = os.path.join(self.out + ".partial", ".shoal-convert", "fingerprint")
        with open(lock, "rb") as f:
            fcntl.flock(f, fcntl.LOCK_EX)
            answer = self.run(arguments)
            self.report.check(answer.code == 73 and "another process" in answer.err,
                              f"a second conversion: {answer.said()}")
        self.report.check(self.run(arguments).code == 0, "once the first has gone")

    def run_all(self):
        for label, arguments in self.verbs():
            self.report.guarded(label, self.verb, label, arguments)
        self.report.guarded("two at once", self.two_at_once)
        return self.report.exit_code()


def check(shoal, scratch, arguments):
    if len(arguments) < 2:
        print("test_io_faults.py needs the library io_fault and make_model", file=sys.stderr)
        return 64
    step = int(harness.option(arguments, "--step", 1))
    return Disk(shoal, scratch, arguments[0], arguments[1], step).run_all()


if __name__ == "__main__":
    sys.exit(harness.main(check))
