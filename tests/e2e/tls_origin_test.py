"""TLS to targets: verification, names, sessions, and content, with nginx as the target.

    tls_origin_test.py --proxyd PROGRAM [-k TEXT]
"""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import zlib

import harness
from certificates import Pair, authority, needs
from client import fetch
from harness import LOOPBACK, PATIENCE, expect, free_port, output_of, settled, until
from load import Backend, Load, WebSocket, Wire, check_pattern, pattern
from origin import Answer, Origin
from proxyd import Process, plain, running, stopping
from redis_server import redis_server

test = harness.Tests()
MIB = 1024 * 1024

CONFIG = """
daemon off; master_process off; pid {directory}/nginx.pid; error_log {directory}/nginx.log info;
events {{ worker_connections 4000; }}
http {{
  log_format line "$server_port $ssl_server_name $ssl_protocol $ssl_session_reused $status";
  access_log {directory}/nginx.access line; client_max_body_size 0;
  client_body_temp_path {directory}; proxy_temp_path {directory}; fastcgi_temp_path {directory};
  uwsgi_temp_path {directory}; scgi_temp_path {directory};
  map $http_upgrade $connection_upgrade {{ default upgrade; "" ""; }}
{servers}
}}
"""
SERVER = """
  server {{
    listen {port} ssl; ssl_certificate {chain}; ssl_certificate_key {key}; ssl_protocols {protocols}; {more}
    location / {{
      proxy_pass http://{backend}; proxy_http_version 1.1; proxy_request_buffering off; proxy_buffering off;
      proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection $connection_upgrade;
    }}
    location = /once {{ keepalive_timeout 0; return 200 once; }}
    location = /told {{ return 200 "$scheme $host $http_x_forwarded_proto"; }}
  }}"""


class TlsNginx(Process):
    """nginx that speaks TLS on a port for each certificate, in front of a plain origin."""

    def __init__(self, directory, backend, *certificates, protocols="TLSv1.2 TLSv1.3", more=""):
        needs("nginx", "nginx")
        self.access = pathlib.Path(directory) / "nginx.access"
        self.backend = backend
        self.ports = [free_port() for _ in certificates]
        servers = "".join(SERVER.format(port=f"{LOOPBACK}:{port}", chain=pair.chain, key=pair.key, protocols=protocols,
                                        backend=f"{LOOPBACK}:{backend.port}", more=more)
                          for port, pair in zip(self.ports, certificates))
        config = pathlib.Path(directory) / "nginx.conf"
        config.write_text(CONFIG.format(directory=directory, servers=servers))
        super().__init__(["nginx", "-p", directory, "-c", config], directory, "nginx",
                         ready=lambda: all(harness.accepts(port) for port in self.ports))

    @property
    def port(self):
        return self.ports[0]

    def lines(self, count):
        """What it logged of so many requests: [port, server name, protocol, "r" if resumed, status]."""
        def enough():
            found = [line.split() for line in self.access.read_text().splitlines()]
            return found if len(found) >= count else None
        return until(enough, f"nginx has logged {count} requests")

    def stop(self):
        self.signal(15)
        self.wait()


@contextlib.contextmanager
def nginx(directory, *certificates, **more):
    with stopping(Backend()) as backend, stopping(TlsNginx(directory, backend, *certificates, **more)) as target:
        yield target


def over_tls(name, target, **more):
    """A host whose target is asked for "localhost", unless said otherwise."""
    return plain(name, target, targetssl=True, **{"ip": "localhost", **more})


def trusting(directory, hosts, **tables):
    return running(directory, hosts, tls__origin_ca=str(authority().root), **tables)


def lone(directory, name):
    """A certificate signed by itself."""
    pair = Pair(directory / "lone.pem", directory / "lone.key")
    output_of("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", 10,
              "-keyout", pair.key, "-out", pair.chain, "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}")
    return pair


def problem(proxy):
    """Of the last request in the access log."""
    def told():
        lines = proxy.access_path.read_text().splitlines()
        return lines and json.loads(lines[-1]).get("problem")
    return until(told, "the access log has the request's problem")


def expect_refused(proxy, host, why, text="the target's certificate is not valid"):
    """502, without the details for the client; the log has them for operators."""
    response = fetch(proxy.address, host)
    expect(response.status == 502, f"{host}: expected 502, found {response.status}")
    for detail in ("certificate", "TLS", "localhost", LOOPBACK):
        expect(detail.encode() not in response.body, f"the reply tells of {detail}")
    expect(problem(proxy) == text, f"{host}: the access log says {problem(proxy)}")
    until(lambda: any("target.tls" in line and f"host={host}" in line and why in line
                      for line in proxy.log_path.read_text().splitlines()), f"the log says of {host}: {why}")


def handshakes(proxy):
    names = ("full", "resumed", "bad_certificate", "failed")
    found = proxy.metrics()
    return {name: int(found[f'proxycore_origin_handshakes_total{{result="{name}"}}']) for name in names}


# --- verification

@test("a target with a certificate of tls.origin_ca for its name, its address or the name it is asked for is used")
def _(directory):
    by_name, by_address = authority().issue("localhost"), authority().issue(LOOPBACK)
    other, wildcard = authority().issue("other.test", key="rsa"), authority().issue("*.w.test", key="p384")
    with nginx(directory, by_name, by_address, other, wildcard) as target, trusting(directory, [
            over_tls("name.test", target.ports[0]), over_tls("address.test", target.ports[1], ip=LOOPBACK),
            over_tls("other.test", target.ports[2], targetServerName="other.test"),
            over_tls("wildcard.test", target.ports[3], ip=LOOPBACK, targetServerName="a1.w.test")]) as proxy:
        for host in ("name.test", "address.test", "other.test", "wildcard.test"):
            response = fetch(proxy.address, host)
            expect(response.status == 200 and response.body == b"origin", f"{host}: {response.status}")
        names = [line[1] for line in target.lines(4)]
        expect(names == ["localhost", "-", "other.test", "a1.w.test"], f"nginx was asked for {names}")
        told = fetch(proxy.address, "name.test", "/told").body
        expect(told == b"https name.test http", f"the scheme forwarded is the client's: {told}")
        expect(proxy.metrics()['proxycore_origin_unverified_connects_total{why="insecure"}'] == 0, "all are verified")


@test("expired, foreign, self-signed and unknown certificates are refused, and the reason is logged")
def _(directory):
    pairs = [authority().issue("localhost", ended=True), authority().issue("other.test"), lone(directory, "localhost"),
             authority().issue("127.0.0.2")]
    with nginx(directory, *pairs) as target, trusting(directory, [
            over_tls("expired.test", target.ports[0]), over_tls("foreign.test", target.ports[1]),
            over_tls("lone.test", target.ports[2]), over_tls("address.test", target.ports[3], ip=LOOPBACK)]) as proxy:
        expect_refused(proxy, "expired.test", "the certificate has expired")
        expect_refused(proxy, "foreign.test", "the certificate is for another name")
        expect_refused(proxy, "lone.test", "no known authority has signed the certificate")
        expect_refused(proxy, "address.test", "the certificate is for another name")
        expect(handshakes(proxy) == {"full": 0, "resumed": 0, "bad_certificate": 4, "failed": 0}, "all are counted")
        expect(not target.access.read_text(), "no request has reached a target")


@test("without tls.origin_ca the system's authorities decide, who do not know the tests'")
def _(directory):
    with nginx(directory, authority().issue("localhost")) as target, running(
            directory, [over_tls("a.test", target)]) as proxy:
        expect_refused(proxy, "a.test", "")


@test("a tls.origin_ca that is not there keeps the proxy from starting")
def _(directory):
    config = directory / "proxyd.toml"
    config.write_text(f'[listen]\nhttp = ["{LOOPBACK}:{free_port()}"]\n[tls]\norigin_ca = "{directory}/none.pem"\n')
    done = subprocess.run([harness.program, "--config", config], capture_output=True, text=True, timeout=PATIENCE,
                          check=False, cwd=directory)
    said = done.stdout + done.stderr
    told = f"tls.origin_ca: {directory}/none.pem: cannot be read: No such file"
    expect(done.returncode not in (0, None) and told in said, said)


@test("SIGHUP reads tls.origin_ca again, and keeps the authorities known before for a broken file")
def _(directory):
    trusted = directory / "trusted.pem"
    shutil.copy(lone(directory, "other.test").chain, trusted)
    with nginx(directory, authority().issue("localhost")) as target, running(
            directory, [over_tls("a.test", target)], tls__origin_ca=str(trusted), workers__count=2) as proxy:
        expect_refused(proxy, "a.test", "no known authority has signed the certificate")
        shutil.copy(authority().root, trusted)
        proxy.signal(signal.SIGHUP)
        until(lambda: fetch(proxy.address, "a.test").status == 200, "the authority is known now")
        trusted.write_text("nonsense")
        proxy.signal(signal.SIGHUP)
        until(lambda: f"tls.origin_ca: {trusted}" in proxy.log_path.read_text(), "the broken file is told of")
        for _ in range(4):
            expect(fetch(proxy.address, "a.test", fields="Connection: close\r\n").status == 200, "it goes on")


@test("a target whose certificate is not valid counts as failed, and the other one answers")
def _(directory):
    good, bad = authority().issue("localhost"), authority().issue("localhost", ended=True)
    with nginx(directory, bad, good) as target, trusting(
            directory, [over_tls("a.test", target.ports[0], targets=[f"localhost:{target.ports[1]}"])],
            origins__failures=3, origins__cool_down=600_000) as proxy:
        for _ in range(20):
            expect(fetch(proxy.address, "a.test").status == 200, "every request is answered")
        expect(handshakes(proxy)["bad_certificate"] == 3, f"it rests after three: {handshakes(proxy)}")
        until(lambda: "origin.rests" in proxy.log_path.read_text(), "its rest is logged")


# --- no verification

@test("a host that does not verify says so once, and shares no connection with one that does")
def _(directory):
    with nginx(directory, lone(directory, "localhost")) as target, trusting(directory, [
            over_tls("strict.test", target), over_tls("loose.test", target, targetVerify=False),
            over_tls("second.test", target, targetVerify=False)], workers__count=2) as proxy:
        for _ in range(8):
            expect(fetch(proxy.address, "loose.test").status == 200, "any certificate will do")
            expect(fetch(proxy.address, "second.test").status == 200, "any certificate will do")
            expect(fetch(proxy.address, "strict.test").status == 502, "not here")
        log = proxy.log_path.read_text()
        for host in ("loose.test", "second.test"):
            lines = [line for line in log.splitlines() if "target.insecure" in line and f"host={host}" in line]
            expect(len(lines) == 1 and "targetVerify is false" in lines[0], f"one warning each: {lines}")
        expect("host=strict.test" not in "".join(line for line in log.splitlines() if "target.insecure" in line),
               "there is nothing to warn about")
        count = proxy.metrics()['proxycore_origin_unverified_connects_total{why="insecure"}']
        expect(1 <= count <= 2, f"one connection a worker at most, found {count}")


def expect_legacy(proxy):
    for _ in range(3):
        expect(fetch(proxy.address, "old.test").status == 200, "a record of older software works on")
    found = proxy.metrics()
    expect(found['proxycore_origin_unverified_connects_total{why="legacy"}'] == 1, "its connection is counted")
    expect(found['proxycore_origin_unverified_connects_total{why="insecure"}'] == 0, "as what it is")
    lines = [line for line in proxy.log_path.read_text().splitlines() if "target.insecure" in line]
    expect(len(lines) == 1 and "host=old.test" in lines[0] and "older software" in lines[0], f"{lines}")


@test("a record of older software in SQLite is served unverified, with a warning, until it says otherwise")
def _(directory):
    path = directory / "store.db"
    with nginx(directory, lone(directory, "localhost")) as target, trusting(
            directory, [], store__url=f"sqlite:{path}") as proxy:
        kept = sqlite3.connect(path, timeout=PATIENCE, isolation_level=None)

        def put(**fields):
            kept.execute("BEGIN IMMEDIATE")
            for field, value in fields.items():
                kept.execute("DELETE FROM records WHERE key = 'proxy_Host_old.test' AND field = ?", (field,))
                kept.execute("INSERT INTO records VALUES ('proxy_Host_old.test', ?, ?, NULL)", (field, str(value)))
            kept.execute("INSERT INTO changes (key, writer) VALUES ('proxy_Host_old.test', 0)")
            kept.execute("COMMIT")
        put(host="old.test", ip="localhost", targetPort=target.port, forcessl="false", targetssl="true")
        until(lambda: fetch(proxy.address, "old.test").status == 200, "the host is there")
        expect_legacy(proxy)
        put(targetVerify="true")
        until(lambda: fetch(proxy.address, "old.test").status == 502, "it is verified now")
        kept.close()


@test("a record of older software in Redis is served unverified, with a warning")
def _(directory):
    with nginx(directory, lone(directory, "localhost")) as target, redis_server(directory) as redis:
        redis.save("old.test", target, ip="localhost", targetssl="true")
        with trusting(directory, [], store__url=redis.url) as proxy:
            expect_legacy(proxy)


# --- handshakes

def expect_resumed(directory, protocols, version):
    with nginx(directory, authority().issue("localhost"), protocols=protocols) as target, trusting(
            directory, [over_tls("a.test", target)]) as proxy:
        for _ in range(5):
            expect(fetch(proxy.address, "a.test", "/once").body == b"once", "a connection for each")
        lines = target.lines(5)
        expect([line[2] for line in lines] == [version] * 5, f"{version} is spoken: {lines}")
        expect([line[3] for line in lines] == [".", "r", "r", "r", "r"], f"all but the first are resumed: {lines}")
        expect(handshakes(proxy) == {"full": 1, "resumed": 4, "bad_certificate": 0, "failed": 0}, f"{handshakes(proxy)}")


@test("sessions of a target of TLS 1.2 alone are resumed")
def _(directory):
    expect_resumed(directory, "TLSv1.2", "TLSv1.2")


@test("sessions of a target of TLS 1.3 alone are resumed")
def _(directory):
    expect_resumed(directory, "TLSv1.3", "TLSv1.3")


@test("a target that gives no sessions, or forgets them, gets full handshakes")
def _(directory):
    pair = authority().issue("localhost")
    with nginx(directory, pair, more="ssl_session_tickets off;") as target, trusting(
            directory, [over_tls("a.test", target)]) as proxy:
        for _ in range(3):
            expect(fetch(proxy.address, "a.test", "/once").body == b"once", "it is served")
        expect(handshakes(proxy)["resumed"] == 0, "nothing to resume")
    with stopping(Backend()) as backend:
        first = TlsNginx(directory, backend, pair)
        with trusting(directory, [over_tls("a.test", first)]) as proxy:
            expect(fetch(proxy.address, "a.test", "/once").status == 200, "it is served")
            config = directory / "nginx.conf"
            first.stop()  # and with it the key of its tickets
            with stopping(Process(["nginx", "-p", directory, "-c", config], directory, "nginx",
                                  ready=lambda: harness.accepts(first.port))) as again:
                again.stop = lambda: (again.signal(15), again.wait())
                expect(fetch(proxy.address, "a.test", "/once").status == 200, "a full handshake follows")
            expect(handshakes(proxy) == {"full": 2, "resumed": 0, "bad_certificate": 0, "failed": 0},
                   f"{handshakes(proxy)}")


@test("a target that speaks plain HTTP behind targetssl is 502")
def _(directory):
    says = Answer([("send", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"), ("close",)], when="connect")
    with stopping(Origin([says])) as origin, trusting(directory, [over_tls("a.test", origin)]) as proxy:
        expect_refused(proxy, "a.test", "tls: handshake", "TLS with the target failed")
        expect(handshakes(proxy)["failed"] == 1, "it is counted")


@test("a target that wants a certificate of ours, or has nothing in common with us, is 502")
def _(directory):
    pair = authority().issue("localhost")
    asks = f"ssl_verify_client on; ssl_client_certificate {authority().root};"
    with nginx(directory, pair, protocols="TLSv1.2", more="ssl_ciphers ECDHE-ECDSA-AES128-SHA;") as target, trusting(
            directory, [over_tls("a.test", target)]) as proxy:
        expect_refused(proxy, "a.test", "the peer refused: handshake failure", "TLS with the target failed")
    with nginx(directory, pair, more=asks) as target, trusting(directory, [over_tls("a.test", target)]) as proxy:
        status = fetch(proxy.address, "a.test").status
        expect(status == 400, f"nginx says so in HTTP: {status}")


@test("a handshake that a target does not answer is 504 after the time of connecting")
def _(directory):
    with stopping(Origin(default=None)) as silent, trusting(
            directory, [over_tls("a.test", silent, connectTimeout=300)]) as proxy:
        expect(fetch(proxy.address, "a.test").status == 504, "not later")
        expect(problem(proxy) == "the target did not accept the connection in time", problem(proxy))


# --- content

@contextlib.contextmanager
def download(proxy, size):
    """A response of so many bytes, after its head."""
    with socket.create_connection(proxy.address, PATIENCE) as connection:
        connection.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: a.test\r\n\r\n".encode())
        wire = Wire(connection)
        line, fields = wire.head()
        expect(" 200 " in line and fields["content-length"] == str(size), f"{line}, {fields}")
        yield wire


@test("content passes both ways over TLS, whatever its size, on kept connections")
def _(directory):
    with nginx(directory, authority().issue("localhost")) as target, trusting(
            directory, [over_tls("a.test", target)]) as proxy:
        sent = b"".join(pattern(at, 65536) for at in range(0, 8 * MIB, 65536))
        for _ in range(3):
            response = fetch(proxy.address, "a.test", "/sum", "POST", body=sent, patience=60)
            expect(response.body.decode() == f"{len(sent)} {zlib.crc32(sent)}", f"an upload: {response.body}")
        for size in (0, 1, 16384, 16385, 3_000_000, 20 * MIB):
            with download(proxy, size) as wire:
                wire.each(size, check_pattern(size))
        found = proxy.metrics()
        expect(found["proxycore_origin_connects_total"] == 1, "one connection carried all of it")


@test("a download waits for a client that does not read, and memory stays small")
def _(directory):
    with nginx(directory, authority().issue("localhost")) as target, trusting(
            directory, [over_tls("a.test", target)]) as proxy:
        expect(fetch(proxy.address, "a.test").status == 200, "it is warm")
        before = proxy.rss()
        with download(proxy, 64 * MIB) as wire:
            until(lambda: target.backend.sent > 0, "the target sends")
            sent = settled(lambda: target.backend.sent)
            expect(sent < 48 * MIB, f"the target has sent {sent} bytes to nobody")
            grown = proxy.rss() - before
            expect(grown < 8 * MIB, f"{grown // 1024} KiB more memory is in use")
            wire.each(64 * MIB, check_pattern(64 * MIB))


@test("many clients at a time find no failed request, and connections are reused")
def _(directory):
    with nginx(directory, authority().issue("localhost")) as target, trusting(
            directory, [over_tls("a.test", target)], workers__count=2) as proxy:
        with Load(proxy.address, 16, lambda n: ("a.test", "/", ["origin"])) as load:
            load.wait_passed(2000)
            load.stop()
        found = proxy.metrics()
        expect(found["proxycore_origin_connects_total"] < 100, "connections are kept")
        expect(found["proxycore_failures_total" + '{reason="origin_failure"}'] == 0, "none failed")


@test("WebSockets pass over TLS to the target")
def _(directory):
    with nginx(directory, authority().issue("localhost")) as target, trusting(
            directory, [over_tls("a.test", target)]) as proxy:
        sockets = [WebSocket(proxy.address, "a.test") for _ in range(10)]
        for size in (0, 125, 126, 65536, 200_000):
            for web_socket in sockets:
                web_socket.echo(os.urandom(size))
        for web_socket in sockets:
            web_socket.close()
        until(lambda: proxy.metrics()["proxycore_tunnels"] == 0, "they are gone")


if __name__ == "__main__":
    sys.exit(harness.run(test, harness.arguments(__doc__)))
