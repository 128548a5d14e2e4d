"""What every end-to-end test needs: proxyd as a process, scripted origins, a raw client, a runner.

Nothing here waits for a time to pass: readiness is polled with a bound, everything else is an event.
Ports are free ones of the loopback interface; processes are ended by their own id; what they wrote is
kept in the test's directory and shown when a test fails.
"""

import argparse
import os
import pathlib
import random
import re
import resource
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import traceback

import http1

LOOPBACK = "127.0.0.1"
PATIENCE = 20  # seconds that anything may take which is expected to happen
SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")

_reserved = []


class Failed(AssertionError):
    """A test's claim does not hold."""


def expect(true, text):
    if not true:
        raise Failed(text)


def allow_many_files():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port(kind=socket.SOCK_STREAM):
    """A loopback port nobody uses, outside the range that outgoing connections are given.

    It is ours among concurrent runs of these tests: an abstract socket of that name is held, since
    SO_REUSEPORT would let two proxies share a port without a word.
    """
    outgoing = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(10000, outgoing if outgoing > 12000 else 30000)
    start = os.getpid() * 37 + len(_reserved)
    for step in range(len(ports)):
        port = ports[(start + step) % len(ports)]
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0proxycore-e2e-{port}")
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind((LOOPBACK, port))
        except OSError:
            reservation.close()
            continue
        _reserved.append(reservation)
        return port
    raise Failed("no free port")


def until(condition, what, seconds=PATIENCE):
    """Polls until `condition()` is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds} s still not: {what}")
        time.sleep(0.01)


def accepts(port, address=LOOPBACK):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


class Tear:
    """Cuts what is sent into pieces at random places, so that a proxy reads it in other portions."""

    MOST = 40  # cuts in one piece of sent bytes

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pieces(self, data):
        cuts = self.random.randint(1, min(self.MOST, max(1, len(data) - 1)))
        places = sorted(self.random.randint(0, len(data)) for _ in range(cuts))
        for start, end in zip([0, *places], [*places, len(data)]):
            if start < end:
                yield data[start:end]
                time.sleep(0)  # gives way: whoever waits for these bytes may take them now


CHUNK_BORDER = re.compile(rb"\r\n[0-9a-fA-F]+\r\n(?!\r\n)")


def holds(data, text):
    """Whether `text` is in there, even if a chunk ends within it."""
    return text in data or text in CHUNK_BORDER.sub(b"", bytes(data))


def show(data, limit=3000):
    """Bytes as lines to read: escapes visible, broken after each line end."""
    if not data:
        return "    (nothing)"
    shown = []
    for line in data[:limit].splitlines(keepends=True):
        text = "".join({10: "\\n", 13: "\\r", 9: "\\t", 0: "\\0", 92: "\\\\"}.get(byte)
                       or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in line)
        shown.append(f"    {text}")
    if len(data) > limit:
        shown.append(f"    ... {len(data) - limit} bytes more")
    return "\n".join(shown)


class Process:
    """A server under test: started with its own log, ended by its id, read when it failed."""

    def __init__(self, command, directory, name, ready, env=None):
        """`ready()` is asked until it is true."""
        self.name = name
        self.log_path = pathlib.Path(directory) / f"{name}.log"
        environment = dict(os.environ, **(env or {}))
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL,
                                            stdout=log, stderr=log, env=environment,
                                            cwd=directory, start_new_session=True)
        try:
            until(lambda: self.alive() and ready(), f"{name} is ready")
        except Failed as failure:
            self.kill()
            raise Failed(f"{failure}\n{self.log()}") from None

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        if self.process.poll() is not None:
            raise Failed(f"{self.name} ended with {self.process.returncode}\n{self.log()}")
        return True

    def log(self):
        return self.log_path.read_text(errors="replace")[-6000:]

    def signal(self, number):
        self.process.send_signal(number)

    def wait(self, seconds=PATIENCE):
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failed(f"{self.name} still runs after {seconds} s\n{self.log()}") from None

    def kill(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()

    def rss(self):
        """Bytes of memory in use."""
        pages = int(pathlib.Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize()

    def status(self, key):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return re.search(rf"^{key}:\s*(.*)$", text, re.M)[1]


def toml(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(toml(part) for part in value) + "]"
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(value)


def config_text(tables, hosts):
    """A configuration file: {"limits.body_size": 5} and a list of host records."""
    lines = []
    for table in sorted({key.split(".")[0] for key in tables}):
        lines.append(f"[{table}]")
        lines += [f"{key.split('.')[1]} = {toml(value)}" for key, value in tables.items()
                  if key.split(".")[0] == table]
    for host in hosts:
        lines.append("[[host]]")
        lines += [f"{key} = {toml(value)}" for key, value in host.items()]
    return "\n".join(lines) + "\n"


def record(name, origin, **more):
    """A host record for an origin (anything with a port) or a port."""
    port = origin if isinstance(origin, int) else origin.port
    return {"host": name, "ip": LOOPBACK, "targetPort": port, **more}


class Proxyd(Process):
    """proxyd with a configuration of its own: one listener, one admin listener, given hosts."""

    program = None  # set by main()

    def __init__(self, directory, hosts=(), name="proxyd", env=None, **tables):
        """Keys of the configuration with '__' for the dot: limits__body_size=5."""
        self.port = free_port()
        self.admin_port = free_port()
        self.config_path = pathlib.Path(directory) / f"{name}.toml"
        self.access_path = pathlib.Path(directory) / f"{name}.access"
        self.tables = {"listen.http": [f"{LOOPBACK}:{self.port}"],
                       "listen.admin": [f"{LOOPBACK}:{self.admin_port}"],
                       "workers.count": 1, "log.access": str(self.access_path)}
        self.tables.update({key.replace("__", "."): value for key, value in tables.items()})
        self.hosts = list(hosts)
        self.write_config()
        options = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=8",
                   "UBSAN_OPTIONS": "print_stacktrace=1"}
        super().__init__([self.program, "--config", self.config_path], directory, name,
                         env={**options, **(env or {})}, ready=self.ready)

    @property
    def address(self):
        return LOOPBACK, self.port

    def write_config(self):
        fresh = self.config_path.with_suffix(".new")
        fresh.write_text(config_text(self.tables, self.hosts))
        fresh.rename(self.config_path)

    def ready(self):
        # Its ports are open before it has read the hosts.
        try:
            return self.admin("/readyz").status == 200
        except (ConnectionError, Failed):
            return False

    def admin(self, path):
        return fetch((LOOPBACK, self.admin_port), "admin", path)

    def metrics(self):
        """{'name{labels}': value} as /metrics tells them."""
        text = self.admin("/metrics").body.decode()
        return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in text.splitlines()
                if line and not line.startswith("#")}

    def stop(self, seconds=PATIENCE):
        """SIGTERM; it must end with 0 and the sanitizers must have kept silent."""
        self.signal(signal.SIGTERM)
        code = self.wait(seconds)
        expect(code == 0, f"proxyd ended with {code} after SIGTERM\n{self.log()}")
        self.check_sanitizers()

    def check_sanitizers(self):
        text = self.log_path.read_text(errors="replace")
        found = SANITIZER.search(text)
        expect(not found, f"a sanitizer spoke:\n{text[found.start():][:6000] if found else ''}")


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


def arguments(description, more=lambda parser: None):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--proxyd", default=os.environ.get("PROXYD"), help="the program to test")
    parser.add_argument("-k", dest="only", default="", help="only tests whose name holds this text")
    parser.add_argument("--keep", action="store_true", help="keep the logs of tests that passed too")
    more(parser)
    parsed = parser.parse_args()
    if parsed.proxyd:
        Proxyd.program = pathlib.Path(parsed.proxyd).resolve()
        expect(os.access(Proxyd.program, os.X_OK), f"no such program: {Proxyd.program}")
    elif getattr(parsed, "proxy", None) is None:
        parser.error("--proxyd PROGRAM (or PROXYD in the environment) is needed")
    allow_many_files()
    return parsed


class Tests(list):
    """(claim, function of a directory) in the order they are written: @tests("what is claimed")."""

    def __call__(self, claim):
        return lambda function: self.append((claim, function))


def run(tests, options):
    """Runs them one after the other; prints and counts. Returns an exit code."""
    passed, failed = 0, []
    for name, test in tests:
        if options.only not in name:
            continue
        directory = pathlib.Path(tempfile.mkdtemp(prefix="proxycore-e2e-"))
        directory.chmod(0o755)
        began = time.monotonic()
        try:
            test(directory)
        except Exception as error:  # noqa: whatever it is, the next test shall run
            failed.append(name)
            print(f"FAILED  {name}")
            print("".join(traceback.format_exception(error)) if not isinstance(error, Failed)
                  else f"    {error}")
            for log in sorted(directory.glob("*.log")):
                print(f"  {log.name}, its end:\n{log.read_text(errors='replace')[-3000:]}")
        else:
            passed += 1
            print(f"ok      {name}  ({time.monotonic() - began:.1f} s)")
            if not options.keep:
                shutil.rmtree(directory, ignore_errors=True)
        sys.stdout.flush()
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed or not passed else 0
