"""proxyd and its clients: hostile ones, limits and time-outs, and other people's programs.

    clients_test.py --proxyd PROGRAM [-k TEXT]
"""

import contextlib
import os
import re
import socket
import sys
import threading
import time

import harness
from client import Client, fetch
from harness import LOOPBACK, PATIENCE, Failed, expect, output_of, until
from load import Backend, Load, WebSocket, Wire, check_pattern
from proxyd import answers, plain, running, stopping

test = harness.Tests()
MIB = 1024 * 1024


# --- hostile clients and limits

@test("two thousand slowloris connections do not keep others from being served")
def _(directory):
    origin = Backend()
    with stopping(origin), running(
            directory, [plain("app.test", origin)], timeouts__client_header=10000, workers__count=2) as proxy:
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
            load.stop_prompt()
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


# --- other people's programs

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


if __name__ == "__main__":
    sys.exit(harness.run(test, harness.arguments(__doc__)))
