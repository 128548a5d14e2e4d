"""The programs of examples/ do what their first lines say.

Usage: examples_test.py --embed PROGRAM --handler PROGRAM --certificates PROGRAM --webroot PROGRAM
"""

import functools
import http.server
import pathlib
import signal
import subprocess
import threading

import harness
from certificates import authority
from client import fetch
from harness import LOOPBACK, PATIENCE, Tests, accepts, expect, free_port
from origin import Origin
from pebble import pebble
from proxyd import Process

tests = Tests()
options = None


def started(program, directory, port, *arguments):
    return Process([program, port, *arguments], directory, program.name, ready=lambda: accepts(port))


@tests("embed forwards its hosts to the target, and knows no others")
def _(directory):
    origin = Origin()
    port = free_port()
    embed = started(options.embed, directory, port, origin.port)
    try:
        answer = fetch((LOOPBACK, port), "a.b.example.test")
        expect((answer.status, answer.body) == (200, b"ok"), answer)
        expect(fetch((LOOPBACK, port), "example.org").status == 404, "a host that nobody knows")
        expect(f"listening on {LOOPBACK}:{port}" in embed.log(), embed.log())
    finally:
        embed.kill()
        origin.stop()


@tests("handler answers by itself, on its own event loop, and ends in order")
def _(directory):
    port = free_port()
    handler = started(options.handler, directory, port)
    try:
        answer = fetch((LOOPBACK, port), "hello.example.test", "/a?b=c")
        expect((answer.status, answer.body) == (200, b"hello 127.0.0.1, you asked for /a?b=c\n"), answer)
        expect(fetch((LOOPBACK, port), "example.org").status == 404, "a host that nobody knows")
        handler.signal(signal.SIGINT)
        expect(handler.wait() == 0, handler.log())
    finally:
        handler.kill()


@tests("certificates makes one for each name that is asked for, once")
def _(directory):
    origin = Origin()
    port = free_port()
    certificates = started(options.certificates, directory, port, origin.port)
    try:
        for _ in range(2):
            answer = subprocess.run(
                ["curl", "-sS", "--insecure", "--resolve", f"a.example.test:{port}:{LOOPBACK}", "-w",
                 " %{http_code} %{certs}", f"https://a.example.test:{port}/"],
                capture_output=True, text=True, timeout=PATIENCE, check=False)
            expect(answer.returncode == 0 and answer.stdout.startswith("ok 200 "), answer)
            expect("DNS:a.example.test" in answer.stdout, answer.stdout)
        expect(certificates.log().count("made a certificate for a.example.test") == 1, certificates.log())
    finally:
        certificates.kill()
        origin.stop()


@tests("webroot gets a certificate from a CA, and leaves no proof behind")
def _(directory):
    root = pathlib.Path(directory) / "root"
    root.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=root)
    with http.server.ThreadingHTTPServer((LOOPBACK, 0), handler) as web, pebble(directory, web.server_port) as ca:
        threading.Thread(target=web.serve_forever, daemon=True).start()
        done = subprocess.run([options.webroot, ca.url, root, "a.example.test", authority().root], cwd=directory,
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        web.shutdown()
        expect(done.returncode == 0, done)
        expect("validate: a.example.test" in done.stdout, done.stdout)
    names = subprocess.run(["openssl", "x509", "-noout", "-ext", "subjectAltName", "-in", "a.example.test.pem"],
                           cwd=directory, capture_output=True, text=True, timeout=PATIENCE, check=True).stdout
    expect("DNS:a.example.test" in names, names)
    expect((pathlib.Path(directory) / "a.example.test.key").stat().st_mode & 0o077 == 0, "the key is everybody's")
    expect(not list((root / ".well-known/acme-challenge").iterdir()), "a proof is still there")


@tests("all say how they are used")
def _(directory):
    for program in (options.embed, options.handler, options.certificates, options.webroot):
        done = subprocess.run([program], capture_output=True, text=True, timeout=PATIENCE, check=False)
        expect(done.returncode == 2 and done.stderr.startswith("usage: "), done)


def programs(parser):
    for name in ("embed", "handler", "certificates", "webroot"):
        parser.add_argument(f"--{name}", required=True, type=lambda text: pathlib.Path(text).resolve())


if __name__ == "__main__":
    options = harness.arguments(__doc__, programs, needs_proxyd=False)
    raise SystemExit(harness.run(tests, options))
