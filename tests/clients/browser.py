"""A headless Chromium, driven over a pair of pipes (the DevTools protocol), and its pictures.

Only what looking at one page takes: open, ask it for values, press keys, take a picture.
"""
import base64
import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import time
import zlib

import harness

PROGRAMS = ["chromium", "chromium-browser", "google-chrome"]


def find():
    """The path of a Chromium, or None."""
    return next((path for path in map(shutil.which, PROGRAMS) if path), None)


class Browser:
    """One page of one browser. Leave it with close()."""

    def __init__(self, program, scratch, width=1440, height=1000):
        command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run",
                   "--disable-dev-shm-usage", "--disable-background-networking",
                   "--hide-scrollbars", "--remote-debugging-pipe",
                   "--user-data-dir=" + os.path.join(scratch, "browser"), "about:blank"]
        # The browser reads from descriptor 3 and writes to 4; ours must be out of their way.
        (hears, says), (reads, writes) = self.pipe(), self.pipe()

        def take_places():
            os.dup2(hears, 3)
            os.dup2(writes, 4)

        self.process = subprocess.Popen(command, pass_fds=(3, 4), preexec_fn=take_places,
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL, start_new_session=True)
        os.close(hears)
        os.close(writes)
        self.says, self.hears = os.fdopen(says, "wb"), os.fdopen(reads, "rb")
        self.number, self.rest, self.session, self.problems = 0, b"", None, []
        try:
            target = self.ask("Target.createTarget", url="about:blank")["targetId"]
            self.session = self.ask("Target.attachToTarget", targetId=target,
                                    flatten=True)["sessionId"]
            self.ask("Page.enable")
            self.ask("Runtime.enable")
            self.resize(width, height)
        except (harness.Stop, OSError) as stop:
            self.close()
            raise harness.Stop(f"{program} does not work: {stop}")

    @staticmethod
    def pipe():
        ends = os.pipe()
        high = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10) for end in ends)
        for end in ends:
            os.close(end)
        return high

    def close(self):
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.says.close()
        self.hears.close()

    def read(self):
        """The next message; events that tell of errors in the page are kept."""
        while b"\0" not in self.rest:
            more = os.read(self.hears.fileno(), 1 << 20)
            if not more:
                raise harness.Stop("the browser has ended")
            self.rest += more
        text, self.rest = self.rest.split(b"\0", 1)
        message = json.loads(text)
        if message.get("method") == "Runtime.exceptionThrown":
            details = message["params"]["exceptionDetails"]
            self.problems.append(details.get("exception", {}).get("description", str(details)))
        return message

    def ask(self, method, **params):
        self.number += 1
        message = {"id": self.number, "method": method, "params": params}
        if self.session:
            message["sessionId"] = self.session
        self.says.write(json.dumps(message).encode() + b"\0")
        self.says.flush()
        while True:
            answer = self.read()
            if answer.get("id") == self.number:
                break
        if "error" in answer:
            raise harness.Stop(f"{method}: {answer['error']}")
        return answer["result"]

    def open(self, url):
        self.ask("Page.navigate", url=url)

    def value(self, expression):
        """What a JavaScript expression gives, as JSON can carry it."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in answer:
            raise harness.Stop(f"{expression}: {answer['exceptionDetails']['text']} "
                               f"{answer['result'].get('description', '')}")
        return answer["result"].get("value")

    def wait(self, expression, seconds=20):
        """Wait until the expression is true; says whether it came true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.value(f"Boolean({expression})"):
                return True
            time.sleep(0.05)
        return False

    def text(self, selector):
        return self.value(f"document.querySelector({json.dumps(selector)})?.textContent ?? ''")

    def write(self, selector, text):
        """Put text into a field as a user does, replacing what is there."""
        self.value(f"document.querySelector({json.dumps(selector)}).focus();"
                   f"document.querySelector({json.dumps(selector)}).select()")
        self.ask("Input.insertText", text=text)

    def press(self, key, code):
        """Press a key: ("Enter", 13), ("Tab", 9), ..."""
        text = "\r" if key == "Enter" else ""
        for kind in ("keyDown", "keyUp"):
            self.ask("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text,
                     windowsVirtualKeyCode=code)

    def click(self, selector):
        self.value(f"document.querySelector({json.dumps(selector)}).click()")

    def resize(self, width, height):
        self.ask("Emulation.setDeviceMetricsOverride", width=width, height=height,
                 deviceScaleFactor=1, mobile=False)

    def colours(self, scheme):
        """"light" or "dark"."""
        self.ask("Emulation.setEmulatedMedia",
                 features=[{"name": "prefers-color-scheme", "value": scheme}])

    def picture(self):
        """The whole page as the bytes of a PNG."""
        data = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        return base64.b64decode(data["data"])


def decode_png(data):
    """(width, height, rows of RGB or RGBA bytes, bytes per pixel) of an 8-bit PNG."""
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        raise harness.Stop("not a PNG")
    at, packed = 8, b""
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        elif kind == b"IDAT":
            packed += body
        at += size + 12
    if depth != 8 or colour not in (2, 6) or interlaced:
        raise harness.Stop(f"a PNG of depth {depth}, colour type {colour}")
    bpp = 3 if colour == 2 else 4
    raw, stride, rows, above = zlib.decompress(packed), width * bpp, [], bytes(width * bpp)
    for y in range(height):
        begin = y * (stride + 1)
        above = unfilter(raw[begin], bytearray(raw[begin + 1:begin + 1 + stride]), above, bpp)
        rows.append(above)
    return width, height, rows, bpp


def unfilter(kind, row, above, bpp):
    """One line of a PNG, with its filter undone."""
    if kind == 2:
        return bytes((a + b) & 255 for a, b in zip(row, above))
    for i in range(len(row) if kind else 0):
        left = row[i - bpp] if i >= bpp else 0
        corner = above[i - bpp] if i >= bpp else 0
        if kind == 1:
            guess = left
        elif kind == 3:
            guess = (left + above[i]) // 2
        else:
            estimate = left + above[i] - corner
            guess = min((left, above[i], corner), key=lambda v: abs(estimate - v))
        row[i] = (row[i] + guess) & 255
    return bytes(row)
