"""The programs of examples/ do what their first lines say.

Usage: examples_test.py --embed PROGRAM --handler PROGRAM --certificates PROGRAM
"""

import pathlib
import signal
import subprocess

import harness
from client import fetch
from harness import LOOPBACK, PATIENCE, Tests, accepts, expect, free_port
from origin import Origin
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


@tests("all say how they are used")
def _(directory):
    for program in (options.embed, options.handler, options.certificates):
        done = subprocess.run([program], capture_output=True, text=True, timeout=PATIENCE, check=False)
        expect(done.returncode == 2 and done.stderr.startswith("usage: "), done)


def programs(parser):
    for name in ("embed", "handler", "certificates"):
        parser.add_argument(f"--{name}", required=True, type=lambda text: pathlib.Path(text).resolve())


if __name__ == "__main__":
    options = harness.arguments(__doc__, programs, needs_proxyd=False)
    raise SystemExit(harness.run(tests, options))
