"""What is measured: each case is one kind of load, run against one proxy for a few seconds."""

import dataclasses
import json
import re
import subprocess
import sys

import measure
from servers import HERE, LOAD_CPU, say

CONNECTIONS = 64
HOST = "bench.example.test"

# What a browser sends along: about 700 bytes in twelve fields.
BROWSER = {
    "User-Agent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) "
                  "Chrome/130.0.0.0 Safari/537.36",
    "Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8",
    "Accept-Language": "en-GB,en;q=0.9,de;q=0.8",
    "Accept-Encoding": "gzip, deflate, br, zstd",
    "Referer": "https://bench.example.test/articles/2026/11/a-page-that-links-here",
    "Cookie": "session=7f3c9e1b5a2d4860b1c3d5e7f9a0b2c4; theme=dark; consent=necessary; "
              "visitor=1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed",
    "Cache-Control": "max-age=0",
    "Upgrade-Insecure-Requests": "1",
    "Sec-Fetch-Site": "same-origin",
    "Sec-Fetch-Mode": "navigate",
    "Sec-Fetch-Dest": "document",
}


@dataclasses.dataclass
class Sample:
    """One window of load: how much was done, and how long the slowest hundredth took."""
    units: float      # requests, or gigabytes
    requests: int
    seconds: float
    p99_us: float


def wrk(port, seconds, *options, closes=False):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency",
               "-H", f"Host: {HOST}", *options, f"http://127.0.0.1:{port}/1k"]
    text = run(command)
    errors = re.search(r"Socket errors: (.*)|Non-2xx.*: (\d+)", text)
    # The relay closes without having said so, which wrk counts as an error of reading.
    if errors and not (closes and re.match(r"connect 0, read \d+, write 0, timeout 0", errors.group(1) or "")):
        raise RuntimeError(f"wrk: {errors.group(0)}")
    requests, window = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text).groups()
    p99_us = float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
    return Sample(int(requests), int(requests), float(window), p99_us)


def load(bench, *arguments):
    return json.loads(run([bench.program("load"), *arguments]))


def run(command):
    command = ["taskset", "-c", str(LOAD_CPU), *map(str, command)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{command[3]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def get(_bench, port, seconds):
    return wrk(port, seconds)


def browser(_bench, port, seconds):
    return wrk(port, seconds, *(part for name, value in BROWSER.items()
                                for part in ("-H", f"{name}: {value}")))


def connect(_bench, port, seconds):
    return wrk(port, seconds, "-H", "Connection: close", closes=True)


def post(_bench, port, seconds):
    return wrk(port, seconds, "-s", HERE / "post.lua")


def million(_bench, port, seconds):
    return wrk(port, seconds, "-s", HERE / "hosts.lua")


def download(path, connections):
    def window(bench, port, seconds):
        done = load(bench, "download", port, path, connections, seconds)
        return Sample(done["bytes"] / 1e9, done["requests"], done["seconds"], done["p99_us"])
    return window


def websocket(bench, port, seconds):
    done = load(bench, "websocket", port, CONNECTIONS, seconds)
    return Sample(done["requests"], done["requests"], done["seconds"], done["p99_us"])


@dataclasses.dataclass
class Case:
    name: str
    title: str
    target: float          # proxyd's cost as a share of nginx's
    window: object = None  # (bench, port, seconds) -> Sample
    servers: tuple = ("nginx", "haproxy", "relay", "proxyd")
    unit: str = "µs/request"
    scale: float = 1e6     # seconds of CPU per unit are shown times this
    base: str = "nginx"    # whose cost the others' is a ratio to


BODIES = ("nginx", "nginx-tuned", "haproxy", "relay", "proxyd")
CASES = [
    Case("get", "1 KiB GET, keep-alive, 64 connections", 0.80, get),
    Case("browser", "the same with a browser's header fields", 0.80, browser),
    Case("connect", "1 KiB GET, a new connection per request", 1.0, connect,
         ("nginx", "haproxy", "relay-close", "proxyd")),
    Case("post", "64 KiB POST", 0.50, post, BODIES),
    Case("download-1m", "1 MiB download, 16 connections", 0.50, download("/1m", 16), BODIES, "s/GB", 1),
    Case("download-100m", "100 MiB download, 4 connections", 0.45, download("/100m", 4), BODIES,
         "s/GB", 1),
    Case("websocket", "WebSocket echo, 32 bytes, 64 connections", 1.0, websocket, unit="µs/message"),
    Case("million", "1 KiB GET, keep-alive, among 1 million hosts (nginx: one host)", 0.85, million,
         ("nginx", "proxyd-million")),
    Case("redis", "1 KiB GET, keep-alive, hosts in Redis; its CPU counts", 0.17, get,
         ("nginx-lua", "proxyd", "proxyd-redis"), base="nginx-lua"),
]
IDLE_CONNECTIONS = 5000
IDLE_TARGET_KIB = 1.5


def idle_kib(bench, name):
    """Memory that an idle keep-alive connection holds, each having had one request, in KiB."""
    process, port = bench.fresh(name)
    load(bench, "download", port, "/1k", CONNECTIONS, 0.3)  # pools and caches are in place
    before = measure.memory_kib(process.pid)
    command = ["taskset", "-c", str(LOAD_CPU), bench.program("load"), "idle", port, IDLE_CONNECTIONS]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True) as holder:
        if holder.stdout.readline() != "ready\n":
            raise RuntimeError(f"{name}: the idle connections could not be opened")
        after = measure.memory_kib(process.pid)
        still_open = json.loads(holder.communicate(timeout=30)[0])["open"]
    bench.stop(process)
    if still_open != IDLE_CONNECTIONS:
        raise RuntimeError(f"{name}: only {still_open} of {IDLE_CONNECTIONS} stayed open")
    return (after - before) / IDLE_CONNECTIONS


def rounds(bench, case, names, count, seconds, use_perf):
    """{name: {"cost": [per round], "rps": [...], "p99_us": [...], "busy": [...], "syscalls": n,
    "user": share of the CPU time that was not the kernel's}}"""
    for name in names:
        bench.proxy(name)
    ticks = {name: measure.user_and_system(*bench.processes(name)) for name in names}
    results = {name: {"cost": [], "rps": [], "p99_us": [], "busy": []} for name in names}
    for turn in range(count):
        # Each round starts with another proxy, so that none is always first.
        for name in names[turn % len(names):] + names[:turn % len(names)]:
            port = bench.proxy(name)[1]
            before = measure.cpu_seconds(*bench.processes(name))
            sample = case.window(bench, port, seconds)
            used = measure.cpu_seconds(*bench.processes(name)) - before
            if sample.requests == 0:
                raise RuntimeError(f"{case.name}: {name} completed no request")
            mine = results[name]
            mine["cost"].append(used / sample.units * case.scale)
            mine["rps"].append(sample.requests / sample.seconds)
            mine["p99_us"].append(sample.p99_us)
            mine["busy"].append(used / sample.seconds)
            say(f"{case.name} {turn + 1}/{count} {name}: {mine['cost'][-1]:.3g} {case.unit}, "
                f"{mine['rps'][-1]:.0f}/s")
    for name in names:
        pid, port = bench.proxy(name)
        user, system = (now - then for now, then in zip(measure.user_and_system(*bench.processes(name)), ticks[name]))
        results[name]["user"] = user / max(1, user + system)
        sample, calls = measure.count_syscalls(
            pid, lambda port=port: case.window(bench, port, min(seconds, 1)), use_perf)
        results[name]["syscalls"] = calls / sample.units
    return results


if __name__ == "__main__":
    sys.exit("run bench/run")
