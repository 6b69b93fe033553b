#!/usr/bin/env python3
"""Mixtures of experts against a reference written here, in double precision and plain loops.

    check_experts.py SHOAL_BINARY MAKE_MODEL_BINARY

The weights are those that `inspect --dequant` gives of small made-up models, so that integers, act
order, routers and shared experts are all on the way. Logits with float activations agree to 2e-5
of the largest logit, on one rank and on several; with default activations their cosine is at
least 0.999 (routers of made-up models choose by small margins, and a choice may turn over).
"""
import math
import os
import subprocess
import sys

import harness
import safetensors
from check_accuracy import LOGIT_BOUND, cosine, largest_difference, rows_of

MODELS = ["mixtral", "qwen2-moe", "qwen3-moe"]
IDS = [3, 71, 12, 12, 40, 5, 66, 29]
CHOICE_BOUND = 0.999


def dot(a, b):
    return math.fsum(x * y for x, y in zip(a, b))


def silu(x):
    return x / (1 + math.exp(-x))


def softmax(scores):
    top = max(scores)
    powers = [math.exp(s - top) for s in scores]
    return [p / math.fsum(powers) for p in powers]


class Reference:
    """One forward pass over a prompt."""

    def __init__(self, folder, weights):
        self.config = harness.load_json(folder, "config.json")
        self.path = weights
        self.names = set(safetensors.read_header(weights)[0])
        self.heads = self.config["num_attention_heads"]
        self.kv_heads = self.config["num_key_value_heads"]
        self.head_dim = self.config["head_dim"]

    def matrix(self, name):
        shape, values = safetensors.read_tensor(self.path, name)
        return rows_of(values, shape[1])

    def vector(self, name):
        return safetensors.read_tensor(self.path, name)[1]

    def linear(self, module, rows):
        matrix = self.matrix(module + ".weight")
        out = [[dot(w, x) for w in matrix] for x in rows]
        if module + ".bias" in self.names:
            bias = self.vector(module + ".bias")
            out = [[y + b for y, b in zip(row, bias)] for row in out]
        return out

    def norm(self, name, rows):
        weight = self.vector(name + ".weight")
        out = []
        for x in rows:
            root = math.sqrt(dot(x, x) / len(x) + self.config["rms_norm_eps"])
            out.append([v / root * w for v, w in zip(x, weight)])
        return out

    def rope(self, head, position):
        half = self.head_dim // 2
        out = list(head)
        for i in range(half):
            angle = position / self.config["rope_theta"] ** (2 * i / self.head_dim)
            c, s = math.cos(angle), math.sin(angle)
            out[i] = head[i] * c - head[i + half] * s
            out[i + half] = head[i + half] * c + head[i] * s
        return out

    def split(self, layer, name, rows, turned):
        """[rows][heads][head_dim] of q, k or v."""
        heads = [rows_of(row, self.head_dim)
                 for row in self.linear(f"{layer}.self_attn.{name}_proj", rows)]
        norm = f"{layer}.self_attn.{name}_norm"
        if norm + ".weight" in self.names:
            heads = [self.norm(norm, row) for row in heads]
        if turned:
            heads = [[self.rope(h, t) for h in row] for t, row in enumerate(heads)]
        return heads

    def attention(self, layer, rows):
        q, k = self.split(layer, "q", rows, True), self.split(layer, "k", rows, True)
        v = self.split(layer, "v", rows, False)
        group, out = self.heads // self.kv_heads, []
        for t in range(len(rows)):
            joined = []
            for h in range(self.heads):
                shares = softmax([dot(q[t][h], k[j][h // group]) / math.sqrt(self.head_dim)
                                  for j in range(t + 1)])
                joined += [math.fsum(p * v[j][h // group][d] for j, p in enumerate(shares))
                           for d in range(self.head_dim)]
            out.append(joined)
        return self.linear(f"{layer}.self_attn.o_proj", out)

    def mlp(self, names, rows):
        gate, up = self.linear(names[0], rows), self.linear(names[1], rows)
        return self.linear(names[2], [[silu(g) * u for g, u in zip(*pair)]
                                      for pair in zip(gate, up)])

    def experts(self, block, rows):
        mixtral = self.config["model_type"] == "mixtral"
        parts = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
        scores = self.linear(block + ".gate", rows)
        out = []
        for x, row in zip(rows, scores):
            shares = softmax(row)
            best = sorted(range(len(row)), key=lambda e: (-row[e], e))
            best = best[:self.config["num_experts_per_tok"]]
            total = 1
            if mixtral or self.config["norm_topk_prob"]:
                total = math.fsum(shares[e] for e in best)
            terms = [(shares[e] / total,
                      self.mlp([f"{block}.experts.{e}.{p}" for p in parts], [x])[0])
                     for e in best]
            if block + ".shared_expert_gate.weight" in self.names:
                score = self.linear(block + ".shared_expert_gate", [x])[0][0]
                terms.append((1 / (1 + math.exp(-score)),
                              self.mlp([f"{block}.shared_expert.{p}" for p in parts], [x])[0]))
            out.append([math.fsum(w * y[i] for w, y in terms) for i in range(len(x))])
        return out

    def branch(self, layer, rows):
        for block in ("block_sparse_moe", "mlp"):
            if f"{layer}.{block}.gate.weight" in self.names:
                return self.experts(f"{layer}.{block}", rows)
        return self.mlp([f"{layer}.mlp.{p}_proj" for p in ("gate", "up", "down")], rows)

    def logits(self, ids):
        table = self.matrix("model.embed_tokens.weight")
        x = [list(table[i]) for i in ids]
        for n in range(self.config["num_hidden_layers"]):
            layer = f"model.layers.{n}"
            for branch, norm in ((self.attention, "input_layernorm"),
                                 (self.branch, "post_attention_layernorm")):
                added = branch(layer, self.norm(f"{layer}.{norm}", x))
                x = [[a + b for a, b in zip(*pair)] for pair in zip(x, added)]
        return [y for row in self.linear("lm_head", self.norm("model.norm", x)) for y in row]


class Experts:
    def __init__(self, shoal, make_model, scratch):
        self.shoal, self.make_model, self.scratch = shoal, make_model, scratch
        self.report = harness.Report("experts: against a reference in double precision")

    def logits(self, folder, ids, *options):
        out = os.path.join(self.scratch, "logits.safetensors")
        self.shoal.must("eval", folder, "--ids", ids, "--logits", out, *options)
        return safetensors.read_tensor(out, "logits")[1]

    def model(self, name):
        folder = os.path.join(self.scratch, name)
        subprocess.run([self.make_model, name, folder], check=True)
        weights = os.path.join(self.scratch, name + ".safetensors")
        self.shoal.must("inspect", folder, "--dequant", weights)
        want = Reference(folder, weights).logits(IDS)
        ids = harness.write_ids(self.scratch, IDS)
        got = self.logits(folder, ids, "--activations", "f32")
        difference = largest_difference(got, want)
        self.report.check(difference <= LOGIT_BOUND, f"{name}: logits differ by {difference:.2e}")
        for ranks in (2, 3, 5):
            for way in ([], ["--expert-parallel"]):
                other = self.logits(folder, ids, "--activations", "f32", "--emulate-ranks", ranks,
                                    *way)
                self.report.check(other == got, f"{name}: {ranks} ranks {way} give other logits")
        rounded = cosine(self.logits(folder, ids), want)
        self.report.check(rounded >= CHOICE_BOUND, f"{name}: cosine {rounded:.6f}")
        self.report.note(f"{name:<12} f32 differs by {difference:.2e}, default has cosine "
                         f"{rounded:.7f}")


def check(shoal, scratch, options):
    experts = Experts(shoal, options[0], scratch)
    for name in MODELS:
        experts.report.guarded(name, experts.model, name)
    return experts.report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
