"""Run commands one after the other and tell how much of the machine others took meanwhile.

    alone.py '[["COMMAND", "ARGUMENT", ...], ...]'

Prints {"code": exit status, "output": its stdout, "others": per cent of all cores' time} of each,
in a list.
"""
import json
import os
import resource
import subprocess
import sys
import time


def busy_seconds():
    """Processor time of the machine so far, and that of our ended children."""
    with open("/proc/stat", encoding="ascii") as file:
        user, nice, system, _, _, irq, softirq, steal = map(int, file.readline().split()[1:9])
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    ticks = user + nice + system + irq + softirq + steal
    return ticks / os.sysconf("SC_CLK_TCK"), children.ru_utime + children.ru_stime


class Others:
    """Per cent of all cores' time that other processes took since this began."""

    def __init__(self):
        self.begin, (self.machine, self.ours) = time.monotonic(), busy_seconds()

    def percent(self):
        machine, ours = busy_seconds()
        others = (machine - self.machine) - (ours - self.ours)
        return 100 * others / (os.cpu_count() * (time.monotonic() - self.begin))


def measure(command):
    others = Others()
    run = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    return {"code": run.returncode, "output": run.stdout, "others": others.percent()}


if __name__ == "__main__":
    json.dump([measure(command) for command in json.loads(sys.argv[1])], sys.stdout)
