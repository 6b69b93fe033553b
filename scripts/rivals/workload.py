"""What everybody is measured at: shapes, lengths, batches, and the rows' names."""

SHAPES = {
    "1b": {"hidden": 2048, "intermediate": 8192, "layers": 16, "heads": 32, "kv_heads": 8,
           "vocab": 32000},
    "tiny": {"hidden": 256, "intermediate": 768, "layers": 4, "heads": 8, "kv_heads": 4,
             "vocab": 1024},
}

PREFILL = 512  # tokens of the prompt whose speed is measured
CONTEXT, SHORT = 128, 16  # tokens before the first decoded one

# Batch, context, steps. Where caches are read badly, a short context hides it: both are shown.
DECODES = ((1, CONTEXT, 64), (8, CONTEXT, 32), (32, CONTEXT, 16), (8, SHORT, 32), (32, SHORT, 16))

# One linear alone: K in, N out, M rows at once; the weights taken in turn, to come from memory.
LINEAR_K = 4096
LINEAR_N = {"1b": (4096, 14336, 28672), "tiny": (4096,)}
LINEAR_M = {"1b": (1, 16, 128, 512), "tiny": (1, 16)}
LINEAR_THREADS = 2  # at most, as shoal bench kernels has it
LINEAR_BYTES = {"1b": 512 << 20, "tiny": 32 << 20}


def prefill_row():
    return f"prefill.{PREFILL}"


def decode_row(batch, context):
    return f"decode.b{batch}" if context == CONTEXT else f"decode.b{batch}.c{context}"


def linear_row(n, m):
    return f"linear.{LINEAR_K}x{n}.m{m}"


def rows(group, shape):
    """Names of all rows of a group, in the order they are shown."""
    if group == "model":
        return [prefill_row(), *(decode_row(batch, context) for batch, context, _ in DECODES)]
    return [linear_row(n, m) for n in LINEAR_N[shape] for m in LINEAR_M[shape]]


def prompt(shape, count):
    """Token ids that are no special token of anybody's vocabulary."""
    usable = shape["vocab"] - 300
    return [300 + 7919 * i % usable for i in range(count)]
