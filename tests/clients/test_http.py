#!/usr/bin/env python3
"""Hostile and clumsy clients against `shoal serve`: framing, limits, JSON, fields, overload.

    test_http.py SHOAL_BINARY [--quick] [--only WORD]

Each case runs with a canary beside it: a client whose streams must all end with the known text.
The cases HT-01 ... HT-15 are tables of requests with the statuses they may get; a request that is
refused for its framing gets exactly one answer and a closed connection, so that nothing hidden in
it is ever served. --quick takes fewer connections and repetitions.
"""
import json
import os
import re
import signal
import sys
import threading
import time

import harness
import http_client
import serve_harness
from http_client import Broken, Connection, encode
from serve_harness import CHAT, COMPLETIONS, CONTEXT, VOCAB, Canary

MIB = 1 << 20
BODY_MAX = MIB
SOUND = {"prompt": "The sea is", "max_tokens": 1}
TALK = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
JSON_BODY = json.dumps(SOUND).encode()
HIDDEN = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"


def head(*lines, target=b"/v1/completions", method=b"POST", version=b"HTTP/1.1"):
    return (b"%s %s %s\r\nHost: x\r\n" % (method, target, version)
            + b"".join(line + b"\r\n" for line in lines) + b"\r\n")


def sized(*values, body=JSON_BODY):
    """A POST with these Content-Length values, and another request behind its body."""
    return head(*[b"Content-Length:" + v for v in values]) + body + HIDDEN


def chunked(chunks, coding=b"chunked", more=(), version=b"HTTP/1.1"):
    return head(b"Transfer-Encoding: " + coding, *more, version=version) + chunks + HIDDEN


def chunk(data, extension=b""):
    return b"%x%s\r\n%s\r\n" % (len(data), extension, data)


GOOD_CHUNKS = chunk(JSON_BODY[:5]) + chunk(JSON_BODY[5:]) + b"0\r\n\r\n"
LENGTH = b"%d" % len(JSON_BODY)

# HT-03: (label, bytes, statuses)
LENGTHS = [
    ("1e18", sized(b" 1000000000000000000"), (400, 413)),
    ("negative", sized(b" -5"), (400,)),
    ("plus sign", sized(b" +" + LENGTH), (400,)),
    ("list", sized(b" " + LENGTH + b"," + LENGTH), (400,)),
    ("list with a space", sized(b" " + LENGTH + b", " + LENGTH), (400,)),
    ("two different", sized(b" " + LENGTH, b" 5"), (400,)),
    ("two equal", sized(b" " + LENGTH, b" " + LENGTH), (400,)),
    ("space inside", sized(b" 2 9"), (400,)),
    ("empty", sized(b""), (400,)),
    ("only spaces", sized(b"   "), (400,)),
    ("hexadecimal", sized(b" 0x1d"), (400,)),
    ("decimal point", sized(b" 29.0"), (400,)),
    ("trailing semicolon", sized(b" " + LENGTH + b";"), (400,)),
    ("wide digits", sized(b" \xef\xbc\x92\xef\xbc\x99"), (400,)),
    ("2^64 + 29", sized(b" 18446744073709551645"), (400, 413)),
    ("forty digits", sized(b" " + b"9" * 40), (400, 413)),
]

# HT-04
FRAMINGS = [
    ("length and chunked", chunked(GOOD_CHUNKS, more=(b"Content-Length: 4",)), (400,)),
    ("chunked and length", head(b"Content-Length: 4", b"Transfer-Encoding: chunked") + GOOD_CHUNKS
     + HIDDEN, (400,)),
    ("chunked, identity", chunked(GOOD_CHUNKS, b"chunked, identity"), (400, 501)),
    ("identity, chunked", chunked(GOOD_CHUNKS, b"identity, chunked"), (400, 501)),
    ("gzip, chunked", chunked(GOOD_CHUNKS, b"gzip, chunked"), (400, 501)),
    ("xchunked", chunked(GOOD_CHUNKS, b"xchunked"), (400, 501)),
    ("chunked twice", chunked(GOOD_CHUNKS, more=(b"Transfer-Encoding: chunked",)), (400, 501)),
    ("chunked with a vertical tab", chunked(GOOD_CHUNKS, b"\x0bchunked"), (400, 501)),
    ("empty coding", chunked(GOOD_CHUNKS, b""), (400, 501)),
    ("folded coding", chunked(GOOD_CHUNKS, b"\r\n chunked"), (400,)),
    ("coding in HTTP/1.0", chunked(GOOD_CHUNKS, version=b"HTTP/1.0"), (400,)),
    ("space before the colon", head(b"Content-Length : " + LENGTH) + JSON_BODY + HIDDEN, (400,)),
    ("folded header", head(b"X: a", b" b") + HIDDEN, (400,)),
    ("header without a colon", head(b"nonsense") + HIDDEN, (400,)),
    ("empty header name", head(b": a") + HIDDEN, (400,)),
    ("NUL in a value", head(b"X: a\0b") + HIDDEN, (400,)),
    ("CR in a value", head(b"X: a\rY: b") + HIDDEN, (400,)),
    ("control character in a value", head(b"X: a\x01b") + HIDDEN, (400,)),
    ("bare LF after a header", b"GET /health HTTP/1.1\r\nHost: x\nX: y\r\n\r\n" + HIDDEN, (400,)),
    ("bare LF everywhere", b"GET /health HTTP/1.1\nHost: x\n\n" + HIDDEN, (400,)),
    ("no host", b"GET /health HTTP/1.1\r\n\r\n" + HIDDEN, (400,)),
    ("two hosts", head(b"Host: y", method=b"GET", target=b"/health") + HIDDEN, (400,)),
    ("HTTP/2.0", head(version=b"HTTP/2.0") + HIDDEN, (400, 505)),
    ("HTTP/1.2", head(version=b"HTTP/1.2") + HIDDEN, (400, 505)),
    ("no version", b"GET /health\r\n\r\n" + HIDDEN, (400,)),
    ("two spaces", b"GET  /health HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, (400,)),
    ("method with a bracket", b"GE(T /health HTTP/1.1\r\nHost: x\r\n\r\n" + HIDDEN, (400,)),
    ("TLS hello", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n" + HIDDEN, (400,)),
    ("chunk size 2^64", chunked(b"10000000000000000\r\n" + GOOD_CHUNKS), (400, 413)),
    ("chunk size that wraps", chunked(b"fffffffffffffffe\r\n" + GOOD_CHUNKS), (400, 413)),
    ("chunk size negative", chunked(b"-5\r\n" + GOOD_CHUNKS), (400,)),
    ("chunk size with 0x", chunked(b"0x5\r\nabcde\r\n0\r\n\r\n"), (400,)),
    ("chunk size empty", chunked(b"\r\n" + GOOD_CHUNKS), (400,)),
    ("chunk size with a space before", chunked(b" 5\r\nabcde\r\n0\r\n\r\n"), (400,)),
    ("chunk longer than its size", chunked(b"3\r\nabcdef\r\n0\r\n\r\n"), (400,)),
    ("bare LF after a chunk size", chunked(b"5\nabcde\r\n0\r\n\r\n"), (400,)),
    ("bare LF after a chunk", chunked(b"5\r\nabcde\n0\r\n\r\n"), (400,)),
    ("extension of 64 KiB", chunked(chunk(b"a", b";" + b"x" * 65536) + GOOD_CHUNKS),
     (400, 413)),
    ("70 000 chunks of a byte", chunked(chunk(b" ") * 70000 + GOOD_CHUNKS), (400, 413)),
    ("trailer that smuggles", chunked(b"0\r\nX: a\nContent-Length: 5\r\n\r\n"), (400,)),
]

# HT-05
LONG_HEADS = [
    ("100 000 headers", head(*[b"A%d: b" % i for i in range(100000)]), (431,)),
    ("101 headers", head(*[b"A%d: b" % i for i in range(101)]), (431,)),
    ("header of 1 MiB", head(b"A: " + b"x" * MIB), (431,)),
    ("target of 64 KiB", head(target=b"/" + b"x" * 65536), (414, 431)),
    ("target of 8 KiB + 1", head(target=b"/" + b"x" * 8192), (414,)),
    ("absolute form", head(target=b"http://localhost/health", method=b"GET"), (400, 404)),
    ("authority form", head(target=b"localhost:80", method=b"CONNECT"), (400, 404)),
    ("dot segments", head(target=b"/v1/../etc/passwd", method=b"GET"), (400, 404)),
    ("escaped dot segments", head(target=b"/v1/%2e%2e/etc/passwd", method=b"GET"), (400, 404)),
    ("fragment", head(target=b"/health#x", method=b"GET"), (400, 404)),
]


def nested(depth):
    return b'{"prompt": "x", "a": ' + b"[" * depth + b"]" * depth + b"}"


# HT-07: bodies that are no JSON we take
BAD_JSON = [
    ("cut off", b'{"prompt": "x"'), ("empty", b""), ("only space", b"  \n"), ("null", b"null"),
    ("array", b"[]"), ("string", b'"x"'), ("number", b"3"), ("two documents", b"{} {}"),
    ("trailing comma", b'{"prompt": "x",}'), ("comment", b'{"prompt": "x"} // no'),
    ("single quotes", b"{'prompt': 'x'}"), ("unbalanced", b'{"prompt": ["x"}'),
    ("depth 65", nested(65)), ("depth 100 000", nested(100000)), ("open 100 000", b"[" * 100000),
    ("duplicate keys", b'{"prompt": "x", "prompt": "y"}'),
    ("duplicate keys inside", b'{"prompt": "x", "logit_bias": {"5": 1, "5": 2}}'),
    ("number of 10 000 digits", b'{"prompt": "x", "max_tokens": ' + b"9" * 10000 + b"}"),
    ("NaN", b'{"prompt": "x", "temperature": NaN}'),
    ("Infinity", b'{"prompt": "x", "temperature": Infinity}'),
    ("1e400", b'{"prompt": "x", "temperature": 1e400}'),
    ("leading zero", b'{"prompt": "x", "max_tokens": 01}'),
    ("lone high surrogate", b'{"prompt": "\\ud83e alone"}'),
    ("lone low surrogate", b'{"prompt": "\\udd99 alone"}'),
    ("byte order mark", b"\xef\xbb\xbf" + JSON_BODY),
    ("UTF-16", JSON_BODY.decode().encode("utf-16")),
    ("invalid UTF-8", b'{"prompt": "\xff\xfe"}'), ("overlong UTF-8", b'{"prompt": "\xc0\xaf"}'),
    ("surrogate in UTF-8", b'{"prompt": "\xed\xa0\x80"}'), ("NUL byte", b'{"prompt": "a\0b"}'),
    ("control character", b'{"prompt": "a\nb"}'), ("bad escape", b'{"prompt": "\\x41"}'),
]
BAD_NUMBERS = [b'{"prompt": "x", "max_tokens": "3"}',
               b'{"prompt": "x", "max_tokens": 18446744073709551616}',
               b'{"prompt": "x", "seed": 9223372036854775808}',
               b'{"prompt": "' + b"x" * (BODY_MAX - 100) + b'"}']

# HT-08: (field, bad values, what else the request says); each is tried on both routes unless the
# row names one.
NOT_A_NUMBER = ("x", [], {}, True)
BAD_FIELDS = [
    ("n", (0, -1, 17, 10**6, 2**62, 1.5) + NOT_A_NUMBER, {}, None),
    ("best_of", (0, -1, 17, 10**9) + NOT_A_NUMBER, {}, COMPLETIONS),
    ("max_tokens", (-1, -2**63, 1.5) + NOT_A_NUMBER, {}, None),
    ("max_tokens", (0,), {}, CHAT),
    ("max_completion_tokens", (0, -1, 1.5, "x"), {}, CHAT),
    ("logprobs", (-1, 21, 129, 1.5, "3"), {}, COMPLETIONS),
    ("logprobs", (3, "yes"), {}, CHAT),
    ("top_logprobs", (-1, 21, 129, 1.5, "3"), {"logprobs": True}, CHAT),
    ("top_logprobs", (2,), {}, CHAT),
    ("top_k", (-2, 2**40, 1.5) + NOT_A_NUMBER, {}, None),
    ("seed", (1.5,) + NOT_A_NUMBER, {}, None),
    ("temperature", (-0.1, 2.1, 1e300, -1e300) + NOT_A_NUMBER, {}, None),
    ("top_p", (0, -0.1, 1.1, 1e300) + NOT_A_NUMBER, {}, None),
    ("min_p", (-0.1, 1.1) + NOT_A_NUMBER, {}, None),
    ("presence_penalty", (-2.1, 2.1) + NOT_A_NUMBER, {}, None),
    ("frequency_penalty", (-2.1, 2.1) + NOT_A_NUMBER, {}, None),
    ("repetition_penalty", (0, -1, 1e9) + NOT_A_NUMBER, {}, None),
    ("logit_bias", ({"-1": 1}, {str(VOCAB): 1}, {"99999999999999999999": 1}, {"x": 1}, {"": 1},
                    {"5": 101}, {"5": -101}, {"5": "x"}, [1], "x", 5), {}, None),
    ("stop", ("", [""], ["x"] * 17, ["x"] * 100000, "x" * 257, [1], {"a": 1}, 5), {}, None),
    ("stop_token_ids", ([-1], [VOCAB], [2**40], ["x"], [1] * 65, 5, "x"), {}, None),
    ("min_tokens", (-1, 1.5, "x"), {}, None),
    ("priority", (2**31, 1.5, "x"), {}, None),
    ("stream", ("yes", 1), {}, None),
    ("stream_options", ({"include_usage": True},), {}, None),
    ("stream_options", ("x", {"include_usage": "x"}), {"stream": True}, None),
    ("ignore_eos", ("yes", 1), {}, None),
    ("echo", ("yes", 1), {}, COMPLETIONS),
    ("suffix", ("x",), {}, COMPLETIONS),
    ("response_format", (5, {"type": "no-such-format"}, {"type": "json_schema"}), {}, CHAT),
    ("tools", (5, [{}], [{"type": "function", "function": {"parameters": {}}}]), {}, CHAT),
]

# HT-09: prompts no answer exists for
LONG_IDS = harness.made_up_ids(CONTEXT + 1, 1000)
BAD_PROMPTS = [
    ("absent", None), ("empty", ""), ("no ids", []), ("list of no ids", [[]]), ("list of ''", [""]),
    ("id -1", [1, -1]), ("id = width of the logits", [1, VOCAB]), ("id 2^40", [2**40]),
    ("id 1.5", [1.5]), ("id true", [True]), ("text and ids", ["a", 1]),
    ("ids and texts", [[1], ["a"]]), ("number", 5), ("object", {"a": 1}),
    ("as long as the context", LONG_IDS[:CONTEXT]), ("one longer than the context", LONG_IDS),
    ("long text", "sea and sky " * CONTEXT), ("65 prompts", ["x"] * 65),
    ("100 000 prompts", ["x"] * 100000), ("prompts of which one is too long", ["x", "a " * 5000]),
]

# HT-12: every route that wants a key
GUARDED = [("GET", "/v1/models"), ("GET", "/v1/models/x"), ("GET", "/metrics"), ("GET", "/"),
           ("POST", COMPLETIONS), ("POST", CHAT), ("POST", "/tokenize"), ("POST", "/detokenize"),
           ("GET", "/no/such/path")]
KEY = "key-4711-abcdef"


class SlowHeads:
    """HT-01: many connections that send a byte of their head now and then."""

    def __init__(self, address, count):
        self.began = time.monotonic()
        self.connections = []
        for _ in range(count):
            connection = Connection(address, patience=5)
            connection.send(b"GET /health HTTP/1.1\r\nHost: x\r\nX: ")
            self.connections.append(connection)
        self.early = None
        self.thread = threading.Thread(target=self.drip, daemon=True)
        self.thread.start()

    def drip(self):
        for at in (4, 8):
            time.sleep(max(0, self.began + at - time.monotonic()))
            for connection in self.connections:
                connection.send(b"x")
        self.early = sum(not c.silent(0) for c in self.connections)

    def finish(self, report):
        self.thread.join()
        time.sleep(max(0, self.began + 12 - time.monotonic()))
        count = len(self.connections)
        ended = sum([a.status for a in c.answers()] == [408] for c in self.connections)
        report.check(self.early == 0, f"HT-01: {self.early} of {count} ended before 10 s")
        report.check(ended == count, f"HT-01: only {ended} of {count} got 408 and a close at 10 s")
        for connection in self.connections:
            connection.close()


class SlowBody:
    """HT-02: a body that comes byte by byte and never ends."""

    def __init__(self, address):
        self.began = time.monotonic()
        self.connection = Connection(address, patience=10)
        self.connection.send(head(b"Content-Length: 1000"))
        self.statuses, self.took = None, 0.0
        self.thread = threading.Thread(target=self.drip, daemon=True)
        self.thread.start()

    def drip(self):
        try:
            while self.connection.silent(1) and time.monotonic() < self.began + 40:
                self.connection.send(b" ")
            self.statuses = [a.status for a in self.connection.answers()]
        except Broken as broken:
            self.statuses = str(broken)
        self.took = time.monotonic() - self.began

    def finish(self, report):
        self.thread.join()
        report.check(self.statuses == [408] and 28 < self.took < 35,
                     f"HT-02: a slow body got {self.statuses} after {self.took:.0f} s")
        self.connection.close()


class Http:
    def __init__(self, shoal, scratch, options):
        self.shoal, self.scratch = shoal, scratch
        self.quick = "--quick" in options
        self.only = harness.option(options, "--only", "")
        self.report = harness.Report("http: hostile and clumsy clients")
        self.server = None

    def start(self, *options, **more):
        return serve_harness.Server(self.shoal, self.scratch, options=options, **more)

    # ---- framing: one answer, then closed

    def refused(self, label, data, statuses):
        """Bytes that must get one answer of these, and nothing behind it."""
        with Connection(self.server.address, patience=5) as connection:
            try:
                connection.send(data)
            except Broken:
                pass  # it need not take everything before it says no
            answers = connection.answers()
        got = [a.status for a in answers]
        if self.report.check(len(got) == 1 and got[0] in statuses,
                             f"{label}: answers {got}, expected one of {statuses}"):
            self.report.check(answers[0].error().get("message"),
                              f"{label}: no error object: {answers[0]}")
            self.report.check(answers[0].headers.get("connection") == "close",
                              f"{label}: does not announce the close")

    def table(self, case, rows):
        for label, data, statuses in rows:
            try:
                self.refused(f"{case} {label}", data, statuses)
            except Broken as broken:
                self.report.check(False, f"{case} {label}: {broken}")

    def lengths(self):
        self.table("HT-03", LENGTHS)

    def framings(self):
        self.table("HT-04", FRAMINGS)
        for label, data in (("chunked", chunked(GOOD_CHUNKS)),
                            ("pipelined", encode("POST", COMPLETIONS, SOUND) + HIDDEN),
                            ("upper case", chunked(b"%X\r\n%s\r\n0\r\n\r\n" %
                                                   (len(JSON_BODY), JSON_BODY), b"Chunked"))):
            with Connection(self.server.address) as connection:
                connection.send(data)
                got = [connection.answer().status, connection.answer().status]
            self.report.check(got == [200, 200], f"HT-04 sound {label}: {got}")
        with Connection(self.server.address) as connection:
            for byte in chunked(GOOD_CHUNKS):
                connection.send(bytes([byte]))
            got = [connection.answer().status, connection.answer().status]
        self.report.check(got == [200, 200], f"HT-04 sound, byte by byte: {got}")

    def heads(self):
        self.table("HT-05", LONG_HEADS)

    def bodies(self):
        early = b"Content-Length: %d" % (1 << 30)
        self.table("HT-06", [("1 GiB announced", head(early), (413,)),
                             ("1 GiB, Expect", head(early, b"Expect: 100-continue"), (413, 417)),
                             ("chunks over the limit", chunked(chunk(b" " * 65536) * 20), (413,))])
        for more in (1, 3 * MIB):
            answer = self.server.post(COMPLETIONS, b" " * (BODY_MAX + more))
            self.report.check(answer.status == 413, f"HT-06 {more} bytes too long: {answer}")
        with Connection(self.server.address) as connection:
            connection.send(head(b"Content-Length: " + LENGTH, b"Expect: 100-continue"))
            interim = connection.answer()
            connection.send(JSON_BODY)
            final = connection.answer()
        self.report.check((interim.status, final.status) == (100, 200),
                          f"HT-06 Expect: {interim.status}, {final}")

    # ---- slow clients

    def slow_reader(self):
        """HT-02: a reader that reads nothing is cut off and its work is given up."""
        before = self.server.metrics()
        request = serve_harness.greedy("The sea is", CONTEXT - 50, n=16, logprobs=20)
        stream = self.server.stream(request, receive_buffer=2048)
        end = time.monotonic() + 90
        grown = 0
        while not grown and time.monotonic() < end:
            time.sleep(0.1)
            now = self.server.metrics()
            grown = (now["shoal_requests_cancelled_total"]
                     - before["shoal_requests_cancelled_total"])
        self.report.check(grown >= 1, "HT-02: a slow reader's request is not cancelled")
        try:
            stream.read()
        except Broken:
            pass
        self.report.check(not stream.done, "HT-02: a slow reader got everything")
        stream.close()

    # ---- JSON and fields

    def said_no(self, label, answer, field=None):
        error = answer.error()
        good = answer.status in (400, 422) and error.get("message") and \
            error.get("type") == "invalid_request_error"
        self.report.check(good, f"{label}: {answer}")
        if field:
            named = f"{error.get('param')} {error.get('message')}"
            self.report.check(field in named, f"{label}: does not name the field: {answer}")

    def post(self, path, document, label):
        try:
            return self.server.post(path, document)
        except Broken as broken:
            return http_client.Answer(0, {}, f"{label}: {broken}".encode())

    def json(self):
        for label, body in BAD_JSON:
            for path in (COMPLETIONS, CHAT, "/tokenize", "/detokenize"):
                answer = self.post(path, body, label)
                self.said_no(f"HT-07 {path} {label}", answer)
        for body in BAD_NUMBERS:
            self.said_no(f"HT-07 {body[-40:]}", self.post(COMPLETIONS, body, "number"))
        answer = self.server.post(COMPLETIONS, b'{"prompt": "a\\u0000b", "max_tokens": 1}')
        self.report.check(answer.status in (200, 400), f"HT-07 escaped NUL: {answer}")
        answer = self.server.post(COMPLETIONS, b'{"prompt": "x", "max_tokens": 3,, }')
        self.report.check(re.search(r"byte 3[23]\b", answer.error().get("message", "")),
                          f"HT-07: no byte offset: {answer}")

    def fields(self):
        for field, values, also, only in BAD_FIELDS:
            for path, base in ((COMPLETIONS, SOUND), (CHAT, TALK)):
                if only not in (None, path):
                    continue
                for value in values:
                    label = f"HT-08 {path} {field} {str(value)[:40]}"
                    request = dict(base, **also)
                    request[field] = value
                    self.said_no(label, self.post(path, request, label), field)
                absent = self.post(path, dict(base, **{field: None}), field)
                self.report.check(absent.status == 200, f"HT-08 {path} {field} null: {absent}")
        for path, base in ((COMPLETIONS, SOUND), (CHAT, TALK)):
            answer = self.post(path, dict(base, shoal_unknown={"a": [1]}, user="u"), "unknown")
            self.report.check(answer.status == 200, f"HT-08 {path} unknown field: {answer}")

    def edge_prompts(self):
        for label, prompt in BAD_PROMPTS:
            request = {"prompt": prompt, "max_tokens": 1} if prompt is not None else {}
            self.said_no(f"HT-09 {label}", self.post(COMPLETIONS, request, label))
        self.said_no("HT-09 64 prompts times 16", self.post(
            COMPLETIONS, {"prompt": ["x"] * 64, "n": 16, "max_tokens": 1}, "fan-out"))
        full = self.post(COMPLETIONS, {"prompt": LONG_IDS[:CONTEXT - 1], "max_tokens": 1}, "full")
        self.report.check(full.status == 200, f"HT-09 one less than the context: {full}")

    # ---- departures and repeats

    def departures(self):
        """HT-10: clients that leave after each number of tokens, in every way there is."""
        request = serve_harness.greedy("The sea is", CONTEXT - 50)
        leave = (Connection.close, Connection.reset, Connection.half_close)
        for count in range(8 if self.quick else 32):
            for way in leave:
                stream = self.server.stream(request)
                stream.read(count)
                way(stream.connection)
                stream.close()
        for path in (COMPLETIONS, CHAT, "/nowhere"):
            for cut in (1, 30, 100, 150):
                with Connection(self.server.address) as connection:
                    connection.send(encode("POST", path, SOUND)[:cut])
                    connection.reset()

    def idempotent(self):
        request = serve_harness.greedy("Once upon a time", 24)
        answers = [self.server.post(COMPLETIONS, request, headers=[("Idempotency-Key", "k1")])
                   for _ in range(2)]
        texts = [a.json()["choices"][0]["text"] for a in answers]
        self.report.check(texts[0] == texts[1], f"HT-11: two answers to one key: {texts}")

    # ---- servers of their own

    def keys(self):
        path = os.path.join(self.scratch, "keys")
        with open(path, "w", encoding="utf-8") as f:
            f.write(KEY + "\n")
        with self.start("--api-key-file", path, key=KEY) as server, \
                Canary(server, self.report, "HT-12"):
            wrong = [None, "", "wrong", KEY[:-1], KEY + "x", KEY.upper(), "\x80" * len(KEY)]
            for method, route in GUARDED:
                for key in wrong:
                    answer = server.ask(method, route, SOUND if method == "POST" else None, key=key)
                    self.report.check(answer.status == 401 and answer.error().get("message"),
                                      f"HT-12 {route} with key {key!r}: {answer}")
            for route in ("/health", "/health/live", "/health/ready"):
                answer = server.ask("GET", route, key=None)
                self.report.check(answer.status == 200, f"HT-12 {route} without a key: {answer}")
            for scheme in ("Basic " + KEY, KEY, "Bearer"):
                answer = server.ask("GET", "/v1/models", key=None,
                                    headers=[("Authorization", scheme)])
                self.report.check(answer.status == 401, f"HT-12 scheme {scheme}: {answer}")
            answer = server.ask("GET", "/v1/models")
            self.report.check(answer.status == 200, f"HT-12 the right key: {answer}")

    def descriptors(self):
        """HT-13: a server that runs out of descriptors keeps those it has, and recovers."""
        with self.start(descriptors=64) as server:
            streams = [server.stream(serve_harness.greedy("The sea is", CONTEXT - 50)).read(1)
                       for _ in range(2)]
            crowd = [Connection(server.address, patience=10) for _ in range(100)]
            turned_away = 0
            for connection in crowd:
                if not connection.silent(0.01):
                    turned_away += [a.status for a in connection.answers()] == [503]
            for stream in streams:
                self.report.check(stream.read().whole(), f"HT-13: a stream broke: {stream.error}")
            for connection in crowd:
                connection.close()
            end = time.monotonic() + 5
            status = 503
            while status == 503 and time.monotonic() < end:
                status = server.ask("GET", "/health").status
            self.report.check(status == 200, "HT-13: no service after the crowd has left")
            self.report.note(f"HT-13: 100 connections too many: {turned_away} got 503")

    def overload(self):
        """HT-14: ten times the capacity: refusals say when to come back, work goes on."""
        capacity, seconds = 4, 2.0 if self.quick else 4.0
        with self.start("--max-num-seqs", capacity, "--max-queue", capacity) as server:
            peak, _ = self.flood(server, capacity, seconds)
            stream = server.stream(serve_harness.greedy("Once upon", CONTEXT - 50)).read(1)
            goodput, answers = self.flood(server, 10 * capacity, seconds)
            self.report.check(stream.read().whole(), f"HT-14: a stream broke: {stream.error}")
            kinds = sorted({a.status for a in answers})
            refusals = [a for a in answers if a.status != 200]
            self.report.check(set(kinds) <= {200, 429, 503} and refusals, f"HT-14: {kinds}")
            self.report.check(all("retry-after" in a.headers for a in refusals),
                              "HT-14: a refusal without Retry-After")
            self.report.check(goodput > 0, "HT-14: no work goes on under overload")
            self.report.note(f"HT-14: {goodput:.0f} tokens/s at ten times the load, peak "
                             f"{peak:.0f} ({goodput / peak:.0%}), {len(refusals)} refusals")
            serve_harness.pages_back(server, self.report, "HT-14")
            serve_harness.leave(server, self.report, "HT-14")

    def flood(self, server, clients, seconds):
        """Clients that ask again at once, or 0.1 s after a refusal: tokens/s, all answers."""
        request = serve_harness.greedy("The sea is", 32)
        end = time.monotonic() + seconds

        def client(_):
            answers = []
            while time.monotonic() < end:
                answers.append(server.post(COMPLETIONS, request))
                if answers[-1].status != 200:
                    time.sleep(0.1)
            return answers
        results = serve_harness.together(client, range(clients))
        broken = [r for r in results if not isinstance(r, list)]
        self.report.check(not broken, f"HT-14: {broken[:1]}")
        answers = [a for r in results if isinstance(r, list) for a in r]
        return 32 * sum(a.status == 200 for a in answers) / seconds, answers

    def not_now(self, server, label, streams):
        """A server that is not serving says so, and its live streams go on to their end."""
        end = time.monotonic() + 5
        while server.ready() and time.monotonic() < end:
            time.sleep(0.002)
        ready, fresh = server.ask("GET", "/health/ready"), server.post(COMPLETIONS, SOUND)
        live = server.ask("GET", "/health/live")
        self.report.check(live.status == 200, f"{label}: /health/live {live}")
        for name, answer in (("/health/ready", ready), ("a new request", fresh)):
            self.report.check(answer.status == 503 and "retry-after" in answer.headers,
                              f"{label}: {name}: {answer} {answer.headers}")
        results = serve_harness.together(lambda s: s.read(), streams)
        whole = [isinstance(s, http_client.Stream) and s.whole() for s in results]
        self.report.check(all(whole), f"{label}: streams that went on to the end: {whole}")

    def not_ready(self):
        """HT-15: requests during recovery and during drain."""
        request = serve_harness.greedy("The sea is", CONTEXT - 50)
        for label in ("recovery", "drain"):
            with self.start() as server:
                wanted = server.text(request)
                streams = [server.stream(request).read(4) for _ in range(4)]
                victim, number = (("last", signal.SIGKILL) if label == "recovery"
                                  else ("shoal", signal.SIGTERM))
                os.kill(server.victim(victim), number)
                self.not_now(server, f"HT-15 {label}", streams)
                texts = {s.text for s in streams}
                self.report.check(texts == {wanted}, f"HT-15 {label}: other text")
                serve_harness.leave(server, self.report, f"HT-15 {label}")

    # ---- the order

    def beside(self, label, work):
        if self.only not in label:
            return
        with Canary(self.server, self.report, label):
            try:
                work()
            except (Broken, harness.Stop, KeyError) as error:
                self.report.check(False, f"{label}: {error!r}")
        self.report.note(f"{label:<28} {self.report.checks} checks so far, "
                         f"{self.report.failures} failed")

    def alone(self, label, work):
        if self.only in label:
            try:
                work()
            except (Broken, harness.Stop, KeyError) as error:
                self.report.check(False, f"{label}: {error!r}")

    def gap(self, seconds):
        """p99 of the canary's time between tokens, ms."""
        with Canary(self.server, self.report, "HT-01") as canary:
            time.sleep(seconds)
        return 1e3 * serve_harness.percentile(canary.gaps, 0.99)

    def run_main(self):
        """All cases one server can take; the slow ones go on beside the others."""
        address = self.server.address
        slow_body = SlowBody(address) if self.only in "HT-02 body" else None
        if self.only in "HT-01":
            quiet = self.gap(2)
            slow_heads = SlowHeads(address, 200 if self.quick else 1000)
            busy = self.gap(4)
            self.report.note(f"HT-01: p99 between tokens {quiet:.2f} ms, beside "
                             f"{len(slow_heads.connections)} slow heads {busy:.2f} ms")
        for label, work in (("HT-02 slow reader", self.slow_reader), ("HT-03", self.lengths),
                            ("HT-04", self.framings), ("HT-05", self.heads),
                            ("HT-06", self.bodies), ("HT-07", self.json), ("HT-08", self.fields),
                            ("HT-09", self.edge_prompts), ("HT-10", self.departures),
                            ("HT-11", self.idempotent)):
            self.beside(label, work)
        if self.only in "HT-01":
            self.beside("HT-01 slow heads", lambda: slow_heads.finish(self.report))
        serve_harness.pages_back(self.server, self.report, "HT-01 ... HT-11")
        return slow_body

    def run_all(self):
        serve_harness.more_descriptors()
        with self.start("--max-body", BODY_MAX) as self.server:
            slow_body = self.run_main()
            self.alone("HT-12 keys", self.keys)
            self.alone("HT-13 descriptors", self.descriptors)
            self.alone("HT-14 overload", self.overload)
            self.alone("HT-15 not ready", self.not_ready)
            if slow_body:
                self.beside("HT-02 slow body", lambda: slow_body.finish(self.report))
            serve_harness.leave(self.server, self.report, "at the end")


def check(shoal, scratch, options):
    http = Http(shoal, scratch, options)
    http.report.guarded("http", http.run_all)
    return http.report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
