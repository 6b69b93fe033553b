#!/usr/bin/env python3
"""Answers that must have a form: whatever a hot sampler says, it is what was asked for.

    test_guided.py SHOAL_BINARY

`shoal serve` on the small model with two workers. The judges are Python's json, re and the package
jsonschema (Debian: python3-jsonschema; without it schemas are left out). Every schema of the golden
data takes part, or is refused by a 400 that names it. Builds with sanitizers take too long for it.
"""
import json
import os
import re
import signal
import time

import harness
import http_client
import serve_harness
from serve_harness import CHAT, COMPLETIONS

try:
    import jsonschema
except ImportError:
    jsonschema = None


def as_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}


STOPPED_SHARE = 0.9  # of the answers that had room enough
ROOM = 220           # tokens
ROUNDS = 3           # seeds and temperatures

SCHEMAS = {
    "flat": {"type": "object", "properties": {"name": {"type": "string"},
                                              "km": {"type": "integer", "minimum": 0}},
             "required": ["name", "km"], "additionalProperties": False},
    "nested": {"type": "object", "properties": {
        "tags": {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "minItems": 1},
        "at": {"type": "object", "properties": {"x": {"type": "number"}, "y": {"type": "number"}},
               "required": ["x", "y"], "additionalProperties": False}},
        "required": ["tags", "at"], "additionalProperties": False},
    "choice of kinds": {"anyOf": [{"type": "integer"}, {"type": "null"},
                                  {"type": "string", "maxLength": 12}]},
    "recursive": {"$defs": {"tree": {"type": "object", "properties": {
        "v": {"type": "integer"}, "kids": {"type": "array", "items": {"$ref": "#/$defs/tree"}}},
        "required": ["v", "kids"], "additionalProperties": False}}, "$ref": "#/$defs/tree"},
    "pattern": {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3,5}$"},
    "any": True,
}
REGEXES = ["[a-z]{3,8}@[a-z]+\\.(com|org)", "(\\d{1,3}\\.){3}\\d{1,3}", "(yes|no)( or (yes|no))*",
           "[\u00e0-\u00ff]{2,5}"]
CHOICES = ["Paris", "Parma", "Paris, Texas", "\u6771\u4eac", "no \"answer\""]
REFUSED = [
    ({"response_format": as_format({"properties": {"a": {"uniqueItems": True}}})},
     "response_format", ("uniqueItems", "/properties/a")),
    ({"guided_json": {"type": "array", "uniqueItems": True}}, "guided_json", ("uniqueItems",)),
    ({"guided_json": "{\"type\":"}, "guided_json", ("JSON",)),
    ({"guided_regex": "(a"}, "guided_regex", ()),
    ({"guided_regex": "(?=a)b"}, "guided_regex", ()),
    ({"guided_choice": []}, "guided_choice", ()),
    ({"guided_grammar": "root ::= \"a\""}, "guided_grammar", ()),
    ({"guided_choice": ["a"], "guided_regex": "a"}, "guided_", ("guided_choice", "guided_regex")),
    ({"guided_choice": ["a"], "response_format": {"type": "json_object"}}, "guided_choice",
     ("response_format",)),
    ({"structured_outputs": {"structural_tag": "x"}}, "structured_outputs", ("structural_tag",)),
]


class Guided:
    def __init__(self, server, report):
        self.server, self.report = server, report
        self.stopped = self.answered = 0

    # ---- asking

    def ask(self, chat=False, **more):
        request = dict({"max_tokens": ROOM, "temperature": 1.0, "n": 4}, **more)
        if chat:
            request["messages"] = [{"role": "user", "content": "Answer in JSON."}]
        else:
            request["prompt"] = "The answer is"
        return self.server.post(CHAT if chat else COMPLETIONS, request, patience=120)

    def texts(self, label, **more):
        """The texts of all choices, and how often they were whole."""
        answer = self.ask(**more)
        if not self.report.check(answer.status == 200, f"{label}: {answer}"):
            return []
        found = [(c["text"] if "text" in c else c["message"]["content"], c["finish_reason"])
                 for c in answer.json()["choices"]]
        self.answered += len(found)
        self.stopped += sum(finish == "stop" for _, finish in found)
        for text, finish in found:
            self.report.check(finish in ("stop", "length"), f"{label}: ended by {finish}")
        return [text for text, finish in found if finish == "stop"]

    # ---- judging

    def check_schema(self, label, schema, text):
        try:
            value = json.loads(text)
        except ValueError as error:
            self.report.check(False, f"{label}: {error}: {text[:200]!r}")
            return
        judge = jsonschema.validators.validator_for(schema, jsonschema.Draft202012Validator)
        found = list(judge(schema, format_checker=judge.FORMAT_CHECKER).iter_errors(value))
        self.report.check(not found, f"{label}: {text[:200]!r}: {found[:1]}")

    def schemas(self):
        for name, schema in SCHEMAS.items():
            for i in range(ROUNDS):
                heat = dict(temperature=(1.0, 1.5, 2.0)[i], seed=i)
                wishes = [dict(guided_json=schema)]
                if isinstance(schema, dict):
                    wishes += [dict(structured_outputs={"json": json.dumps(schema)}),
                               dict(response_format=as_format(schema), chat=True)]
                for wish in wishes:
                    for text in self.texts(name, **heat, **wish):
                        self.check_schema(name, schema, text)

    def golden_schemas(self):
        path = harness.golden("tok", "schema", "cases.json")
        if path is None:
            self.report.skip("no golden data")
            return
        refused = []
        for case in harness.load_json(path)["cases"]:
            label = f"golden schema {case['n']} ({case['name']})"
            wish = dict(guided_json=case["schema"], n=3, seed=case["n"],
                        temperature=1 + 0.4 * (case["n"] % 3))
            answer = self.ask(max_tokens=1, **wish)
            if answer.status == 400:
                message = answer.error()["message"]
                words = re.findall(r"[$\w]+", " ".join(case["keywords"]))
                self.report.check(any(f"'{word}'" in message for word in words),
                                  f"{label}: {message}")
                refused.append(case["name"])
                continue
            for text in self.texts(label, **wish):
                self.check_schema(label, case["schema"], text)
        self.report.note(f"{len(refused)} golden schemas refused: {', '.join(refused)}")

    def objects(self):
        for wish in (dict(response_format={"type": "json_object"}, chat=True),
                     dict(structured_outputs={"json_object": True})):
            for i in range(ROUNDS):
                for text in self.texts("object", seed=i, temperature=1.3, **wish):
                    self.report.check(isinstance(json.loads(text), dict), f"no object: {text!r}")

    def regexes(self):
        for regex in REGEXES:
            for i in range(ROUNDS):
                for text in self.texts(regex, guided_regex=regex, seed=i, temperature=1.5):
                    self.report.check(re.fullmatch(regex, text), f"{regex}: {text!r}")

    def choices(self):
        said = set()
        for i in range(4 * ROUNDS):
            for text in self.texts("choice", guided_choice=CHOICES, seed=i, temperature=2.0):
                said.add(text)
        self.report.check(said <= set(CHOICES), f"other choices: {said - set(CHOICES)}")
        self.report.check(len(said) > 1, f"always the same choice: {said}")

    # ---- what stays as it is

    def streams(self):
        wish = {"prompt": "The answer is", "max_tokens": ROOM, "seed": 5,
                "guided_json": SCHEMAS["flat"]}
        whole = self.server.post(COMPLETIONS, wish).json()["choices"][0]
        stream = self.server.stream(wish).read()
        stream.close()
        self.report.check(stream.whole() and stream.text == whole["text"],
                          f"streamed {stream.text!r} instead of {whole['text']!r}")

    def probabilities(self):
        """Those of the first token are of the model, not of the form."""
        def first(**more):
            answer = self.ask(n=1, temperature=0, max_tokens=3, logprobs=5, **more)
            return answer.json()["choices"][0]["logprobs"]
        free, bound = first(), first(guided_choice=CHOICES)
        self.report.check(free["top_logprobs"][0].items() <= bound["top_logprobs"][0].items(),
                          f"a form changes {free} to {bound}")

    def ends(self):
        """The form says where a text ends, whatever else is wished."""
        texts = self.texts("ends", guided_choice=["one", "two"], ignore_eos=True, min_tokens=50)
        self.report.check(len(texts) == 4 and set(texts) <= {"one", "two"}, f"{texts}")
        cut = self.ask(n=1, guided_json=SCHEMAS["nested"], max_tokens=3).json()["choices"][0]
        self.report.check(cut["finish_reason"] == "length", f"{cut}")

    def refusals(self):
        for wish, param, words in REFUSED:
            for chat in (False, True):
                answer = self.ask(chat=chat, **wish)
                error = answer.error()
                self.report.check(answer.status == 400 and (error["param"] or "").startswith(param)
                                  and all(word in error["message"] for word in words),
                                  f"{wish}: {answer}")

    def death(self):
        """A worker dies in the middle: the same text as without."""
        wish = {"prompt": "Once", "max_tokens": ROOM, "seed": 11, "temperature": 1.2,
                "guided_json": {"type": "array", "items": SCHEMAS["flat"], "minItems": 4}}
        wanted = self.server.text(wish)
        stream = self.server.stream(wish).read(8)
        os.kill(self.server.victim("last"), signal.SIGKILL)
        stream.read()
        stream.close()
        other = serve_harness.differ(stream.text, wanted)
        self.report.check(stream.whole() and not other, f"after a death: {other} {stream.error}")

    def run(self):
        parts = [self.objects, self.regexes, self.choices, self.streams, self.probabilities,
                 self.ends, self.refusals, self.death]
        if jsonschema:
            parts[:0] = [self.schemas, self.golden_schemas]
        else:
            self.report.skip("the package jsonschema is not installed")
        for part in parts:
            began = time.monotonic()
            part()
            self.report.note(f"{part.__name__:<16} {time.monotonic() - began:5.1f} s")
        self.report.check(self.stopped >= STOPPED_SHARE * self.answered,
                          f"{self.stopped} of {self.answered} answers were complete in time")
        self.report.note(f"{self.stopped} of {self.answered} answers were complete in time")


def check(shoal, scratch, _options):
    report = harness.Report("serve: answers that must have a form")
    with serve_harness.Server(shoal, scratch) as server:
        try:
            Guided(server, report).run()
        except (http_client.Broken, KeyError, TypeError, ValueError) as error:
            report.check(False, f"{error!r}: {server.err()[-500:]}")
        serve_harness.leave(server, report, "at the end")
    return report.exit_code()


if __name__ == "__main__":
    raise SystemExit(harness.main(check))
