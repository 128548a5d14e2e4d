"""A redis-server of the test's own, and hosts in it written as older installations write them."""

import contextlib
import pathlib
import shutil
import signal
import socket

from harness import LOOPBACK, PATIENCE, Failed, expect, free_port
from load import Wire
from proxyd import Process, record


class Refused(Failed):
    """An error reply of Redis."""


class Connection:
    """Commands to a Redis server, as somebody with redis-cli sends them (RESP2)."""

    def __init__(self, path, password=None):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(PATIENCE)
        connection.connect(str(path))
        self.wire = Wire(connection)
        if password:
            self("AUTH", password)

    def __call__(self, *words):
        words = [word if isinstance(word, bytes) else str(word).encode() for word in words]
        self.wire.socket.sendall(b"*%d\r\n" % len(words)
                                 + b"".join(b"$%d\r\n%b\r\n" % (len(word), word) for word in words))
        return self._reply()

    def _reply(self):
        line = self.wire.until(b"\r\n")[:-2].decode()
        kind, rest = line[0], line[1:]
        if kind == "-":
            raise Refused(rest)
        if kind == "+":
            return rest
        if kind == ":":
            return int(rest)
        if rest == "-1":
            return None
        if kind == "$":
            return self.wire.exactly(int(rest) + 2)[:-2].decode()
        return [self._reply() for _ in range(int(rest))]

    def close(self):
        self.wire.socket.close()


class Redis:
    """A server that keeps what it has only when kill() is told to save it."""

    def __init__(self, directory, *options, name="redis", password=None):
        self.directory = pathlib.Path(directory) / f"{name}.d"
        self.directory.mkdir()
        self.name, self.options, self.password = name, options, password
        self.path = self.directory / "socket"
        self.port = free_port()
        self.process = None
        self.start()

    @property
    def url(self):
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}{LOOPBACK}:{self.port}/0"

    def start(self):
        """Also again, on the same addresses."""
        expect(shutil.which("redis-server"), "redis-server is missing: Debian's package redis-server")
        secret = ("--requirepass", self.password) if self.password else ()
        command = ["redis-server", "--port", self.port, "--bind", LOOPBACK, "--unixsocket", self.path,
                   "--dir", self.directory, "--save", "", "--appendonly", "no", *secret, *self.options]
        self.process = Process(command, self.directory.parent, self.name, ready=self._answers)

    def _answers(self):
        try:
            self.command = Connection(self.path, self.password)
            return self.command("PING") == "PONG"
        except (OSError, Refused):
            return False

    def kill(self, saved=False):
        """SIGKILL; the next start() has the data only if they were saved."""
        if saved:
            self.command("SAVE")
        else:
            (self.directory / "dump.rdb").unlink(missing_ok=True)
        self.command.close()
        self.process.kill()

    def hang(self):
        self.process.signal(signal.SIGSTOP)

    def go_on(self):
        self.process.signal(signal.SIGCONT)

    def keys(self, pattern):
        return set(self.command("KEYS", pattern))

    # --- hosts, as older software writes them

    def save(self, name, origin, **more):
        """The set first, then the hash field by field."""
        self.command("SADD", "proxy_Host", name)
        fields = {"created_by": "alice", "created_on": 1795388913761, "updated_by": "__NONE__",
                  **record(name, origin), "forcessl": "false", "targetssl": "false", "is_cache": "false",
                  "is_wildcard": "false", **more}
        for field, value in fields.items():
            self.command("HSET", f"proxy_Host_{name}", field, value)

    def remove(self, name):
        self.command("SREM", "proxy_Host", name)
        self.command("DEL", f"proxy_Host_{name}")


@contextlib.contextmanager
def redis_server(directory, *options, **more):
    """A server for the test's duration."""
    server = Redis(directory, *options, **more)
    try:
        yield server
    finally:
        server.process.kill()
