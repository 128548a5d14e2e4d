"""proxyd and clients that do not play by TLS's rules, or take no part in it; and a store full of certificates.

    tls_hostile_test.py --proxyd PROGRAM [-k TEXT]
"""

import contextlib
import os
import random
import socket
import ssl
import struct
import sys
import time

import harness
from certificates import authority, records
from client import Client, reset
from harness import PATIENCE, Failed, expect, slack, until
from load import Backend, Load
from proxyd import plain, running, stopping
from tls_client import TlsClient, client_hello, connects, context, dial, fetch_tls, shown

test = harness.Tests()
MIB = 1024 * 1024
HANDSHAKE = "timeouts__tls_handshake"


@contextlib.contextmanager
def serving(directory, **tables):
    """A proxyd with one host, that is served to others throughout and holds no connection in the end."""
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], workers__count=2,
                                                certificates=[authority().issue("app.test")],
                                                **tables) as proxy:
        with Load(proxy.tls_address, 1, lambda n: ("app.test", "/", ["origin"]), keep=False,
                  connect=connects("app.test")) as load:
            load.wait_passed(5)
            yield proxy, load
            load.wait_passed(5)
            load.stop_prompt()
        until(lambda: proxy.metrics()["proxycore_connections"] <= 1, "no connection is left")


class Handshake:
    """One that is done by hand: what is sent, in which pieces, is the test's."""

    def __init__(self, proxy, name="app.test", how=None):
        self.hello, (self.client, self.incoming, self.outgoing) = client_hello(name, how)
        self.socket = socket.create_connection(proxy.tls_address, PATIENCE)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def pieces(self, size):
        """The ClientHello in records of `size` bytes (RFC 8446 §5.1)."""
        message = self.hello[5:]
        return [b"\x16\x03\x01" + struct.pack(">H", len(part)) + part
                for part in (message[at:at + size] for at in range(0, len(message), size))]

    def run(self, what, send=None):
        """Goes on until `what()` does not want more bytes."""
        while True:
            try:
                result = what()
            except ssl.SSLWantReadError:
                result = None
            if to_send := self.outgoing.read():
                (send or self.socket.sendall)(to_send)
            if result is not None:
                return result
            part = self.socket.recv(65536)
            if not part:
                raise ConnectionError("ended within the handshake")
            self.incoming.write(part)

    def finish(self, send=None):
        self.run(lambda: self.client.do_handshake() or True, send)
        self.client.write(b"GET / HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n")
        answer = self.run(lambda: self.client.read(65536), send)
        expect(answer.startswith(b"HTTP/1.1 200"), f"found {answer[:200]}")
        self.socket.close()

    def bytewise(self, data):
        for at in range(len(data)):
            self.socket.sendall(data[at:at + 1])


def ends(connection, patience=PATIENCE):
    """What the proxy says until it ends the connection."""
    connection.settimeout(patience)
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            said += part
    connection.close()
    return said


def told(said):
    """(level, description) of the alert that was said last, or None."""
    return (said[-2], said[-1]) if len(said) >= 7 and said[-7:-5] == b"\x15\x03" else None


# --- ClientHellos

@test("a ClientHello is understood in any pieces: bytes of segments, bytes of records")
def _(directory):
    with serving(directory) as (proxy, _):
        for version in (1.3, 1.2):
            whole = Handshake(proxy, how=context(version=version))
            whole.socket.sendall(whole.hello)
            whole.finish()
            dripped = Handshake(proxy, how=context(version=version))
            dripped.bytewise(dripped.hello)
            dripped.finish(dripped.bytewise)
            for size in (1, 2, 100):
                records_ = Handshake(proxy, how=context(version=version))
                records_.socket.sendall(b"".join(records_.pieces(size)))
                records_.finish()
            both = Handshake(proxy, how=context(version=version))
            both.bytewise(b"".join(both.pieces(3)))
            both.finish(both.bytewise)


@test("a ClientHello that is cut off anywhere costs nothing, by FIN or by RST")
def _(directory):
    with serving(directory) as (proxy, _):
        for cut in (*range(0, 60, 3), *range(60, 500, 37)):
            for act in (lambda one: one.shutdown(socket.SHUT_WR), reset):
                half = Handshake(proxy)
                half.socket.sendall(half.hello[:min(cut, len(half.hello) - 1)])
                act(half.socket)
                if act is not reset:
                    expect(b"HTTP" not in ends(half.socket), "it was taken for HTTP")


@test("what is no ClientHello is refused with an alert, whatever it is")
def _(directory):
    chance = random.Random(4)
    with serving(directory) as (proxy, _):
        hello = client_hello("app.test")[0]
        body = hello[9:]  # without the heads of record and message

        def message(kind, content, length=None):
            text = bytes([kind]) + struct.pack(">I", len(content) if length is None else length)[1:] + content
            return b"".join(b"\x16\x03\x01" + struct.pack(">H", len(text[at:at + 16384])) + text[at:at + 16384]
                            for at in range(0, len(text), 16384))

        def padded(size):
            """A ClientHello that is right but for its size (RFC 7685)."""
            at = 2 + 32
            at += 1 + body[at]
            at += 2 + struct.unpack(">H", body[at:at + 2])[0]
            at += 1 + body[at]
            extensions = body[at + 2:] + struct.pack(">HH", 21, size) + bytes(size)
            return message(1, body[:at] + struct.pack(">H", len(extensions)) + extensions)
        wrong = {"a ServerHello": message(2, body), "a Finished": message(20, bytes(12)),
                 "a huge message": message(1, body, 0xffffff), "a message of 60 KiB": padded(60_000),
                 "an empty one": message(1, b""), "one byte short": message(1, body[:-1]),
                 "an alert": b"\x15\x03\x01\0\2\2\x28", "application data": b"\x17\x03\x03\0\5hello",
                 "change cipher spec": b"\x14\x03\x03\0\1\1", "empty records": b"\x16\x03\x01\0\0" * 10_000,
                 "a record of 64 KiB": b"\x16\x03\x01\xff\xff" + bytes(65535),
                 "SSL 2": b"\x80\x2e\x01\0\2\0\x15\0\0\0\x10" + bytes(37),
                 "SSL 3": b"\x16\3\0" + hello[3:9] + b"\3\0" + hello[11:], "zeros": bytes(4096),
                 "ssh": b"SSH-2.0-OpenSSH_9.2\r\n", "smtp": b"EHLO example.test\r\n", "ones": b"\xff" * 4096}
        wrong.update({f"noise {number}": chance.randbytes(3000) for number in range(20)})
        wrong.update({f"noise in a hello, {number}": message(1, body[:40] + chance.randbytes(len(body) - 40))
                      for number in range(20)})
        wrong.update({f"a flipped byte, {number}": hello[:place] + bytes([hello[place] ^ 0xff]) + hello[place + 1:]
                      for number, place in enumerate(chance.sample(range(len(hello)), 30))})
        before = proxy.rss()
        for what, data in wrong.items():
            connection = socket.create_connection(proxy.tls_address, PATIENCE)
            with contextlib.suppress(OSError):  # it may have been closed already
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
            said = ends(connection)
            expect(b"HTTP" not in said, f"{what}: {said[:100]}")
            if "noise" not in what and "flipped" not in what and "alert" not in what:
                alert = told(said)
                expect(not said or alert and alert[0] == 2, f"{what}: said {said[-40:].hex()}")
        grown = proxy.rss() - before
        expect(grown < 16 * MIB * slack(), f"it grew by {grown // MIB} MiB")


@test("plain HTTP on the port of TLS is told so")
def _(directory):
    with serving(directory) as (proxy, _):
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            with Client(proxy.tls_address) as client:
                client.send(f"{method} / HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
                found = client.response()
                expect(found.status == 400 and b"https://" in found.body, f"{method}: {found.line} {found.body}")
                expect(client.ended() == "closed", "and the connection is closed, not reset")


@test("a handshake has its time, which drips do not lengthen")
def _(directory):
    with serving(directory, **{HANDSHAKE: 700}) as (proxy, _):
        dripping, silent, stopped = Handshake(proxy), Handshake(proxy), Handshake(proxy)
        stopped.socket.sendall(stopped.hello)
        expect(stopped.socket.recv(1) == b"\x16", "the proxy has answered")
        began = time.monotonic()
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            for byte in dripping.hello:
                dripping.socket.sendall(bytes([byte]))
                time.sleep(0.02)  # is slow
        took = time.monotonic() - began
        expect(took < 5 * slack(), f"it was let drip for {took:.1f} s")
        for one in (dripping, silent, stopped):
            said = ends(one.socket)
            expect(b"HTTP" not in said, f"it was told {said[:100]}")


@test("records that are forged, too long or from nowhere end their connection and no other")
def _(directory):
    with serving(directory) as (proxy, _):
        for version in (1.3, 1.2):
            for what, forged in (("a wrong tag", b"\x17\x03\x03\0\x28" + bytes(40)),
                                 ("too short", b"\x17\x03\x03\0\3abc"),
                                 ("too long", b"\x17\x03\x03\x48\x01" + bytes(0x4801)),
                                 ("not encrypted", b"\x16\x03\x03\0\4\0\0\0\0"),
                                 ("an alert in the clear", b"\x15\x03\x03\0\2\1\0"),
                                 ("plain HTTP", b"GET / HTTP/1.1\r\nHost: app.test\r\n\r\n")):
                for done in (False, True):
                    one = Handshake(proxy, how=context(version=version))
                    one.socket.sendall(one.hello)
                    if done:
                        one.run(lambda: one.client.do_handshake() or True)
                    else:
                        expect(one.socket.recv(1) == b"\x16", "the proxy has answered")
                    with contextlib.suppress(OSError):  # it may have been closed already
                        one.socket.sendall(forged)
                        one.socket.shutdown(socket.SHUT_WR)
                    said = ends(one.socket)
                    expect(b"HTTP" not in said, f"{what}, {version}, {done}: said {said[:60]}")


@test("an upload that ends without close_notify is no whole request")
def _(directory):
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)],
                                                certificates=[authority().issue("app.test")]) as proxy:
        for head, body in (("Content-Length: 100", b"half"), ("Transfer-Encoding: chunked", b"4\r\nhalf\r\n")):
            client = TlsClient(proxy.tls_address, "app.test")
            client.send(f"POST /sum HTTP/1.1\r\nHost: app.test\r\n{head}\r\n\r\n".encode() + body)
            until(lambda: origin.read >= 4, "half has arrived")
            os.close(client.socket.detach())
            until(lambda: proxy.metrics()["proxycore_exchanges"] == 0, "the exchange is over")
            origin.read = 0
        until(lambda: not origin.open, "the origin's connections were closed, not kept")


# --- many

@test("5,000 half-open handshakes: others are served, memory is bounded")
def _(directory):
    count = 5000 // 3 + 1
    hello = client_hello("app.test")[0]
    kinds = (("no byte", b"", 4), ("half a ClientHello", hello[:len(hello) // 2], 8), ("stopped after it", hello, 64))
    with serving(directory, **{HANDSHAKE: 300_000}) as (proxy, load):
        held, figures = [], []
        base = proxy.metrics()["proxycore_connections"]
        for what, sent, most in kinds:
            load.wait_passed(10)
            before = proxy.rss()
            for _ in range(count):
                connection = socket.create_connection(proxy.tls_address, PATIENCE)
                connection.sendall(sent)
                held.append(connection)
            if sent == hello:
                for connection in held[-count:]:
                    expect(connection.recv(1) == b"\x16", "the proxy has answered")
            until(lambda: proxy.metrics()["proxycore_connections"] >= base - 1 + len(held), "all are connected")
            load.wait_passed(20)
            grown = (proxy.rss() - before) / count / 1024
            figures.append(f"{what}: {grown:.1f} KiB each")
            expect(grown < most * slack(), f"{what}: {grown:.1f} KiB for each of {count} connections")
        print("        " + ", ".join(figures))
        for connection in held:
            connection.close()


@test("a flood of names without certificates: others are served, memory is bounded")
def _(directory):
    with serving(directory, store__url=f"sqlite:{directory}/store.db", tls__certificates=1000) as (proxy, load):
        before, flood = proxy.rss(), 6000
        for number in range(flood):
            one = Handshake(proxy, f"n{number}.flood.test", context(verify=False))
            one.socket.sendall(one.hello)
            if number % 3:  # some go before they have their answer
                expect(one.socket.recv(1) == b"\x16", "the proxy has answered")
            one.socket.close()
        load.wait_passed(20)
        grown = proxy.rss() - before
        expect(grown < 16 * MIB * slack(), f"it grew by {grown // MIB} MiB for {flood} names")


@test("2,000 handshakes that go no further are given up after their time")
def _(directory):
    hello = client_hello("app.test")[0]
    with serving(directory, **{HANDSHAKE: 3000}) as (proxy, _):
        held = []
        for number in range(2000):
            connection = socket.create_connection(proxy.tls_address, PATIENCE)
            connection.sendall((b"", hello[:100], hello)[number % 3])
            held.append(connection)
        until(lambda: proxy.metrics()["proxycore_connections"] < 10, "they are given up")
        for connection in held:
            ends(connection)


@test("connections over a limit are turned away without a word of HTTP in the clear")
def _(directory):
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)],
                                                limits__connections_per_address=5,
                                                certificates=[authority().issue("app.test")]) as proxy:
        held = [TlsClient(proxy.tls_address, "app.test") for _ in range(5)]
        for client in held:
            expect(client.ask("app.test").status == 200, "within the limit")
        try:
            with TlsClient(proxy.tls_address, "app.test") as client:
                status = client.ask("app.test").status
                expect(status == 503, f"over the limit: {status}")
        except (ssl.SSLEOFError, ConnectionResetError, ssl.SSLZeroReturnError):
            pass
        except ssl.SSLError as error:
            raise Failed(f"over the limit: {error}") from None
        with TlsClient(proxy.tls_address, "app.test", source="127.0.0.3") as client:
            expect(client.ask("app.test").status == 200, "another address is served")
        for client in held:
            client.close()


@test("100,000 certificates in the store: read when they are asked for")
def _(directory):
    # One certificate under 100,000 names: each is read and parsed for itself all the same.
    count, asked = 100_000, 500
    pair = authority().issue("*.cold.test")
    text = pair.record()
    path = directory / "store.db"
    tables = {"store__url": f"sqlite:{path}", "certificates": []}
    with stopping(Backend()) as origin:
        hosts = [plain("**.cold.test", origin)]
        with running(directory, hosts, name="empty", **tables) as proxy:
            shown(proxy.tls_address, None)
            empty = proxy.rss()
        with records(path) as kept:
            kept.put_all((f"n{number}.cold.test", text) for number in range(count))
        began = time.monotonic()
        with running(directory, hosts, name="full", **tables) as proxy:
            start = time.monotonic() - began
            shown(proxy.tls_address, None)
            cold = proxy.rss()
            names = [f"n{number}.cold.test" for number in random.Random(4).sample(range(count), asked)]
            how = context()

            def shake(name):
                began = time.perf_counter()
                with dial(proxy.tls_address, name, how):
                    return (time.perf_counter() - began) * 1000
            first = sorted(shake(name) for name in names)
            warm = proxy.rss()
            again = sorted(shake(name) for name in names)
            expect(fetch_tls(proxy.tls_address, names[0]).status == 200, "it is served")
            print(f"        started in {start:.2f} s; {(cold - empty) / count / 1024:.2f} KiB for each cold one, "
                  f"{(warm - cold) / asked / 1024:.1f} KiB for each in use; handshakes p50, p99: "
                  f"cold {first[asked // 2]:.1f}, {first[asked * 99 // 100]:.1f} ms; "
                  f"then {again[asked // 2]:.1f}, {again[asked * 99 // 100]:.1f} ms")
            expect(start < 10 * slack(), f"it took {start:.1f} s to start")
            each = (cold - empty) / count
            expect(each < 2048 * slack(), f"{each} bytes for each that is not in use")
            median = first[asked // 2]
            expect(median < 100 * slack(), f"half of the first handshakes took longer than {median:.1f} ms")


if __name__ == "__main__":
    sys.exit(harness.run(test, harness.arguments(__doc__)))
