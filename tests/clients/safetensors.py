"""A small safetensors reader for tests: headers, and float tensors as array('f').

It trusts its file: tests of damaged files feed the program, never this reader.
"""
import array
import json
import os
import struct

_CODES = {"F32": "f", "I32": "i", "I64": "q", "U8": "B"}


def read_header(path):
    """{name: {"dtype", "shape", "data_offsets"}}, and where the data begins."""
    with open(path, "rb") as f:
        size = struct.unpack("<Q", f.read(8))[0]
        header = json.loads(f.read(size))
    header.pop("__metadata__", None)
    return header, 8 + size


def read_tensor(path, name):
    """(shape, values as a flat array) of one tensor."""
    header, start = read_header(path)
    entry = header[name]
    begin, end = entry["data_offsets"]
    values = array.array(_CODES[entry["dtype"]])
    with open(path, "rb") as f:
        f.seek(start + begin)
        values.frombytes(f.read(end - begin))
    return entry["shape"], values


def read_rows(path, name="logits"):
    """The raw bytes of every row of a matrix."""
    header, start = read_header(path)
    rows = header[name]["shape"][0]
    begin, end = header[name]["data_offsets"]
    with open(path, "rb") as f:
        f.seek(start + begin)
        data = f.read(end - begin)
    width = len(data) // rows
    return [data[i * width:(i + 1) * width] for i in range(rows)]


def tensors_of(folder):
    """{name: (dtype, shape, bytes)} of all safetensors files of a model folder."""
    found = {}
    for file in sorted(os.listdir(folder)):
        if file.endswith(".safetensors"):
            header, _ = read_header(os.path.join(folder, file))
            for name, entry in header.items():
                begin, end = entry["data_offsets"]
                found[name] = (entry["dtype"], entry["shape"], end - begin)
    return found
