#!/usr/bin/env python3
"""Stream a chat from a running `shoal serve` twice, the second time killing a worker on the way.

Usage: demo_chat.py URL SHOAL

Uses the official openai client where it is installed, else curl. Exit status 1 when the two texts
differ, or the server has not noticed a loss.
"""
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request

QUESTION = "Paul hid the blue key in the glass house. Where is the key?"
REQUEST = {
    "messages": [{"role": "user", "content": QUESTION}],
    "max_tokens": 440,
    "temperature": 0,
    "stream": True,
}


def pieces_by_openai(url, openai):
    client = openai.OpenAI(base_url=url + "/v1", api_key="none")
    model = client.models.list().data[0].id
    stream = client.chat.completions.create(
        model=model, extra_body={"ignore_eos": True}, **REQUEST)
    for chunk in stream:
        if chunk.choices and chunk.choices[0].delta.content:
            yield chunk.choices[0].delta.content


def pieces_by_curl(url):
    body = json.dumps(dict(REQUEST, ignore_eos=True))
    with subprocess.Popen(["curl", "-sN", "-H", "Content-Type: application/json", "-d", body,
                           url + "/v1/chat/completions"], stdout=subprocess.PIPE) as curl:
        for line in curl.stdout:
            if not line.startswith(b"data: {"):
                continue
            delta = json.loads(line[6:])["choices"][0]["delta"]
            if delta.get("content"):
                yield delta["content"]


def pieces(url):
    try:
        import openai
    except ImportError:
        return pieces_by_curl(url)
    return pieces_by_openai(url, openai)


def workers(shoal):
    """Process ids of the workers, in the order in which they were started."""
    listed = subprocess.run(["pgrep", "-f", shoal + " worker "], stdout=subprocess.PIPE,
                            check=False).stdout.split()
    named = [(int(pid), open(f"/proc/{pid.decode()}/comm").read().strip()) for pid in listed]
    return [pid for pid, name in named if name == "shoal"]


def chat(url, victim=None):
    """(text, longest pause between two pieces in seconds); kills `victim` after the 8th piece."""
    text, longest, last = "", 0.0, time.monotonic()
    for count, piece in enumerate(pieces(url), 1):
        now = time.monotonic()
        if count > 1:
            longest = max(longest, now - last)
        last = now
        text += piece
        if count == 8 and victim:
            os.kill(victim, signal.SIGKILL)
    return text, longest


def losses(url):
    """Workers' generations that the server has lost so far."""
    with urllib.request.urlopen(url + "/metrics") as page:
        for line in page.read().decode().splitlines():
            if line.startswith("shoal_generation_losses_total "):
                return float(line.split()[1])
    return 0.0


def main():
    url, shoal = sys.argv[1:3]
    undisturbed, usual = chat(url)
    print(f"   question: {QUESTION}")
    print(f"   answer:   {undisturbed[:150]!r} ... ({len(undisturbed)} characters)")
    print(f"   longest pause of the undisturbed stream: {1e3 * usual:.0f} ms")
    victim = workers(shoal)[-1]
    disturbed, pause = chat(url, victim)
    print(f"   again, with kill -9 of worker process {victim} after the 8th piece:")
    print(f"   longest pause: {1e3 * pause:.0f} ms; text equal: {disturbed == undisturbed}")
    return 0 if disturbed == undisturbed and losses(url) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
