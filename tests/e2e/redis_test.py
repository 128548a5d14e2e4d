"""proxyd on a Redis that other software uses too: changes in it, and whatever may happen to it.

    redis_test.py --proxyd PROGRAM --store-tool PROGRAM [-k TEXT]

Every case runs under load, and no request for a known host may fail.
"""

import contextlib
import json
import pathlib
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import harness
from client import fetch
from harness import LOOPBACK, Failed, expect, slack, until
from load import Backend, Load, Wire
from proxyd import Proxyd, answers, plain, reload, running, stopping
from redis_server import Redis, redis_server

test = harness.Tests()
MIB = 1024 * 1024
STORE_TOOL = None

SEEN_WITHIN = 10.0  # seconds, far from the pause between two looks (30); 0.1 are promised, on a machine of our own


class Installation:
    """A Redis with hosts, and two proxyds on it.

    `replica` holds all hosts and answers look-ups; `asking` asks for each: its cache, which soon
    forgets, then Redis, then `replica`.
    """

    def __init__(self, directory, origin, *options, replica=None, asking=None):
        self.directory, self.origin, self.proxies = directory, origin, []
        self.redis = Redis(directory, *options)
        service = str(pathlib.Path(directory) / "lookup.socket")
        try:
            self.redis.save("known.test", origin)
            self.redis.save("other.test", origin)
            self.redis.save("*.wild.test", origin, is_wildcard="true", wildcard_status="Done")
            self.redis.save("**.deep.test", origin)
            self.replica = self.proxy("replica", lookup_service__listen=service, **(replica or {}))
            self.asking = self.proxy("asking", lookup=["cache", "redis", "socket"],
                                     lookup_service__connect=service,
                                     **{"cache__ttl": 20, "lookup_service__timeout": 250 * slack(), **(asking or {})})
        except Exception:
            self.kill()
            raise

    def proxy(self, name, **tables):
        """A further proxyd, or again one that was killed."""
        options = {"store__url": self.redis.url, "replica__path": f"{name}.db", **tables}
        self.proxies.append(Proxyd(self.directory, name=name, **options))
        return self.proxies[-1]

    def kill(self):
        for proxy in self.proxies:
            proxy.kill()
        self.redis.process.kill()

    @contextlib.contextmanager
    def load(self, clients=2):
        """Requests for known hosts through both; none may fail, none may take long."""
        def ask(number):
            host = ("known.test", f"n{number % 20}.wild.test", "other.test", f"a.b{number % 500}.deep.test")
            return host[number % 4], "/", [self.origin.name]
        loads = [Load(proxy.address, clients, ask) for proxy in (self.replica, self.asking)]
        with loads[0], loads[1]:
            def pass_some(count=100):
                for load in loads:
                    load.wait_passed(count)
            pass_some()
            yield pass_some
            for load in loads:
                load.stop_prompt()


@contextlib.contextmanager
def installed(directory, *options, **more):
    """An installation whose proxyds must end well."""
    with stopping(Backend()) as origin:
        installation = Installation(directory, origin, *options, **more)
        try:
            yield installation
            for proxy in installation.proxies:
                if proxy.process.poll() != -signal.SIGKILL:  # by the test
                    proxy.stop()
        finally:
            installation.kill()


def seen(proxy, host, expected, since=None):
    """Milliseconds until a request gets this body or status, asked without pause."""
    began = since or time.monotonic()
    with contextlib.closing(socket.create_connection(proxy.address, harness.PATIENCE)) as connection:
        wire = Wire(connection)
        while True:
            connection.sendall(f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
            line, fields = wire.head()
            body = wire.exactly(int(fields["content-length"])).decode()
            took = time.monotonic() - began
            if expected == (int(line.split()[1]) if isinstance(expected, int) else body):
                return took * 1000
            expect(took < harness.PATIENCE, f"{host} is still {line}, {body!r} instead of {expected!r}")


def explain(proxy, host):
    return json.loads(proxy.admin(f"/explain?host={host}").body)


def ready(proxy):
    page = proxy.admin("/readyz")
    return page.status, page.body.decode()


def events(proxy):
    """How changes are learned of, as /metrics says."""
    return [name.split('"')[1] for name in proxy.metrics() if name.startswith("proxycore_store_events{")][0]


def until_told(proxy, text, what):
    until(lambda: text in proxy.log_path.read_text(), f"{what}: {text!r} in the log of {proxy.name}")


# --- changes

def change_times(here, name, moved):
    """Milliseconds after which each proxy sees that a host comes, moves, and goes."""
    took = []
    for act, expected in ((lambda: here.redis.save(name, here.origin), "origin"),
                          (lambda: here.redis.save(name, moved), "moved"),
                          (lambda: here.redis.remove(name), 404)):
        act()
        since = time.monotonic()
        took += [seen(proxy, name.replace("*", "a"), expected, since) for proxy in here.proxies]
    return took


@test("a host that older software adds, changes and removes is seen at once by many proxies")
def _(directory):
    with installed(directory, asking={"cache__ttl": "1m"}) as here, stopping(Backend("moved")) as moved:
        here.proxy("second")
        with here.load():
            for kind, name in (("host", "fresh{}.test"), ("wildcard", "*.fresh{}.test")):
                took = []
                for turn in range(8):
                    took += change_times(here, name.format(turn), moved)
                took.sort()
                print(f"        a changed {kind} is seen after {took[len(took) // 2]:.0f} ms (median of "
                      f"{len(took)}), {took[-1]:.0f} ms at most")
                expect(took[-1] < SEEN_WITHIN * 1000, f"a change was seen after {took[-1]:.0f} ms")
        expect({events(proxy) for proxy in here.proxies} == {"tracking"}, "all are told by CLIENT TRACKING")


@test("without CLIENT TRACKING changes are told by keyspace events, a flush too")
def _(directory):
    with installed(directory, "--rename-command", "CLIENT", "", "--notify-keyspace-events", "Kg$h") as here:
        expect({events(proxy) for proxy in here.proxies} == {"keyspace"}, "told by keyspace events")
        with here.load() as pass_some, stopping(Backend("moved")) as moved:
            took = change_times(here, "fresh.test", moved) + change_times(here, "*.fresh.test", moved)
            expect(max(took) < SEEN_WITHIN * 1000, f"a change was seen after {max(took):.0f} ms")
            here.redis.command("FLUSHALL")
            until(lambda: "lost hosts" in ready(here.replica)[1], "the flush is noticed")
            pass_some()


@test("without any events changes by proxycore are told at once, those of others found by looking")
def _(directory):
    no_tracking = ("--rename-command", "CLIENT", "")
    with stopping(Backend()) as origin, redis_server(directory, *no_tracking) as channel, \
            redis_server(directory, *no_tracking, name="mute") as mute:
        mute.command("ACL", "SETUSER", "default", "-@pubsub")
        for server in (channel, mute):
            server.save("known.test", origin)
        with running(directory, name="channel-proxy", store__url=channel.url, replica__path="channel.db") as told, \
                running(directory, name="poll-proxy", store__url=mute.url, replica__path="mute.db") as looking:
            expect(events(told) == "channel" and events(looking) == "poll",
                   f"found {events(told)} and {events(looking)}")
            with Load(told.address, 2, lambda n: ("known.test", "/", ["origin"])) as load, \
                    Load(looking.address, 2, lambda n: ("known.test", "/", ["origin"])) as other:
                done = subprocess.run([STORE_TOOL, channel.url], input=f"save ours.test {LOOPBACK} {origin.port}\n",
                                      text=True, capture_output=True, timeout=harness.PATIENCE, check=False)
                expect(done.stdout == "ok\n", f"store_tool: {done.stdout}{done.stderr}")
                took = seen(told, "ours.test", "origin")
                expect(took < SEEN_WITHIN * 1000, f"our own change was seen after {took:.0f} ms")
                for server, proxy in ((channel, told), (mute, looking)):
                    server.save("fresh.test", origin)
                    server.remove("known.test")
                    server.save("known.test", origin)
                for proxy in (told, looking):
                    until(lambda: answers(proxy, "fresh.test", "origin"), "a change is found", 35)
                load.stop()
                other.stop()


@test("the pages of the admin listener tell which tier answers, and how Redis is")
def _(directory):
    with installed(directory) as here:
        with here.load():
            found = explain(here.replica, "a.wild.test")
            expect(found["answered_by"] == "replica" and found["pattern"] == "*.wild.test"
                   and found["targets"] == [f"{LOOPBACK}:{here.origin.port}"], f"found {found}")
            found = explain(here.asking, "known.test")
            expect(found["answered_by"] in ("cache", "redis") and found["found"], f"found {found}")
            found = explain(here.asking, "never.asked.deep.test")
            expect([(tier["tier"], tier["answer"]) for tier in found["tiers"]] ==
                   [("file", "does not know"), ("cache", "does not know"), ("redis", "does not know"),
                    ("socket", "found")] and found["answered_by"] == "socket"
                   and found["pattern"] == "**.deep.test", f"found {found}")
            found = explain(here.asking, "nobody.test")
            expect(found["answered_by"] == "socket" and not found["found"], f"found {found}")
        status, text = ready(here.replica)
        expect(status == 200 and "4 hosts of redis://" in text and "kept by tracking" in text, f"found {text}")
        until(lambda: 0 <= here.replica.metrics()["proxycore_replica_age_seconds"] < 2.5, "the replica is young")
        found = here.replica.metrics()
        expect(found["proxycore_store_up"] == 1 and found['proxycore_store_events{by="tracking"}'] == 1
               and found["proxycore_store_events_lag_seconds"] < 1
               and found["proxycore_replica_distrusts_store"] == 0 and found["proxycore_hosts"] == 4
               and found['proxycore_lookup_service_requests_total{result="hit"}'] > 0
               and found['proxycore_lookups_total{tier="replica",result="hit"}'] > 0, f"found {found}")
        found = here.asking.metrics()
        for tier in ("cache", "redis", "socket"):
            expect(found[f'proxycore_lookups_total{{tier="{tier}",result="hit"}}'] > 0, f"{tier} has hits")
        for tier in ("redis", "socket"):
            count = f'proxycore_lookup_duration_seconds_count{{tier="{tier}"}}'
            expect(found[count] > 0, f"the time of {tier} is measured")
        expect("proxycore_replica_age_seconds" not in found, "who has no replica tells no age")


# --- Redis fails

@test("Redis is killed and comes back with its data")
def _(directory):
    with installed(directory) as here:
        with here.load() as pass_some:
            here.redis.kill(saved=True)
            until(lambda: "cannot be reached" in ready(here.replica)[1], "that it is away is told")
            expect(ready(here.replica)[0] == 200, "a proxy that knows its hosts stays ready")
            expect(here.replica.metrics()["proxycore_store_up"] == 0, "it counts as down")
            for proxy in here.proxies:
                reload(proxy, [plain("file.test", here.origin)])
                seen(proxy, "file.test", "origin")
            pass_some()
            here.redis.start()
            here.redis.save("fresh.test", here.origin)
            for proxy in here.proxies:
                seen(proxy, "fresh.test", "origin")
            until(lambda: here.replica.metrics()["proxycore_store_up"] == 1, "it counts as up")
            pass_some()
        told = here.replica.log_path.read_text()
        expect(f"redis://{LOOPBACK}:{here.redis.port}" in told, "the log names the server")


@test("Redis is killed and comes back empty: its hosts go on until somebody says that it is right")
def _(directory):
    with installed(directory) as here:
        with here.load() as pass_some:
            here.redis.kill()
            here.redis.start()
            until(lambda: here.replica.metrics()["proxycore_replica_distrusts_store"] == 1, "it is not believed")
            pass_some()
            here.redis.save("known.test", here.origin)
            pass_some()
            for name in ("other.test", "*.wild.test", "**.deep.test"):
                here.redis.save(name, here.origin)
            until(lambda: here.replica.metrics()["proxycore_replica_distrusts_store"] == 0,
                  "it is believed when its hosts are back")
            pass_some()


@test("FLUSHALL takes no host away; after it SIGHUP does")
def _(directory):
    with installed(directory) as here:
        with here.load() as pass_some:
            here.redis.command("FLUSHALL")
            until(lambda: here.replica.metrics()["proxycore_replica_distrusts_store"] == 1, "it is not believed")
            status, text = ready(here.replica)
            expect(status == 200 and "lost hosts" in text, f"/readyz tells it: {text}")
            pass_some()
        here.replica.signal(signal.SIGHUP)
        for proxy in here.proxies:
            seen(proxy, "known.test", 404)
        expect(here.replica.metrics()["proxycore_replica_distrusts_store"] == 0, "the empty Redis is right")
        here.redis.save("known.test", here.origin)
        for proxy in here.proxies:
            seen(proxy, "known.test", "origin")


@test("Redis hangs: nobody waits longer than its time, later requests not at all")
def _(directory):
    with installed(directory) as here:
        with here.load() as pass_some:
            here.redis.hang()
            until(lambda: here.replica.metrics()["proxycore_store_up"] == 0, "a server that does not answer is down")
            pass_some()
            before = time.monotonic()
            for number in range(50):
                expect(answers(here.asking, f"hung{number}.wild.test", "origin"), "an uncached name is served")
            took = (time.monotonic() - before) / 50
            expect(took < 0.2 * slack(), f"each took {took * 1000:.0f} ms")
            here.redis.go_on()
            here.redis.save("fresh.test", here.origin)
            for proxy in here.proxies:
                seen(proxy, "fresh.test", "origin")
            pass_some()


@test("connections to Redis that are cut again and again lose no change")
def _(directory):
    with installed(directory) as here:
        with here.load() as pass_some:
            for turn in range(3):
                for kind in ("normal", "pubsub"):
                    here.redis.command("CLIENT", "KILL", "TYPE", kind)
                here.redis.save(f"fresh{turn}.test", here.origin)
                for proxy in here.proxies:
                    seen(proxy, f"fresh{turn}.test", "origin")
                pass_some()


@test("the lookup service goes, and Redis after it: names asked for before are served on")
def _(directory):
    with installed(directory) as here:
        names = ("known.test", "other.test", "a.wild.test", "a.b.deep.test")
        with Load(here.asking.address, 4, lambda n: (names[n % 4], "/", ["origin"])) as load:
            load.wait_passed(100)
            here.replica.kill()
            load.wait_passed(200)
            here.redis.save("fresh.test", here.origin)
            seen(here.asking, "fresh.test", "origin")
            response = fetch(here.asking.address, "never.asked.test")
            expect(response.status == 503 and response.value("retry-after"),
                   f"of a name that nobody can tell of it says so, found {response.line}")
            here.redis.kill()
            load.wait_passed(200)
            expect(here.asking.metrics()["proxycore_lookups_last_known_total"] > 0, "as they were last known")
            load.stop()


@test("SIGTERM while Redis hangs ends a proxy soon, with every request answered")
def _(directory):
    with installed(directory) as here:
        ending = []
        with Load(here.replica.address, 2, lambda n: (f"a.b{n}.deep.test", "/", ["origin"]),
                  refused_is_fine=lambda: ending) as load, \
                Load(here.asking.address, 2, lambda n: (f"c.d{n}.deep.test", "/", ["origin"]),
                     refused_is_fine=lambda: ending) as other:
            load.wait_passed(100)
            other.wait_passed(100)
            here.redis.hang()
            other.wait_passed(100)
            ending.append(True)
            for proxy in (here.asking, here.replica):
                began = time.monotonic()
                proxy.stop()
                took = time.monotonic() - began
                expect(took < 5 * slack(), f"{proxy.name} ended after {took:.1f} s")
            load.stop()
            other.stop()


@test("Redis is full: names of wildcards are not written back, everything else goes on")
def _(directory):
    with installed(directory) as here:
        redis = here.redis
        redis.command("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
        with here.load() as pass_some:
            seen(here.asking, "full.wild.test", "origin")
            until_told(here.replica, "wildcard_cache", "that rows cannot be written")
            pass_some()
            expect("proxy_Host_full.wild.test" not in redis.keys("proxy_Host_*"), "it is not written back")
            redis.command("CONFIG", "SET", "maxmemory", "0")
            def written():
                fetch(here.asking.address, f"w{time.monotonic_ns()}.wild.test")
                return any(key.startswith("proxy_Host_w") for key in redis.keys("proxy_Host_*"))
            until(written, "names are written back again")
            pass_some()


@test("a wrong type under a host's key is told with server and key, and costs that host only")
def _(directory):
    with installed(directory) as here:
        redis = here.redis
        with here.load() as pass_some:
            redis.command("SET", "proxy_Host_bad.test", "no hash")
            redis.command("HSET", "proxy_Host_broken.test", "host", "broken.test", "ip", LOOPBACK,
                          "targetPort", "eighty")
            until_told(here.replica, "proxy_Host_bad.test", "the wrong type")
            until_told(here.replica, "proxy_Host_broken.test", "the wrong port")
            for name in ("bad.test", "broken.test"):
                status = fetch(here.asking.address, name).status
                expect(status in (404, 503), f"{name} is {status}")
                until_told(here.asking, f"proxy_Host_{name}", "what is wrong")
            told = next(line for line in here.asking.log_path.read_text().splitlines()
                        if "proxy_Host_bad.test" in line)
            expect(f"redis://{LOOPBACK}:{redis.port}" in told and "hash" in told,
                   f"expected server, key and what was expected; found {told}")
            # A change elsewhere is seen all the same, and so is the repair.
            redis.save("fresh.test", here.origin)
            redis.command("DEL", "proxy_Host_bad.test")
            redis.save("bad.test", here.origin)
            redis.save("broken.test", here.origin)
            for name in ("fresh.test", "bad.test", "broken.test"):
                for proxy in here.proxies:
                    seen(proxy, name, "origin")
            expect(here.replica.metrics()["proxycore_store_up"] == 1, "the store is up")
            # Nor does anything depend on the set that lists the hosts.
            redis.command("DEL", "proxy_Host")
            redis.command("SET", "proxy_Host", "no set")
            redis.command("HSET", "proxy_Host_unlisted.test", "host", "unlisted.test", "ip", LOOPBACK,
                          "targetPort", here.origin.port, "forcessl", "false")
            here.replica.signal(signal.SIGHUP)
            for proxy in here.proxies:
                seen(proxy, "unlisted.test", "origin")
            pass_some()


@test("100 MB under a host's key are not read, and cost that host only")
def _(directory):
    with installed(directory) as here:
        redis = here.redis
        with here.load() as pass_some:
            before = [proxy.rss() for proxy in here.proxies]
            redis.command("HSET", "proxy_Host_huge.test", "ip", b"x" * (100 * 1000 * 1000))
            redis.command("SADD", "proxy_Host", "huge.test")
            until_told(here.replica, "proxy_Host_huge.test", "the size")

            def noticed():
                status = fetch(here.asking.address, "huge.test").status
                expect(status in (404, 503), f"it is {status}")
                return "proxy_Host_huge.test" in here.asking.log_path.read_text()
            until(noticed, "the size is told by who asks for that host")
            redis.save("fresh.test", here.origin)
            for proxy in here.proxies:
                seen(proxy, "fresh.test", "origin")
            pass_some()
            for proxy, was in zip(here.proxies, before):
                grown = proxy.rss() - was
                expect(grown < 40 * MIB, f"{proxy.name} grew by {grown // MIB} MiB")
            redis.command("DEL", "proxy_Host_huge.test")
            redis.save("huge.test", here.origin)
            for proxy in here.proxies:
                seen(proxy, "huge.test", "origin")


# --- a start without Redis

def copied(path):
    """Whether a replica file has been confirmed since its hosts were written, and how many it has."""
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as copy:
        count = "SELECT count(DISTINCT key) FROM records WHERE key LIKE ?"
        return copy.execute(count, ("proxycore_replica",)).fetchone()[0] and \
            copy.execute(count, ("proxy_Host_%",)).fetchone()[0]


@test("a start without Redis serves the hosts of the replica file, wildcards too, and tells its age")
def _(directory):
    with installed(directory) as here:
        until(lambda: copied(here.directory / "replica.db") == 4, "the hosts are copied")
        here.replica.kill()
        here.redis.kill(saved=True)
        replica = here.replica = here.proxy("replica", lookup_service__listen=str(here.directory / "lookup.socket"))
        status, text = ready(replica)
        expect(status == 200 and "4 hosts" in text and "s old" in text and "cannot be reached" in text,
               f"/readyz: {status} {text}")
        age = replica.metrics()["proxycore_replica_age_seconds"]
        expect(0 < age < 60, f"it is {age} s old")
        seen(here.asking, "new.wild.test", "origin")  # it looks for the service again
        with here.load() as pass_some:
            here.redis.start()
            here.redis.save("fresh.test", here.origin)
            for proxy in here.proxies[1:]:
                seen(proxy, "fresh.test", "origin")
            until(lambda: "kept by tracking" in ready(replica)[1], "it follows Redis again")
            pass_some()


@test("a start without Redis and without a replica file: not ready, and ready by itself later")
def _(directory):
    with stopping(Backend()) as origin, redis_server(directory) as redis:
        redis.save("known.test", origin)
        redis.kill(saved=True)
        declared = {"host": "file.test", "ip": LOOPBACK, "targetPort": origin.port, "forcessl": False}
        with running(directory, [declared], store__url=redis.url, awaited="/livez") as proxy:
            with Load(proxy.address, 2, lambda n: ("file.test", "/", ["origin"])) as load:
                status, text = ready(proxy)
                expect(status == 503 and f"redis://{LOOPBACK}:{redis.port}" in text, f"/readyz: {status} {text}")
                expect(fetch(proxy.address, "known.test").status == 503, "that there is no such host it cannot say")
                load.wait_passed(50)
                redis.start()
                until(lambda: ready(proxy)[0] == 200, "it becomes ready")
                seen(proxy, "known.test", "origin")
                load.stop()


@test("a start while Redis hangs ends with the hosts of the replica file")
def _(directory):
    with stopping(Backend()) as origin, redis_server(directory) as redis:
        redis.save("known.test", origin)
        with running(directory, store__url=redis.url) as proxy:
            until(lambda: copied(directory / "proxycore-replica.db") == 1, "the hosts are copied")
            proxy.stop()
        redis.hang()
        began = time.monotonic()
        with running(directory, store__url=redis.url) as proxy:
            print(f"        ready after {time.monotonic() - began:.1f} s")
            expect(answers(proxy, "known.test", "origin"), "it serves")
            redis.go_on()
            redis.save("fresh.test", origin)
            seen(proxy, "fresh.test", "origin")


@test("a wrong password is told, and nowhere shown")
def _(directory):
    with stopping(Backend()) as origin, redis_server(directory, password="right-7f3a") as redis:
        redis.save("known.test", origin)
        wrong = redis.url.replace("right-7f3a", "wr%6fng-9c1d")
        with running(directory, store__url=wrong, awaited="/livez") as proxy, \
                running(directory, name="asking", store__url=wrong, lookup=["cache", "redis"]) as asking:
            until_told(proxy, "wrong user or password", "the reason")
            status, text = ready(proxy)
            expect(status == 503 and "wrong user or password" in text, f"/readyz: {status} {text}")
            expect(fetch(asking.address, "known.test").status == 503, "who cannot ask says so")
            why = explain(asking, "known.test")["tiers"][-1]
            expect(why["answer"] == "failed" and "password" in why["why"], f"found {why}")
            redis.command("CONFIG", "SET", "requirepass", "wrong-9c1d")
            until(lambda: ready(proxy)[0] == 200, "it becomes ready when the password is right")
            for one in (proxy, asking):
                seen(one, "known.test", "origin")
                pages = [one.admin(page).body.decode() for page in ("/readyz", "/metrics", "/explain?host=known.test")]
                for text in (one.log_path.read_text(), *pages):
                    for password in ("wrong-9c1d", "wr%6fng-9c1d", "right-7f3a"):
                        expect(password not in text, f"the password is in\n{text}")


@test("the permissions that docs/redis.md asks for are enough")
def _(directory):
    text = (pathlib.Path(__file__).resolve().parents[2] / "docs/redis.md").read_text()
    permissions = re.search(r"as a Redis ACL: `([^`]+)`", text)[1].split()
    with stopping(Backend()) as origin, redis_server(directory) as redis:
        redis.save("known.test", origin)
        redis.save("*.wild.test", origin)
        redis.command("ACL", "SETUSER", "proxy", "on", ">secret-4e1f", *permissions)
        url = redis.url.replace("redis://", "redis://proxy:secret-4e1f@")
        service = str(directory / "lookup.socket")
        with running(directory, store__url=url, lookup_service__listen=service) as proxy, \
                running(directory, name="asking", store__url=url, lookup=["cache", "redis", "socket"],
                        lookup_service__connect=service) as asking:
            for one in (proxy, asking):
                expect(events(one) == "tracking", f"told by {events(one)}")
                seen(one, "known.test", "origin")
            until(lambda: answers(asking, "a.wild.test", "origin")
                  and rows(redis, "*.wild.test") == {"a.wild.test"}, "names are written back")
            redis.save("known.test", origin)
            redis.remove("*.wild.test")
            seen(proxy, "a.wild.test", 404)
            until(lambda: not rows(redis, "*.wild.test"), "and removed")
            for one in (proxy, asking):
                told = one.log_path.read_text()
                expect("permission" not in told and "NOPERM" not in told, f"something is denied:\n{told}")


# --- wildcards

def rows(redis, parent):
    """Names that were written back."""
    return {key.removeprefix("proxy_Host_") for key in redis.keys("proxy_Host_*")
            if redis.command("HGET", key, "wildcard_parent") == parent}


@test("names of a wildcard are written back for a time, in bounded number, whatever is asked for")
def _(directory):
    most = 30
    with installed(directory, replica={"lookup_service__cache_names": most}) as here:
        redis = here.redis
        with here.load() as pass_some, \
                Load(here.asking.address, 4, lambda n: (f"x{time.monotonic_ns()}.wild.test", "/", ["origin"])) as flood:
            until(lambda: len(rows(redis, "*.wild.test")) == most, "rows are written")
            flood.wait_passed(500)
            pass_some()
            flood.stop()
            names = rows(redis, "*.wild.test")
            expect(len(names) == most, f"{len(names)} rows")
            expect({key.removeprefix("proxy_Cached_") for key in redis.keys("proxy_Cached_*")} >= names
                   and len(redis.keys("proxy_Cached_*wild.test")) == most, "each is listed, and no other")
            for name in names:
                row = redis.command("HGETALL", f"proxy_Host_{name}")
                row = dict(zip(row[::2], row[1::2]))
                expect(row["host"] == name and row["is_cache"] == "true" and row["is_wildcard"] == "false"
                       and row["targetPort"] == str(here.origin.port) and row["wildcard_status"] == "Done",
                       f"found {row}")
                for key in (f"proxy_Host_{name}", f"proxy_Cached_{name}"):
                    expect(0 < redis.command("TTL", key) <= 3600, f"{key} lives for {redis.command('TTL', key)} s")
                expect(redis.command("HGET", f"proxy_Cached_{name}", "parent") == "*.wild.test", "its parent is told")
            expect(here.replica.metrics()["proxycore_hosts"] == 4, "rows are no hosts")


@test("rows of a wildcard go when it changes, when it goes, and when a better one comes")
def _(directory):
    with installed(directory) as here, stopping(Backend("moved")) as moved:
        redis = here.redis
        redis.save("*.cached.test", here.origin, is_wildcard="true")
        for proxy in here.proxies:
            seen(proxy, "a.cached.test", "origin")

        def cache(expected):
            def written():
                for name in ("a.cached.test", "b.cached.test", "c.cached.test"):
                    seen(here.asking, name, expected)
                return len(rows(redis, "*.cached.test")) == 3
            until(written, "three rows are written")
        with here.load() as pass_some:
            cache("origin")
            redis.save("*.cached.test", moved, is_wildcard="true")
            for proxy in here.proxies:
                seen(proxy, "a.cached.test", "moved")
            until(lambda: all(redis.command("HGET", f"proxy_Host_{name}", "targetPort") == str(moved.port)
                              for name in rows(redis, "*.cached.test")), "rows of the former wildcard are gone")
            cache("moved")
            redis.remove("*.cached.test")
            for proxy in here.proxies:
                for name in ("a.cached.test", "b.cached.test"):
                    seen(proxy, name, 404)
            until(lambda: not rows(redis, "*.cached.test") and not redis.keys("proxy_Cached_*.cached.test"),
                  "all its rows are gone")
            until(lambda: answers(here.asking, "x.y.deep.test", "origin")
                  and "x.y.deep.test" in rows(redis, "**.deep.test"), "a row is written")
            redis.save("*.y.deep.test", moved)
            for proxy in here.proxies:
                seen(proxy, "x.y.deep.test", "moved")
            until(lambda: "x.y.deep.test" not in rows(redis, "**.deep.test"), "the row of the other is gone")
            pass_some()



@test("two lookup services write the same names, and each removes what the other wrote")
def _(directory):
    with installed(directory) as here, stopping(Backend("moved")) as moved:
        redis, origins = here.redis, (here.origin, moved)
        service = str(directory / "second.socket")
        here.proxy("second", lookup_service__listen=service)
        here.proxy("second asking", lookup=["cache", "redis", "socket"], lookup_service__connect=service)
        asking = here.proxies[1::2]
        redis.save("*.both.test", moved, is_wildcard="true")
        for turn in range(4):
            origin = origins[turn % 2]
            redis.save("*.both.test", origin, is_wildcard="true")
            for proxy in here.proxies:
                seen(proxy, "x.both.test", origin.name)
            names = [f"n{turn}x{number}.both.test" for number in range(40)]

            def ask_all():
                threads = [threading.Thread(target=lambda to=proxy: [fetch(to.address, name) for name in names])
                           for proxy in asking]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                return rows(redis, "*.both.test") >= set(names)
            until(ask_all, "all are written")
            listed = {key.removeprefix("proxy_Cached_") for key in redis.keys("proxy_Cached_*.both.test")}
            expect(listed >= set(names), f"rows without entry: {sorted(set(names) - listed)}")
        redis.remove("*.both.test")
        until(lambda: not redis.keys("proxy_*both.test"), "all rows are gone")



if __name__ == "__main__":
    options = harness.arguments(__doc__, lambda parser: parser.add_argument(
        "--store-tool", required=True, help="tests/support/store_tool, built"))
    STORE_TOOL = pathlib.Path(options.store_tool).resolve()
    sys.exit(harness.run(test, options))
