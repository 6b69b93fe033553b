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

READ = ["awq-gemm-g128-autoawq", "awq-gemm-gptqmodel-bias", "gptq-4b-channel",
        "gptq-4b-g128-asym-v1", "gptq-4b-g32-actorder", "gptq-4b-g64-asym-v2-bias",
        "gptq-4b-g64-sym-v2-actorder-bias", "gptq-8b-g128", "gptq-autogptq-4b-g128-bias",
        "gptq-autogptq-4b-g64-asym", "gptq-tiny-4b-g128"]


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

    def run(self):
        for name, folder in harness.golden_models(self.report, ["quant/" + r for r in READ]):
            self.report.guarded(name, self.dequant, name, folder)
        self.report.guarded("statistics", self.statistics)
        return self.report.exit_code()


def check(shoal, scratch, _arguments):
    return Inspect(shoal, scratch).run()


if __name__ == "__main__":
    sys.exit(harness.main(check))
