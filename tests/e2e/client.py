"""A client that sends exactly the bytes it is told, and keeps exactly those it gets."""

import select
import socket
import struct
import time

import http1
from harness import PATIENCE, Failed, expect, holds, show


class Client:
    """A connection that sends exactly the bytes it is told and keeps exactly those it gets.

    While it sends it goes on receiving, so that neither side can block the other.
    """

    def __init__(self, address, source=None, patience=PATIENCE):
        self.received = bytearray()   # not yet taken by response()
        self.transcript = bytearray()
        self.end = None               # None, "closed" (FIN) or "reset"
        self.patience = patience
        self.socket = socket.create_connection(address, timeout=patience,
                                               source_address=(source, 0) if source else None)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _pump(self, deadline, sending=b"", patient=True):
        """One step: sends what it can, receives what is there. Returns how many bytes were sent."""
        left = max(0, deadline - time.monotonic())
        if left == 0 and patient:
            raise Failed(f"nothing more within {self.patience} s; so far:\n{show(bytes(self.transcript))}")
        wanted = (select.POLLIN if self.end is None else 0) | (select.POLLOUT if sending else 0)
        poll = select.poll()
        poll.register(self.socket, wanted)
        ready = sum(events for _, events in poll.poll(left * 1000))
        if self.end is None and ready & ~select.POLLOUT:
            try:
                part = self.socket.recv(65536)
            except ConnectionResetError:
                self.end = "reset"
                return len(sending)
            self.received += part
            self.transcript += part
            if not part:
                self.end = "closed"
        if sending and ready & ~select.POLLIN:
            try:
                return self.socket.send(sending[:65536])
            except (BrokenPipeError, ConnectionResetError):
                return len(sending)  # whoever closed early does not want it
        return 0

    def send(self, data):
        deadline = time.monotonic() + self.patience
        view = memoryview(data)
        while view and self.end != "reset":
            view = view[self._pump(deadline, view):]

    def listen(self, seconds):
        """Receives for a while, or until something came."""
        self._pump(time.monotonic() + seconds, patient=False)

    def wait_for(self, text):
        """Until the bytes received so far hold `text`."""
        deadline = time.monotonic() + self.patience
        while not holds(self.transcript, text):
            expect(self.end is None, f"{self.end} before {text!r} came:\n{show(bytes(self.transcript))}")
            self._pump(deadline)

    def response(self, method="GET", partial=False):
        """The next response; None if the connection ended before its first byte."""
        deadline = time.monotonic() + self.patience
        while True:
            message = http1.read_response(bytes(self.received), method, self.end is not None)
            if message and message.complete or self.end:
                break
            self._pump(deadline)
        if message is None:
            expect(not self.received, f"{self.end} within a head:\n{show(bytes(self.received))}")
            return None
        expect(message.complete or partial,
               f"{self.end} within a response:\n{show(bytes(self.transcript))}")
        if message.framing == "close" and self.end == "reset":
            message.complete = False
        del self.received[:message.size]
        return message

    def ended(self):
        """Until the peer ends the connection; "closed" or "reset". Further bytes stay in `received`."""
        deadline = time.monotonic() + self.patience
        while self.end is None:
            self._pump(deadline)
        return self.end

    def half_close(self):
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self):
        reset(self.socket)

    def close(self):
        self.socket.close()


def reset(connection):
    """Closes with a RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def fetch(address, host, target="/", method="GET", fields="", body=b"", source=None, patience=PATIENCE):
    """One request on a connection of its own."""
    length = f"Content-Length: {len(body)}\r\n" if body else ""
    with Client(address, source, patience) as client:
        client.send(f"{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}{length}"
                    "Connection: close\r\n\r\n".encode() + body)
        response = client.response(method)
    expect(response, f"{method} {host}{target}: the connection was {client.end} without an answer")
    return response
