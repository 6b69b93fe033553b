"""llama.cpp through llama-cpp-python: prefill and batched decode of a random Q4_0 model.

    run_llama.py FOLDER SHAPE THREADS        (in an environment with llama-cpp-python, gguf, numpy)

Writes FOLDER/SHAPE-q4_0.gguf if it is not there: every matrix is random Q4_0 blocks, the norms are
1. Prints {"version": text, "rows": {row: tokens per second}}. Calls llama_decode itself, so neither
sampling nor Python's per-token work of the high-level interface is in the times; logits are asked
for the last prompt token, and for every decoded one.
"""
import ctypes
import json
import os
import sys
import time

import numpy

import workload

BLOCK, BLOCK_BYTES = 32, 18


# ---- the model -----------------------------------------------------------------------------------

def random_q4_0(random, n, k):
    """N rows of blocks: an fp16 scale, then 32 codes in 16 bytes."""
    blocks = random.integers(0, 256, (n, k // BLOCK, BLOCK_BYTES), dtype=numpy.uint8)
    scale = numpy.array([0.2 / k ** 0.5], dtype=numpy.float16)
    blocks[:, :, :2] = scale.view(numpy.uint8)
    return blocks.reshape(n, -1)


def layer_sizes(shape):
    """{GGUF name: (N, K)}"""
    hidden, wide = shape["hidden"], shape["intermediate"]
    kv = hidden // shape["heads"] * shape["kv_heads"]
    return {"attn_q": (hidden, hidden), "attn_k": (kv, hidden), "attn_v": (kv, hidden),
            "attn_output": (hidden, hidden), "ffn_gate": (wide, hidden), "ffn_up": (wide, hidden),
            "ffn_down": (hidden, wide)}


def write_model(path, shape):
    import gguf
    import compare_models
    random = numpy.random.default_rng(1)
    one = numpy.ones(shape["hidden"], dtype=numpy.float32)
    writer = gguf.GGUFWriter(path, "llama")
    compare_models.add_description(writer, shape)

    def add(name, n, k):
        writer.add_tensor(name, random_q4_0(random, n, k),
                          raw_dtype=gguf.GGMLQuantizationType.Q4_0)

    add("token_embd.weight", shape["vocab"], shape["hidden"])
    add("output.weight", shape["vocab"], shape["hidden"])
    writer.add_tensor("output_norm.weight", one)
    for layer in range(shape["layers"]):
        for name, (n, k) in layer_sizes(shape).items():
            add(f"blk.{layer}.{name}.weight", n, k)
        writer.add_tensor(f"blk.{layer}.attn_norm.weight", one)
        writer.add_tensor(f"blk.{layer}.ffn_norm.weight", one)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def model_file(folder, name):
    path = os.path.join(folder, f"{name}-q4_0.gguf")
    if not os.path.exists(path):
        write_model(path + ".part", workload.SHAPES[name])
        os.rename(path + ".part", path)
    return path


# ---- the measurement -----------------------------------------------------------------------------

class Llama:
    """One model and a context for many sequences; the C interface in few words."""

    def __init__(self, path):
        import llama_cpp
        self.api = llama_cpp
        self.quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
        llama_cpp.llama_log_set(self.quiet, ctypes.c_void_p())
        llama_cpp.llama_backend_init()
        self.model = llama_cpp.llama_model_load_from_file(
            path.encode(), llama_cpp.llama_model_default_params())
        self.batch = llama_cpp.llama_batch_init(workload.PREFILL, 0, 1)

    def open(self, threads, sequences):
        params = self.api.llama_context_default_params()
        params.n_ctx = workload.PREFILL * sequences
        params.n_batch = params.n_ubatch = workload.PREFILL
        params.n_seq_max = sequences
        params.n_threads = params.n_threads_batch = threads
        self.context = self.api.llama_init_from_model(self.model, params)
        if not self.context:
            sys.exit("llama.cpp made no context")
        self.memory = self.api.llama_get_memory(self.context)

    def close(self):
        self.api.llama_free(self.context)

    def put(self, index, token, position, sequence, wanted):
        self.batch.token[index] = token
        self.batch.pos[index] = position
        self.batch.n_seq_id[index] = 1
        self.batch.seq_id[index][0] = sequence
        self.batch.logits[index] = wanted

    def decode(self, count):
        self.batch.n_tokens = count
        if self.api.llama_decode(self.context, self.batch) != 0:
            sys.exit("llama_decode failed")
        self.api.llama_synchronize(self.context)

    def prefill(self, tokens):
        """Sequence 0 alone; seconds."""
        self.api.llama_memory_clear(self.memory, True)
        for index, token in enumerate(tokens):
            self.put(index, token, index, 0, index + 1 == len(tokens))
        begin = time.perf_counter()
        self.decode(len(tokens))
        return time.perf_counter() - begin

    def step(self, sequences, position):
        """A token for each sequence."""
        for sequence in range(sequences):
            self.put(sequence, 300 + sequence + position, position, sequence, True)
        self.decode(sequences)

    def decode_seconds(self, tokens, sequences, steps):
        """Per step. Every sequence gets a copy of one prompt; the first step, which copies, is not
        timed."""
        self.prefill(tokens)
        for sequence in range(1, sequences):
            self.api.llama_memory_seq_cp(self.memory, 0, sequence, -1, -1)
        self.step(sequences, len(tokens))
        begin = time.perf_counter()
        for i in range(1, steps):
            self.step(sequences, len(tokens) + i)
        return (time.perf_counter() - begin) / (steps - 1)


def measure(folder, name, threads):
    shape, llama, rows = workload.SHAPES[name], Llama(model_file(folder, name)), {}
    llama.open(threads, 1)
    llama.prefill(workload.prompt(shape, workload.CONTEXT))
    seconds = llama.prefill(workload.prompt(shape, workload.PREFILL))
    rows[workload.prefill_row()] = workload.PREFILL / seconds
    llama.close()
    for batch, context, steps in workload.DECODES:
        llama.open(threads, batch)
        seconds = llama.decode_seconds(workload.prompt(shape, context), batch, steps)
        rows[workload.decode_row(batch, context)] = batch / seconds
        llama.close()
    return {"version": "llama-cpp-python " + llama.api.__version__, "rows": rows}


if __name__ == "__main__":
    sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
