#!/usr/bin/env python3
"""The same logits, byte for byte, however a model is run.

    check_bits.py SHOAL_BINARY MAKE_MODEL_BINARY [--full | --quick]

Every variant of a run (ranks by MPI and by emulation, threads, prefill chunk, kernel level, the
network path) writes its logits file, and the file must equal that of one rank with one thread. A
shorter prompt must give the first rows of the longer one, since no token sees a later one.

Without an option a covering set runs (each value of each axis at least once, in changing
company) on a few small models and on one of 700 tokens with a window of 300. --full runs
the whole product on the long model; --quick leaves the long model out and half of the rest. The
rows of the kernel table that really ran are printed per level.
"""
import hashlib
import itertools
import os
import sys
import time

import harness
import safetensors

RANKS = [1, 2, 3, 4, 5, 7]
LEVELS = ["ref", "avx2", "avxvnni", "avx512", "avx512vnni", "amx"]
CHUNKS = [7, 256, 257, 700]
ABSENT = 64  # exit code where the machine lacks a level

GOLDEN = ["arch/llama-odd-h6kv2", "arch/llama-odd-kv1", "arch/mistral-sw16", "arch/qwen3",
          "arch/gemma2", "arch/phi3", "arch/gemma3-text", "arch/mixtral", "arch/qwen3-moe",
          "arch/pico-bias-2shards", "quant/gptq-4b-g32-actorder", "quant/gptq-4b-channel",
          "quant/gptq-4b-g64-sym-v2-actorder-bias", "quant/gptq-8b-g128",
          "quant/awq-gemm-gptqmodel-bias", "quant/awq-gemv-g64-autoawq-bias",
          "quant/awq-gemvfast-g128-autoawq", "quant/marlin-autogptq-channel",
          "quant/marlin-autogptq-g128-bias", "quant/ct-w4a16-asym-g64-bias",
          "quant/ct-w8a16-channel", "quant/ct-w8a8-int-asym", "quant/ct-w8a8-int-bias",
          "quant/lmdeploy-sq-bias", "quant/lmdeploy-migration",
          "quant/torchao-int4-opaque-cpu-pickle", "quant/torchao09-int8dyn-pickle",
          "quant/torchao-int4-tile4d-safetensors",
          "gguf/pico-py-q5_1", "gguf/nano-q3_k_m", "gguf/nano-iq4_xs", "gguf/nano-q2_k",
          "gguf/tiny-q4_k_m"]


def variant(mpi=0, emulate=0, threads=0, chunk=0, level=None, network=False):
    """(label, arguments, environment) of one way to run."""
    options = [("-n", mpi), ("--emulate-ranks", emulate), ("--threads", threads),
               ("--prefill-chunk", chunk)]
    args = [str(x) for name, value in options if value for x in (name, value)]
    env = {}
    if level:
        env["SHOAL_CPU"] = level
    if network:
        env["SHOAL_COMM"] = "network"
    label = " ".join([f"{k}={v}" for k, v in env.items()] + args)
    return label or "plain", args, env


# SHA-256 of all logits, its first half: the same for gcc and clang and on every machine, as long
# as the arithmetic id stays.
DIGESTS = {
    "tests/data/tiny-llama-gptq-int4": "57f1f920afab6420d73e1f0cf3d0d518",
    "long random int4 model": "ac3dc282f646f37bcc74eaee8f553482",
}


class Bits:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("bits: the same logits however a model is run")
        self.levels = []
        self.runs = 0

    def logits(self, folder, ids, way):
        """The path of one run's logits file."""
        label, args, env = way
        path = os.path.join(self.scratch, f"logits-{self.runs}")
        self.runs += 1
        self.shoal.must("eval", folder, "--ids", ids, "--logits", path, *args, env=env)
        return path

    def compare(self, name, folder, ids, want, way):
        path = self.logits(folder, ids, way)
        rows = safetensors.read_rows(path)
        os.unlink(path)
        differ = [i for i, (a, b) in enumerate(zip(rows, want)) if a != b]
        self.report.check(not differ and len(rows) <= len(want),
                          f"{name}, {way[0]}: {len(differ)} of {len(rows)} rows differ, first "
                          f"{differ[:1]}")

    def model(self, name, folder, ids, ways, short_ways=(), baseline=None):
        """`ways` on the whole prompt, `short_ways` on its first tokens (count, way)."""
        baseline = baseline or variant(threads=1, emulate=1)
        began = time.monotonic()
        ids_file = harness.write_ids(self.scratch, ids)
        path = self.logits(folder, ids_file, baseline)
        want = safetensors.read_rows(path)
        os.unlink(path)
        self.digest(name, want)
        before = self.report.failures
        for way in ways:
            self.report.guarded(f"{name}, {way[0]}", self.compare, name, folder, ids_file, want,
                                way)
        for count, way in short_ways:
            short = harness.write_ids(self.scratch, ids[:count])
            self.report.guarded(f"{name}, first {count}, {way[0]}", self.compare, name, folder,
                                short, want, way)
        count = len(ways) + len(short_ways)
        state = "all equal" if self.report.failures == before else "DIFFERENT"
        self.report.note(f"{name:<40} {len(want):4d} tokens, {count:3d} variants, "
                         f"{time.monotonic() - began:5.1f} s: {state}")

    def digest(self, name, rows):
        """Models that are the same everywhere must give the same bits everywhere."""
        got = hashlib.sha256(b"".join(rows)).hexdigest()[:32]
        want = DIGESTS.get(name)
        self.report.check(want in (None, got), f"{name}: the logits have digest {got}, not {want}")

    def find_levels(self):
        """Which levels this machine has, and which kernel rows ran under each."""
        ids = harness.write_ids(self.scratch, harness.made_up_ids(20, 1000))
        rows = {}
        for level in LEVELS:
            label, args, env = variant(level=level, emulate=1)
            path = os.path.join(self.scratch, "logits-level")
            answer = self.shoal.run("eval", harness.INT4, "--ids", ids, "--logits", path, "--json",
                                    *args, env=env)
            if answer.code == ABSENT:
                self.report.skip(f"this machine lacks SHOAL_CPU={level}")
                continue
            if not self.report.check(answer.code == 0, answer.said()):
                continue
            self.levels.append(level)
            kernels = answer.json()["kernels"]
            rows[level] = sorted({k[when] for k in kernels.values()
                                  for when in ("decode", "prefill")})
            self.report.note(f"SHOAL_CPU={level:<11} ran {', '.join(rows[level])}")
        if len(self.levels) > 1:
            self.report.check(len({tuple(r) for r in rows.values()}) > 1,
                              "every level ran the same kernel rows")


def check_text(bits, scratch):
    """Windows of a text run eight at a time; every sum of log-probabilities must agree."""
    text = os.path.join(scratch, "text")
    with open(harness.EVAL_TEXT, "rb") as source, open(text, "wb") as out:
        out.write(source.read(12000))
    ways = [variant(emulate=1, threads=1), variant(mpi=3), variant(emulate=2, chunk=7),
            variant(emulate=5, threads=2), variant(chunk=700)]
    said = [bits.shoal.must("eval", harness.INT4, "--text", text, "--json", *args, env=env).json()
            for _, args, env in ways]
    for way, report in zip(ways, said):
        bits.report.check((report["nll"], report["tokens"]) == (said[0]["nll"], said[0]["tokens"]),
                          f"--text, {way[0]}: nll {report['nll']!r}, not {said[0]['nll']!r}")
    bits.report.note(f"--text: nll {said[0]['nll']:.6f} over {said[0]['tokens']} tokens, "
                     f"{len(ways)} variants")


def small_ways(levels, tokens):
    """For models of a second or less."""
    ways = [variant(threads=2), variant(chunk=7, threads=1), variant(chunk=1)]
    ways += [variant(emulate=n, threads=1 + n % 2) for n in RANKS[1:]]
    ways += [variant(mpi=n, threads=1) for n in (2, 3)]
    ways += [variant(level=level, emulate=1 + i % 3) for i, level in enumerate(levels)]
    ways += [variant(chunk=tokens, emulate=5)]
    return ways


def int4_ways(levels):
    """The committed int4 model: every number of ranks both ways."""
    ways = [variant(mpi=n, threads=1 + n % 2) for n in RANKS]
    ways += [variant(mpi=3, network=True), variant(mpi=2, network=True, chunk=7)]
    ways += [variant(mpi=3, level=level, threads=1) for level in levels]
    return ways + small_ways(levels, 200)


def long_ways(levels):
    """A covering set: every value of every axis, in changing company."""
    fast = [level for level in levels if level != "ref"]
    ways = [variant(mpi=n, threads=1 + n % 2, chunk=chunk)
            for n, chunk in zip(RANKS[1:], itertools.cycle(CHUNKS))]
    ways += [variant(emulate=n, threads=2 - n % 2, chunk=chunk)
             for n, chunk in zip(RANKS[1:], itertools.cycle(reversed(CHUNKS)))]
    ways += [variant(threads=2), variant(mpi=3, network=True, threads=1)]
    ways += [variant(level=level, emulate=n, chunk=chunk) for level, n, chunk
             in zip(fast, itertools.cycle((1, 3, 2)), itertools.cycle((0, 257, 256)))]
    return ways


def long_short_ways(levels):
    """What is slow, on the first tokens; 320 are more than the window."""
    ways = [(320, variant(chunk=1)), (320, variant(chunk=1, emulate=3, threads=1))]
    if "ref" in levels:
        ways += [(310, variant(level="ref", emulate=2))]
    return ways


def full_ways(levels):
    both = [{"mpi": n} for n in RANKS] + [{"emulate": n} for n in RANKS]
    ways = [variant(threads=threads, chunk=chunk, level=level, **ranks)
            for ranks in both for threads in (1, 2) for chunk in [1] + CHUNKS
            for level in levels]
    return ways + [variant(mpi=n, network=True) for n in RANKS]


def float_ways(levels):
    """Float activations obey the same rules."""
    fast = [level for level in levels if level != "ref"]
    return ([variant(mpi=3), variant(emulate=7, threads=2), variant(chunk=7)]
            + [variant(level=level, emulate=2) for level in fast])


def with_inputs(kind, ways):
    return [(f"{label} --activations {kind}", args + ["--activations", kind], env)
            for label, args, env in ways]


def with_float(ways):
    return with_inputs("f32", ways)


def check_bf16(bits, ids):
    """bf16 activations have the bits of one kind of CPU, named by the arithmetic id: the levels of
    a kind agree, however they are cut, and different kinds refuse each other elsewhere."""
    kinds = {}
    for level in bits.levels:
        _, args, env = variant(level=level)
        said = bits.shoal.must("plan", harness.INT4, "--activations", "bf16", "--json", *args,
                               env=env).json()
        kinds.setdefault(said["arithmetic"], []).append(level)
    for kind, levels in sorted(kinds.items()):
        best = levels[-1]
        ways = [variant(level=best, mpi=2), variant(level=best, emulate=3, chunk=7),
                variant(level=best, threads=2), variant(level=best, chunk=1)]
        ways += [variant(level=level, emulate=2) for level in levels[:-1]]
        bits.model(f"int4, {kind}", harness.INT4, ids, with_inputs("bf16", ways),
                   baseline=with_inputs("bf16", [variant(level=best, threads=1, emulate=1)])[0])


def check_long(bits, scratch, make_model, options):
    folder = os.path.join(scratch, "long")
    maker = harness.Shoal(make_model)
    maker.must("long", folder)
    ids = harness.made_up_ids(700, 1000)
    if "--full" in options:
        bits.model("long random int4 model", folder, ids, full_ways(bits.levels))
    else:
        bits.model("long random int4 model", folder, ids, long_ways(bits.levels),
                   long_short_ways(bits.levels))
    bits.model("the same, float activations", folder, ids[:310],
               with_float(float_ways(bits.levels)),
               [(20, way) for way in with_float([variant(level="ref", emulate=2)])],
               with_float([variant(threads=1, emulate=1)])[0])


def check(shoal, scratch, arguments):
    if not arguments or arguments[0].startswith("-"):
        print("check_bits.py needs the make_model binary", file=sys.stderr)
        return 64
    make_model, options = arguments[0], arguments[1:]
    bits = Bits(shoal, scratch)
    report = bits.report
    quick = "--quick" in options
    bits.find_levels()
    ways = int4_ways(bits.levels)
    report.guarded("int4", bits.model, "tests/data/tiny-llama-gptq-int4", harness.INT4,
                   harness.made_up_ids(200, 1000), ways[1::2] if quick else ways)
    report.guarded("bf16", check_bf16, bits, harness.made_up_ids(60, 1000))
    if not quick:
        report.guarded("--text", check_text, bits, scratch)
    for name, folder in harness.golden_models(report, GOLDEN[::2] if quick else GOLDEN):
        ids = harness.load_json(folder, "expected", "prompt_ids.json")["prompt_ids"]
        report.guarded(name, bits.model, name, folder, ids, small_ways(bits.levels, len(ids)))
    if not quick:
        report.guarded("long model", check_long, bits, scratch, make_model, options)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
