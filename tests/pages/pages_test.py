"""The manager's pages in a browser: Debian's Chromium, driven through a real proxyd with the manager inside.

    pages_test.py --proxyd PROGRAM --store-tool PROGRAM [-k TEXT] [--screenshots FOLDER]

Needs what tools/setup installs: chromium, node, and the packages of package-lock.json in node_modules. What people do
is in flows.mjs; here is what they do it with.
"""

import base64
import contextlib
import json
import pathlib
import re
import shutil
import sqlite3
import subprocess
import sys
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "e2e"))

import certificates  # noqa: E402
import harness  # noqa: E402
from harness import LOOPBACK, PATIENCE, Failed, accepts, expect, free_port, until  # noqa: E402
from load import Backend  # noqa: E402
from pebble import pebble  # noqa: E402
from proxyd import Process, running, stopping  # noqa: E402

test = harness.Tests()
options = None
PASSWORD = "correct horse battery"  # as in browser.mjs
MANY = 100_000


@contextlib.contextmanager
def manager(directory, one_time=False, **tables):
    """proxyd with a store and a manager of its own, and a backend: the world of a flow."""
    port = free_port()
    password = directory / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    if not one_time:
        tables["admin__initial_password_file"] = str(password)
    backend = Backend()
    tables = {"store__url": f"sqlite:{directory}/store.db", "admin__listen": [f"{LOOPBACK}:{port}"],
              "admin__bcrypt_cost": 6, **tables}
    with stopping(backend), running(directory, **tables) as proxy:
        world = {"manager": f"http://{LOOPBACK}:{port}", "proxy": proxy.port, "backend": backend.port,
                 "closed": free_port(), "closedToo": free_port(), "slack": harness.slack()}
        if one_time:
            told = until(lambda: re.search(r"one-time password (\S+)", proxy.log()), "the one-time password is told")
            world["password"] = told[1]
        yield world, proxy


def flow(name, world, **deeds):
    """Runs one of flows.mjs to its end. It may ask for one of `deeds` to be done meanwhile."""
    with subprocess.Popen(["node", "flows.mjs", name], cwd=HERE, text=True, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as node:
        too_long = threading.Timer(15 * PATIENCE, node.kill)
        too_long.start()
        said = []
        try:
            print(json.dumps(world), file=node.stdin, flush=True)
            for line in node.stdout:
                if not line.startswith("please: "):
                    said.append(line)
                    continue
                deeds[line.removeprefix("please: ").strip()]()
                print("done", file=node.stdin, flush=True)
        finally:
            too_long.cancel()
            node.kill()
    output = "".join(said)
    expect(node.returncode == 0, f"{name}: {output[-6000:]}")
    print("".join(f"        {line}" for line in said), end="")


@test("from the one-time password to a host that answers takes less than ten seconds")
def _(directory):
    with manager(directory, one_time=True) as (world, _):
        world["text"] = "origin"
        flow("first_login", world)


@test("a host is added, changed, moved and deleted; errors stand at their fields")
def _(directory):
    with manager(directory) as (world, _):
        flow("host_form", world)


@test("a certificate appears by itself, and the CA's words where it does not")
def _(directory):
    port = free_port()
    with pebble(directory, port) as ca:
        ca.answers_for("broken.test", "127.0.0.2")  # nobody listens there
        with manager(directory, listen__http=[f"{LOOPBACK}:{port}"], certificates=[],
                     renew__key_file=str(directory / "proxycore.key"), **ca.tables()) as (world, _):
            flow("certificate", {**world, "proxy": port, "unreachable": "broken.test"})


@test("a target that is down is shown to be")
def _(directory):
    with manager(directory, origins__cool_down=600_000) as (world, _):  # what is down stays so
        flow("dead_target", world)


@test("what others change is shown in place; what was typed, and the focus, stay")
def _(directory):
    with manager(directory) as (world, _):
        flow("changed_elsewhere", world)


@test("over TLS the session is the browser's alone: its cookie, its guard, its end")
def _(directory):
    port = free_port()
    for pairs in ([certificates.authority().issue("manager.test")], []):  # [] is TLS with a certificate made for the time being
        place = directory / f"{len(pairs)}-certificates"
        place.mkdir()
        with manager(place, certificates=pairs, admin__https=[f"{LOOPBACK}:{port}"]) as (world, _):
            flow("over_tls", {**world, "manager": f"https://{LOOPBACK}:{port}"})


@test("a manager that went away is told of, and back again what changed meanwhile is shown")
def _(directory):
    with manager(directory) as (world, proxy):
        again = []

        def start():
            again.append(Process([harness.program, "--config", proxy.config_path], directory, "again", proxy.ready))
        try:
            flow("manager_away", world, stop=proxy.stop, start=start)
        finally:
            for process in again:
                process.kill()


@test("two people at one host: who comes later is told, sees both, and loses nothing")
def _(directory):
    with manager(directory) as (world, _):
        flow("two_browsers", world)


@test("everything can be done without a pointer")
def _(directory):
    with manager(directory) as (world, _):
        flow("keyboard_only", world)


@test("axe finds no fault on any page, light or dark, 1280 or 320 pixels wide (WCAG 2.2 AA)")
def _(directory):
    with manager(directory) as (world, _):
        flow("accessible_everywhere", world)


@test("users, permissions and tokens: who may do what is what they see")
def _(directory):
    with manager(directory) as (world, _):
        flow("rights", world)


@test("text of others is text on every page")
def _(directory):
    with manager(directory) as (world, _):
        flow("hostile_text", world)


@test("a DNS provider is checked, added, asked again, changed and deleted; its secret never comes back")
def _(directory):
    port, zone, key = free_port(), "dns.test", "updates.test"
    secret = base64.b64encode(b"a secret of thirty-two bytes....").decode()
    (directory / f"{zone}.zone").write_text(f"$ORIGIN {zone}.\n$TTL 60\n@ SOA ns admin 1 60 60 600 60\n@ NS ns\nns A 127.0.0.1\n")
    (directory / "knot.conf").write_text("\n".join([
        "server:", f"  rundir: {directory}", f"  listen: {LOOPBACK}@{port}", "database:", f"  storage: {directory}",
        "key:", f"  - id: {key}", "    algorithm: hmac-sha256", f"    secret: {secret}",
        "acl:", "  - id: updates", f"    key: {key}", "    action: update",
        "zone:", f"  - domain: {zone}", f"    storage: {directory}", f"    file: {zone}.zone", "    acl: updates",
        "    journal-content: none", "    zonefile-sync: -1", ""]))
    knot = Process(["knotd", "-c", directory / "knot.conf"], directory, "knot", lambda: accepts(port))
    try:
        with manager(directory) as (world, _):
            dns = {"server": f"{LOOPBACK}:{port}", "zone": zone, "key": key, "secret": secret}
            flow("dns_form", {**world, "dns": dns})
    finally:
        knot.kill()


@test("with 100,000 hosts the browser has one page of them")
def _(directory):
    save = subprocess.run([options.store_tool, f"sqlite:{directory}/store.db"], input=f"save first.test {LOOPBACK} 4000\n",
                          text=True, capture_output=True, timeout=PATIENCE, check=True)
    expect(save.stdout.strip() == "ok", save.stdout)
    # Its record again and again, in one transaction: each save on its own would be on the disk before the next.
    with contextlib.closing(sqlite3.connect(directory / "store.db")) as store, store:
        fields = dict(store.execute("SELECT field, value FROM records WHERE key = 'proxy_Host_first.test'"))
        names = (f"h{number:06}.many.test" for number in range(1, MANY))
        store.executemany("INSERT INTO records (key, field, value) VALUES (?, ?, ?)", (
            (f"proxy_Host_{name}", field, name if field == "host" else value)
            for name in names for field, value in fields.items()))
    with manager(directory) as (world, _):
        flow("many_hosts", {**world, "hosts": MANY})


def pictures(directory):
    port = free_port()
    with pebble(directory, port) as ca:
        ca.answers_for("old.example.com", "127.0.0.2")
        with manager(directory, listen__http=[f"{LOOPBACK}:{port}"], certificates=[],
                     renew__key_file=str(directory / "proxycore.key"), **ca.tables()) as (world, _):
            flow("pictures", {**world, "proxy": port, "unreachable": "old.example.com",
                              "screenshots": str(options.screenshots.resolve())})


def more(parser):
    parser.add_argument("--store-tool", type=pathlib.Path, required=True)
    parser.add_argument("--screenshots", type=pathlib.Path, help="a folder for pictures of the pages")


if __name__ == "__main__":
    options = harness.arguments(__doc__, more)
    options.store_tool = options.store_tool.resolve()
    if options.screenshots:
        test.append(("pictures are taken", pictures))
    for program in ("node", "chromium"):
        if not shutil.which(program):
            raise Failed(f"{program} is missing: tools/setup installs it")
    if not (HERE / "node_modules").is_dir():
        raise Failed("tests/pages/node_modules is missing: tools/setup installs it")
    sys.exit(harness.run(test, options))
