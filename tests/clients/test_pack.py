#!/usr/bin/env python3
"""`shoal pack`: a pack file computes what its source computes, bit for bit, on any number of ranks.

    test_pack.py SHOAL_BINARY

Also the texts in it (tokenizer, chat template), --load push, weights streamed from it (--offload),
and a damaged byte that is named.
"""
import json
import os
import sys
import time

import harness
import safetensors
import serve_harness

IDS = harness.made_up_ids(40, 1000)


class Pack:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("pack: one file for any number of ranks")
        self.ids = harness.write_ids(scratch, IDS)

    def logits(self, model, *args):
        out = os.path.join(self.scratch, "logits.safetensors")
        self.shoal.must("eval", model, "--ids", self.ids, "--logits", out, *args)
        return safetensors.read_rows(out)

    def same(self, name, source, *quantize):
        packed = os.path.join(self.scratch, name + ".shoal")
        said = self.shoal.must("pack", source, packed, *quantize, "--json").json()
        self.report.check(said["bytes"] == os.path.getsize(packed), f"{name}: {said}")
        want = self.logits(source, *quantize)
        for ranks in (1, 2, 3):
            got = self.logits(packed, "--emulate-ranks", ranks)
            self.report.check(got == want, f"{name}: {ranks} ranks differ")
        got = self.logits(packed, "-n", 2, "--load", "push")
        self.report.check(got == want, f"{name}: pushed")
        got = self.logits(packed, "-n", 2, "--offload", "mmap")
        self.report.check(got == want, f"{name}: streamed")
        return packed

    def limited(self, packed):
        """A limit between all held and all streamed: the plan says what streams, a run obeys."""
        def plan(code, *args):
            answer = self.shoal.run("plan", packed, "-n", 2, "--context", 64, *args, "--json")
            self.report.check(answer.code == code, f"plan {args}: {answer.said()}")
            return answer.json()["ranks"]
        held, streamed = plan(0), plan(0, "--offload", "mmap")
        least = max(r["resident_bytes"] for r in streamed)
        middle = (least + max(r["resident_bytes"] for r in held)) // 2
        some = plan(0, "--offload", "mmap", "--memory", middle)
        for none, part, whole in zip(held, some, streamed):
            self.report.check(0 == none["streamed_bytes"] < part["streamed_bytes"]
                              < whole["streamed_bytes"], f"streamed: {none} {part} {whole}")
            self.report.check(part["resident_bytes"] <= middle and whole["linears"]["host"] == 0
                              and part["linears"]["mmap"] > 0, f"held: {part} {whole}")
            self.report.check(none["resident_bytes"] + part["buffer_bytes"]
                              == part["resident_bytes"] + part["streamed_bytes"],
                              f"sum: {none} {part}")
        plan(2, "--offload", "mmap", "--memory", least - 1)
        said = [self.shoal.must("generate", packed, "-n", 2, "--ids", self.ids, "--max-model-len",
                                64, "--max-tokens", 8, *args, "--json").json()["ids"]
                for args in ([], ["--offload", "lm_head=host,mmap", "--memory", middle])]
        self.report.check(said[0] == said[1], f"generated: {said}")

    def served(self, packed):
        prompt = serve_harness.prompts(1)[0]
        want = serve_harness.generated(self.shoal, prompt, 8)
        with serve_harness.Server(self.shoal, self.scratch, options=["--offload", "mmap"],
                                  model=packed) as server:
            got = server.text(serve_harness.greedy(prompt, 8))
            self.streamed(server)
        self.report.check(got == want, f"served: {got!r}, generated {want!r}")

    def streamed(self, server):
        """Every step of this model streams all that is not held; the numbers are half a second old
        at most."""
        def told():
            now = server.metrics()
            return [now[name] for name in (
                "shoal_steps_total", "shoal_weights_planned_streamed_bytes",
                "shoal_weights_streamed_bytes_total", "shoal_weights_pinned_bytes")]
        until = time.monotonic() + 10
        steps, planned, total, pinned = told()
        while total < steps * planned and time.monotonic() < until:
            time.sleep(0.1)
            steps, planned, total, pinned = told()
        self.report.check(planned > 0 and total == steps * planned and pinned == 0,
                          f"{steps} steps of {planned} bytes streamed {total}; pinned {pinned}")

    def texts(self, packed):
        messages = os.path.join(self.scratch, "messages.json")
        with open(messages, "w", encoding="utf-8") as out:
            json.dump([{"role": "user", "content": "Who are you?"}], out)
        for args in (["--text", "Once upon a time"], ["--messages", messages]):
            a = self.shoal.must("tokenize", harness.INT4, *args, "--json").json()
            b = self.shoal.must("tokenize", packed, *args, "--json").json()
            self.report.check(a == b, f"tokenize {args}: {a} {b}")

    def damage(self, packed):
        with open(packed, "r+b") as f:
            f.seek(-1000, os.SEEK_END)
            byte = f.read(1)
            f.seek(-1000, os.SEEK_END)
            f.write(bytes([byte[0] ^ 16]))
        bad = self.shoal.run("eval", packed, "--ids", self.ids, "--logits",
                             os.path.join(self.scratch, "never"))
        self.report.check(bad.code == 65 and "checksum" in bad.err and "tensor" in bad.err,
                          bad.said())

    def run(self):
        packed = self.report.guarded("int4", self.same, "int4", harness.INT4)
        self.report.guarded("dense", self.same, "dense", harness.TINY)
        self.report.guarded("quantized", self.same, "quantized", harness.TINY, "--quantize",
                            "int4-g128", "--keep", "lm_head")
        if packed:
            self.report.guarded("limited", self.limited, packed)
            self.report.guarded("served", self.served, packed)
            self.report.guarded("texts", self.texts, packed)
            self.report.guarded("damage", self.damage, packed)
        return self.report.exit_code()


def check(shoal, scratch, _arguments):
    return Pack(shoal, scratch).run()


if __name__ == "__main__":
    sys.exit(harness.main(check))
