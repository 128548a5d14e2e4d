"""proxyd and its origins: those that fail, hang, cut off, crawl or do not read; and chaos on both sides.

    faults_test.py --proxyd PROGRAM [-k TEXT]
"""

import contextlib
import signal
import socket
import sys
import threading
import time

import harness
from chaos import Chaos
from client import Client, fetch
from harness import LOOPBACK, PATIENCE, expect, settled, until
from load import PATTERN, Backend, Load, Wire, check_pattern, pattern
from origin import DeadPort
from proxyd import answers, plain, reload, running, stopping

test = harness.Tests()
MIB = 1024 * 1024


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
            load.stop_prompt()
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
    # The host's own time, not the server's, which nobody would wait for.
    with running(directory, [plain("app.test", port, connectTimeout=300)],
                 timeouts__origin_connect=600_000) as proxy:
        status = fetch(proxy.address, "app.test").status
        expect(status == 504, f"expected 504, found {status}")
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
        expect(each < 3 * MIB, f"{each / 1024:.0f} KiB for each")
        for client in clients:
            client.reset()
        until(lambda: proxy.metrics()["proxycore_exchanges"] == 0, "all are forgotten")


@test("a host whose target is the proxy itself ends in 508, not in a loop")
def _(directory):
    origin = Backend()
    with stopping(origin), running(directory, [plain("app.test", origin)]) as proxy:
        reload(proxy, [plain("app.test", origin), plain("loop.test", proxy.port)])
        until(lambda: not answers(proxy, "loop.test", 404), "the loop is there")
        expect(answers(proxy, "loop.test", 508), f"expected 508, found {fetch(proxy.address, 'loop.test').line}")
        expect(answers(proxy, "app.test", "origin"), "others are served")


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


# --- chaos

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


if __name__ == "__main__":
    sys.exit(harness.run(test, harness.arguments(__doc__)))
