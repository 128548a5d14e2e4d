"""What tools/test runs once the machine is set up: the builds, and every check on them.

Each step is a function that returns how many checks passed and failed; a step that fails does not keep the next from
running. Builds live in build/<step>, so that a second run compiles only what changed.
"""

import concurrent.futures
import hashlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import time
from typing import NamedTuple

ROOT = pathlib.Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
CORES = os.cpu_count() or 1
# Debian 12's clang; what its clang-format and clang-tidy say is the rule, and other versions say otherwise.
CLANG = "14" if shutil.which("clang-14") else "19"

# Files and lines, for what sanitizers report. Variables as well would make each compilation a quarter longer.
LINES = ["-Ddebug=false", "-Dc_args=-g1", "-Dcpp_args=-g1"]
CLANG_ENV = {kind: " ".join(filter(None, [shutil.which("ccache") and "ccache", f"{name}-{CLANG}"]))
             for kind, name in (("CC", "clang"), ("CXX", "clang++"))}
# Build folder: Meson's options and the compiler to use, so that both compilers are asked; two thirds of all the time
# goes into them. PX_ASSERT is on in all but release. The debug build serves the tests, the fuzz targets and clang-tidy;
# to optimise what UBSan adds would take longer than to run them without.
BUILDS = {
    "debug": (["-Doptimization=0", "-Db_sanitize=address,undefined", "-Db_lundef=false", "-Dfuzz=true",
               "-Dwerror=true", *LINES], CLANG_ENV),
    "thread": (["-Doptimization=1", "-Db_sanitize=thread", "-Dwerror=true", *LINES], {}),
    "release": (["-Dbuildtype=release", "-Dwerror=true"], {}),
}
# What runs in more than one thread, for ThreadSanitizer.
THREADED = {"admin", "auth", "base", "certs", "io", "lookup", "origin", "proxy", "server", "store", "tls"}


class Count(NamedTuple):
    passed: int
    failed: int

    def __add__(self, other):
        return Count(self.passed + other.passed, self.failed + other.failed)


def say(text):
    print(text, flush=True)


def run(command, log, env=None, only=""):
    """Runs `command` with its output in build/<log>.log; on failure shows the end of it (the lines with `only`)."""
    path = BUILD / f"{log}.log"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        status = subprocess.run(command, cwd=ROOT, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL,
                                stdout=file, stderr=subprocess.STDOUT, check=False).returncode
    if status != 0:
        lines = path.read_text(errors="replace").splitlines()
        shown = [line for line in lines if only in line][-80:]
        say("\n".join(f"    {line}" for line in shown))
        say(f"    [{' '.join(map(str, command))}: status {status}; all of it in {path.relative_to(ROOT)}]")
    return status == 0


def build(name, *targets):
    options, env = BUILDS[name]
    folder = BUILD / name
    if (folder / "build.ninja").exists():
        ready = run(["meson", "configure", str(folder), *options], f"{name}-setup")
    else:
        ready = run(["meson", "setup", str(folder), *options], f"{name}-setup", env)
    return ready and run(["ninja", "-C", str(folder), f"-j{CORES}", *targets], f"{name}-build")


def counted(test):
    """How many cases a Meson test held, by the closing line of doctest, unittest or our own form."""
    output = test.get("stdout", "") + "\n" + test.get("stderr", "")
    count = Count(0, 0)
    for passed, failed in re.findall(r"test cases: +\d+ \| +(\d+) passed \| +(\d+) failed", output):
        count += Count(int(passed), int(failed))
    for ran, verdict in re.findall(r"^Ran (\d+) tests? in .*\n+(?:OK|FAILED)(.*)$", output, re.MULTILINE):
        failed = sum(int(number) for number in re.findall(r"(?:failures|errors|unexpected successes)=(\d+)", verdict))
        count += Count(int(ran) - failed, failed)
    for passed, failed in re.findall(r"^(\d+) passed, (\d+) failed$", output, re.MULTILINE):
        count += Count(int(passed), int(failed))
    if test["result"] == "OK":
        return count if count != (0, 0) else Count(1, 0)
    return count if count.failed else count + Count(0, 1)  # it crashed, or ran out of time


def meson_test(name, *selection, env=None, jobs=CORES):
    """Runs the selected tests of a build folder and counts their cases."""
    folder = BUILD / name
    results = folder / "meson-logs/testlog.json"
    results.unlink(missing_ok=True)
    run(["meson", "test", "-C", str(folder), "--no-rebuild", "--print-errorlogs", "--num-processes", str(jobs),
         *selection], f"{name}-test", env)
    if not results.exists():
        return Count(0, 1)
    count = Count(0, 0)
    for line in results.read_text().splitlines():
        test = json.loads(line)
        cases = counted(test)
        count += cases
        say(f"    {test['name'].split(' / ')[-1]}: {cases.passed} passed, {cases.failed} failed "
            f"({test['duration']:.1f} s)")
    return count


def tests_of(name):
    """The tests of a build folder, as Meson knows them."""
    listing = subprocess.run(["meson", "introspect", "--tests", str(BUILD / name)], capture_output=True, check=True)
    return json.loads(listing.stdout)


def tracked(*patterns):
    listing = subprocess.run(["git", "ls-files", "-z", *patterns], cwd=ROOT, capture_output=True, check=True)
    return [name for name in listing.stdout.decode().split("\0") if name and (ROOT / name).exists()]


def as_one(passed):
    return Count(1, 0) if passed else Count(0, 1)


def formatted():
    files = tracked("*.h", "*.cpp", "*.c")
    return as_one(run(["clang-format-14", "--dry-run", "-Werror", *files], "format", only=": error: "))


def debug():
    if not build("debug", "meson-test-prereq"):
        return Count(0, 1)
    return Count(1, 0) + meson_test("debug", "--no-suite", "fuzz")


def thread():
    if not build("thread", "meson-test-prereq"):
        return Count(0, 1)
    selected = [test["name"] for test in tests_of("thread")
                if test["name"] in THREADED or any(suite.endswith(":e2e") for suite in test["suite"])]
    return Count(1, 0) + meson_test("thread", *selected, env={"TSAN_OPTIONS": "halt_on_error=1"})


def release():
    if not build("release"):
        return Count(0, 1)
    return Count(1, 0) + meson_test("release", "--no-suite", "tree") + readme()


def readme():
    """The README's commands use build/release; so not among Meson's tests, which run in any folder."""
    passed = run([sys.executable, "tests/package/readme_test.py"], "readme")
    output = (BUILD / "readme.log").read_text()
    count = counted({"stdout": output, "result": "OK" if passed else "FAIL"})
    say(f"    readme: {count.passed} passed, {count.failed} failed")
    return count


def fuzz():
    if not build("debug"):
        return Count(0, 1)
    return meson_test("debug", "--suite", "fuzz")


def tidy():
    """clang-tidy on what clang compiled; a file whose text and headers have not changed is not read again."""
    if not build("debug"):
        return Count(0, 1)
    folder = BUILD / "debug"
    commands = json.loads((folder / "compile_commands.json").read_text())
    known = {os.path.relpath(folder / entry["file"], ROOT): entry["output"] for entry in commands}
    headers = {}
    listing = subprocess.run(["ninja", "-C", str(folder), "-t", "deps"], capture_output=True, check=True).stdout.decode()
    for block in listing.split("\n\n"):
        first, *rest = block.strip().splitlines() or [""]
        headers[first.split(":")[0].removeprefix("ninja")] = [line.strip() for line in rest]

    def one(name):
        parts = sorted({os.path.relpath(folder / path, ROOT) for path in headers.get(known[name], [])})
        digest = hashlib.sha256()
        for part in [".clang-tidy", name, *(part for part in parts if not part.startswith(".."))]:
            digest.update((ROOT / part).read_bytes())
        stamp = BUILD / "tidy" / (name + ".ok")
        if stamp.exists() and stamp.read_text() == digest.hexdigest():
            return True
        if not run(["clang-tidy-14", "-p", str(folder), "--quiet", name], f"tidy/{name}", only=": error: "):
            return False
        stamp.write_text(digest.hexdigest())
        return True

    files = [name for name in tracked("lib/*.cpp", "apps/*.cpp", "examples/*.cpp") if name in known]
    with concurrent.futures.ThreadPoolExecutor(CORES) as pool:
        results = list(pool.map(one, files))
    return Count(results.count(True), results.count(False))


STEPS = {
    "format": ("clang-format", formatted),
    "debug": ("clang with ASan and UBSan, all tests", debug),
    "release": ("g++, unit and end-to-end tests, installation, README", release),
    "fuzz": ("each fuzz target 20 s", fuzz),
    "tidy": ("clang-tidy", tidy),
    "thread": ("g++ with TSan, tests of what is threaded", thread),
}


def run_steps(names):
    total = Count(0, 0)
    for number, name in enumerate(names, 1):
        title, step = STEPS[name]
        say(f"[{number}/{len(names)}] {name}: {title}")
        start = time.monotonic()
        try:
            count = step()
        except (OSError, subprocess.CalledProcessError, json.JSONDecodeError) as error:
            say(f"    {error}")
            count = Count(0, 1)
        total += count
        say(f"    {count.passed} passed, {count.failed} failed in {time.monotonic() - start:.0f} s")
    return total


def quick(word):
    """The debug build and the Meson tests, else the doctest cases, whose name holds `word`."""
    if not build("debug", "meson-test-prereq"):
        return Count(0, 1)
    names = [test["name"] for test in tests_of("debug")]
    selected = [name for name in names if word in name]
    if selected:
        return meson_test("debug", *selected)
    return meson_test("debug", "--suite", "unit", f"--test-args=--test-case=*{word}*")


def main():
    word = sys.argv[1] if len(sys.argv) > 1 else None
    if word is None:
        total = run_steps([name for name in STEPS if CLANG == "14" or name not in ("format", "tidy")])
    elif word in STEPS:
        total = run_steps([word])
    else:
        total = quick(word)
    say(f"{total.passed} passed, {total.failed} failed")
    sys.exit(1 if total.failed else 0)


if __name__ == "__main__":
    main()
