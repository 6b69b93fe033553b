"""An HTTP/1.1 client that hides nothing: raw bytes out, every answer and every event in.

Connection sends whatever bytes it is given, sound or not. Stream reads an SSE answer event by event
and keeps what a careful client would: texts by choice, finish reasons, usage, errors, times.
Whatever is not HTTP, or not in time, is Broken.
"""
import json
import select
import socket
import struct
import time

PATIENCE = 30.0


class Broken(Exception):
    """The other side left, fell silent, or said what HTTP does not allow."""


class Answer:
    def __init__(self, status, headers, body=b""):
        self.status, self.headers, self.body = status, headers, body

    def json(self):
        try:
            return json.loads(self.body)
        except ValueError as error:
            raise Broken(f"status {self.status}, no JSON: {self.body[:200]!r}") from error

    def error(self):
        """The error object; empty when the answer holds none."""
        try:
            found = json.loads(self.body).get("error")
        except (ValueError, AttributeError):
            return {}
        return found if isinstance(found, dict) else {}

    def __str__(self):
        return f"{self.status} {self.body[:300].decode(errors='replace')}"


def encode(method, path, document=None, headers=(), key=None):
    """The bytes of a sound request; `document` is bytes as they are, or a JSON value."""
    lines = [f"{method} {path} HTTP/1.1", "Host: localhost"]
    body = b""
    if document is not None:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


class Connection:
    def __init__(self, address, patience=PATIENCE, receive_buffer=None):
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(patience)
        self.patience, self.buffer, self.ended = patience, b"", False
        try:
            self.socket.connect(address)
        except OSError as error:
            self.socket.close()
            raise Broken(f"connect: {error}") from error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def send(self, data):
        try:
            self.socket.sendall(data)
        except OSError as error:
            raise Broken(f"send: {error}") from error

    def close(self):
        self.socket.close()

    def reset(self):
        """Close with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def fill(self):
        """Read more; False at the end of what the other side sends."""
        try:
            data = self.socket.recv(65536)
        except socket.timeout as error:
            raise Broken(f"nothing for {self.patience:g} s") from error
        except OSError as error:
            raise Broken(f"receive: {error}") from error
        self.buffer += data
        self.ended = not data
        return bool(data)

    def until(self, mark):
        while mark not in self.buffer:
            if not self.fill():
                raise Broken(f"closed after {self.buffer[:200]!r}")
        found, _, self.buffer = self.buffer.partition(mark)
        return found

    def exactly(self, count):
        while len(self.buffer) < count:
            if not self.fill():
                raise Broken(f"closed {count - len(self.buffer)} bytes before the end of a body")
        found, self.buffer = self.buffer[:count], self.buffer[count:]
        return found

    def head(self):
        """An answer without its body."""
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        words = lines[0].split(" ", 2)
        if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdigit():
            raise Broken(f"no status line: {lines[0][:100]!r}")
        headers = {}
        for line in lines[1:]:
            name, colon, value = line.partition(":")
            if not colon:
                raise Broken(f"no header: {line[:100]!r}")
            headers[name.lower()] = value.strip()
        return Answer(int(words[1]), headers)

    def pieces(self, headers):
        """The body, as it comes."""
        if headers.get("transfer-encoding") == "chunked":
            while True:
                size = int(self.until(b"\r\n"), 16)
                piece = self.exactly(size)
                if self.exactly(2) != b"\r\n":
                    raise Broken("a chunk without its end")
                if not size:
                    return
                yield piece
        elif "content-length" in headers:
            yield self.exactly(int(headers["content-length"]))
        else:
            while self.fill():
                pass
            yield self.buffer

    def answer(self, has_body=True):
        answer = self.head()
        if has_body and answer.status >= 200 and answer.status != 204:
            answer.body = b"".join(self.pieces(answer.headers))
        return answer

    def answers(self):
        """All answers up to the close by the other side; a reset counts as a close."""
        found = []
        while True:
            try:
                if not self.buffer and not self.fill():
                    return found
            except Broken as broken:
                if "receive" in str(broken):
                    return found
                raise
            found.append(self.answer())

    def silent(self, seconds):
        """True if nothing comes, not even a close, for so long."""
        if self.buffer:
            return False
        return not select.select([self.socket], [], [], seconds)[0]


def ask(address, method, path, document=None, headers=(), key=None, patience=PATIENCE):
    """One request on a connection of its own. Its answer counts even if it came too early."""
    with Connection(address, patience) as connection:
        try:
            connection.send(encode(method, path, document, headers, key))
        except Broken as broken:
            if "send" not in str(broken):
                raise
        return connection.answer(has_body=method != "HEAD")


class Stream:
    """A request with "stream": true, and what has come of its answer so far."""

    def __init__(self, address, path, document, key=None, patience=PATIENCE, **socket_options):
        self.connection = Connection(address, patience, **socket_options)
        self.connection.send(encode("POST", path, dict(document, stream=True), key=key))
        self.texts, self.finishes, self.usage, self.error = {}, {}, None, None
        self.documents, self.times, self.done = [], [], False
        self.answer, self.body, self.rest = None, None, b""

    def begin(self):
        """Read the head; an answer that is no stream is read completely."""
        self.answer = self.connection.head()
        self.body = self.connection.pieces(self.answer.headers)
        if not self.answer.headers.get("content-type", "").startswith("text/event-stream"):
            self.answer.body = b"".join(self.body)
            self.error = self.answer.error() or {"message": str(self.answer)}
            self.body = iter(())
        return self.answer

    def block(self):
        """The next lines up to an empty one; None at the end."""
        while b"\n\n" not in self.rest:
            piece = next(self.body, None)
            if piece is None:
                return None
            self.rest += piece
        lines, _, self.rest = self.rest.partition(b"\n\n")
        return lines.split(b"\n")

    def take(self, data):
        if data == b"[DONE]":
            self.done = True
            return
        if self.done:
            raise Broken("an event after [DONE]")
        document = json.loads(data)
        self.times.append(time.monotonic())
        self.documents.append(document)
        self.error = document.get("error", self.error)
        self.usage = document.get("usage") or self.usage
        for choice in document.get("choices", ()):
            index = choice["index"]
            piece = choice["text"] if "text" in choice else choice["delta"].get("content")
            self.texts[index] = self.texts.get(index, "") + (piece or "")
            if choice.get("finish_reason"):
                if index in self.finishes:
                    raise Broken(f"choice {index} finished twice")
                self.finishes[index] = choice["finish_reason"]

    def read(self, count=None):
        """Read up to `count` more events, or all. Returns self."""
        if self.answer is None:
            self.begin()
        wanted = None if count is None else len(self.documents) + count
        while wanted is None or len(self.documents) < wanted:
            lines = self.block()
            if lines is None:
                break
            for line in lines:
                if line.startswith(b"data: "):
                    self.take(line[6:])
                elif not line.startswith(b":"):
                    raise Broken(f"a line that is no event: {line[:100]!r}")
        return self

    @property
    def text(self):
        return self.texts.get(0, "")

    def whole(self):
        """Ended as a stream should: all choices finished, no error, [DONE]."""
        return (self.done and self.error is None and self.texts
                and set(self.finishes) == set(self.texts))

    def close(self):
        self.connection.close()
