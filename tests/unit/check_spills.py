#!/usr/bin/env python3
"""Do the inner loops of the linears keep their sums in registers?

    check_spills.py CONFIG OBJDUMP OBJECT...

Disassembles the objects named linear_* and looks at every innermost loop that multiplies. A vector
that moves to or from the stack there is a spilled sum: gcc 12 does that to the vpdpbusd intrinsic,
at half the speed. Sums that wait in memory by design are less than a quarter of the products. The
sums of AMX kernels are in tiles, which no compiler can spill: they are left out.
Exit status: 0 none found, 1 found, 77 skipped (not a release build, or no objdump)."""
import os
import re
import shutil
import subprocess
import sys

PRODUCT = re.compile(r"\bv(pdpbusd|pmaddubsw|pmaddwd|dpbf16ps|fn?madd\w+ps)\b")
STACK_MOVE = re.compile(r"\bvmov\w+\s.*\(%r[sb]p\)")
JUMP = re.compile(r"\bj\w+\s+([0-9a-f]+) <")
LINE = re.compile(r"\s*([0-9a-f]+):\s+(.*)")


def functions(objdump, path):
    """(name, [(address, instruction)]) of every function."""
    text = subprocess.run([objdump, "-d", "--no-show-raw-insn", path], check=True,
                          capture_output=True, text=True).stdout
    for part in text.split("\n\n"):
        name = re.search(r"^[0-9a-f]+ <(\S+)>:", part, re.M)
        if name:
            lines = (LINE.match(line) for line in part.splitlines())
            yield name[1], [(int(m[1], 16), m[2]) for m in lines if m]


def inner_loops(code):
    """Runs of instructions from the target of a backward jump to the jump, without such a jump."""
    place = {address: i for i, (address, _) in enumerate(code)}
    loops = []
    for i, (_, text) in enumerate(code):
        jump = JUMP.search(text)
        start = place.get(int(jump[1], 16)) if jump else None
        if start is not None and start <= i:
            loops.append((start, i))
    for start, end in loops:
        if not any((s, e) != (start, end) and start <= s and e <= end for s, e in loops):
            yield [text for _, text in code[start:end + 1]]


def check(objdump, path):
    """Loops that multiply, and how many of them spill."""
    loops = spilling = 0
    for name, code in functions(objdump, path):
        for loop in inner_loops(code):
            products = sum(bool(PRODUCT.search(text)) for text in loop)
            moves = sum(bool(STACK_MOVE.search(text)) for text in loop)
            loops += products > 0
            if products and 4 * moves > products:
                spilling += 1
                print(f"{os.path.basename(path)}: {name}: {moves} moves between vector registers "
                      f"and the stack beside {products} products", file=sys.stderr)
    return loops, spilling


def main():
    config, objdump, objects = sys.argv[1], sys.argv[2], sys.argv[3:]
    if config != "Release" or not shutil.which(objdump):
        print("skipped: " + ("there is no objdump" if config == "Release" else "no release build"))
        return 77
    total = bad = 0
    for path in objects:
        name = os.path.basename(path)
        if name.startswith("linear_") and "amx" not in name:
            loops, spilling = check(objdump, path)
            total += loops
            bad += spilling
    print(f"{total} inner loops that multiply, {bad} of them spill")
    return 1 if bad or not total else 0


sys.exit(main())
