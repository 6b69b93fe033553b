"""oneDNN's int8 linear as PyTorch calls it, many copies, at several M.

    run_torch.py SHAPE N THREADS                    (in an environment with torch, numpy)

K is workload.LINEAR_K. Weights are int8 with a scale per row (PyTorch has no integer int4 linear
for CPUs), activations f32 in and out, quantized inside the call. As many copies as make
workload.LINEAR_BYTES are used in turn, so that weights come from memory. Prints {"version":
text, "rows": {row: GOPS}}.
"""
import json
import sys

import torch

import timing
import workload


def pack(n, k):
    codes = torch.randint(-127, 128, (n, k), dtype=torch.int8)
    weight = torch._make_per_channel_quantized_tensor(
        codes, torch.full((n,), 0.01 / k ** 0.5, dtype=torch.double),
        torch.zeros(n, dtype=torch.long), 0)
    return torch.ops.quantized.linear_prepack(weight, None)


def measure(shape, n, threads):
    torch.set_num_threads(threads)
    torch.backends.quantized.engine = "onednn"
    rows, k = {}, workload.LINEAR_K
    copies = [pack(n, k) for _ in range(-(-workload.LINEAR_BYTES[shape] // (n * k)))]
    for m in workload.LINEAR_M[shape]:
        x = torch.from_numpy(timing.activations(m, k))

        def all_copies():
            for copy in copies:
                torch.ops.quantized.linear_dynamic(x, copy, False)

        seconds = timing.seconds_each(all_copies) / len(copies)
        rows[workload.linear_row(n, m)] = 2e-9 * m * n * k / seconds
    return {"version": "torch " + torch.__version__, "rows": rows}


if __name__ == "__main__":
    with torch.no_grad():
        print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
