"""Weights of GPTQ, AWQ, Marlin and lmdeploy checkpoints by the code of the libraries that define
them.

None of it needs a GPU: AutoGPTQ multiplies in torch where its kernels are missing, GPTQModel and
AutoAWQ have their unpacking in torch, and of lmdeploy's W8A8 linear only the state is loaded, since
its product is a triton kernel. Modules of AutoGPTQ, AutoAWQ and lmdeploy are imported without their
packages' own __init__, which want other versions of transformers than there are.
"""
import importlib
import importlib.util
import json
import os
import sys
import types

import torch

VERSIONS = ["safetensors", "numpy", "gguf==0.19.0", "compressed-tensors==0.12.2", "torchao",
            "transformers", "accelerate", "gptqmodel==7.7.0"]

# Without what they depend on, which is an older torch.
BARE_VERSIONS = ["auto-gptq==0.7.1", "autoawq==0.2.7.post3", "lmdeploy==0.18.0"]


def bare(name):
    """The module `name`, its packages being folders and no more. ImportError where it is not."""
    parts = name.split(".")
    for end in range(1, len(parts)):
        package = ".".join(parts[:end])
        if package in sys.modules:
            continue
        if end == 1:
            spec = importlib.util.find_spec(package)
            if spec is None:
                raise ImportError(f"no package {package}")
            path = list(spec.submodule_search_locations)
        else:
            path = [os.path.join(p, parts[end - 1])
                    for p in sys.modules[".".join(parts[:end - 1])].__path__]
        module = types.ModuleType(package)
        module.__path__ = path
        sys.modules[package] = module
    return importlib.import_module(name)


def modules_of(tensors, suffix):
    """{"model.layers.0.mlp.up_proj": {"qweight": tensor, ...}} of those that have `suffix`."""
    names = [name[:-len(suffix) - 1] for name in tensors if name.endswith("." + suffix)]
    return {module: {name.rsplit(".", 1)[1]: t for name, t in tensors.items()
                     if name.rsplit(".", 1)[0] == module} for module in names}


def by_autogptq(folder, tensors):
    """AutoGPTQ's linear, given a unit matrix. It adds 1 to stored zeros: v2 ones are made v1."""
    linear = bare("auto_gptq.nn_modules.qlinear.qlinear_cuda").QuantLinear
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        less = json.load(f)["quantization_config"]["checkpoint_format"] == "gptq_v2"
    mine = {}
    for module, state in modules_of(tensors, "qweight").items():
        k, n = state["g_idx"].shape[0], state["qweight"].shape[1]
        bits = state["qweight"].shape[0] * 32 // k
        q = linear(bits, -(-k // state["scales"].shape[0]), k, n, "bias" in state,
                   weight_dtype=torch.float32)
        q.load_state_dict(state, strict=True)
        if less:
            q.scales = torch.ones_like(q.scales)
            codes_less_one = q(torch.eye(k)) - (q.bias if q.bias is not None else 0)
            weight = state["scales"].float()[q.g_idx.long()] * (codes_less_one + 1)
        else:
            weight = q(torch.eye(k)) - (q.bias if q.bias is not None else 0)
        mine[module + ".weight"] = weight.t()
    return mine


def by_gptqmodel(folder, tensors):
    """GPTQModel's own unpacking, behind its own step from stored zeros of v1 to those of v2."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        config = json.load(f)["quantization_config"]
    mine = {}
    for module, state in modules_of(tensors, "qweight").items():
        k, n = state["g_idx"].shape[0], state["qweight"].shape[1]
        bits = state["qweight"].shape[0] * 32 // k
        q = TorchLinear(bits, -(-k // state["scales"].shape[0]), config["sym"], config["desc_act"],
                        k, n, "bias" in state)
        q.load_state_dict(state, strict=True)
        q.scales = q.scales.float()
        if config["checkpoint_format"] != "gptq_v2":
            convert_gptq_v1_to_v2_format_module(q, bits, torch.int32)
        mine[module + ".weight"] = q.dequantize_weight().t()
    return mine


def by_autoawq(_, tensors):
    """AutoAWQ's dequantize_gemm, with its scales widened first: it rounds to fp16 otherwise."""
    packing = bare("awq.utils.packing_utils")
    mine = {}
    for module, state in modules_of(tensors, "qweight").items():
        k = state["qweight"].shape[0]
        weight = packing.dequantize_gemm(state["qweight"], state["qzeros"],
                                         state["scales"].float(), 4,
                                         k // state["scales"].shape[0])
        mine[module + ".weight"] = weight.t()
    return mine


def by_marlin(_, tensors):
    """The permutations of AutoAWQ's Marlin linear, turned round."""
    marlin = bare("awq.modules.linear.marlin")
    mine = {}
    for module, state in modules_of(tensors, "B").items():
        words, scales = state["B"], state["s"].float()
        k, n = words.shape[0] * 16, words.shape[1] // 2
        codes = torch.stack([words >> (4 * i) & 15 for i in range(8)], dim=2).reshape(-1, 1024)
        codes = codes[:, torch.argsort(marlin._perm)]
        codes = codes.reshape(k // 16, n // 16, 16, 16).permute(0, 2, 1, 3).reshape(k, n)
        perm = marlin._scale_perm if scales.shape[0] > 1 else marlin._scale_perm_single
        scales = scales.reshape(-1, len(perm))[:, torch.argsort(torch.tensor(perm))]
        scales = scales.reshape(-1, n).repeat_interleave(k // state["s"].shape[0], dim=0)
        mine[module + ".weight"] = ((codes - 8) * scales).t()
    return mine


def by_lmdeploy(_, tensors):
    """The state of lmdeploy's QLinear: names, shapes and dtypes; weight * scale is its weight."""
    kernels = types.ModuleType("lmdeploy.pytorch.kernels.w8a8_triton_kernels")
    for name in ("matmul_kernel_dynamic_quant", "per_channel_quant", "per_token_quant_int8",
                 "rms_norm_dynamic_quant"):
        setattr(kernels, name, None)
    sys.modules[kernels.__name__] = kernels
    linear = bare("lmdeploy.pytorch.models.q_modules").QLinear
    mine = {}
    for module, state in modules_of(tensors, "scale").items():
        n, k = state["weight"].shape
        q = linear(k, n, "bias" in state)
        for name, buffer in q.state_dict().items():
            if name in state and name != "bias" and buffer.dtype != state[name].dtype:
                raise ValueError(f"{module}.{name} is {state[name].dtype}, not {buffer.dtype}")
        q.load_state_dict(state, strict=True)
        mine[module + ".weight"] = q.weight.float() * q.scale
    return mine
