"""OpenVINO: one int4 linear of many copies, at several M.

    run_openvino.py SHAPE N THREADS              (in an environment with openvino, numpy)

K is workload.LINEAR_K. Weights are signed 4-bit codes with an fp16 scale per 128 along K, a form
the CPU plugin keeps compressed (with a zero point per group, or its bf16 hint, it was slower);
activations are f32 in and out, quantized per 128 inside the call. One graph has as many linears
with weights of their own as make workload.LINEAR_BYTES, all on the same input, so that weights come
from memory. Prints {"version": text, "rows": {row: GOPS}}.
"""
import json
import sys

import numpy
import openvino
from openvino import opset13 as op

import timing
import workload

GROUP = 128


def add_linear(random, source, n, k):
    packed = openvino.Tensor(openvino.Type.i4, [n, k // GROUP, GROUP])
    packed.data[:] = random.integers(0, 256, packed.data.shape, dtype=numpy.uint8)
    codes = op.constant(packed)
    scales = op.constant(numpy.full((n, k // GROUP, 1), 0.2 / k ** 0.5, dtype=numpy.float16))
    weight = op.multiply(op.convert(codes, "f16"), scales)
    weight = op.convert(op.reshape(weight, op.constant([n, k]), False), "f32")
    return op.matmul(source, weight, False, True)


def compile_copies(n, k, copies, threads):
    random = numpy.random.default_rng(1)
    source = op.parameter([-1, k], numpy.float32, name="x")
    model = openvino.Model([op.result(add_linear(random, source, n, k)) for _ in range(copies)],
                           [source])
    return openvino.Core().compile_model(model, "CPU", {
        "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": GROUP})


def measure(shape, n, threads):
    rows, k = {}, workload.LINEAR_K
    copies = -(-workload.LINEAR_BYTES[shape] // (n * k // 2))
    request = compile_copies(n, k, copies, threads).create_infer_request()
    for m in workload.LINEAR_M[shape]:
        request.set_input_tensor(openvino.Tensor(timing.activations(m, k)))
        seconds = timing.seconds_each(request.infer) / copies
        rows[workload.linear_row(n, m)] = 2e-9 * m * n * k / seconds
    return {"version": "openvino " + openvino.__version__, "rows": rows}


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
