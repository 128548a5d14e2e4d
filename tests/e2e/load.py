"""Load whose every request is accounted for, and the backends it goes to.

For volume there is wrk; here it matters that not one request fails, so each client checks the whole
response and keeps the reason of every failure. Threads, since the bytes are few.
"""

import base64
import hashlib
import os
import socket
import struct
import threading
import time
import zlib

from client import reset
from harness import LOOPBACK, PATIENCE, Failed, slack

WEBSOCKET_GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Wire:
    """A socket read by lines and by counts."""

    def __init__(self, connection):
        self.socket = connection
        self.buffer = b""

    def more(self):
        part = self.socket.recv(65536)
        self.buffer += part
        return len(part)

    def until(self, mark):
        """Up to and with `mark`."""
        while mark not in self.buffer:
            if not self.more():
                raise ConnectionError("ended within a message")
        line, self.buffer = self.buffer.split(mark, 1)
        return line + mark

    def exactly(self, size):
        while len(self.buffer) < size:
            if not self.more():
                raise ConnectionError("ended within a message")
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def each(self, size, take):
        """Gives `size` bytes to `take`, piece by piece."""
        while size:
            if not self.buffer and not self.more():
                raise ConnectionError("ended within a message")
            piece, self.buffer = self.buffer[:size], self.buffer[size:]
            take(piece)
            size -= len(piece)

    def head(self):
        """(first line, {lower-case name: value}) or None at the end."""
        if not self.buffer and not self.more():
            return None
        lines = self.until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        fields = dict(line.split(": ", 1) for line in lines[1:] if line)
        return lines[0], {name.lower(): value for name, value in fields.items()}


class Backend:
    """An origin that answers by path, for any number of clients.

    /NAME            its own name
    /bytes/N         N bytes that depend on their place
    /slow/MS         its name after that time
    /trickle/N/MS    N bytes, one each MS
    /hang            nothing
    /cut             half of what it promises, then RST
    /flood           interim responses without end
    /ws              a WebSocket that echoes
    /sum, /wait      the count and CRC of the body; the latter reads it once may_read is set
    """

    def __init__(self, name="origin", port=0):
        self.name = name
        self.requests = 0
        self.sent = 0         # bytes of content, of /bytes
        self.read = 0         # bytes of content
        self.may_read = threading.Event()  # a POST to /wait is read once this is set
        self.lock = threading.Lock()
        self.open = set()
        self.listener = socket.create_server((LOOPBACK, port), backlog=1024, reuse_port=False)
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.open.add(accepted)
            threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted):
        wire = Wire(accepted)
        try:
            while head := wire.head():
                with self.lock:
                    self.requests += 1
                self._answer(wire, *head)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                self.open.discard(accepted)
            accepted.close()

    def _answer(self, wire, line, fields):
        _, target, _ = line.split(" ")
        path = target.split("?")[0].strip("/").split("/")
        send = wire.socket.sendall
        if path[0] == "wait":
            self.may_read.wait(PATIENCE)
        count, check = self._content(wire, fields)
        if path[0] == "bytes":
            self._bytes(send, int(path[1]))
        elif path[0] == "slow":
            time.sleep(int(path[1]) / 1000)
            self._text(send, self.name)
        elif path[0] == "trickle":
            send(f"HTTP/1.1 200 OK\r\nContent-Length: {path[1]}\r\n\r\n".encode())
            for _ in range(int(path[1])):
                time.sleep(int(path[2]) / 1000)
                send(b"t")
        elif path[0] == "hang":
            while wire.more():
                pass
        elif path[0] == "cut":
            send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nhalf")
            reset(wire.socket)
            raise ConnectionError("cut")
        elif path[0] == "flood":
            while True:
                send(b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * 1000)
        elif path[0] == "ws":
            echo_frames(wire, fields)
        elif path[0] in ("sum", "wait"):
            self._text(send, f"{count} {check}")
        else:
            self._text(send, self.name)

    def _content(self, wire, fields):
        check = 0

        def take(piece):
            nonlocal check
            check = zlib.crc32(piece, check)
            self.read += len(piece)
        count = 0
        if fields.get("transfer-encoding") == "chunked":
            while size := int(wire.until(b"\r\n"), 16):
                wire.each(size, take)
                wire.until(b"\r\n")
                count += size
            while wire.until(b"\r\n") != b"\r\n":
                pass
        else:
            count = int(fields.get("content-length", 0))
            wire.each(count, take)
        return count, check

    def _text(self, send, text):
        send(f"HTTP/1.1 200 OK\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())

    def _bytes(self, send, size):
        send(f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode())
        for at in range(0, size, PATTERN):
            piece = pattern(at, min(PATTERN, size - at))
            send(piece)
            self.sent += len(piece)

    def kill(self):
        """As a process that is killed: the port is closed, every connection ends at once."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()
        with self.lock:
            still_open = list(self.open)
        for accepted in still_open:
            try:
                accepted.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    stop = kill


PATTERN = 65536  # bytes in one piece of the pattern
_BASE = bytes(range(251)) * (PATTERN // 251 + 1)


def pattern(at, size):
    """Bytes that tell their place, so that a lost or doubled piece is noticed; `at` a multiple of PATTERN."""
    return struct.pack(">Q", at)[:size] + _BASE[:max(0, size - 8)]


def check_pattern(size):
    """A function that is given the pieces of a pattern of `size` bytes and complains of the first wrong one."""
    state = {"at": 0, "rest": b""}

    def take(piece):
        data = state["rest"] + piece
        while len(data) >= PATTERN or (data and state["at"] + len(data) == size):
            part, data = data[:PATTERN], data[PATTERN:]
            if part != pattern(state["at"], len(part)):
                raise Failed(f"wrong bytes in the block at {state['at']}")
            state["at"] += len(part)
        state["rest"] = data
    return take


class Load:
    """Clients that send requests one after the other until stop(); counts, and keeps every failure.

    `make(number)` gives (host, target, expected body or None); a client's connection is used until the
    proxy says Connection: close. `keep` false: a connection for each request. `connect(address,
    seconds)` makes them.
    """

    def __init__(self, address, clients, make, keep=True, refused_is_fine=lambda: False,
                 connect=socket.create_connection):
        self.address, self.make, self.keep = address, make, keep
        self.refused_is_fine = refused_is_fine
        self.connect = connect
        self.passed = 0
        self.failures = []
        self.slowest = 0.0
        self.lock = threading.Lock()
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._client, daemon=True) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stopping.set()

    def _client(self):
        wire, number = None, 0
        while not self.stopping.is_set():
            number += 1
            host, target, expected = self.make(number)
            began = time.monotonic()
            try:
                if wire is None:
                    wire = Wire(self.connect(self.address, PATIENCE))
            except ConnectionRefusedError as refused:
                if self.refused_is_fine():
                    return
                self._note(f"{host}{target}: {refused}")
                return
            try:
                keep = self._request(wire, host, target, expected)
            except (OSError, ValueError, Failed) as failure:
                self._note(f"{host}{target}, request {number} of its client: {failure!r}")
                keep = False
            else:
                with self.lock:
                    self.passed += 1
                    self.slowest = max(self.slowest, time.monotonic() - began)
            if not keep:
                wire.socket.close()
                wire = None

    def _request(self, wire, host, target, expected):
        closing = "" if self.keep else "Connection: close\r\n"
        wire.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n{closing}\r\n".encode())
        head = wire.head()
        if head is None:
            raise Failed("closed without an answer")
        line, fields = head
        body = wire.exactly(int(fields["content-length"]))
        if not line.startswith("HTTP/1.1 200 "):
            raise Failed(line)
        if expected is not None and body.decode() not in expected:
            raise Failed(f"{body!r} instead of {expected}")
        return "close" not in fields.get("connection", "").lower()

    def _note(self, text):
        with self.lock:
            self.failures.append(text)

    def wait_passed(self, count):
        """Until `count` further requests have passed."""
        goal = self.passed + count
        deadline = time.monotonic() + PATIENCE
        while self.passed < goal and time.monotonic() < deadline and not self.failures:
            time.sleep(0.005)
        self.check()
        if self.passed < goal:
            raise Failed(f"{goal - self.passed} of {count} requests are still missing after {PATIENCE} s")

    def check(self):
        if self.failures:
            raise Failed(f"{len(self.failures)} of {self.passed + len(self.failures)} requests failed:\n      "
                         + "\n      ".join(self.failures[:10]))

    def stop(self):
        """Ends it and holds it to zero failures."""
        self.stopping.set()
        for thread in self.threads:
            thread.join(2 * PATIENCE)
        self.check()

    def stop_prompt(self):
        """The same, and none of them was kept waiting by what goes on beside it."""
        self.stop()
        if self.slowest > PATIENCE / 2 * slack():
            raise Failed(f"the slowest of {self.passed} requests took {self.slowest:.1f} s")


class WebSocket:
    """A client that sends masked frames and checks their echoes (RFC 6455)."""

    def __init__(self, address, host, connect=socket.create_connection):
        self.wire = Wire(connect(address, PATIENCE))
        key = base64.b64encode(os.urandom(16)).decode()
        self.wire.socket.sendall(
            f"GET /ws HTTP/1.1\r\nHost: {host}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        head = self.wire.head()
        if head is None or " 101 " not in head[0]:
            raise Failed(f"expected 101, found {head}")
        if head[1].get("sec-websocket-accept") != accept_key(key):
            raise Failed(f"wrong Sec-WebSocket-Accept: {head[1]}")

    def echo(self, payload):
        mask = os.urandom(4)
        masked = bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload))
        self.wire.socket.sendall(frame_head(len(payload), masked=True) + mask + masked)
        found = read_frame(self.wire)
        if found != payload:
            raise Failed(f"echo of {len(payload)} bytes came back as {len(found or b'')}")

    def close(self):
        self.wire.socket.close()


def accept_key(key):
    return base64.b64encode(hashlib.sha1((key + WEBSOCKET_GUID).encode()).digest()).decode()


def frame_head(size, masked):
    bit = 0x80 if masked else 0
    if size < 126:
        return struct.pack(">BB", 0x82, bit | size)
    if size < 65536:
        return struct.pack(">BBH", 0x82, bit | 126, size)
    return struct.pack(">BBQ", 0x82, bit | 127, size)


def read_frame(wire):
    """The payload of one frame; None when the connection ends."""
    if not wire.buffer and not wire.more():
        return None
    size = wire.exactly(2)[1]
    masked, size = size & 0x80, size & 0x7f
    if size == 126:
        size = struct.unpack(">H", wire.exactly(2))[0]
    elif size == 127:
        size = struct.unpack(">Q", wire.exactly(8))[0]
    mask = wire.exactly(4) if masked else b"\0\0\0\0"
    payload = wire.exactly(size)
    return bytes(byte ^ mask[i % 4] for i, byte in enumerate(payload)) if masked else payload


def echo_frames(wire, fields):
    wire.socket.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Accept: " + accept_key(fields["sec-websocket-key"]).encode() + b"\r\n\r\n")
    while (payload := read_frame(wire)) is not None:
        wire.socket.sendall(frame_head(len(payload), masked=False) + payload)
