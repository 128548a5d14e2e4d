#!/usr/bin/env python3
"""What visitors wait while proxyd gets certificates in its own process: the same requests before, and meanwhile.

    bench/renewal.py [--build DIRECTORY] [--names N] [--seconds S]

proxyd, with one worker and all its other threads, has the last CPU; the reader, its target and the CA (pebble) have the first.
Certificates are got at proxyd's own pace, one a second at most. See docs/benchmark.md."""

import argparse
import contextlib
import os
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile

import servers
from servers import CPUS, LOAD_CPU, PROXY_CPU, say

ROOT = servers.HERE.parent
sys.path.append(str(ROOT / "tests/e2e"))

import harness  # noqa: E402
from harness import LOOPBACK, free_port  # noqa: E402
from pebble import pebble  # noqa: E402
from proxyd import record, running  # noqa: E402

CONNECTIONS = 4


def pinned(pid, cpu):
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), {cpu})


def read(port, seconds):
    """(requests a second, median, 99th and 99.9th percentile in milliseconds)."""
    script = pathlib.Path(tempfile.gettempdir()) / f"percentiles-{os.getpid()}.lua"
    script.write_text('done = function(s, l) print("P " .. l:percentile(50) .. " " .. l:percentile(99) .. " " .. '
                      'l:percentile(99.9)) end\n')
    command = ["taskset", "-c", str(LOAD_CPU), "wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(script),
               "-H", "Host: bench.example.test", f"http://{LOOPBACK}:{port}/1k"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    script.unlink()
    if wrong := re.search(r"Socket errors.*|Non-2xx.*", text):
        raise RuntimeError(wrong[0])
    requests, window = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
    return (int(requests) / float(window), *(float(part) / 1e3 for part in re.search(r"^P (.*)$", text, re.M)[1].split()))


def save(tool, url, names, port):
    commands = "".join(f"save {name} {LOOPBACK} {port}\n" for name in names)
    told = subprocess.run([tool, url], input=commands, text=True, capture_output=True, check=True).stdout
    if told.split() != ["ok"] * len(names):
        raise RuntimeError(told)


def main():
    parser = argparse.ArgumentParser(prog="bench/renewal.py", description=__doc__.split("\n\n")[0])
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/bench", help="build directory (build/bench)")
    parser.add_argument("--names", type=int, default=500, help="certificates to get (500)")
    parser.add_argument("--seconds", type=int, default=10, help="length of a window (10)")
    chosen = parser.parse_args()
    build = chosen.build.resolve()
    tool = build / "tests/e2e/store_tool"
    for program in ("bench/bench_origin", "apps/proxyd/proxyd", "tests/e2e/store_tool"):
        if not (build / program).exists():
            sys.exit(f"{build / program} is missing")
    harness.program = str(build / "apps/proxyd/proxyd")
    with contextlib.ExitStack() as until_done:
        folder = pathlib.Path(until_done.enter_context(tempfile.TemporaryDirectory(prefix="proxycore-bench-")))
        port, target = free_port(), free_port()
        origin = servers.spawn([build / "bench/bench_origin", str(target)], LOAD_CPU, subprocess.DEVNULL)
        until_done.callback(origin.wait)
        until_done.callback(origin.terminate)
        os.sched_setaffinity(0, {LOAD_CPU})
        ca = until_done.enter_context(pebble(folder, port, nonce_rejection=0))
        url = f"sqlite:{folder}/store.db"
        tables = {"store__url": url, "listen__http": [f"{LOOPBACK}:{port}"], "log__access": "off",
                  "renew__key_file": str(folder / "proxycore.key"), **ca.tables()}
        hosts = [record("bench.example.test", target, challengeType="none", forcessl=False)]
        proxy = until_done.enter_context(running(folder, hosts, certificates=[], **tables))
        pinned(proxy.pid, PROXY_CPU)
        say(f"{CONNECTIONS} connections; CPUs {CPUS}")
        print("| | windows | certificates | requests/s | median | p99 | p99.9 |\n|---|---:|---:|---:|---:|---:|---:|")

        def windows(what, goes_on):
            """The medians of windows."""
            before, rows = ca.issued(), []
            while goes_on(len(rows)):
                rows.append(read(port, chosen.seconds))
            rate, *parts = (statistics.median(column) for column in zip(*rows))
            print(f"| {what} | {len(rows)} | {ca.issued() - before} | {rate:,.0f} | " +
                  " | ".join(f"{part:.2f} ms" for part in parts) + " |", flush=True)

        windows("before", lambda count: count < 12)
        save(tool, url, [f"n{number:04d}.example.test" for number in range(chosen.names)], target)
        windows("while certificates are got", lambda _: ca.issued() < chosen.names)
        windows("after", lambda count: count < 12)


if __name__ == "__main__":
    main()
