"""proxyd for who operates it: privileges, systemd, logs, metrics, workers, listeners.

    operations_test.py --proxyd PROGRAM [-k TEXT]
"""

import contextlib
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import sys

import harness
from client import Client, fetch
from harness import LOOPBACK, PATIENCE, Failed, expect, output_of, until
from load import Backend, Load
from origin import Origin
from proxyd import answers, plain, running, stopping

test = harness.Tests()


@test("privileges are dropped after the ports are bound")
def _(directory):
    account = pwd.getpwnam("nobody")
    origin = Backend()
    if os.geteuid() != 0:
        # Whoever is not root cannot become another; proxyd must say so rather than go on as it is.
        with stopping(origin):
            try:
                with running(directory, [plain("app.test", origin)], process__user="nobody"):
                    raise AssertionError("proxyd started")
            except Failed as failure:
                expect("process.user" in str(failure), str(failure))
        return
    directory.chmod(0o777)
    port = next(port for port in range(600, 1000) if bindable(port))
    with stopping(origin), running(
            directory, [plain("app.test", origin)], process__user="nobody", listen__http=[f"{LOOPBACK}:{port}"],
            process__pid_file=str(directory / "proxyd.pid")) as proxy:
        proxy.port = port
        expect(answers(proxy, "app.test", "origin"), "it serves on a port below 1024")
        for key in ("Uid", "Gid"):
            wanted = str(account.pw_uid if key == "Uid" else account.pw_gid)
            expect(set(proxy.status(key).split()) == {wanted}, f"{key}: {proxy.status(key)}")
        expect("0" not in proxy.status("Groups").split(), f"Groups: {proxy.status('Groups')}")
        for key in ("CapEff", "CapPrm", "CapInh"):
            expect(int(proxy.status(key), 16) == 0, f"{key}: {proxy.status(key)}")
        expect(proxy.status("NoNewPrivs") == "1", "no new privileges")
        pid = (directory / "proxyd.pid").read_text().strip()
        expect(pid == str(proxy.pid), f"the pid file says {pid}")


def bindable(port):
    with socket.socket() as probe:
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


@test("systemd is told: ready, reloading, stopping")
def _(directory):
    origin = Backend()
    path = directory / "notify"
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(path))
    manager.settimeout(PATIENCE)

    def heard():
        return manager.recv(4096).decode().split("\n")
    with stopping(origin), running(directory, [plain("app.test", origin)],
                                   env={"NOTIFY_SOCKET": str(path)}) as proxy:
        expect("READY=1" in heard(), "ready after the start")
        proxy.signal(signal.SIGHUP)
        told = heard()
        expect("RELOADING=1" in told and any(re.fullmatch(r"MONOTONIC_USEC=\d+", line) for line in told), f"{told}")
        expect("READY=1" in heard(), "ready after the reload")
        proxy.signal(signal.SIGTERM)
        expect("STOPPING=1" in heard(), "stopping")
        expect(proxy.wait() == 0, "it ends with 0")
    manager.close()


def lines_of(path):
    return path.read_text().splitlines() if path.exists() else []


@test("SIGUSR1 reopens the access log and no line is lost")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        moved = directory / "moved.access"
        with Load(proxy.address, 4, lambda n: ("app.test", "/", ["origin"])) as load:
            load.wait_passed(50)
            proxy.access_path.rename(moved)
            proxy.signal(signal.SIGUSR1)
            until(lambda: lines_of(proxy.access_path), "the log is a new file")
            load.wait_passed(50)
            load.stop()
        proxy.stop()
        lines = len(lines_of(moved)) + len(lines_of(proxy.access_path))
        expect(lines == load.passed, f"{load.passed} requests, {lines} lines")


@test("the access log as JSON: a line for each request, with what it was")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("**.app.test", origin)]) as proxy:
        fetch(proxy.address, "a.app.test", "/bytes/10?x=y", fields="User-Agent: t/1 \"q\\\r\nReferer: http://r/\r\n")
        fetch(proxy.address, "a.app.test", "/sum", "POST", body=b"hello")
        fetch(proxy.address, "unknown.test", "/%22%0A\"}{")
        with Client(proxy.address) as client:
            client.send(b"BAD\r\n\r\n")
            client.response()
        proxy.stop()
        entries = [json.loads(line) for line in lines_of(proxy.access_path)]
        expect(len(entries) == 4, f"{len(entries)} lines for four requests")
        first, second, third, fourth = entries
        wanted = {"client": LOOPBACK, "method": "GET", "host": "a.app.test", "target": "/bytes/10?x=y",
                  "protocol": "HTTP/1.1", "status": 200, "bytes_out": 10, "route": "**.app.test"}
        found = {key: first.get(key) for key in wanted}
        expect(found == wanted, f"expected {wanted}\n      found    {found}")
        expect(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", first["time"]), first["time"])
        expect(0 <= first["seconds"] < 10 and len(first["id"]) >= 8, f"{first}")
        expect('t/1 "q\\' in first.values() and "http://r/" in first.values(), f"{first}")
        expect(second["bytes_in"] == 5 and second["method"] == "POST", f"{second}")
        expect(third["status"] == 404 and third["target"] == "/%22%0A\"}{", f"{third}")
        expect(fourth["status"] == 400, f"{fourth}")
        expect(len({entry["id"] for entry in entries}) == 4, "every request has its own id")


@test("the access log in the combined format: fields in their places, nothing breaks out")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], log__access_format="combined") as proxy:
        fetch(proxy.address, "app.test", "/bytes/10?x=y", fields="User-Agent: t/1\r\nReferer: http://r/\r\n")
        fetch(proxy.address, "app.test", '/"evil', fields="User-Agent: \" 200 \"\\\r\n")
        proxy.stop()
        shape = re.compile(r'(\S+) (\S+) (\S+) \[(\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d [+-]\d{4})\] '
                           r'"([^"]*)" (\d{3}) (\d+|-) "([^"]*)" "([^"]*)".*')
        first, second = (shape.fullmatch(line) for line in lines_of(proxy.access_path))
        expect(first and second, f"found {proxy.access_path.read_text()}")
        expect(first.groups()[:1] + first.groups()[4:] ==
               (LOOPBACK, "GET /bytes/10?x=y HTTP/1.1", "200", "10", "http://r/", "t/1"), f"{first.groups()}")
        expect(second[6] == "200", f"{second.groups()}")


@test("the access log goes to stdout, or nowhere")
def _(directory):
    origin = Backend()
    for where in ("stdout", "off"):
        with stopping(origin) if where == "off" else contextlib.nullcontext(), running(
                directory, [plain("app.test", origin)], name=where, log__access=where) as proxy:
            fetch(proxy.address, "app.test", "/where")
            proxy.stop()
            expect(("/where" in proxy.log_path.read_text()) == (where == "stdout"), proxy.log())


@test("/metrics counts what happened, in the text format")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin), plain("other.test", origin)],
                                   workers__count=2, metrics__hosts=1) as proxy:
        for _ in range(5):
            fetch(proxy.address, "app.test", "/sum", "POST", body=b"hello")
        fetch(proxy.address, "other.test")
        fetch(proxy.address, "unknown.test")
        text = proxy.admin("/metrics")
        expect(text.status == 200 and text.value("Content-Type").startswith("text/plain; version=0.0.4"),
               f"{text.line} {text.fields}")
        number = r"[+-]?(\d+(\.\d+)?([eE][+-]?\d+)?|Inf|NaN)"
        label = r'[a-zA-Z_]\w*="([^"\\]|\\.)*"'
        sample = re.compile(rf"[a-zA-Z_:][\w:]*(\{{{label}(,{label})*\}})? {number}")
        for line in text.body.decode().splitlines():
            expect(line.startswith("# ") or sample.fullmatch(line), f"no sample: {line!r}")
        found = proxy.metrics()
        wanted = {"requests_total": 7, 'responses_total{status="2xx"}': 6, 'responses_total{status="4xx"}': 1,
                  "request_duration_seconds_count": 7, 'lookups_total{tier="trie",result="miss"}': 0,
                  'lookups_total{tier="trie",result="hit"}': 7, "request_bytes_total": 25, "exchanges": 0}
        wrong = {key: (value, found.get(f"proxycore_{key}")) for key, value in wanted.items()
                 if found.get(f"proxycore_{key}") != value}
        expect(not wrong, f"expected, found: {wrong}")
        hosts = {key for key in found if key.startswith("proxycore_host_responses_total")}
        expect(len({re.search('host="([^"]*)"', key)[1] for key in hosts}) == 2,
               f"one host has counters, the others share theirs: {hosts}")
        buckets = [value for key, value in found.items() if "request_duration_seconds_bucket" in key]
        expect(buckets == sorted(buckets) and buckets[-1] == 7, f"the histogram adds up: {buckets}")


@test("/livez and /readyz tell the state, other paths nothing")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        for path, status in (("/livez", 200), ("/readyz", 200), ("/", 404), ("/metrics/x", 404)):
            found = proxy.admin(path).status
            expect(found == status, f"{path}: expected {status}, found {found}")
        found = fetch(proxy.address, "app.test", "/metrics").body
        expect(found == b"origin", "on the clients' listener /metrics is the origin's")
        client = Client(proxy.address)
        client.send(b"GET /slow/1500 HTTP/1.1\r\nHost: app.test\r\n\r\n")
        until(lambda: origin.requests == 2, "a request is under way")
        proxy.signal(signal.SIGTERM)
        until(lambda: not harness.accepts(proxy.port), "it drains")
        found = proxy.admin("/livez").status, proxy.admin("/readyz").status
        expect(found == (200, 503), f"while it drains /livez and /readyz are {found}")
        expect(client.response().status == 200, "the request is answered")


@test("two workers share a port and both serve")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], workers__count=2) as proxy:
        listening = [line for line in pathlib.Path(f"/proc/{proxy.pid}/net/tcp").read_text().splitlines()
                     if f":{proxy.port:04X} 00000000:0000 0A" in line]
        expect(len(listening) == 2, f"{len(listening)} listening sockets on the port")

        def busy():
            tasks = pathlib.Path(f"/proc/{proxy.pid}/task").iterdir()
            return {task.name: int((task / "schedstat").read_text().split()[0]) for task in tasks}
        before = busy()
        with Load(proxy.address, 16, lambda n: ("app.test", "/", ["origin"]), keep=False) as load:
            load.wait_passed(400)
            load.stop()
        grown = sorted((after - before.get(name, 0) for name, after in busy().items()), reverse=True)
        expect(len(grown) > 1 and grown[1] > grown[0] / 20, f"nanoseconds of the threads: {grown}")


@test("a Unix socket takes clients, with its mode")
def _(directory):
    origin = Backend()
    path = directory / "http.sock"
    with stopping(origin), running(directory, [plain("app.test", origin)], listen__http=[f"unix:{path}"],
                                   listen__unix_mode="0600", forwarding__trusted=["unix"]):
        mode = path.stat().st_mode & 0o777
        expect(mode == 0o600, f"mode {mode:o}")
        told = output_of("curl", "-sS", "--unix-socket", path, "-H", "X-Request-Id: from-the-front", "-D", "-",
                         "http://app.test/")
        expect("origin" in told and "from-the-front" in told, told)


@test("IPv6 clients are named as the standards write them")
def _(directory):
    origin = Origin()
    port = harness.free_port()
    with running(directory, [plain("app.test", origin)], listen__http=[f"[::1]:{port}"]) as proxy:
        expect(fetch(("::1", port), "app.test").status == 200, "it serves")
    request = origin.requests[0]
    origin.stop()
    expect(request.value("X-Forwarded-For") == "::1", f"X-Forwarded-For: {request.value('X-Forwarded-For')}")
    expect('for="[::1]"' in request.value("Forwarded"), f"Forwarded: {request.value('Forwarded')}")


if __name__ == "__main__":
    sys.exit(harness.run(test, harness.arguments(__doc__)))
