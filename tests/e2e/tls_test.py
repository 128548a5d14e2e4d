"""proxyd over TLS: which certificate a name gets, resumed sessions, and HTTP as it is without TLS.

    tls_test.py --proxyd PROGRAM [-k TEXT]

Hostile clients are in tls_hostile_test.py, scanners in tls_scan_test.py.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
import zlib

import harness
from certificates import Pair, authority, needs, records
from client import fetch
from harness import LOOPBACK, PATIENCE, Failed, expect, output_of, slack, until
from load import PATTERN, Backend, Load, WebSocket, Wire, check_pattern
from origin import Answer, Origin
from proxyd import Proxyd, plain, record, running, stopping
from redis_server import redis_server
from tls_client import (Session, TlsClient, connects, context, dial, fetch_tls, handshake_failure, serves,
                        shown)

test = harness.Tests()
MIB = 1024 * 1024


def expect_shown(proxy, name, pair, what=None, **how):
    """At once: for what has to be so since the start."""
    found = shown(proxy.tls_address, name, **how)
    expect(found == pair.fingerprint, what or f"another certificate is presented for {name}")


def until_shown(proxy, name, pair, what=None):
    until(lambda: shown(proxy.tls_address, name) == pair.fingerprint, what or f"{name} has its new certificate")


def until_logged(proxy, since, *texts):
    """Until what was logged after `since` characters has them all; returns it."""
    def told():
        text = proxy.log_path.read_text()[since:]
        return all(one in text for one in texts) and text
    return until(told, f"{texts} in the log of {proxy.name}")


def log_size(proxy):
    return len(proxy.log_path.read_text())


def check_file(path, size):
    """That a download is the pattern of this size."""
    expect(path.stat().st_size == size, f"{path.name} has {path.stat().st_size} bytes of {size}")
    check = check_pattern(size)
    with path.open("rb") as file:
        while piece := file.read(PATTERN):
            check(piece)


# --- which certificate

@test("a name gets its own certificate before a wildcard's, and a wildcard's before the fallback")
def _(directory):
    own, wildcard = authority().issue("a.w.test"), authority().issue("*.w.test")
    with running(directory, certificates=[wildcard, own]) as proxy:
        address = proxy.tls_address
        for name in ("a.w.test", "A.W.Test"):
            expect_shown(proxy, name, own)
        for name in ("b.w.test", "xn--bcher-kva.w.test"):
            expect_shown(proxy, name, wildcard)
        fallbacks = {shown(address, name) for name in ("w.test", "a.b.w.test", "unknown.test", "localhost", None)}
        expect(len(fallbacks) == 1 and not fallbacks & {own.fingerprint, wildcard.fingerprint},
               "one level only; all others get the fallback")


@test("a name gets its own certificate of the store before a wildcard's of a file")
def _(directory):
    wildcard, own = authority().issue("*.w.test"), authority().issue("a.w.test")
    path = directory / "store.db"
    with running(directory, certificates=[wildcard], store__url=f"sqlite:{path}") as proxy, records(path) as kept:
        expect_shown(proxy, "a.w.test", wildcard)
        kept.put("a.w.test", own.record())
        until_shown(proxy, "a.w.test", own)
        expect_shown(proxy, "b.w.test", wildcard)


@test("a name with both kinds of keys: the client's signature algorithms choose; groups and ALPN")
def _(directory):
    origin = Backend()
    ecdsa, rsa = authority().issue("app.test"), authority().issue("app.test", key="rsa")
    p384, alone = authority().issue("p384.test", key="p384"), authority().issue("rsa.test", key="rsa")
    hosts = [plain(name, origin) for name in ("app.test", "p384.test", "rsa.test")]
    with stopping(origin), running(directory, hosts, certificates=[rsa, ecdsa, p384, alone]) as proxy:
        address = proxy.tls_address
        # In TLS 1.2 mbedTLS signs with RSA as PKCS #1 says only.
        for version, padding, told in (("-tls1_3", "RSA-PSS", "RSA-PSS"), ("-tls1_2", "RSA", "RSA")):
            for algorithms, wanted in (("ECDSA+SHA256", "ECDSA"), (f"{padding}+SHA256", told),
                                       (f"ECDSA+SHA256:{padding}+SHA256", "ECDSA")):
                session = Session(address, "app.test", version, "-sigalgs", algorithms).expect_answered(algorithms)
                expect(session.signature == wanted, f"{version} {algorithms}: {session.signature}")
        for cipher, bits in (("ECDHE-ECDSA-AES128-GCM-SHA256", 256), ("ECDHE-RSA-AES128-GCM-SHA256", 2048)):
            session = Session(address, "app.test", "-tls1_2", "-cipher", cipher).expect_answered(cipher)
            expect(session.key_bits == bits, f"{cipher}: a key of {session.key_bits} bits")
        for version in ("-tls1_3", "-tls1_2"):
            session = Session(address, "p384.test", version).expect_answered(f"P-384, {version}")
            expect(session.key_bits == 384, f"a key of {session.key_bits} bits")
            Session(address, "rsa.test", version).expect_answered(f"RSA alone, {version}")
            told = handshake_failure(address, "rsa.test", version, "-sigalgs", "ECDSA+SHA256")
            expect("handshake failure" in told, f"no certificate that the client takes, {version}: {told}")
        for group in ("X25519", "P-256"):
            Session(address, "app.test", "-groups", group).expect_answered(group)
        for version in ("-tls1_3", "-tls1_2"):
            Session(address, "app.test", version, "-alpn", "spdy/3,http/1.1").expect_answered("one of them is spoken")
            told = handshake_failure(address, "app.test", version, "-alpn", "spdy/3")
            expect("no application protocol" in told, f"none of them is: {told}")


@test("a certificate that has ended is not preferred to any valid one, but to that of another name")
def _(directory):
    ended, other = authority().issue("a.w.test", ended=True), authority().issue("b.w.test", ended=True)
    wildcard, fresh = authority().issue("*.w.test"), authority().issue("a.w.test")
    alone = authority().issue("alone.test", ended=True)
    path = directory / "store.db"
    with running(directory, certificates=[ended, wildcard, alone], store__url=f"sqlite:{path}") as proxy, \
            records(path) as kept:
        expect_shown(proxy, "a.w.test", wildcard, "the wildcard is valid, the name's own is not")
        expect_shown(proxy, "alone.test", alone, "one that has ended is better than another name's")
        kept.put("a.w.test", fresh.record())
        until_shown(proxy, "a.w.test", fresh, "the store's is valid, the file's is not")
        kept.put("b.w.test", other.record())
        kept.put("c.w.test", fresh.record())  # of another name
        kept.put("d.w.test", authority().issue("d.w.test").record())
        until(lambda: shown(proxy.tls_address, "d.w.test") != wildcard.fingerprint, "what was written last is read")
        for name in ("b.w.test", "c.w.test"):
            expect_shown(proxy, name, wildcard)


# --- the store

@test("certificates of the store change while it runs; connections that are open go on")
def _(directory):
    origin = Backend()
    pairs = [authority().issue("app.test") for _ in range(4)]
    path = directory / "store.db"
    with stopping(origin), running(directory, [plain("app.test", origin)], certificates=[], workers__count=2,
                                   store__url=f"sqlite:{path}") as proxy, records(path) as kept:
        before = shown(proxy.tls_address, "app.test")
        live = []
        for pair in pairs:
            kept.put("app.test", pair.record())
            until_shown(proxy, "app.test", pair)
            live.append(TlsClient(proxy.tls_address, "app.test"))
            with Load(proxy.tls_address, 2, lambda n: ("app.test", "/", ["origin"]), keep=False,
                      connect=connects("app.test")) as load:
                load.wait_passed(20)
                load.stop()
            for client in live:
                expect(client.ask("app.test").body == b"origin", "a connection of before goes on")
        kept.erase("app.test")
        until(lambda: shown(proxy.tls_address, "app.test") == before, "the fallback is back")
        for client in live:
            expect(client.ask("app.test").body == b"origin", "a connection of before goes on")
            client.close()


@test("certificates are read in every shape that older software has written")
def _(directory):
    wildcard, old = authority().issue("wc.test", "*.wc.test"), authority().issue("old.test")
    leaf, rest = wildcard.leaf, wildcard.chain.read_text().removeprefix(wildcard.leaf)
    shapes = {"*.wc.test": wildcard.record(fullchain_pem=f"{leaf}\n{rest}", cert_pem=leaf.rstrip(),
                                           csr_pem=wildcard.request, expiry=4120307657, real_expiry=1893456000),
              "old.test": old.record(cert_pem=None, expiry=None)}
    path = directory / "store.db"
    with running(directory, certificates=[], store__url=f"sqlite:{path}") as proxy, records(path) as kept:
        kept.put_all(shapes.items())
        until_shown(proxy, "a.wc.test", wildcard)
        until_shown(proxy, "wc.test", wildcard, "a wildcard's certificate that has the name itself too")
        until_shown(proxy, "old.test", old)


@test("a broken record is logged, and the next best certificate is served")
def _(directory):
    good, wildcard = authority().issue("a.w.test"), authority().issue("*.w.test")
    other = authority().issue("a.w.test")
    torn = good.chain.read_text()[:300] + "\n" + good.chain.read_text()[310:]
    swapped = good.record(fullchain_pem=good.chain.read_text().removeprefix(good.leaf) + good.leaf)
    broken = {"not a certificate": good.record(fullchain_pem="-----BEGIN CERTIFICATE-----\nAAAA\n"),
              "torn": good.record(fullchain_pem=torn), "no key": good.record(privkey_pem=None),
              "another's key": good.record(privkey_pem=other.key.read_text()),
              "the wrong order": swapped, "not JSON": good.record()[:500], "nothing": "", "a list": "[1, 2]",
              "null": "null", "a number": good.record(fullchain_pem=5)}
    path = directory / "store.db"
    with running(directory, certificates=[wildcard], store__url=f"sqlite:{path}") as proxy, records(path) as kept:
        for what, text in broken.items():
            kept.put("a.w.test", good.record())
            until_shown(proxy, "a.w.test", good)
            since = log_size(proxy)
            kept.put("a.w.test", text)
            until_shown(proxy, "a.w.test", wildcard, f"{what}: the wildcard's is served")
            told = until_logged(proxy, since, "a.w.test")
            expect("PRIVATE" not in told and good.key.read_text().split("\n")[1][:40] not in told, f"a key in {told}")


@test("certificates of Redis go on without it, and after a restart; a flush loses none")
def _(directory):
    origin = Backend()
    first, second, wildcard = (authority().issue(name) for name in ("app.test", "app.test", "*.w.test"))
    with stopping(origin), redis_server(directory) as redis:
        for name in ("app.test", "a.w.test", "gone.test"):
            redis.save(name, origin)
        redis.command("SET", "app.test:latest", first.record())
        redis.command("SET", "*.w.test:latest", wildcard.record())
        redis.command("SET", "gone.test:latest", authority().issue("gone.test").record())
        url = {"store__url": redis.url, "replica__path": str(directory / "copy.db")}

        def served(proxy, name, pair):
            until_shown(proxy, name, pair)
            until(lambda: serves(proxy.tls_address, name, "origin"), f"{name} is served")
        with running(directory, certificates=[], **url) as proxy:
            fallback = shown(proxy.tls_address, "unknown.test")
            served(proxy, "app.test", first)
            served(proxy, "a.w.test", wildcard)
            expect(shown(proxy.tls_address, "gone.test") != fallback, "it has a certificate")
            redis.command("SET", "app.test:latest", second.record())
            served(proxy, "app.test", second)
            redis.command("DEL", "gone.test:latest")
            until(lambda: shown(proxy.tls_address, "gone.test") == fallback, "what is deleted is gone")
            redis.command("FLUSHALL")
            redis.command("SET", "somebody:else", "1")
            served(proxy, "app.test", second)
            redis.kill()
            for _ in range(3):
                served(proxy, "app.test", second)
                served(proxy, "a.w.test", wildcard)
        with running(directory, certificates=[], name="again", **url) as proxy:
            served(proxy, "app.test", second)
            served(proxy, "a.w.test", wildcard)
            expect(shown(proxy.tls_address, "unknown.test") == fallback, "the fallback is the same")
            expect(shown(proxy.tls_address, "gone.test") == fallback, "what was deleted does not come back")
            redis.start()
            redis.save("app.test", origin)
            redis.command("SET", "app.test:latest", first.record())
            served(proxy, "app.test", first)


# --- files

@test("SIGHUP takes over certificates of files that have changed, and keeps the old ones for broken files")
def _(directory):
    origin = Backend()
    now, later = authority().issue("app.test"), authority().issue("app.test")
    files = Pair(directory / "app.pem", directory / "app.key")
    now.put_in_place_of(files)
    def ask(_):
        return "app.test", "/", ["origin"]
    with stopping(origin), running(directory, [plain("app.test", origin)], certificates=[files],
                                   workers__count=2) as proxy:
        with Load(proxy.tls_address, 2, ask, connect=connects("app.test")) as kept, \
                Load(proxy.tls_address, 2, ask, keep=False, connect=connects("app.test")) as fresh:
            expect_shown(proxy, "app.test", now)
            later.put_in_place_of(files)
            proxy.signal(signal.SIGHUP)
            until_shown(proxy, "app.test", later)
            breaks = {"app.pem": lambda: files.chain.write_text("nonsense"),
                      "app.key": lambda: shutil.copy(now.key, files.key),
                      "cannot be read": lambda: files.key.unlink()}
            for named, act in breaks.items():
                later.put_in_place_of(files)
                act()
                since = log_size(proxy)
                proxy.signal(signal.SIGHUP)
                told = until_logged(proxy, since, named)
                expect(re.search(r"proxyd\.toml:\d+", told), f"expected file and line, found {told}")
                fresh.wait_passed(20)
                expect_shown(proxy, "app.test", later)
            now.put_in_place_of(files)
            proxy.signal(signal.SIGHUP)
            until_shown(proxy, "app.test", now)
            for load in (kept, fresh):
                load.wait_passed(20)
                load.stop()
        proxy.certificates = []
        proxy.write_config()
        proxy.signal(signal.SIGHUP)
        until(lambda: shown(proxy.tls_address, "app.test") != now.fingerprint, "a certificate may go, too")


@test("a start with certificate files that are missing or wrong fails: file, line and what is wrong")
def _(directory):
    good, other = authority().issue("app.test"), authority().issue("app.test")
    text = directory / "text.pem"
    text.write_text("nonsense\n")
    secret = directory / "encrypted.key"
    output_of("openssl", "ec", "-in", good.key, "-out", secret, "-aes128", "-passout", "pass:secret")
    wrong = [(Pair(directory / "none.pem", good.key), "none.pem"),
             (Pair(good.chain, directory / "none.key"), "none.key"),
             (Pair(text, good.key), "text.pem"), (Pair(good.chain, text), "text.pem"),
             (Pair(good.chain, other.key), "key"), (Pair(good.chain, secret), "encrypted")]
    for number, (pair, named) in enumerate(wrong):
        try:
            with running(directory, certificates=[good, pair], name=f"p{number}"):
                raise AssertionError(f"proxyd started with {pair.chain} and {pair.key}")
        except Failed as failure:
            told = str(failure)
        lines = (directory / f"p{number}.toml").read_text().split("\n")
        second = [at for at, line in enumerate(lines, 1) if line == "[[certificate]]"][1]
        found = re.search(rf"p{number}\.toml:(\d+)", told)
        expect(found and second <= int(found[1]) <= second + 2, f"expected line {second}, found {told}")
        expect(named in told, f"expected {named!r} in {told}")
        expect("PRIVATE" not in told, f"a key in {told}")


@test("the fallback certificate is the same after a restart, and may be one of files")
def _(directory):
    store = {"store__url": f"sqlite:{directory}/store.db"}
    found = []
    for name in ("first", "second"):
        with running(directory, certificates=[], name=name, **store) as proxy:
            found.append(shown(proxy.tls_address, None))
    expect(found[0] == found[1], "it is another one after a restart")
    own = authority().issue("fallback.test")
    with running(directory, certificates=[], tls__fallback_chain=str(own.chain),
                 tls__fallback_key=str(own.key)) as proxy:
        expect_shown(proxy, "unknown.test", own)


# --- HTTP

@test("a host that the certificate does not cover is 421, routing is by the request's own host")
def _(directory):
    first, second = Backend("first"), Backend("second")
    both, other = authority().issue("a.test", "*.w.test"), authority().issue("b.test")
    hosts = [plain("a.test", first), plain("b.test", second), plain("**.w.test", second)]
    with stopping(first, second), running(directory, hosts, certificates=[both, other]) as proxy:
        address = proxy.tls_address
        with TlsClient(address, "a.test") as client:
            for host, expected in (("a.test", b"first"), ("x.w.test", b"second"), ("A.Test:443", b"first")):
                expect(client.ask(host).body == expected, f"{host} over the certificate for a.test and *.w.test")
            for host in ("b.test", "w.test", "a.x.w.test", "unknown.test"):
                found = client.ask(host).status
                expect(found == 421, f"{host}: expected 421, found {found}")
            expect(client.ask("a.test").body == b"first", "and the connection goes on")
            expect(client.ask("y.w.test").body == b"second", "unknown hosts of the certificate are looked up")
        needs("curl", "curl")
        told = output_of("curl", "-sS", "--noproxy", "*", "--cacert", authority().root, "-o", os.devnull,
                         "-w", "%{http_code}", "--connect-to", f"a.test:443:{LOOPBACK}:{proxy.tls_port}",
                         "-H", "Host: b.test", "https://a.test/")
        expect(told == "421", f"curl was told {told}")
        expect(fetch_tls(address, "b.test").body == b"second", "on its own connection it is served")


@test("forcessl: plain requests are sent to https with query and escapes")
def _(directory):
    origin = Backend()
    pair = authority().issue("app.test")
    hosts = [record("app.test", origin), plain("open.test", origin)]
    with stopping(origin), running(directory, hosts, certificates=[pair]) as proxy:
        target = "/a%2Fb/%C3%A9;x=1?q=a+b&r=%20//&s=?#".rstrip("#")
        place = f"https://app.test:{proxy.tls_port}{target}"
        for method, status in (("GET", 301), ("HEAD", 301), ("POST", 308), ("PUT", 308), ("DELETE", 308)):
            found = fetch(proxy.address, "app.test", target, method)
            expect(found.status == status and found.value("Location") == place,
                   f"{method}: {found.status} to {found.value('Location')}, not {status} to {place}")
        found = fetch(proxy.address, f"APP.test:{proxy.port}", "/")
        expect(found.value("Location") == f"https://app.test:{proxy.tls_port}/", f"{found.fields}")
        expect(fetch(proxy.address, "open.test").status == 200, "the other host is served over plain HTTP")
        expect(fetch(proxy.address, "app.test", "/.well-known/other").status == 301, "only challenges are not sent")
        expect(fetch_tls(proxy.tls_address, "app.test", target).status == 200, "over TLS there is no redirect")
        proxy.stop()
    with stopping(Backend()) as origin, running(directory, [record("app.test", origin)], name="mapped",
                                                certificates=[pair], tls__public_port=443) as proxy:
        found = fetch(proxy.address, "app.test", "/x").value("Location")
        expect(found == "https://app.test/x", f"the public port is 443: {found}")


@test("challenges of ACME are answered from the store, for any host, before redirects, over HTTP/1 and HTTP/2")
def _(directory):
    needs("curl", "curl")
    origin = Origin()
    pair = authority().issue("app.test")
    token = "evaGxfADs6pSRb2LAv9IZf17Dt3juxGJ-PCt92wr_oA"
    value = f"{token}.9jg46WB3rR_AHD-EBXdN7cBkH1WOu0tA3M9fm21mqTI"
    path = f"/.well-known/acme-challenge/{token}"
    hosts = [record("app.test", origin), plain("open.test", origin)]
    with stopping(origin), redis_server(directory) as redis, running(
            directory, hosts, certificates=[pair], store__url=redis.url, workers__count=2) as proxy:
        def curl(host, *options, scheme="http"):
            port = proxy.port if scheme == "http" else proxy.tls_port
            told = output_of("curl", "-sSk", "--noproxy", "*", "--connect-to", f"{host}::{LOOPBACK}:{port}", "-w",
                             " %{http_code} %{http_version} %{content_type}", *options, f"{scheme}://{host}{path}")
            return told.rsplit(" ", 3)
        names = ("app.test", "open.test", "unknown.test", "deep.in.unknown.test")
        for host in names:
            redis.command("SET", f"{host}:challenge:{token}", value)
        for host in names:
            told = curl(host, "--http1.1")
            expect(told == [value, "200", "1.1", "application/octet-stream"], f"{host}: {told}")
            told = curl(host, "--http2", scheme="https")
            expect(told == [value, "200", "2", "application/octet-stream"], f"{host}, HTTP/2: {told}")
        expect(fetch(proxy.address, f"APP.test.:{proxy.port}", path).body == value.encode(), "spelled otherwise")
        head = fetch(proxy.address, "app.test", path, "HEAD")
        expect(head.status == 200 and head.value("Content-Length") == str(len(value)), f"{head.fields}")
        for odd in (path + "x", path + "?a", path + "/", path.rsplit("/", 1)[0] + "/", path + "%20"):
            expect(fetch(proxy.address, "open.test", odd).status == 404, f"{odd} is unknown, and not passed on")
        expect(fetch(proxy.address, "open.test", path, "POST").status == 405, "POST is refused")
        redis.command("DEL", f"app.test:challenge:{token}")
        expect(fetch(proxy.address, "app.test", path).status == 404, "gone from the store, gone here")
        redis.kill()
        expect(fetch(proxy.address, "open.test", path).status == 503, "without the store nobody can tell")
        redis.start()
        redis.command("SET", f"open.test:challenge:{token}", "after")
        until(lambda: fetch(proxy.address, "open.test", path).body == b"after", "the store is back")
        counts = {result: proxy.metrics()[f'proxycore_acme_challenges_total{{result="{result}"}}']
                  for result in ("answered", "unknown", "failed")}
        expect(counts["answered"] >= 11 and counts["unknown"] == 6 and counts["failed"] >= 1, f"{counts}")
        expect(not origin.requests, f"no target has seen any: {origin.requests}")


@test("HSTS where the host asks for it, over TLS only; origins are told https")
def _(directory):
    origin = Origin()
    pair = authority().issue("app.test", "bare.test")
    hosts = [plain("app.test", origin, hsts_enabled=True), plain("bare.test", origin)]
    with stopping(origin), running(directory, hosts, certificates=[pair]) as proxy:
        told = {(host, scheme): found.value("Strict-Transport-Security") for host in ("app.test", "bare.test")
                for scheme, found in (("http", fetch(proxy.address, host)),
                                      ("https", fetch_tls(proxy.tls_address, host)))}
        expect(told.pop(("app.test", "https")) == "max-age=31536000; includeSubDomains", "app.test has it over TLS")
        expect(set(told.values()) == {None}, f"found {told}")
        protos = [(request.value("Host"), request.value("X-Forwarded-Proto")) for request in origin.requests]
        expect(protos == [("app.test", "http"), ("app.test", "https"), ("bare.test", "http"), ("bare.test", "https")],
               f"{protos}")
        fetch_tls(proxy.tls_address, "bare.test", fields="X-Forwarded-Proto: http\r\n")
        expect(origin.requests[-1].value("X-Forwarded-Proto") == "https", "who is not trusted cannot say otherwise")


# --- resumption

def resume(directory, before, after, name="app.test"):
    """For TLS 1.3 and 1.2: the session of a connection to `before()` is taken up by one to `after()`."""
    for version in ("-tls1_3", "-tls1_2"):
        kept = directory / f"session{version}"
        first = Session(before(), name, version, "-sess_out", kept).expect_answered(f"{version}, first")
        expect(not first.resumed, "the first is a full handshake")
    for version in ("-tls1_3", "-tls1_2"):
        kept = directory / f"session{version}"
        again = Session(after(), name, version, "-sess_in", kept).expect_answered(f"{version}, again")
        expect(again.resumed, f"{version}: not resumed")


@test("sessions are resumed by every worker, after SIGHUP and after a restart")
def _(directory):
    origin = Backend()
    pair = authority().issue("app.test", "other.test")
    options = {"certificates": [pair], "workers__count": 2, "store__url": f"sqlite:{directory}/store.db"}
    hosts = [plain("app.test", origin), plain("other.test", origin)]
    with stopping(origin):
        with running(directory, hosts, name="first", **options) as proxy:
            for _ in range(4):  # the kernel chooses the worker by the port of the client
                resume(directory, lambda: proxy.tls_address, lambda: proxy.tls_address)
            for version in ("-tls1_3", "-tls1_2"):
                for _ in range(8):
                    again = Session(proxy.tls_address, "app.test", version, "-sess_in", directory / f"session{version}")
                    expect(again.expect_answered("again").resumed, f"{version}: not resumed")
                found = Session(proxy.tls_address, "other.test", version, "-sess_in", directory / f"session{version}")
                expect(not found.expect_answered("another name").resumed, "a session belongs to its name")

            def after_hup():
                proxy.signal(signal.SIGHUP)
                until_logged(proxy, 0, "reloaded")
                return proxy.tls_address
            resume(directory, lambda: proxy.tls_address, after_hup)
        with running(directory, hosts, name="second", **options) as proxy:
            for version in ("-tls1_3", "-tls1_2"):
                again = Session(proxy.tls_address, "app.test", version, "-sess_in", directory / f"session{version}")
                expect(again.expect_answered("after a restart").resumed, f"{version}: not resumed after a restart")


@test("sessions are resumed by another proxyd on the same Redis, and while that is away")
def _(directory):
    pair = authority().issue("app.test")
    with stopping(Backend()) as origin, redis_server(directory) as redis:
        redis.save("app.test", origin)
        proxies = [Proxyd(directory, name=name, certificates=[pair], store__url=redis.url,
                          replica__path=str(directory / f"{name}.db")) for name in ("one", "two")]
        try:
            one, two = proxies
            resume(directory, lambda: one.tls_address, lambda: two.tls_address)
            resume(directory, lambda: two.tls_address, lambda: one.tls_address)
            redis.kill()
            resume(directory, lambda: one.tls_address, lambda: two.tls_address)
            two.stop()
            proxies[1] = two = Proxyd(directory, name="two", certificates=[pair], store__url=redis.url,
                                      replica__path=str(directory / "two.db"))
            resume(directory, lambda: one.tls_address, lambda: two.tls_address)
            for proxy in proxies:
                proxy.stop()
        finally:
            for proxy in proxies:
                proxy.kill()


@test("without tickets no session is resumed; TLS 1.3 alone is possible")
def _(directory):
    pair = authority().issue("app.test")
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], certificates=[pair],
                                                tls__tickets=False, tls__min_version="1.3") as proxy:
        session = Session(proxy.tls_address, "app.test").expect_answered("a full handshake")
        expect("TLS session ticket" not in session.text, "a ticket was given")
        told = handshake_failure(proxy.tls_address, "app.test", "-tls1_2")
        expect("protocol version" in told, f"TLS 1.2 is refused with {told}")


# --- HTTP over TLS, as without

@test("curl over TLS: keep-alive, uploads, downloads, Expect, byte by byte")
def _(directory):
    needs("curl", "curl")
    pair = authority().issue("app.test")
    size = 5 * MIB
    body = directory / "body"
    body.write_bytes(os.urandom(size))
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], certificates=[pair]) as proxy:
        curl = ["curl", "-sS", "--fail", "--noproxy", "*", "--http1.1", "--cacert", authority().root,
                "--resolve", f"app.test:{proxy.tls_port}:{LOOPBACK}"]
        url = f"https://app.test:{proxy.tls_port}"
        for version in (["--tlsv1.3"], ["--tls-max", "1.2"]):
            counts = output_of(*curl, *version, "-w", "%{num_connects} ", *["-o", "/dev/null", f"{url}/"] * 10).split()
            expect(counts == ["1"] + ["0"] * 9, f"ten requests on one connection, found {counts}")
            quick = ["-H", "Expect:"]  # the origin says nothing before the body: curl would wait a second
            for more in (quick, [*quick, "-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"],
                         [*quick, "--http1.0"]):
                found = output_of(*curl, *version, *more, "--data-binary", f"@{body}", f"{url}/sum")
                expect(found == f"{size} {zlib.crc32(body.read_bytes())}", f"upload {more}: {found}")
            target = directory / "download"
            output_of(*curl, *version, "-o", target, f"{url}/bytes/{size + 17}")
            check_file(target, size + 17)
            expect("HTTP/1.1 200" in output_of(*curl, *version, "-I", f"{url}/"), "HEAD is answered")


@test("200 MiB come and go over TLS, both ways at once, byte by byte; slow readers get theirs")
def _(directory):
    size, slow_size = 200 * MIB, 20 * MIB
    pair = authority().issue("app.test")
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], certificates=[pair]) as proxy:
        before = proxy.rss()
        slow = Wire(dial(proxy.tls_address, "app.test"))
        slow.socket.sendall(f"GET /bytes/{slow_size} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
        down = Wire(dial(proxy.tls_address, "app.test"))
        up = Wire(dial(proxy.tls_address, "app.test"))
        down.socket.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
        block = os.urandom(MIB)

        def upload():
            up.socket.sendall(f"POST /sum HTTP/1.1\r\nHost: app.test\r\nContent-Length: {size}\r\n\r\n".encode())
            for _ in range(size // MIB):
                up.socket.sendall(block)
        sender = threading.Thread(target=upload, daemon=True)
        sender.start()
        expect(" 200 " in down.head()[0], "the download begins")
        down.each(size, check_pattern(size))
        sender.join(3 * PATIENCE)
        head = up.head()
        found = up.exactly(int(head[1]["content-length"])).decode()
        check = 0
        for _ in range(size // MIB):
            check = zlib.crc32(block, check)
        expect(found == f"{size} {check}", f"the upload arrived as {found}")
        grown = proxy.rss() - before
        expect(grown < 32 * MIB * slack(), f"with a reader that has not begun it grew by {grown // MIB} MiB")
        expect(" 200 " in slow.head()[0], "the slow one is answered")
        check, left = check_pattern(slow_size), slow_size
        while left:
            part = min(MIB, left)
            slow.each(part, check)
            left -= part
            time.sleep(0.02)  # is slow
        for wire in (slow, down, up):
            wire.socket.close()


@test("pipelined requests over TLS are answered in order; records may be cut anywhere")
def _(directory):
    pair = authority().issue("app.test")
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], certificates=[pair]) as proxy:
        count = 1000
        asked = b"".join(f"GET /bytes/{number % 100 + 1} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode()
                         for number in range(count))
        for piece in (len(asked), 7, 1):
            wire = Wire(dial(proxy.tls_address, "app.test"))
            some = count if piece > 1 else 20
            text = asked if piece > 1 else asked[:asked.index(b"/bytes/21 ") - 4]
            for at in range(0, len(text), piece):
                wire.socket.sendall(text[at:at + piece])  # a record each
            for number in range(some):
                line, fields = wire.head()
                size = int(fields["content-length"])
                expect(" 200 " in line and size == number % 100 + 1, f"answer {number}: {line}, {size} bytes")
                wire.exactly(size)
            wire.socket.close()


@test("WebSockets over TLS echo small and large messages, many at a time, through a reload")
def _(directory):
    pair = authority().issue("app.test")
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], certificates=[pair],
                                                workers__count=2) as proxy:
        sockets = [WebSocket(proxy.tls_address, "app.test", connects("app.test")) for _ in range(30)]
        for size in (0, 1, 125, 126, 4096, 16384, 65536, 200_000):
            payload = os.urandom(size)
            for web_socket in sockets[:3 if size > 5000 else 30]:
                web_socket.echo(payload)
        proxy.signal(signal.SIGHUP)
        until_logged(proxy, 0, "reloaded")
        for web_socket in sockets:
            web_socket.echo(b"after")
            web_socket.close()
        until(lambda: proxy.metrics()["proxycore_tunnels"] == 0, "they are gone")


@test("an answer that is cut off ends without close_notify, a whole one with it")
def _(directory):
    pair = authority().issue("app.test")
    endless = b"HTTP/1.1 200 OK\r\n\r\nhalf of it"
    origin = Origin()
    with stopping(origin), running(directory, [plain("app.test", origin)], certificates=[pair]) as proxy:
        for version in (1.3, 1.2):
            origin.answers = [Answer([("send", endless), ("split",), ("reset",)]),
                              Answer([("send", endless), ("close",)])]
            for expected in (("cut", "reset"), ("closed",)):
                with TlsClient(proxy.tls_address, "app.test", context(version=version)) as client:
                    client.send(b"GET / HTTP/1.0\r\nHost: app.test\r\n\r\n")
                    client.response(partial=True)
                    expect(client.end in expected, f"TLS {version}: expected {expected}, found {client.end}")
            with stopping(Backend()) as backend:
                proxy.hosts = [plain("app.test", backend)]
                proxy.write_config()
                proxy.signal(signal.SIGHUP)
                until(lambda: serves(proxy.tls_address, "app.test", "origin"), "the host has moved")
                with TlsClient(proxy.tls_address, "app.test", context(version=version)) as client:
                    client.send(b"GET /cut HTTP/1.1\r\nHost: app.test\r\n\r\n")
                    found = client.response(partial=True)
                    expect(not found.complete and found.body == b"half", f"it ended as {client.end}")
            proxy.hosts = [plain("app.test", origin)]
            proxy.write_config()
            proxy.signal(signal.SIGHUP)
            until(lambda: serves(proxy.tls_address, "app.test", "ok"), "the host has moved back")


@test("SIGTERM: requests over TLS are answered, downloads end, idle connections are told the end")
def _(directory):
    size = 32 * MIB
    pair = authority().issue("app.test")
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], certificates=[pair],
                                                workers__count=2) as proxy:
        ending = threading.Event()

        def refused(address, seconds):
            try:
                return connects("app.test")(address, seconds)
            except ConnectionResetError:  # it was in the queue of the listener
                if ending.is_set():
                    raise ConnectionRefusedError from None
                raise
        idle = TlsClient(proxy.tls_address, "app.test")
        expect(idle.ask("app.test").status == 200, "the first request is answered")
        slow = [TlsClient(proxy.tls_address, "app.test") for _ in range(4)]
        for client in slow:
            client.send(b"GET /slow/500 HTTP/1.1\r\nHost: app.test\r\n\r\n")
        download = Wire(dial(proxy.tls_address, "app.test"))
        download.socket.sendall(f"GET /bytes/{size} HTTP/1.1\r\nHost: app.test\r\n\r\n".encode())
        expect(" 200 " in download.head()[0], "the download begins")
        with Load(proxy.tls_address, 4, lambda n: ("app.test", "/", ["origin"]), connect=refused,
                  refused_is_fine=ending.is_set) as load:
            load.wait_passed(50)
            until(lambda: proxy.metrics()["proxycore_exchanges"] >= 5, "slow requests are under way")
            ending.set()
            proxy.signal(signal.SIGTERM)
            for client in slow:
                response = client.response()
                expect(response.status == 200, f"a request in flight ended as {response.line}")
                expect(client.ended() == "closed", "and its connection with close_notify")
            expect(idle.ended() == "closed", f"the idle connection was {idle.end}")
            download.each(size, check_pattern(size))
            code = proxy.wait()
            expect(code == 0, f"it ended with {code}")
            load.stop()
        proxy.check_sanitizers()


# --- HTTP/2

def h2_curl(proxy, *options):
    """curl that speaks HTTP/2 with app.test."""
    needs("curl", "curl")
    return ["curl", "-sS", "--fail", "--noproxy", "*", "--http2", "--cacert", authority().root,
            "--resolve", f"app.test:{proxy.tls_port}:{LOOPBACK}", *options]


@test("curl over HTTP/2: many requests on one connection, uploads, downloads, byte by byte")
def _(directory):
    size = 5 * MIB
    body = directory / "body"
    body.write_bytes(os.urandom(size))
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)],
                                                certificates=[authority().issue("app.test")]) as proxy:
        url = f"https://app.test:{proxy.tls_port}"
        told = output_of(*h2_curl(proxy), "-w", "%{http_version} %{num_connects} ",
                         *["-o", "/dev/null", f"{url}/"] * 10)
        expect(told == "2 1 " + "2 0 " * 9, f"ten requests on one connection, found {told}")
        for more in (["-H", "Expect:"], ["-H", "Expect: 100-continue"], ["-H", "Expect:", "-T", "-"]):
            data = [] if "-T" in more else ["--data-binary", f"@{body}"]
            done = subprocess.run([str(part) for part in (*h2_curl(proxy), *more, *data, f"{url}/sum")],
                                  stdin=body.open("rb"), capture_output=True, timeout=PATIENCE, check=False)
            found = done.stdout.decode()
            expect(found == f"{size} {zlib.crc32(body.read_bytes())}", f"upload {more}: {found}{done.stderr.decode()}")
        parts = [size + number for number in range(20)]
        output_of(*h2_curl(proxy, "-Z", "--parallel-max", "20"),
                  *(word for part in parts for word in ("-o", directory / f"part{part}", f"{url}/bytes/{part}")))
        for part in parts:
            check_file(directory / f"part{part}", part)
        expect("HTTP/2 200" in output_of(*h2_curl(proxy), "-I", f"{url}/"), "HEAD is answered")


@test("h2load: every request of many streams is answered")
def _(directory):
    needs("h2load", "nghttp2-client")
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], workers__count=2,
                                                certificates=[authority().issue("app.test")]) as proxy:
        told = output_of("h2load", "-n", "4000", "-c", "8", "-m", "32", f"--connect-to={LOOPBACK}:{proxy.tls_port}",
                         "https://app.test/")
        expect("Application protocol: h2" in told, told)
        expect(re.search(r"4000 succeeded, 0 failed, 0 errored, 0 timeout", told), told)


@test("HTTP/2: 421 for hosts that the certificate does not cover, and what origins are told")
def _(directory):
    origin = Origin()
    hosts = [plain(name, origin) for name in ("app.test", "x.w.test", "other.test")]
    with stopping(origin), running(directory, hosts, certificates=[authority().issue("app.test", "*.w.test"),
                                                                   authority().issue("other.test")]) as proxy:
        url = f"https://app.test:{proxy.tls_port}/"
        for host, status in (("x.w.test", "200"), ("other.test", "421"), ("app.test", "200")):
            curl = [word for word in h2_curl(proxy) if word != "--fail"]
            told = output_of(*curl, "-o", "/dev/null", "-w", "%{http_version} %{http_code}", "-H", f"Host: {host}", url)
            expect(told == f"2 {status}", f"{host}: expected 2 {status}, found {told}")
        found = [(request.start[2], request.value("Host"), request.value("X-Forwarded-Proto"))
                 for request in origin.requests]
        expect(found == [("HTTP/1.1", "x.w.test", "https"), ("HTTP/1.1", "app.test", "https")], f"{found}")


@test("100 downloads of one HTTP/2 connection that nobody reads: memory is bounded, others are served")
def _(directory):
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)],
                                                certificates=[authority().issue("app.test")]) as proxy:
        before = proxy.rss()
        url = f"https://app.test:{proxy.tls_port}/bytes/{20 * MIB}"
        command = h2_curl(proxy, "-Z", "--parallel-max", "100", "--limit-rate", "10k", *["-o", os.devnull, url] * 100)
        with subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as curl:
            until(lambda: proxy.metrics()["proxycore_exchanges"] >= 100, "all are under way")
            with Load(proxy.tls_address, 2, lambda n: ("app.test", "/", ["origin"]),
                      connect=connects("app.test")) as load:
                load.wait_passed(500)
                load.stop()
            grown = proxy.rss() - before
            curl.kill()
        expect(grown < 48 * MIB * slack(), f"it grew by {grown // MIB} MiB")
        until(lambda: proxy.metrics()["proxycore_exchanges"] == 0, "all are over")
        until(lambda: proxy.metrics()["proxycore_connections"] <= 1, "no connection is left")


@test("SIGTERM lets a download over HTTP/2 end")
def _(directory):
    size = 64 * MIB
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)],
                                                certificates=[authority().issue("app.test")]) as proxy:
        target = directory / "download"
        command = h2_curl(proxy, "--limit-rate", "100M", "-o", target,
                          f"https://app.test:{proxy.tls_port}/bytes/{size}")
        with subprocess.Popen([str(word) for word in command], stderr=subprocess.PIPE) as curl:
            until(lambda: target.exists() and target.stat().st_size > 0, "the download begins")
            proxy.signal(signal.SIGTERM)
            until(lambda: not harness.accepts(proxy.tls_port), "new connections are refused")
            told = curl.communicate(timeout=PATIENCE)[1].decode()
        expect(curl.returncode == 0, f"curl ended with {curl.returncode}: {told}")
        check_file(target, size)
        expect(proxy.wait() == 0, "it ends with 0")
        proxy.check_sanitizers()


@test("wrk over TLS finds no failed request")
def _(directory):
    needs("wrk", "wrk")
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], workers__count=2,
                                                certificates=[authority().issue("app.test", LOOPBACK)]) as proxy:
        told = output_of("wrk", "-t1", "-c32", "-d1s", "-H", "Host: app.test", f"https://{LOOPBACK}:{proxy.tls_port}/")
        expect("Socket errors" not in told and "Non-2xx" not in told, told)
        expect(int(re.search(r"(\d+) requests in", told)[1]) > 100, told)


if __name__ == "__main__":
    sys.exit(harness.run(test, harness.arguments(__doc__)))
