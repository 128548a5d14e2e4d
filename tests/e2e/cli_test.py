"""proxyd's command line: what it prints, what it says about a wrong file, and its exit codes.

0: done; 2: the command line or the configuration is wrong; 1: everything else that failed.

    cli_test.py --proxyd PROGRAM [-k TEXT]
"""

import pathlib
import re
import subprocess
import sys

import harness
from harness import PATIENCE, expect

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOOD = """\
[listen]
http = ["127.0.0.1:8080"]

[[host]]
host = "a.test"
ip = "127.0.0.1"
targetPort = 9000
"""
test = harness.Tests()


def proxyd(directory, *arguments):
    return subprocess.run([harness.program, *arguments], cwd=directory, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=PATIENCE, check=False)


def ends(done, code, out="", err=""):
    told = f"ended with {done.returncode}\nstdout: {done.stdout[:2000]}\nstderr: {done.stderr[:2000]}"
    expect(done.returncode == code, f"expected the exit code {code}; {told}")
    expect(done.stdout == out, f"expected on stdout: {out!r}; {told}")
    expect(done.stderr == err, f"expected on stderr: {err!r}; {told}")


def checked(directory, text, name="p.toml"):
    (directory / name).write_bytes(text.encode())
    return proxyd(directory, "--check", "--config", name)


@test("--help tells the options and the signals")
def _(directory):
    for option in ("--help", "-h"):
        done = proxyd(directory, option)
        expect(done.returncode == 0 and not done.stderr, done)
        for word in ("--config", "--check", "--print-config-reference", "--version", "TERM", "HUP", "USR1"):
            expect(word in done.stdout, f"{word} is not in\n{done.stdout}")


@test("--version tells the version of the project")
def _(directory):
    version = re.search(r"version: '([^']+)'", (ROOT / "meson.build").read_text())[1]
    ends(proxyd(directory, "--version"), 0, f"proxyd {version}\n")


@test("--print-config-reference prints docs/configuration.md")
def _(directory):
    ends(proxyd(directory, "--print-config-reference"), 0, (ROOT / "docs/configuration.md").read_text())


@test("--check of a good file ends with 0, and serves nothing")
def _(directory):
    ends(checked(directory, GOOD), 0, "p.toml: ok\n")
    ends(checked(directory, ""), 0, "p.toml: ok\n")


@test("--check of the configuration that is installed ends with 0")
def _(directory):
    path = str(ROOT / "apps/proxyd/proxyd.toml")
    ends(proxyd(directory, "--check", "--config", path), 0, f"{path}: ok\n")


@test("--check of a wrong file ends with 2 and names file, line and key")
def _(directory):
    for text, message in [
            ("[listen]\nhttp = 8080\n", "p.toml:2: listen.http: expected an array of addresses, found 8080"),
            ("[listen]\nhtpp = []\n", "p.toml:2: listen.htpp: unknown, did you mean listen.http?"),
            ("[listen]\nhttp = ['*:443']\nhttps = ['*:443']\n",
             "p.toml:3: listen.https: expected each address once, '*:443' is in listen.http already"),
            ("[tls]\nalpn = ['h3']\n", "p.toml:2: tls.alpn: expected 'h2' or 'http/1.1', found 'h3'"),
            ("[[certificate]]\nchain = '/none.pem'\nkey = '/none.key'\n",
             "p.toml:1: /none.pem: cannot be read: No such file or directory"),
            ("[store]\nurl = 'redis://u:secret@127.0.0.1:99999'\n",
             "p.toml:2: store.url: redis url: port: expected 1 to 65535"),
            ("lookup = ['redis']\n", "p.toml:1: lookup: 'redis' needs a store.url of redis://"),
            ("[listen]\nbacklog = 5\nbacklog = 6\n", "p.toml:3: listen.backlog: expected once, found again"),
            (GOOD + "targetport = 1\n", "p.toml:8: host.targetport: unknown, did you mean host.targetPort?"),
            (GOOD + GOOD[GOOD.index("[[host]]"):],
             "p.toml:8: host.host: 'a.test' is declared at p.toml:4 already")]:
        ends(checked(directory, text), 2, err=f"proxyd: {message}\n")


@test("without --check a wrong file ends with 2 as well")
def _(directory):
    (directory / "p.toml").write_text("[workers]\ncount = -1\n")
    ends(proxyd(directory, "-c", "p.toml"), 2,
         err="proxyd: p.toml:2: workers.count: expected a number from 0 to 1024, found -1\n")


@test("a file that is missing or none ends with 2 and says so")
def _(directory):
    for arguments in (("--check", "--config"), ("--config",)):
        ends(proxyd(directory, *arguments, "none.toml"), 2,
             err="proxyd: none.toml: cannot be read: No such file or directory\n")
        ends(proxyd(directory, *arguments, "/"), 2, err="proxyd: /: cannot be read: Is a directory\n")
    ends(proxyd(directory, "--check", "--config", "/dev/zero"), 2,
         err="proxyd: /dev/zero: expected at most 64 MiB\n")


@test("without --config it says what is needed")
def _(directory):
    for arguments in ((), ("--check",)):
        ends(proxyd(directory, *arguments), 2, err="proxyd: expected --config FILE; see --help\n")


@test("an option that it does not know ends with 2")
def _(directory):
    for arguments in (("--confg", "p.toml"), ("--config",), ("p.toml",), ("--check", "--config", "p.toml", "more")):
        done = proxyd(directory, *arguments)
        expect(done.returncode == 2, f"{arguments}: {done}")
        expect(not done.stdout and "--help" in done.stderr, f"{arguments}: {done}")


if __name__ == "__main__":
    sys.exit(harness.run(test, harness.arguments(__doc__)))
