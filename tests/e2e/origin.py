"""An origin that follows a script, and records the exact bytes of every connection."""

import socket
import threading
import time

import http1
from client import reset
from harness import LOOPBACK, PATIENCE, Failed, holds, until


class Answer:
    """What an origin does for one request. `when`: "request" (once it is complete), "head", "connect".

    Steps: ("send", bytes), ("split",), ("await", bytes of the connection), ("await client", bytes),
    ("await end",): the proxy's FIN, ("tunnel",): what follows the request is no HTTP, ("close",): FIN,
    ("reset",), ("hang",).
    """

    def __init__(self, steps=None, when="request"):
        ok = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
        self.steps = [("send", ok)] if steps is None else steps
        self.when = when


class Connection:
    """What an origin saw on one connection."""

    def __init__(self, number):
        self.number = number
        self.received = bytearray()
        self.end = None        # None, "closed", "reset" (by the proxy), "ours"
        self.parsed = 0        # bytes of whole requests
        self.tunnel = None     # where the bytes begin that are no HTTP any more
        self.malformed = None  # what was wrong with the bytes


class Origin:
    """A server that follows a script and records the exact bytes of every connection.

    Answers are used up in the order requests come, over all connections; after the last one, `default`
    is given (None: the request stays without answer). Requests to PROBE are answered 200 and not recorded.
    """

    PROBE = "/-probe"
    SPLIT = 0.02  # seconds between two sends, so that they arrive as two reads

    def __init__(self, answers=(), default=Answer(), client_has=None, tear=None):
        self.answers = list(answers)
        self.tear = tear
        self.default = default
        self.requests = []       # complete or not, as they came
        self.answered = 0        # how many answers were given, to their end or the connection's
        self.connections = []
        self.client_has = client_has or (lambda text: False)
        self.changed = threading.Condition()
        self.threads = []
        self.open = set()
        self.listener = socket.create_server((LOOPBACK, 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self._start(self._accept)

    def _start(self, work, *args):
        thread = threading.Thread(target=work, args=args, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                accepted, _ = self.listener.accept()
            except OSError:
                return
            accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.changed:
                connection = Connection(len(self.connections) + 1)
                self.connections.append(connection)
                self.open.add(accepted)
                self.changed.notify_all()
            self._start(self._serve, accepted, connection)

    def wait(self, condition, what, seconds=PATIENCE):
        with self.changed:
            if not self.changed.wait_for(condition, seconds):
                raise Failed(f"the origin still waits for: {what}")

    def received(self, text):
        return any(holds(connection.received, text) for connection in self.connections)

    def _next_answer(self):
        with self.changed:
            return self.answers.pop(0) if self.answers else self.default

    def _waiting_for(self, when):
        with self.changed:
            return bool(self.answers) and self.answers[0].when == when

    def _serve(self, accepted, connection):
        try:
            self._talk(accepted, connection)
        except ConnectionError:
            connection.end = connection.end or "reset"
        except OSError:
            connection.end = connection.end or "ours"
        finally:
            with self.changed:
                self.open.discard(accepted)
                self.changed.notify_all()
            accepted.close()

    def _receive(self, accepted, connection):
        part = accepted.recv(65536)
        with self.changed:
            connection.received += part
            if not part:
                connection.end = "closed"
            self.changed.notify_all()
        return bool(part)

    def _talk(self, accepted, connection):
        answered = False   # the current request has its answer already
        if self._waiting_for("connect"):
            answered = True
            if not self._play(self._next_answer(), accepted, connection):
                return
        current = None     # index in self.requests
        while True:
            at = connection.parsed
            try:
                message = http1.read_request(bytes(connection.received[at:]))
            except http1.Malformed as wrong:
                connection.malformed = str(wrong)
                message = None
            if message:
                probe = message.start[1] == self.PROBE
                message.connection = connection.number
                with self.changed:
                    if not probe:
                        if current is None:
                            current = len(self.requests)
                            self.requests.append(message)
                        self.requests[current] = message
                        self.changed.notify_all()
                if message.complete:
                    connection.parsed = at + message.size
                if not answered and (message.complete or self._waiting_for("head")):
                    answered = True
                    if not self._play(Answer() if probe else self._next_answer(), accepted, connection):
                        return
                if message.complete:
                    current, answered = None, False
                    if connection.tunnel is None and connection.parsed < len(connection.received):
                        continue
            if connection.tunnel is not None:
                while self._receive(accepted, connection):
                    pass
                return
            if not self._receive(accepted, connection):
                return

    def _play(self, answer, accepted, connection):
        """Follows the steps; false when the connection is over."""
        try:
            return answer is None or self._follow(answer, accepted, connection)
        finally:
            with self.changed:
                self.answered += 1
                self.changed.notify_all()

    def _follow(self, answer, accepted, connection):
        for step, *operand in answer.steps:
            if step == "send":
                for piece in self.tear.pieces(operand[0]) if self.tear else (operand[0],):
                    accepted.sendall(piece)
            elif step == "split":
                time.sleep(self.SPLIT)
            elif step == "await":
                while not holds(connection.received, operand[0]):
                    if not self._receive(accepted, connection):
                        return False
            elif step == "await client":
                until(lambda: self.client_has(operand[0]), f"the client has {operand[0]!r}")
            elif step == "await end":
                while self._receive(accepted, connection):
                    pass
            elif step == "tunnel":
                connection.tunnel = connection.parsed
            elif step == "close":
                connection.end = "ours"
                accepted.shutdown(socket.SHUT_WR)
                while accepted.recv(65536):
                    pass
                return False
            elif step == "reset":
                connection.end = "ours"
                reset(accepted)
                return False
            elif step == "hang":
                while self._receive(accepted, connection):
                    pass
                return False
            else:
                raise ValueError(step)
        return True

    def stop_listening(self):
        """New connections are refused; those there are go on."""
        try:
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.listener.close()

    def stop(self):
        self.stop_listening()
        with self.changed:
            still_open = list(self.open)
        for accepted in still_open:
            try:
                accepted.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in list(self.threads):
            thread.join(PATIENCE)


class DeadPort:
    """A port that refuses connections for as long as this lives: bound, but not listening."""

    def __init__(self):
        self.socket = socket.socket()
        self.socket.bind((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]

    def stop(self):
        self.socket.close()
