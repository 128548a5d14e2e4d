"""The manager: inside proxyd and as proxy-admin, with clients as the older software had them, and
whatever may happen to it while proxyd serves.

    admin_test.py --proxyd PROGRAM --proxy-admin PROGRAM --proxy-renew PROGRAM [-k TEXT]
"""

import contextlib
import http.client
import json
import pathlib
import re
import shutil
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading

import harness
from certificates import authority
from harness import LOOPBACK, PATIENCE, Failed, expect, free_port, output_of, until
from load import Backend, Load
from proxyd import Process, Proxyd, answers, config_text, running, stopping
from redis_server import redis_server

test = harness.Tests()
GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "data" / "golden.redis"
PASSWORD = "Correct-Horse-7"
PROXY_ADMIN = PROXY_RENEW = None


class Api:
    """A manager, asked as the scripts of the older software ask it."""

    def __init__(self, port, connect=None):
        self.port, self.token = port, None
        self.connect = connect or (lambda: http.client.HTTPConnection(LOOPBACK, port, timeout=PATIENCE))

    def __call__(self, method, path, body=None, **fields):
        """(status, JSON) of a request; `fields` with '_' for '-'."""
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        if self.token:
            headers.setdefault("auth-token", self.token)
        if body is not None:
            headers["Content-Type"] = "application/json"
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, json.dumps(body) if body is not None else None, headers)
            response = connection.getresponse()
            text = response.read()
        return response.status, json.loads(text) if text else None

    def good(self, method, path, body=None, **fields):
        status, reply = self(method, path, body, **fields)
        expect(status == 200, f"{method} {path}: {status} {reply}")
        return reply

    def log_in(self, user="admin", password=PASSWORD):
        self.token = self.good("POST", "/api/auth/login", {"username": user, "password": password})["token"]
        return self

    def answers(self):
        try:
            return self("GET", "/health")[0] == 200
        except OSError:
            return False


def settings(directory, port, **more):
    """[admin] for a test: log-ins that cost little."""
    file = pathlib.Path(directory) / "password"
    file.write_text(PASSWORD + "\n")
    return {"admin__listen": [f"{LOOPBACK}:{port}"], "admin__initial_password_file": str(file),
            "admin__bcrypt_cost": 4, "renew__key_file": str(pathlib.Path(directory) / "proxycore.key"), **more}


@contextlib.contextmanager
def in_process(directory, **more):
    """(proxyd with the manager in it, on SQLite; its API)."""
    port = free_port()
    tables = {"store__url": f"sqlite:{directory}/proxycore.db", **settings(directory, port), **more}
    with running(directory, **tables) as proxy:
        api = Api(port)
        until(api.answers, "the manager answers")
        yield proxy, api


class ProxyAdmin(Process):
    """The manager as a process, with the configuration of a proxyd."""

    def __init__(self, proxy, port, name="proxy-admin"):
        self.api = Api(port)
        super().__init__([PROXY_ADMIN, "--config", proxy.config_path], proxy.config_path.parent, name,
                         ready=self.api.answers)

    def stop(self):
        self.signal(signal.SIGTERM)
        code = self.wait()
        expect(code == 0, f"proxy-admin ended with {code} after SIGTERM\n{self.log()}")


@contextlib.contextmanager
def separate(directory, **more):
    """(Redis, proxyd, proxy-admin): three processes."""
    port = free_port()
    with redis_server(directory) as redis:
        tables = {"store__url": redis.url, "replica__path": str(directory / "replica.db"),
                  **settings(directory, port), **more}
        with running(directory, **tables) as proxy:
            manager = ProxyAdmin(proxy, port)
            try:
                yield redis, proxy, manager
                if manager.process.poll() is None:
                    manager.stop()
            finally:
                manager.kill()


def curl(port, *words):
    """What a script would do; (status, JSON)."""
    done = subprocess.run(["curl", "-sS", "-w", "\n%{http_code}", *words[:-1], f"http://{LOOPBACK}:{port}{words[-1]}"],
                          capture_output=True, timeout=PATIENCE, check=False)
    expect(done.returncode == 0, done.stderr.decode())
    body, status = done.stdout.decode().rsplit("\n", 1)
    return int(status), json.loads(body)


def old_client_flow(port, proxy, origin, moved):
    """Log in, see, add, change, look up and remove a host, as scripts of the older software do."""
    as_json = ("-H", "Content-Type: application/json")
    status, reply = curl(port, *as_json, "-d", json.dumps({"username": "admin", "password": "wrong"}),
                         "/api/auth/login")
    expect((status, reply["name"]) == (401, "LoginFailed"), f"a wrong password: {status} {reply}")
    status, reply = curl(port, *as_json, "-d", json.dumps({"username": "admin", "password": PASSWORD}),
                         "/api/auth/login")
    expect(status == 200 and reply["login"] is True and reply["message"] == "admin logged in!", f"{status} {reply}")
    expect(re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", reply["token"]), f"a token: {reply}")
    mine = ("-H", f"auth-token: {reply['token']}")

    status, reply = curl(port, "/api/host")
    expect((status, reply["name"]) == (401, "LoginFailed"), f"without a token: {status} {reply}")
    status, reply = curl(port, *mine, "/api/user/me")
    expect(status == 200 and reply["username"] == "admin", f"{status} {reply}")
    host = {"host": "app.example.test", "ip": LOOPBACK, "targetPort": origin.port, "forcessl": False}
    status, reply = curl(port, *mine, *as_json, "-d", json.dumps(host), "/api/host")
    expect(status == 200 and reply["message"] == '"app.example.test" added.', f"{status} {reply}")
    until(lambda: answers(proxy, "app.example.test", origin.name), "the new host is served")
    status, reply = curl(port, *mine, *as_json, "-d", json.dumps(host), "/api/host")
    expect((status, reply["name"]) == (409, "EntryNameUsed"), f"the same again: {status} {reply}")
    status, reply = curl(port, *mine, "/api/host/app.example.test")
    expect(status == 200 and reply["item"] == "app.example.test"
           and reply["results"]["targetPort"] == origin.port, f"{status} {reply}")
    status, reply = curl(port, *mine, "/api/host")
    expect(status == 200 and reply["results"] == ["app.example.test"], f"{status} {reply}")
    status, reply = curl(port, *mine, "-X", "PUT", *as_json, "-d", json.dumps({"targetPort": moved.port}),
                         "/api/host/app.example.test")
    expect(status == 200 and reply["message"] == '"app.example.test" updated.', f"{status} {reply}")
    until(lambda: answers(proxy, "app.example.test", moved.name), "the change is seen")
    status, reply = curl(port, *mine, "/api/host/lookup/app.example.test")
    expect(status == 200 and reply["results"]["host"] == "app.example.test", f"{status} {reply}")
    status, reply = curl(port, *mine, "/api/host/app.example.test/explain")
    expect(status == 200 and "app.example.test" in json.dumps(reply), f"proxyd explains: {status} {reply}")
    status, reply = curl(port, *mine, "-X", "DELETE", "/api/host/app.example.test")
    expect(status == 200, f"{status} {reply}")
    until(lambda: answers(proxy, "app.example.test", 404), "the host is gone")
    status, reply = curl(port, *mine, "-X", "POST", "/api/auth/logout")
    expect((status, reply["message"]) == (200, "Bye"), f"{status} {reply}")
    status, reply = curl(port, *mine, "/api/host")
    expect((status, reply["name"]) == (401, "LoginFailed"), f"the session has ended: {status} {reply}")


@test("inside proxyd: a client of the older manager works with hosts, and they are served")
def _(directory):
    with in_process(directory) as (proxy, api), stopping(Backend()) as origin, stopping(Backend("moved")) as moved:
        old_client_flow(api.port, proxy, origin, moved)


@test("as a process: a client of the older manager works with hosts, and they are served")
def _(directory):
    with separate(directory) as (_, proxy, manager), stopping(Backend()) as origin, \
            stopping(Backend("moved")) as moved:
        old_client_flow(manager.api.port, proxy, origin, moved)


@test("over TLS it shows the certificate of its name; one has to be logged in there, too")
def _(directory):
    port, tls_port = free_port(), free_port()
    pair = authority().issue("manager.test")
    tables = {"store__url": f"sqlite:{directory}/proxycore.db", **settings(directory, port),
              "admin__https": [f"{LOOPBACK}:{tls_port}"]}
    with running(directory, certificates=[pair], **tables):
        context = ssl.create_default_context(cafile=authority().root)

        def connect():
            connection = http.client.HTTPConnection("manager.test", tls_port)
            connection.sock = context.wrap_socket(socket.create_connection((LOOPBACK, tls_port), PATIENCE),
                                                  server_hostname="manager.test")
            return connection
        api = Api(tls_port, connect)
        until(api.answers, "the manager answers")
        expect(api("GET", "/api/host")[0] == 401, "without a token")
        api.log_in()
        api.good("GET", "/api/host")


@test("a target that fails is told, by proxyd and by the manager")
def _(directory):
    for manager_of in (in_process, separate):
        place = directory / manager_of.__name__
        place.mkdir()
        with manager_of(place) as parts:
            proxy, api = (parts[0], parts[1]) if manager_of is in_process else (parts[1], parts[2].api)
            dead = free_port()
            expect(json.loads(proxy.admin("/targets").body) == {"targets": []}, "none fails so far")
            api.log_in().good("POST", "/api/host", {"host": "dead.test", "ip": LOOPBACK, "targetPort": dead,
                                                   "forcessl": False})
            until(lambda: answers(proxy, "dead.test", 502), "the host is known, its target is not there")
            told = json.loads(proxy.admin("/targets").body)["targets"]
            expect([entry["target"] for entry in told] == [f"{LOOPBACK}:{dead}"] and told[0]["failures"] > 0, f"{told}")
            shown = api.good("GET", "/api/target")
            expect(f"{LOOPBACK}:{dead}" in json.dumps(shown), f"{shown}")
            with stopping(Backend("alive", dead)) as origin:
                until(lambda: answers(proxy, "dead.test", origin.name), "it is back")
                until(lambda: json.loads(proxy.admin("/targets").body) == {"targets": []}, "it is told no more")


@test("without a password file the first start tells a one-time password, and no later one does")
def _(directory):
    port = free_port()
    tables = {"store__url": f"sqlite:{directory}/proxycore.db", "admin__listen": [f"{LOOPBACK}:{port}"],
              "admin__bcrypt_cost": 4}
    with running(directory, **tables) as proxy:
        until(Api(port).answers, "the manager answers")
        told = re.findall(r"password.*?(\S+)$", proxy.log(), re.M)
        expect(len(told) == 1, f"one password is told:\n{proxy.log()}")
        api = Api(port).log_in("admin", told[0])
        status, reply = api("GET", "/api/host")
        expect((status, reply["name"]) == (403, "PasswordExpired"), f"nothing else yet: {status} {reply}")
        status, reply = api("POST", "/api/api-token", {"name": "mine"}, Accept="application/problem+json")
        expect((status, reply["type"]) == (403, "/api/openapi.json#PasswordExpired"), f"{status} {reply}")
        expect(api("PUT", "/api/user/password", {"password": told[0]})[0] == 422, "not the same again")
        expect(api.good("GET", "/api/auth/session")["password_expired"] is True, "the session says so")
        api.good("PUT", "/api/user/password", {"password": PASSWORD})
        expect(api.good("GET", "/api/host") == {"results": []}, "now everything")
    with running(directory, name="again", **tables) as proxy:
        until(Api(port).answers, "the manager answers")
        expect("password" not in proxy.log(), f"none is told:\n{proxy.log()}")


@test("whoever has the machine can set a password; those who were logged in are not any more")
def _(directory):
    with in_process(directory) as (proxy, api):
        api.log_in()
        api.good("GET", "/api/user/me")
        command = [PROXY_ADMIN, "--config", proxy.config_path, "user", "password"]
        made = output_of(*command, "admin").strip()
        until(lambda: api("GET", "/api/user/me")[0] == 401, "the session has ended")
        expect(Api(api.port)("POST", "/api/auth/login", {"username": "admin", "password": PASSWORD})[0] == 401,
               "the old password is none any more")
        Api(api.port).log_in("admin", made)
        done = subprocess.run([str(word) for word in command] + ["--stdin", "admin"], input=b"Another-Horse-8\n",
                              capture_output=True, timeout=PATIENCE, check=False)
        expect(done.returncode == 0 and not done.stdout, f"{done}")
        Api(api.port).log_in("admin", "Another-Horse-8")
        for words, why in ((["nobody"], b"nobody"), (["--stdin", "admin"], b"password")):
            done = subprocess.run([str(word) for word in command] + words, input=b"short\n", capture_output=True,
                                  timeout=PATIENCE, check=False)
            expect(done.returncode == 1 and why in done.stderr, f"{words}: {done}")


@test("proxy-admin says what is wrong with its command line or configuration, and ends")
def _(directory):
    expect("proxy-admin" in output_of(PROXY_ADMIN, "--version"), "a version")
    expect("--config" in output_of(PROXY_ADMIN, "--help"), "help")
    config = directory / "proxyd.toml"

    def refused(text, code, why):
        config.write_text(text)
        done = subprocess.run([str(PROXY_ADMIN), "--config", str(config)], capture_output=True, timeout=PATIENCE,
                              check=False)
        expect(done.returncode == code and why in done.stderr, f"{text!r}: {done}")
    refused("[admin]\nlisten = 3000\n", 2, b"admin.listen")
    refused(f'[store]\nurl = "sqlite:{directory}/proxycore.db"\n', 1, b"admin.in_process")
    config.write_text('[admin]\nlisten = ["127.0.0.1:3000"]\n')
    expect("ok" in output_of(PROXY_ADMIN, "--config", config, "--check"), "a good one")


# --- the manager's failures are its own

@contextlib.contextmanager
def under_load(proxy, origin):
    """Requests for a known host that must all pass, and in time."""
    with Load(proxy.address, 4, lambda number: ("known.test", "/", [origin.name])) as load:
        load.wait_passed(100)
        yield load
        load.wait_passed(100)
        load.stop_prompt()


@test("a manager that is killed, frozen, and comes back costs no request")
def _(directory):
    with separate(directory) as (redis, proxy, manager), stopping(Backend()) as origin:
        redis.save("known.test", origin)
        until(lambda: answers(proxy, "known.test", origin.name), "the host is known")
        manager.api.log_in()
        with under_load(proxy, origin) as load:
            manager.signal(signal.SIGHUP)
            until(lambda: "reloaded" in manager.log(), "it has read its configuration again")
            expect("reload.ignored" not in manager.log(), f"nothing differs:\n{manager.log()}")
            manager.signal(signal.SIGSTOP)
            load.wait_passed(300)
            manager.signal(signal.SIGCONT)
            manager.api.good("GET", "/api/host")
            manager.kill()
            load.wait_passed(300)
            back = ProxyAdmin(proxy, manager.api.port, "proxy-admin again")
            try:
                back.api.token = manager.api.token
                back.api.good("GET", "/api/host")  # the session is in the store
                back.stop()
            finally:
                back.kill()


@test("a flood of connections, log-ins and events on the manager inside proxyd costs no request")
def _(directory):
    with in_process(directory, admin__bcrypt_cost=10) as (proxy, api), stopping(Backend()) as origin:
        api.log_in()
        api.good("POST", "/api/host", {"host": "known.test", "ip": LOOPBACK, "targetPort": origin.port,
                                       "forcessl": False})
        until(lambda: answers(proxy, "known.test", origin.name), "the host is known")
        done = threading.Event()

        def log_in(number):
            while not done.is_set():
                with contextlib.suppress(OSError, http.client.HTTPException):
                    Api(api.port)("POST", "/api/auth/login", {"username": f"u{number}", "password": "x" * 60})

        def connect():
            silent = []
            while not done.is_set():
                with contextlib.suppress(OSError):
                    silent.append(socket.create_connection((LOOPBACK, api.port), 1))
                if len(silent) > 1500:
                    silent.pop(0).close()
            for connection in silent:
                connection.close()
        with under_load(proxy, origin) as load:
            floods = [threading.Thread(target=log_in, args=(number,)) for number in range(8)]
            floods.append(threading.Thread(target=connect))
            for flood in floods:
                flood.start()
            load.wait_passed(300)
            done.set()
            for flood in floods:
                flood.join()
        expect(proxy.metrics()["proxycore_connections_refused_total{limit=\"total\"}"] == 0,
               "they do not count among clients")
        until(api.answers, "the manager answers again")
        api.good("GET", "/api/host")


@test("while proxyd ends, streams of the manager end too")
def _(directory):
    with in_process(directory) as (proxy, api):
        api.log_in()
        with contextlib.closing(socket.create_connection((LOOPBACK, api.port), PATIENCE)) as reader:
            reader.sendall(f"GET /api/events HTTP/1.1\r\nHost: localhost\r\nauth-token: {api.token}\r\n\r\n".encode())
            head = reader.recv(4096)
            expect(b"text/event-stream" in head, f"{head}")
            proxy.stop()
            while reader.recv(4096):
                pass


# --- the three processes

@test("proxyd, proxy-admin and proxy-renew work on one Redis, by the commands of their units")
def _(directory):
    lookup = str(directory / "lookup.socket")
    with separate(directory, lookup=["cache", "redis", "socket"], cache__ttl=20, lookup_service__listen=lookup,
                  lookup_service__connect=lookup, acme__enabled=True, acme__agree_tos=True,
                  acme__directory=f"https://{LOOPBACK}:{free_port()}/dir") as (redis, proxy, manager), \
            stopping(Backend()) as origin:
        renewer = Process([PROXY_RENEW, "--config", proxy.config_path], directory, "proxy-renew",
                          ready=lambda: True)
        try:
            api = manager.api.log_in()
            for name in ("plain.test", "**.wild.test"):
                api.good("POST", "/api/host", {"host": name, "ip": LOOPBACK, "targetPort": origin.port,
                                               "forcessl": False})
            until(lambda: answers(proxy, "plain.test", origin.name), "proxyd finds it in Redis")
            until(lambda: answers(proxy, "a.b.wild.test", origin.name),
                  "proxyd finds it by the lookup service, which is proxy-admin's")
            explained = api.good("GET", "/api/host/plain.test/explain")
            expect(explained["results"]["answered_by"] in ("cache", "redis"), f"proxyd says by which tier: {explained}")
            until(lambda: any(story["name"] == "plain.test" for story in api.good("GET", "/api/cert")["results"]),
                  "the runner's story of the new host is shown")
            renewer.signal(signal.SIGTERM)
            expect(renewer.wait() == 0, "the runner ends well")
        finally:
            renewer.kill()


@test("an installation of the older software is taken over: users log in, sessions and hosts are there")
def _(directory):
    port = free_port()
    with redis_server(directory) as redis:
        lines = [line for line in GOLDEN.read_text().splitlines() if line.startswith(("SADD", "HSET", "SET"))]
        loaded = subprocess.run(["redis-cli", "-s", str(redis.path)], input="\n".join(lines).encode(),
                                capture_output=True, timeout=PATIENCE, check=False)
        expect(b"ERR" not in loaded.stdout, loaded.stdout.decode())
        tables = {"store__url": redis.url, "replica__path": str(directory / "replica.db"), **settings(directory, port)}
        with running(directory, **tables) as proxy:
            manager = ProxyAdmin(proxy, port)
            try:
                names = None
                for user, password in (("alice", "alicepass"), ("bob", "bob-secret"), ("proxyadmin2", "proxyadmin2")):
                    api = Api(port).log_in(user, password)
                    expect(api.good("GET", "/api/user/me")["username"] == user, user)
                    names = api.good("GET", "/api/host")["results"]
                    expect("app.example.com" in names, f"{names}")
                session = Api(port)
                session.token = "669f57a5-47bd-4dbf-bea8-437f99f8a345"
                expect(session.good("GET", "/api/user/me")["username"] == "alice", "a session of the older software")
                manager.stop()
            finally:
                manager.kill()


@test("the manager waits for a Redis that is away, and serves once it is there")
def _(directory):
    port = free_port()
    with redis_server(directory) as redis:
        config = directory / "proxyd.toml"
        tables = {key.replace("__", "."): value for key, value in
                  {"store__url": redis.url, **settings(directory, port)}.items()}
        config.write_text(config_text(tables, []))
        redis.kill()
        api = Api(port)
        manager = Process([PROXY_ADMIN, "--config", config], directory, "proxy-admin",
                          ready=lambda: harness.accepts(port))
        try:
            until(lambda: api("GET", "/health")[0] in (200, 503), "it says that it cannot serve yet")
            redis.start()
            until(lambda: api("POST", "/api/auth/login", {"username": "admin", "password": PASSWORD})[0] == 200,
                  "the first user can log in")
            manager.signal(signal.SIGTERM)
            expect(manager.wait() == 0, "it ends well")
        finally:
            manager.kill()


# --- backup and restore, as docs/proxy-admin.md tells them

def add_hosts(api, origin, count):
    for number in range(count):
        api.good("POST", "/api/host", {"host": f"n{number}.test", "ip": LOOPBACK, "targetPort": origin.port,
                                       "forcessl": False})


@test("a backup of the embedded store that is made while it is written to can be restored")
def _(directory):
    backup = directory / "backup"
    backup.mkdir()
    with stopping(Backend()) as origin:
        with in_process(directory) as (proxy, api):
            add_hosts(api.log_in(), origin, 5)
            done = threading.Event()
            writer = Api(api.port)
            writer.token = api.token

            def write():
                while not done.is_set():
                    writer.good("PUT", "/api/host/n0.test", {"targetPort": origin.port})
            thread = threading.Thread(target=write)
            thread.start()
            try:
                with contextlib.closing(sqlite3.connect(directory / "proxycore.db", timeout=PATIENCE)) as store:
                    store.execute("VACUUM INTO ?", (str(backup / "proxycore.db"),))
            finally:
                done.set()
                thread.join()
            if (directory / "proxycore.key").exists():
                shutil.copy(directory / "proxycore.key", backup)
            api.good("DELETE", "/api/host/n1.test")
        restored = directory / "restored"
        restored.mkdir()
        for file in backup.iterdir():
            shutil.copy(file, restored)
        with in_process(restored) as (proxy, api):
            api.log_in()
            expect(sorted(api.good("GET", "/api/host")["results"]) == [f"n{number}.test" for number in range(5)],
                   "all hosts of then")
            for number in range(5):
                until(lambda: answers(proxy, f"n{number}.test", origin.name), "they are served")
        with contextlib.closing(sqlite3.connect(backup / "proxycore.db")) as store:
            expect(store.execute("PRAGMA integrity_check").fetchone() == ("ok",), "the file is whole")


@test("a backup of Redis is its dump, and can be restored")
def _(directory):
    with stopping(Backend()) as origin, separate(directory) as (redis, proxy, manager):
        add_hosts(manager.api.log_in(), origin, 5)
        before = redis.command("LASTSAVE")
        redis.command("BGSAVE")
        until(lambda: redis.command("LASTSAVE") != before or
              "rdb_bgsave_in_progress:0" in redis.command("INFO", "persistence"), "it is saved")
        dump = redis.directory / "dump.rdb"
        until(dump.exists, "there is a dump")
        shutil.copy(dump, directory / "dump.rdb")
        manager.api.good("DELETE", "/api/host/n1.test")
        restored = directory / "restored"
        restored.mkdir()
        shutil.copy(directory / "dump.rdb", restored)
        with redis_server(directory, "--dir", restored, name="other") as other:
            names = other.keys("proxy_Host_n*")
            expect(names == {f"proxy_Host_n{number}.test" for number in range(5)}, f"{names}")


if __name__ == "__main__":
    def more(parser):
        parser.add_argument("--proxy-admin", required=True, help="proxy-admin, built")
        parser.add_argument("--proxy-renew", required=True, help="proxy-renew, built")
    options = harness.arguments(__doc__, more)
    PROXY_ADMIN = pathlib.Path(options.proxy_admin).resolve()
    PROXY_RENEW = pathlib.Path(options.proxy_renew).resolve()
    sys.exit(harness.run(test, options))
