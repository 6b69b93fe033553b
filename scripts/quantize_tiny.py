#!/usr/bin/env python3
"""Make tests/data/tiny-llama-gptq-int4 from tests/data/tiny-llama: symmetric int4, groups of 128.

Round to nearest with a small search of the scale per group (least squared error), stored in the
GPTQ v1 layout: qweight I32 [K/8, N], qzeros I32 [K/128, N/8] holding 7 (zero point - 1), scales F16
[K/128, N], g_idx I32 [K]. Embedding, lm_head and norms keep their bf16 bytes. Only the Python
standard library is used, in integer and IEEE double arithmetic, so the file is the same anywhere.

    quantize_tiny.py           write the folder
    quantize_tiny.py --check   exit 1 unless the committed file is what this script makes
"""
import array
import json
import math
import os
import shutil
import struct
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
SOURCE = os.path.join(HERE, "..", "tests", "data", "tiny-llama")
TARGET = os.path.join(HERE, "..", "tests", "data", "tiny-llama-gptq-int4")
GROUP = 128
SHRINKS = [1.0, 0.94, 0.88, 0.82, 0.76]  # of the largest magnitude; tried for every group


def read_safetensors(path):
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
        data = f.read()
    header.pop("__metadata__", None)
    return {name: (t["dtype"], t["shape"], data[t["data_offsets"][0]:t["data_offsets"][1]])
            for name, t in header.items()}


def write_safetensors(path, tensors):
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    order = {"I32": 0, "BF16": 1, "F16": 2}
    names = sorted(tensors, key=lambda n: (order[tensors[n][0]], n))
    for name in names:
        dtype, shape, data = tensors[name]
        end = offset + len(data)
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name in names:
            f.write(tensors[name][2])


def floats_of_bf16(data):
    halves = array.array("H", data)
    words = array.array("I", (h << 16 for h in halves))
    return array.array("f", words.tobytes())


def quantize_group(values):
    """Codes 0..15 and the fp16 scale (as a double) of one group."""
    largest = max(map(abs, values))
    if largest == 0.0:
        return [8] * len(values), 0.0
    best = None
    for shrink in SHRINKS:
        scale = struct.unpack("<e", struct.pack("<e", largest * shrink / 7.5))[0]
        if scale == 0.0:
            continue
        inverse = 1.0 / scale
        codes = [min(15, max(0, round(v * inverse) + 8)) for v in values]
        error = math.fsum((v - (c - 8) * scale) ** 2 for v, c in zip(values, codes))
        if best is None or error < best[0]:
            best = (error, codes, scale)
    return best[1], best[2]


def quantize_linear(n, k, data):
    """The four GPTQ tensors of a [n][k] bf16 weight."""
    weights, groups = floats_of_bf16(data), k // GROUP
    qweight = array.array("I", bytes(4 * (k // 8) * n))
    scales = array.array("H", bytes(2 * groups * n))
    for column in range(n):
        row = weights[column * k:(column + 1) * k]
        for g in range(groups):
            codes, scale = quantize_group(row[g * GROUP:(g + 1) * GROUP])
            scales[g * n + column] = struct.unpack("<H", struct.pack("<e", scale))[0]
            for i in range(0, GROUP, 8):
                word = sum(c << 4 * j for j, c in enumerate(codes[i:i + 8]))
                qweight[(g * GROUP + i) // 8 * n + column] = word
    return {
        "qweight": ("I32", [k // 8, n], qweight.tobytes()),
        "qzeros": ("I32", [groups, n // 8], struct.pack("<I", 0x77777777) * (groups * n // 8)),
        "scales": ("F16", [groups, n], scales.tobytes()),
        "g_idx": ("I32", [k], array.array("i", (i // GROUP for i in range(k))).tobytes()),
    }


def quantized_tensors():
    out = {}
    source = read_safetensors(os.path.join(SOURCE, "model.safetensors"))
    for name, (dtype, shape, data) in source.items():
        if name.endswith("_proj.weight"):
            for part, tensor in quantize_linear(shape[0], shape[1], data).items():
                out[name[:-len("weight")] + part] = tensor
        else:
            out[name] = (dtype, shape, data)
    return out


def configs():
    quant = {"bits": 4, "checkpoint_format": "gptq", "desc_act": False, "group_size": GROUP,
             "lm_head": False, "quant_method": "gptq", "static_groups": False, "sym": True,
             "true_sequential": False}
    with open(os.path.join(SOURCE, "config.json")) as f:
        config = json.load(f)
    config["quantization_config"] = quant
    return config, quant


def main():
    check = "--check" in sys.argv[1:]
    path = os.path.join(TARGET, "model.safetensors")
    os.makedirs(TARGET, exist_ok=True)
    made = path + ".made"
    write_safetensors(made, quantized_tensors())
    if check:
        same = os.path.exists(path) and open(path, "rb").read() == open(made, "rb").read()
        os.remove(made)
        print(f"{os.path.relpath(path)} {'is' if same else 'is not'} what this script makes")
        return 0 if same else 1
    os.replace(made, path)
    config, quant = configs()
    for name, value in (("config.json", config), ("quantize_config.json", quant)):
        with open(os.path.join(TARGET, name), "w") as f:
            json.dump(value, f, indent=2)
            f.write("\n")
    for name in ("generation_config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(os.path.join(SOURCE, name), os.path.join(TARGET, name))
    print(f"wrote {os.path.normpath(path)}: {os.path.getsize(path)} bytes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
