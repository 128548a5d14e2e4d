"""Clients and origins that do anything at any time: requests of all kinds, whole and broken, read and not
read, ended by FIN, RST or not at all. Nothing is expected of the answers, everything of the proxy after it.

The sequence of each client follows from the seed; how they interleave does not.
"""

import random
import socket
import threading
import time

from client import reset
from harness import PATIENCE

TARGETS = ("/", "/bytes/1", "/bytes/100000", "/bytes/3000000", "/slow/5", "/hang", "/cut", "/trickle/5/3", "/sum",
           "/flood", "/ws", "/gone")
HOSTS = ("app.test", "app.test", "app.test", "two.test", "dead.test", "name.test", "unknown.test")
METHODS = ("GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "CONNECT", "FOO")
BROKEN = (b"BAD\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00",
          b"GET / HTTP/9.9\r\nHost: app.test\r\n\r\n",
          b"POST / HTTP/1.1\r\nHost: app.test\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
          b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nX: " + b"b" * 40000)


class Chaos:
    """Clients that go on until stop()."""

    def __init__(self, address, clients, seed):
        self.address = address
        self.sent = 0
        self.stopping = threading.Event()
        self.threads = [threading.Thread(target=self._client, args=(random.Random(seed + number),), daemon=True)
                        for number in range(clients)]
        for thread in self.threads:
            thread.start()

    def stop(self):
        self.stopping.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    def _client(self, dice):
        while not self.stopping.is_set():
            try:
                with socket.create_connection(self.address, 2) as connection:
                    connection.settimeout(0.2)
                    for _ in range(dice.randint(1, 6)):
                        if not self._act(connection, dice):
                            break
            except OSError:  # refused while draining, reset, no answer in time: all of it may be
                time.sleep(0.001)

    def _act(self, connection, dice):
        """One step on a connection; false when it is over."""
        kind = dice.random()
        if kind < 0.05:
            connection.sendall(dice.choice(BROKEN))
        elif kind < 0.10:
            connection.shutdown(socket.SHUT_WR)
        elif kind < 0.20:
            reset(connection)
            return False
        elif kind < 0.25:
            return False
        else:
            request = b"".join(self._request(dice) for _ in range(dice.choice((1, 1, 1, 2, 5))))
            if dice.random() < 0.15:
                request = request[:dice.randint(1, len(request))]
            connection.sendall(request)
            self.sent += 1
        if dice.random() < 0.8:
            left = dice.choice((1, 1000, 200_000, 4_000_000))
            while left > 0:
                part = connection.recv(min(65536, left))
                if not part:
                    return False
                left -= len(part)
        return True

    @staticmethod
    def _request(dice):
        method, host, target = dice.choice(METHODS), dice.choice(HOSTS), dice.choice(TARGETS)
        version = dice.choice(("1.1", "1.1", "1.1", "1.0"))
        lines = [f"{method} {target} HTTP/{version}", f"Host: {host}"]
        if target == "/ws":
            lines += ["Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: eA=="]
        elif dice.random() < 0.1:
            lines.append(f"Connection: {dice.choice(('close', 'keep-alive'))}")
        body = b""
        if method in ("POST", "PUT") or dice.random() < 0.05:
            body = b"x" * dice.choice((0, 1, 100, 70_000, 600_000))
            if version == "1.1" and dice.random() < 0.5:
                lines.append("Transfer-Encoding: chunked")
                body = (f"{len(body):x}\r\n".encode() + body + b"\r\n" if body else b"") + b"0\r\n\r\n"
            else:
                lines.append(f"Content-Length: {len(body)}")
            if dice.random() < 0.1:
                lines.append("Expect: 100-continue")
        return "\r\n".join([*lines, "", ""]).encode() + body
