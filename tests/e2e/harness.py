"""What every end-to-end test stands on: claims, waiting with a bound, ports, and the runner.

The other pieces: client.py sends and keeps exact bytes, origin.py follows a script, proxyd.py is the
proxy as a process, load.py accounts for every request, http1.py reads strictly.
Nothing waits for a time to pass: readiness is polled with a bound, everything else is an event. Ports
are free ones of the loopback interface; processes are ended by their own id; what they wrote is kept in
the test's directory and shown when the test fails.
"""

import argparse
import functools
import os
import pathlib
import random
import re
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import traceback

LOOPBACK = "127.0.0.1"
PATIENCE = 20  # seconds that anything may take which is expected to happen

program = None  # the proxyd to test; set by arguments()
_reserved = []


class Failed(AssertionError):
    """A test's claim does not hold."""


@functools.cache
def slack():
    """How many times as much memory and time the program may take because sanitizers watch it."""
    return 8 if re.search(rb"__(asan|tsan)_init", program.read_bytes()) else 1


def expect(true, text):
    if not true:
        raise Failed(text)


def allow_many_files():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def free_port(kind=socket.SOCK_STREAM):
    """A loopback port nobody uses, outside the range that outgoing connections are given.

    It is ours among concurrent runs of these tests: an abstract socket of that name is held, since
    SO_REUSEPORT would let two proxies share a port without a word.
    """
    outgoing = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = range(10000, outgoing if outgoing > 12000 else 30000)
    start = os.getpid() * 37 + len(_reserved)
    for step in range(len(ports)):
        port = ports[(start + step) % len(ports)]
        reservation = socket.socket(socket.AF_UNIX)
        try:
            reservation.bind(f"\0proxycore-e2e-{port}")
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind((LOOPBACK, port))
        except OSError:
            reservation.close()
            continue
        _reserved.append(reservation)
        return port
    raise Failed("no free port")


def until(condition, what, seconds=PATIENCE):
    """Polls until `condition()` is true and returns its value."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > deadline:
            raise Failed(f"after {seconds} s still not: {what}")
        time.sleep(0.01)


def settled(count):
    """Until a number stops growing; returns it."""
    last, since = count(), time.monotonic()
    while time.monotonic() - since < 0.5:
        if count() != last:
            last, since = count(), time.monotonic()
        time.sleep(0.02)
    return last


def accepts(port, address=LOOPBACK):
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex((address, port)) == 0


def output_of(*command):
    """What a program prints that has to end with 0."""
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=3 * PATIENCE, check=False)
    expect(done.returncode == 0, f"{command[0]} ended with {done.returncode}: "
           f"{done.stdout.decode(errors='replace')[-800:]}{done.stderr.decode(errors='replace')[-800:]}")
    return done.stdout.decode()


class Tear:
    """Cuts what is sent into pieces at random places, so that a proxy reads it in other portions."""

    MOST = 40  # cuts in one piece of sent bytes

    def __init__(self, seed):
        self.random = random.Random(seed)

    def pieces(self, data):
        cuts = self.random.randint(1, min(self.MOST, max(1, len(data) - 1)))
        places = sorted(self.random.randint(0, len(data)) for _ in range(cuts))
        for start, end in zip([0, *places], [*places, len(data)]):
            if start < end:
                yield data[start:end]
                time.sleep(0)  # gives way: whoever waits for these bytes may take them now


CHUNK_BORDER = re.compile(rb"\r\n[0-9a-fA-F]+\r\n(?!\r\n)")


def holds(data, text):
    """Whether `text` is in there, even if a chunk ends within it."""
    return text in data or text in CHUNK_BORDER.sub(b"", bytes(data))


def show(data, limit=3000):
    """Bytes as lines to read: escapes visible, broken after each line end."""
    if not data:
        return "    (nothing)"
    shown = []
    for line in data[:limit].splitlines(keepends=True):
        text = "".join({10: "\\n", 13: "\\r", 9: "\\t", 0: "\\0", 92: "\\\\"}.get(byte)
                       or (chr(byte) if 32 <= byte < 127 else f"\\x{byte:02x}") for byte in line)
        shown.append(f"    {text}")
    if len(data) > limit:
        shown.append(f"    ... {len(data) - limit} bytes more")
    return "\n".join(shown)


def arguments(manual, more=lambda parser: None, needs_proxyd=True):
    """The command line of a test; `manual` is its docstring."""
    parser = argparse.ArgumentParser(description=manual.split("\n")[0])
    parser.add_argument("--proxyd", default=os.environ.get("PROXYD"), help="the program to test")
    parser.add_argument("-k", dest="only", default="", help="only tests whose name holds this text")
    parser.add_argument("--keep", action="store_true", help="keep the logs of tests that passed too")
    more(parser)
    parsed = parser.parse_args()
    if parsed.proxyd:
        global program
        program = pathlib.Path(parsed.proxyd).resolve()
        expect(os.access(program, os.X_OK), f"no such program: {program}")
    elif needs_proxyd and getattr(parsed, "proxy", None) is None:
        parser.error("--proxyd PROGRAM (or PROXYD in the environment) is needed")
    allow_many_files()
    return parsed


class Tests(list):
    """(claim, function of a directory) in the order they are written: @tests("what is claimed")."""

    def __call__(self, claim):
        return lambda function: self.append((claim, function))


def run(tests, options):
    """Runs them one after the other; prints and counts. Returns an exit code."""
    passed, failed = 0, []
    for name, test in tests:
        if options.only not in name:
            continue
        directory = pathlib.Path(tempfile.mkdtemp(prefix="proxycore-e2e-"))
        directory.chmod(0o755)
        began = time.monotonic()
        try:
            test(directory)
        except Exception as error:  # noqa: whatever it is, the next test shall run
            failed.append(name)
            print(f"FAILED  {name}")
            print("".join(traceback.format_exception(error)) if not isinstance(error, Failed)
                  else f"    {error}")
            for log in sorted(directory.glob("*.log")):
                print(f"  {log.name}, its end:\n{log.read_text(errors='replace')[-3000:]}")
        else:
            passed += 1
            print(f"ok      {name}  ({time.monotonic() - began:.1f} s)")
            if not options.keep:
                shutil.rmtree(directory, ignore_errors=True)
        sys.stdout.flush()
    for name in failed:
        print(f"failed: {name}")
    print(f"{passed} passed, {len(failed)} failed")
    return 1 if failed or not passed else 0
