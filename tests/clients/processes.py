"""The processes of one started shoal: found by a mark in their environment, killed, swept away.

A Run is a shoal that goes on in the background, its output in files of its TMPDIR. Its mpirun and
its workers inherit the mark, so that they are found whoever their parent is by then.
"""
import os
import resource
import signal
import subprocess
import time
import uuid

import harness

MARK = "SHOAL_TEST_MARK"
END_SECONDS = 20


def living(mark):
    """{pid: command line} of the processes that carry the mark; the dead but unburied not."""
    found = {}
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/environ", "rb") as f:
                if f"{MARK}={mark}".encode() not in f.read():
                    continue
            with open(f"/proc/{name}/stat", encoding="utf-8", errors="replace") as f:
                if f.read().rpartition(")")[2].split()[0] == "Z":
                    continue
            with open(f"/proc/{name}/cmdline", encoding="utf-8", errors="replace") as f:
                found[int(name)] = f.read().split("\0")
        except OSError:
            continue
    return found


class Run:
    """One started shoal, its output read as it comes. `descriptors` limits how many it may open."""

    def __init__(self, shoal, args, env, descriptors=None):
        self.mark = uuid.uuid4().hex
        clean = {k: v for k, v in os.environ.items() if not k.startswith("SHOAL_")}
        clean.update(env)
        clean[MARK] = self.mark
        self.err_path = os.path.join(env["TMPDIR"], "stderr")
        self.out_path = os.path.join(env["TMPDIR"], "stdout")
        limits = descriptors and (lambda: resource.setrlimit(resource.RLIMIT_NOFILE,
                                                             (descriptors, descriptors)))
        with open(self.err_path, "wb") as err, open(self.out_path, "wb") as out:
            self.process = subprocess.Popen([shoal.binary] + [str(a) for a in args], env=clean,
                                            cwd=harness.ROOT, stdin=subprocess.DEVNULL,
                                            stdout=out, stderr=err, preexec_fn=limits)

    def out(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def err(self):
        with open(self.err_path, encoding="utf-8", errors="replace") as f:
            return f.read()

    def workers(self):
        """Worker pids by rank (their order of ids is the order of ranks)."""
        return sorted(pid for pid, words in living(self.mark).items() if "worker" in words
                      and "--token-file" in words and "mpirun" not in words[0])

    def mpirun(self):
        return [pid for pid, words in living(self.mark).items() if words[0] == "mpirun"]

    def shared_folder(self):
        """Where the ranks' shared memory segments lie; mpirun was told."""
        words = [w for line in living(self.mark).values() for w in line]
        places = [words[i + 1] for i, w in enumerate(words[:-1])
                  if w == "btl_vader_backing_directory"]
        return places[0] if places else None

    def wait_until(self, ready, seconds=30.0):
        end = time.monotonic() + seconds
        while not ready():
            if self.process.poll() is not None:
                raise harness.Stop(f"ended too early ({self.process.returncode}): {self.err()}")
            if time.monotonic() > end:
                raise harness.Stop(f"not ready after {seconds} s: {self.err()}")
            time.sleep(0.005)

    def end(self, seconds=END_SECONDS):
        """The exit code, or None if there is none after that time."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def sweep(self):
        """Leave nothing to the next case."""
        for pid in living(self.mark):
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass
        self.process.wait()
