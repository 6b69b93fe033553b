#!/usr/bin/env python3
"""`shoal convert` holds tensors, not models: its peak of resident memory, as the system counts it.

    test_memory.py SHOAL_BINARY

The promise is three times the largest tensor on either side and 256 MiB. A made-up model is larger
than that; its weights are a hole in a file, so that only what is written takes a disk's time.
Builds with sanitizers hold far more than they use and are left out.
"""
import json
import os
import shutil
import struct
import subprocess
import sys

import harness
import safetensors

HIDDEN, INTERMEDIATE, VOCAB, LAYERS = 1024, 12288, 512, 6
LINEARS = {"self_attn.q_proj": (HIDDEN, HIDDEN), "self_attn.k_proj": (HIDDEN, HIDDEN),
           "self_attn.v_proj": (HIDDEN, HIDDEN), "self_attn.o_proj": (HIDDEN, HIDDEN),
           "mlp.gate_proj": (INTERMEDIATE, HIDDEN), "mlp.up_proj": (INTERMEDIATE, HIDDEN),
           "mlp.down_proj": (HIDDEN, INTERMEDIATE)}
NORMS = ("input_layernorm", "post_attention_layernorm")
CONFIG = {"model_type": "llama", "hidden_size": HIDDEN, "intermediate_size": INTERMEDIATE,
          "num_hidden_layers": LAYERS, "num_attention_heads": 8, "num_key_value_heads": 8,
          "vocab_size": VOCAB, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
          "rope_theta": 10000.0, "tie_word_embeddings": False, "hidden_act": "silu"}


def shapes():
    yield "model.embed_tokens", (VOCAB, HIDDEN)
    yield "lm_head", (VOCAB, HIDDEN)
    yield "model.norm", (HIDDEN,)
    for layer in range(LAYERS):
        for name, shape in [*LINEARS.items(), *((norm, (HIDDEN,)) for norm in NORMS)]:
            yield f"model.layers.{layer}.{name}", shape


def make_model(folder):
    """A float model of zeros."""
    header, at = {}, 0
    for name, shape in shapes():
        end = at + 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name + ".weight"] = {"dtype": "F16", "shape": shape, "data_offsets": [at, end]}
        at = end
    text = json.dumps(header).encode()
    os.mkdir(folder)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        f.truncate(f.tell() + at)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(CONFIG, f)


class Memory:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("memory: conversions of a model that is larger than it")

    def convert(self, source, to, *options):
        """The folder made; its peak is checked, and that a model of this size would show in it."""
        out = os.path.join(self.scratch, "as-" + to.replace(":", "-") + "-" +
                           os.path.basename(source))
        log = os.path.join(self.scratch, "log")
        with open(log, "wb") as f:
            words = [self.shoal.binary, "convert", source, out, "--to", to, *options]
            _, status, usage = os.wait4(subprocess.Popen(words, stdout=f, stderr=f).pid, 0)
        if status:
            with open(log, encoding="utf-8", errors="replace") as f:
                raise harness.Stop(f"{to}: {f.read()}")
        sizes = [[row[2] for row in safetensors.tensors_of(folder).values()]
                 for folder in (source, out)]
        limit = 3 * max(max(side) for side in sizes) + (256 << 20)
        peak = usage.ru_maxrss << 10
        self.report.check(max(sum(side) for side in sizes) > 1.25 * limit, f"{to}: too small")
        self.report.check(peak <= limit, f"{source} as {to}: {peak} bytes, {limit} promised")
        self.report.note(f"{os.path.basename(source)} as {to}: {peak >> 20} MiB of "
                         f"{limit >> 20} MiB promised")
        return out

    def run(self):
        dense = os.path.join(self.scratch, "dense")
        make_model(dense)
        shutil.rmtree(self.convert(dense, "hf:bf16"))
        quantized = self.convert(dense, "gptq", "--quantize", "int4-g128")
        self.convert(quantized, "hf:bf16")
        return self.report.exit_code()


def check(shoal, scratch, _arguments):
    return Memory(shoal, scratch).run()


if __name__ == "__main__":
    sys.exit(harness.main(check))
