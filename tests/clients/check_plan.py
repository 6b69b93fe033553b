#!/usr/bin/env python3
"""`shoal plan`: its keys, its invariants for 1..16 ranks, and that it keeps its promises.

    check_plan.py SHOAL_BINARY MAKE_MODEL_BINARY [--deadline SECONDS]

Shapes   ranges ascend without gap or overlap and cover heads, units and vocabulary panels; the kv
         heads of a rank are those its q heads touch
Bytes    what all ranks read is at most 1.01 x the file + kv heads read twice + the small tensors
         that every rank needs
Promise  bytes read and bytes held are measured by a run and are within 1 % of the plan
Refusal  with too little --memory the same JSON is printed and the exit code is 2
Speed    a plan of a 70B, 72B or 405B model takes at most --deadline seconds (3 when not given)
"""
import json
import os
import sys

import harness
import safetensors

KEYS = {"model", "arithmetic", "ranks", "fits", "imbalance", "reduce_bytes_per_token"}
RANK_KEYS = {"rank", "q_heads", "kv_heads", "units", "vocab", "read_bytes", "resident_bytes",
             "kv_tokens"}
PANEL = 64
ROUTERS = (".gate.weight", ".shared_expert_gate.weight")  # every rank has them
PROMISE = 0.01

SMALL = ["tiny-llama", "arch/mistral-sw16", "arch/qwen2-tied", "arch/qwen3",
         "arch/llama-odd-h6kv2", "arch/llama-odd-kv1", "arch/pico-bias-2shards",
         "arch/mixtral", "arch/qwen3-moe",
         "quant/gptq-tiny-4b-g128", "quant/gptq-4b-g32-actorder", "quant/gptq-4b-channel",
         "quant/gptq-4b-g64-sym-v2-actorder-bias", "quant/gptq-8b-g128",
         "quant/awq-gemm-g128-autoawq", "quant/awq-gemm-gptqmodel-bias"]
LARGE = ["llama31-70b", "qwen25-72b", "llama31-405b"]


class Shape:
    """What a plan must cover, from config.json and the headers of the files."""

    def __init__(self, folder):
        config = harness.load_json(folder, "config.json")
        self.heads = config["num_attention_heads"]
        self.kv_heads = config.get("num_key_value_heads") or self.heads
        self.experts = config.get("num_experts") or config.get("num_local_experts") or 1
        self.intermediate = config.get("moe_intermediate_size") or config["intermediate_size"]
        self.panels = -(-config["vocab_size"] // PANEL)
        tensors = safetensors.tensors_of(folder)
        self.file_bytes = sum(size for _, _, size in tensors.values())
        self.small_bytes = sum(size for name, (_, shape, size) in tensors.items()
                               if len(shape) < 2 or name.endswith(ROUTERS))
        self.kv_head_bytes = sum(size for name, (_, shape, size) in tensors.items()
                                 if len(shape) >= 2 and (".k_proj." in name or ".v_proj." in name)
                                 ) / self.kv_heads
        act_order = config.get("quantization_config", {}).get("desc_act")
        self.shuffled_bytes = sum(size for name, (_, shape, size) in tensors.items()
                                  if act_order and len(shape) >= 2 and ".mlp." in name)

    def read_bound(self, plan):
        """In act-order files the inputs of a unit of down, and with them the outputs of gate and
        up, lie scattered over the tensor, so that ranks with different units read the same
        stretches."""
        touched = sum(r["kv_heads"][1] - r["kv_heads"][0] for r in plan["ranks"])
        holders = sum(r["units"][1] > r["units"][0] for r in plan["ranks"])
        return (1.01 * self.file_bytes + (touched - self.kv_heads) * self.kv_head_bytes
                + (len(plan["ranks"]) - 1) * self.small_bytes
                + (holders - 1) * self.shuffled_bytes)


def covers(ranges, total):
    """Ascending, touching, from 0 to total; empty ones sit at the running boundary."""
    at = 0
    for begin, end in ranges:
        if begin != at or end < begin:
            return False
        at = end
    return at == total


class Plans:
    def __init__(self, shoal, scratch, deadline):
        self.shoal, self.scratch, self.deadline = shoal, scratch, deadline
        self.report = harness.Report("plan: shapes, bytes, promises")

    def plan(self, folder, ranks, *options):
        return self.shoal.must("plan", folder, "-n", ranks, "--json", *options).json()

    def kv_touched(self, label, shape, rank):
        begin, end = rank["q_heads"]
        group = shape.heads // shape.kv_heads
        want = [begin // group, (end - 1) // group + 1] if end > begin else None
        got = rank["kv_heads"]
        self.report.check(got == want if want else got[0] == got[1],
                          f"{label}: q heads {begin}..{end} hold kv heads {got}, want {want}")

    def shape(self, label, shape, plan, ranks):
        check = self.report.check
        check(KEYS <= set(plan), f"{label}: keys {sorted(KEYS - set(plan))} are missing")
        check([r["rank"] for r in plan["ranks"]] == list(range(ranks)), f"{label}: rank numbers")
        for rank in plan["ranks"]:
            check(RANK_KEYS <= set(rank), f"{label}: keys {sorted(RANK_KEYS - set(rank))}")
            check(rank["read_bytes"] > 0 and rank["resident_bytes"] > 0 and rank["kv_tokens"] > 0,
                  f"{label}: rank {rank['rank']} has no bytes or tokens: {rank}")
            self.kv_touched(label, shape, rank)
        check(covers([r["q_heads"] for r in plan["ranks"]], shape.heads), f"{label}: q heads")
        check(covers([r["vocab"] for r in plan["ranks"]], shape.panels), f"{label}: vocabulary")
        units = shape.experts * -(-shape.intermediate // plan["unit"])
        check(covers([r["units"] for r in plan["ranks"]], units), f"{label}: units")
        check(plan["fits"] is True and plan["imbalance"] >= 0, f"{label}: fits, imbalance")
        read = sum(r["read_bytes"] for r in plan["ranks"])
        check(read >= 0.99 * shape.file_bytes, f"{label}: reads only {read} bytes")
        check(read <= shape.read_bound(plan),
              f"{label}: {read} bytes read by all ranks, bound {shape.read_bound(plan):.0f}, "
              f"file {shape.file_bytes}")
        return read / shape.file_bytes

    def shapes(self, name, folder):
        shape = Shape(folder)
        most = 0.0
        for n in range(1, 17):
            plan = self.plan(folder, n)
            most = max(most, self.shape(f"{name} -n {n}", shape, plan, n))
        self.report.note(f"{name:<44} 1..16 ranks, read at most {most:5.2f} x file")

    def promise(self, name, folder):
        """Measured against planned, on real runs."""
        ids = harness.load_json(folder, "expected", "prompt_ids.json")["prompt_ids"] \
            if os.path.isdir(os.path.join(folder, "expected")) else harness.made_up_ids(64, 1000)
        ids_file = harness.write_ids(self.scratch, ids)
        out = os.path.join(self.scratch, "logits")
        worst = {"read": 0.0, "resident": 0.0}
        for how, n in (("-n", 1), ("--emulate-ranks", 2), ("--emulate-ranks", 5), ("-n", 3)):
            plan = self.plan(folder, n)
            memory = self.shoal.must("eval", folder, "--ids", ids_file, "--logits", out, "--json",
                                     how, n).json()["memory"]
            self.report.check(len(memory) == n, f"{name} {how} {n}: {len(memory)} memory records")
            for m, r in zip(memory, plan["ranks"]):
                self.report.check(m["planned_read"] == r["read_bytes"],
                                  f"{name} {how} {n}: the plan promised {r['read_bytes']} bytes to "
                                  f"read, the run {m['planned_read']}")
                for kind in worst:
                    error = abs(m["measured_" + kind] / m["planned_" + kind] - 1)
                    worst[kind] = max(worst[kind], error)
                    self.report.check(error <= PROMISE,
                                      f"{name} {how} {n} rank {m['rank']}: {kind} planned "
                                      f"{m['planned_' + kind]}, measured {m['measured_' + kind]}")
        self.report.note(f"{name:<44} off by at most {100 * worst['read']:.2f} % read, "
                         f"{100 * worst['resident']:.2f} % held")

    def refusal(self, name, folder):
        """Too little memory: the same document, exit 2; a little more than needed: exit 0."""
        free = self.plan(folder, 3)
        answer = self.shoal.run("plan", folder, "-n", 3, "--memory", "64KiB", "--json")
        self.report.check(answer.code == 2, f"{name}: exit 2 expected: {answer.said()}")
        tight = answer.json()
        self.report.check(tight["fits"] is False and set(tight) == set(free),
                          f"{name}: a refused plan prints other keys")
        for key in ("q_heads", "kv_heads", "units", "vocab", "read_bytes"):
            self.report.check([r[key] for r in tight["ranks"]] == [r[key] for r in free["ranks"]],
                              f"{name}: {key} changes with --memory")
        self.report.note(f"{name}: {answer.err.strip().splitlines()[-1:]}")
        most = max(r["resident_bytes"] for r in free["ranks"])
        answer = self.shoal.run("plan", folder, "-n", 3, "--memory", most + 65536, "--json")
        self.report.check(answer.code == 0 and answer.json()["fits"] is True,
                          f"{name}: {most + 65536} bytes suffice: {answer.said()}")

    def capacity(self, folder):
        """Twice the capacity, about twice the units."""
        plan = self.plan(folder, 3, "--capacity", "2,1,1")
        units = [r["units"][1] - r["units"][0] for r in plan["ranks"]]
        total = sum(units)
        self.report.check(abs(units[0] - total / 2) <= 1 and abs(units[1] - total / 4) <= 1,
                          f"--capacity 2,1,1 deals {units} units")
        self.report.note(f"--capacity 2,1,1: units {units}")

    def large(self, name, make_model):
        folder = os.path.join(self.scratch, name)
        harness.Shoal(make_model).must(name, folder)
        shape = Shape(folder)
        slowest, most, worst = 0.0, 0.0, 0.0
        for n in range(1, 17):
            answer = self.shoal.must("plan", folder, "-n", n, "--json")
            plan = answer.json()
            slowest = max(slowest, answer.seconds)
            most = max(most, self.shape(f"{name} -n {n}", shape, plan, n))
            worst = max(worst, plan["imbalance"])
        self.report.check(slowest <= self.deadline, f"{name}: a plan took {slowest:.1f} s")
        self.report.note(f"{name:<16} 1..16 ranks: slowest plan {slowest:.2f} s, read at most "
                         f"{most:.3f} x file, imbalance at most {100 * worst:.1f} %")
        refused = self.shoal.run("plan", folder, "-n", 2, "--memory", "8GiB", "--json")
        self.report.check(refused.code == 2, f"{name} in 2 x 8 GiB: {refused.said()}")
        json.loads(refused.out)


def check(shoal, scratch, arguments):
    if not arguments or arguments[0].startswith("-"):
        print("check_plan.py needs the make_model binary", file=sys.stderr)
        return 64
    deadline = 3.0
    if "--deadline" in arguments:
        deadline = float(arguments[arguments.index("--deadline") + 1])
    plans = Plans(shoal, scratch, deadline)
    report = plans.report
    models = [("tests/data/tiny-llama", harness.TINY), ("tests/data/tiny-llama-gptq-int4",
                                                         harness.INT4)]
    models += harness.golden_models(report, SMALL)
    for name, folder in models:
        report.guarded(name, plans.shapes, name, folder)
        report.guarded(name, plans.promise, name, folder)
    for name, folder in models[:2]:
        report.guarded(name, plans.refusal, name, folder)
    report.guarded("--capacity", plans.capacity, harness.INT4)
    for name in LARGE:
        report.guarded(name, plans.large, name, arguments[0])
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
