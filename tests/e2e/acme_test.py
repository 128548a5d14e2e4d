"""Certificates that come by themselves: proxyd and proxy-renew with a real ACME server.

    acme_test.py --proxyd PROGRAM --proxy-renew PROGRAM --dying-renewer PROGRAM --dns-plugin FILE [-k TEXT]
"""

import contextlib
import http.server
import json
import pathlib
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time

import harness
from certificates import Pair, authority, fingerprint
from client import fetch
from harness import LOOPBACK, PATIENCE, Failed, expect, free_port, until
from load import Backend
from pebble import pebble
from proxyd import Process, Proxyd, config_text, plain, record, running, stopping
from redis_server import redis_server
from tls_client import context, dial

test = harness.Tests()
programs = {}
STEPS = ("account", "order", "present", "visible", "respond", "validate", "finalize", "issue", "download")


def presented(address, name):
    """The certificate that a visitor of `name` is shown: its issuer, and its names."""
    with dial(address, name, context(verify=False)) as connection:
        der = connection.getpeercert(True)
    text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-issuer", "-serial", "-ext",
                           "subjectAltName"], input=der, capture_output=True, check=True).stdout.decode()
    return {"issuer": re.search(r"issuer=(.*)", text)[1], "names": set(re.findall(r"DNS:([^,\s]+)", text)),
            "serial": re.search(r"serial=(.*)", text)[1].lower(), "fingerprint": fingerprint(der)}


def is_from_ca(shown):
    return "Pebble" in shown["issuer"]


def renew(config, *words, input=None, ends_with=0):
    """proxy-renew with a configuration; what it prints."""
    done = subprocess.run([programs["renew"], "--config", str(config), *words], capture_output=True, text=True,
                          timeout=3 * PATIENCE, input=input, cwd=pathlib.Path(config).parent)
    expect(done.returncode == ends_with,
           f"proxy-renew {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
    return done.stdout + done.stderr


def story(config, name):
    return json.loads(renew(config, "--json", "list", name))


def save_host(url, *words):
    done = subprocess.run([programs["store"], url], input=f"{' '.join(map(str, words))}\n", text=True,
                          capture_output=True, timeout=PATIENCE, check=True)
    expect(done.stdout.strip() == "ok", done.stdout)


@contextlib.contextmanager
def proxy_and_ca(directory, hosts=(), http_port=None, **tables):
    """proxyd on a store of its own, and a CA that reaches it."""
    port = free_port()
    ca_tables = {key: tables.pop(key) for key in list(tables) if key in ("nonce_rejection", "days")}
    with pebble(directory, port, **ca_tables) as ca:
        tables = {"store__url": f"sqlite:{directory}/store.db", "listen__http": [f"{LOOPBACK}:{port}"],
                  "renew__key_file": str(directory / "proxycore.key"), **ca.tables(), **tables}
        with running(directory, hosts, certificates=[], **tables) as proxy:
            proxy.port = port
            yield proxy, ca


@test("a host has a certificate of the CA a moment after it was saved, while proxyd runs on its own store")
def _(directory):
    origin = Backend()
    with stopping(origin), proxy_and_ca(directory, [record("first.test", origin)]) as (proxy, ca):
        until(lambda: is_from_ca(presented(proxy.tls_address, "first.test")), "the declared host has a certificate")
        save_host(f"sqlite:{directory}/store.db", "save", "second.test", LOOPBACK, origin.port)
        shown = until(lambda: (now := presented(proxy.tls_address, "second.test")) and is_from_ca(now) and now,
                      "the saved host has one")
        expect(shown["names"] == {"second.test"}, f"for its own name, not {shown['names']}")
        told = story(proxy.config_path, "second.test")
        expect(told["state"] == "valid" and told["attempts"][0]["ok"], f"the story: {told}")
        expect(told["next"] > told["not_before"], "it will be renewed")
        expect(proxy.metrics()['proxycore_renew_names{state="valid"}'] == 2, "the metrics tell")
        expect(ca.orders() == 2, f"one order each, not {ca.orders()}")


@test("a visitor's handshake waits for the first certificate of a name, and gets it; unknown names get the fallback")
def _(directory):
    with proxy_and_ca(directory, [record("**.deep.test", 1)]) as (proxy, ca):
        shown = presented(proxy.tls_address, "a.b.deep.test")
        expect(is_from_ca(shown) and shown["names"] == {"a.b.deep.test"}, f"the first visitor is shown {shown}")
        began = time.monotonic()
        expect(not is_from_ca(presented(proxy.tls_address, "unknown.test")), "no host allows it")
        expect(time.monotonic() - began < PATIENCE / 2, "the fallback comes at once")
        expect(ca.orders() == 1, "nothing is asked of the CA for unknown names")


@test("many visitors of one new name are one order")
def _(directory):
    with proxy_and_ca(directory, [record("**.deep.test", 1)]) as (proxy, ca):
        found = []
        visitors = [threading.Thread(target=lambda: found.append(presented(proxy.tls_address, "x.y.deep.test")))
                    for _ in range(20)]
        for one in visitors:
            one.start()
        for one in visitors:
            one.join()
        expect(len(found) == 20 and all(is_from_ca(one) for one in found), "all of them get it")
        expect(ca.orders() == 1, f"{ca.orders()} orders for one name")


@test("a name that fails is told with the CA's words, backs off, and lets others be")
def _(directory):
    told = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_):
            pass

    hook = http.server.ThreadingHTTPServer((LOOPBACK, 0), Hook)
    threading.Thread(target=hook.serve_forever, daemon=True).start()
    try:
        with proxy_and_ca(directory, renew__webhook=f"http://{LOOPBACK}:{hook.server_port}/hook") as (proxy, ca):
            # Nobody listens there: the CA cannot see what it wants to see.
            ca.answers_for("broken.test", "127.0.0.2")
            url = f"sqlite:{directory}/store.db"
            save_host(url, "save", "broken.test", LOOPBACK, 1)
            save_host(url, "save", "sound.test", LOOPBACK, 1)
            until(lambda: is_from_ca(presented(proxy.tls_address, "sound.test")), "the other has its certificate")
            failure = until(lambda: next((one for one in told if one["event"] == "certificate.failed"), None),
                            "the webhook is told")
            expect(failure["name"] == "broken.test" and "connection" in failure["words"], f"the CA's words: {failure}")
            about = story(proxy.config_path, "broken.test")
            expect(about["state"] == "failing" and about["failures"] == 1, f"the story: {about}")
            expect("connection" in about["attempts"][0]["words"], "the CA's words are in it")
            began = time.monotonic()
            expect(not is_from_ca(presented(proxy.tls_address, "broken.test")), "the fallback")
            expect(time.monotonic() - began < PATIENCE / 2, "at once, since it is known to fail")
            expect(proxy.metrics()['proxycore_renew_attempts_total{result="failed"}'] == 1, "the metrics tell")
            log = proxy.log_path.read_text()
            expect("certificate.failed" in log and "connection" in log, "the log tells")
    finally:
        hook.shutdown()


@test("a CA that rejects nine of ten nonces changes nothing")
def _(directory):
    with proxy_and_ca(directory, [record("first.test", 1)], nonce_rejection=90) as (proxy, _ca):
        until(lambda: is_from_ca(presented(proxy.tls_address, "first.test")), "the host has a certificate",
              3 * PATIENCE)


def dns_account(config, ca, *zones):
    """Keeps the challenge test server as a DNS provider, through the plugin of the examples."""
    return renew(config, "dns", "add", "challtestsrv", f"url=http://{LOOPBACK}:{ca.dns_api}",
                 f"zones={','.join(zones)}")


@contextlib.contextmanager
def plugins(directory):
    where = directory / "plugins"
    where.mkdir(mode=0o700)
    shutil.copy(programs["plugin"], where)
    yield str(where)


@test("a wildcard and its base are got by dns-01 through a plugin, and no record is left")
def _(directory):
    with plugins(directory) as where, \
            proxy_and_ca(directory, renew__plugins=where) as (proxy, ca):
        said = dns_account(proxy.config_path, ca, "w.test")
        expect("w.test" in said, f"the zones are told: {said}")
        save_host(f"sqlite:{directory}/store.db", "save", "*.w.test", LOOPBACK, 1)
        shown = until(lambda: (now := presented(proxy.tls_address, "any.w.test")) and is_from_ca(now) and now,
                      "the wildcard has a certificate", 3 * PATIENCE)
        expect(shown["names"] == {"w.test", "*.w.test"}, f"for both: {shown['names']}")
        expect(ca.txt("_acme-challenge.w.test") == [], "the records are gone")


@test("proxy-renew tries a plugin: what it promises, and what it does not keep")
def _(directory):
    with plugins(directory) as where, proxy_and_ca(directory, renew__plugins=where) as (proxy, ca):
        def tried(zones, ends_with):
            return renew(proxy.config_path, "dns-plugin", "test", f"{where}/dns_plugin.so", "--zone", "w.test",
                         f"url=http://{LOOPBACK}:{ca.dns_api}", f"zones={zones}", ends_with=ends_with)
        said = tried("other.test,w.test", 0)
        expect("FAILED" not in said and said.count("ok  ") >= 16, said)
        expect(ca.txt("_acme-challenge.proxycore-test.w.test") == [], "nothing is left")
        said = tried("other.test", 1)
        expect("FAILED  zone 'w.test' is listed" in said, said)


@test("proxy-renew on a shared Redis gets them; any proxyd answers; it renews, revokes, lists")
def _(directory):
    with redis_server(directory) as redis:
        port = free_port()
        with pebble(directory, port) as ca:
            common = {"store__url": redis.url, "renew__key_file": str(directory / "proxycore.key"), **ca.tables()}
            with running(directory, [record("app.test", 1)], certificates=[], listen__http=[f"{LOOPBACK}:{port}"],
                         **common) as proxy:
                config = proxy.config_path
                expect(not is_from_ca(presented(proxy.tls_address, "app.test")), "proxyd itself gets none here")
                said = renew(config, "--once")
                expect("1 issued" in said, said)
                first = until(lambda: (now := presented(proxy.tls_address, "app.test")) and is_from_ca(now) and now,
                              "proxyd shows it")
                renew(config, "renew", "app.test")
                second = until(lambda: (now := presented(proxy.tls_address, "app.test"))["serial"] != first["serial"]
                               and now, "the renewed one is shown")
                expect("app.test" in renew(config, "list"), "it is listed")
                expect("0 issued, 0 renewed" in renew(config, "--once"), "nothing is due")
                expect(ca.status(second["serial"]) == "Valid", "not revoked yet")
                renew(config, "revoke", "app.test", "--reason", "4")
                expect(ca.status(second["serial"]) == "Revoked", "revoked")
                until(lambda: not is_from_ca(presented(proxy.tls_address, "app.test")), "and not shown any more")
                wrong = renew(config, "issue", "other.test", ends_with=1)
                expect("no host wants" in wrong, wrong)


@test("proxy-renew as a service: new hosts of Redis and of its file, metrics in a file, and it ends when told to")
def _(directory):
    with redis_server(directory) as redis:
        port = free_port()
        with pebble(directory, port) as ca:
            common = {"store__url": redis.url, "renew__key_file": str(directory / "proxycore.key"), **ca.tables()}
            with running(directory, certificates=[], listen__http=[f"{LOOPBACK}:{port}"], **common) as proxy:
                metrics = directory / "metrics"
                service = Process([programs["renew"], "--config", proxy.config_path, "--metrics", metrics], directory,
                                  "proxy-renew", ready=metrics.exists)
                try:
                    redis.save("saved.test", 1)
                    until(lambda: is_from_ca(presented(proxy.tls_address, "saved.test")), "a host of Redis")
                    proxy.hosts = [record("declared.test", 1)]
                    proxy.write_config()
                    service.signal(signal.SIGHUP)
                    until(lambda: is_from_ca(presented(proxy.tls_address, "declared.test")), "a host of the file")
                    expect("proxycore_renew_names" in metrics.read_text(), "the metrics are in the file")
                    service.signal(signal.SIGTERM)
                    expect(service.wait() == 0, "it ends well")
                finally:
                    service.kill()


@test("a runner that is killed before any step leaves nothing: the next goes on, with one order and no record")
def _(directory):
    with plugins(directory) as where:
        port = free_port()
        with pebble(directory, port) as ca:
            for step in STEPS:
                here = directory / step
                here.mkdir()
                name = f"{step}.test"
                config = here / "config.toml"
                tables = {key.replace("__", "."): value for key, value in
                          ca.tables(store__url=f"sqlite:{here}/store.db", renew__plugins=where,
                                    renew__key_file=str(here / "proxycore.key")).items()}
                config.write_text(config_text(tables, [record(f"*.{name}", 1)]))
                dns_account(config, ca, name)
                before = ca.orders()
                dead = subprocess.run([programs["dying"], config, step], capture_output=True, text=True,
                                      timeout=3 * PATIENCE)
                expect(dead.returncode == -signal.SIGKILL, f"{step}: it was to die: {dead.stderr}")

                def again():
                    done = subprocess.run([programs["dying"], config], capture_output=True, text=True,
                                          timeout=3 * PATIENCE)
                    expect(done.returncode == 0, f"{step}: {done.stderr}")
                    return "issued 1" in done.stdout
                until(again, f"{step}: the next one gets it", 3 * PATIENCE)
                expect(ca.orders() - before == 1, f"{step}: {ca.orders() - before} orders")
                expect(story(config, f"*.{name}")["state"] == "valid", f"{step}: the story ends well")
                # What the dead one left in the zone goes when it is sure that nobody needs it any more.
                swept = subprocess.run([programs["dying"], config, "none", "1200"], capture_output=True, text=True,
                                       timeout=3 * PATIENCE)
                expect(swept.returncode == 0, f"{step}: {swept.stderr}")
                left = ca.txt(f"_acme-challenge.{name}")
                expect(left == [], f"{step}: {left} is left in the zone")


@test("a CA that lost its memory is registered with again")
def _(directory):
    with proxy_and_ca(directory, [record("first.test", 1)]) as (proxy, ca):
        until(lambda: is_from_ca(presented(proxy.tls_address, "first.test")), "the first certificate")
        ca.ca.kill()
        ca.start()
        save_host(f"sqlite:{directory}/store.db", "save", "second.test", LOOPBACK, 1)
        until(lambda: is_from_ca(presented(proxy.tls_address, "second.test")), "one of the new CA", 3 * PATIENCE)


@test("where the first CA is away the next one gives a certificate, whose story and files tell so")
def _(directory):
    port = free_port()
    with pebble(directory, port) as ca:
        tables = {"store__url": f"sqlite:{directory}/store.db", "listen__http": [f"{LOOPBACK}:{port}"],
                  "renew__key_file": str(directory / "proxycore.key"), **ca.tables()}
        tables["acme__directory"] = f"https://{LOOPBACK}:{free_port()}/dir"
        issuer = [{"directory": ca.url, "ca": tables["acme__ca"]}]
        with running(directory, [record("first.test", 1)], certificates=[], issuer=issuer, **tables) as proxy:
            shown = until(lambda: (now := presented(proxy.tls_address, "first.test")) and is_from_ca(now) and now,
                          "there is a certificate")
            told = story(proxy.config_path, "first.test")
            expect(told["ca"] == f"{LOOPBACK}:{ca.port}", f"the story names the CA: {told}")
            metrics = proxy.metrics()
            away = f'ca="{tables["acme__directory"].split("/")[2]}"'
            expect(metrics[f'proxycore_renew_ca_answers_total{{{away},result="out_of_order"}}'] >= 1, f"{metrics}")
            expect(metrics[f"proxycore_renew_ca_resting{{{away}}}"] == 1, "the first one is left alone")
            out = directory / "out"
            renew(proxy.config_path, "export", "--layout", "certmagic", str(out), "first.test")
            folder = out / "certificates" / f"{LOOPBACK}-{ca.port}-dir" / "first.test"
            pem = (folder / "first.test.crt").read_text()
            expect(fingerprint(ssl.PEM_cert_to_DER_cert(pem[:pem.index("-----END") + 26])) == shown["fingerprint"],
                   "the file has what is served")
            again = renew(proxy.config_path, "export", "--layout", "certmagic", str(out), ends_with=1)
            expect("first.test.crt: it is there already" in again, again)
            renew(proxy.config_path, "export", "--layout", "certbot", "--force", str(out))
            expect((out / "live/first.test/fullchain.pem").read_text() == pem, "certbot's tree has it, too")


@test("a client that knows no ECDSA is shown the certificate with the RSA key")
def _(directory):
    with proxy_and_ca(directory, [record("first.test", 1)], acme__rsa_companion=True) as (proxy, ca):
        def key_of(ciphers):
            with dial(proxy.tls_address, "first.test", context(verify=False, version=1.2, ciphers=ciphers)) as made:
                der = made.getpeercert(True)
            text = subprocess.run(["openssl", "x509", "-inform", "DER", "-noout", "-text"], input=der,
                                  capture_output=True, check=True).stdout.decode()
            return re.search(r"Public Key Algorithm: (\S+)", text)[1] if "Pebble" in text else ""

        until(lambda: key_of("ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256") == "id-ecPublicKey",
              "others are shown that with the ECDSA key")

        def rsa():
            try:
                return key_of("ECDHE-RSA-AES128-GCM-SHA256") == "rsaEncryption"
            except ssl.SSLError:
                return False  # there is none yet
        until(rsa, "it is shown the other", 3 * PATIENCE)
        expect(ca.orders() == 2, f"one order for each, not {ca.orders()}")
        expect(story(proxy.config_path, "rsa:first.test")["state"] == "valid", "it has a story of its own")


def main():
    def more(parser):
        for name in ("proxy-renew", "dying-renewer", "dns-plugin", "store-tool"):
            parser.add_argument(f"--{name}", required=True)
    options = harness.arguments(__doc__, more)
    programs.update(renew=str(pathlib.Path(options.proxy_renew).resolve()),
                    dying=str(pathlib.Path(options.dying_renewer).resolve()),
                    plugin=str(pathlib.Path(options.dns_plugin).resolve()),
                    store=str(pathlib.Path(options.store_tool).resolve()))
    return harness.run(test, options)


if __name__ == "__main__":
    sys.exit(main())
