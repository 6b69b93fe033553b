#!/usr/bin/env python3
"""Two ways to load, one result: `--load push` gives the logits of pread, and `--probe` is clean.

    check_push.py SHOAL_BINARY [--quick]

Under push only rank 0 opens the model: it runs here with the MPI launcher and by emulation. The
probe multiplies a random vector through every sharded linear after loading and compares with the
plain dequantized product; an exit code of 0 says that every one agreed.
--quick takes every third model.
"""
import os
import sys

import harness

GOLDEN = ["arch/llama-odd-kv1", "arch/pico-bias-2shards", "arch/qwen2-tied", "arch/qwen3",
          "arch/mistral-sw16", "quant/gptq-4b-g32-actorder", "quant/gptq-8b-g128",
          "quant/gptq-4b-g64-sym-v2-actorder-bias", "quant/gptq-4b-channel",
          "quant/awq-gemm-gptqmodel-bias", "quant/awq-gemv-g64-autoawq-bias",
          "quant/awq-gemvfast-g128-autoawq", "quant/marlin-autogptq-g128-bias",
          "quant/ct-w4a16-asym-g64-bias", "quant/ct-w8a8-int-asym", "quant/lmdeploy-sq-bias",
          "quant/lmdeploy-migration", "quant/torchao-int4-opaque-cpu-pickle",
          "quant/torchao09-int8dyn-pickle", "quant/torchao-int4-tile4d-safetensors",
          "gguf/nano-q3_k_m", "gguf/pico-f16"]


class Push:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("push and probe: loading another way, and checking it")

    def logits(self, folder, ids, *options):
        path = os.path.join(self.scratch, "logits")
        self.shoal.must("eval", folder, "--ids", ids, "--logits", path, *options)
        with open(path, "rb") as f:
            return f.read()

    def model(self, name, folder, ids):
        ids_file = harness.write_ids(self.scratch, ids)
        before = self.report.failures
        want = self.logits(folder, ids_file, "-n", 1)
        for options in (["-n", 3, "--load", "push"],
                        ["-n", 2, "--load", "push", "--comm", "network"],
                        ["--emulate-ranks", 5, "--load", "push"],
                        ["-n", 3, "--probe"],
                        ["--emulate-ranks", 2, "--probe", "--load", "push"],
                        ["--emulate-ranks", 7, "--probe"]):
            said = " ".join(map(str, options))
            got = self.report.guarded(f"{name} {said}", self.logits, folder, ids_file, *options)
            if got is not None:
                self.report.check(got == want, f"{name} {said}: other logits")
        self.report.check(self.logits(folder, ids_file, "-n", 3, "--activations", "f32", "--probe")
                          != b"", name)
        good = self.report.failures == before
        self.report.note(f"{name:<44} {'equal, probes clean' if good else 'NOT EQUAL'}")


def check(shoal, scratch, options):
    push = Push(shoal, scratch)
    report = push.report
    report.guarded("int4", push.model, "tests/data/tiny-llama-gptq-int4", harness.INT4,
                   harness.made_up_ids(60, 1000))
    report.guarded("dense", push.model, "tests/data/tiny-llama", harness.TINY,
                   harness.made_up_ids(60, 1000))
    names = GOLDEN[::3] if "--quick" in options else GOLDEN
    for name, folder in harness.golden_models(report, names):
        ids = harness.load_json(folder, "expected", "prompt_ids.json")["prompt_ids"]
        report.guarded(name, push.model, name, folder, ids)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
