#!/usr/bin/env python3
"""Grammars of random schemas against the package jsonschema, in both directions.

    check_schemas.py SHOAL_BINARY JUDGE_SCHEMA_BINARY [--rounds N] [--seed N]

Of every schema: random values written in various ways have the verdict of jsonschema, and random
texts of the grammar are valid. A schema may be refused with a sentence that begins with its place.
Left out is what the two judge differently by intention: numbers with an exponent where the grammar
knows plain ones only, regular expressions and formats whose dialects differ. Debian has the package
as python3-jsonschema; without it nothing is checked.
"""
import decimal
import json
import os
import random
import subprocess
import sys

import harness

try:
    import jsonschema
except ImportError:
    jsonschema = None

NAMES = ["a", "b", "ab", "c", "kind", "\u00e9", "x-1"]
STRINGS = ["", "a", "b", "ab", "abc", "a1", "xx", "\u00e9", "\U0001f999", "a\"b", "\\",
           "2024-02-29", "2023-02-29", "1.2.3.4", "1.2.3.400", "hello world", "kind", "12345"]
NUMBERS = [0, 1, -1, 2, 3, 5, 7, 10, 12, 100, -7, 0.5, 1.5, -0.25, 2.75, 0.1, 1000000, 99, -100,
           12.5]
PATTERNS = ["^a", "b$", "^[a-c]*$", "^(ab|x)+$", "[0-9]{2,3}", "^.{2}$", "a|b", "^a?b{1,2}",
            "^(?:a|b)*?c$", "(^a|b$)", "a{0}b", "^$|^x", "[^a-z]", "^[\u00e0-\u00ff]|a$"]
FORMATS = ["date", "ipv4", "uuid"]
ROUNDS = 1500
TEXTS, SAMPLES = 24, 6


class Schemas:
    """Random ones."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def some(self, values, most):
        return self.random.sample(values, self.random.randint(0, min(most, len(values))))

    def chance(self, share):
        return self.random.random() < share

    def value(self, depth=2):
        kind = self.random.randint(0, 9 if depth else 6)
        if kind < 3:
            return self.random.choice(STRINGS)
        if kind < 6:
            return self.random.choice(NUMBERS)
        if kind == 6:
            return self.random.choice([None, True, False])
        if kind == 7:
            return [self.value(depth - 1) for _ in range(self.random.randint(0, 3))]
        return {name: self.value(depth - 1) for name in self.some(NAMES, 4)}

    def schema(self, depth):
        if self.chance(0.06):
            return self.random.choice([True, True, False])
        out = {}
        makers = [self.of_string, self.of_number, self.of_object, self.of_array, self.of_values]
        if depth:
            makers += [self.of_schemas]
        for maker in self.random.sample(makers, self.random.choice([1, 1, 1, 2, 3])):
            maker(out, depth)
        if self.chance(0.5):
            types = ["string", "integer", "number", "object", "array", "null", "boolean"]
            out["type"] = self.random.choice(types) if self.chance(0.6) else \
                self.random.sample(types, self.random.randint(1, 4))
        keys = list(out)
        self.random.shuffle(keys)
        return {key: out[key] for key in keys}

    def of_string(self, out, _):
        if self.chance(0.5):
            out["minLength"] = self.random.randint(0, 3)
        if self.chance(0.5):
            out["maxLength"] = self.random.randint(0, 5)
        if self.chance(0.4):
            out["pattern"] = self.random.choice(PATTERNS)
        if self.chance(0.15):
            out["format"] = self.random.choice(FORMATS)

    def of_number(self, out, _):
        for key in ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"):
            if self.chance(0.35):
                out[key] = self.random.choice(NUMBERS)
        if self.chance(0.3):
            out["multipleOf"] = self.random.choice([1, 2, 3, 7, 0.5, 0.25, 10])

    def of_object(self, out, depth):
        inner = depth - 1
        if depth and self.chance(0.8):
            out["properties"] = {name: self.schema(inner) for name in self.some(NAMES, 4)}
        if self.chance(0.5):
            out["required"] = self.some(NAMES, 2)
        if depth and self.chance(0.5):
            out["additionalProperties"] = False if self.chance(0.6) else self.schema(inner)
        if depth and self.chance(0.3):
            out["patternProperties"] = {p: self.schema(inner) for p in self.some(PATTERNS, 2)}
        if depth and self.chance(0.2):
            out["propertyNames"] = self.schema(inner)
        if self.chance(0.2):
            out["minProperties"] = self.random.randint(0, 3)
        if self.chance(0.2):
            out["maxProperties"] = self.random.randint(0, 4)

    def of_array(self, out, depth):
        if depth and self.chance(0.6):
            out["items"] = self.schema(depth - 1)
        if depth and self.chance(0.3):
            out["prefixItems"] = [self.schema(depth - 1)
                                  for _ in range(self.random.randint(0, 3))]
        if self.chance(0.3):
            out["minItems"] = self.random.randint(0, 3)
        if self.chance(0.3):
            out["maxItems"] = self.random.randint(0, 4)

    def of_values(self, out, _):
        if self.chance(0.5):
            out["const"] = self.value()
        else:
            out["enum"] = [self.value() for _ in range(self.random.randint(1, 5))]

    def of_schemas(self, out, depth):
        key = self.random.choice(["allOf", "anyOf", "oneOf", "not", "$ref"])
        if key == "not":
            out["not"] = self.schema(depth - 1)
        elif key == "$ref":
            out["$ref"] = self.random.choice(["#/$defs/d", "#/$defs/e", "#"])
        else:
            out[key] = [self.schema(depth - 1) for _ in range(self.random.randint(1, 3))]

    def document(self):
        out = self.schema(3)
        if isinstance(out, dict) and "$ref" in json.dumps(out):
            out["$defs"] = {"d": self.schema(2), "e": self.schema(1)}
        return out


class Writer:
    """Values as JSON text, in one of the many ways."""

    def __init__(self, seed):
        self.random = random.Random(seed)

    def blank(self):
        return self.random.choice(["", "", "", " ", "\n", "\t "])

    def string(self, text):
        out = ""
        for c in text:
            way = self.random.randint(0, 9)
            if way == 0:
                units = c.encode("utf-16-be")
                out += "".join("\\u%02x%02X" % tuple(units[i:i + 2])
                               for i in range(0, len(units), 2))
            else:
                out += json.dumps(c, ensure_ascii=way == 1)[1:-1]
        return f'"{out}"'

    def number(self, value):
        text = json.dumps(value)
        if isinstance(value, int) and self.random.random() < 0.2:
            text += ".0"
        elif isinstance(value, float) and self.random.random() < 0.2:
            text += "00"
        return text

    def items(self, brackets, texts):
        blank = self.blank
        return (brackets[0] + blank() + (blank() + "," + blank()).join(texts) + blank() +
                brackets[1])

    def write(self, value):
        if isinstance(value, str):
            return self.string(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            return self.number(value)
        if isinstance(value, list):
            return self.items("[]", [self.write(v) for v in value])
        if isinstance(value, dict):
            members = [self.string(k) + self.blank() + ":" + self.blank() + self.write(v)
                       for k, v in value.items()]
            self.random.shuffle(members)
            return self.items("{}", members)
        return json.dumps(value)


def values_in(schema, out):
    """Values that the schema itself mentions, which are likelier to be valid."""
    if isinstance(schema, dict):
        out += [schema["const"]] if "const" in schema else []
        out += schema["enum"] if isinstance(schema.get("enum"), list) else []
        for inner in schema.values():
            values_in(inner, out)
    if isinstance(schema, list):
        for inner in schema:
            values_in(inner, out)
    return out


def real(text):
    """A float where it is the same number, else a number of all its digits."""
    exact, near = decimal.Decimal(text), float(text)
    if len(text) < 17 or exact.adjusted() > 300 or exact == decimal.Decimal(repr(near)):
        return near
    return int(exact) if exact == exact.to_integral_value() else exact


class Check:
    def __init__(self, judge, seed):
        self.report = harness.Report("schemas: two judges")
        self.schemas, self.writer, self.seed = Schemas(seed), Writer(seed), seed
        self.judge = subprocess.Popen([judge], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.refused = self.valid = self.invalid = self.slowest = 0

    def ask(self, question):
        self.judge.stdin.write(json.dumps(question).encode() + b"\n")
        self.judge.stdin.flush()
        return json.loads(self.judge.stdout.readline())

    def verdict(self, schema, value):
        judge = jsonschema.Draft202012Validator
        return judge(schema, format_checker=judge.FORMAT_CHECKER).is_valid(value)

    def values(self, schema):
        mentioned = values_in(schema, [])
        values = [self.schemas.value(3) for _ in range(TEXTS)] + mentioned[:8]
        for base in mentioned[:4]:
            values.append({name: base for name in self.schemas.some(NAMES, 3)})
            values.append([base] * self.schemas.random.randint(1, 3))
        return values

    def known(self, schema, texts):
        """The verdicts of the package; None: it fails, as on endless references."""
        try:
            return [self.verdict(schema, json.loads(text, parse_float=real)) for text in texts]
        except (RecursionError, OverflowError):
            return None
        except BaseException as failure:
            # Its parts in Rust turn a recursion error that meets them into a panic.
            if type(failure).__name__ != "PanicException":
                raise
            return None

    def round(self, number):
        schema = self.schemas.document()
        label = f"seed {self.seed}, round {number}: {json.dumps(schema)}"
        texts = [self.writer.write(value) for value in self.values(schema)]
        known = self.known(schema, texts)
        answer = self.ask({"schema": schema, "texts": texts, "samples": SAMPLES, "seed": number})
        self.slowest = max(self.slowest, answer["seconds"])
        if "error" in answer:
            self.refusal(label, answer["error"], texts, known)
            return
        if known is None:
            return
        for text, good, wanted in zip(texts, answer["accepts"], known):
            self.valid += wanted
            self.invalid += not wanted
            self.report.check(good == wanted, f"{label}\n  {text}: {'accepted' if good else 'no'}")
        for text in answer["samples"]:
            judged = self.known(schema, [text])
            self.report.check(judged in (None, [True]), f"{label}\n  sample {text!r}")

    def refusal(self, label, error, texts, known):
        """In words; what nothing satisfies must have no valid value."""
        self.refused += 1
        self.report.check(error.startswith("#"), f"{label}\n  {error}")
        if known and ("nothing satisfies" in error or "allows nothing" in error):
            for text, wanted in zip(texts, known):
                self.report.check(not wanted, f"{label}\n  {error}, but {text} does")

    def run(self, rounds):
        for number in range(rounds):
            self.round(number)
        self.judge.stdin.close()
        self.report.check(self.judge.wait() == 0, "the judge ended well")
        self.report.check(2 * self.refused < rounds and self.valid and self.invalid,
                          f"too little is compared: {self.refused} of {rounds} were refused")
        self.report.note(f"{rounds} schemas, {self.refused} refused; {self.valid} valid and "
                         f"{self.invalid} invalid texts; the slowest took {self.slowest:.3f} s")
        return self.report.exit_code()


def check(_, __, arguments):
    if not arguments or arguments[0].startswith("-"):
        print("check_schemas.py needs the judge_schema binary", file=sys.stderr)
        return 64
    if jsonschema is None:
        print("skipped: no package jsonschema")
        return harness.SKIPPED
    seed = int(harness.option(arguments, "--seed", "1"))
    return Check(os.path.abspath(arguments[0]), seed).run(
        int(harness.option(arguments, "--rounds", ROUNDS)))


if __name__ == "__main__":
    sys.exit(harness.main(check))
