#!/usr/bin/env python3
"""`shoal inspect`: what it dequantizes is what the libraries that wrote the files would.

    test_inspect.py SHOAL_BINARY

Every golden checkpoint that can be read is written out as plain fp32, and the tensors of
expected/dequant.safetensors must be there, byte for byte (some hold only the first rows).
"""
import array
import os
import re
import sys

import harness
import safetensors

READ = ["awq-gemm-g128-autoawq", "awq-gemm-gptqmodel-bias", "awq-gemv-g64-autoawq-bias",
        "awq-gemvfast-g128-autoawq", "marlin-autogptq-channel", "marlin-autogptq-g128-bias",
        "ct-w4a16-asym-g64-bias", "ct-w8a16-channel", "ct-w8a8-int-asym", "ct-w8a8-int-bias",
        "gptq-4b-channel", "gptq-4b-g128-asym-v1", "gptq-4b-g32-actorder",
        "gptq-4b-g64-asym-v2-bias", "gptq-4b-g64-sym-v2-actorder-bias", "gptq-8b-g128",
        "gptq-autogptq-4b-g128-bias", "gptq-autogptq-4b-g64-asym", "gptq-tiny-4b-g128"]

GGUF = ["pico-f16", "pico-iq4_nl", "pico-py-q4_0", "pico-py-q4_1", "pico-py-q5_0", "pico-py-q5_1",
        "pico-py-q8_0", "nano-iq4_xs", "nano-q2_k", "nano-q3_k_m", "nano-q6_k", "tiny-q4_k_m"]

# Modules of a layer in a GGUF file, and on the Hugging Face hub.
MODULES = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
           "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
           "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}


def tensor_bytes(path):
    """{name: bytes} of a safetensors file."""
    header, start = safetensors.read_header(path)
    with open(path, "rb") as f:
        data = f.read()
    return {name: data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]]
            for name, entry in header.items()}


class Inspect:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("inspect: dequantized weights, statistics")

    def dequant(self, name, folder):
        out = os.path.join(self.scratch, "dequant")
        self.shoal.must("inspect", folder, "--dequant", out)
        got = tensor_bytes(out)
        want = tensor_bytes(os.path.join(folder, "expected", "dequant.safetensors"))
        for key, data in want.items():
            plain = re.sub(r"\[.*\]$", "", key)
            if self.report.check(plain in got, f"{name}: no {plain}"):
                self.report.check(got[plain][:len(data)] == data, f"{name}: {key} differs")
        self.report.note(f"{name:<36} {len(want)} tensors equal")

    def head_length(self, folder, module):
        """Rows of a head whose halves a file of architecture llama interleaves; else 0."""
        heads = {"attn_q": "q_heads", "attn_k": "kv_heads"}.get(module)
        if not heads:
            return 0
        plan = self.shoal.must("plan", folder, "-n", 1, "--json").json()
        one = self.shoal.must("inspect", folder, f"blk.0.{module}.weight", "--json").json()
        return one["shape"][0] // plan["ranks"][0][heads][1]

    def gguf(self, name, folder):
        out = os.path.join(self.scratch, "dequant")
        expected = os.path.join(folder, "expected", "dequant.safetensors")
        self.shoal.must("inspect", folder, "--dequant", out)
        got, want = tensor_bytes(out), tensor_bytes(expected)
        for key, entry in safetensors.read_header(expected)[0].items():
            layer, module = re.match(r"blk\.(\d+)\.(\w+)\.weight", key).groups()
            plain = got[f"model.layers.{layer}.{MODULES[module]}.weight"]
            rows, width = entry["shape"][0], entry["shape"][1] * 4
            head = self.head_length(folder, module)
            differ = 0
            for row in range(rows):
                within = row % head if head else 0
                at = row - within + within % 2 * (head // 2) + within // 2
                differ += plain[at * width:][:width] != want[key][row * width:][:width]
            self.report.check(not differ, f"{name}: {differ} rows of {key} differ")
        self.report.note(f"{name:<36} {len(want)} tensors equal")

    def statistics(self):
        """The sums of a histogram and of the values, counted a second time here."""
        module = "model.layers.1.mlp.up_proj"
        one = self.shoal.must("inspect", harness.INT4, module, "--json").json()
        out = os.path.join(self.scratch, "dequant")
        self.shoal.must("inspect", harness.INT4, "--dequant", out)
        values = array.array("f", tensor_bytes(out)[module + ".weight"])
        n, k = one["int_data"]["shape"]
        self.report.check(len(values) == n * k == sum(one["int_data"]["histogram"]), "counts")
        self.report.check(one["value"]["min"] == min(values) and
                          one["value"]["max"] == max(values), f"range: {one['value']}")
        mean = sum(values) / len(values)
        self.report.check(abs(one["value"]["mean"] - mean) < 1e-9, f"mean {mean}: {one['value']}")
        zero, scale = one["zero_point"], one["scale"]
        self.report.check(zero["min"] == zero["max"] == 8 and scale["shape"] == [n, k // 128],
                          f"{zero} {scale}")
        first = one["int_data"]["first"]
        for code, value in zip(first, one["value"]["first"]):
            self.report.check(code == 8 or (code - 8 > 0) == (value > 0), f"{code} is {value}")

    def compare(self):
        """Another form of the same numbers is equal; bf16 numbers are off by what convert said."""
        awq, bf16 = (os.path.join(self.scratch, name) for name in ("awq", "bf16"))
        self.shoal.must("convert", harness.INT4, awq, "--to", "awq")
        same = self.shoal.must("inspect", harness.INT4, awq, "--compare", "--json").json()
        self.report.check(same["equal"] and same["differences"] == [] and same["elements"] > 0,
                          f"gptq and awq of it: {same}")
        said = self.shoal.must("convert", harness.INT4, bf16, "--to", "hf:bf16", "--json").json()
        other = self.shoal.must("inspect", harness.INT4, bf16, "--compare", "--json").json()
        error = max(d["max_abs_error"] for d in other["differences"])
        self.report.check(not other["equal"] and error == said["max_abs_error"] > 0,
                          f"bf16: {error}, convert said {said['max_abs_error']}")

    def page(self):
        """A page names every role once; a tensor's histogram adds up."""
        page = self.shoal.must("inspect", harness.INT4).out.split("\n")
        for role in ("q_proj", "down_proj", "embed_tokens", "lm_head"):
            self.report.check(sum(line.startswith(role + " ") for line in page) == 1,
                              f"{role} on the page")
        text = self.shoal.must("inspect", harness.INT4, "model.layers.0.mlp.up_proj").out
        bars = re.findall(r"^ +(\d+)  #* +(\d+)$", text, re.M)
        self.report.check([int(code) for code, _ in bars] == list(range(16)) and
                          sum(int(count) for _, count in bars) == 768 * 256, f"bars: {bars}")

    def run(self):
        for name, folder in harness.golden_models(self.report, ["quant/" + r for r in READ]):
            self.report.guarded(name, self.dequant, name, folder)
        for name, folder in harness.golden_models(self.report, ["gguf/" + g for g in GGUF]):
            self.report.guarded(name, self.gguf, name, folder)
        self.report.guarded("statistics", self.statistics)
        self.report.guarded("compare", self.compare)
        self.report.guarded("page", self.page)
        return self.report.exit_code()


def check(shoal, scratch, _arguments):
    return Inspect(shoal, scratch).run()


if __name__ == "__main__":
    sys.exit(harness.main(check))
