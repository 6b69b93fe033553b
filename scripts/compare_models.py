"""The same random Llama twice: a folder that Shoal reads (GPTQ v1) and a file for llama.cpp (GGUF).

The int4 linears hold the same numbers in both: groups of 32 along K, an fp16 scale, codes 0..15
around 8 are GPTQ with group_size 32 as well as Q4_0. Embedding and output matrix are bf16 in both,
norms are 1. The vocabulary is byte-level without useful merges, so that a letter is a token; the
output rows of what would end a text, or is no whole character, are zero, so that every step of a
greedy generation says something. Needs numpy and gguf.
"""
import json
import os
import struct

import gguf
import numpy

GROUP = 32
FIRST_BYTE = 2  # ids 0 and 1 are <s> and </s>

SHAPES = {
    "tiny": {"hidden": 256, "intermediate": 768, "layers": 4, "heads": 8, "kv_heads": 4,
             "vocab": 1024},
    "small": {"hidden": 1024, "intermediate": 2816, "layers": 8, "heads": 16, "kv_heads": 8,
              "vocab": 4096},
}
CONTEXT = 2048


def byte_letters():
    """GPT-2's printable letter for every byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, extra = {}, 256
    for byte in range(256):
        letters[byte] = chr(byte) if byte in plain else chr(extra)
        extra += byte not in plain
    return letters


def vocabulary(size):
    tokens = ["<s>", "</s>", *byte_letters().values(), "QQ"]
    return tokens + [f"<{i}>" for i in range(len(tokens), size)]


def bf16(values):
    return (values.astype(numpy.float32).view(numpy.uint32) >> 16).astype(numpy.uint16)


class Linear:
    """N x K: codes 0..15 and a scale per row and group."""

    def __init__(self, random, n, k):
        self.codes = random.integers(0, 16, (n, k), dtype=numpy.uint8)
        scales = 0.2 / numpy.sqrt(k) * random.uniform(0.8, 1.2, (n, k // GROUP))
        self.scales = scales.astype(numpy.float16)

    def gptq(self):
        """What GPTQ stores: eight codes along K in a word, the zero point less one."""
        n, k = self.codes.shape
        shifts = 4 * numpy.arange(8, dtype=numpy.uint32)[:, None]
        by_eight = self.codes.T.reshape(k // 8, 8, n).astype(numpy.uint32)
        qweight = (by_eight << shifts).sum(axis=1, dtype=numpy.uint32)
        qzeros = numpy.full((k // GROUP, n // 8), 0x77777777, dtype=numpy.uint32)
        g_idx = numpy.arange(k, dtype=numpy.int32) // GROUP
        return {"qweight": ("I32", qweight), "qzeros": ("I32", qzeros),
                "scales": ("F16", numpy.ascontiguousarray(self.scales.T)), "g_idx": ("I32", g_idx)}

    def q4_0(self):
        """Blocks of a scale and 16 bytes: elements j and j + 16 share byte j."""
        n, k = self.codes.shape
        blocks = self.codes.reshape(n, k // GROUP, 2, GROUP // 2)
        codes = blocks[:, :, 0] | blocks[:, :, 1] << 4
        scales = self.scales[:, :, None].view(numpy.uint8)
        return numpy.concatenate([scales, codes], axis=2).reshape(n, -1)

    def rope_pairs(self, heads):
        """Rows in llama.cpp's order: the two of a rotated pair side by side."""
        other = Linear.__new__(Linear)
        for name in ("codes", "scales"):
            rows = getattr(self, name)
            halves = rows.reshape(heads, 2, -1, rows.shape[1])
            setattr(other, name, halves.swapaxes(1, 2).reshape(rows.shape))
        return other


def make_linears(shape, random):
    """{(layer, Hugging Face name): Linear}"""
    hidden, wide = shape["hidden"], shape["intermediate"]
    kv = hidden // shape["heads"] * shape["kv_heads"]
    sizes = {"self_attn.q_proj": (hidden, hidden), "self_attn.k_proj": (kv, hidden),
             "self_attn.v_proj": (kv, hidden), "self_attn.o_proj": (hidden, hidden),
             "mlp.gate_proj": (wide, hidden), "mlp.up_proj": (wide, hidden),
             "mlp.down_proj": (hidden, wide)}
    return {(layer, name): Linear(random, n, k)
            for layer in range(shape["layers"]) for name, (n, k) in sizes.items()}


def make_output(shape, random):
    output = random.normal(0, 0.02, (shape["vocab"], shape["hidden"]))
    output[:FIRST_BYTE] = 0
    output[FIRST_BYTE + 128:FIRST_BYTE + 256] = 0
    return bf16(output)


# ---- for Shoal -----------------------------------------------------------------------------------

def write_safetensors(path, tensors):
    header, offset = {}, 0
    for name, (dtype, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": list(data.shape),
                        "data_offsets": [offset, offset + data.nbytes]}
        offset += data.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for _, data in tensors.values():
            file.write(data.tobytes())


def tokenizer_json(tokens):
    special = [{"id": i, "content": tokens[i], "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True} for i in range(FIRST_BYTE)]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
             "use_regex": True}
    return {"version": "1.0", "added_tokens": special, "normalizer": None, "pre_tokenizer": level,
            "post_processor": None, "decoder": level,
            "model": {"type": "BPE", "vocab": {token: i for i, token in enumerate(tokens)},
                      "merges": ["Q Q"]}}


def write_folder(folder, shape, linears, embedding, output):
    one = bf16(numpy.ones(shape["hidden"]))
    tensors = {"model.embed_tokens.weight": ("BF16", embedding), "lm_head.weight": ("BF16", output),
               "model.norm.weight": ("BF16", one)}
    for (layer, name), linear in linears.items():
        for part, tensor in linear.gptq().items():
            tensors[f"model.layers.{layer}.{name}.{part}"] = tensor
    for layer in range(shape["layers"]):
        for norm in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{norm}.weight"] = ("BF16", one)
    config = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
              "hidden_size": shape["hidden"], "intermediate_size": shape["intermediate"],
              "num_hidden_layers": shape["layers"], "num_attention_heads": shape["heads"],
              "num_key_value_heads": shape["kv_heads"], "vocab_size": shape["vocab"],
              "max_position_embeddings": CONTEXT, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
              "bos_token_id": 0, "eos_token_id": 1, "tie_word_embeddings": False,
              "torch_dtype": "bfloat16",
              "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": GROUP,
                                      "desc_act": False, "sym": True,
                                      "checkpoint_format": "gptq"}}
    os.makedirs(folder, exist_ok=True)
    write_safetensors(os.path.join(folder, "model.safetensors"), tensors)
    for name, value in (("config.json", config),
                        ("tokenizer.json", tokenizer_json(vocabulary(shape["vocab"])))):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:
            json.dump(value, file)


# ---- for llama.cpp -------------------------------------------------------------------------------

GGUF_NAMES = {"self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
              "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
              "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def add_description(writer, shape):
    tokens = vocabulary(shape["vocab"])
    kinds = [gguf.TokenType.CONTROL] * FIRST_BYTE
    kinds += [gguf.TokenType.NORMAL] * (len(tokens) - FIRST_BYTE)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape["hidden"])
    writer.add_feed_forward_length(shape["intermediate"])
    writer.add_block_count(shape["layers"])
    writer.add_head_count(shape["heads"])
    writer.add_head_count_kv(shape["kv_heads"])
    writer.add_rope_dimension_count(shape["hidden"] // shape["heads"])
    writer.add_rope_freq_base(10000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(shape["vocab"])
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q4_0)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(["Q Q"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(1)
    writer.add_add_bos_token(False)


def write_gguf(path, shape, linears, embedding, output):
    kinds = gguf.GGMLQuantizationType
    writer = gguf.GGUFWriter(path, "llama")
    add_description(writer, shape)
    one = numpy.ones(shape["hidden"], dtype=numpy.float32)
    writer.add_tensor("token_embd.weight", embedding.view(numpy.uint8), raw_dtype=kinds.BF16)
    writer.add_tensor("output.weight", output.view(numpy.uint8), raw_dtype=kinds.BF16)
    writer.add_tensor("output_norm.weight", one)
    for (layer, name), linear in linears.items():
        if name.endswith(("q_proj", "k_proj")):
            linear = linear.rope_pairs(shape["heads" if "q_proj" in name else "kv_heads"])
        writer.add_tensor(f"blk.{layer}.{GGUF_NAMES[name]}.weight", linear.q4_0(),
                          raw_dtype=kinds.Q4_0)
    for layer in range(shape["layers"]):
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", one)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", one)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def make(name, folder):
    """Write both; returns (Shoal's folder, llama.cpp's file)."""
    shape, random = SHAPES[name], numpy.random.default_rng(20261128)
    linears = make_linears(shape, random)
    embedding = bf16(random.normal(0, 0.02, (shape["vocab"], shape["hidden"])))
    output = make_output(shape, random)
    ours, theirs = os.path.join(folder, name), os.path.join(folder, f"{name}.gguf")
    write_folder(ours, shape, linears, embedding, output)
    write_gguf(theirs, shape, linears, embedding, output)
    return ours, theirs
