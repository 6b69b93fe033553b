#!/usr/bin/env python3
"""Ropes that depend on how long sequences may become: dynamic and longrope.

    test_lengths.py SHOAL_BINARY

The length is settled before the first token: by --max-model-len, else by the longest sequence of
an eval or generate. So a long prompt's first rows are those of a short one under the same
--max-model-len, whatever the ranks; and up to the length that a model was trained for, a dynamic
rope is a plain one.
"""
import json
import os
import sys

import harness
import safetensors

TRAINED = 64  # tokens that the made-up models were trained for
PAIRS = 16    # frequencies: half of the head's 32 elements

LONGROPE = {"max_position_embeddings": 512, "original_max_position_embeddings": TRAINED,
            "rope_parameters": {"rope_theta": 10000.0, "rope_type": "longrope",
                                "short_factor": [1 + 0.1 * i for i in range(PAIRS)],
                                "long_factor": [1 + i for i in range(PAIRS)]}}
DYNAMIC = {"max_position_embeddings": TRAINED,
           "rope_parameters": {"rope_theta": 10000.0, "rope_type": "dynamic", "factor": 4.0}}
PLAIN = {"max_position_embeddings": TRAINED}


class Lengths:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.report = harness.Report("lengths: ropes that depend on the longest sequence")
        self.out = os.path.join(scratch, "logits")

    def model(self, name, members):
        """The committed int4 model with another rope."""
        folder = os.path.join(self.scratch, name)
        os.mkdir(folder)
        for file in os.listdir(harness.INT4):
            if file != "config.json":
                os.symlink(os.path.abspath(os.path.join(harness.INT4, file)),
                           os.path.join(folder, file))
        config = {**harness.load_json(harness.INT4, "config.json"), **members}
        with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as out:
            json.dump(config, out)
        return folder

    def rows(self, folder, count, *options):
        ids = harness.write_ids(self.scratch, harness.made_up_ids(count, 1000))
        self.shoal.must("eval", folder, "--ids", ids, "--logits", self.out, *options)
        return safetensors.read_rows(self.out)

    def refused(self, words, *args):
        answer = self.shoal.run(*args)
        self.report.check(answer.code == 64 and all(w in answer.err for w in words),
                          f"{args}: exit 64 and {words} expected: {answer.said()}")

    def longrope(self):
        folder = self.model("longrope", LONGROPE)
        short = self.rows(folder, 20)
        long = self.rows(folder, 100)
        same = self.report.check
        same(self.rows(folder, 20, "--max-model-len", TRAINED) == short,
             "a short run has the short factors")
        same(self.rows(folder, 20, "--max-model-len", TRAINED + 1, "-n", 3) == long[:20],
             "under a long --max-model-len a short text has the rows of a long one")
        same(short[5] != long[5], "long factors make another model")

    def dynamic(self):
        folder, plain = self.model("dynamic", DYNAMIC), self.model("plain", PLAIN)
        same = self.report.check
        same(self.rows(folder, TRAINED) == self.rows(plain, TRAINED),
             "as far as it was trained, a dynamic rope is a plain one")
        long = self.rows(folder, 100)
        same(self.rows(folder, 20, "--max-model-len", 100, "--emulate-ranks", 2) == long[:20],
             "what --max-model-len promises decides, not the length of the text")
        same(long[5] != self.rows(folder, 20)[5], "beyond it is another one")
        ids = harness.write_ids(self.scratch, harness.made_up_ids(4 * TRAINED + 1, 1000))
        self.refused(["--max-model-len 257", "256"], "plan", folder, "--max-model-len", 257)
        self.refused(["257 tokens"], "eval", folder, "--ids", ids, "--logits", self.out)
        self.refused(["no room", "64"], "generate", plain, "--ids", ids)
        answer = self.shoal.must("generate", folder, "--ids", harness.write_ids(
            self.scratch, harness.made_up_ids(250, 1000)), "--ignore-eos", "--json").json()
        same(len(answer["ids"]) == 6, f"6 tokens fit behind 250, not {len(answer['ids'])}")


def check(shoal, scratch, _arguments):
    lengths = Lengths(shoal, scratch)
    lengths.report.guarded("longrope", lengths.longrope)
    lengths.report.guarded("dynamic", lengths.dynamic)
    return lengths.report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
