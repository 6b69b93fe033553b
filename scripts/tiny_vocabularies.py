#!/usr/bin/env python3
"""Make the small vocabularies of tests/data/vocab from the tokenizer of tests/data/tiny-llama.

    tiny.gguf    the whole tokenizer as a vocabulary-only GGUF file, with its chat template
    tiny.model   a SentencePiece BPE model with byte fallback: its merged tokens that are text, the
                 space written as U+2581, scored by the order of the merges

Only the Python standard library is used, so the files are the same anywhere.

    tiny_vocabularies.py           write the files
    tiny_vocabularies.py --check   exit 1 unless the committed files are what this script makes
"""
import json
import os
import struct
import sys

DATA = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tests", "data")
SOURCE = os.path.join(DATA, "tiny-llama")
TARGET = os.path.join(DATA, "vocab")

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6  # in both formats


def load(name):
    with open(os.path.join(SOURCE, name), encoding="utf-8") as f:
        return json.load(f)


# ---- GGUF ----

U32, I32, BOOL, STRING, ARRAY = 4, 5, 7, 8, 9


def gguf_string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_value(kind, value):
    if kind == STRING:
        return gguf_string(value)
    return struct.pack({U32: "<I", I32: "<i", BOOL: "<?"}[kind], value)


def gguf_entry(key, kind, value):
    if isinstance(value, list):
        head = struct.pack("<IIQ", ARRAY, kind, len(value))
        return gguf_string(key) + head + b"".join(gguf_value(kind, v) for v in value)
    return gguf_string(key) + struct.pack("<I", kind) + gguf_value(kind, value)


def make_gguf(tokenizer, config):
    model = tokenizer["model"]
    added = {t["id"]: t for t in tokenizer["added_tokens"]}
    words = {i: word for word, i in model["vocab"].items()}
    words.update((i, t["content"]) for i, t in added.items())
    kinds = [NORMAL if i not in added else CONTROL if added[i]["special"] else USER_DEFINED
             for i in range(len(words))]
    ids = {t["content"]: i for i, t in added.items()}
    merges = [m if isinstance(m, str) else " ".join(m) for m in model["merges"]]
    entries = [
        ("general.architecture", STRING, "llama"),
        ("general.name", STRING, "tiny-llama"),
        ("tokenizer.ggml.model", STRING, "gpt2"),
        ("tokenizer.ggml.pre", STRING, "llama-bpe"),
        ("tokenizer.ggml.tokens", STRING, [words[i] for i in range(len(words))]),
        ("tokenizer.ggml.token_type", I32, kinds),
        ("tokenizer.ggml.merges", STRING, merges),
        ("tokenizer.ggml.bos_token_id", U32, ids[config["bos_token"]]),
        ("tokenizer.ggml.eos_token_id", U32, ids[config["eos_token"]]),
        ("tokenizer.ggml.add_bos_token", BOOL, True),
        ("tokenizer.chat_template", STRING, config["chat_template"]),
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, 0, len(entries))
    return head + b"".join(gguf_entry(*e) for e in entries)


# ---- SentencePiece ----


def varint(value):
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def field(number, data):
    """A number, or bytes with their length."""
    if isinstance(data, int):
        return varint(number << 3) + varint(data)
    return varint(number << 3 | 2) + varint(len(data)) + data


def piece(text, score, kind=NORMAL):
    message = field(1, text.encode()) + varint(2 << 3 | 5) + struct.pack("<f", score)
    return field(1, message + (field(3, kind) if kind != NORMAL else b""))


def byte_alphabet():
    """What each character of byte-level BPE stands for."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = [b for b in range(256) if b not in plain]
    return {**{chr(b): b for b in plain}, **{chr(256 + i): b for i, b in enumerate(rest)}}


def texts_of(tokenizer):
    """The tokens that are text, in the order of their ids."""
    alphabet = byte_alphabet()
    added = {t["content"] for t in tokenizer["added_tokens"]}
    for word, _ in sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1]):
        if word not in added and all(c in alphabet for c in word):
            try:
                text = bytes(alphabet[c] for c in word).decode()
            except UnicodeDecodeError:
                continue
            if all(c.isprintable() for c in text):
                yield text.replace(" ", "\u2581")


def make_model(tokenizer):
    pieces = [piece("<unk>", 0, UNKNOWN), piece("<s>", 0, CONTROL), piece("</s>", 0, CONTROL),
              piece("<|user|>", 0, USER_DEFINED)]
    pieces += [piece("<0x%02X>" % b, 0, BYTE) for b in range(256)]
    pieces += [piece(text, -float(i)) for i, text in enumerate(texts_of(tokenizer))]
    trainer = field(3, 2) + field(35, 1)  # BPE, byte fallback
    normalizer = field(3, 1) + field(4, 0) + field(5, 1)
    return b"".join(pieces) + field(2, trainer) + field(3, normalizer)


def main():
    tokenizer, config = load("tokenizer.json"), load("tokenizer_config.json")
    files = {"tiny.gguf": make_gguf(tokenizer, config), "tiny.model": make_model(tokenizer)}
    os.makedirs(TARGET, exist_ok=True)
    for name, data in files.items():
        path = os.path.join(TARGET, name)
        if "--check" in sys.argv[1:]:
            with open(path, "rb") as f:
                if f.read() != data:
                    sys.exit(f"{name} is not what this script makes")
        else:
            with open(path, "wb") as f:
                f.write(data)


if __name__ == "__main__":
    main()
