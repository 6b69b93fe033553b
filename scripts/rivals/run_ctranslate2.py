"""CTranslate2: prefill and batched decode of a random int8 model.

    run_ctranslate2.py FOLDER SHAPE THREADS            (in an environment with ctranslate2, numpy)

Writes FOLDER/SHAPE-ct2-int8 with CTranslate2's own model specification if it is not there: int8
matrices with a scale per row, as its converter makes them, norms 1. Prints {"version": text,
"rows": {row: tokens per second}}. The prompt of the decode rows is a static prompt, whose state
CTranslate2 keeps and gives to every sequence of the batch; steps are told apart by the callback for
each token, and what ends a text is suppressed.
"""
import json
import os
import shutil
import sys
import time

import ctranslate2
import numpy

import workload

END = "</s>"


# ---- the model -----------------------------------------------------------------------------------

def fill_matrix(spec, random, n, k):
    spec.weight = random.integers(-127, 128, (n, k), dtype=numpy.int8)
    spec.weight_scale = numpy.full(n, 73 * k ** 0.5, dtype=numpy.float32)  # code / scale


def fill_layer(layer, random, shape):
    hidden, wide = shape["hidden"], shape["intermediate"]
    kv = hidden // shape["heads"] * shape["kv_heads"]
    attention, one = layer.self_attention, numpy.ones(hidden, dtype=numpy.float32)
    attention.layer_norm.gamma = one
    layer.ffn.layer_norm.gamma = one
    fill_matrix(attention.linear[0], random, hidden + 2 * kv, hidden)
    fill_matrix(attention.linear[1], random, hidden, hidden)
    fill_matrix(layer.ffn.linear_0, random, wide, hidden)
    fill_matrix(layer.ffn.linear_0_noact, random, wide, hidden)
    fill_matrix(layer.ffn.linear_1, random, hidden, wide)


def write_model(folder, shape):
    specs = ctranslate2.specs
    spec = specs.TransformerDecoderModelSpec.from_config(
        shape["layers"], shape["heads"], activation=specs.Activation.SWISH, pre_norm=True,
        ffn_glu=True, rms_norm=True, rotary_dim=0, rotary_interleave=False, rotary_base=10000.0,
        num_heads_kv=shape["kv_heads"])
    random = numpy.random.default_rng(1)
    spec.decoder.scale_embeddings = False
    spec.decoder.layer_norm.gamma = numpy.ones(shape["hidden"], dtype=numpy.float32)
    fill_matrix(spec.decoder.embeddings, random, shape["vocab"], shape["hidden"])
    fill_matrix(spec.decoder.projection, random, shape["vocab"], shape["hidden"])
    for layer in spec.decoder.layer:
        fill_layer(layer, random, shape)
    spec.register_vocabulary(["<unk>", "<s>", END] + [f"<{i}>" for i in range(3, shape["vocab"])])
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = "<unk>", "<s>", END
    spec.config.layer_norm_epsilon = 1e-5
    spec.validate()
    shutil.rmtree(folder, ignore_errors=True)  # of a run that was interrupted
    os.makedirs(folder)
    spec.save(folder)


def model_folder(folder, name):
    path = os.path.join(folder, f"{name}-ct2-int8")
    if not os.path.exists(path):
        write_model(path + ".part", workload.SHAPES[name])
        os.rename(path + ".part", path)
    return path


# ---- the measurement -----------------------------------------------------------------------------

def letters(ids):
    return [f"<{token}>" for token in ids]


def prefill_seconds(generator, tokens):
    begin = time.perf_counter()
    generator.generate_batch([letters(tokens)], max_length=1, sampling_topk=1,
                             include_prompt_in_result=False)
    return time.perf_counter() - begin


def decode_seconds(generator, tokens, batch, steps):
    """Seconds per step between the first and the last one, a token for every sequence each. The
    sequences share all tokens but one of the last `batch`."""
    tokens, ends = letters(tokens), {}

    def on_token(step):
        ends[step.step] = time.perf_counter()
        return False

    generator.generate_batch([[token] for token in tokens[-batch:]], static_prompt=tokens[:-batch],
                             max_length=steps, min_length=steps, sampling_topk=1,
                             include_prompt_in_result=False, suppress_sequences=[[END]],
                             callback=on_token)
    return (ends[max(ends)] - ends[min(ends)]) / (max(ends) - min(ends))


def measure(folder, name, threads):
    shape, rows = workload.SHAPES[name], {}
    generator = ctranslate2.Generator(model_folder(folder, name), device="cpu",
                                      compute_type="int8", inter_threads=1, intra_threads=threads)
    prefill_seconds(generator, workload.prompt(shape, workload.CONTEXT))
    seconds = prefill_seconds(generator, workload.prompt(shape, workload.PREFILL))
    rows[workload.prefill_row()] = workload.PREFILL / seconds
    for batch, context, steps in workload.DECODES:
        tokens = workload.prompt(shape, context - 1 + batch)
        seconds = decode_seconds(generator, tokens, batch, steps)
        rows[workload.decode_row(batch, context)] = batch / seconds
    return {"version": "ctranslate2 " + ctranslate2.__version__, "rows": rows}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], sys.argv[2], int(sys.argv[3]))))
