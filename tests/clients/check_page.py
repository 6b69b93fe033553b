#!/usr/bin/env python3
"""The page of shoal serve in a real browser: what it shows of the cluster, and its chat.

    check_page.py SHOAL_BINARY [--url http://HOST:PORT] [--pictures FOLDER]

Without --url the page file is served by a stand-in written here, whose cluster has known numbers,
loses a worker when told to, and answers with markup that must stay text. With --url a running
server is looked at: its page must show what its /metrics say, and its chat must answer.
--pictures keeps the pictures that were judged. Skipped where no Chromium is installed.
"""
import http.server
import json
import os
import sys
import threading
import time
import urllib.request

import browser
import harness

PAGE = os.path.join(harness.ROOT, "coordinator", "serve", "page.html")
EVIL = "<img src=x onerror='window.owned=1'>"
KEY = "sesame"
TOKENS_PER_SECOND = 50
# One observation in (0.02, 0.04] and none elsewhere: the median is 0.03 s, straight in the bucket.
BOUNDS = ["0.01", "0.02", "0.04", "0.08", "+Inf"]


class Cluster:
    """What the stand-in says of itself; the checks turn these knobs."""

    RANKS = [  # host, level, q heads, kv heads, units, vocab, seconds (compute, reduce, wait)
        ("node-a", "avx512vnni", "0-11", "0-1", "0-38", "0-197", (80.0, 12.0, 8.0)),
        ("node-b<b>", "avx512vnni", "12-21", "1-3", "39-77", "198-395", (70.0, 12.0, 18.0)),
        ("node-c", "avx2", "22-27", "3-3", "78-115", "396-593", (90.0, 10.0, 0.0)),
    ]

    def __init__(self):
        self.began = time.monotonic()
        self.state, self.generation, self.dead = "serving", 2, None
        self.key, self.refusal, self.silent = None, None, threading.Event()
        self.requests, self.left = [], threading.Event()

    def metrics(self):
        seconds = time.monotonic() - self.began
        lines = [f'shoal_state{{state="{s}"}} {int(s == self.state)}'
                 for s in ("loading", "serving", "recovering", "draining", "failed")]
        count = int(10 * seconds) + 1
        for name, value in {
                "generation": self.generation, "uptime_seconds": seconds + 7384,
                "http_connections": 5, "requests_in_flight": 3,
                "load_fraction": 0.4 if self.state == "recovering" else 1,
                "num_requests_running": 3 + int(seconds) % 3, "num_requests_waiting": 1,
                "kv_cache_usage_perc": 0.42, "num_preemptions_total": 0,
                "prefix_cache_queries_total": 1000, "prefix_cache_hits_total": 640,
                "prompt_tokens_total": 20 * seconds,
                "generation_tokens_total": TOKENS_PER_SECOND * seconds}.items():
            lines.append(f"shoal_{name} {value}")
        for name in ("time_to_first_token", "inter_token_latency", "step"):
            for i, le in enumerate(BOUNDS):
                lines.append(f'shoal_{name}_seconds_bucket{{le="{le}"}} {count if i >= 2 else 0}')
        for rank, (host, level, q, kv, units, vocab, times) in enumerate(self.RANKS):
            lines.append(f'shoal_rank_info{{rank="{rank}",host="{host}",level="{level}",'
                         f'q_heads="{q}",kv_heads="{kv}",units="{units}",vocab="{vocab}"}} 1')
            values = {"rank_up": int(rank != self.dead), "rank_skew_seconds": times[2] / 1000,
                      "weights_resident_bytes": 13.1e9 + 2e8 * rank,
                      "weights_planned_resident_bytes": 13.1e9 + 2e8 * rank,
                      "weights_read_bytes_total": 12.4e9}
            for part, share in zip(("compute", "reduce", "wait"), times):
                values[f"rank_{part}_seconds_total"] = share / 100 * seconds + share
            lines += [f'shoal_{name}{{rank="{rank}"}} {value}' for name, value in values.items()]
        return "\n".join(lines) + "\n"


class Handler(http.server.BaseHTTPRequestHandler):
    """The stand-in's HTTP; self.server.cluster is what it speaks for."""

    def log_message(self, format, *args):
        pass

    def reply(self, status, kind, body, headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        for header in headers:
            self.send_header(*header)
        self.end_headers()
        self.wfile.write(body.encode())

    def allowed(self):
        key = self.server.cluster.key
        if key is None or self.headers.get("Authorization") == "Bearer " + key:
            return True
        self.reply(401, "application/json", json.dumps({"error": {"message": "no key"}}))
        return False

    def do_GET(self):
        if self.path == "/":
            with open(PAGE, encoding="utf-8") as page:
                self.reply(200, "text/html; charset=utf-8", page.read())
        elif not self.allowed():
            pass
        elif self.path == "/metrics":
            self.reply(200, "text/plain", self.server.cluster.metrics())
        elif self.path == "/v1/models":
            self.reply(200, "application/json", json.dumps(
                {"data": [{"id": "Qwen2.5-32B" + EVIL, "max_model_len": 4096}]}))
        else:
            self.reply(404, "text/plain", "")

    def event(self, delta, **more):
        chunk = {"choices": [{"index": 0, "delta": delta}], **more}
        self.wfile.write(f"data: {json.dumps(chunk)}\n\n".encode())
        self.wfile.flush()

    def do_POST(self):
        cluster = self.server.cluster
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if not self.allowed():
            return
        cluster.requests.append(body)
        if cluster.refusal:
            self.reply(503, "application/json", json.dumps({"error": {"message": cluster.refusal}}),
                       [("Retry-After", "3")])
            return
        self.reply(200, "text/event-stream", ": ping\n\n")
        try:
            self.answer(body["messages"][-1]["content"], cluster)
        except OSError:
            cluster.left.set()

    def answer(self, said, cluster):
        self.event({"role": "assistant", "content": ""})
        words = [EVIL, " and", " five", " words", " more"]
        if said == "for ever":
            words = ["on "] * 2000
        for i, word in enumerate(words):
            if said == "lose a worker" and i == 2:
                cluster.silent.wait(30)
            self.event({"content": word})
            time.sleep(0.05)
        usage = {"completion_tokens": len(words)}
        self.wfile.write(f'data: {{"choices": [], "usage": {json.dumps(usage)}}}\n\n'.encode())
        self.wfile.write(b"data: [DONE]\n\n")


def serve(cluster):
    """The stand-in on a free port of this machine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.cluster = cluster
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}"


def infos(url):
    """The labels of each shoal_rank_info of a server's metrics."""
    with urllib.request.urlopen(url + "/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    found = []
    for line in lines:
        if line.startswith("shoal_rank_info{"):
            pairs = [p.partition("=") for p in line[16:line.rindex("}")].split(",")]
            found.append({name: value.strip('"') for name, _, value in pairs})
    return found


class Page:
    def __init__(self, report, tab, url, pictures):
        self.report, self.tab, self.url, self.pictures = report, tab, url, pictures

    def check(self, good, sentence):
        return self.report.check(good, sentence)

    def expect(self, selector, words):
        """The text of an element is, or soon becomes, one that holds the words."""
        found = self.tab.wait(f"(document.querySelector({json.dumps(selector)})?.textContent ?? '')"
                              f".includes({json.dumps(words)})")
        self.check(found, f"{selector} says {self.tab.text(selector)!r}, expected {words!r}")

    def say(self, text):
        self.tab.write("#prompt", text)
        self.tab.press("Enter", 13)

    def idle(self):
        self.check(self.tab.wait("!document.querySelector('#send').disabled", 60),
                   "the chat does not come to rest")

    def cards(self):
        """Each rank has a card, and each bar covers its share of the whole."""
        ranks = infos(self.url)
        self.check(self.tab.wait(f"document.querySelectorAll('.rank').length === {len(ranks)}"),
                   f"{len(ranks)} ranks, but not as many cards")
        shown = self.tab.value("""[...document.querySelectorAll('.rank')].map(card => ({
            text: card.textContent, bars: [...card.querySelectorAll('.track')].map(track => {
                const bar = track.firstChild.getBoundingClientRect();
                const whole = track.getBoundingClientRect();
                return [(bar.left - whole.left) / whole.width, bar.width / whole.width];
            }), parts: [...card.querySelectorAll('.split-words span')].map(s => s.textContent)
        }))""")
        for kind, name in enumerate(("q_heads", "kv_heads", "units", "vocab")):
            ranges = [tuple(map(int, r[name].split("-"))) for r in ranks if r[name] != "none"]
            whole = max((end for _, end in ranges), default=0) + 1
            for rank, card in zip(ranks, shown):
                if rank[name] == "none":
                    continue
                begin, end = map(int, rank[name].split("-"))
                left, width = card["bars"][kind]
                self.check(abs(left - begin / whole) < 0.02 and
                           abs(width - (end + 1 - begin) / whole) < 0.02,
                           f"rank {rank['rank']} {name}: bar at {left:.3f}, {width:.3f} wide")
        for rank, card in zip(ranks, shown):
            for word in (rank["host"], rank["level"]):
                self.check(word in card["text"], f"rank {rank['rank']}: no {word!r} in its card")
            self.check([p.split()[0] for p in card["parts"]] == ["compute", "reduce", "wait"],
                       f"rank {rank['rank']}: {card['parts']}")

    def charts(self):
        self.check(self.tab.wait("document.querySelectorAll('.plot path[data-points]').length > 2"),
                   "no lines are drawn")
        count = self.tab.value("document.querySelectorAll('.chart').length")
        self.check(count == 6, f"{count} charts")
        self.check(self.tab.wait(
            "Math.max(...[...document.querySelectorAll('.plot path[data-points]')]"
            ".map(p => Number(p.dataset.points))) >= 4"), "the lines do not grow")
        labels = self.tab.value("[...document.querySelectorAll('.plot svg')]"
                                ".map(s => s.getAttribute('aria-label') ?? '')")
        for label in labels:
            self.check("now: " in label, f"a chart is labelled {label!r}")
        self.tab.value("document.querySelector('.plot svg').focus()")
        self.tab.press("ArrowLeft", 37)
        self.expect(".axis", "s ago")
        self.tab.value("document.activeElement.blur()")
        self.expect(".axis", "now")

    def looks(self):
        """Pictures in light, dark and narrow: something is there, and it fits."""
        bright = {}
        for name, scheme, width in (("light", "light", 1440), ("dark", "dark", 1440),
                                    ("narrow", "light", 390)):
            self.tab.colours(scheme)
            self.tab.resize(width, 1000)
            time.sleep(0.3)
            data = self.tab.picture()
            if self.pictures:
                os.makedirs(self.pictures, exist_ok=True)
                with open(os.path.join(self.pictures, f"page-{name}.png"), "wb") as f:
                    f.write(data)
            shown_width, height, rows, bpp = browser.decode_png(data)
            pixels = [row[x:x + 3] for row in rows[::7] for x in range(0, len(row), 7 * bpp)]
            bright[name] = sum(map(sum, pixels)) / len(pixels) / 765
            self.check(shown_width == width and height >= 500, f"{name}: {shown_width} x {height}")
            self.check(len(set(pixels)) > 20, f"{name}: {len(set(pixels))} colours")
            overflow = self.tab.value("document.documentElement.scrollWidth - innerWidth")
            self.check(overflow <= 0, f"{name}: {overflow} pixels wider than the window")
        self.check(bright["light"] > 0.8 and bright["dark"] < 0.3, f"brightness {bright}")
        self.tab.colours("light")
        self.tab.resize(1440, 1000)

    def problems(self):
        self.check(not self.tab.problems, f"errors in the page: {self.tab.problems[:3]}")
        self.check(self.tab.value("window.owned === undefined"), "text from outside was executed")
        self.check(self.tab.value("document.querySelectorAll('img, b b, iframe').length === 0"),
                   "text from outside became elements")


def real_server(page):
    """What can be said of any server that serves."""
    page.tab.open(page.url)
    page.expect("#state", "Serving")
    page.cards()
    page.say("Hello")
    page.idle()
    page.check(page.tab.wait("/[0-9]+ tokens/.test(document.querySelector('#log').textContent)"),
               f"no answer: {page.tab.text('#log')}")
    page.charts()
    page.looks()
    page.problems()


def shown_numbers(page):
    """The stand-in's numbers, where they are known exactly."""
    page.expect("#model", "Qwen2.5-32B" + EVIL)
    page.expect("#facts", "64 %")
    page.expect(".chart:nth-child(3) b", "42 %")
    for chart in (4, 5, 6):
        page.expect(f".chart:nth-child({chart}) b", "30 ms")
    page.check(page.tab.wait("Math.abs(parseFloat(document.querySelector('.chart b').textContent)"
                             f" - {TOKENS_PER_SECOND}) < 5"),
               f"{page.tab.text('.chart b')} tokens per second")
    parts = page.tab.value("[...document.querySelectorAll('.rank:first-child .split-words span')]"
                           ".map(s => s.textContent)")
    page.check(parts == ["compute 80 %", "reduce 12 %", "wait 8 %"], str(parts))
    page.expect(".rank:last-child", "the others wait for")


def chat(page, cluster):
    page.tab.write("#temperature", "0")
    page.tab.write("#max-tokens", "77")
    page.say("hello")
    page.idle()
    page.expect(".turn:last-child .said", EVIL + " and five words more")
    page.expect(".turn:last-child", "5 tokens, first after")
    page.expect("#chat-news", "Answer complete, 5 tokens.")
    sent = cluster.requests[-1]
    page.check(sent["messages"] == [{"role": "user", "content": "hello"}] and sent["stream"] and
               sent["temperature"] == 0 and sent["max_tokens"] == 77, f"sent {sent}")

    page.say("for ever")
    page.expect(".turn:last-child .said", "on on on")
    page.tab.click("#stop")
    page.idle()
    page.expect(".turn:last-child", "Stopped.")
    page.check(cluster.left.wait(10), "Stop leaves the connection open")
    said = [m["role"] for m in cluster.requests[-1]["messages"]]
    page.check(said == ["user", "assistant", "user"], f"the conversation sent is {said}")


def recovery(page, cluster):
    """A worker is lost while an answer is under way."""
    page.say("lose a worker")
    page.expect(".turn:last-child .said", " and")
    cluster.state, cluster.generation, cluster.dead = "recovering", 3, 1
    page.expect("#state", "Recovering: generation 3")
    page.expect(".rank.down", "node-b<b>")
    page.expect(".turn:last-child .note", "while the cluster recovers")
    page.check(page.tab.value("!document.querySelector('#loaded').hidden"), "no loading bar")
    cluster.state, cluster.dead = "serving", None
    cluster.silent.set()
    page.idle()
    page.expect(".turn:last-child .said", "five words more")
    page.expect(".turn:last-child .note", "in generation 3")
    page.expect("#state", "Serving")
    page.check(page.tab.value("document.querySelectorAll('.plot rect').length >= 6"),
               "the charts do not mark the recovery")


def refusals(page, cluster):
    cluster.refusal = "The cluster is recovering."
    page.say("now?")
    page.idle()
    page.expect(".turn:last-child .wrong", "The cluster is recovering. Try again in 3 s.")
    cluster.refusal = None
    cluster.key = KEY
    page.expect("#state", "Key needed")
    page.check(page.tab.value("document.querySelector('#key-box').open"), "no field for the key")
    page.tab.write("#key", KEY)
    page.tab.press("Tab", 9)
    page.expect("#state", "Serving")
    page.tab.click("#clear")
    page.say("again")
    page.idle()
    page.expect(".turn:last-child .said", "five words more")


def check(_shoal, scratch, options):
    def option(name):
        return options[options.index(name) + 1] if name in options[:-1] else None

    report = harness.Report("the page of shoal serve, in a browser")
    program = browser.find()
    if program is None:
        report.skip("no Chromium is installed")
        return report.exit_code()
    tab = report.guarded("browser", browser.Browser, program, scratch)
    if tab is None:
        return report.exit_code()
    cluster = Cluster()
    server, url = serve(cluster)
    try:
        page = Page(report, tab, (option("--url") or url).rstrip("/"), option("--pictures"))
        if option("--url"):
            report.guarded("real server", real_server, page)
            return report.exit_code()
        tab.open(page.url)
        page.expect("#state", "Serving")
        for work in (page.cards, page.charts):
            report.guarded(work.__name__, work)
        report.guarded("numbers", shown_numbers, page)
        for work in (chat, recovery):
            report.guarded(work.__name__, work, page, cluster)
        report.guarded("looks", page.looks)
        report.guarded("refusals", refusals, page, cluster)
        server.shutdown()
        server.server_close()
        page.expect("#state", "No answer")
        report.guarded("problems", page.problems)
    finally:
        tab.close()
    return report.exit_code()


if __name__ == "__main__":
    sys.exit(harness.main(check))
