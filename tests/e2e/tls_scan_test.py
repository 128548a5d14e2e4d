"""What scanners find at proxyd's TLS: testssl.sh and sslscan, as anybody would run them.

    tls_scan_test.py --proxyd PROGRAM [-k TEXT]
"""

import contextlib
import json
import os
import subprocess
import sys
import xml.etree.ElementTree

import harness
from certificates import authority, needs
from harness import LOOPBACK, PATIENCE, expect, output_of
from load import Backend
from origin import Answer, Origin
from proxyd import plain, running, stopping
from tls_client import handshake_failure

test = harness.Tests()

SUITES = {"TLSv1.3": {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"},
          "TLSv1.2": {f"ECDHE-{kind}-{cipher}" for kind in ("ECDSA", "RSA")
                      for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")}}
# Of a page, not of a proxy; without them testssl.sh has a finding.
HEADERS = (b"X-Frame-Options: DENY\r\nX-Content-Type-Options: nosniff\r\n"
           b"Content-Security-Policy: default-src 'self'\r\nReferrer-Policy: no-referrer\r\n")
# Of testssl.sh itself: a remark on its openssl, and a session that it cannot resume since it may leave before
# the ticket has come. tls_test.py resumes them.
OF_THE_SCANNER = {"engine_problem", "sessionresumption_ticket"}


@contextlib.contextmanager
def scanned(directory):
    page = b"HTTP/1.1 200 OK\r\n" + HEADERS + b"Content-Length: 2\r\n\r\nok"
    pairs = [authority().issue("app.test", key=key) for key in ("ecdsa", "rsa")]
    with stopping(Origin(default=Answer([("send", page)]))) as origin, running(
            directory, [plain("app.test", origin, hsts_enabled=True)], certificates=pairs) as proxy:
        yield proxy


@test("testssl.sh has no finding above low")
def _(directory):
    needs("testssl", "testssl.sh")
    # Side by side, since it mostly waits. Not: -s and -f, whose suites -P and sslscan list.
    parts = {"protocols": ["-p", "-P", "-h"], "defaults": ["-S"], "vulnerabilities": ["-U"]}
    with scanned(directory) as proxy:
        scans = {}
        for name, sections in parts.items():
            command = ["testssl", "--quiet", "--color", "0", "--warnings", "off", "--nodns", "none", "--ip", LOOPBACK,
                       "--add-ca", authority().root, "--jsonfile", directory / f"{name}.json", *sections,
                       f"https://app.test:{proxy.tls_port}/"]
            with open(directory / f"{name}.log", "wb") as log:
                scans[name] = subprocess.Popen([str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log,
                                               stderr=log, env={**os.environ, "TERM": "dumb"}, cwd=directory)
        try:
            for name, scan in scans.items():
                scan.wait(15 * PATIENCE)
        finally:
            for scan in scans.values():
                scan.kill()
                scan.wait()
        found = [finding for name in parts for finding in json.loads((directory / f"{name}.json").read_text())]
        severities = [finding["severity"] for finding in found]
        bad = [f"{finding['severity']} {finding['id']}: {finding['finding']}" for finding in found
               if finding["severity"] not in ("OK", "INFO", "LOW", "DEBUG") and finding["id"] not in OF_THE_SCANNER]
        expect(not bad, "testssl.sh has found:\n      " + "\n      ".join(bad))
        expect(severities.count("OK") > 40, f"it looked at little: {len(found)} findings")
        for what in ("cert_chain_of_trust", "heartbleed", "secure_client_renego", "CRIME_TLS", "BEAST"):
            expect(any(finding["id"].startswith(what) for finding in found), f"it did not look at {what}")


@test("sslscan: TLS 1.2 and 1.3 with forward secrecy and AEAD, and nothing else")
def _(directory):
    needs("sslscan", "sslscan")
    with scanned(directory) as proxy:
        accepted = {}
        for name, more in (("ecdsa", []), ("fallback", ["--sni-name=unknown.test"])):
            result = directory / f"{name}.xml"
            sni = more or ["--sni-name=app.test"]
            output_of("sslscan", "--no-colour", f"--xml={result}", *sni, f"{LOOPBACK}:{proxy.tls_port}")
            tree = xml.etree.ElementTree.parse(result).getroot().find("ssltest")
            enabled = {(one.get("type"), one.get("version")) for one in tree.iter("protocol")
                       if one.get("enabled") == "1"}
            expect(enabled == {("tls", "1.2"), ("tls", "1.3")}, f"versions: {enabled}")
            expect(tree.find("compression") is None or tree.find("compression").get("supported") == "0", "compression")
            expect(tree.find("renegotiation").get("supported") == "0", "renegotiation")
            expect(all(one.get("vulnerable") == "0" for one in tree.iter("heartbleed")), "heartbleed")
            for cipher in tree.iter("cipher"):
                accepted.setdefault(cipher.get("sslversion"), set()).add(cipher.get("cipher"))
            groups = {group.get("name") for group in tree.iter("group")}
            expect(groups <= {"x25519", "secp256r1 (NIST P-256)", "secp384r1 (NIST P-384)"} and "x25519" in groups,
                   f"groups: {groups}")
        for version, suites in accepted.items():
            expect(suites <= SUITES[version], f"{version}: {suites - SUITES[version]}")
        expect(accepted["TLSv1.3"] == SUITES["TLSv1.3"], f"TLS 1.3: {accepted['TLSv1.3']}")


@test("old versions and weak suites are refused with an alert")
def _(directory):
    pairs = [authority().issue("app.test", key=key) for key in ("ecdsa", "rsa")]
    with stopping(Backend()) as origin, running(directory, [plain("app.test", origin)], certificates=pairs) as proxy:
        for version in ("-tls1", "-tls1_1"):
            told = handshake_failure(proxy.tls_address, "app.test", version, "-cipher", "ALL:@SECLEVEL=0")
            expect("protocol version" in told, f"{version}: {told}")
        weak = ("AES128-GCM-SHA256", "AES128-SHA", "ECDHE-RSA-AES128-SHA", "ECDHE-ECDSA-AES256-SHA384",
                "DHE-RSA-AES128-GCM-SHA256", "AECDH-AES128-SHA", "ECDHE-RSA-NULL-SHA",
                "ECDHE-ECDSA-AES128-CCM8")
        for suite in weak:
            told = handshake_failure(proxy.tls_address, "app.test", "-tls1_2", "-cipher", f"{suite}:@SECLEVEL=0")
            expect("handshake failure" in told, f"{suite}: {told}")


if __name__ == "__main__":
    sys.exit(harness.run(test, harness.arguments(__doc__)))
