#!/usr/bin/env python3
"""Small valid inputs from which a fuzz target starts: random bytes rarely get past a JSON parser.

    make_seeds.py TARGET FOLDER     e.g. fuzz_config /tmp/corpus; a target without seeds gets none

Made from tests/data, cut down so that a run takes microseconds.
"""
import json
import os
import struct
import sys

TINY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "data", "tiny-llama")
INT4 = TINY + "-gptq-int4"
WORDS = 300  # of the vocabulary: the byte alphabet and a few merges


def load(folder, name):
    with open(os.path.join(folder, name), encoding="utf-8") as f:
        return json.load(f)


def compact(document):
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def tokenizer_seeds():
    whole = load(TINY, "tokenizer.json")
    model = whole["model"]
    model["vocab"] = {word: i for word, i in model["vocab"].items() if i < WORDS}
    known = set(model["vocab"])
    pairs = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    model["merges"] = [m for m in pairs if {m[0], m[1], m[0] + m[1]} <= known]
    whole["added_tokens"] = [t for t in whole.get("added_tokens", []) if t["id"] < WORDS]
    yield compact(whole) + b"\0Once upon a time, 12 plus 30"
    whole["normalizer"] = {"type": "NFC"}
    yield compact(whole) + b"\0caf\xc3\xa9 e\xcc\x81"
    del model["merges"]
    yield compact(whole)


def config_seeds():
    config = load(TINY, "config.json")
    yield compact(config)
    yield compact(load(INT4, "config.json"))
    for family in ("mistral", "qwen2", "qwen3"):
        other = dict(config, model_type=family, sliding_window=16, attention_bias=True)
        yield compact(other)
    for scaling in ({"rope_type": "linear", "factor": 2.0},
                    {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64},
                    {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                     "high_freq_factor": 4.0, "original_max_position_embeddings": 64}):
        yield compact(dict(config, rope_scaling=scaling))
        yield compact(dict(config, rope_parameters=dict(scaling, rope_theta=10000.0)))
    awq = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True,
           "version": "gemm"}
    yield compact(dict(config, quantization_config=awq))


def index_seeds():
    yield compact({"metadata": {"total_size": 12}, "weight_map": {
        "model.norm.weight": "model-00001-of-00002.safetensors",
        "lm_head.weight": "model-00002-of-00002.safetensors"}})


def safetensors_seeds():
    header = {"__metadata__": {"format": "pt"},
              "a": {"dtype": "F16", "shape": [2, 4], "data_offsets": [0, 16]},
              "b": {"dtype": "I32", "shape": [2], "data_offsets": [16, 24]},
              "c": {"dtype": "BF16", "shape": [0, 3], "data_offsets": [24, 24]}}
    text = compact(header)
    text += b" " * (-len(text) % 8)
    yield struct.pack("<Q", len(text)) + text + bytes(24)


# One template a line.
TEMPLATES = """\
{% for m in messages if m.role != 'x' %}{{ loop.index ~ m['content'] }}{% else %}-{% endfor %}
{%- set ns = namespace(a=1) -%}{% set ns.a = ns.a + n // 2 ** 2 % 3 %}{{ ns.a is defined }}
{% macro f(a, b='x') %}{{ a }}{{ caller() }}{% endmacro %}{% call f(n, b=x) %}y{% endcall %}
{{ d | tojson(indent=2) }}{{ d.items() | list }}{{ [1, 'a', (none, true)] }}
{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') | join(', ') }}
{% filter upper %}{% raw %}{{ {% endraw %}{# c #}{% endfilter %}{{ messages[0].content[::-1] }}
{% set b | trim %} q {% endset %}{{ b }}{{ '{} {a}'.format(1, a=2) }}
{{ 'a-b'.split('-')[1].replace('b', 'c').upper() | indent(2, true) }}
{% if n > 2 and x <= 1.5 or not d %}{{ 'y' if n in [1, 3] else 'z' }}{% elif tools %}{% endif %}
{% for i in range(9) %}{% if i == 3 %}{% break %}{% endif %}{{ loop.cycle('a', 'b') }}{% endfor %}
{{ [3, 1] | sort | first }}{{ d | dictsort }}{{ '<' | e + 'b' | safe }}{{ strftime_now('%Y') }}
"""


def template_seeds():
    chat = compact({"messages": [{"role": "user", "content": " \u00e9 "}]})
    yield load(TINY, "tokenizer_config.json")["chat_template"].encode()
    for line in TEMPLATES.splitlines():
        yield line.encode()
        yield line.encode() + b"\0" + chat


SEEDS = {"fuzz_template": template_seeds, "fuzz_tokenizer": tokenizer_seeds,
         "fuzz_config": config_seeds, "fuzz_index": index_seeds,
         "fuzz_safetensors": safetensors_seeds}


def main():
    if len(sys.argv) != 3:
        print("usage: make_seeds.py TARGET FOLDER", file=sys.stderr)
        return 64
    target, folder = sys.argv[1:]
    os.makedirs(folder, exist_ok=True)
    for i, seed in enumerate(SEEDS.get(target, lambda: [])()):
        with open(os.path.join(folder, f"seed-{i}"), "wb") as f:
            f.write(seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
