"""pebble, an ACME server for tests, with the DNS server that it asks: both as processes of the test's own."""

import contextlib
import json
import pathlib
import socket
import ssl
import urllib.request

from certificates import authority, needs
from harness import LOOPBACK, PATIENCE, accepts, free_port
from proxyd import Process


class Pebble:
    """Asks names for http-01 at `http_port`; every name is this machine's."""

    def __init__(self, directory, http_port, nonce_rejection=5, days=90, **environment):
        for program in ("pebble", "pebble-challtestsrv"):
            needs(program, "pebble")
        self.directory = pathlib.Path(directory) / f"pebble-{http_port}"
        self.directory.mkdir()
        self.dns_port, self.dns_api = free_port(), free_port()
        self.port, self.management = free_port(), free_port()
        own = authority().issue(LOOPBACK)
        self.config = {"pebble": {
            "listenAddress": f"{LOOPBACK}:{self.port}", "managementListenAddress": f"{LOOPBACK}:{self.management}",
            "certificate": str(own.chain), "privateKey": str(own.key), "httpPort": http_port, "tlsPort": 9,
            "ocspResponderURL": "", "externalAccountBindingRequired": False,
            "certificateValidityPeriod": days * 86400}}
        self.environment = {"PEBBLE_VA_NOSLEEP": "1", "PEBBLE_WFE_NONCEREJECT": str(nonce_rejection),
                            "PEBBLE_AUTHZREUSE": "0", **environment}
        self.started = 0
        self.dns = Process(["pebble-challtestsrv", "-dns01", f"{LOOPBACK}:{self.dns_port}",
                            "-management", f"{LOOPBACK}:{self.dns_api}", "-http01", "", "-https01", "",
                            "-tlsalpn01", "", "-defaultIPv4", LOOPBACK, "-defaultIPv6", ""],
                           self.directory, "dns", lambda: accepts(self.dns_api) and accepts(self.dns_port))
        self.start()

    def start(self):
        """A new CA: pebble keeps nothing."""
        self.started += 1
        path = self.directory / "pebble.json"
        path.write_text(json.dumps(self.config))
        self.ca = Process(["pebble", "-config", path, "-strict", "-dnsserver", f"{LOOPBACK}:{self.dns_port}"],
                          self.directory, f"pebble{self.started}",
                          lambda: accepts(self.port) and accepts(self.management), env=self.environment)

    def stop(self):
        self.ca.kill()
        self.dns.kill()

    @property
    def url(self):
        return f"https://{LOOPBACK}:{self.port}/dir"

    def tables(self, **more):
        """What a configuration has to say to get certificates here."""
        return {"acme__enabled": True, "acme__agree_tos": True, "acme__directory": self.url,
                "acme__ca": str(authority().root), "acme__resolvers": [f"{LOOPBACK}:{self.dns_port}"], **more}

    def log(self):
        return self.ca.log_path.read_text(errors="replace")

    def orders(self):
        """How many orders were placed, at this and all CAs before it."""
        logs = [path.read_text(errors="replace") for path in self.directory.glob("pebble*.log")]
        return sum(text.count("Added order") for text in logs)

    def issued(self):
        return self.log().count("Issued certificate serial")

    def post(self, call, **what):
        request = urllib.request.Request(f"http://{LOOPBACK}:{self.dns_api}{call}", json.dumps(what).encode())
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
            return answer.read()

    def answers_for(self, name, address):
        """The A record of a name; "": none."""
        self.post("/add-a", host=name, addresses=[address])

    def txt(self, name):
        """The values that a name has in the DNS."""
        question = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0\0\x10\0\1"
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking:
            asking.settimeout(PATIENCE)
            asking.sendto(b"\x12\x34\1\0\0\1\0\0\0\0\0\0" + question, (LOOPBACK, self.dns_port))
            answer = asking.recv(65535)
        at, values = 12 + len(question), []
        for _ in range(int.from_bytes(answer[6:8], "big")):
            # The name is a pointer, or spelled out again.
            while answer[at] and answer[at] < 0xC0:
                at += answer[at] + 1
            at += 2 if answer[at] else 1
            size = int.from_bytes(answer[at + 8:at + 10], "big")
            values.append(answer[at + 11:at + 10 + size].decode())
            at += 10 + size
        return values

    def status(self, serial):
        """What it thinks of a certificate: "Valid", "Revoked"."""
        context = ssl.create_default_context(cafile=authority().root)
        url = f"https://{LOOPBACK}:{self.management}/cert-status-by-serial/{serial}"
        with urllib.request.urlopen(url, timeout=PATIENCE, context=context) as answer:
            return json.loads(answer.read())["Status"]


@contextlib.contextmanager
def pebble(directory, http_port, **how):
    ca = Pebble(directory, http_port, **how)
    try:
        yield ca
    finally:
        ca.stop()
