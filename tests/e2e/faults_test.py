"""proxyd under what happens to a proxy: origins that fail, changes and ends under load, hostile clients.

    faults_test.py --proxyd PROGRAM --store-tool PROGRAM [-k TEXT]
"""

import contextlib
import json
import os
import pathlib
import pwd
import re
import signal
import socket
import subprocess
import sys
import threading
import time

import harness
from chaos import Chaos
from harness import LOOPBACK, PATIENCE, Client, DeadPort, Failed, Origin, Proxyd, expect, fetch, record, until
from load import PATTERN, Backend, Load, WebSocket, Wire, check_pattern, pattern

MIB = 1024 * 1024
STORE_TOOL = None
test = harness.Tests()


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


# --- origins that fail

@test("an origin that is killed and comes back hurts only its host, and only while it is away")
def _(directory):
    first, second = Backend("first"), Backend("second")
    with stopping(second), running(directory, [plain("one.test", first), plain("two.test", second)]) as proxy:
        with Load(proxy.address, 4, lambda n: ("two.test", "/", ["second"])) as load:
            expect(answers(proxy, "one.test", "first"), "the first host answers")
            first.kill()
            until(lambda: answers(proxy, "one.test", 502), "the first host is 502")
            load.wait_passed(50)
            with stopping(Backend("first again", first.port)):
                until(lambda: answers(proxy, "one.test", "first again"), "the first host is back")
                load.wait_passed(50)
            load.stop()


@test("of two targets one is killed under load and no GET fails")
def _(directory):
    first, second = Backend("first"), Backend("second")
    host = plain("app.test", first, targets=[f"{LOOPBACK}:{second.port}"])
    with stopping(second), running(directory, [host], origins__cool_down=200) as proxy:
        with Load(proxy.address, 8, lambda n: ("app.test", "/", ["first", "second"])) as load:
            load.wait_passed(200)
            first.kill()
            load.wait_passed(500)
            with stopping(Backend("first", first.port)) as again:
                until(lambda: again.requests > 20, "the first target is used again after its rest")
                load.stop()


@test("a target that fails again and again rests")
def _(directory):
    dead = DeadPort()
    with stopping(Backend(), dead) as (origin, dead), running(
            directory, [plain("app.test", dead, targets=[f"{LOOPBACK}:{origin.port}"])],
            origins__failures=3, origins__cool_down=600_000) as proxy:
        for _ in range(40):
            expect(answers(proxy, "app.test", "origin"), "every request is answered by the other target")
        failures = proxy.metrics()["proxycore_origin_connect_failures_total"]
        expect(failures == 3, f"expected 3 attempts at the dead target, found {failures}")


@test("hanging, cut and slow origins hurt only themselves")
def _(directory):
    with stopping(Backend("good"), Backend("bad")) as (good, bad), running(
            directory, [plain("good.test", good), plain("bad.test", bad)],
            timeouts__origin_first_byte=700, timeouts__origin_idle=5000) as proxy:
        with Load(proxy.address, 4, lambda n: ("good.test", "/", ["good"])) as load:
            stuck = [Client(proxy.address) for _ in range(60)]
            for number, client in enumerate(stuck):
                target = ("/hang", "/cut", "/trickle/20/50")[number % 3]
                client.send(f"GET {target} HTTP/1.1\r\nHost: bad.test\r\n\r\n".encode())
            for number, client in enumerate(stuck):
                if number % 3 == 0:
                    expect(client.response().status == 504, "an origin that hangs is 504")
                elif number % 3 == 1:
                    response = client.response(partial=True)
                    expect(not response.complete and response.body == b"half", "half a response stays half")
                else:
                    expect(client.response().body == b"t" * 20, "a slow response comes whole")
                client.close()
            load.stop()
            expect(load.slowest < 2, f"the other host answers as always; the slowest took {load.slowest:.1f} s")
        until(lambda: proxy.metrics()["proxycore_exchanges"] == 0, "no request is left over")


@test("a target that does not accept connections is 504 after its time")
def _(directory):
    # A full backlog: further SYNs are dropped, as by a machine that is gone.
    listener = socket.create_server((LOOPBACK, 0), backlog=0)
    port = listener.getsockname()[1]
    fill = [socket.socket() for _ in range(4)]
    for connection in fill:
        connection.setblocking(False)
        connection.connect_ex((LOOPBACK, port))
    with running(directory, [plain("app.test", port, connectTimeout=300)]) as proxy:
        began = time.monotonic()
        status = fetch(proxy.address, "app.test").status
        expect(status == 504, f"expected 504, found {status}")
        expect(time.monotonic() - began < 10, "after its own time-out, not the default")
    listener.close()


@test("a target by name is resolved when it is used, and a dead name hurts only its host")
def _(directory):
    with stopping(Backend()) as origin, running(
            directory, [{**plain("name.test", origin), "ip": "localhost"},
                        {**plain("dead.test", origin), "ip": "no-such-name.invalid"}]) as proxy:
        expect(answers(proxy, "name.test", "origin"), "localhost is found")
        expect(answers(proxy, "dead.test", 502), "a name that does not exist is 502")
        expect(answers(proxy, "name.test", "origin"), "the other host goes on")


@test("more connections to a target than allowed are 503")
def _(directory):
    with stopping(Backend()) as origin, running(
            directory, [plain("app.test", origin)], limits__origin_connections=2) as proxy:
        busy = [Client(proxy.address) for _ in range(2)]
        for client in busy:
            client.send(b"GET /hang HTTP/1.1\r\nHost: app.test\r\n\r\n")
        until(lambda: origin.requests == 2, "both connections are in use")
        expect(answers(proxy, "app.test", 503), "a third is 503")
        for client in busy:
            client.reset()
        until(lambda: answers(proxy, "app.test", "origin"), "it goes on when one is free")


@test("interim responses without end are not relayed without end")
def _(directory):
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)]) as proxy:
        with Client(proxy.address) as client:
            client.send(b"GET /flood HTTP/1.1\r\nHost: app.test\r\n\r\n")
            statuses = []
            while not statuses or statuses[-1] < 200:
                response = client.response()
                expect(response, f"{client.end} after {statuses}")
                statuses.append(response.status)
            expect(statuses[-1] == 502 and len(statuses) < 200, f"expected 502 soon, found {statuses[-5:]}")


# --- large and slow bodies

def settled(count):
    """Until a number stops growing; returns it."""
    last, since = count(), time.monotonic()
    while time.monotonic() - since < 0.5:
        if count() != last:
            last, since = count(), time.monotonic()
        time.sleep(0.02)
    return last


@test("a client that does not read holds the origin back, and gets every byte in the end")
def _(directory):
    size = 200 * MIB
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)]) as proxy:
        before = proxy.rss()
        with contextlib.closing(socket.create_connection(proxy.address, PATIENCE)) as connection:
            connection.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
            until(lambda: origin.sent > 0, "the origin sends")
            taken = settled(lambda: origin.sent)
            grown = proxy.rss() - before
            expect(taken < 24 * MIB, f"the origin could send {taken // MIB} MiB to a client that reads nothing")
            expect(grown < 16 * MIB, f"the proxy grew by {grown // MIB} MiB")
            wire = Wire(connection)
            expect(" 200 " in wire.head()[0], "the response is there")
            wire.each(size, check_pattern(size))
        grown = proxy.rss() - before
        expect(grown < 24 * MIB, f"after {size // MIB} MiB the proxy has grown by {grown // MIB} MiB")


@test("an origin that does not read holds the client back, and gets every byte in the end")
def _(directory):
    size = 200 * MIB
    with stopping(Backend()) as origin, running(
            directory, [plain("app.test", origin)], timeouts__origin_first_byte=60_000) as proxy:
        before = proxy.rss()
        connection = socket.create_connection(proxy.address, PATIENCE)
        wire, sent = Wire(connection), [0]
        connection.sendall(f"POST /wait HTTP/1.1\r\nHost: app.test\r\nContent-Length: {size}\r\n\r\n".encode())

        def upload():
            for at in range(0, size, PATTERN):
                connection.sendall(pattern(at, PATTERN))
                sent[0] += PATTERN
        sender = threading.Thread(target=upload, daemon=True)
        connection.settimeout(3 * PATIENCE)
        sender.start()
        until(lambda: sent[0] > 0, "the upload begins")
        taken = settled(lambda: sent[0])
        grown = proxy.rss() - before
        expect(taken < 24 * MIB, f"{taken // MIB} MiB went to an origin that reads nothing")
        expect(grown < 16 * MIB, f"the proxy grew by {grown // MIB} MiB")
        origin.may_read.set()
        head = wire.head()
        expect(head and " 200 " in head[0], f"expected 200, found {head}")
        found = wire.exactly(int(head[1]["content-length"])).split()[0]
        expect(int(found) == size, f"expected {size} bytes at the origin, found {found}")
        sender.join(PATIENCE)
        connection.close()


@test("many clients that do not read cost a bounded amount each")
def _(directory):
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)]) as proxy:
        before = proxy.rss()
        clients = [Client(proxy.address) for _ in range(40)]
        for client in clients:
            client.send(b"GET /bytes/50000000 HTTP/1.1\r\nHost: app.test\r\n\r\n")
        until(lambda: origin.requests == 40, "all are served")
        settled(lambda: origin.sent)
        each = (proxy.rss() - before) / 40
        expect(each < 2 * MIB, f"{each / 1024:.0f} KiB for each")
        for client in clients:
            client.reset()
        until(lambda: proxy.metrics()["proxycore_exchanges"] == 0, "all are forgotten")


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


# --- hostile clients and limits

@test("two thousand slowloris connections do not keep others from being served")
def _(directory):
    origin = Backend()
    with stopping(origin), running(
            directory, [plain("app.test", origin)], timeouts__client_header=4000, workers__count=2) as proxy:
        with Load(proxy.address, 4, lambda n: ("app.test", "/", ["origin"])) as load:
            slow = []
            for number in range(2000):
                connection = socket.create_connection(proxy.address, PATIENCE)
                connection.sendall(b"GET / HTTP/1.1\r\nHost: app.test\r\nX-" + str(number).encode())
                slow.append(connection)
            until(lambda: proxy.metrics()["proxycore_connections"] >= 2000, "all of them are connected")
            load.wait_passed(200)
            drips = 0
            for connection in slow:  # a byte more each, which must not lengthen their time
                with contextlib.suppress(OSError):
                    connection.sendall(b"a")
                    drips += 1
            expect(drips > 0, "the connections take bytes")
            told = 0
            for connection in slow:
                connection.settimeout(PATIENCE)
                with contextlib.suppress(ConnectionResetError):
                    told += b" 408 " in connection.recv(4096)
                connection.close()
            expect(told > 1900, f"only {told} of 2000 were told 408")
            load.stop()
            expect(load.slowest < 3, f"the slowest of {load.passed} requests took {load.slowest:.1f} s")
        until(lambda: proxy.metrics()["proxycore_connections"] < 10, "none is left")


@test("connections over the limit of an address are told 503, those of others are not")
def _(directory):
    origin = Backend()
    with stopping(origin), running(
            directory, [plain("app.test", origin)], limits__connections_per_address=10) as proxy:
        held = [Client(proxy.address) for _ in range(10)]
        for client in held:
            client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            expect(client.response().status == 200, "within the limit")
        status = fetch(proxy.address, "app.test").status
        expect(status == 503, f"over the limit: expected 503, found {status}")
        other = fetch(proxy.address, "app.test", source="127.0.0.3").status
        expect(other == 200, f"another address: expected 200, found {other}")
        held[0].send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
        expect(held[0].response().status == 200, "who is connected goes on")
        held.pop().close()
        until(lambda: answers(proxy, "app.test", "origin"), "there is room again")
        refused = proxy.metrics()['proxycore_connections_refused_total{limit="address"}']
        expect(refused >= 1, "it is counted")
        for client in held:
            client.close()


@test("connections over the limit in all are told 503")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], limits__connections=10) as proxy:
        held = [Client(proxy.address, source=f"127.0.0.{10 + number}") for number in range(10)]
        for client in held:
            client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            expect(client.response().status == 200, "within the limit")
        status = fetch(proxy.address, "app.test").status
        expect(status == 503, f"over the limit: expected 503, found {status}")
        held.pop().close()
        until(lambda: answers(proxy, "app.test", "origin"), "there is room again")
        for client in held:
            client.close()


@test("a flood of connections leaves the metrics within reach and ends with the flood")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], limits__connections=100) as proxy:
        flood = []
        for _ in range(500):
            connection = socket.socket()
            connection.setblocking(False)
            connection.connect_ex(proxy.address)
            flood.append(connection)
        expect(proxy.admin("/livez").status == 200, "the admin listener answers")
        for connection in flood:
            connection.close()

        def served():
            with contextlib.suppress(Failed):  # far over the limit connections are just closed
                return answers(proxy, "app.test", "origin")
        until(served, "clients are served again")


@test("a connection ends after its number of requests, and says so")
def _(directory):
    origin = Backend()
    with stopping(origin), running(
            directory, [plain("app.test", origin)], limits__requests_per_connection=3) as proxy:
        with Client(proxy.address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n" * 3)
            closes = ["close" in client.response().tokens("Connection") for _ in range(3)]
            expect(closes == [False, False, True], f"Connection: close on {closes}")
            expect(client.ended() == "closed", "then it is closed")


@test("an idle connection is closed after its time without a word")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], timeouts__client_idle=300) as proxy:
        with Client(proxy.address) as client:
            client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
            expect(client.response().status == 200, "it is answered")
            expect(client.ended() == "closed" and not client.received, "closed, nothing said")


@test("a host whose target is the proxy itself ends in 508, not in a loop")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        reload(proxy, [plain("app.test", origin), plain("loop.test", proxy.port)])
        until(lambda: not answers(proxy, "loop.test", 404), "the loop is there")
        expect(answers(proxy, "loop.test", 508), f"expected 508, found {fetch(proxy.address, 'loop.test').line}")
        expect(answers(proxy, "app.test", "origin"), "others are served")


@test("a client that takes no bytes is given up, one that takes few is not")
def _(directory):
    size = 20 * MIB
    with stopping(Backend()) as origin, running(
            directory, [plain("app.test", origin)], timeouts__client_write=600) as proxy:
        asked = f"GET /bytes/{size} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode()
        lazy, slow = (Wire(socket.create_connection(proxy.address, PATIENCE)) for _ in range(2))
        for wire in (lazy, slow):
            wire.socket.sendall(asked)
        expect(" 200 " in slow.head()[0], "the slow one is answered")
        check, left = check_pattern(size), size
        while left:
            part = min(MIB // 2, left)
            slow.each(part, check)
            left -= part
            time.sleep(0.05)  # is slow
        until(lambda: proxy.metrics()['proxycore_failures_total{reason="client_timeout"}'] == 1, "it was given up")
        with contextlib.suppress(ConnectionResetError):
            while lazy.more():
                lazy.buffer = b""
        for wire in (lazy, slow):
            wire.socket.close()
        until(lambda: proxy.metrics()["proxycore_exchanges"] == 0, "nothing is left")


@test("a tunnel without bytes is closed after its time")
def _(directory):
    with stopping(Backend()) as origin, running(
            directory, [plain("app.test", origin)], timeouts__tunnel_idle=500) as proxy:
        web_socket = WebSocket(proxy.address, "app.test")
        web_socket.echo(b"hello")
        with contextlib.suppress(ConnectionResetError):
            expect(web_socket.wire.more() == 0, "nothing comes but the end")
        web_socket.close()
        until(lambda: not origin.open, "the origin's connection is closed too")


@test("connections to targets are kept, and closed after their time")
def _(directory):
    with stopping(Backend()) as origin, running(
            directory, [plain("app.test", origin)], timeouts__origin_keepalive=500) as proxy:
        with Client(proxy.address) as client:
            for _ in range(20):
                client.send(b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")
                expect(client.response().status == 200, "it is answered")
        expect(len(origin.open) == 1, f"{len(origin.open)} connections for one client")
        expect(proxy.metrics()["proxycore_origin_connections_idle"] == 1, "it is kept")
        until(lambda: not origin.open, "it is closed")
        expect(proxy.metrics()["proxycore_origin_connections"] == 0, "and counted so")


@contextlib.contextmanager
def in_chaos(directory, clients, **tables):
    """A proxy with good, dead and unresolvable targets, and clients gone mad."""
    first, second, dead = Backend("first"), Backend("second"), DeadPort()
    hosts = [plain("app.test", first), plain("two.test", first, targets=[f"{LOOPBACK}:{second.port}",
                                                                          f"{LOOPBACK}:{dead.port}"]),
             plain("dead.test", dead), {**plain("name.test", first), "ip": "localhost"}]
    seed = int(time.time())
    print(f"        chaos with seed {seed}")
    with stopping(first, second, dead), running(
            directory, hosts, workers__count=2, timeouts__origin_first_byte=800, timeouts__origin_idle=800,
            timeouts__client_body=800, timeouts__client_header=800, timeouts__client_write=800,
            timeouts__tunnel_idle=800, timeouts__client_idle=800, **tables) as proxy:
        chaos = Chaos(proxy.address, clients, seed)
        try:
            yield proxy, hosts, chaos
        finally:
            chaos.stop()


@test("chaos leaves nothing behind")
def _(directory):
    with in_chaos(directory, 24) as (proxy, hosts, chaos):
        for turn in range(12):
            reload(proxy, hosts if turn % 2 else hosts[:2])
            proxy.signal(signal.SIGUSR1)
            time.sleep(0.5)  # lets it go on for a while
            expect(proxy.admin("/livez").status == 200, "it lives")
        chaos.stop()
        expect(chaos.sent > 500, f"only {chaos.sent} requests were sent")
        until(lambda: proxy.metrics()["proxycore_connections"] == 0, "no client is left")
        for name in ("exchanges", "tunnels"):
            until(lambda: proxy.metrics()[f"proxycore_{name}"] == 0, f"no {name} are left")
        found = proxy.metrics()
        idle, held = (found[f"proxycore_origin_connections{kind}"] for kind in ("_idle", ""))
        expect(idle == held, f"{held} connections to targets, {idle} of them idle")
        expect(answers(proxy, "app.test", "first"), "it serves as before")


@test("SIGTERM amid chaos ends with 0")
def _(directory):
    for turn in range(3):
        with in_chaos(directory, 16, timeouts__drain=1500) as (proxy, _, chaos):
            until(lambda: chaos.sent > 100, "it is under way")
            proxy.stop()


# --- other people's programs

def output_of(*command, **more):
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=3 * PATIENCE, **more)
    expect(done.returncode == 0, f"{command[0]} ended with {done.returncode}: "
           f"{done.stdout.decode(errors='replace')[-800:]}{done.stderr.decode(errors='replace')[-800:]}")
    return done.stdout.decode()


@test("curl: keep-alive, uploads, downloads, HTTP/1.0, Expect")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        curl = ["curl", "-sS", "--fail", "--noproxy", "*", "--resolve", f"app.test:{proxy.port}:{LOOPBACK}"]
        url = f"http://app.test:{proxy.port}"
        body = directory / "body"
        body.write_bytes(os.urandom(5 * MIB))
        counts = output_of(*curl, "-w", "%{num_connects} ", *["-o", "/dev/null", f"{url}/"] * 10).split()
        expect(counts == ["1"] + ["0"] * 9, f"ten requests on one connection, found {counts}")
        for more in ([], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"], ["--http1.0"]):
            found = output_of(*curl, *more, "--data-binary", f"@{body}", f"{url}/sum").split()[0]
            expect(found == str(5 * MIB), f"upload {more}: {found} bytes arrived")
        target = directory / "download"
        output_of(*curl, "-o", target, f"{url}/bytes/{5 * MIB}")
        check_pattern(5 * MIB)(target.read_bytes())
        expect("HTTP/1.1 200" in output_of(*curl, "-I", f"{url}/"), "HEAD is answered")
        expect(output_of(*curl, "--http1.0", f"{url}/") == "origin", "HTTP/1.0 is answered")


@test("wrk and h2load find no failed request")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], workers__count=2) as proxy:
        url = f"http://{LOOPBACK}:{proxy.port}/"
        told = output_of("wrk", "-t1", "-c64", "-d2s", "-H", "Host: app.test", url)
        expect("Socket errors" not in told and "Non-2xx" not in told, told)
        expect(int(re.search(r"(\d+) requests in", told)[1]) > 200, told)
        told = output_of("h2load", "--h1", "-n", "2000", "-c", "32", f"--connect-to={LOOPBACK}:{proxy.port}",
                         "http://app.test/")
        expect(re.search(r"2000 succeeded, 0 failed, 0 errored, 0 timeout", told), told)


@test("clients of HTTP/1.0 are served with and without keep-alive")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        for keep in (False, True):
            wire = None
            for _ in range(200):
                if wire is None:
                    wire = Wire(socket.create_connection(proxy.address, PATIENCE))
                option = "Connection: Keep-Alive\r\n" if keep else ""
                wire.socket.sendall(f"GET / HTTP/1.0\r\nHost: app.test\r\n{option}\r\n".encode())
                line, fields = wire.head()
                expect(" 200 " in line and wire.exactly(int(fields["content-length"])) == b"origin", line)
                expect((fields.get("connection", "").lower() == "keep-alive") == keep, f"{fields}")
                if not keep:
                    expect(wire.more() == 0, "the connection ends after the answer")
                    wire.socket.close()
                    wire = None
            if wire:
                wire.socket.close()


@test("pipelined requests are answered in order, however many")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        count = 3000
        with Client(proxy.address) as client:
            asked = b"".join(f"GET /bytes/{number % 100 + 1} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode()
                             for number in range(count))
            sender = threading.Thread(target=client.socket.sendall, args=(asked,), daemon=True)
            sender.start()
            wire = Wire(client.socket)
            for number in range(count):
                line, fields = wire.head()
                size = int(fields["content-length"])
                expect(" 200 " in line and size == number % 100 + 1, f"answer {number}: {line}, {size} bytes")
                wire.exactly(size)
            sender.join(PATIENCE)


@test("WebSockets echo small and large messages, many at a time")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)], workers__count=2) as proxy:
        sockets = [WebSocket(proxy.address, "app.test") for _ in range(50)]
        expect(proxy.metrics()["proxycore_tunnels"] == 50, "they are counted")
        for size in (0, 1, 125, 126, 4096, 65535, 65536, 200_000):
            payload = os.urandom(size)
            for web_socket in sockets[:5 if size > 5000 else 50]:
                web_socket.echo(payload)
        for web_socket in sockets:
            web_socket.close()
        until(lambda: proxy.metrics()["proxycore_tunnels"] == 0, "they are gone")


# --- operations

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
                  "request_duration_seconds_count": 7, 'lookups_total{tier="trie",result="miss"}': 1,
                  'lookups_total{tier="trie",result="hit"}': 6, "request_bytes_total": 25, "exchanges": 0}
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


def main():
    def more(parser):
        parser.add_argument("--store-tool", required=True, help="tests/support/store_tool, built")
    options = harness.arguments(__doc__.split("\n")[0], more)
    global STORE_TOOL
    STORE_TOOL = pathlib.Path(options.store_tool).resolve()
    return harness.run(test, options)


if __name__ == "__main__":
    sys.exit(main())
