"""What is measured: each case is one kind of load, run against one proxy for a few seconds."""

import dataclasses
import json
import re
import subprocess
import sys
import tempfile

import measure
from servers import HERE, LOAD_CPU, say

CONNECTIONS = 64
HANDSHAKES = 16      # at a time
H2_CONNECTIONS = 8   # each with so many streams
H2_STREAMS = 32
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


def wrk(bench, port, seconds, *options, closes=False, scheme="http"):
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{max(1, round(seconds))}s", "--latency",
               "-H", f"Host: {HOST}", *options, f"{scheme}://127.0.0.1:{port}/1k"]
    text = run(bench, command)
    errors = re.search(r"Socket errors: (.*)|Non-2xx.*: (\d+)", text)
    # The relay closes without having said so, which wrk counts as an error of reading.
    if errors and not (closes and re.match(r"connect 0, read \d+, write 0, timeout 0", errors.group(1) or "")):
        raise RuntimeError(f"wrk: {errors.group(0)}")
    requests, window = re.search(r"(\d+) requests in ([\d.]+)s", text).groups()
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)\b", text).groups()
    p99_us = float(number) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
    return Sample(int(requests), int(requests), float(window), p99_us)


def load(bench, *arguments):
    return json.loads(run(bench, [bench.program("load"), *arguments]))


def run(bench, command):
    command = ["taskset", "-c", str(LOAD_CPU), *map(str, command)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=bench.client_env())
    if done.returncode != 0:
        raise RuntimeError(f"{command[3]}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def get(bench, port, seconds):
    return wrk(bench, port, seconds)


def browser(bench, port, seconds):
    return wrk(bench, port, seconds, *(part for name, value in BROWSER.items()
                                for part in ("-H", f"{name}: {value}")))


def connect(bench, port, seconds):
    return wrk(bench, port, seconds, "-H", "Connection: close", closes=True)


def post(bench, port, seconds):
    return wrk(bench, port, seconds, "-s", HERE / "post.lua")


def million(bench, port, seconds):
    return wrk(bench, port, seconds, "-s", HERE / "hosts.lua")


def tls_get(bench, port, seconds):
    return wrk(bench, port, seconds, scheme="https")


def download(path, connections, *options):
    def window(bench, port, seconds):
        done = load(bench, *options, "download", port, path, connections, seconds)
        return Sample(done["bytes"] / 1e9, done["requests"], done["seconds"], done["p99_us"])
    return window


def websocket(*options):
    def window(bench, port, seconds):
        done = load(bench, *options, "websocket", port, CONNECTIONS, seconds)
        return Sample(done["requests"], done["requests"], done["seconds"], done["p99_us"])
    return window


def handshake(*options):
    def window(bench, port, seconds):
        done = load(bench, *options, "handshake", port, HANDSHAKES, seconds)
        share = done["resumed"] / max(1, done["requests"])
        # The first of each connection has no session to take up.
        if share > 0 if "--resume" not in options else done["resumed"] < done["requests"] - 2 * HANDSHAKES:
            raise RuntimeError(f"{share:.1%} of the sessions were resumed")
        return Sample(done["requests"], done["requests"], done["seconds"], done["p99_us"])
    return window


def h2(bench, port, seconds):
    with tempfile.NamedTemporaryFile() as log:
        text = run(bench, ["h2load", "-t1", f"-c{H2_CONNECTIONS}", f"-m{H2_STREAMS}", f"-D{max(1, round(seconds))}",
                           "--tls13-ciphers=TLS_AES_128_GCM_SHA256", "--groups=X25519", f"--log-file={log.name}",
                           f"--connect-to=127.0.0.1:{port}", f"https://{HOST}:{port}/1k"])
        took = sorted(int(line.split()[2]) for line in log)
    done, failed = re.search(r"(\d+) succeeded, (\d+) failed", text).groups()
    statuses = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text).groups()
    # Requests that are under way when the time is over count as failed.
    too_many = int(failed) > H2_CONNECTIONS * H2_STREAMS
    if too_many or set(statuses[1:]) != {"0"} or "Application protocol: h2" not in text:
        raise RuntimeError(f"h2load: {text}")
    return Sample(int(done), int(done), seconds, took[len(took) * 99 // 100] if took else 0)


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
    tls: bool = False


TLS = ("nginx", "haproxy", "relay-tls", "proxyd")
TLS_BODIES = ("nginx", "nginx-tuned", "haproxy", "proxyd")
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
    Case("websocket", "WebSocket echo, 32 bytes, 64 connections", 1.0, websocket(), unit="µs/message"),
    Case("million", "1 KiB GET, keep-alive, among 1 million hosts (nginx: one host)", 0.85, million,
         ("nginx", "proxyd-million")),
    Case("redis", "1 KiB GET, keep-alive, hosts in Redis; its CPU counts", 0.17, get,
         ("nginx-lua", "proxyd", "proxyd-redis"), base="nginx-lua"),
    Case("tls-get", "1 KiB GET over TLS 1.3, keep-alive, 64 connections", 0.75, tls_get, TLS, tls=True),
    Case("tls-full", "TLS 1.3: a full handshake and a 1 KiB GET", 0.65, handshake("--tls"), TLS,
         "µs/handshake", tls=True),
    Case("tls-resumed", "TLS 1.3: a resumed handshake and a 1 KiB GET", 0.60, handshake("--tls", "--resume"), TLS,
         "µs/handshake", tls=True),
    Case("tls12-full", "TLS 1.2: a full handshake and a 1 KiB GET", 0.65, handshake("--tls=1.2"), TLS,
         "µs/handshake", tls=True),
    Case("tls12-resumed", "TLS 1.2: a resumed handshake and a 1 KiB GET", 0.60, handshake("--tls=1.2", "--resume"), TLS,
         "µs/handshake", tls=True),
    Case("tls-download-1m", "1 MiB download over TLS, 16 connections", 0.75, download("/1m", 16, "--tls"), TLS_BODIES,
         "s/GB", 1, tls=True),
    Case("tls-download-100m", "100 MiB download over TLS, 4 connections", 0.75, download("/100m", 4, "--tls"),
         TLS_BODIES, "s/GB", 1, tls=True),
    Case("h2", f"HTTP/2, 1 KiB GET, {H2_CONNECTIONS} connections of {H2_STREAMS} streams", 0.60, h2,
         ("nginx", "haproxy", "nghttpx", "proxyd"), tls=True),
    Case("tls-websocket", "WebSocket echo over TLS, 32 bytes, 64 connections", 1.0, websocket("--tls"),
         ("nginx", "haproxy", "proxyd"), "µs/message", tls=True),
]
IDLE_CONNECTIONS = 5000
IDLE = {"idle": 1.5, "idle-tls": 4}  # targets, KiB


def idle_kib(bench, name, tls=False):
    """Memory that an idle keep-alive connection holds, each having had one request, in KiB."""
    process, ports = bench.fresh(name)
    port, options = (ports.tls, ["--tls"]) if tls else (ports.plain, [])
    load(bench, *options, "download", port, "/1k", CONNECTIONS, 0.3)  # pools and caches are in place
    before = measure.memory_kib(process.pid)
    command = ["taskset", "-c", str(LOAD_CPU), bench.program("load"), *options, "idle", port, IDLE_CONNECTIONS]
    with subprocess.Popen(list(map(str, command)), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                          text=True, env=bench.client_env()) as holder:
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
            port = bench.port(name, case.tls)
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
        pid, port = bench.proxy(name)[0], bench.port(name, case.tls)
        user, system = (now - then for now, then in zip(measure.user_and_system(*bench.processes(name)), ticks[name]))
        results[name]["user"] = user / max(1, user + system)
        sample, calls = measure.count_syscalls(
            pid, lambda port=port: case.window(bench, port, min(seconds, 1)), use_perf)
        results[name]["syscalls"] = calls / sample.units
    return results


if __name__ == "__main__":
    sys.exit("run bench/run")
