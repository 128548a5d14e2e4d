"""proxyd as a process with a configuration of its own, and what tests do with it."""

import contextlib
import os
import pathlib
import re
import resource
import signal
import subprocess

import harness
from client import fetch
from harness import LOOPBACK, PATIENCE, Failed, expect, free_port, until

SANITIZER = re.compile(r"ERROR: \w+Sanitizer|WARNING: \w+Sanitizer|runtime error:|SUMMARY: \w+Sanitizer")


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
                                            cwd=directory)
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


def config_text(tables, hosts, certificates=()):
    """A configuration file: {"limits.body_size": 5, "lookup": [...], "issuer": [{...}]}, host records, pairs of PEM
    files."""
    several = {key: value for key, value in tables.items() if isinstance(value, list) and value and
               isinstance(value[0], dict)}
    lines = [f"{key} = {toml(value)}" for key, value in tables.items() if "." not in key and key not in several]
    inside = [(*key.split("."), value) for key, value in tables.items() if "." in key]
    for table in sorted({table for table, _, _ in inside}):
        lines.append(f"[{table}]")
        lines += [f"{key} = {toml(value)}" for where, key, value in inside if where == table]
    for table, entries in several.items():
        for entry in entries:
            lines += [f"[[{table}]]", *(f"{key} = {toml(value)}" for key, value in entry.items())]
    for pair in certificates:
        lines += ["[[certificate]]", f"chain = {toml(str(pair.chain))}", f"key = {toml(str(pair.key))}"]
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

    def __init__(self, directory, hosts=(), name="proxyd", env=None, awaited="/readyz", certificates=None, **tables):
        """Keys of the configuration with '__' for the dot: limits__body_size=5.

        With `certificates`, a list that may be empty, there is a listener for TLS too. Returns when
        `awaited`, a page of the admin listener, is answered with 200.
        """
        self.awaited = awaited
        self.port = free_port()
        self.admin_port = free_port()
        self.config_path = pathlib.Path(directory) / f"{name}.toml"
        self.access_path = pathlib.Path(directory) / f"{name}.access"
        self.tables = {"listen.http": [f"{LOOPBACK}:{self.port}"],
                       "listen.admin": [f"{LOOPBACK}:{self.admin_port}"],
                       "workers.count": 1, "log.access": str(self.access_path)}
        self.certificates = list(certificates or ())
        if certificates is not None:
            self.tls_port = free_port()
            self.tables["listen.https"] = [f"{LOOPBACK}:{self.tls_port}"]
        self.tables.update({key.replace("__", "."): value for key, value in tables.items()})
        self.hosts = list(hosts)
        self.write_config()
        options = {"ASAN_OPTIONS": "detect_leaks=1:exitcode=99:quarantine_size_mb=8",
                   "UBSAN_OPTIONS": "print_stacktrace=1"}
        super().__init__([harness.program, "--config", self.config_path], directory, name,
                         env={**options, **(env or {})}, ready=self.ready)

    @property
    def address(self):
        return LOOPBACK, self.port

    @property
    def tls_address(self):
        return LOOPBACK, self.tls_port

    def write_config(self):
        fresh = self.config_path.with_suffix(".new")
        fresh.write_text(config_text(self.tables, self.hosts, self.certificates))
        fresh.rename(self.config_path)

    def ready(self):
        # Its ports are open before it has read the hosts.
        try:
            return self.admin(self.awaited).status == 200
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


@contextlib.contextmanager
def running(directory, hosts=(), **tables):
    """A proxyd for the test's duration, that must end well."""
    proxy = Proxyd(directory, hosts, **tables)
    try:
        yield proxy
        if proxy.process.poll() is None:
            proxy.stop()
    except Exception as error:
        if proxy.process.poll() not in (None, 0):
            raise Failed(f"proxyd ended with {proxy.process.returncode}\n{proxy.log()}") from error
        raise
    finally:
        proxy.kill()


@contextlib.contextmanager
def stopping(*things):
    try:
        yield things if len(things) > 1 else things[0]
    finally:
        for thing in things:
            thing.stop()


def plain(name, origin, **more):
    return record(name, origin, forcessl=False, **more)


def reload(proxy, hosts):
    proxy.hosts = hosts
    proxy.write_config()
    proxy.signal(signal.SIGHUP)


def answers(proxy, host, expected, target="/"):
    """Whether a request now gets this body (text) or status (number)."""
    response = fetch(proxy.address, host, target)
    return expected in (response.status, response.body.decode())
