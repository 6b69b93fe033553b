#!/usr/bin/env python3
"""What the command line says when it is used wrongly, and the shapes of what it says otherwise.

    test_cli.py SHOAL_BINARY

Every row of REFUSALS is one command line, the exit code it must end with and words its sentence
must hold. Nothing that is refused may print a result or a trace.
"""
import json
import os
import sys

import harness

MODEL = harness.INT4
VOCAB = os.path.join(os.path.dirname(MODEL), "vocab", "tiny")

# What the sentencepiece library says of tiny.model: text, ids, pieces.
PIECES = [
    ("Hello  there", [1, 433, 430, 338, 354, 358, 368, 2],
     ["<s>", "\u2581H", "ell", "o", "\u2581", "\u2581the", "re", "</s>"]),
    ("the <|user|> 12\u00e9", [1, 358, 354, 3, 354, 776, 199, 173, 2],
     ["<s>", "\u2581the", "\u2581", "<|user|>", "\u2581", "12", "<0xC3>", "<0xA9>", "</s>"]),
]

# (exit code, words of the sentence, arguments); MODEL stands for the committed int4 model, IDS for
# a file of ids, and so on (see Files).
REFUSALS = [
    (64, ["usage"], []),
    (64, ["unknown verb", "generate"], ["generat"]),
    (64, ["unknown verb"], ["frobnicate"]),
    (64, ["unknown verb"], [""]),
    (64, ["not enough arguments", "shoal plan"], ["plan"]),
    (64, ["unexpected argument"], ["plan", "MODEL", "MODEL"]),
    (64, ["--max-tokens", "did you mean"], ["generate", "MODEL", "--max-tokns", "3"]),
    (64, ["--max-tokens", "'three'"], ["generate", "MODEL", "--max-tokens", "three"]),
    (64, ["--max-tokens", "0", "1..16777216"], ["generate", "MODEL", "--max-tokens", "0"]),
    (64, ["--max-tokens", "value"], ["generate", "MODEL", "--max-tokens"]),
    (64, ["-n", "1..1024"], ["plan", "MODEL", "-n", "0"]),
    (64, ["-n", "1..1024"], ["plan", "MODEL", "-n", "1025"]),
    (64, ["--tp", "whole number"], ["plan", "MODEL", "--tp", "two"]),
    (64, ["--kv", "fp16"], ["plan", "MODEL", "--kv", "fp8"]),
    (64, ["--memory", "size"], ["plan", "MODEL", "--memory", "much"]),
    (64, ["--offload", "'disk' is neither"], ["plan", "MODEL", "--offload", "disk"]),
    (64, ["--offload", "'down(': "], ["plan", "MODEL", "--offload", "down(=host"]),
    (64, ["--offload", "rule 1 matches no linear"], ["plan", "MODEL", "--offload", "x=pinned"]),
    (64, ["pack file", "shoal pack"], ["generate", "MODEL", "--ids", "IDS", "--offload", "mmap"]),
    (64, ["--capacity", "2 numbers for 3 ranks"],
     ["plan", "MODEL", "-n", "3", "--capacity", "1,2"]),
    (64, ["--capacity"], ["plan", "MODEL", "-n", "2", "--capacity", "1,-2"]),
    (64, ["--capacity"], ["plan", "MODEL", "-n", "2", "--capacity", "1,nan"]),
    (64, ["--prompt", "--ids"], ["generate", "MODEL"]),
    (64, ["--prompt", "--ids"], ["generate", "MODEL", "--prompt", "x", "--ids", "IDS"]),
    (64, ["--ids", "--logits", "--text"], ["eval", "MODEL"]),
    (64, ["--ids", "--logits"], ["eval", "MODEL", "--ids", "IDS"]),
    (64, ["--context"], ["eval", "MODEL", "--text", "TEXT", "--context", "1"]),
    (64, ["window"], ["eval", "MODEL", "--text", "TEXT", "--context", "100000"]),
    (64, ["--text", "--ids"], ["tokenize", "MODEL"]),
    (64, ["--text", "--ids"], ["tokenize", "MODEL", "--text", "x", "--ids", "IDS"]),
    (64, ["--emulate-ranks", "contradict"],
     ["generate", "MODEL", "--ids", "IDS", "-n", "2", "--emulate-ranks", "3"]),
    (64, ["--max-model-len"], ["plan", "MODEL", "--max-model-len", "10000000"]),
    (64, ["no room"], ["generate", "MODEL", "--ids", "IDS", "--max-model-len", "4"]),
    (64, ["--mpi-args", "quote"],
     ["generate", "MODEL", "--ids", "IDS", "-n", "2", "--mpi-args", "'x"]),
    (64, ["--coordinator"], ["worker"]),
    (64, ["option of other verbs"], ["plan", "MODEL", "--prompt", "x"]),
    (64, ["did you mean 'serve'"], ["bench", "sreve"]),
    (64, ["--url"], ["bench", "serve"]),
    (64, ["http://"], ["bench", "serve", "--url", "localhost:8000"]),
    (64, ["--streams", "1,1"], ["bench", "serve", "--url", "http://[::1]:1", "--streams", "1,1"]),
    (65, ["vocabulary"], ["generate", "MODEL", "--ids", "HIGH"]),
    (65, ["token id"], ["generate", "MODEL", "--ids", "WORDS"]),
    (65, ["token ids"], ["generate", "MODEL", "--ids", "EMPTY"]),
    (65, ["token ids"], ["eval", "MODEL", "--ids", "EMPTY", "--logits", "OUT"]),
    (65, ["line 1"], ["generate", "MODEL", "--ids", "TORN"]),
    (65, ["token id"], ["tokenize", "MODEL", "--ids", "NEGATIVE"]),
    (66, ["NOWHERE"], ["plan", "NOWHERE"]),
    (66, ["NOWHERE"], ["serve", "NOWHERE"]),
    (66, ["NOWHERE"], ["inspect", "NOWHERE"]),
    (66, ["NOWHERE"], ["generate", "NOWHERE", "--prompt", "x"]),
    (66, ["NOWHERE"], ["tokenize", "NOWHERE", "--text", "x"]),
    (66, ["NOWHERE", "No such file"], ["tokenize", "NOWHERE", "--messages", "IDS"]),
    (66, ["NOWHERE"], ["tokenize", "MODEL", "--messages", "IDS", "--template", "NOWHERE"]),
    (65, ["line", "'role'"], ["tokenize", "MODEL", "--messages", "IDS"]),
    (65, ["TORN", "line 1"], ["tokenize", "MODEL", "--messages", "TORN"]),
    (65, ["BADTEMPLATE", "line 2", "'include'"],
     ["tokenize", "MODEL", "--messages", "IDS", "--template", "BADTEMPLATE"]),
    (66, ["NOWHERE"], ["tokenize", "MODEL", "--jsonl", "TEXT", "--template", "NOWHERE"]),
    (65, ["BADTEMPLATE"], ["tokenize", "MODEL", "--jsonl", "TEXT", "--template", "BADTEMPLATE"]),
    (64, ["2026-02-30"], ["tokenize", "MODEL", "--messages", "IDS", "--now", "2026-02-30"]),
    (66, ["NOWHERE"], ["generate", "MODEL", "--ids", "NOWHERE"]),
    (66, ["NOWHERE"], ["plan", "MODEL", "--config", "NOWHERE"]),
    (66, ["hostfile", "NOWHERE"],
     ["generate", "MODEL", "--ids", "IDS", "-n", "2", "--hostfile", "NOWHERE"]),
    (66, ["no tensor"], ["inspect", "MODEL", "model.layers.99.mlp.down_proj"]),
    (66, ["NOWHERE"], ["pack", "NOWHERE", "OUT"]),
    (73, ["cannot create"], ["pack", "MODEL", "NOFOLDER"]),
    (64, ["--to nonsense", "gptq_v2", "hf:bf16|f16|f32"],
     ["convert", "MODEL", "OUT", "--to", "nonsense"]),
    (64, ["--to is missing"], ["convert", "MODEL", "OUT"]),
    (69, ["not in this version"], ["quantize", "MODEL", "OUT", "--bits", "4"]),
    (64, ["needs no model"], ["bench", "reduce", "MODEL"]),
    (64, ["--shape"], ["bench", "model", "MODEL", "--shape", "tiny"]),
    (66, ["no/such"], ["bench", "scaling", "no/such/model"]),
    (64, ["--rows", "no row"], ["bench", "kernels", "--rows", "nosuchrow"]),
    (64, ["--rows", "'('"], ["bench", "kernels", "--rows", "("]),
    (64, ["takes no", "MODEL"], ["bench", "kernels", "MODEL"]),
    (64, ["--text FILE, --schema FILE"], ["bench", "tokenizer", "MODEL"]),
    (65, ["TORN", "line 1"], ["bench", "tokenizer", "MODEL", "--schema", "TORN"]),
    (69, ["does not answer"], ["bench", "serve", "--url", "http://127.0.0.1:1"]),
    (73, ["NOFOLDER"], ["eval", "MODEL", "--ids", "IDS", "--logits", "NOFOLDER"]),
    (73, ["regular file"], ["eval", "MODEL", "--ids", "IDS", "--logits", "/dev/null"]),
    (73, ["NOFOLDER"], ["inspect", "MODEL", "--dequant", "NOFOLDER"]),
    (78, ["line 1", "max-tokns"], ["generate", "MODEL", "--ids", "IDS", "--config", "BADKEY"]),
    (78, ["line"], ["generate", "MODEL", "--ids", "IDS", "--config", "BADYAML"]),
    (64, ["line 1", "max-tokens"], ["generate", "MODEL", "--ids", "IDS", "--config", "BADVALUE"]),
]

# (environment, exit code, words, arguments)
ENVIRONMENTS = [
    ({"SHOAL_MAX_TOKENS": "many"}, 64, ["environment SHOAL_MAX_TOKENS", "'many'"],
     ["generate", "MODEL", "--ids", "IDS"]),
    ({"SHOAL_CPU": "z80"}, 64, ["SHOAL_CPU", "z80"], ["generate", "MODEL", "--ids", "IDS"]),
    ({"SHOAL_RANKS": "0"}, 64, ["SHOAL_RANKS", "1..1024"], ["plan", "MODEL"]),
    ({"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3"}, 64, ["-n 2", "3 ranks"],
     ["generate", "MODEL", "--ids", "IDS", "-n", "2"]),
    ({"PATH": "/nowhere"}, 69, ["mpirun was not found"],
     ["generate", "MODEL", "--ids", "IDS", "-n", "2"]),
]


class Files:
    """The files that words in capitals stand for."""

    CONTENTS = {
        "IDS": "[1, 2, 3, 4, 5]", "HIGH": "[1, 99999]", "WORDS": '["a"]', "EMPTY": "[]",
        "TORN": "[1, 2", "NEGATIVE": "[-1]", "TEXT": "a short text", "BADKEY": "max-tokns: 3\n",
        "BADYAML": "max-tokens: [1\n", "BADVALUE": "max-tokens: x\n",
        "BADTEMPLATE": "a\n{% include 'b' %}",
    }

    def __init__(self, folder):
        self.paths = {"MODEL": MODEL, "NOWHERE": os.path.join(folder, "nowhere"),
                      "NOFOLDER": os.path.join(folder, "no", "folder"),
                      "OUT": os.path.join(folder, "out")}
        for name, text in self.CONTENTS.items():
            self.paths[name] = os.path.join(folder, name.lower())
            with open(self.paths[name], "w", encoding="utf-8") as f:
                f.write(text)

    def fill(self, words):
        return [self.paths.get(w, w) for w in words]


class Cli:
    def __init__(self, shoal, scratch):
        self.shoal, self.files = shoal, Files(scratch)
        self.report = harness.Report("command line: refusals, help, reports")

    def refuse(self, code, words, args, env=None):
        answer = self.shoal.run(*self.files.fill(args), env=env)
        label = " ".join(["shoal"] + args + [f"({k}={v})" for k, v in (env or {}).items()])
        self.report.check(answer.code == code, f"{label}: exit {code} expected: {answer.said()}")
        for word in self.files.fill(words):
            self.report.check(word in answer.err, f"{label}: '{word}' is not in: {answer.err}")
        self.report.check(answer.out == "", f"{label}: stdout: {answer.out[:100]}")
        for trace in ("AddressSanitizer", "runtime error", "Segmentation"):
            self.report.check(trace not in answer.err, f"{label}: {answer.err}")
        self.report.check(len(answer.err.strip().splitlines()) <= 3,
                          f"{label}: more than a sentence: {answer.err}")

    def help(self):
        whole = self.shoal.must("--help").out
        for verb in ("plan inspect generate eval tokenize pack convert quantize serve worker bench "
                     "doctor").split():
            self.report.check(f"  {verb} " in whole, f"--help does not list {verb}")
            own = self.shoal.must(verb, "--help")
            self.report.check(f"shoal {verb}" in own.out and own.err == "", f"{verb} --help")
        plan = self.shoal.must("plan", "--help").out
        for option in ("-n, --tp, --tensor-parallel-size, --ranks", "--memory BYTES", "--json"):
            self.report.check(option in plan, f"plan --help lacks {option}")
        self.report.check("--prompt" not in plan, "plan --help shows options of generate")
        man = self.shoal.must("help", "--man").out
        self.report.check(man.startswith(".TH SHOAL 1") and "\\-\\-max\\-tokens" in man,
                          "help --man is no manual page")
        self.report.check(self.shoal.must("--version").out.startswith("shoal "), "--version")

    def config(self):
        path = self.files.paths["OUT"] + ".yaml"
        with open(path, "w", encoding="utf-8") as f:
            f.write("max_tokens: 7\nseed: 5\nthreads: 2\nquantize: int8\n")
        answer = self.shoal.must("generate", MODEL, "--config", path, "--seed", "9",
                                 "--print-config", "--json", env={"SHOAL_THREADS": "1"}).json()
        want = {"max-tokens": ("7", "config " + path), "seed": ("9", "flag"),
                "threads": ("1", "environment SHOAL_THREADS"), "temperature": ("0", "default"),
                "quantize": ("int8", "config " + path)}
        for name, (value, source) in want.items():
            got = answer.get(name, {})
            self.report.check(got == {"value": value, "source": source}, f"{name}: {got}")
        text = self.shoal.must("generate", MODEL, "--config", path, "--print-config").out
        again = path + ".again"
        with open(again, "w", encoding="utf-8") as f:
            f.write(text)
        second = self.shoal.must("generate", MODEL, "--config", again, "--print-config", "--json")
        self.report.check(second.json()["max-tokens"]["value"] == "7",
                          "what --print-config shows cannot be read back")

    def keys(self, label, document, wanted):
        missing = set(wanted.split()) - set(document)
        self.report.check(not missing, f"{label} lacks {missing}")

    def reports(self):
        ids = self.files.paths["IDS"]
        out = self.files.paths["OUT"]
        run = self.shoal.must("generate", MODEL, "--ids", ids, "--max-tokens", 5, "--json").json()
        self.keys("generate", run, "ids text finish_reason usage timing kernels")
        self.keys("usage", run["usage"], "prompt_tokens completion_tokens total_tokens")
        self.keys("timing", run["timing"], "load_s load_gbps prefill_tps decode_tps")
        self.report.check(run["usage"] == {"prompt_tokens": 5, "completion_tokens": len(run["ids"]),
                                           "total_tokens": 5 + len(run["ids"])}, str(run["usage"]))
        self.report.check(run["finish_reason"] in ("stop", "length"), run["finish_reason"])
        self.keys("eval --logits", self.shoal.must("eval", MODEL, "--ids", ids, "--logits", out,
                                                   "--json").json(), "kernels memory tokens")
        listing = self.shoal.must("inspect", MODEL, "--json").json()
        self.keys("inspect", listing, "format quant tensors kernels")
        self.keys("quant", listing["quant"], "method bits group_size symmetric desc_act")
        for tensor in listing["tensors"]:
            self.keys(str(tensor.get("name")), tensor, "name role shape dtype dialect")
        one = self.shoal.must("inspect", MODEL, "model.layers.0.mlp.down_proj", "--json").json()
        self.keys("inspect TENSOR", one, "int_data scale zero_point")
        doctor = self.shoal.run("doctor", "--json")
        for row in doctor.json()["checks"]:
            self.keys("doctor", row, "name ok detail fix")

    def long_sentences(self):
        """Sentences that are cut, wherever their characters happen to end."""
        path, template = (self.files.paths["OUT"] + end for end in (".chats", ".jinja"))
        with open(template, "w", encoding="utf-8") as f:
            f.write("{{ raise_exception(messages[0].content) }}")
        with open(path, "w", encoding="utf-8") as f:
            for length in range(3):
                content = "x" * length + 2000 * "\u20ac"
                f.write(json.dumps({"messages": [{"role": "user", "content": content}]}) + "\n")
        lines = self.shoal.must("tokenize", MODEL, "--jsonl", path, "--template",
                                template).out.splitlines()
        self.report.check(len(lines) == 3 and all("\u20ac\u20ac" in json.loads(line)["error"]
                                                  for line in lines), f"long sentences: {lines}")

    def tokenize(self):
        path = self.files.paths["OUT"] + ".jsonl"
        lines = [json.dumps({"text": "Hello \u0000 world"}), "not json", json.dumps({"ids": [46]}),
                 json.dumps({"ids": []}), json.dumps({"messages": []}), "", json.dumps({"text": 3})]
        with open(path, "w", encoding="utf-8") as f:
            f.write("\n".join(lines) + "\n")
        results = [json.loads(line) for line in
                   self.shoal.must("tokenize", MODEL, "--jsonl", path).out.splitlines()]
        kinds = [sorted(r) for r in results]
        self.report.check(kinds == [["ids", "pieces"], ["error"], ["text"], ["text"], ["prompt"],
                                    ["error"], ["error"]], f"tokenize --jsonl: {kinds}")
        none = self.shoal.must("tokenize", MODEL, "--ids", self.files.paths["EMPTY"]).json()
        self.report.check(none == results[3] == {"text": ""}, f"no ids: {none} {results[3]}")
        self.long_sentences()
        plain = self.shoal.must("tokenize", MODEL, "--text", "Hello", "--no-special").json()
        special = self.shoal.must("tokenize", MODEL, "--text", "Hello").json()
        self.report.check(special["ids"][-len(plain["ids"]):] == plain["ids"], f"{plain} {special}")

    def vocabularies(self):
        """The GGUF file is the same tokenizer; the model gives what the library gives."""
        path = self.files.paths["OUT"] + ".jsonl"
        texts = ["Once upon a time <|user|> 12\u00e9", "", " two  spaces ", "a\u0000b"]
        with open(path, "w", encoding="utf-8") as f:
            for text in texts:
                f.write(json.dumps({"text": text}) + "\n")
        for options in ([], ["--no-special"]):
            want, got = (self.shoal.must("tokenize", model, "--jsonl", path, *options).out
                         for model in (MODEL, VOCAB + ".gguf"))
            self.report.check(got == want, f"tiny.gguf {options}: {got}")
        for text, ids, pieces in PIECES:
            got = self.shoal.must("tokenize", VOCAB + ".model", "--text", text).json()
            self.report.check(got == {"ids": ids, "pieces": pieces}, f"tiny.model: {got}")
            with open(path, "w", encoding="utf-8") as f:
                json.dump(ids, f)
            back = self.shoal.must("tokenize", VOCAB + ".model", "--ids", path,
                                   "--no-special").json()
            self.report.check(back == {"text": text}, f"tiny.model: {back}")
        with open(path, "w", encoding="utf-8") as f:
            json.dump([{"role": "user", "content": "Hi"}], f)
        want, got = (self.shoal.must("tokenize", model, "--messages", path).out
                     for model in (MODEL, VOCAB + ".gguf"))
        self.report.check(got == want, f"tiny.gguf --messages: {got}")

    def masks(self):
        path = self.files.paths["OUT"] + ".schema"
        with open(path, "w", encoding="utf-8") as f:
            json.dump({"type": "array", "items": {"type": "integer"}, "minItems": 100}, f)
        rows = {row["name"]: row["value"] for row in
                self.shoal.must("bench", "tokenizer", MODEL, "--schema", path,
                                "--json").json()["rows"]}
        self.report.check(rows["masks.count"] == 4 * 64, f"bench tokenizer --schema: {rows}")
        self.report.check(0 < rows["masks.p50"] <= rows["masks.p99"] <= rows["masks.most"],
                          f"bench tokenizer --schema: {rows}")

    def chats(self):
        chat = {"messages": [{"role": "user", "content": "Hi"}], "kwargs": {"eos_token": "E"}}
        path, template = (self.files.paths["OUT"] + end for end in (".json", ".jinja"))
        question = "<|begin|><|user|>\nHi<|end|>\n"
        with open(template, "w", encoding="utf-8") as f:
            f.write("{{ messages[0].content ~ eos_token ~ bos_token ~ tools ~ documents }}"
                    "{{ add_generation_prompt is defined }}{{ strftime_now(' %H:%M') }}")
        other = ["--template", template, "--now", "2026-11-21 12:34:56"]
        for document, options, want in (
                (chat["messages"], [], question + "<|assistant|>\n"),
                (dict(chat, kwargs={"add_generation_prompt": False}), [], question),
                (dict(chat, add_generation_prompt=False), [], question),
                (dict(chat, add_generation_prompt=None), [], question + "<|assistant|>\n"),
                (dict(chat, add_generation_prompt=True), other, "HiENoneNoneTrue 12:34"),
                (chat, other, "HiENoneNoneFalse 12:34")):
            with open(path, "w", encoding="utf-8") as f:
                json.dump(document, f)
            got = self.shoal.must("tokenize", MODEL, "--messages", path, *options).json()
            self.report.check(got == {"prompt": want}, f"tokenize --messages: {got}")
        with open(path, "w", encoding="utf-8") as f:
            json.dump(dict(chat, add_generation_prompt="no"), f)
        self.refuse(65, ("add_generation_prompt must be true or false",),
                    ["tokenize", MODEL, "--messages", path])

    def leftovers(self, before):
        after = set(os.listdir(os.path.dirname(self.files.paths["OUT"])))
        left = [name for name in after - before if ".tmp" in name]
        self.report.check(not left, f"temporary files left: {left}")


def check(shoal, scratch, _arguments):
    cli = Cli(shoal, scratch)
    before = set(os.listdir(scratch))
    for code, words, args in REFUSALS:
        cli.report.guarded(" ".join(args), cli.refuse, code, words, args)
    for env, code, words, args in ENVIRONMENTS:
        cli.report.guarded(" ".join(args), cli.refuse, code, words, args, env)
    for part in (cli.help, cli.config, cli.reports, cli.tokenize, cli.vocabularies,
                 cli.chats, cli.masks):
        cli.report.guarded(part.__name__, part)
    cli.leftovers(before)
    return cli.report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
