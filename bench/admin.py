#!/usr/bin/env python3
"""What the manager answers in: authenticated reads while log-ins run at full rate, pages and searches of many hosts.

    bench/admin.py [--build DIRECTORY] [--hosts N] [--seconds S]

proxyd with the manager in it runs on the last CPU alone, the readers on the first. The aims: 3,000 reads a second at a 99th
percentile of 20 ms at most; with 100,000 hosts 20 ms for a page of a hundred and 100 ms for a search.
See docs/benchmark.md."""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

import servers
from servers import say

ROOT = servers.HERE.parent
PASSWORD = "Correct-Horse-7"
READERS = 16  # connections
LOGGING_IN = 8


class Api:
    """One connection to the manager."""

    def __init__(self, port):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.fields = {}

    def __call__(self, method, path, body=None):
        fields = {"Content-Type": "application/json", **self.fields} if body else self.fields
        self.connection.request(method, path, json.dumps(body) if body else None, fields)
        response = self.connection.getresponse()
        return response.status, response.read()

    def log_in(self):
        status, text = self("POST", "/api/auth/login", {"username": "admin", "password": PASSWORD})
        if status != 200:
            raise RuntimeError(f"log-in: {status} {text.decode()}")
        self.fields = {"auth-token": json.loads(text)["token"]}
        return self


@contextlib.contextmanager
def manager(build, hosts, folder):
    """Its port. The store has that many hosts."""
    url = f"sqlite:{folder}/proxycore.db"
    subprocess.run([build / "bench/bench_hosts", url, str(hosts), "9"], check=True)
    (folder / "password").write_text(PASSWORD + "\n")
    port = servers.free_port()
    config = folder / "proxyd.toml"
    config.write_text(f"""[store]
url = "{url}"
[listen]
http = ["127.0.0.1:{servers.free_port()}"]
[admin]
listen = ["127.0.0.1:{port}"]
initial_password_file = "{folder}/password"
[renew]
key_file = "{folder}/proxycore.key"
[log]
access = "off"
""")
    with open(folder / "log", "wb") as log:
        process = servers.spawn([build / "apps/proxyd/proxyd", "--config", config], os.cpu_count() - 1, log)
    try:
        deadline = time.monotonic() + 60
        while True:
            with contextlib.suppress(OSError):
                if Api(port)("GET", "/health")[0] == 200:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((folder / "log").read_text())
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait()


def read(port, token, path, seconds, connections):
    """(reads a second, median and 99th percentile in milliseconds), as fast as they come."""
    command = ["taskset", "-c", "0", "wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency",
               "-H", f"auth-token: {token}", f"http://127.0.0.1:{port}{path}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if wrong := re.search(r"Socket errors.*|Non-2xx.*", text):
        raise RuntimeError(f"{path}: {wrong[0]}")
    requests, window = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()

    def at(percent):
        number, unit = re.search(rf"{percent}%\s+([\d.]+)(us|ms|s)\b", text).groups()
        return float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]
    return int(requests) / float(window), at(50), at(99)


@contextlib.contextmanager
def logging_in(port):
    """Log-ins one after the other by several clients; gives a list of how many there were."""
    ended, count = threading.Event(), []

    def client():
        api = Api(port)
        while not ended.is_set():
            status, _ = api("POST", "/api/auth/login", {"username": "admin", "password": PASSWORD})
            if status == 200:
                count.append(status)
            elif status not in (429, 503):  # readers go first on a CPU that has nothing left to give
                raise RuntimeError(f"log-in: {status}")
    clients = [threading.Thread(target=client) for _ in range(LOGGING_IN)]
    for one in clients:
        one.start()
    try:
        yield count
    finally:
        ended.set()
        for one in clients:
            one.join()


def times(api, paths):
    """Milliseconds of each, one after the other."""
    took = []
    for path in paths:
        began = time.perf_counter()
        status, text = api("GET", path)
        took.append((time.perf_counter() - began) * 1e3)
        if status != 200:
            raise RuntimeError(f"{path}: {status} {text.decode()}")
    return took


def pages(api, count):
    """The paths of the first pages, each told by the one before."""
    path, paths = "/api/host?limit=100", []
    while len(paths) < count:
        paths.append(path)
        reply = json.loads(api("GET", path)[1])
        if not reply.get("next"):
            break
        path = f"/api/host?limit=100&cursor={urllib.parse.quote(reply['next'], safe='')}"
    return paths


def main():
    parser = argparse.ArgumentParser(prog="bench/admin.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/bench", help="build directory (build/bench)")
    parser.add_argument("--hosts", type=int, default=100_000, help="how many there are (100000)")
    parser.add_argument("--seconds", type=int, default=10, help="length of a window (10)")
    chosen = parser.parse_args()
    build = chosen.build.resolve()
    for program in ("bench/bench_hosts", "apps/proxyd/proxyd"):
        if not (build / program).exists():
            sys.exit(f"{build / program} is missing: ninja -C {build} bench_programs")
    with tempfile.TemporaryDirectory(prefix="proxycore-bench-") as folder, \
            manager(build, chosen.hosts, pathlib.Path(folder)) as port:
        api = Api(port).log_in()
        token = api.fields["auth-token"]
        say(f"{chosen.hosts} hosts; {READERS} readers")
        print("| reads of | log-ins beside it | reads/s | median | p99 |\n|---|---:|---:|---:|---:|")
        for path in ("/api/user/me", "/api/host/h000001.example.test", "/api/host?limit=100"):
            rate, median, p99 = read(port, token, path, chosen.seconds, READERS)
            print(f"| `{path}` | - | {rate:,.0f} | {median:.2f} ms | {p99:.2f} ms |")
            with logging_in(port) as count:
                rate, median, p99 = read(port, token, path, chosen.seconds, READERS)
            print(f"| `{path}` | {len(count) / chosen.seconds:.1f}/s | {rate:,.0f} | {median:.2f} ms | {p99:.2f} ms |")
        print(f"\n| {chosen.hosts:,} hosts | median | slowest |\n|---|---:|---:|")
        for what, paths in (("a page of 100", pages(api, 100)),
                            ("a search that finds one", [f"/api/host?limit=100&q=h{number:06}" for number in range(30)]),
                            ("a search that finds none", ["/api/host?limit=100&q=nowhere"] * 30)):
            took = times(api, paths)
            print(f"| {what} | {statistics.median(took):.1f} ms | {max(took):.1f} ms |")


if __name__ == "__main__":
    main()
