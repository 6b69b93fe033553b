"""Virtual environments in a work folder, one per rival, each made when first needed.

A function per environment returns its python. Missing says why there is none.
"""
import os
import subprocess
import venv

# llama.cpp's switches by the names of /proc/cpuinfo.
FEATURES = {"avx": "AVX", "avx2": "AVX2", "fma": "FMA", "f16c": "F16C", "bmi2": "BMI2",
            "avx_vnni": "AVX_VNNI", "avx512f": "AVX512", "avx512vbmi": "AVX512_VBMI",
            "avx512_vnni": "AVX512_VNNI", "avx512_bf16": "AVX512_BF16"}


class Missing(Exception):
    """An environment cannot be made here."""


def cpu_flags():
    with open("/proc/cpuinfo", encoding="ascii") as file:
        return next((line.split() for line in file if line.startswith("flags")), [])


def make(home, arguments, extra=None):
    """Install into `home` what `arguments` of pip say, once; its python."""
    python, complete = os.path.join(home, "bin", "python"), os.path.join(home, "complete")
    if os.path.exists(complete):
        return python
    venv.create(home, with_pip=True)
    pip = subprocess.run([python, "-m", "pip", "install", "--quiet", *arguments],
                         env=dict(os.environ, **(extra or {})), stderr=subprocess.PIPE, text=True,
                         check=False)
    if pip.returncode != 0:
        errors = [line for line in pip.stderr.splitlines() if line.strip()]
        raise Missing(errors[-1] if errors else f"pip ended with {pip.returncode}")
    with open(complete, "w", encoding="ascii"):
        pass
    return python


def llama_settings():
    flags = cpu_flags()
    switches = [f"-DGGML_{name}={'ON' if flag in flags else 'OFF'}"
                for flag, name in FEATURES.items()]
    settings = {"CMAKE_ARGS": " ".join(["-DGGML_NATIVE=OFF", "-DLLAVA_BUILD=OFF", *switches])}
    if "CMAKE_BUILD_PARALLEL_LEVEL" not in os.environ:
        settings["CMAKE_BUILD_PARALLEL_LEVEL"] = "2"
    return settings


def llama(folder):
    """llama-cpp-python and its server, built here, about ten minutes on two cores. AMX stays off:
    built by gcc 12.2 with it, llama.cpp dies of an illegal instruction (tilezero)."""
    # Without pip's cache: a wheel built with other switches looks the same to pip.
    return make(os.path.join(folder, "venv"),
                ["--no-cache-dir", "--no-binary", "llama-cpp-python", "llama-cpp-python[server]",
                 "gguf", "numpy"], llama_settings())


def ctranslate2(folder):
    return make(os.path.join(folder, "venv-ctranslate2"), ["ctranslate2", "numpy"])


def openvino(folder):
    return make(os.path.join(folder, "venv-openvino"), ["openvino", "numpy"])


def torch(folder):
    """Some gigabytes, most of it for machines with a GPU."""
    return make(os.path.join(folder, "venv-torch"), ["torch", "numpy"])
