"""Who is measured: how to get it, which commands measure it, and the ratio Shoal aims at.

A contender takes part in one of two groups. "model": a whole model, tokens per second; one command.
"linear": one linear alone, 10^9 operations per second; a command per N.
"""
import json
import os
import re

from rivals import environments, workload

HERE = os.path.dirname(os.path.abspath(__file__))
UNITS = {"model": "tokens/s", "linear": "GOPS"}

LLAMA_TARGETS = {"decode.b1": 1.15, "prefill.512": 4, "decode.b8": 2.5, "decode.b32": 4,
                 "decode.b8.c16": 2.5, "decode.b32.c16": 4}
CTRANSLATE2_TARGETS = {"decode.b1": 1.7, "prefill.512": 1.5, "decode.b32": 2, "decode.b32.c16": 2}
LINEAR_TARGET = 1.2


def threads_of(group, work):
    most = work.threads if group == "model" else min(work.threads, workload.LINEAR_THREADS)
    return str(most)


class Rival:
    """Somebody else's program, in an environment of its own."""

    def __init__(self, title, group, environment, script, targets):
        self.title, self.group, self.environment = title, group, environment
        self.script, self.targets, self.python = script, targets, None

    def get(self, folder):
        """Raises environments.Missing."""
        self.python = self.environment(folder)

    def command(self, part, work):
        first = work.folder if self.group == "model" else work.shape
        script = os.path.join(HERE, self.script)
        return [self.python, script, first, part, threads_of(self.group, work)]

    def read(self, output):
        """(version, {row: value}) of the last line of what the command said."""
        found = json.loads(output.splitlines()[-1])
        return found["version"], found["rows"]

    def target(self, row):
        return self.targets.get(row) if self.group == "model" else LINEAR_TARGET


RIVALS = {
    "llama": Rival("llama.cpp Q4_0", "model", environments.llama, "run_llama.py", LLAMA_TARGETS),
    "ctranslate2": Rival("CTranslate2 int8", "model", environments.ctranslate2,
                         "run_ctranslate2.py", CTRANSLATE2_TARGETS),
    "openvino": Rival("OpenVINO int4", "linear", environments.openvino, "run_openvino.py", {}),
    "torch": Rival("oneDNN int8", "linear", environments.torch, "run_torch.py", {}),
}


class Shoal:
    """This repository's own benches: one rank, all threads."""

    def __init__(self, program, group):
        self.program, self.group = program, group

    def command(self, part, work):
        threads = threads_of(self.group, work)
        if self.group == "model":
            return [self.program, "bench", "model", "--shape", part, "-n", "1", "--threads",
                    threads, "--rows", r"^model\.", "--json"]
        rows = rf"^linear\.int4-g128\.{workload.LINEAR_K}x{part}\..*\.t{threads}$"
        return [self.program, "bench", "kernels", "--rows", rows, "--json"]

    def read(self, output):
        rows = {}
        for row in json.loads(output)["rows"]:
            name = self.name_of(row["name"])
            if name:
                rows[name] = row["value"]
        for batch, context, _ in workload.DECODES:  # see workload.py: measured at CONTEXT only
            long = workload.decode_row(batch, workload.CONTEXT)
            if long in rows:
                rows.setdefault(workload.decode_row(batch, context), rows[long])
        return "shoal", rows

    @staticmethod
    def name_of(name):
        """The common name of a row of shoal's; None: a row nobody else has."""
        if re.match(r"model\.prefill\.", name):
            return workload.prefill_row()
        decode = re.match(r"model\.decode\.[^.]+(?:\.b(\d+))?\.r", name)
        if decode:
            return workload.decode_row(int(decode[1] or 1), workload.CONTEXT)
        linear = re.match(r"linear\.int4-g128\.\d+x(\d+)\.m(\d+)\.", name)
        return workload.linear_row(int(linear[1]), int(linear[2])) if linear else None
