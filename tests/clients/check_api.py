#!/usr/bin/env python3
"""What a client of OpenAI's interface relies on, one behaviour after the other.

    check_api.py SHOAL_BINARY [--url http://HOST:PORT] [--key KEY] [--only WORD]

Starts `shoal serve` on the small model with a key and a body limit, or asks the server at --url.
Nothing depends on what a model says, except that greedy decoding repeats itself. test_guided.py has
more of forms of answers.
"""
import json
import os
import sys
import time
import urllib.parse

import harness
import http_client
import serve_harness
from serve_harness import CHAT, COMPLETIONS

BODY_MAX = 1 << 20
KEY = "key-of-check-api"
BEHAVIOURS = []


class Wrong(Exception):
    """A behaviour that is not as it should be."""


def behaviour(name):
    def register(work):
        BEHAVIOURS.append((name, work))
        return work
    return register


def need(good, why):
    if not good:
        raise Wrong(why)


class Api:
    """The server as a client sees it; documents in, documents out."""

    def __init__(self, address, key, context, body_max):
        self.address, self.key = address, key
        self.context, self.body_max = context, body_max
        self.model = self.get("/v1/models")["data"][0]["id"]
        self.remembered = {}

    def ask(self, method, path, document=None, **options):
        options.setdefault("key", self.key)
        return http_client.ask(self.address, method, path, document, **options)

    def get(self, path):
        return self.good(self.ask("GET", path))

    def good(self, answer):
        need(answer.status == 200, f"{answer}")
        need(answer.headers.get("content-type", "").startswith("application/json"),
             f"content type {answer.headers.get('content-type')}")
        return answer.json()

    def chat_request(self, text="Write a short line about the sea.", **more):
        request = {"model": self.model, "messages": [{"role": "user", "content": text}],
                   "max_tokens": 12, "temperature": 0}
        request.update(more)
        return {k: v for k, v in request.items() if v is not ...}

    def chat(self, text="Write a short line about the sea.", **more):
        return self.good(self.ask("POST", CHAT, self.chat_request(text, **more)))

    def say(self, **more):
        """The first choice of a chat."""
        return self.chat(**more)["choices"][0]

    def complete(self, prompt="The sea is", **more):
        request = dict({"model": self.model, "prompt": prompt, "max_tokens": 12, "temperature": 0},
                       **more)
        return self.good(self.ask("POST", COMPLETIONS,
                                  {k: v for k, v in request.items() if v is not ...}))

    def stream(self, path=CHAT, **more):
        request = self.chat_request(**more) if path == CHAT else dict(
            {"model": self.model, "prompt": "The sea is", "max_tokens": 12, "temperature": 0},
            **more)
        stream = http_client.Stream(self.address, path, request, self.key).read()
        stream.close()
        need(stream.answer.status == 200 and stream.error is None, f"stream: {stream.error}")
        need(stream.whole(), f"stream: done {stream.done}, finished {stream.finishes}")
        return stream

    def greedy(self):
        """The greedy answer of 24 tokens, asked for once."""
        if "greedy" not in self.remembered:
            self.remembered["greedy"] = self.say(max_tokens=24)["message"]["content"]
        return self.remembered["greedy"]

    def refused(self, answer, statuses=(400, 422)):
        """An error object of OpenAI's shape; returned."""
        need(answer.status in statuses, f"expected one of {statuses}: {answer}")
        error = answer.error()
        need(isinstance(error.get("message"), str) and error["message"], f"no message: {answer}")
        need(isinstance(error.get("type"), str), f"no type: {answer}")
        need({"param", "code"} <= set(error), f"no param or code: {answer}")
        return error


def indexes(document):
    return sorted(choice["index"] for choice in document["choices"])


def chunks(stream):
    """All choices of all chunks of a stream."""
    return [choice for document in stream.documents for choice in document["choices"]]


# ---- models, health

@behaviour("models: the list has entries with id, object, created, owned_by")
def _(api):
    page = api.get("/v1/models")
    need(page["object"] == "list" and page["data"], f"{page}")
    for model in page["data"]:
        need(model["id"] and model["object"] == "model" and isinstance(model["created"], int)
             and isinstance(model["owned_by"], str), f"{model}")


@behaviour("models: one by its id; an unknown one is a 404")
def _(api):
    need(api.get(f"/v1/models/{api.model}")["id"] == api.model, "another id")
    api.refused(api.ask("GET", "/v1/models/no-such-model"), (404,))


@behaviour("health: /health, /health/live and /health/ready are 200 without a key")
def _(api):
    for path in ("/health", "/health/live", "/health/ready"):
        answer = api.ask("GET", path, key=None)
        need(answer.status == 200, f"{path}: {answer}")


@behaviour("http: two requests on one connection, HEAD without a body")
def _(api):
    with http_client.Connection(api.address) as connection:
        for method in ("GET", "HEAD", "GET"):
            connection.send(http_client.encode(method, "/v1/models", key=api.key))
            answer = connection.answer(has_body=method != "HEAD")
            need(answer.status == 200, f"{method}: {answer}")
            need(method == "HEAD" or answer.json()["object"] == "list", f"{answer}")


@behaviour("http: a request id comes back")
def _(api):
    answer = api.ask("GET", "/v1/models", headers=[("X-Request-Id", "my-id.7")])
    need(answer.headers.get("x-request-id") == "my-id.7", f"{answer.headers}")
    need(api.ask("GET", "/v1/models").headers.get("x-request-id"), "none of its own")


@behaviour("metrics: text of Prometheus")
def _(api):
    answer = api.ask("GET", "/metrics")
    need(answer.headers.get("content-type", "").startswith("text/plain"), f"{answer.headers}")
    need(b"shoal_num_requests_running" in answer.body, f"{answer}")


@behaviour("page: / is HTML")
def _(api):
    answer = api.ask("GET", "/")
    need(answer.status == 200 and answer.headers["content-type"].startswith("text/html"),
         f"{answer}")


# ---- chat

@behaviour("chat: id, object, created, model, one choice of the assistant")
def _(api):
    answer = api.chat()
    need(answer["id"] and answer["object"] == "chat.completion", f"{answer}")
    need(answer["model"] == api.model and indexes(answer) == [0], f"{answer}")
    need(abs(answer["created"] - time.time()) < 300, "created is not now")
    message = answer["choices"][0]["message"]
    need(message["role"] == "assistant" and isinstance(message["content"], str), f"{message}")
    need(answer["choices"][0]["finish_reason"] in ("stop", "length"), f"{answer}")


@behaviour("chat: ids differ")
def _(api):
    need(api.chat(max_tokens=1)["id"] != api.chat(max_tokens=1)["id"], "the same id twice")


@behaviour("chat: usage adds up")
def _(api):
    usage = api.chat()["usage"]
    need(0 < usage["prompt_tokens"] == usage["total_tokens"] - usage["completion_tokens"],
         f"{usage}")


@behaviour("chat: max_tokens 1 is one token, finish_reason length")
def _(api):
    answer = api.chat(max_tokens=1)
    choice = answer["choices"][0]
    need(answer["usage"]["completion_tokens"] == 1, f"{answer['usage']}")
    need(choice["finish_reason"] == "length" or not choice["message"]["content"], f"{choice}")


@behaviour("chat: max_completion_tokens is honoured")
def _(api):
    usage = api.chat(max_tokens=..., max_completion_tokens=3)["usage"]
    need(usage["completion_tokens"] <= 3, f"{usage}")


@behaviour("chat: temperature 0 repeats itself")
def _(api):
    need(api.say(max_tokens=24)["message"]["content"] == api.greedy(), "another answer")


@behaviour("chat: a seed repeats a sample, and another seed need not")
def _(api):
    def sample(seed):
        return api.say(temperature=1.5, seed=seed, max_tokens=24)["message"]["content"]
    need(sample(4711) == sample(4711), "two samples of one seed differ")
    need(len({sample(seed) for seed in range(5)}) > 1, "five seeds, one sample")


@behaviour("chat: sampling settings are accepted")
def _(api):
    api.chat(temperature=0.8, top_p=0.9, presence_penalty=0.5, frequency_penalty=-0.5, seed=1)
    api.chat(temperature=0.8, top_k=20, min_p=0.05, repetition_penalty=1.1, seed=1)


@behaviour("chat: ignore_eos and min_tokens count up to max_tokens")
def _(api):
    for more in ({"ignore_eos": True}, {"min_tokens": 40}):
        usage = api.chat(max_tokens=40, **more)["usage"]
        need(usage["completion_tokens"] == 40, f"{more}: {usage}")


@behaviour("chat: n 2 gives choices 0 and 1")
def _(api):
    need(indexes(api.chat(n=2, temperature=1.0, max_tokens=6)) == [0, 1], "other indexes")


@behaviour("chat: parts of text equal the plain string")
def _(api):
    parts = [{"type": "text", "text": "Write a short line about the sea."}]
    choice = api.say(messages=[{"role": "user", "content": parts}], max_tokens=24)
    need(choice["message"]["content"] == api.greedy(), "another answer")


@behaviour("chat: a system message counts")
def _(api):
    short = api.chat(max_tokens=1)["usage"]["prompt_tokens"]
    messages = [{"role": "system", "content": "Answer in rhyme, always, please."},
                {"role": "user", "content": "Write a short line about the sea."}]
    long = api.chat(messages=messages, max_tokens=1)["usage"]["prompt_tokens"]
    need(long > short, f"{long} tokens with it, {short} without")


@behaviour("chat: several turns")
def _(api):
    api.chat(messages=[{"role": "user", "content": "Hi"},
                       {"role": "assistant", "content": "Hello."},
                       {"role": "user", "content": "Bye"}])


@behaviour("chat: unknown fields and user are ignored")
def _(api):
    api.chat(user="u-1", shoal_unknown_field={"a": 1})


@behaviour("chat: no model means the served one")
def _(api):
    need(api.chat(model=...)["model"] == api.model, "another model")
    need(api.chat(model=None)["model"] == api.model, "another model")


@behaviour("chat: Unicode, as it is and escaped")
def _(api):
    api.chat("👩‍💻 日本語 \u00e9 e\u0301 \U0001f999", max_tokens=2)
    escaped = json.dumps(api.chat_request("\U0001f999 \u00e9")).encode()
    need(b"\\ud83e\\udd99" in escaped, "the test does not escape")
    need(api.ask("POST", CHAT, escaped).status == 200, "an escaped pair is refused")


@behaviour("chat: a lone surrogate or a NUL is no server error")
def _(api):
    for text in ("\ud83e alone", "nul \0 inside"):
        answer = api.ask("POST", CHAT, json.dumps(api.chat_request(text)).encode())
        need(answer.status in (200, 400, 422), f"{text!r}: {answer}")


@behaviour("chat: a stop string ends the text before it")
def _(api):
    text = api.greedy()
    stop = text[3:5]
    choice = api.say(max_tokens=24, stop=stop)
    need(choice["message"]["content"] == text[:text.index(stop)], f"{choice}")
    need(choice["finish_reason"] == "stop", f"{choice}")


@behaviour("chat: of several stop strings the earliest match counts")
def _(api):
    text = api.greedy()
    stops = ["\u2603never", text[6:9], text[2:4]]
    end = min(text.index(stop) for stop in stops[1:])
    need(api.say(max_tokens=24, stop=stops)["message"]["content"] == text[:end], "cut elsewhere")


@behaviour("chat: logprobs only when asked for")
def _(api):
    need(api.say().get("logprobs") is None, "logprobs without asking")


@behaviour("chat: logprobs spell the text; the greedy token is the best one")
def _(api):
    choice = api.say(logprobs=True, top_logprobs=3, max_tokens=8)
    spelled = b""
    for token in choice["logprobs"]["content"]:
        best = [top["logprob"] for top in token["top_logprobs"]]
        need(token["logprob"] <= 1e-6 and len(best) == 3, f"{token}")
        need(best == sorted(best, reverse=True), f"not sorted: {best}")
        need(abs(best[0] - token["logprob"]) < 1e-3, f"not the best: {token}")
        spelled += bytes(token["bytes"])
    text = choice["message"]["content"].encode()
    need(spelled.strip().startswith(text.strip()), f"{spelled!r} is not {text!r}")


@behaviour("chat: logit_bias -100 bans a token")
def _(api):
    first = api.say(max_tokens=1)["message"]["content"]
    ids = api.good(api.ask("POST", "/tokenize", {"content": first, "add_special": False}))["tokens"]
    need(len(ids) == 1, f"the first token {first!r} is {ids}")
    again = api.say(max_tokens=1, logit_bias={str(ids[0]): -100})["message"]["content"]
    need(again != first, "the banned token came")


@behaviour("chat: response_format text changes nothing")
def _(api):
    choice = api.say(max_tokens=24, response_format={"type": "text"})
    need(choice["message"]["content"] == api.greedy(), "another answer")


# ---- streams

@behaviour("stream: one id, the chunk object, the role first")
def _(api):
    stream = api.stream()
    need(len({d["id"] for d in stream.documents}) == 1, "several ids")
    need(all(d["object"] == "chat.completion.chunk" for d in stream.documents), "another object")
    need(stream.documents[0]["choices"][0]["delta"].get("role") == "assistant",
         f"{stream.documents[0]}")
    need(not [c for c in chunks(stream)[1:] if c["delta"].get("role")], "a second role")


@behaviour("stream: spells the whole answer")
def _(api):
    need(api.stream(max_tokens=24).text == api.greedy(), "another text")


@behaviour("stream: one finish_reason, at the end")
def _(api):
    reasons = [choice["finish_reason"] for choice in chunks(api.stream())]
    need(reasons[-1] in ("stop", "length") and not any(reasons[:-1]), f"{reasons}")


@behaviour("stream: usage in a last chunk without choices when asked for, else not")
def _(api):
    need(api.stream().usage is None, "usage without asking")
    stream = api.stream(stream_options={"include_usage": True})
    last = stream.documents[-1]
    need(last["choices"] == [] and last["usage"]["completion_tokens"] > 0, f"{last}")
    need(all(d["usage"] is None for d in stream.documents[:-1]), "usage before the end")
    need(last["usage"] == api.chat()["usage"], "other numbers than unstreamed")


@behaviour("stream: n 2 interleaves two choices")
def _(api):
    stream = api.stream(n=2, temperature=1.0, seed=5, max_tokens=8)
    need(set(stream.texts) == {0, 1} and len(stream.finishes) == 2, f"{stream.finishes}")


@behaviour("stream: event stream, ended by [DONE]")
def _(api):
    stream = api.stream()
    need(stream.answer.headers["content-type"].startswith("text/event-stream"),
         f"{stream.answer.headers}")
    need(stream.done, "no [DONE]")


@behaviour("stream: a stop string never shows")
def _(api):
    text = api.greedy()
    stop = text[4:8]
    stream = api.stream(max_tokens=24, stop=[stop])
    need(stream.text == text[:text.index(stop)], f"{stream.text!r}")
    need(stream.finishes[0] == "stop", f"{stream.finishes}")


@behaviour("stream: logprobs come with the pieces")
def _(api):
    stream = api.stream(logprobs=True, top_logprobs=2, max_tokens=6)
    count = sum(len(c["logprobs"]["content"]) for c in chunks(stream) if c.get("logprobs"))
    need(0 < count <= 6, f"{count} of 6 tokens")


@behaviour("stream: a client that leaves does not harm the next")
def _(api):
    stream = http_client.Stream(api.address, CHAT, api.chat_request(max_tokens=400), api.key)
    stream.read(2)
    stream.close()
    api.chat(max_tokens=2)


# ---- tools

def function(name, properties):
    return {"type": "function", "function": {"name": name, "parameters": {
        "type": "object", "properties": properties, "required": sorted(properties),
        "additionalProperties": False}}}


TOOLS = [function("set_lamp", {"on": {"type": "boolean"}}),
         function("set_volume", {"level": {"enum": [1, 2, 3]}})]


@behaviour("tools: no call when tool_choice is none")
def _(api):
    choice = api.say(tools=TOOLS, tool_choice="none")
    need("tool_calls" not in choice["message"], f"{choice}")
    need(choice["finish_reason"] in ("stop", "length"), f"{choice}")


@behaviour("tools: left to the model, an answer is content or calls")
def _(api):
    choice = api.say(tools=TOOLS)
    message = choice["message"]
    need(isinstance(message["content"], str) or message["tool_calls"], f"{choice}")


@behaviour("tools: the prompt holds them, and results of calls")
def _(api):
    def tokens(**more):
        return api.chat(max_tokens=1, **more)["usage"]["prompt_tokens"]
    call = {"id": "c1", "type": "function",
            "function": {"name": "set_lamp", "arguments": '{"on": true}'}}
    history = [{"role": "user", "content": "Lamp on."},
               {"role": "assistant", "content": None, "tool_calls": [call]},
               {"role": "tool", "tool_call_id": "c1", "content": "done"}]
    need(tokens(tools=TOOLS) > tokens(), "the prompt is not longer")
    need(tokens(messages=history) > tokens(messages=history[:1]), "the prompt is not longer")


def forced(name):
    return {"type": "function", "function": {"name": name}}


def check_call(call, names=("set_lamp", "set_volume")):
    """A call of one of the functions, with arguments that its schema accepts."""
    need(call["type"] == "function" and len(call["id"]) == 9, f"{call}")
    name, arguments = call["function"]["name"], json.loads(call["function"]["arguments"])
    need(name in names, f"{call}")
    if name == "set_lamp":
        need(set(arguments) == {"on"} and arguments["on"] in (True, False), f"{arguments}")
    else:
        need(set(arguments) == {"level"} and arguments["level"] in (1, 2, 3), f"{arguments}")


@behaviour("tools: a forced function is called once, whatever the model would say")
def _(api):
    for name in ("set_lamp", "set_volume"):
        choice = api.say(tools=TOOLS, tool_choice=forced(name), max_tokens=100, temperature=1.0)
        message = choice["message"]
        need(message["content"] is None and len(message["tool_calls"]) == 1, f"{choice}")
        check_call(message["tool_calls"][0], (name,))
        need(choice["finish_reason"] == "tool_calls", f"{choice}")


@behaviour("tools: required calls are of the functions there are; one, if not parallel")
def _(api):
    for parallel in (True, False):
        answer = api.chat(tools=TOOLS, tool_choice="required", parallel_tool_calls=parallel,
                          max_tokens=200, temperature=1.0, n=4)
        ids = set()
        for choice in answer["choices"]:
            calls = choice["message"]["tool_calls"]
            need(len(calls) == 1 or parallel, f"{choice}")
            for call in calls:
                check_call(call)
                ids.add(call["id"])
        need(len(ids) == sum(len(c["message"]["tool_calls"]) for c in answer["choices"]),
             f"an id twice: {answer}")


@behaviour("tools: a streamed call has its name first, then arguments in pieces")
def _(api):
    stream = api.stream(tools=TOOLS, tool_choice=forced("set_lamp"), max_tokens=100)
    deltas = [choice["delta"] for choice in chunks(stream)]
    need(deltas[0] == {"role": "assistant", "content": None}, f"{deltas[0]}")
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    need(all(call["index"] == 0 for call in calls) and len(calls) > 2, f"{calls}")
    first = dict(calls[0], function=dict(
        calls[0]["function"],
        arguments="".join(call["function"]["arguments"] for call in calls)))
    need(calls[0]["function"]["arguments"] == "", f"{calls[0]}")
    need(all(set(call) == {"index", "function"} for call in calls[1:]), f"{calls[1:]}")
    check_call(first, ("set_lamp",))
    need(chunks(stream)[-1]["finish_reason"] == "tool_calls", f"{chunks(stream)[-1]}")


@behaviour("tools: a schema that cannot be enforced, two forms at once")
def _(api):
    hard = function("f", {"x": {"type": "array", "uniqueItems": True}})
    error = api.refused(api.ask("POST", CHAT, api.chat_request(
        tools=[hard], tool_choice="required")))
    need("uniqueItems" in error["message"] and error["param"] == "tools", f"{error}")
    api.refused(api.ask("POST", CHAT, api.chat_request(
        tools=TOOLS, tool_choice="required", response_format={"type": "json_object"})))


@behaviour("tools: a function without a name, a choice that does not exist")
def _(api):
    for fields, name in (({"tools": [{"type": "function", "function": {}}]}, "name"),
                         ({"tools": TOOLS, "tool_choice": "perhaps"}, "tool_choice"),
                         ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {
                             "name": "no_such"}}}, "tool_choice"),
                         ({"tool_choice": "required"}, "tool_choice")):
        error = api.refused(api.ask("POST", CHAT, api.chat_request(**fields)))
        need(name in f"{error['param']} {error['message']}", f"{error}")


# ---- forms of answers

@behaviour("format: json_object is an object, json_schema what the schema says")
def _(api):
    choice = api.say(response_format={"type": "json_object"}, max_tokens=200)
    need(isinstance(json.loads(choice["message"]["content"]), dict), f"{choice}")
    schema = {"type": "object", "properties": {"n": {"enum": [1, 2]}}, "required": ["n"],
              "additionalProperties": False}
    wish = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema, "strict": True}}
    choice = api.say(response_format=wish, max_tokens=100)
    need(json.loads(choice["message"]["content"]) in ({"n": 1}, {"n": 2}), f"{choice}")
    need(choice["finish_reason"] == "stop", f"{choice}")


# ---- completions

@behaviour("completions: id, object, one choice, usage")
def _(api):
    answer = api.complete()
    usage = answer["usage"]
    need(answer["object"] == "text_completion" and answer["id"], f"{answer}")
    need(indexes(answer) == [0] and isinstance(answer["choices"][0]["text"], str), f"{answer}")
    need(answer["choices"][0]["finish_reason"] in ("stop", "length"), f"{answer}")
    need(usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"], f"{usage}")


@behaviour("completions: max_tokens is honoured; 16 by default")
def _(api):
    need(api.complete(max_tokens=2)["usage"]["completion_tokens"] <= 2, "more than 2")
    usage = api.complete("Once", max_tokens=..., ignore_eos=True)["usage"]
    need(usage["completion_tokens"] == 16, f"{usage}")


@behaviour("completions: several prompts, one choice each, in order")
def _(api):
    answer = api.complete(["The sea is", "One two three"], max_tokens=8)
    texts = {choice["index"]: choice["text"] for choice in answer["choices"]}
    need(sorted(texts) == [0, 1], f"{sorted(texts)}")
    for index, prompt in enumerate(("The sea is", "One two three")):
        alone = api.complete(prompt, max_tokens=8)["choices"][0]["text"]
        need(texts[index] == alone, f"{texts[index]!r}, alone {alone!r}")


@behaviour("completions: a prompt of ids is taken as it is")
def _(api):
    usage = api.complete([5, 6, 7, 8], max_tokens=1)["usage"]
    need(usage["prompt_tokens"] == 4, f"{usage}")
    lists = api.complete([[5, 6, 7, 8], [9, 10]], max_tokens=1)
    need(lists["usage"]["prompt_tokens"] == 6 and indexes(lists) == [0, 1], f"{lists}")


@behaviour("completions: the ids of /tokenize give the answer of the text")
def _(api):
    ids = api.good(api.ask("POST", "/tokenize", {"prompt": "The sea is"}))["tokens"]
    need(api.complete(ids)["choices"][0]["text"] == api.complete()["choices"][0]["text"],
         "another answer")


@behaviour("completions: echo repeats the prompt")
def _(api):
    text = api.complete(echo=True, max_tokens=4)["choices"][0]["text"]
    need(text.startswith("The sea is"), f"{text!r}")


@behaviour("completions: lists of logprobs are equally long; offsets fit the text")
def _(api):
    choice = api.complete(logprobs=2, max_tokens=5)["choices"][0]
    lists = [choice["logprobs"][name] for name in
             ("tokens", "token_logprobs", "top_logprobs", "text_offset")]
    need(len({len(one) for one in lists}) == 1 and lists[0], f"{choice['logprobs']}")
    need(lists[3] == sorted(lists[3]), f"offsets {lists[3]}")


@behaviour("completions: a stop string works")
def _(api):
    text = api.complete(max_tokens=24)["choices"][0]["text"]
    stop = text[3:5]
    cut = api.complete(max_tokens=24, stop=stop)["choices"][0]["text"]
    need(cut == text[:text.index(stop)], f"{cut!r}")


@behaviour("completions: a stream spells the whole answer")
def _(api):
    stream = api.stream(COMPLETIONS)
    need(stream.text == api.complete()["choices"][0]["text"], f"{stream.text!r}")
    need(all(d["object"] == "text_completion" for d in stream.documents), "another object")


@behaviour("completions: n and best_of")
def _(api):
    need(indexes(api.complete(n=2, temperature=1.0)) == [0, 1], "n 2")
    need(indexes(api.complete(best_of=3, temperature=1.0, seed=1)) == [0], "best_of 3")


@behaviour("tokenize and detokenize are each other's inverse")
def _(api):
    text = "The quick brown fox, 12 times."
    tokens = api.good(api.ask("POST", "/tokenize", {"content": text, "add_special": False}))
    need(tokens["count"] == len(tokens["tokens"]), f"{tokens}")
    back = api.good(api.ask("POST", "/detokenize", {"tokens": tokens["tokens"]}))
    need(back["content"] == text and back["prompt"] == text, f"{back}")


# ---- refusals

REFUSALS = [
    ("no messages", {"messages": ...}, "messages"),
    ("messages is a string", {"messages": "hello"}, "messages"),
    ("no message in messages", {"messages": []}, "messages"),
    ("a message without a role", {"messages": [{"content": "x"}]}, "role"),
    ("an unknown role", {"messages": [{"role": "narrator", "content": "x"}]}, "role"),
    ("temperature -1", {"temperature": -1}, "temperature"),
    ("temperature as a word", {"temperature": "hot"}, "temperature"),
    ("top_p 2", {"top_p": 2}, "top_p"),
    ("n 0", {"n": 0}, "n"),
    ("max_tokens -5", {"max_tokens": -5}, "max_tokens"),
    ("presence_penalty 9", {"presence_penalty": 9}, "presence_penalty"),
    ("top_logprobs without logprobs", {"top_logprobs": 2}, "top_logprobs"),
    ("top_logprobs 99", {"logprobs": True, "top_logprobs": 99}, "top_logprobs"),
    ("stream_options without stream", {"stream_options": {"include_usage": True}},
     "stream_options"),
    ("json_schema without a schema",
     {"response_format": {"type": "json_schema", "json_schema": {"name": "x"}}}, "schema"),
    ("an unknown response_format", {"response_format": {"type": "no-such-format"}},
     "response_format"),
]


@behaviour("error: wrong fields are refused by name")
def _(api):
    for label, fields, name in REFUSALS:
        error = api.refused(api.ask("POST", CHAT, api.chat_request(**fields)))
        need(name in f"{error['param']} {error['message']}", f"{label}: {error}")


@behaviour("error: an unknown model is a 404 model_not_found")
def _(api):
    for path, request in ((CHAT, api.chat_request(model="no-such-model")),
                          (COMPLETIONS, {"model": "no-such-model", "prompt": "x"})):
        error = api.refused(api.ask("POST", path, request), (404,))
        need(error["code"] == "model_not_found", f"{error}")


@behaviour("error: broken JSON, wrong UTF-8, deep nesting")
def _(api):
    for body in (b'{"model": "x", "messages": [', b'{"messages": "\xff\xfe"}', b"[" * 20000):
        api.refused(api.ask("POST", CHAT, body), (400, 413, 422))
    api.chat(max_tokens=1)


@behaviour("error: a prompt longer than the context is a 400 that says so")
def _(api):
    long = "sea and sky " * api.context
    error = api.refused(api.ask("POST", CHAT, api.chat_request(long)))
    need(error["code"] == "context_length_exceeded", f"{error}")


@behaviour("error: unknown path 404, wrong method 405")
def _(api):
    api.refused(api.ask("GET", "/no/such/path"), (404,))
    api.refused(api.ask("GET", CHAT), (405,))
    api.refused(api.ask("POST", "/v1/models", {}), (405,))


@behaviour("error: no key and a wrong key are 401")
def _(api):
    if api.key is None:
        return
    for key in (None, "wrong", api.key + "x", api.key[:-1]):
        api.refused(api.ask("GET", "/v1/models", key=key), (401,))
        api.refused(api.ask("POST", CHAT, api.chat_request(), key=key), (401,))


@behaviour("error: a body over the limit is a 413")
def _(api):
    if api.body_max:
        api.refused(api.ask("POST", CHAT, api.chat_request("x" * (api.body_max + 1000))), (413,))


# ---- many at once

@behaviour("load: four at once answer as one by one")
def _(api):
    prompts = ["The sea is", "One two three", "A door", "In the north"]

    def text(prompt):
        return api.complete(prompt, max_tokens=10)["choices"][0]["text"]
    one_by_one = [text(prompt) for prompt in prompts]
    need(serve_harness.together(text, prompts) == one_by_one, "other answers")


@behaviour("load: streams and whole answers side by side")
def _(api):
    def text(number):
        if number % 2:
            return api.stream(max_tokens=24).text
        return api.say(max_tokens=24)["message"]["content"]
    need(set(serve_harness.together(text, range(6))) == {api.greedy()}, "other answers")


def run_all(report, api, only):
    for name, work in BEHAVIOURS:
        if only in name:
            try:
                work(api)
                report.check(True, name)
            except Exception as error:  # whatever goes wrong is a behaviour that is not there
                report.check(False, f"{name}: {error!r}")


def check(shoal, scratch, options):
    report = harness.Report("api: what clients of OpenAI's interface rely on")
    only = harness.option(options, "--only", "")
    url = harness.option(options, "--url")
    if url:
        parts = urllib.parse.urlsplit(url)
        api = Api((parts.hostname, parts.port), harness.option(options, "--key"), 8192, 0)
        run_all(report, api, only)
        return report.exit_code()
    key_file = os.path.join(scratch, "key")
    with open(key_file, "w", encoding="utf-8") as f:
        f.write(KEY + "\n")
    words = ["--api-key-file", key_file, "--max-body", BODY_MAX]
    with serve_harness.Server(shoal, scratch, options=words, key=KEY) as server:
        run_all(report, Api(server.address, KEY, serve_harness.CONTEXT, BODY_MAX), only)
        serve_harness.pages_back(server, report, "after all")
        serve_harness.leave(server, report, "at the end")
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
