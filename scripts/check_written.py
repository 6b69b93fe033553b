#!/usr/bin/env python3
"""Let the libraries that own the formats read what `shoal convert` wrote, and compare.

    check_written.py [--install] SHOAL_BINARY MODEL...

MODEL is a folder of any form that is read. The weights that `shoal inspect --dequant` says it holds
are the judge. Each library is used where it is installed; what is not there is skipped with a line.
--install puts those of scripts/written_libraries.py beside the torch that is there. Exit code: 0
all equal, 1 something differs, 77 nothing could be checked.
"""
import itertools
import json
import os
import subprocess
import sys
import tempfile


def install(names, *how):
    for name in names:
        done = subprocess.run([sys.executable, "-m", "pip", "install", "-q", *how, name],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            print(f"skipped: {name}: {(done.stderr.strip().splitlines() or ['?'])[-1][:120]}")


try:
    import torch
    import written_libraries as libraries
    if "--install" in sys.argv:
        sys.argv.remove("--install")
        install(libraries.VERSIONS, "torch==" + torch.__version__.split("+", maxsplit=1)[0])
        install(libraries.BARE_VERSIONS, "--no-deps")
        os.execv(sys.executable, [sys.executable] + sys.argv)  # torch looks for numpy once
    import numpy
    from safetensors import safe_open
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)


def load(folder):
    """({name: tensor}, {name: text}) of all safetensors files of a folder."""
    tensors, metadata = {}, {}
    for file in sorted(os.listdir(folder)):
        if not file.endswith(".safetensors"):
            continue
        with safe_open(os.path.join(folder, file), framework="pt") as f:
            metadata.update(f.metadata() or {})
            tensors.update({name: f.get_tensor(name) for name in f.keys()})
    return tensors, metadata


class Written:
    def __init__(self, shoal, scratch):
        self.shoal, self.scratch = shoal, scratch
        self.checks, self.failures = 0, 0

    def run(self, *args):
        done = subprocess.run([self.shoal, *args], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr.strip()

    def reference(self, model):
        out = os.path.join(self.scratch, "reference.safetensors")
        code, _, error = self.run("inspect", model, "--dequant", out)
        if code:
            raise SystemExit(error)
        with safe_open(out, framework="pt") as f:
            return {name: f.get_tensor(name) for name in f.keys()}

    def convert(self, model, to):
        """(path, report), or None where the form cannot hold the model."""
        out = os.path.join(self.scratch, "out-" + to.replace(":", "-"))
        new = ["--allow-requantize"] if to in NEW_CODES else []
        code, said, error = self.run("convert", model, out, "--to", to, "--json", *new)
        if code == 65:
            print(f"  {to:<20} refused: {error.split(': ', 1)[-1][:90]}")
            return None
        if code:
            self.check(False, to, error)
            return None
        return out, json.loads(said)

    def check(self, good, to, sentence):
        self.checks += 1
        if not good:
            self.failures += 1
        print(f"  {to:<20} {'ok' if good else 'FAILED'}: {sentence}")

    def compare(self, to, reader, report, mine, reference):
        """Every weight the library made, against the reference; the loss is what convert said."""
        worst, count = 0.0, 0
        for name, want in reference.items():
            if name not in mine:
                self.check(False, to, f"{reader} does not find {name}")
                return
            got = mine[name].float().reshape(want.shape)
            worst = max(worst, (got - want).abs().max().item())
            count += 1
        self.check(count > 0 and worst <= report["max_abs_error"], to,
                   f"{reader}: {count} weights, largest difference {worst:.3g}, "
                   f"convert said {report['max_abs_error']:.3g}")


def plain(tensors, reference):
    return {name: tensors[name] for name in reference if name in tensors}


def by_compressed_tensors(folder, reference):
    try:
        from compressed_tensors.compressors.pack_quantized.helpers import unpack_from_int32
    except ImportError:  # up to 0.12
        from compressed_tensors.compressors.quantized_compressors.pack_quantized import \
            unpack_from_int32
    tensors, _ = load(folder)
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        groups = json.load(f)["quantization_config"]["config_groups"]
    mine = plain(tensors, reference)
    for name in reference:
        module = name.rsplit(".", 1)[0]
        scale = tensors.get(module + ".weight_scale")
        if scale is None or not name.endswith(".weight"):
            continue
        zero = tensors.get(module + ".weight_zero_point")
        if module + ".weight_packed" in tensors:
            shape = torch.Size(tensors[module + ".weight_shape"].tolist())
            bits = next(g["weights"]["num_bits"] for g in groups.values()
                        if g["targets"] == ["Linear"] or module in g["targets"])
            codes = unpack_from_int32(tensors[module + ".weight_packed"], bits, shape)
            if zero is not None:
                zero = unpack_from_int32(zero, bits, scale.shape, packed_dim=0)
        else:
            codes = tensors[module + ".weight"]
        group = codes.shape[1] // scale.shape[1]
        order = tensors.get(module + ".weight_g_idx",
                            torch.arange(codes.shape[1]) // group).long()
        shift = 0 if zero is None else zero.float()[:, order]
        mine[name] = (codes.float() - shift) * scale.float()[:, order]
    return mine


def by_torchao(folder, reference):
    from torchao.prototype.safetensors.safetensors_support import unflatten_tensor_state_dict
    tensors, metadata = load(folder)
    try:
        made = unflatten_tensor_state_dict(tensors, metadata)
    except ValueError as lacking:  # a class that this version does not have
        raise ImportError(lacking) from lacking
    made = made[0] if isinstance(made, tuple) else made
    return {name: numbers_of(made[name]) for name in reference if name in made}


def numbers_of(tensor):
    """torchao unpacks its tiles on a GPU only: here by the layout of the words."""
    kind = type(tensor).__name__
    if kind != "Int4TilePackedTo4dTensor":
        return tensor.dequantize(torch.float32) if kind == "Int8Tensor" else tensor
    words = tensor.qdata.numpy().view(numpy.uint32)
    tiles, outer, lanes, inner = words.shape
    codes = numpy.zeros((tiles * 8, outer * inner * 32), numpy.float32)
    for lane in range(lanes):
        for p in range(inner):
            for i, step in enumerate((0, 8, 16, 24, 1, 9, 17, 25)):
                k = numpy.arange(outer) * inner * 32 + 32 * p + 2 * (lane % 4) + step
                n = numpy.arange(tiles) * 8 + lane // 4
                codes[numpy.ix_(n, k)] = (words[:, :, lane, p] >> (4 * i)) & 15
    both = tensor.scale_and_zero.float().numpy()
    group = numpy.arange(codes.shape[1]) // (codes.shape[1] // both.shape[0])
    weights = (codes - 8) * both[:, :, 0].T[:, group] + both[:, :, 1].T[:, group]
    return torch.from_numpy(weights)[:tensor.shape[0], :tensor.shape[1]]


def by_gguf(path, reference):
    from gguf import GGUFReader
    from gguf.quants import dequantize
    reader = GGUFReader(path)
    names = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head",
             "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj",
             "attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm",
             "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm"}
    experts = {"ffn_gate": ("w1", "gate_proj"), "ffn_up": ("w3", "up_proj"),
               "ffn_down": ("w2", "down_proj")}
    mixtral = "model.layers.0.block_sparse_moe.gate.weight" in reference
    block = "block_sparse_moe" if mixtral else "mlp"
    names.update({"ffn_gate_inp": block + ".gate", "ffn_gate_inp_shexp": "mlp.shared_expert_gate"})
    names.update({name + "_shexp": "mlp.shared_expert." + both[1]
                  for name, both in experts.items()})
    architecture = reader.get_field("general.architecture").contents()
    head_dim = reader.get_field(f"{architecture}.attention.key_length").contents()
    mine = {}
    for t in reader.tensors:
        parts = t.name.split(".")
        layer = f"model.layers.{parts[1]}." if parts[0] == "blk" else ""
        values = torch.from_numpy(numpy.array(dequantize(t.data, t.tensor_type)))
        values = values.reshape(list(reversed(t.shape.tolist())))
        if parts[-2].endswith("_exps"):
            linear = experts[parts[-2][:-len("_exps")]][0 if mixtral else 1]
            for i, expert in enumerate(values):
                mine[f"{layer}{block}.experts.{i}.{linear}.weight"] = expert
            continue
        if parts[-2] not in names:
            continue
        name = f"{layer}{names[parts[-2]]}.{parts[-1]}"
        if architecture == "llama" and parts[-2] in ("attn_q", "attn_k"):
            rest = values.shape[1:]
            values = values.reshape(-1, head_dim // 2, 2, *rest).transpose(1, 2)
            values = values.reshape(-1, *rest)
        mine[name] = values
    return mine


def apart(state, mixtral):
    """transformers 5 has the experts of a layer in two tensors, and one name for all families."""
    made = {}
    for name, values in state.items():
        block, _, last = name.rpartition(".mlp.experts.")
        if not block:
            router = ".block_sparse_moe.gate." if mixtral else ".mlp.gate."
            made[name.replace(".mlp.gate.", router)] = values
            continue
        gate, up, down = ("w1", "w3", "w2") if mixtral else ("gate_proj", "up_proj", "down_proj")
        parts = {down: values} if last == "down_proj" else dict(zip((gate, up),
                                                                    values.chunk(2, dim=1)))
        block += ".block_sparse_moe" if mixtral else ".mlp"
        for linear, all_of_them in parts.items():
            made.update({f"{block}.experts.{i}.{linear}.weight": one
                         for i, one in enumerate(all_of_them)})
    return made


def by_transformers(folder, reference):
    from transformers import AutoModelForCausalLM
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    state = apart(model.state_dict(), model.config.model_type == "mixtral")
    absent = {name: values for name, values in reference.items()
              if name.endswith(".bias") and name not in state and not values.any()}
    return {**absent, **{name: state[name] for name in reference if name in state}}


def cpu_layout():
    """In which order torch's own operators have int4 weights on this CPU."""
    level = torch.backends.cpu.get_cpu_capability()
    return {"AVX512": "avx512", "AVX2": "avx2"}.get(level, "generic")


def by_cpu_op(folder, reference):
    """torch's own operator for packed weights, given a unit matrix of fp32."""
    tensors, _ = load(folder)
    mine = plain(tensors, reference)
    for name, words in tensors.items():
        if not name.endswith("._weight_qdata"):
            continue
        module = name.rsplit(".", 1)[0]
        both = tensors[module + "._weight_scale_and_zero"]
        n, k = words.shape[0], words.shape[1] * 2
        made = torch.ops.aten._weight_int4pack_mm_for_cpu(
            torch.eye(k), words, k // both.shape[0], both.float())
        mine[module + ".weight"] = made.t().reshape(n, k)
    return mine


def with_plain(read):
    """Weights of a library's linears, and the tensors that are stored as they are."""
    def both(folder, reference):
        tensors, _ = load(folder)
        return {**plain(tensors, reference), **read(folder, tensors)}
    return both


READERS = [("gptq", "auto-gptq", with_plain(libraries.by_autogptq)),
           ("gptq", "gptqmodel", with_plain(libraries.by_gptqmodel)),
           ("gptq_v2", "auto-gptq", with_plain(libraries.by_autogptq)),
           ("gptq_v2", "gptqmodel", with_plain(libraries.by_gptqmodel)),
           ("awq", "autoawq", with_plain(libraries.by_autoawq)),
           ("marlin", "autoawq", with_plain(libraries.by_marlin)),
           ("lmdeploy", "lmdeploy", with_plain(libraries.by_lmdeploy)),
           ("hf:f32", "transformers", by_transformers),
           ("hf:bf16", "safetensors", lambda folder, r: plain(load(folder)[0], r)),
           ("compressed-tensors", "compressed-tensors", by_compressed_tensors),
           ("gguf:f32", "gguf", by_gguf), ("gguf:q4_0", "gguf", by_gguf),
           ("gguf:q8_0", "gguf", by_gguf), ("gguf:q4_1", "gguf", by_gguf),
           ("torchao-int8", "torchao", by_torchao), ("torchao-int4-tiled", "torchao", by_torchao),
           ("torchao-int4-cpu:" + cpu_layout(), "torch", by_cpu_op)]

# Types that only a GGUF file of the same type has already.
NEW_CODES = ["gguf:" + kind for kind in ("q5_0", "q5_1", "q2_k", "q3_k", "q4_k", "q5_k", "q6_k",
                                         "iq4_nl", "iq4_xs")]
READERS += [(to, "gguf", by_gguf) for to in NEW_CODES]


def main():
    if len(sys.argv) < 3:
        print(__doc__.strip().split("\n")[2].strip(), file=sys.stderr)
        return 64
    checks = failures = 0
    for model in sys.argv[2:]:
        with tempfile.TemporaryDirectory() as scratch:
            w = Written(os.path.abspath(sys.argv[1]), scratch)
            print(model)
            reference = w.reference(model)
            for to, rows in itertools.groupby(READERS, key=lambda row: row[0]):
                made = w.convert(model, to)
                for _, reader, read in rows if made else ():
                    try:
                        mine = read(made[0], reference)
                    except ImportError as missing:
                        print(f"  {to:<20} skipped: {missing}")
                        continue
                    w.compare(to, reader, made[1], mine, reference)
            checks += w.checks
            failures += w.failures
    print(f"{checks} checks, {failures} failed")
    return 1 if failures else 0 if checks else 77


if __name__ == "__main__":
    sys.exit(main())
