#!/usr/bin/env python3
"""Small valid inputs from which a fuzz target starts: random bytes rarely get past a JSON parser.

    make_seeds.py TARGET FOLDER     e.g. fuzz_config /tmp/corpus; a target without seeds gets none

Made from tests/data, cut down so that a run takes microseconds.
"""
import io
import json
import os
import struct
import sys
import zipfile

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
    yield from step_seeds(whole)
    del model["merges"]
    yield compact(whole)


def step_seeds(whole):
    """Every kind of step once, and every model but BPE."""
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "\u2581"}
    mark = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": True}
    normalizers = [{"type": "BertNormalizer", "strip_accents": None}, {"type": "Nmt"}, space,
                   {"type": "Strip", "strip_left": True, "strip_right": True},
                   {"type": "Prepend", "prepend": "\u2581"}, {"type": "StripAccents"}]
    splits = [{"type": "Punctuation", "behavior": "MergedWithNext"}, {"type": "Whitespace"},
              {"type": "Digits"}, mark, {"type": "FixedLength", "length": 3},
              {"type": "Split", "pattern": {"Regex": "\\s+|\\w+"}, "behavior": "Isolated"},
              {"type": "CharDelimiterSplit", "delimiter": "x"}, {"type": "BertPreTokenizer"}]
    joined = [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "},
              {"type": "ByteFallback"}, {"type": "Fuse"},
              {"type": "Strip", "content": " ", "start": 1, "stop": 1}]
    words = [mark, {"type": "WordPiece", "prefix": "##", "cleanup": True},
             {"type": "BPEDecoder", "suffix": "</w>"}]
    vocab = {piece: i for i, piece in enumerate(["?", "a", "##b", "\u2581a", "ab", "<0x41>"])}
    models = [{"type": "WordPiece", "unk_token": "?", "continuing_subword_prefix": "##",
               "max_input_chars_per_word": 9, "vocab": vocab},
              {"type": "WordLevel", "unk_token": "?", "vocab": vocab},
              {"type": "Unigram", "unk_id": 0, "byte_fallback": True,
               "vocab": [[piece, -1.5 * i] for piece, i in vocab.items()]}]
    for model, decoders in zip([whole["model"]] + models, [joined, words, words, joined]):
        yield compact({"normalizer": {"type": "Sequence", "normalizers": normalizers},
                       "pre_tokenizer": {"type": "Sequence", "pretokenizers": splits},
                       "decoder": {"type": "Sequence", "decoders": decoders}, "model": model})


def encode_seeds():
    yield "Hello w\u00f6rld, it's 12345!\r\n\n  \u4e2d\u6587 \U0001f600 \u2581".encode()
    yield b"aaaa <0x41> </s>\0\t " * 4


def config_seeds():
    config = load(TINY, "config.json")
    yield compact(config)
    yield compact(load(INT4, "config.json"))
    for family in ("mistral", "qwen2", "qwen3", "phi3", "internlm2", "baichuan", "gemma", "gemma2",
                   "gemma3_text"):
        other = dict(config, model_type=family, sliding_window=16, attention_bias=True)
        yield compact(other)
    yield compact({"model_type": "gemma3", "text_config": dict(other, query_pre_attn_scalar=40,
                                                               attn_logit_softcapping=50.0)})
    factors = {"short_factor": [1.0] * 16, "long_factor": [1.5] * 16}
    for scaling in ({"rope_type": "dynamic", "factor": 2.0},
                    dict(factors, rope_type="longrope", original_max_position_embeddings=64),
                    {"rope_type": "linear", "factor": 2.0},
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
    kind = {"_type": "Int4TilePackedTo4dTensor", "_data": {"block_size": [1, 64], "shape": [4, 6],
            "target_dtype": {"_type": "torch.dtype", "_data": "int4"}, "act_quant_kwargs": {}},
            "_tensor_data_names": ["qdata", "scale"]}
    text = compact({"__metadata__": {"p.weight": compact(kind).decode(), "a": "b"},
                    "p._weight_qdata": {"dtype": "I8", "shape": [24], "data_offsets": [0, 24]}})
    yield struct.pack("<Q", len(text)) + text + bytes(24)


def torch_tensor(key, elements, storage, shape, strides):
    """The opcodes that rebuild one tensor."""
    text = lambda t: b"X" + struct.pack("<I", len(t)) + t
    numbers = lambda values: b"(" + b"".join(b"K" + bytes([v]) for v in values) + b"t"
    return (b"ctorch._utils\n_rebuild_tensor_v2\n((" + text(b"storage") + b"ctorch\n" + storage +
            b"\n" + text(key) + text(b"cpu") + b"K" + bytes([elements]) + b"tQK\x00" +
            numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)RtR")


def torch_pickles():
    text = lambda t: b"X" + struct.pack("<I", len(t)) + t
    plain = torch_tensor(b"0", 24, b"FloatStorage", [4, 6], [6, 1])
    turned = torch_tensor(b"0", 24, b"FloatStorage", [6, 4], [1, 6])
    codes = torch_tensor(b"1", 24, b"CharStorage", [4, 6], [6, 1])
    kind = b"ctorchao.dtypes.uintx.plain_layout\nPlainAQTTensorImpl\n"
    whole = (b"ctorch._tensor\n_rebuild_from_type_v2\n(ctorch._utils\n_rebuild_wrapper_subclass\n" +
             kind + b"(" + kind + b"ctorch\nint8\nK\x04K\x06\x86t}(" + text(b"int_data") + codes +
             text(b"zero_point") + b"N" + text(b"block_size") + b"](K\x01K\x06eutR")
    yield (b"\x80\x02ccollections\nOrderedDict\n)Rq\x00(" + text(b"a.weight") + plain +
           text(b"b.weight") + turned + b"u}" + text(b"_metadata") + b"Nsb.")
    yield b"\x80\x02}(" + text(b"q.weight") + whole + b"u."
    yield b"\x80\x02}" + text(b"p") + b"ctorch._utils\n_rebuild_parameter\n(" + plain + b"\x88NtRs."


def torch_file_seeds():
    for pickle in torch_pickles():
        yield b"\x01" + pickle
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as z:
            z.writestr("archive/data.pkl", pickle)
            z.writestr("archive/byteorder", "little")
            z.writestr("archive/data/0", bytes(96))
            z.writestr("archive/data/1", bytes(24))
        yield b"\x00" + archive.getvalue()


def http_seeds():
    host = b"Host: h\r\n"
    get = b"GET /v1/models?a=b HTTP/1.1\r\n" + host + b"Connection: close\r\n\r\n"
    post = b"POST /v1/completions HTTP/1.1\r\n" + host + b"Expect: 100-continue\r\n"
    whole = post + b"Content-Length: 5\r\n\r\nhello"
    chunked = post + b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\nhello\r\n0\r\n\r\n"
    old = b"GET /%2e/.. HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
    yield get
    yield whole
    yield chunked
    yield old
    yield whole + chunked + get


def bench_answer_seeds():
    events = (b": ping\n\ndata: {\"choices\":[{\"text\":\"a\"}]}\r\n\r\n"
              b"event: x\ndata: b\ndata: c\n\ndata: [DONE]\n\n")
    head = b"\x02HTTP/1.1 200 OK\r\n"
    yield head + b"Content-Length: %d\r\n\r\n" % len(events) + events
    yield head + b"\r\n" + events
    yield (head + b"Transfer-Encoding: chunked\r\n\r\n%x;a=b\r\n" % len(events) + events +
           b"\r\n0\r\nTrailer: x\r\n\r\n")


def api_request_seeds():
    """The first byte chooses the route."""
    user = {"role": "user", "content": [{"type": "text", "text": "ab"}]}
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{\"a\":1}"}}
    tool = {"type": "function", "function": {"name": "f", "parameters": {}}}
    shared = {"temperature": 0.5, "top_p": 0.9, "min_p": 0.1, "top_k": 3, "seed": -1, "n": 2,
              "presence_penalty": 1, "frequency_penalty": -1.5, "repetition_penalty": 1.1,
              "stop": ["a", "b"], "stop_token_ids": [1], "logit_bias": {"2": -100},
              "ignore_eos": True, "min_tokens": 1, "max_tokens": 4, "priority": 1,
              "response_format": {"type": "text"}}
    yield b"0" + compact(dict(shared, messages=[user], logprobs=True, top_logprobs=2, stream=True,
                              stream_options={"include_usage": True}))
    yield b"0" + compact({"messages": [user, {"role": "assistant", "tool_calls": [call]}],
                          "tools": [tool], "tool_choice": "none",
                          "chat_template_kwargs": {"mood": "good"}})
    yield b"1" + compact(dict(shared, prompt=["ab", "c"], logprobs=2, best_of=3))
    yield b"1" + compact({"prompt": [[1, 2], [3]], "echo": True, "max_tokens": 0})
    schema = {"type": "object", "properties": {"a": {"type": ["integer", "null"]}}}
    yield b"0" + compact({"messages": [user], "response_format": {
        "type": "json_schema", "json_schema": {"name": "x", "strict": True, "schema": schema}}})
    yield b"1" + compact({"prompt": "ab", "guided_json": json.dumps(schema)})
    yield b"1" + compact({"prompt": "ab", "guided_regex": "[a-c]{1,3}(x|\\d)*"})
    yield b"1" + compact({"prompt": "ab", "structured_outputs": {"choice": ["ab", "c"]}})
    yield b"2" + compact({"prompt": "ab", "add_special_tokens": False})
    yield b"2" + compact({"messages": [user]})
    yield b"3" + compact({"tokens": [0, 1, 2]})


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


def vocabulary_seeds():
    """Both committed vocabularies, and the SentencePiece one cut to its first pieces."""
    folder = os.path.join(os.path.dirname(TINY), "vocab")
    for name in ("tiny.gguf", "tiny.model"):
        with open(os.path.join(folder, name), "rb") as f:
            whole = f.read()
        yield whole
    at = 0
    while at < 4500:  # special pieces, bytes and a few texts: tag, length below 128, message
        at += 2 + whole[at + 1]
    yield whole[:at]
    yield whole[:at] + bytes([0x12, 5, 0x18, 1, 0x98, 2, 1])  # unigram, byte fallback
# One answer a format: name, text.
ANSWERS = [
    ("hermes", 'So.\n<tool_call>\n{"name": "f", "arguments": {"a": [1, "b"]}}\n</tool_call>\n'
               '<tool_call>{"name": "g", "arguments": "{}"}'),
    ("llama-json", '{"name": "f", "parameters": {"a": null}}; {"name": "g", "parameters": {}}'),
    ("llama-json", '<|python_tag|>{"name": "f", "parameters": {}}'),
    ("llama-python", '[f(a=1, b="x"), g(c={\'k\': [True, None]})]'),
    ("mistral", '[TOOL_CALLS][{"name": "f", "arguments": {}, "id": "abc"}]'),
    ("mistral", '[TOOL_CALLS]f[ARGS]{"a": 1}[TOOL_CALLS]g[CALL_ID]x[ARGS]{}'),
    ("deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>f\n```json\n"
                 '{"a": 1}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>'),
    ("deepseek", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>f<｜tool▁sep｜>{}<｜tool▁call▁end｜>"
                 "<｜tool▁calls▁end｜>"),
    ("granite", '<|tool_call|>[{"name": "f", "arguments": {}}]'),
    ("required", '[{"name": "f", "arguments": {"a": 1}}]'),
    ("forced", '{"a": {"b": 1.5e3}}'),
    ("none", "<think>Hm.\n</think>\n\nYes."),
]


def gguf_model(kind, elements, block, hidden, tied):
    """A llama of one narrow layer in GGUF. Matrices are blocks of zeros, or F32 where a row is
    shorter than a block."""
    def text(value):
        return struct.pack("<Q", len(value)) + value.encode()

    def number(key, value, form="<I", kind=4):
        return text(key) + struct.pack("<I", kind) + struct.pack(form, value)

    heads, length, inner = 2, 2, 4
    width = heads * length
    entries = [text("general.architecture") + struct.pack("<I", 8) + text("llama")]
    for key, value in (("block_count", 1), ("context_length", 64), ("embedding_length", hidden),
                       ("feed_forward_length", inner), ("attention.head_count", heads),
                       ("attention.key_length", length)):
        entries.append(number("llama." + key, value))
    entries.append(number("llama.attention.layer_norm_rms_epsilon", 1e-5, "<f", 6))
    shapes = {"token_embd": (8, hidden), "blk.0.attn_q": (width, hidden),
              "blk.0.attn_k": (width, hidden), "blk.0.attn_v": (width, hidden),
              "blk.0.attn_output": (hidden, width), "blk.0.ffn_gate": (inner, hidden),
              "blk.0.ffn_up": (inner, hidden), "blk.0.ffn_down": (hidden, inner)}
    if not tied:
        shapes["output"] = (8, hidden)
    tensors = [(name, (hidden,), 0, 4 * hidden)
               for name in ("output_norm", "blk.0.attn_norm", "blk.0.ffn_norm")]
    for name, (rows, columns) in shapes.items():
        fits = columns % elements == 0
        size = columns // elements * block if fits else 4 * columns
        tensors.append((name, (columns, rows), kind if fits else 0, rows * size))
    table, data = b"", b""
    for name, dims, type_, size in tensors:
        table += text(name + ".weight") + struct.pack("<I", len(dims))
        table += struct.pack(f"<{len(dims)}QIQ", *dims, type_, len(data))
        data += bytes(size + -size % 32)
    head = struct.pack("<4sIQQ", b"GGUF", 3, len(tensors), len(entries)) + b"".join(entries) + table
    return head + bytes(-len(head) % 32) + data


def gguf_seeds():
    return [gguf_model(*form) for form in (
        (0, 1, 4, 4, True), (1, 1, 2, 4, False), (8, 32, 34, 32, False), (3, 32, 20, 32, True),
        (6, 32, 22, 32, True), (20, 32, 18, 32, False), (10, 256, 84, 256, True),
        (11, 256, 110, 256, False), (12, 256, 144, 256, True), (13, 256, 176, 256, True),
        (14, 256, 210, 256, True), (23, 256, 136, 256, True))]


# How the linears of a pack file lie: inputs a group, kind of codes, along k or n, dtype of scales
# or floats, zero points, minimums, act-order.
PACKED = [
    (4, "int4", False, "F16", True, False, False), (2, "int4", True, "BF16", False, True, False),
    (4, "int8", False, "F32", True, False, True), (4, "int8", True, "F16", True, True, False),
    (4, "float", False, "BF16", False, False, False),
    (4, "float", True, "F32", False, False, False)]
SIZES = {"I32": 4, "F32": 4, "F16": 2, "BF16": 2}


def packed_tensors(module, n, k, form):
    """The tensors of a linear, each with its bytes and how many runs it has."""
    group, kind, along_k, dtype, zeros, mins, act_order = form
    step = 2 if along_k else 64
    rows, columns = (n, min(step, k)) if along_k else (min(step, n), k)
    if kind == "float":
        size = rows * columns * SIZES[dtype]
    else:
        groups = 1 if along_k else -(-k // group)
        size = 4 * rows * -(-columns // (8 if kind == "int4" else 4))
        size += rows * groups * (SIZES[dtype] + 2 * zeros + 4 * mins)
    runs = -(-(k if along_k else n) // step)
    size = runs * (size + -size % 64)
    linear = {"n": n, "k": k, "along_k": along_k, "step": step,
              "kind": ("int4", "int8", "float").index(kind), "bits": 8 if kind == "int8" else 4,
              "group": group, "source_group": group, "zeros": zeros, "mins": mins, "zero": 8,
              "act_order": act_order, "per_token": False, "dtype": dtype}
    yield {"name": module + ".pack", "dtype": "U8", "shape": [size], "linear": linear}, size, runs
    if act_order:
        yield {"name": module + ".pack_order", "dtype": "I32", "shape": [k], "run": 4 * k}, 4 * k, 1


def pack_model(form):
    """A llama of one narrow layer as header and rest of a pack file; fuzz_pack.c makes digests."""
    config = compact({"model_type": "llama", "hidden_size": 4, "intermediate_size": 6,
                      "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
                      "head_dim": 2, "vocab_size": 8, "max_position_embeddings": 64,
                      "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": False})
    layer = "model.layers.0."
    tensors = []
    for name, n, k in (("self_attn.q_proj", 4, 4), ("self_attn.k_proj", 2, 4),
                       ("self_attn.v_proj", 2, 4), ("self_attn.o_proj", 4, 4),
                       ("mlp.gate_proj", 6, 4), ("mlp.up_proj", 6, 4), ("mlp.down_proj", 4, 6)):
        tensors += packed_tensors(layer + name, n, k, form)
    for name in ("model.embed_tokens", "lm_head"):
        tensors.append(({"name": name + ".weight", "dtype": "BF16", "shape": [8, 4], "run": 8},
                        64, 8))
    for name in (layer + "input_layernorm", layer + "post_attention_layernorm", "model.norm"):
        tensors.append(({"name": name + ".weight", "dtype": "F32", "shape": [4], "run": 16}, 16, 1))
    digests = sum(runs for _, _, runs in tensors)
    header = compact({"layout": "shoal-pack/1", "sources": [], "digests": digests,
                      "digests_xxh3": "0" * 32,
                      "texts": [{"name": "config.json", "bytes": len(config), "xxh3": "0" * 32}],
                      "tensors": [about for about, _, _ in tensors]})
    rest = bytes(16 * digests) + config + bytes(sum(size for _, size, _ in tensors))
    return b"\1" + header + b" " * (-len(header) % 64) + b"\0" + rest


def pack_seeds():
    return [pack_model(form) for form in PACKED]


def tool_calls_seeds():
    for i, (name, text) in enumerate(ANSWERS):
        yield bytes([i]) + b"\1" + name.encode() + b"\n" + text.encode()
        yield b"\0\7" + name.encode() + b"\nHm.</think>\n" + text.encode()
# One schema or expression a line, a tab, a text.
SCHEMAS = """\
{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}\t{"a": 1, "b": [null]}
{"enum":["red",1.5,null,{"k":[1]}]}\t{"k": [1.0]}
{"type":"string","minLength":2,"maxLength":4,"pattern":"^[a-z]+$"}\t"ab\\u0063"
{"type":"number","minimum":-2.5,"exclusiveMaximum":1e3,"multipleOf":0.5}\t-1.5
{"oneOf":[{"type":"integer"},{"type":"number","minimum":10}]}\t10.5
{"allOf":[{"required":["a"]},{"not":{"type":"string"}}],"minProperties":1}\t{"a":"\\ud83e\\udd99"}
{"anyOf":[{"type":"null"},{"type":"array","items":{"$ref":"#"},"maxItems":2}]}\t[[],[[null]]]
{"type":"array","prefixItems":[{"format":"date"},{"const":true}],"items":false}\t["2024-02-29",true]
{"patternProperties":{"^n_":{"type":"null"}},"propertyNames":{"maxLength":3}}\t{"n_x":null}
r(yes|no)[^a-c\\d]{2,3}\\p{Lu}?\tyes--A
r^(?:a|b*)+\\u{1F999}?$\tabba
"""


def schema_seeds():
    for line in SCHEMAS.splitlines():
        yield line.replace("\t", "\0").encode()


SEEDS = {
    "fuzz_api_request": api_request_seeds,
    "fuzz_bench_answer": bench_answer_seeds,
    "fuzz_config": config_seeds,
    "fuzz_encode": encode_seeds,
    "fuzz_http": http_seeds,
    "fuzz_index": index_seeds,
    "fuzz_pack": pack_seeds,
    "fuzz_safetensors": safetensors_seeds,
    "fuzz_schema": schema_seeds,
    "fuzz_template": template_seeds,
    "fuzz_tool_calls": tool_calls_seeds,
    "fuzz_tokenizer": tokenizer_seeds,
    "fuzz_torch_file": torch_file_seeds,
    "fuzz_vocabulary": vocabulary_seeds,
    "fuzz_gguf": gguf_seeds,
}


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
