"""proxyd when it is changed and when it ends: under load, without one failed request.

    changes_test.py --proxyd PROGRAM --store-tool PROGRAM [-k TEXT]
"""

import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading

import harness
from client import Client
from harness import LOOPBACK, PATIENCE, Failed, expect, until
from load import Backend, Load, WebSocket, Wire, check_pattern
from proxyd import answers, plain, reload, running, stopping

test = harness.Tests()
MIB = 1024 * 1024
STORE_TOOL = None


class StoreTool:
    """Changes the hosts of a store, as a process of its own."""

    def __init__(self, url):
        self.process = subprocess.Popen([STORE_TOOL, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, command):
        self.process.stdin.write(command + "\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        expect(reply == "ok\n", f"store_tool: {command}: {reply}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(PATIENCE)
        self.process.stdout.close()


# --- changes while it runs

@test("configuration changes under load without one failed request")
def _(directory):
    first, second = Backend("first"), Backend("second")
    fixed = [plain("fixed.test", first), plain("**.wild.test", first)]
    with stopping(first, second), running(
            directory, [*fixed, plain("moved.test", first)], workers__count=2) as proxy:
        hosts = ("fixed.test", "a.b.wild.test", "moved.test")
        with Load(proxy.address, 6, lambda n: (hosts[n % 3], "/", ["first", "second"])) as load, \
                Load(proxy.address, 2, lambda n: (hosts[n % 3], "/", ["first", "second"]), keep=False) as fresh:
            for turn in range(10):
                name, origin = ("second", second) if turn % 2 == 0 else ("first", first)
                extra = [plain(f"extra{number}.test", second) for number in range(turn * 20)]
                reload(proxy, [*fixed, plain("moved.test", origin), plain(f"new{turn}.test", second), *extra])
                until(lambda: answers(proxy, f"new{turn}.test", "second"), f"reload {turn} is seen")
                until(lambda: answers(proxy, "moved.test", name), "the moved host is elsewhere")
                if turn:
                    until(lambda: answers(proxy, f"new{turn - 1}.test", 404), "the former host is gone")
                load.wait_passed(20)
            load.stop()
            fresh.stop()


@test("hosts come and go in the store under load without one failed request")
def _(directory):
    url = f"sqlite:{directory}/store.db"
    origin = Backend()
    with stopping(origin), running(
            directory, [plain("fixed.test", origin)], store__url=url, workers__count=2) as proxy:
        with StoreTool(url) as tool:
            tell = tool.tell
            tell(f"save kept.test {LOOPBACK} {origin.port}")
            until(lambda: answers(proxy, "kept.test", "origin"), "a host of the store is served")
            hosts = ("fixed.test", "kept.test")
            with Load(proxy.address, 6, lambda n: (hosts[n % 2], "/", ["origin"])) as load:
                for turn in range(10):
                    for number in range(10):
                        tell(f"save t{turn}n{number}.test {LOOPBACK} {origin.port}")
                    until(lambda: answers(proxy, f"t{turn}n9.test", "origin"), "a new host is served")
                    tell(f"save kept.test {LOOPBACK} {origin.port}")
                    for number in range(10):
                        tell(f"remove t{turn}n{number}.test")
                    until(lambda: answers(proxy, f"t{turn}n9.test", 404), "a removed host is 404")
                load.stop()


@test("WebSockets and downloads go on when their host is changed or removed")
def _(directory):
    size = 64 * MIB
    origin = Backend()
    with stopping(origin), running(
            directory, [plain("app.test", origin), plain("other.test", origin)]) as proxy:
        sockets = [WebSocket(proxy.address, "app.test") for _ in range(10)]
        for web_socket in sockets:
            web_socket.echo(b"before")
        download = Wire(socket.create_connection(proxy.address, PATIENCE))
        download.socket.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
        expect(" 200 " in download.head()[0], "the download begins")
        reload(proxy, [plain("other.test", origin)])
        until(lambda: answers(proxy, "app.test", 404), "the host is gone for new requests")
        for web_socket in sockets:
            web_socket.echo(b"after" * 1000)
            web_socket.close()
        download.each(size, check_pattern(size))
        download.socket.close()


@test("a configuration that is wrong is refused with file and line, and the old one goes on")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        with Load(proxy.address, 2, lambda n: ("app.test", "/", ["origin"])) as load:
            good = proxy.config_path.read_text()
            for wrong in (good + "[limits]\nbody_size = \"many\"\n", good + "[[host]]\nhost = \"a b\"\n",
                          good + "nonsense = \n"):
                length = len(proxy.log_path.read_text())
                proxy.config_path.write_text(wrong)
                proxy.signal(signal.SIGHUP)
                until(lambda: len(proxy.log_path.read_text()) > length, "the refusal is logged")
                told = proxy.log_path.read_text()[length:]
                expect(re.search(r"proxyd\.toml:\d+", told), f"expected file and line, found {told!r}")
                expect(answers(proxy, "app.test", "origin"), "the old configuration goes on")
            load.stop()


@test("the same host in the file and in the store is an error that names both")
def _(directory):
    url = f"sqlite:{directory}/store.db"
    done = subprocess.run([STORE_TOOL, url], input=f"save app.test {LOOPBACK} 1\n", text=True,
                          capture_output=True, timeout=PATIENCE)
    expect(done.stdout == "ok\n", f"store_tool: {done.stdout}{done.stderr}")
    try:
        with running(directory, [plain("app.test", 2)], store__url=url):
            raise AssertionError("proxyd started")
    except Failed as failure:
        told = str(failure)
    expect("app.test" in told and "proxyd.toml:" in told and "store" in told, f"found {told}")


# --- the end

@test("SIGTERM under load: every request is answered, then it ends with 0")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], workers__count=2) as proxy:
        ending = threading.Event()
        with Load(proxy.address, 16, lambda n: ("app.test", "/slow/5" if n % 3 else "/", ["origin"]),
                  refused_is_fine=ending.is_set) as load:
            load.wait_passed(300)
            slow = [Client(proxy.address) for _ in range(8)]
            for client in slow:
                client.send(b"GET /slow/700 HTTP/1.1\r\nHost: app.test\r\n\r\n")
            until(lambda: proxy.metrics()["proxycore_exchanges"] >= 8, "slow requests are under way")
            ending.set()
            proxy.stop()
            for client in slow:
                response = client.response()
                expect(response and response.status == 200 and response.tokens("Connection") == ["close"],
                       f"a request in flight ended as {response and response.line}")
                expect(client.ended() == "closed", "its connection is closed, not reset")
            load.stop()


@test("SIGTERM under load of new connections: every one that was accepted is answered")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], workers__count=2) as proxy:
        ending = threading.Event()
        with Load(proxy.address, 8, lambda n: ("app.test", "/", ["origin"]), keep=False,
                  refused_is_fine=ending.is_set) as load:
            load.wait_passed(100)
            ending.set()
            proxy.stop()
            load.stop()


@test("SIGTERM lets a download end, closes idle connections and takes no new ones")
def _(directory):
    size = 64 * MIB
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        idle = Client(proxy.address)
        idle.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        expect(idle.response().status == 200, "the first request is answered")
        download = Wire(socket.create_connection(proxy.address, PATIENCE))
        download.socket.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
        expect(" 200 " in download.head()[0], "the download begins")
        proxy.signal(signal.SIGTERM)
        until(lambda: not harness.accepts(proxy.port), "new connections are refused")
        expect(idle.ended() == "closed", "an idle connection is closed")
        expect(proxy.alive(), "it waits for the download")
        download.each(size, check_pattern(size))
        code = proxy.wait()
        expect(code == 0, f"it ended with {code}")
        proxy.check_sanitizers()


@test("a request that is already on its way when SIGTERM comes is answered")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        clients = [Client(proxy.address) for _ in range(20)]
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            expect(client.response().status == 200, "the first request is answered")
        proxy.signal(signal.SIGTERM)
        until(lambda: not harness.accepts(proxy.port), "it drains")
        for client in clients:
            client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            response = client.response()
            expect(response and response.status == 200, "a late request is answered")
            expect("close" in response.tokens("Connection"), "and told that it was the last")
            expect(client.ended() == "closed", "its connection is closed, not reset")
        expect(proxy.wait() == 0, "it ends with 0")


@test("draining has an end: what hangs is cut off after its time")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], timeouts__drain=500) as proxy:
        client = Client(proxy.address)
        client.send(b"GET /hang HTTP/1.1\r\nHost: app.test\r\n\r\n")
        until(lambda: origin.requests == 1, "the origin hangs")
        web_socket = WebSocket(proxy.address, "app.test")
        proxy.signal(signal.SIGTERM)
        code = proxy.wait(10)
        expect(code == 0, f"it ended with {code}")
        client.ended()
        client.close()
        web_socket.close()
        proxy.check_sanitizers()


@test("a second SIGTERM ends it at once")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], timeouts__drain=600_000) as proxy:
        client = Client(proxy.address)
        client.send(b"GET /hang HTTP/1.1\r\nHost: app.test\r\n\r\n")
        until(lambda: origin.requests == 1, "the origin hangs")
        proxy.signal(signal.SIGTERM)
        until(lambda: not harness.accepts(proxy.port), "it drains")
        expect(proxy.alive(), "it waits for the request")
        proxy.signal(signal.SIGTERM)
        code = proxy.wait(5)
        expect(code == 0, f"it ended with {code}")
        client.close()
        proxy.check_sanitizers()


def main():
    options = harness.arguments(__doc__, lambda parser: parser.add_argument(
        "--store-tool", required=True, help="tests/support/store_tool, built"))
    global STORE_TOOL
    STORE_TOOL = pathlib.Path(options.store_tool).resolve()
    return harness.run(test, options)


if __name__ == "__main__":
    sys.exit(main())
