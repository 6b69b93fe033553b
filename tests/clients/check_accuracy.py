#!/usr/bin/env python3
"""Logits, perplexity and greedy tokens against what transformers computed, through the program.

    check_accuracy.py SHOAL_BINARY [--quick]

float activations   max |difference| / max |logit| over all positions <= 2e-5
default activations cosine of all logits >= 0.9995; and of every row, unless the row is small: int8
                    noise has the same size everywhere, so a row whose logits are a fifth of the
                    others' may have a lower cosine. Its difference is then held against the
                    length that rows have on the whole, to the same angle.
bf16 activations    cosine of all logits >= 0.9995
perplexity          f32 within 1e-4 (relative) of transformers; default and bf16 activations within
                    0.1 % of f32, also on int4 and int8 weights
greedy tokens       as transformers, up to the first step whose two best tokens are within 0.01

--quick leaves out perplexity, which takes minutes under a sanitizer.
"""
import math
import os
import sys

import harness
import safetensors

DENSE = ["tiny-llama"] + ["arch/" + name for name in (
    "mistral-sw16", "llama-rope-llama3", "llama-rope-yarn", "qwen2-yarn-v4", "qwen2-tied", "qwen3",
    "phi3", "gemma2", "gemma3-text", "mixtral", "qwen3-moe",
    "llama-odd-h6kv2", "llama-odd-kv1", "pico-bias-2shards")]
QUANTIZED = ["quant/" + name for name in (
    "gptq-tiny-4b-g128", "gptq-2b-g32", "gptq-3b-g128", "gptq-4b-channel", "gptq-4b-g128-asym-v1",
    "gptq-4b-g32-actorder", "gptq-4b-g64-asym-v2-bias", "gptq-4b-g64-sym-v2-actorder-bias",
    "gptq-8b-g128", "gptq-autogptq-4b-g128-bias", "gptq-autogptq-4b-g64-asym",
    "awq-gemm-g128-autoawq", "awq-gemm-gptqmodel-bias", "awq-gemv-g64-autoawq-bias",
    "awq-gemvfast-g128-autoawq", "marlin-autogptq-channel", "marlin-autogptq-g128-bias",
    "ct-w4a16-asym-g64-bias", "ct-w8a16-channel", "ct-w8a8-int-asym", "ct-w8a8-int-bias",
    "lmdeploy-sq-bias", "lmdeploy-migration",
    "torchao-int8dyn-safetensors", "torchao-int4-tile4d-safetensors",
    "torchao-int4-opaque-cpu-pickle", "torchao09-int4-cpu-pickle", "torchao09-int4-tiled-pickle",
    "torchao09-int8dyn-pickle")]
GGUF = ["gguf/" + name for name in (
    "pico-f16", "pico-py-q8_0", "pico-py-q4_0", "pico-py-q4_1", "pico-py-q5_0", "pico-py-q5_1",
    "pico-iq4_nl", "nano-q2_k", "nano-q3_k_m", "nano-q6_k", "nano-iq4_xs", "tiny-q4_k_m")]

LOGIT_BOUND = 2e-5
COSINE_BOUND = 0.9995
COARSE_BOUND = 0.999  # of a row, where weights have four or eight levels and noise grows faster
COARSE = ("-2b-", "-q2_k", "-q3_k")
PPL_BOUND = 1e-4
PPL_ROUNDED_BOUND = 1e-3  # inputs of 8 bits, int8 or bf16
CLOSE_CALL = 0.01  # logits nearer than this may swap

WIDTHS = [38, 10, 11, 11, 9, 26]


def largest_difference(got, want):
    """max |got - want| / max |want|; NaN anywhere gives infinity."""
    worst = max(abs(a - b) for a, b in zip(got, want))
    if any(math.isnan(a) for a in got):
        return math.inf
    return worst / max(map(abs, want))


def cosine(a, b):
    dot = math.fsum(x * y for x, y in zip(a, b))
    norm = math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))
    return dot / norm if norm > 0 and math.isfinite(norm) else 0.0


def rows_of(values, width):
    return [values[begin:begin + width] for begin in range(0, len(values), width)]


def wrong_rows(got, want, width, bound):
    """(worst cosine of a row, rows that are wrong by the rule above)."""
    angle = math.sqrt(2 * (1 - bound))  # what that cosine is as a relative difference
    usual = math.sqrt(math.fsum(x * x for x in want) * width / len(want))
    worst, wrong = 1.0, []
    for i, (a, b) in enumerate(zip(rows_of(got, width), rows_of(want, width))):
        row = cosine(a, b)
        worst = min(worst, row)
        difference = math.sqrt(math.fsum((x - y) ** 2 for x, y in zip(a, b)))
        if not (row >= bound or difference <= angle * usual):
            wrong.append(i)
    return worst, wrong


class Accuracy:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("accuracy: against transformers' fp32 logits")
        self.out = os.path.join(scratch, "logits.safetensors")

    def logits(self, folder, *options):
        self.shoal.must("eval", folder, "--ids", os.path.join(folder, "expected/prompt_ids.json"),
                        "--logits", self.out, *options)
        return safetensors.read_tensor(self.out, "logits")

    def same_greedy(self, folder):
        """How many tokens agreed; None after a real difference."""
        want = harness.load_json(folder, "expected", "greedy.json")
        answer = self.shoal.must(
            "generate", folder, "--ids", os.path.join(folder, "expected/prompt_ids.json"),
            "--max-tokens", len(want["greedy"]), "--ignore-eos", "--activations", "f32", "--json")
        got = answer.json()["ids"]
        for i, (token, margin) in enumerate(zip(want["greedy"], want["top1_minus_top2"])):
            if i >= len(got) or got[i] != token:
                if i < len(got) and margin < CLOSE_CALL:
                    return f"{i}, then a close call"
                self.report.check(False, f"{folder}: greedy token {i} differs (margin {margin}): "
                                         f"got {got[i:i + 1]}, want {token}")
                return f"{i}, then WRONG"
        self.report.check(len(got) == len(want["greedy"]), f"{folder}: {len(got)} tokens")
        return f"all {len(got)}"

    def model(self, name, folder):
        shape, want = safetensors.read_tensor(
            os.path.join(folder, "expected/logits.safetensors"), "logits")
        got_shape, got = self.logits(folder, "--activations", "f32")
        if not self.report.check(got_shape == shape, f"{name}: logits {got_shape}, not {shape}"):
            return
        difference = largest_difference(got, want)
        self.report.check(difference <= LOGIT_BOUND,
                          f"{name}: f32 logits differ by {difference:.2e} (at most {LOGIT_BOUND})")
        _, got = self.logits(folder)
        whole = cosine(got, want)
        worst, wrong = wrong_rows(got, want, shape[1],
                                  COARSE_BOUND if any(c in name for c in COARSE) else COSINE_BOUND)
        self.report.check(whole >= COSINE_BOUND,
                          f"{name}: cosine {whole:.6f} (at least {COSINE_BOUND})")
        self.report.check(not wrong, f"{name}: rows {wrong} are off by more than int8 explains")
        _, rounded = self.logits(folder, "--activations", "bf16")
        close = cosine(rounded, want)
        self.report.check(close >= COSINE_BOUND,
                          f"{name}: bf16 cosine {close:.6f} (at least {COSINE_BOUND})")
        self.report.row([name, f"{difference:.2e}", f"{whole:.7f}", f"{worst:.7f}",
                         f"{shape[0]}x{shape[1]}", self.same_greedy(folder)], WIDTHS)

    def perplexity(self, folder, *options):
        return self.shoal.must("eval", folder, "--text", harness.EVAL_TEXT, "--context", 256,
                               "--json", *options).json()

    def perplexities(self):
        expected = harness.golden("tiny-llama", "expected", "ppl.json")
        want = harness.load_json(expected) if expected else None
        cases = [("tiny-llama", harness.TINY, []),
                 ("tiny-llama-gptq-int4", harness.INT4, []),
                 ("tiny-llama --quantize int4-g128", harness.TINY, ["--quantize", "int4-g128"]),
                 ("tiny-llama --quantize int8", harness.TINY, ["--quantize", "int8"])]
        self.report.row(["perplexity of corpus_eval.txt", "f32", "rounded", "change", "to"], WIDTHS)
        for label, folder, options in cases:
            exact = self.perplexity(folder, "--activations", "f32", *options)
            for kind in ("int8", "bf16"):
                rounded = self.perplexity(folder, "--activations", kind, *options)
                change = rounded["ppl"] / exact["ppl"] - 1
                self.report.row([label, f"{exact['ppl']:.6f}", f"{rounded['ppl']:.6f}",
                                 f"{100 * change:+.4f} %", kind], WIDTHS)
                self.report.check(abs(change) <= PPL_ROUNDED_BOUND,
                                  f"{label}: {kind} activations change perplexity by {change:.2e}")
            if want and not options and folder == harness.TINY:
                self.compare_perplexity(exact, want)
        if not want:
            self.report.skip("no golden data for perplexity")

    def compare_perplexity(self, got, want):
        error = got["ppl"] / want["ppl"] - 1
        self.report.check(abs(error) <= PPL_BOUND,
                          f"perplexity {got['ppl']} is not transformers' {want['ppl']}")
        self.report.check(got["tokens"] == want["predictions"],
                          f"{got['tokens']} predictions, not {want['predictions']}")
        self.report.note(f"transformers: {want['ppl']:.6f}; relative difference {error:+.1e} "
                         f"over {got['tokens']} predictions")


def check(shoal, scratch, options):
    accuracy = Accuracy(shoal, scratch)
    report = accuracy.report
    report.row(["model", "f32 diff", "cosine", "of a row", "logits", "greedy tokens"], WIDTHS)
    for name, folder in harness.golden_models(report, DENSE + QUANTIZED + GGUF):
        report.guarded(name, accuracy.model, name, folder)
    if "--quick" not in options:
        report.guarded("perplexity", accuracy.perplexities)
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
